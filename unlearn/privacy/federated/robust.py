"""How a round's updates become one: the weighted mean, and rules that a malicious member cannot lead anywhere.

Robust rules look at single updates, so they need updates in plain sight of the coordinator. Under secure summation it
sees their sum alone: nothing can be inspected, a bound on norms is then a promise of the members, and the weighted mean
is what can be computed. That is the trade: whoever wants both sums securely within groups and compares the groups.

Weights are numbers of rows that members claim. A member can claim any number, so rules that promise something against
malicious members count each of them once, but for `GeometricMedian`, whose promise is about shares of the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from unlearn.checks import (
    FloatArray,
    IntArray,
    as_floats,
    require_count,
    require_finite,
    require_positive,
    require_shape,
)
from unlearn.errors import ConvergenceError, InputError
from unlearn.registry import Registry

#: An update, shape (P,), and positions of members that it was made without.
Combined = tuple[FloatArray, IntArray]

_NOBODY = np.zeros(0, dtype=np.int64)


class Aggregator(Protocol):
    """Makes one update of those of m members.

    Attributes:
        least: members that it needs.
    """

    @property
    def least(self) -> int: ...

    def __call__(self, weights: FloatArray, updates: FloatArray) -> Combined:
        """Combine.

        Args:
            weights: above 0, shape (m,).
            updates: finite, shape (m, P).

        Returns:
            The update, shape (P,), and sorted positions of members that were left out as a whole.

        Raises:
            InputError: other shapes, NaN, or fewer members than `least`.
        """
        ...


def _checked(least: int, weights: FloatArray, updates: FloatArray) -> tuple[FloatArray, FloatArray]:
    updates = as_floats("updates", updates, ndim=2)
    weights = as_floats("weights", weights, ndim=1)
    require_shape("weights", weights, (len(updates),))
    require_finite("updates", updates)
    require_finite("weights", weights)
    if len(updates) < least:
        raise InputError(
            f"aggregation: expected updates of at least {least} members, got {len(updates)}. Ask more members, or take "
            "an aggregation that tolerates fewer malicious ones."
        )
    if (weights <= 0).any():
        raise InputError(f"weights: expected numbers above 0, got {weights.min():g} at {int(weights.argmin())}.")
    return weights / weights.sum(), updates


@dataclass(frozen=True)
class WeightedMean:
    """Mean weighted by rows, as in federated averaging; one malicious member can lead it anywhere.

    >>> WeightedMean()(np.array([1.0, 3.0]), np.array([[0.0], [4.0]]))[0].tolist()
    [3.0]
    """

    least: int = 1

    def __call__(self, weights: FloatArray, updates: FloatArray) -> Combined:
        weights, updates = _checked(self.least, weights, updates)
        return weights @ updates, _NOBODY


@dataclass(frozen=True)
class ClippedMean:
    """Weighted mean of updates whose norms are cut to a bound.

    It stays within the bound of 0. A member of a large claimed weight can still use all of it.

    Attributes:
        bound: largest norm; None means the median norm of the round.
    """

    bound: float | None = None
    least: int = 1

    def __post_init__(self) -> None:
        if self.bound is not None:
            require_positive("bound", self.bound)

    def __call__(self, weights: FloatArray, updates: FloatArray) -> Combined:
        weights, updates = _checked(self.least, weights, updates)
        norms = np.linalg.norm(updates, axis=1)
        bound = float(np.median(norms)) if self.bound is None else self.bound
        # A norm of 0 is within any bound; a bound of 0 leaves nothing of the others.
        factors = np.minimum(1.0, np.divide(bound, norms, out=np.ones_like(norms), where=norms > 0))
        return (weights * factors) @ updates, _NOBODY


@dataclass(frozen=True)
class CoordinateMedian:
    """Median of each entry over the members, each counted once; a minority cannot leave the range of the others.

    Yin et al. 2018.
    """

    least: int = 1

    def __call__(self, weights: FloatArray, updates: FloatArray) -> Combined:
        _, updates = _checked(self.least, weights, updates)
        return np.median(updates, axis=0), _NOBODY


@dataclass(frozen=True)
class TrimmedMean:
    """Mean of each entry without its lowest and highest values, each member counted once (Yin et al. 2018).

    Attributes:
        malicious: how many values are left out at either end, and how many malicious members that bears.
    """

    malicious: int = 1

    def __post_init__(self) -> None:
        require_count("malicious", self.malicious)

    @property
    def least(self) -> int:
        return 2 * self.malicious + 1

    def __call__(self, weights: FloatArray, updates: FloatArray) -> Combined:
        _, updates = _checked(self.least, weights, updates)
        inner = np.sort(updates, axis=0)[self.malicious : len(updates) - self.malicious]
        return inner.mean(axis=0), _NOBODY


@dataclass(frozen=True)
class MultiKrum:
    """Mean of the updates that are closest to their nearest neighbours, each member counted once.

    The score of an update is the sum of squared distances to its `m − malicious − 2` nearest ones (Blanchard et al.
    2017). Among equal scores the member that comes first is kept.

    Attributes:
        malicious: how many malicious members it bears.
        kept: how many updates are kept; None means all but `malicious`.
    """

    malicious: int = 1
    kept: int | None = None

    def __post_init__(self) -> None:
        require_count("malicious", self.malicious)
        if self.kept is not None:
            require_count("kept", self.kept)

    @property
    def least(self) -> int:
        return max(2 * self.malicious + 3, self.kept or 0)

    def __call__(self, weights: FloatArray, updates: FloatArray) -> Combined:
        _, updates = _checked(self.least, weights, updates)
        n_kept = len(updates) - self.malicious if self.kept is None else self.kept
        order = np.argsort(self.scores(updates), kind="stable")
        kept = np.sort(order[:n_kept])
        return updates[kept].mean(axis=0), np.sort(order[n_kept:]).astype(np.int64)

    def scores(self, updates: FloatArray) -> FloatArray:
        """Score of each update, shape (m,); the lower, the closer it is to its neighbours."""
        squares = np.stack([np.square(updates - own).sum(axis=1) for own in updates])
        np.fill_diagonal(squares, np.inf)
        return np.sort(squares, axis=1)[:, : len(updates) - self.malicious - 2].sum(axis=1)


@dataclass(frozen=True)
class Krum(MultiKrum):
    """The one update that is closest to its nearest neighbours (Blanchard et al. 2017)."""

    kept: int | None = 1


@dataclass(frozen=True)
class GeometricMedian:
    """The point with the least weighted sum of distances to the updates (Pillutla et al. 2022).

    It stays bounded while malicious members hold less than half of the weight.

    Attributes:
        tolerance: largest length of the gradient, as a share of the weight, at which Weiszfeld's iteration stops.
        max_iterations: after which it gives up.
    """

    tolerance: float = 1e-9
    max_iterations: int = 100_000
    least: int = 1

    def __post_init__(self) -> None:
        require_positive("tolerance", self.tolerance)
        require_count("max_iterations", self.max_iterations)

    def __call__(self, weights: FloatArray, updates: FloatArray) -> Combined:
        """Combine.

        Raises:
            InputError: see `Aggregator`.
            ConvergenceError: the gradient is still longer than the tolerance after all iterations.
        """
        weights, updates = _checked(self.least, weights, updates)
        return self._shares(weights, _flattened(updates)) @ updates, _NOBODY

    def _shares(self, weights: FloatArray, points: FloatArray) -> FloatArray:
        """The median as a convex combination of the points, shape (m,); `weights` add up to 1."""
        # An update is the median where the pull of the others is not above its own weight. Weiszfeld's iteration
        # would approach it ever more slowly, and stand still at one that is not: all of them are tried first.
        apart = np.linalg.norm(points[:, None] - points[None, :], axis=2)
        same = apart == 0
        pull = weights[None, :] / np.where(same, np.inf, apart)  # (m, m), of the second on the first
        pulled = np.linalg.norm(pull @ points - pull.sum(axis=1, keepdims=True) * points, axis=1)
        excess = pulled - same @ weights
        if excess.min() <= self.tolerance:
            return np.eye(len(points))[excess.argmin()]
        shares = weights
        for _ in range(self.max_iterations):
            centre = shares @ points
            distance = np.linalg.norm(points - centre, axis=1)
            if not distance.all():  # it stands on an update that is not the median: step off it
                k = int(distance.argmin())
                shares = _stepped_off(shares, pull[k], excess[k] / pulled[k])
                continue
            own = weights / distance
            shares = own / own.sum()
            if np.linalg.norm(own @ points - own.sum() * centre) <= self.tolerance:
                return shares
        raise ConvergenceError(
            f"geometric median: expected a gradient of at most {self.tolerance:g}, got a longer one after "
            f"{self.max_iterations} iterations. Raise tolerance or max_iterations."
        )


def _flattened(updates: FloatArray) -> FloatArray:
    """Coordinates of m updates within the space that they span, shape (m, at most m): distances stay as they are."""
    centred = updates - np.median(updates, axis=0)
    if updates.shape[1] <= len(updates):
        return centred
    triangle: FloatArray = np.linalg.qr(centred.T)[1]
    return triangle.T


def _stepped_off(shares: FloatArray, pull: FloatArray, step: float) -> FloatArray:
    """Vardi and Zhang 2000: towards the mean of the other points, weighted by what they pull with."""
    return (1 - step) * shares + step * pull / pull.sum()


#: Aggregations by name.
AGGREGATORS: Registry[type[Aggregator]] = Registry(
    "aggregation",
    {
        "mean": WeightedMean,
        "clipped": ClippedMean,
        "median": CoordinateMedian,
        "trimmed": TrimmedMean,
        "krum": Krum,
        "multi_krum": MultiKrum,
        "geometric": GeometricMedian,
    },
)
