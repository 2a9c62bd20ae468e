"""How well an attacker's scores tell members from others: AUC, advantage, TPR at low FPR, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn.attacks.base import require_enough_records
from unlearn.checks import FloatArray, IntArray, as_floats, require_count, require_finite, require_shape
from unlearn.errors import InputError

#: Draws of the bootstrap, and the two-sided level of every interval.
N_BOOTSTRAP, LEVEL = 500, 0.95

#: Entries of a block of draws by scores, which stays near the cache.
_BLOCK = 20_000


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
    ladder = _Ladder(sides)
    size = max(1, _BLOCK // (len(inside) + len(outside)))
    # The first draw is the data as they are.
    blocks = range(0, N_BOOTSTRAP + 1, size)
    found = [_statistics(ladder, _draws(sides, range(N_BOOTSTRAP + 1)[i : i + size], random), fprs) for i in blocks]
    values, *draws = np.concatenate(found)
    few = min(side.n_groups for side in sides)
    estimates = [_interval(value, column, few) for value, column in zip(values, np.transpose(draws), strict=True)]
    auc, advantage, precision, recall, *at = estimates
    tpr_at = dict(zip(fprs, at, strict=True))
    return Outcome(unit, len(inside), len(outside), auc, advantage, precision, recall, tpr_at)


def clopper_pearson(count: ArrayLike, n: ArrayLike, tail: float) -> tuple[FloatArray, FloatArray]:
    """Bounds of a chance by how often it came true, each missed with a chance of at most `tail` (1934).

    Args:
        count: how often, of any shape.
        n: of how many, of a shape that fits.
        tail: of each bound by itself.

    Returns:
        Lower and upper bounds.
    """
    from scipy.special import betaincinv  # takes long to import

    hits, misses = np.asarray(count), np.asarray(n) - np.asarray(count)
    # Where nothing came true the lower bound is 0, and likewise on the other side.
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), misses + 1, tail), 0.0)
    high = np.where(misses > 0, 1 - betaincinv(np.maximum(misses, 1), hits + 1, tail), 1.0)
    return low, high


def bootstrap_weights(n_rows: int, n_draws: int, seed: int) -> FloatArray:
    """How often each row occurs in data sets of n rows drawn with replacement, shape (n_draws, n_rows)."""
    require_count("rows", n_rows)
    shares = np.full(n_rows, 1 / n_rows)
    drawn = np.random.default_rng(seed).multinomial(n_rows, shares, size=require_count("draws", n_draws))
    return drawn.astype(np.float64)


class _Side:
    """Scores of one side, ascending, with the group of each."""

    def __init__(self, scores: FloatArray, group: IntArray) -> None:
        order = np.argsort(scores, kind="stable")
        self.scores, self.group = scores[order], group[order]
        self.n_groups = int(group.max()) + 1

    def half(self, random: np.random.Generator) -> np.ndarray:
        """A random half of the groups, shape (groups,)."""
        return random.permutation(self.n_groups) < self.n_groups // 2

    def resampled(self, random: np.random.Generator) -> FloatArray:
        """Times that each group is drawn with replacement, shape (groups,)."""
        drawn = random.integers(self.n_groups, size=self.n_groups)
        return np.bincount(drawn, minlength=self.n_groups).astype(np.float64)


#: Members, and the others.
_Sides = tuple[_Side, _Side]


class _Ladder:
    """Every score that occurs, ascending, and where each side stands to it; the same for all draws."""

    def __init__(self, sides: _Sides) -> None:
        inside, outside = (side.scores for side in sides)
        self.sides = sides
        self.steps = np.unique(np.concatenate([inside, outside]))
        # How many scores of each side are at most each step.
        self.up_to = [np.searchsorted(side.scores, self.steps, side="right") for side in sides]
        self.others_below = np.searchsorted(outside, inside, side="left")
        self.others_up_to = np.searchsorted(outside, inside, side="right")
        self.own_up_to = np.searchsorted(outside, outside, side="right")
        self.members_up_to = np.searchsorted(inside, outside, side="right")


class _Draw(NamedTuple):
    """Of each draw and score of a side: whether its group is in the learning half, and its weight; shape (D, n)."""

    half: np.ndarray
    weight: FloatArray


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


def _draws(sides: _Sides, which: range, random: np.random.Generator) -> tuple[_Draw, _Draw]:
    """Halves and weights of some draws of the bootstrap; draw 0 takes every group once."""
    halves: list[list[np.ndarray]] = [[], []]
    weights: list[list[FloatArray]] = [[], []]
    for draw in which:
        for side, own in zip(sides, halves, strict=True):
            own.append(side.half(random))
        for side, times in zip(sides, weights, strict=True):
            times.append(side.resampled(random) if draw else np.ones(side.n_groups))
    first, second = (
        _Draw(np.stack(own).take(side.group, axis=1), np.stack(times).take(side.group, axis=1))
        for side, own, times in zip(sides, halves, weights, strict=True)
    )
    return first, second


def _statistics(ladder: _Ladder, draws: tuple[_Draw, _Draw], fprs: Sequence[float]) -> FloatArray:
    """AUC, advantage, precision, recall, and TPR at each FPR, of the weighted scores of each draw; shape (D, 4 + ...).

    Weights are whole numbers, so that sums are exact in whatever order they are taken.
    """
    whole = [_cumulated(own.weight) for own in draws]
    inside, outside = whole
    n_inside, n_outside = inside[:, -1], outside[:, -1]
    below_and_up_to = outside.take(ladder.others_below, axis=1) + outside.take(ladder.others_up_to, axis=1)
    auc = np.einsum("dn,dn->d", draws[0].weight, below_and_up_to) / (2 * n_inside * n_outside)
    rates = np.zeros((2, len(auc)))
    for learn in (True, False):
        learnt = [_cumulated(own.weight * (own.half == learn)) for own in draws]
        threshold = _best_threshold(ladder, learnt)
        for rate, side, every, own in zip(rates, ladder.sides, whole, learnt, strict=True):
            asked = every - own
            place = np.searchsorted(side.scores, threshold, side="right")
            rate += (asked[:, -1] - _at(asked, place)) / (2 * np.maximum(asked[:, -1], 1e-300))
    tpr, fpr = rates
    # Called members by nobody: as precise as guessing.
    precision = np.where(tpr + fpr > 0, tpr / np.where(tpr + fpr > 0, tpr + fpr, 1.0), 0.5)
    at = []
    for allowed in fprs:
        above = n_outside[:, None] - outside.take(ladder.own_up_to, axis=1)
        # The lowest threshold among the others' scores that at most this share of them exceeds.
        lowest = np.argmax(above <= allowed * n_outside[:, None] * (1 + 1e-12), axis=1)
        at.append((n_inside - _at(inside, ladder.members_up_to[lowest])) / n_inside)
    return np.stack([auc, tpr - fpr, precision, tpr, *at], axis=1)


def _best_threshold(ladder: _Ladder, cumulated: Sequence[FloatArray]) -> FloatArray:
    """Threshold of each draw with the largest TPR − FPR, shape (D,); infinite where nobody has a weight."""
    up_to = [own.take(places, axis=1) for own, places in zip(cumulated, ladder.up_to, strict=True)]
    above = [1 - own / np.maximum(own[:, -1:], 1e-300) for own in up_to]
    # Only scores with a weight are candidates.
    present = np.diff(up_to[0] + up_to[1], axis=1, prepend=0.0) > 0
    best = np.where(present, above[0] - above[1], -np.inf).argmax(axis=1)
    later = present & (np.arange(len(ladder.steps)) > best[:, None])
    following = np.where(later.any(axis=1), later.argmax(axis=1), best)
    # Half way to the next score, so that the other half's scores near it fall on either side.
    threshold = np.where(following > best, (ladder.steps[best] + ladder.steps[following]) / 2, ladder.steps[best])
    return np.where(present.any(axis=1), threshold, np.inf)


def _cumulated(weight: FloatArray) -> FloatArray:
    """Weight of the first k scores for k from 0, shape (D, n + 1)."""
    found = np.zeros((len(weight), weight.shape[1] + 1))
    np.cumsum(weight, axis=1, out=found[:, 1:])
    return found


def _at(matrix: FloatArray, place: IntArray) -> FloatArray:
    return matrix[np.arange(len(matrix)), place]


def _interval(value: float, draws: FloatArray, n_groups: int) -> Estimate:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    if high - low < 1e-12 and value in (0.0, 1.0):
        low, high = clopper_pearson(value * n_groups, n_groups, tail)
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))
