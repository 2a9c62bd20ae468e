"""What fidelity compares: features of daily profiles, samples of them, and the real households' own distances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, as_floats, short_repr
from unlearn.errors import InputError
from unlearn.households.by_household import HouseholdProfiles, household_profiles, split_households
from unlearn.studies._shared.fidelity.distances import (
    DayClusters,
    binned_jensen_shannon,
    circular_wasserstein,
    fit_clusters,
    jensen_shannon,
    kolmogorov_smirnov,
    ordered_kolmogorov_smirnov,
    quantile_edges,
    total_variation,
    wasserstein,
)
from unlearn.studies._shared.options import FidelityOptions

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
    """Every distance of every feature between two sets of profiles, with `bins_of` real training profiles.

    Returns:
        By feature and distance, one number per column (lag, step). A side without any profile that varies, or
        without any peak, has no such distance: NaN.
    """
    return {
        (own.name, distance): _distance(own.name, distance, left.columns(own.name), right.columns(own.name), bins)
        for own in FEATURES
        for distance in own.distances
    }


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


OCCUPANCY = Feature("occupancy", "clusters", "1", ("js", "tv"))
#: All that is compared, by name.
COMPARED = {feature.name: feature for feature in (*FEATURES, OCCUPANCY)}


class Key(NamedTuple):
    """What a distance is of: scope, feature and kind of distance; the cluster, if the scope is one."""

    scope: str
    feature: str
    distance: str
    cluster: int | None = None


#: Distances by what they are of, one per column (lag, step) of the feature.
Distances = dict[Key, FloatArray]


@short_repr
@dataclass(frozen=True, eq=False)
class Sample:
    """Profiles in random order, so that the first rows of a cluster are a random sample of it.

    Attributes:
        kwh: energy, shape (n, S).
        features: of each profile.
        cluster: of each profile, shape (n,).
        n_clusters: clusters K.
    """

    kwh: FloatArray
    features: ProfileFeatures
    cluster: IntArray
    n_clusters: int

    @property
    def members(self) -> IntArray:
        """Profiles in each cluster, shape (K,)."""
        return np.bincount(self.cluster, minlength=self.n_clusters)

    def inside(self, cluster: int, limit: int | None = None) -> ProfileFeatures:
        """Features of the first `limit` profiles of a cluster."""
        return self.features.take(np.flatnonzero(self.cluster == cluster)[:limit])


def make_sample(kwh: FloatArray, clusters: DayClusters, top_k: int) -> Sample:
    """Compute features and clusters of profiles of shape (n, S)."""
    return Sample(kwh, profile_features(kwh, top_k), clusters.predict(kwh), clusters.n_clusters)


@short_repr
@dataclass(frozen=True, eq=False)
class Bins:
    """Bin edges of Jensen-Shannon distances: of all training profiles, and of those in each cluster."""

    everywhere: Mapping[str, FloatArray]
    inside: tuple[Mapping[str, FloatArray], ...]


def make_bins(train: Sample, n_bins: int) -> Bins:
    """Bins at quantiles of real training profiles; a cluster without any has none."""
    inside = (train.inside(c) for c in range(train.n_clusters))
    return Bins(bins_of(train.features, n_bins), tuple(bins_of(own, n_bins) if len(own) else {} for own in inside))


def distances_overall(left: Sample, right: Sample, bins: Bins) -> Distances:
    """Every distance over all profiles, and those of the occupancy of clusters."""
    found: Distances = {
        Key("all", *name): value
        for name, value in feature_distances(left.features, right.features, bins.everywhere).items()
    }
    found[Key("all", "occupancy", "js")] = np.atleast_1d(jensen_shannon(left.members, right.members))
    found[Key("all", "occupancy", "tv")] = np.atleast_1d(total_variation(left.members, right.members))
    return found


def distances_inside(left: Sample, right: Sample, bins: Bins, limits: IntArray) -> Distances:
    """Every distance inside each cluster.

    Args:
        left: one side.
        right: the other.
        bins: of the Jensen-Shannon distances.
        limits: profiles of the left side that are used in each cluster, shape (K,): equal numbers make two
            distances comparable, as small samples lie further apart. 0 leaves the cluster out.
    """
    found: Distances = {}
    for cluster in map(int, np.flatnonzero(limits)):
        sides = left.inside(cluster, limits[cluster]), right.inside(cluster)
        for (feature, distance), value in feature_distances(*sides, bins.inside[cluster]).items():
            found[Key("cluster", feature, distance, cluster)] = value
    return found


def mean_over_clusters(found: Distances, beside: Distances, occupancy: IntArray) -> Distances:
    """Averages inside clusters, weighted by occupancy, over clusters where both `found` and `beside` have a number.

    Args:
        found: what is averaged.
        beside: what it is to be compared with.
        occupancy: weight of each cluster, shape (K,).

    Returns:
        One number for each feature and distance; none where no cluster has both.
    """
    means: Distances = {}
    for feature in FEATURES:
        for distance in feature.distances:
            values, weights = [], []
            for cluster, weight in enumerate(occupancy):
                key = Key("cluster", feature.name, distance, cluster)
                if key in found and key in beside and np.isfinite([found[key].mean(), beside[key].mean()]).all():
                    values.append(found[key].mean())
                    weights.append(weight)
            if values:
                mean = np.average(values, weights=weights)
                means[Key("mean over clusters", feature.name, distance)] = np.array([mean])
    return means


@short_repr
@dataclass(frozen=True, eq=False)
class RealSide:
    """What all releases are compared with.

    Attributes:
        train: sample of the households that generators were fitted on.
        holdout: sample of other households.
        household: of each holdout profile, shape (n,).
        clusters: fitted on the training sample.
        bins: at its quantiles.
    """

    train: Sample
    holdout: Sample
    household: IntArray
    clusters: DayClusters
    bins: Bins

    @property
    def n_profiles(self) -> int:
        """Profiles a side."""
        return len(self.train.kwh)

    @cached_property
    def overall(self) -> Distances:
        """The floor over all profiles: distances of train to holdout."""
        return distances_overall(self.train, self.holdout, self.bins)

    def inside(self, limits: IntArray) -> Distances:
        """The floor inside clusters, with so many training profiles in each, shape (K,)."""
        return distances_inside(self.train, self.holdout, self.bins, limits)


def make_real_side(
    train: HouseholdProfiles, holdout: HouseholdProfiles, n: int, options: FidelityOptions, seed: int
) -> RealSide:
    """Draw n profiles of each set of households and fit the clusters."""
    rows = [np.random.default_rng([seed, i]).permutation(len(side))[:n] for i, side in enumerate((train, holdout))]
    energy = [side.kwh[own].astype(np.float64) for side, own in zip((train, holdout), rows, strict=True)]
    clusters = fit_clusters(energy[0], options.n_clusters, seed)
    kept, other = (make_sample(own, clusters, options.top_k) for own in energy)
    return RealSide(kept, other, holdout.household[rows[1]], clusters, make_bins(kept, options.n_bins))


def divisions(
    train: HouseholdProfiles, holdout: HouseholdProfiles, real: RealSide, options: FidelityOptions, seed: int
) -> Iterator[Distances]:
    """Distances between the two sides of other divisions of all households, with the same clusters and bins."""
    together = household_profiles(
        train.name,
        np.concatenate([train.kwh, holdout.kwh]),
        np.concatenate([train.household, holdout.household + train.n_households]),
        np.concatenate([train.date, holdout.date]),
        pd.concat([train.households, holdout.households], ignore_index=True),
        train.segments,
    )
    share = holdout.n_households / together.n_households
    for repeat in range(options.n_divisions):
        random = np.random.default_rng([seed, repeat, 3])
        halves = split_households(together, share, int(random.integers(2**31)))
        rows = (random.permutation(len(half))[: real.n_profiles] for half in halves)
        energy = (half.kwh[own].astype(np.float64) for half, own in zip(halves, rows, strict=True))
        left, right = (make_sample(own, real.clusters, options.top_k) for own in energy)
        limits = comparable_members([left, right], options.min_members)
        yield distances_overall(left, right, real.bins) | distances_inside(left, right, real.bins, limits)


def comparable_members(samples: Sequence[Sample], min_members: int) -> IntArray:
    """Profiles to use of each cluster, shape (K,): the fewest of the samples but the last, which others face.

    0 where any sample, the last included, has fewer than `min_members`.
    """
    members = np.stack([sample.members for sample in samples])
    return members[:-1].min(axis=0) * (members.min(axis=0) >= min_members)
