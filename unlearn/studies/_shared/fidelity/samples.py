"""Samples of profiles that are compared, and the real households' own distances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.households.by_household import HouseholdProfiles, household_profiles, split_households
from unlearn.studies._shared.fidelity.distances import DayClusters, fit_clusters, jensen_shannon, total_variation
from unlearn.studies._shared.fidelity.features import (
    FEATURES,
    Feature,
    ProfileFeatures,
    bins_of,
    feature_distances,
    profile_features,
)
from unlearn.studies._shared.options import FidelityOptions

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
                means[Key("mean over clusters", feature.name, distance)] = np.array(
                    [np.average(values, weights=weights)]
                )
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
