"""Which totals may be opened: none, and no combination of any, tells of fewer than `minimum` meters apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unlearn.checks import BoolArray, IntArray
from unlearn.errors import ProtocolError


@dataclass(frozen=True)
class Plan:
    """What is opened of one set of meters.

    Attributes:
        groups: whose totals are opened, indices.
        too_few: groups with some meters, but fewer than the minimum.
        held_back: groups with enough meters whose total would, with the region's, tell what is in those with too few.
    """

    groups: IntArray
    too_few: IntArray
    held_back: IntArray


def plan(included: IntArray, group_of: IntArray, n_groups: int, minimum: int, open_groups: bool) -> Plan:
    """What is opened of a set of meters beside the total of the region, which always is.

    The smallest groups are held back until those that stay closed have together no meters or at least the minimum.

    Args:
        included: meters, indices.
        group_of: group of each meter of the directory.
        n_groups: of the directory.
        minimum: meters.
        open_groups: whether any group is opened.

    Raises:
        ProtocolError: not enough meters in all.
    """
    if len(included) < minimum:
        raise ProtocolError(f"set of meters: not enough meters, expected at least {minimum}. Wait for more of them.")
    counts = np.bincount(group_of[included], minlength=n_groups)
    enough = np.flatnonzero(counts >= minimum)
    too_few = np.flatnonzero((counts > 0) & (counts < minimum))
    if not open_groups:
        return Plan(np.array([], dtype=np.int64), too_few, enough)
    # By size, and by place where sizes are equal: everyone comes to the same plan.
    by_size = enough[np.argsort(counts[enough], kind="stable")]
    closed, back = int(counts[too_few].sum()), 0
    while 0 < closed < minimum:
        closed += int(counts[by_size[back]])
        back += 1
    return Plan(np.sort(by_size[back:]), too_few, np.sort(by_size[:back]))


@dataclass
class Openings:
    """What one aggregator has agreed to open so far of one period.

    Meters that stand in the same opened totals are a class. In whatever combination of totals, a meter has the same
    weight as all others of its class; so as long as each class has at least the minimum, no combination singles out
    fewer meters.

    Attributes:
        n_meters, minimum: of the directory.
    """

    n_meters: int
    minimum: int
    _classes: IntArray = field(init=False, repr=False)
    _ever: BoolArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._classes = np.zeros(self.n_meters, dtype=np.int64)
        self._ever = np.zeros(self.n_meters, dtype=bool)

    def agree(self, included: IntArray, group_of: IntArray, opened: IntArray) -> None:
        """Agree to open the total of a set and of some groups in it; what was agreed upon before stays so.

        Raises:
            ProtocolError: with what was opened before, that would tell of fewer meters than the minimum.
        """
        places = np.full(int(group_of.max()) + 1, 1, dtype=np.int64)
        places[opened] = 2 + np.arange(len(opened))
        own = np.zeros(self.n_meters, dtype=np.int64)
        own[included] = places[group_of[included]]
        classes = np.unique(self._classes * (2 + len(opened)) + own, return_inverse=True)[1].reshape(-1)
        ever = self._ever | (own > 0)
        sizes = np.bincount(classes[ever])
        if ((sizes > 0) & (sizes < self.minimum)).any():
            raise ProtocolError(
                f"set of meters: expected no totals that differ by fewer than {self.minimum} meters from others of the "
                "same period, got some. Ask for the same set again, or wait for the next period."
            )
        self._classes, self._ever = classes, ever
