"""Distances of samples and histograms, kinds of days, and how well a classifier tells two samples apart.

Kinds of days are clusters of a Gaussian mixture that is fitted on real training profiles.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_shape, short_repr
from unlearn.errors import InputError


def wasserstein(left: ArrayLike, right: ArrayLike) -> FloatArray:
    """Exact first Wasserstein distance of each column, the mean distance that energy is moved.

    It is the integral over p in [0, 1] of |F⁻¹(p) − G⁻¹(p)|, with F⁻¹ and G⁻¹ the empirical quantile functions.

    Args:
        left: sample of shape (n, C), or (n,) for one column.
        right: sample of shape (m, C) or (m,).

    Returns:
        One distance per column, shape (C,), in the unit of the samples.

    Raises:
        InputError: an empty sample, NaN or infinity, or different numbers of columns.
    """
    first, second = _sorted_columns(left, right)
    n, m = len(first), len(second)
    # Both quantile functions are constant between the breaks i/n and j/m: these are the same for all columns.
    # In units of 1/(nm) they are whole numbers, so that no break is missed by rounding.
    breaks = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    width = np.diff(breaks) / (n * m)
    gap = np.abs(first[breaks[:-1] // m] - second[breaks[:-1] // n])
    return width @ gap


def kolmogorov_smirnov(left: ArrayLike, right: ArrayLike) -> FloatArray:
    """Largest distance of the two empirical distribution functions of each column, in [0, 1].

    Args, shapes and errors are those of `wasserstein`.
    """
    first, second = _sorted_columns(left, right)
    return np.array([_largest_gap(first[:, c], second[:, c]) for c in range(first.shape[1])])


def _largest_gap(first: FloatArray, second: FloatArray) -> float:
    gaps = [
        np.searchsorted(first, at, side="right") / len(first) - np.searchsorted(second, at, side="right") / len(second)
        for at in (first, second)
    ]
    return float(np.abs(np.concatenate(gaps)).max())


def quantile_edges(sample: ArrayLike, n_bins: int) -> FloatArray:
    """Inner edges of bins that hold equal shares of a sample.

    Args:
        sample: shape (n, C) or (n,).
        n_bins: number of bins.

    Returns:
        Shape (n_bins - 1, C). Edges repeat where many values are equal: the bins between them stay empty.
    """
    (columns,) = _columns(sample)
    return np.quantile(columns, np.arange(1, n_bins) / n_bins, axis=0)


def binned_jensen_shannon(left: ArrayLike, right: ArrayLike, edges: FloatArray) -> FloatArray:
    """Jensen-Shannon distance of each column after binning, in [0, 1].

    Args:
        left: shape (n, C) or (n,).
        right: shape (m, C) or (m,).
        edges: inner edges, ascending, shape (bins - 1, C); a value on an edge belongs to the bin above it.

    Returns:
        One distance per column, shape (C,).
    """
    first, second = _sorted_columns(left, right)
    return jensen_shannon(_counts(first, edges), _counts(second, edges))


def _counts(ordered: FloatArray, edges: FloatArray) -> FloatArray:
    below = [np.searchsorted(ordered[:, c], edges[:, c], side="left") for c in range(ordered.shape[1])]
    return np.diff(np.stack(below), axis=1, prepend=0, append=len(ordered)).astype(np.float64)


def jensen_shannon(left: ArrayLike, right: ArrayLike) -> FloatArray:
    """Jensen-Shannon distance of histograms: the square root of the divergence in bits, in [0, 1].

    Args:
        left: counts or weights over the last axis, any sum above 0.
        right: the same shape.

    Returns:
        One distance for each of the leading axes; a scalar array for two vectors.

    Raises:
        InputError: negative or unfinite weights, different shapes, or an empty histogram.
    """
    p, q = _histograms(left, right)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    # Rounding may leave a divergence of -1e-17.
    return np.sqrt(np.clip(divergence, 0.0, 1.0))


def _relative_entropy(p: FloatArray, q: FloatArray) -> FloatArray:
    quotient = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return (p * np.log2(quotient)).sum(axis=-1)


def total_variation(left: ArrayLike, right: ArrayLike) -> FloatArray:
    """Half the sum of absolute differences of the shares: the share that would have to move; shapes as above."""
    p, q = _histograms(left, right)
    return np.abs(p - q).sum(axis=-1) / 2


def ordered_kolmogorov_smirnov(left: ArrayLike, right: ArrayLike) -> FloatArray:
    """Largest distance of the cumulative shares of histograms over ordered bins; shapes as in `jensen_shannon`."""
    p, q = _histograms(left, right)
    return np.abs(np.cumsum(p - q, axis=-1)).max(axis=-1)


def circular_wasserstein(left: ArrayLike, right: ArrayLike, period: float) -> FloatArray:
    """First Wasserstein distance of histograms over equal bins around a circle, such as the hours of a day.

    Mass may move either way round: of the cumulative differences, the best constant is taken off, their median
    (Rabin, Delon & Gousseau, "Transportation distances on the circle", 2011).

    Args:
        left: weights over the last axis.
        right: the same shape.
        period: circumference, in the unit of the result.
    """
    p, q = _histograms(left, right)
    flow = np.cumsum(p - q, axis=-1)
    return period * np.abs(flow - np.median(flow, axis=-1, keepdims=True)).mean(axis=-1)


def _columns(*samples: ArrayLike) -> list[FloatArray]:
    found = []
    for name, sample in zip(("left sample", "right sample"), samples, strict=False):
        array = as_floats(name, sample)
        array = array[:, None] if array.ndim == 1 else as_floats(name, array, ndim=2)
        if not array.size:
            raise InputError(f"{name}: expected at least one row and one column, got shape {array.shape}.")
        require_finite(name, array)
        found.append(array)
    if len({array.shape[1] for array in found}) > 1:
        raise InputError(f"samples: expected as many columns, got {[array.shape for array in found]}.")
    return found


def _sorted_columns(left: ArrayLike, right: ArrayLike) -> tuple[FloatArray, FloatArray]:
    first, second = _columns(left, right)
    return np.sort(first, axis=0), np.sort(second, axis=0)


def _histograms(left: ArrayLike, right: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as shares that sum to 1."""
    p, q = as_floats("left histogram", left), as_floats("right histogram", right)
    if p.shape != q.shape or not p.ndim:
        raise InputError(f"histograms: expected the same shape with at least one axis, got {p.shape} and {q.shape}.")
    for name, weights in (("left histogram", p), ("right histogram", q)):
        require_finite(name, weights)
        if (weights < 0).any() or (weights.sum(axis=-1) <= 0).any():
            raise InputError(
                f"{name}: expected weights of at least 0 with a sum above 0, got a least weight of {weights.min():g} "
                f"and a least sum of {weights.sum(axis=-1).min():g}."
            )
    return p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)


#: Principal components that the mixture is fitted on; on raw steps full covariances are not well determined.
N_COMPONENTS = 10

#: Added to energy before the logarithm, as a share of the mean step: keeps idle hours from dominating.
OFFSET_SHARE = 0.1

#: Training profiles that each cluster must have on average.
ROWS_PER_CLUSTER = 10


@short_repr
@dataclass(frozen=True, eq=False)
class DayClusters:
    """A mixture on the leading principal components of standardised log energy; everything learnt from train.

    Attributes:
        offset_kwh: added before the logarithm.
        mean: of the log energy of each step, shape (S,).
        scale: its standard deviation, shape (S,); 1 where it is 0.
        axes: principal axes, shape (S, components).
        mixture: fitted `sklearn.mixture.GaussianMixture`.
        rank: cluster of each mixture component, shape (K,): 0 has the least mean energy.
    """

    offset_kwh: float
    mean: FloatArray
    scale: FloatArray
    axes: FloatArray
    mixture: Any
    rank: IntArray

    @property
    def n_clusters(self) -> int:
        return len(self.rank)

    @property
    def converged(self) -> bool:
        """Whether the fit reached scikit-learn's tolerance."""
        return bool(self.mixture.converged_)

    def predict(self, kwh: ArrayLike) -> IntArray:
        """Most probable cluster of each profile, shape (N,), 0 to K − 1 by rising mean energy."""
        energy = as_floats("kwh", kwh, ndim=2)
        require_shape("kwh", energy, (None, len(self.mean)))
        if not len(energy):
            return np.empty(0, dtype=np.int64)
        standard = (np.log(energy + self.offset_kwh) - self.mean) / self.scale
        return self.rank[self.mixture.predict(standard @ self.axes)]


def fit_clusters(kwh: ArrayLike, n_clusters: int, seed: int) -> DayClusters:
    """Fit the mixture of K clusters to the energy of training profiles, shape (N, S).

    Raises:
        InputError: fewer than `ROWS_PER_CLUSTER` profiles a cluster, or no energy at all.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    energy = as_floats("kwh", kwh, ndim=2)
    if len(energy) < ROWS_PER_CLUSTER * n_clusters:
        raise InputError(
            f"n_clusters: expected at least {ROWS_PER_CLUSTER} profiles a cluster, got {len(energy)} profiles for "
            f"{n_clusters} clusters. Ask for fewer clusters or give more profiles."
        )
    if not energy.any():
        raise InputError("kwh: expected some energy to fit clusters on, got zeros only.")
    offset_kwh = OFFSET_SHARE * float(energy.mean())
    logarithm = np.log(energy + offset_kwh)
    mean, scale = logarithm.mean(axis=0), logarithm.std(axis=0)
    scale[scale == 0] = 1.0
    standard = (logarithm - mean) / scale
    # Eigenvalues ascend: the last axes carry the most variance.
    axes = np.linalg.eigh(standard.T @ standard)[1][:, ::-1][:, :N_COMPONENTS]
    mixture = GaussianMixture(n_clusters, reg_covar=1e-4, max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        # A fit that still moves a little is as good a coding of days; `converged` tells.
        warnings.simplefilter("ignore", ConvergenceWarning)
        component = mixture.fit_predict(standard @ axes)
    used, place = np.unique(component, return_inverse=True)
    level = np.full(n_clusters, np.inf)
    level[used] = np.bincount(place, weights=energy.mean(axis=1)) / np.bincount(place)
    rank = np.argsort(np.argsort(level, kind="stable")).astype(np.int64)
    return DayClusters(offset_kwh, mean, scale, axes, mixture, rank)


#: Draws of the bootstrap, and the interval that is taken from them.
N_BOOTSTRAP = 200
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Discrimination:
    """How well a classifier told two sets of profiles apart; 0.5 and 0 are "not at all".

    Attributes:
        auc: area under the ROC curve: the share of pairs of one profile of each side that are ranked rightly.
        auc_low: lower end of its 95 % bootstrap interval.
        auc_high: upper end.
        score: |balanced accuracy − 0.5|, the discriminative score of Yoon et al., "Time-series GAN", 2019; there of a
            recurrent network's plain accuracy.
        n_rows: profiles that it was measured on, both sides together.
    """

    auc: float
    auc_low: float
    auc_high: float
    score: float
    n_rows: int


def discriminate(left: ArrayLike, right: ArrayLike, right_group: ArrayLike, seed: int) -> Discrimination:
    """Train gradient-boosted trees to tell `left` from `right`, and measure them on profiles they have not seen.

    Half of each side trains the trees, the other half measures them. The right side is divided by household. The
    left side has no households, as a release has none; but identical profiles stay on one side. The interval is from
    a bootstrap over households on the right and over profiles on the left, with the trees as they are.

    Args:
        left: energy of the profiles to judge, in random order, shape (n, S).
        right: energy of real profiles in random order, shape (m, S).
        right_group: household of each real profile, shape (m,).
        seed: of divisions, trees and bootstrap.

    Raises:
        InputError: different numbers of steps, or fewer than two households or two different profiles on a side.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    first, second = as_floats("left", left, ndim=2), as_floats("right", right, ndim=2)
    require_shape("right", second, (None, first.shape[1]))
    household = np.unique(np.asarray(right_group), return_inverse=True)[1].astype(np.int64)
    require_shape("right_group", household, (len(second),))
    random = np.random.default_rng(seed)
    copies = np.unique(first, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    seen = [_half_of_groups(name, group, random) for name, group in (("left", copies), ("right", household))]
    # As many of each side; weights would make scikit-learn's binning ten times slower.
    n_each = int(min(mask.sum() for mask in seen))
    train = np.concatenate([side[mask][:n_each] for side, mask in zip((first, second), seen, strict=True)])
    trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
    trees.fit(train, np.repeat([1, 0], n_each))
    probability = [trees.predict_proba(side[~mask])[:, 1] for side, mask in zip((first, second), seen, strict=True)]
    balanced = ((probability[0] > 0.5).mean() + (probability[1] <= 0.5).mean()) / 2
    auc, draws = _auc(probability[0], probability[1], household[~seen[1]], random)
    low, high = np.quantile(draws, INTERVAL)
    return Discrimination(auc, float(low), float(high), float(abs(balanced - 0.5)), sum(map(len, probability)))


def _half_of_groups(name: str, group: IntArray, random: np.random.Generator) -> np.ndarray:
    n_groups = int(group.max()) + 1 if len(group) else 0
    if n_groups < 2:
        what = "different profiles" if name == "left" else "households"
        raise InputError(f"{name}: expected at least 2 {what}, one to train on and one to measure on, got {n_groups}.")
    return (random.permutation(n_groups) < n_groups // 2)[group]


def _auc(
    left: FloatArray, right: FloatArray, household: IntArray, random: np.random.Generator
) -> tuple[float, FloatArray]:
    """The area under the curve, and draws of it with households and left profiles resampled, shape (draws,)."""
    ordered = np.sort(left)
    below = np.searchsorted(ordered, right, side="left")
    up_to = np.searchsorted(ordered, right, side="right")
    # Share of left profiles ranked above each right one, ties counting half.
    above = 1.0 - (below + up_to) / (2 * len(left))
    kept, place = np.unique(household, return_inverse=True)
    draws = np.empty(N_BOOTSTRAP)
    for draw in range(N_BOOTSTRAP):
        count = np.bincount(random.integers(len(left), size=len(left)), minlength=len(left))
        total = np.concatenate([[0], np.cumsum(count)])
        again = 1.0 - (total[below] + total[up_to]) / (2 * len(left))
        weight = np.bincount(random.integers(len(kept), size=len(kept)), minlength=len(kept))[place]
        draws[draw] = np.average(again, weights=weight)
    return float(above.mean()), draws
