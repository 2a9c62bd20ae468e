"""What public loads of other households tell of unknown windows: their mean, how hours vary together, and bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearn.attacks.member_update import WindowShapes
from unlearn.checks import FloatArray, as_floats, require_finite, require_fraction, require_shape
from unlearn.errors import InputError

#: Share of the covariance that is taken from the variances alone: few public windows tell little of all pairs of hours.
_SHRINKAGE = 0.1
#: Public rows below which there is no covariance to speak of.
_LEAST_ROWS = 8


@dataclass(frozen=True, eq=False)
class Prior:
    """A Gaussian guess of a row, x = mean + factor z with standard normal z, and the interval that it may lie in.

    A row is a window and its target after each other, K numbers.

    Attributes:
        mean: shape (K,), or (rows, K) where rows are guessed apart.
        factor: lower triangular with a diagonal above 0, as of Cholesky, shape (K, K).
        low: shape of the mean.
        high: shape of the mean.
    """

    mean: FloatArray
    factor: FloatArray
    low: FloatArray
    high: FloatArray

    def __post_init__(self) -> None:
        mean = as_floats("prior.mean", self.mean)
        k = mean.shape[-1] if mean.ndim in (1, 2) else -1
        if k < 1:
            raise InputError(f"prior.mean: expected shape (K,) or (rows, K), got {mean.shape}.")
        require_finite("prior.mean", mean)
        factor = as_floats("prior.factor", self.factor, ndim=2)
        require_shape("prior.factor", factor, (k, k))
        require_finite("prior.factor", factor)
        if np.triu(factor, 1).any() or not (np.diag(factor) > 0).all():
            raise InputError("prior.factor: expected a lower triangular matrix with a diagonal above 0, got another.")
        low, high = as_floats("prior.low", self.low), as_floats("prior.high", self.high)
        for name, bound in (("low", low), ("high", high)):
            require_shape(f"prior.{name}", bound, mean.shape)
        if not (low <= high).all():
            raise InputError("prior: expected low bounds that are at most the high ones, got others or NaN.")
        for name, value in (("mean", mean), ("factor", factor), ("low", low), ("high", high)):
            object.__setattr__(self, name, value)


def no_prior(shapes: WindowShapes) -> Prior:
    """That of an attacker without public loads: standard normal numbers without bounds."""
    k = shapes.n_window + shapes.n_target
    return Prior(np.zeros(k), np.eye(k), np.full(k, -np.inf), np.full(k, np.inf))


def prior_of(
    windows: ArrayLike, targets: ArrayLike, shapes: WindowShapes, quantiles: tuple[float, float] = (0.01, 0.99)
) -> Prior:
    """Mean, shrunk covariance and quantiles of public rows.

    Args:
        windows: public ones, shape (R, *window), at least 8.
        targets: of these, shape (R, *target).
        shapes: of the rows that are looked for.
        quantiles: low and high bound of each hour.

    Raises:
        InputError: other shapes, NaN, fewer than 8 rows, quantiles that are not in order.
    """
    rows = public_rows(windows, targets, shapes)
    if len(rows) < _LEAST_ROWS:
        raise InputError(f"public: expected at least {_LEAST_ROWS} rows to learn a prior from, got {len(rows)}.")
    low, high = (require_fraction("quantiles", level) for level in quantiles)
    if low >= high:
        raise InputError(f"quantiles: expected the low one first, got {quantiles}.")
    covariance = np.cov(rows, rowvar=False)
    variance = np.diag(covariance)
    floor = 1e-6 * max(float(variance.mean()), np.finfo(float).tiny)
    shrunk = (1 - _SHRINKAGE) * covariance + np.diag(_SHRINKAGE * variance + floor)
    bounds = np.quantile(rows, [low, high], axis=0)
    return Prior(rows.mean(axis=0), as_floats("factor", np.linalg.cholesky(shrunk)), bounds[0], bounds[1])


def public_rows(windows: ArrayLike, targets: ArrayLike, shapes: WindowShapes, name: str = "public") -> FloatArray:
    """Windows and targets after each other, shape (R, K).

    Raises:
        InputError: other shapes than those of `shapes`, or NaN.
    """
    inputs, outputs = as_floats(f"{name} windows", windows), as_floats(f"{name} targets", targets)
    require_shape(f"{name} windows", inputs, (None, *shapes.window))
    require_shape(f"{name} targets", outputs, (len(inputs), *shapes.target))
    require_finite(f"{name} windows", inputs)
    require_finite(f"{name} targets", outputs)
    return np.concatenate([inputs.reshape(len(inputs), -1), outputs.reshape(len(outputs), -1)], axis=1)
