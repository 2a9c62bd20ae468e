"""How well an attacker's scores tell members from others: AUC, advantage, TPR at low FPR, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_fraction, require_shape
from unlearn.errors import InputError

#: Draws of the bootstrap, and the two-sided level of every interval.
N_BOOTSTRAP, LEVEL = 500, 0.95


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """What an attack achieved.

    Attributes:
        unit: what a member is: "household" or "profile" or "row".
        n_members: members attacked.
        n_others: records that are no members.
        auc: chance that a member's score exceeds another record's; 0.5 is guessing.
        advantage: TPR − FPR at a threshold that other records chose; 0 is guessing (Yeom et al. 2018).
        precision: share of members among those called members, if both sides were equally frequent; at that threshold.
        recall: share of members that are called members, at that threshold.
        tpr_at: share of members called members while this share of others is (Carlini et al. 2022), by that share.
    """

    unit: str
    n_members: int
    n_others: int
    auc: Estimate
    advantage: Estimate
    precision: Estimate
    recall: Estimate
    tpr_at: Mapping[float, Estimate]

    def metrics(self) -> dict[str, Estimate]:
        """Every estimate by the name that records use."""
        named = {name: getattr(self, name) for name in ("auc", "advantage", "precision", "recall")}
        return {**named, **{f"tpr_at_fpr_{fpr:g}": found for fpr, found in self.tpr_at.items()}}


def require_enough_records(n_others: int, fprs: Sequence[float]) -> None:
    """Refuse false positive rates that so few records cannot show.

    Raises:
        InputError: a rate outside of (0, 1), or fewer than 1/rate records.
    """
    for fpr in fprs:
        require_fraction("fpr", fpr)
        if n_others < math.ceil(1 / fpr - 1e-9):
            raise InputError(
                f"attack: expected at least {math.ceil(1 / fpr - 1e-9)} records that are no members for a false "
                f"positive rate of {fpr:g}, got {n_others}. Hold out more, or ask for a higher rate."
            )


def measure_attack(
    members: ArrayLike,
    others: ArrayLike,
    *,
    unit: str,
    member_group: ArrayLike | None = None,
    other_group: ArrayLike | None = None,
    fprs: Sequence[float] = (0.01,),
    seed: int = 0,
) -> Outcome:
    """Measure an attack by its scores; higher means "member".

    Thresholds of advantage, precision and recall are chosen on one half of the groups and measured on the other, and
    the other way round. Intervals come from resampling groups on both sides; where that shows no spread (all or none
    found), from Clopper & Pearson's bound for the number of groups.

    Args:
        members: scores of records that were trained on, shape (n,).
        others: scores of records that were not, shape (m,).
        unit: what a record is, for the outcome.
        member_group: what members are resampled by, such as their household, shape (n,); None takes each by itself.
        other_group: the same of the others, shape (m,).
        fprs: false positive rates, in (0, 1).
        seed: of halves and bootstrap.

    Raises:
        InputError: no or NaN scores, groups of another shape, fewer than two groups on a side, too few others for a
            rate.
    """
    inside, outside = (as_floats(name, value, ndim=1) for name, value in (("members", members), ("others", others)))
    groups = []
    for name, scores, group in (("members", inside, member_group), ("others", outside, other_group)):
        require_finite(f"scores of {name}", scores)
        groups.append(_groups(name, len(scores), group))
    require_enough_records(len(outside), fprs)
    random = np.random.default_rng(seed)
    sides = (_Side(inside, groups[0]), _Side(outside, groups[1]))
    found = _statistics(sides, _halves(sides, random), (np.ones(len(inside)), np.ones(len(outside))), fprs)
    draws = np.stack(
        [
            _statistics(sides, _halves(sides, random), (sides[0].resampled(random), sides[1].resampled(random)), fprs)
            for _ in range(N_BOOTSTRAP)
        ]
    )
    few = min(side.n_groups for side in sides)
    estimates = [_interval(value, column, few) for value, column in zip(found, draws.T, strict=True)]
    auc, advantage, precision, recall, *at = estimates
    tpr_at = dict(zip(fprs, at, strict=True))
    return Outcome(unit, len(inside), len(outside), auc, advantage, precision, recall, tpr_at)


class _Side:
    """Scores of one side, ascending, with the group of each."""

    def __init__(self, scores: FloatArray, group: IntArray) -> None:
        order = np.argsort(scores, kind="stable")
        self.scores, self.group = scores[order], group[order]
        self.n_groups = int(group.max()) + 1

    def resampled(self, random: np.random.Generator) -> FloatArray:
        """Weight of each score when groups are drawn with replacement, shape (n,)."""
        drawn = random.integers(self.n_groups, size=self.n_groups)
        return np.bincount(drawn, minlength=self.n_groups)[self.group].astype(np.float64)


#: Members, and the others.
_Sides = tuple[_Side, _Side]


def _groups(name: str, n: int, group: ArrayLike | None) -> IntArray:
    if group is None:
        codes = np.arange(n)
    else:
        given = np.asarray(group)
        require_shape(f"group of {name}", given, (n,))
        codes = np.unique(given, return_inverse=True)[1].reshape(-1)
    n_groups = len(np.unique(codes))
    if n_groups < 2:
        raise InputError(f"attack: expected scores of at least 2 {name} (or of their groups), got {n_groups}.")
    return codes.astype(np.int64)


def _halves(sides: _Sides, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For each side a mask of the scores of a random half of its groups."""
    first, second = ((random.permutation(side.n_groups) < side.n_groups // 2)[side.group] for side in sides)
    return first, second


def _statistics(
    sides: _Sides, halves: tuple[np.ndarray, np.ndarray], weights: tuple[FloatArray, FloatArray], fprs: Sequence[float]
) -> FloatArray:
    """AUC, advantage, precision, recall, and TPR at each FPR, of weighted scores."""
    (inside, outside), (w, v) = sides, weights
    total = np.concatenate([[0.0], np.cumsum(v)])
    below = total[np.searchsorted(outside.scores, inside.scores, side="left")]
    up_to = total[np.searchsorted(outside.scores, inside.scores, side="right")]
    auc = float((w * (below + up_to)).sum() / (2 * w.sum() * total[-1]))
    rates = np.zeros(2)
    for learn in (True, False):
        threshold = _best_threshold(inside.scores, outside.scores, w * (halves[0] == learn), v * (halves[1] == learn))
        for i, (side, weight, half) in enumerate(zip(sides, weights, halves, strict=True)):
            asked = weight * (half != learn)
            rates[i] += (asked * (side.scores > threshold)).sum() / (2 * max(asked.sum(), 1e-300))
    tpr, fpr = rates
    # Called members by nobody: as precise as guessing.
    precision = tpr / (tpr + fpr) if tpr + fpr > 0 else 0.5
    at = []
    for allowed in fprs:
        above = total[-1] - total[np.searchsorted(outside.scores, outside.scores, side="right")]
        # The lowest threshold among the others' scores that at most this share of them exceeds.
        threshold = outside.scores[int(np.argmax(above <= allowed * total[-1] * (1 + 1e-12)))]
        at.append(float((w * (inside.scores > threshold)).sum() / w.sum()))
    return np.array([auc, tpr - fpr, precision, tpr, *at])


def _best_threshold(inside: FloatArray, outside: FloatArray, w: FloatArray, v: FloatArray) -> float:
    """Threshold with the largest TPR − FPR; both sides ascending with weights."""
    candidates = np.unique(np.concatenate([inside[w > 0], outside[v > 0]]))
    if not len(candidates):
        return math.inf
    shares = []
    for scores, weight in ((inside, w), (outside, v)):
        total = np.concatenate([[0.0], np.cumsum(weight)])
        shares.append(1 - total[np.searchsorted(scores, candidates, side="right")] / max(total[-1], 1e-300))
    best = int(np.argmax(shares[0] - shares[1]))
    # Half way to the next score, so that the other half's scores near it fall on either side.
    if best + 1 < len(candidates):
        return float((candidates[best] + candidates[best + 1]) / 2)
    return float(candidates[best])


def _interval(value: float, draws: FloatArray, n_groups: int) -> Estimate:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    if high - low < 1e-12 and value in (0.0, 1.0):
        bound = float(beta.ppf(tail, n_groups, 1))
        low, high = (bound, 1.0) if value == 1.0 else (0.0, 1 - bound)
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))
