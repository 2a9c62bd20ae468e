"""Samples of profiles with their features and clusters, and every distance between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.studies.fidelity.clusters import DayClusters
from unlearn.studies.fidelity.distances import jensen_shannon, total_variation
from unlearn.studies.fidelity.features import (
    FEATURES,
    Feature,
    ProfileFeatures,
    bins_of,
    feature_distances,
    profile_features,
)

#: Where a distance is taken: over all profiles, inside one cluster, averaged over clusters by their occupancy.
SCOPES = ("all", "cluster", "mean over clusters")

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
