"""Relinking: two releases of other times with new pseudonyms for the same households; who is who?

A household keeps its habits, so that pseudonyms that are changed every month hide it only from those who do not compare
(Buchmann et al. 2013, "Re-identification of smart meter data"; Tudor, Almgren and Papatriantafilou 2015, "A study on
data de-pseudonymization in the smart grid").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearn.attacks.outcome import Estimate
from unlearn.attacks.risk import exact_rate
from unlearn.checks import BoolArray, FloatArray, IntArray, as_floats, require_finite, require_shape
from unlearn.errors import InputError

#: kWh: what a logarithm of an energy starts from, so that steps without any are defined.
_FLOOR_KWH = 0.01
#: Shares of a household's readings that lie below its quantiles.
_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)


@dataclass(frozen=True, eq=False)
class Relinking:
    """What an attacker says of each record of the first release.

    Attributes:
        nearest: whether the nearest record of the second release is of the same household, shape (C,).
        assigned: whether the one-to-one assignment with the least total distance finds it, shape (C,).
        rank: of the right record among those of the second, 1 is the nearest, ties half, shape (C,).
        n_records: of the second release; guessing is right once in so many.
    """

    nearest: BoolArray
    assigned: BoolArray
    rank: FloatArray
    n_records: int

    @property
    def guessing(self) -> float:
        """Share right by guessing."""
        return 1 / self.n_records

    def metrics(self) -> dict[str, Estimate]:
        """Shares right, with Clopper & Pearson's intervals over households.

        Errors of an assignment come in pairs, so that its interval is a little too narrow.
        """
        n = len(self.rank)
        return {name: exact_rate(int(getattr(self, name).sum()), n) for name in ("nearest", "assigned")}


def usage_features(kwh: ArrayLike, slot: ArrayLike) -> FloatArray:
    """Level, spread and mean profile of each record, standardised over the release.

    The three groups count alike. Nothing but the release is used, as an attacker has it.

    Args:
        kwh: readings of C records, shape (C, T).
        slot: which part of the day or week each step is in, such as its half-hour on a workday or at a weekend, as
            whole numbers from 0, shape (T,). Slots of two releases to be compared must mean the same.

    Returns:
        Features, shape (C, F).

    Raises:
        InputError: fewer than two records, no or NaN readings, slots of another shape or with a number left out.
    """
    readings, part = as_floats("kwh", kwh, ndim=2), np.asarray(slot)
    require_finite("kwh", readings)
    require_shape("slot", part, (readings.shape[1],))
    if len(readings) < 2 or not readings.shape[1]:
        raise InputError(f"kwh: expected at least 2 records with readings, got shape {readings.shape}.")
    if not np.issubdtype(part.dtype, np.integer) or part.min() < 0 or len(np.unique(part)) != part.max() + 1:
        raise InputError("slot: expected whole numbers from 0 to the last slot, each at least once, got others.")
    order = np.argsort(part, kind="stable")
    start = np.searchsorted(part[order], np.arange(part.max() + 1))
    profile = np.add.reduceat(readings[:, order], start, axis=1) / np.bincount(part)
    level = np.log(readings.mean(axis=1, keepdims=True) + _FLOOR_KWH)
    spread = np.log(np.quantile(readings, _QUANTILES, axis=1).T + _FLOOR_KWH)
    groups = [_standardised(own) for own in (level, spread, np.log(profile + _FLOOR_KWH))]
    return np.concatenate([own / np.sqrt(own.shape[1]) for own in groups], axis=1)


def relink(first: ArrayLike, second: ArrayLike, truth: ArrayLike, seed: int = 0) -> Relinking:
    """Match the records of two releases by their features.

    >>> random = np.random.default_rng(0)
    >>> habits = random.normal(size=(40, 6))
    >>> may, june = (habits + 0.1 * random.normal(size=(40, 6)) for _ in range(2))
    >>> relink(may, june, np.arange(40)).metrics()["assigned"].value
    1.0

    Args:
        first: features of C records, shape (C, F).
        second: features of D records, shape (D, F).
        truth: record of the second release that is of the same household, shape (C,).
        seed: of the order in which ties are broken.

    Raises:
        InputError: shapes that do not fit, NaN, a record that is nobody's or that two of the first share.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    before, after = as_floats("first", first, ndim=2), as_floats("second", second, ndim=2)
    for name, side in (("first", before), ("second", after)):
        require_shape(name, side, (None, before.shape[1]))
        require_finite(name, side)
        if not side.size:
            raise InputError(f"{name}: expected records with features, got shape {side.shape}.")
    right = _require_truth(truth, len(before), len(after))
    # Where records tie, the first is taken: the order of the data must not give the truth away.
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(len(before)), random.permutation(len(after))
    distance = cdist(before[rows], after[columns], "sqeuclidean")
    own = np.argsort(columns)[right[rows]]
    least = distance[np.arange(len(own)), own][:, None]
    rank = 1 + (distance < least).sum(axis=1) + ((distance == least).sum(axis=1) - 1) / 2
    assigned = np.zeros(len(own), dtype=bool)
    found, chosen = linear_sum_assignment(distance)
    assigned[found] = own[found] == chosen
    back = np.argsort(rows)
    return Relinking((distance.argmin(axis=1) == own)[back], assigned[back], rank[back], len(after))


def _require_truth(truth: ArrayLike, n_first: int, n_second: int) -> IntArray:
    right = np.asarray(truth)
    require_shape("truth", right, (n_first,))
    if not np.issubdtype(right.dtype, np.integer) or right.min() < 0 or right.max() >= n_second:
        raise InputError(f"truth: expected records of the second release, from 0 to {n_second - 1}, got others.")
    if len(np.unique(right)) < n_first:
        raise InputError("truth: expected a record of its own for each of the first release, got one twice.")
    return right.astype(np.int64)


def _standardised(features: FloatArray) -> FloatArray:
    spread = features.std(axis=0)
    # What is the same for all, up to rounding, tells nobody apart.
    told = spread > 1e-9 * (1 + np.abs(features).max(axis=0))
    return np.where(told, (features - features.mean(axis=0)) / np.where(told, spread, 1.0), 0.0)
