"""The real side of fidelity: samples of both sets of households, clusters, and how far real ones are from real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, short_repr
from unlearn.errors import InputError
from unlearn.households.household_profiles import HouseholdProfiles, household_profiles, split_households
from unlearn.studies.fidelity.clusters import DayClusters, fit_clusters
from unlearn.studies.fidelity.samples import (
    Bins,
    Distances,
    Sample,
    distances_inside,
    distances_overall,
    make_bins,
    make_sample,
)


@dataclass(frozen=True)
class FidelityOptions:
    """How fidelity is measured.

    Attributes:
        top_k: largest steps of a profile that count as its peaks.
        n_bins: bins of Jensen-Shannon distances, at quantiles of real training profiles.
        n_clusters: clusters of the mixture.
        min_members: profiles that each side must have in a cluster to be compared inside it, and at all.
        n_divisions: random divisions of all households that show how far the floor varies.
        max_profiles: profiles a side that are compared at most; more are sampled.
    """

    top_k: int = 3
    n_bins: int = 20
    n_clusters: int = 8
    min_members: int = 50
    n_divisions: int = 5
    max_profiles: int = 20_000

    def __post_init__(self) -> None:
        least = {"top_k": 1, "n_bins": 2, "n_clusters": 2, "min_members": 2, "n_divisions": 0, "max_profiles": 2}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < low:
                raise InputError(f"{name}: expected a whole number of at least {low}, got {value!r}.")


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
