"""What fidelity compares of each daily profile: level, autocorrelation, magnitude and timing of peaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, as_floats, short_repr
from unlearn.errors import InputError
from unlearn.studies._shared.fidelity.distances import (
    binned_jensen_shannon,
    circular_wasserstein,
    jensen_shannon,
    kolmogorov_smirnov,
    ordered_kolmogorov_smirnov,
    quantile_edges,
    wasserstein,
)

HOURS = 24.0


@dataclass(frozen=True)
class Feature:
    """One thing that is compared: its aspect, the unit of its Wasserstein distance, and its distances."""

    name: str
    aspect: str
    unit: str
    distances: tuple[str, ...] = ("wasserstein", "ks", "js")


#: `masked` has no Jensen-Shannon distance: most of its values are 0, which leaves a single quantile bin.
FEATURES = (
    Feature("mean", "level", "kWh"),
    Feature("p95", "level", "kWh"),
    Feature("acf", "autocorrelation", "1"),
    Feature("magnitude", "peaks", "kWh"),
    Feature("timing", "peaks", "h"),
    Feature("masked", "peaks", "kWh", ("wasserstein", "ks")),
)


@short_repr
@dataclass(frozen=True, eq=False)
class ProfileFeatures:
    """Features of N profiles of S steps.

    Attributes:
        mean: mean energy of a step in kWh, shape (N, 1).
        p95: 95th percentile of the energy of a step in kWh, shape (N, 1).
        acf: autocorrelation at lags of 1 to S/2 steps, shape (N, S/2); NaN where a profile is constant.
        magnitude: the k largest steps in kWh, largest first, shape (N, k).
        timing: weight of each step among the k largest, shape (N, S).
        masked: the profiles with all but their k largest steps set to 0, in kWh, shape (N, S).
    """

    mean: FloatArray
    p95: FloatArray
    acf: FloatArray
    magnitude: FloatArray
    timing: FloatArray
    masked: FloatArray

    def __len__(self) -> int:
        return len(self.mean)

    def take(self, rows: ArrayLike) -> ProfileFeatures:
        """Features of these profiles."""
        return ProfileFeatures(**{feature.name: getattr(self, feature.name)[rows] for feature in FEATURES})

    @property
    def constant_share(self) -> float:
        """Share of profiles that are constant and so have no autocorrelation."""
        return float(np.isnan(self.acf[:, 0]).mean())

    def columns(self, name: str) -> FloatArray:
        """A feature as sample columns, shape (rows, C): lags and steps side by side, magnitudes in one column."""
        values: FloatArray = getattr(self, name)
        if name == "magnitude":
            return values.reshape(-1, 1)
        return values[~np.isnan(values[:, 0])] if name == "acf" else values


def profile_features(kwh: ArrayLike, top_k: int) -> ProfileFeatures:
    """Compute the features of profiles.

    Args:
        kwh: energy per step, shape (N, S).
        top_k: how many of the largest steps of a profile count as its peaks.

    Raises:
        InputError: not a matrix, or top_k not below S.
    """
    energy = as_floats("kwh", kwh, ndim=2)
    if not 1 <= top_k < energy.shape[1]:
        raise InputError(f"top_k: expected 1 to {energy.shape[1] - 1} peaks of {energy.shape[1]} steps, got {top_k}.")
    magnitude, timing = _peaks(energy, top_k)
    return ProfileFeatures(
        mean=energy.mean(axis=1, keepdims=True),
        p95=np.quantile(energy, 0.95, axis=1)[:, None],
        acf=autocorrelation(energy, energy.shape[1] // 2),
        magnitude=magnitude,
        timing=timing,
        masked=energy * timing,
    )


def autocorrelation(series: ArrayLike, max_lag: int) -> FloatArray:
    """Sample autocorrelation of each row: Σ_t (x_t − m)(x_{t+l} − m) / Σ_t (x_t − m)².

    Args:
        series: shape (N, S).
        max_lag: lags go from 1 to this.

    Returns:
        Shape (N, max_lag); a row that is constant has none and is NaN.
    """
    values = as_floats("series", series, ndim=2)
    varies = np.ptp(values, axis=1) > 0
    centred = values[varies] - values[varies].mean(axis=1, keepdims=True)
    # Products of tiny energies would underflow; the coefficients do not depend on scale.
    centred /= np.abs(centred).max(axis=1, keepdims=True)
    power = (centred**2).sum(axis=1)
    result = np.full((len(values), max_lag), np.nan)
    for lag in range(1, max_lag + 1):
        result[varies, lag - 1] = np.einsum("nt,nt->n", centred[:, :-lag], centred[:, lag:]) / power
    return result


def _peaks(energy: FloatArray, top_k: int) -> tuple[FloatArray, FloatArray]:
    """The k largest values of each row, and how much each step counts among them.

    Steps that tie for the last places share them: taking the first ones would move the peaks of meters that count
    in whole watt-hours towards midnight. A step without energy is no peak.
    """
    magnitude = -np.sort(-energy, axis=1)[:, :top_k]
    last = magnitude[:, -1:]
    above, tied = energy > last, energy == last
    places = top_k - above.sum(axis=1, keepdims=True)
    weight = above + tied * (places / tied.sum(axis=1, keepdims=True))
    return magnitude, np.where(energy > 0, weight, 0.0)


def bins_of(features: ProfileFeatures, n_bins: int) -> dict[str, FloatArray]:
    """Edges of the Jensen-Shannon bins of each feature that needs them: quantiles of these profiles."""
    binned = [feature.name for feature in FEATURES if "js" in feature.distances and feature.name != "timing"]
    columns = {name: features.columns(name) for name in binned}
    return {name: quantile_edges(column, n_bins) for name, column in columns.items() if len(column)}


def feature_distances(
    left: ProfileFeatures, right: ProfileFeatures, bins: Mapping[str, FloatArray]
) -> dict[tuple[str, str], FloatArray]:
    """Every distance of every feature between two sets of profiles.

    Args:
        left: one side.
        right: the other.
        bins: from `bins_of` real training profiles.

    Returns:
        By feature and distance, one number per column (lag, step). A side without any profile that varies, or
        without any peak, has no such distance: NaN.
    """
    found: dict[tuple[str, str], FloatArray] = {}
    for feature in FEATURES:
        first, second = left.columns(feature.name), right.columns(feature.name)
        for distance in feature.distances:
            found[feature.name, distance] = _distance(feature.name, distance, first, second, bins)
    return found


def _distance(
    name: str, distance: str, left: FloatArray, right: FloatArray, bins: Mapping[str, FloatArray]
) -> FloatArray:
    if name == "timing":
        first, second = left.sum(axis=0), right.sum(axis=0)
        if not first.any() or not second.any():
            return np.array([np.nan])
        if distance == "wasserstein":
            return np.atleast_1d(circular_wasserstein(first, second, HOURS))
        return np.atleast_1d((jensen_shannon if distance == "js" else ordered_kolmogorov_smirnov)(first, second))
    if not len(left) or not len(right) or (distance == "js" and name not in bins):
        return np.full(left.shape[1], np.nan)
    if distance == "js":
        return binned_jensen_shannon(left, right, bins[name])
    return (wasserstein if distance == "wasserstein" else kolmogorov_smirnov)(left, right)
