"""Distances between two samples, column by column, and between two histograms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, as_floats, require_finite
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
    """Rows of each column in each bin, shape (C, bins)."""
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
