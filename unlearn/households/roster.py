"""Who is in the loads at each hour, and the exact sums that follow from it.

Members of class g at load b number n_bg and use S_bg; r_bg objectors are filled from the mean of their class, q_b by
rescaling their load. What models may learn of a load, in kWh, is

    S_b + Σ_g r_bg S_g / n_g + q_b S_b / n_b,      S_b = Σ_g S_bg, S_g = Σ_b S_bg, n alike,

over the members that remain now, hour by hour; its physical load is the sum over all that have not left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import BoolArray, FloatArray, IntArray, short_repr
from unlearn.errors import InputError
from unlearn.households.meters import Meters, Readings

#: What a customer is to the loads in an hour: in them; gone; or objecting, with what takes the place of its readings.
PRESENT, LEFT, WITHOUT, CLASS_MEAN, RESCALED = range(5)
States = NDArray[np.int8]

#: Members below which a class's mean says too much of each of them.
LEAST_MEMBERS = 15

_SUMS = ("sums_kwh", "members", "filled", "rescaled", "physical_kwh")


@short_repr
@dataclass(frozen=True, eq=False)
class Roster:
    """States of customers, and sums over those in each state.

    Attributes:
        load_of: position of each customer's load, shape (C,).
        sums_kwh: S_bg, energy of those present, shape (H, B, G); sums of readings have no rounding error.
        members: n_bg, shape (H, B, G).
        filled: r_bg, shape (H, B, G).
        rescaled: q_b, shape (H, B).
        physical_kwh: energy of all that have not left, shape (H, B).
        states: of customers that are not present throughout, by position: a state per hour, shape (H,).
        digests: of the same customers, a hash of their readings in the hours in which they are present.
        gone: positions of customers that are present in no hour, sorted.
        blank: hours of a load in which the readings of its customers were blanked, shape (H, B): nobody counts there.
            An empty array means none.
    """

    load_of: IntArray
    sums_kwh: FloatArray
    members: IntArray
    filled: IntArray
    rescaled: IntArray
    physical_kwh: FloatArray
    states: Mapping[int, States] = field(default_factory=dict)
    digests: Mapping[int, str] = field(default_factory=dict)
    gone: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    blank: BoolArray = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))

    def __post_init__(self) -> None:
        if not self.blank.any():
            object.__setattr__(self, "blank", np.zeros(self.physical_kwh.shape, dtype=bool))

    @classmethod
    def of(cls, meters: Meters, load_of: IntArray, n_loads: int) -> Roster:
        """Sum up meters, block by block, all customers present."""
        shape = (len(meters.hours), n_loads, len(meters.segments))
        empty = cls(
            load_of,
            np.zeros(shape),
            np.zeros(shape, dtype=np.int64),
            np.zeros(shape, dtype=np.int64),
            np.zeros(shape[:2], dtype=np.int64),
            np.zeros(shape[:2]),
        )
        for where, kwh in meters.blocks("sums of meters"):
            empty._count(meters, where, kwh, alive(meters, where), 1)
            for load, rows in _grouped(load_of[where]):
                empty.physical_kwh[:, load] += kwh[rows].sum(axis=0, dtype=np.float64)
        return empty

    def _count(self, meters: Meters, where: IntArray, kwh: Readings | FloatArray, hours: BoolArray, sign: int) -> None:
        """Add customers to those present in some of their hours (k, H), or take them away. For fresh arrays alone."""
        self._tally(self.members, meters, where, hours, sign)
        n_classes = self.sums_kwh.shape[2]
        for place, rows in _grouped(self.load_of[where] * n_classes + meters.segment[where]):
            energy = np.where(hours[rows], kwh[rows], 0).sum(axis=0, dtype=np.float64)
            self.sums_kwh[:, place // n_classes, place % n_classes] += sign * energy

    def _tally(self, counts: IntArray, meters: Meters, where: IntArray, hours: BoolArray, sign: int) -> None:
        """Count customers in some of their hours (k, H) by load and class, (H, B, G), or by load alone, (H, B)."""
        if not hours.any():
            return
        label, flat = self.load_of[where], counts.reshape(len(counts), -1)
        if counts.ndim == 3:
            label = label * counts.shape[2] + meters.segment[where]
        for place, rows in _grouped(label):
            flat[:, place] += sign * hours[rows].sum(axis=0)

    def states_of(self, meters: Meters, where: IntArray) -> States:
        """State of customers at each hour, shape (k, H); outside of their lives, too, they count as present."""
        none = np.zeros(len(meters.hours), dtype=np.int8)
        return np.stack([self.states.get(int(i), none) for i in where])

    def changed(self, meters: Meters, where: IntArray, hours: BoolArray, state: int) -> Roster:
        """The roster after customers go over to a state in some hours.

        Args:
            meters: the meters that were summed up.
            where: positions of the customers.
            hours: which hours are meant, shape (H,).
            state: LEFT, or one of an objector.
        """
        sums = {name: getattr(self, name).copy() for name in _SUMS}
        states, digests, gone = dict(self.states), dict(self.digests), set(self.gone.tolist())
        other = replace(self, **sums)
        for part in np.array_split(where, max(1, -(-len(where) // 256))):
            before = self.states_of(meters, part)
            moved = alive(meters, part) & hours & (before != state) & (before != LEFT)
            now = np.where(moved, np.int8(state), before)
            moved &= self.counted(part)
            kwh = meters.series(part)
            other._count(meters, part, kwh, moved & (before == PRESENT), -1)
            for kind, counts in ((CLASS_MEAN, other.filled), (RESCALED, other.rescaled)):
                self._tally(counts, meters, part, moved & (before == kind), -1)
                self._tally(counts, meters, part, moved & (state == kind), 1)
            if state == LEFT:
                for b, rows in _grouped(self.load_of[part]):
                    other.physical_kwh[:, b] -= np.where(moved[rows], kwh[rows], 0.0).sum(axis=0)
            states |= dict(zip(part.tolist(), now, strict=True))
            digests |= zip(part.tolist(), _digests(now, kwh), strict=True)
            there = (now == PRESENT) & alive(meters, part) & self.counted(part)
            gone |= set(part[~there.any(axis=1)].tolist())
        return replace(other, states=states, digests=digests, gone=np.array(sorted(gone), dtype=np.int64))

    def counted(self, where: IntArray) -> BoolArray:
        """Hours that are not blank at customers' loads, shape (k, H)."""
        return ~self.blank.T[self.load_of[where]]

    def counted_of(self, meters: Meters, where: IntArray) -> BoolArray:
        """Hours in which customers are members of their load, shape (k, H)."""
        return (self.states_of(meters, where) == PRESENT) & alive(meters, where) & self.counted(where)

    def of_customers(self, kept: IntArray) -> Roster:
        """The same sums, with the states of some customers alone: of those that are in no sum, or not any more."""
        place = {int(i): new for new, i in enumerate(kept)}
        return replace(
            self,
            load_of=self.load_of[kept],
            states={place[i]: own for i, own in self.states.items() if i in place},
            digests={place[i]: own for i, own in self.digests.items() if i in place},
            gone=np.flatnonzero(np.isin(kept, self.gone)),
        )

    def of_loads(self, loads: IntArray, classes: IntArray) -> tuple[Roster, IntArray]:
        """The roster of some loads alone, and the positions of their customers.

        Args:
            loads: positions of the loads, sorted.
            classes: positions of the classes that are kept, sorted; all that anybody at these loads belongs to.
        """
        kept = np.flatnonzero(np.isin(self.load_of, loads))
        other = self.of_customers(kept)
        by_class = {name: getattr(self, name)[:, loads][:, :, classes] for name in _SUMS[:3]}
        by_load = {name: getattr(self, name)[:, loads] for name in (*_SUMS[3:], "blank")}
        return replace(other, load_of=np.searchsorted(loads, other.load_of), **by_class, **by_load), kept

    def blanked(self, meters: Meters, hours: BoolArray, loads: IntArray) -> Roster:
        """The roster after readings of some hours were blanked.

        Args:
            meters: with 0 for these readings.
            hours: which hours are meant, shape (H,).
            loads: positions of the loads.
        """
        blank = self.blank.copy()
        blank[np.ix_(hours, loads)] = True
        sums = {
            name: np.where(blank if own.ndim == 2 else blank[:, :, None], own.dtype.type(0), own)
            for name, own in ((name, getattr(self, name)) for name in _SUMS)
        }
        digests, other = dict(self.digests), replace(self, blank=blank, **sums)
        hit = np.flatnonzero(np.isin(self.load_of, loads))
        gone = set(self.gone.tolist())
        for part in np.array_split(hit, max(1, -(-len(hit) // 256))):
            gone |= set(part[~other.counted_of(meters, part).any(axis=1)].tolist())
        for i in (i for i in hit.tolist() if i in self.states):
            digests[i] = _digests(self.states[i][None], meters.series(np.array([i])))[0]
        return replace(other, digests=digests, gone=np.array(sorted(gone), dtype=np.int64))

    def known_kwh(self) -> FloatArray:
        """What models may learn of each load, shape (H, B).

        Raises:
            InputError: a class whose mean fills a gap has too few members left.
        """
        by_load = self.sums_kwh.sum(axis=2)
        known = by_load.copy()
        if self.filled.any():
            totals, members = self.sums_kwh.sum(axis=1), self.members.sum(axis=1)
            needed = self.filled.any(axis=1)
            if (members[needed] < LEAST_MEMBERS).any():
                hour, g = (int(i) for i in np.argwhere(needed & (members < LEAST_MEMBERS))[0])
                raise TooFewError(hour, g, int(members[hour, g]))
            mean = totals / np.maximum(members, 1)
            known += (self.filled * mean[:, None, :]).sum(axis=2)
        if self.rescaled.any():
            known += self.rescaled * by_load / np.maximum(self.members.sum(axis=2), 1)
        return known


class TooFewError(InputError):
    """A class has too few members for its mean; carries hour, class and number."""

    def __init__(self, hour: int, segment: int, members: int) -> None:
        super().__init__(f"class {segment}: expected at least {LEAST_MEMBERS} members, got {members}")
        self.hour, self.segment, self.members = hour, segment, members


def _digests(states: States, kwh: FloatArray) -> list[str]:
    """A hash of each customer's readings in the hours in which it is present, both (k, H)."""
    there = states == PRESENT
    return [
        hashlib.sha256(mask.tobytes() + energy.tobytes()).hexdigest()
        for mask, energy in zip(there, np.where(there, kwh, 0.0), strict=True)
    ]


def alive(meters: Meters, where: IntArray) -> BoolArray:
    """Hours of customers' lives, shape (k, H)."""
    hour = np.arange(len(meters.hours))
    return (hour >= meters.first[where][:, None]) & (hour < meters.end[where][:, None])


def _grouped(labels: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Each label that occurs, and where."""
    order = np.argsort(labels, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(part):
            yield int(labels[part[0]]), part
