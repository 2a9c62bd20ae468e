"""Fidelity of released daily profiles: how far they are from real households, beside how far those are from others.

The four metrics are those that the OpenSynth community proposes: level (distributions of each profile's mean and
95th percentile), autocorrelation, magnitude and timing of the largest steps, and occupancy of clusters of a mixture
fitted on real profiles; then the first three again inside each cluster.

Every distance is that of the release to held-out real households. Its floor is the same distance of the real
training households to them: a release cannot be expected to be nearer than the households that it was learnt from.
A ratio of 1 is as good as real. Further divisions of all households at random show how far the floor itself varies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from unlearn.errors import InputError, MismatchError
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.profiles import DailyProfiles
from unlearn.records import RecordTable
from unlearn.studies._shared.fidelity.clusters import ROWS_PER_CLUSTER
from unlearn.studies._shared.fidelity.options import FidelityOptions
from unlearn.studies._shared.fidelity.records import REAL, add_discrimination, add_real, add_release
from unlearn.studies._shared.fidelity.samples import divisions, make_real_side, make_sample


def measure_fidelity(
    release: DailyProfiles,
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: FidelityOptions | None = None,
    seed: int = 0,
    labels: Mapping[str, object] | None = None,
) -> RecordTable:
    """Measure one release; `compare_fidelity` says how."""
    return compare_fidelity([release], train, holdout, options, seed, labels)


def compare_fidelity(
    releases: Sequence[DailyProfiles],
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: FidelityOptions | None = None,
    seed: int = 0,
    labels: Mapping[str, object] | None = None,
) -> RecordTable:
    """Measure several releases against the same real households.

    All sides are sampled to as many profiles as the smallest has, so that distances are comparable. A release in
    steps of an hour is compared with real steps of an hour. The clusters are fitted once, on the training sample.

    Args:
        releases: what generators released, each with a name of its own.
        train: households that the generators were fitted on.
        holdout: other households.
        options: how to measure; None takes the defaults.
        seed: of samples, clusters, classifier and divisions.
        labels: further columns of every record.

    Returns:
        Records with the columns `generator`, `aspect`, `feature`, `distance` (wasserstein, ks, js, tv), `reference`,
        `scope` (all, cluster, mean over clusters), `cluster`, `at`, `side`, `repeat`, `note`, and the `n_steps` of a
        day that all were compared in. Metrics: `distance`
        of the release to the reference holdout or train, of train to holdout as the reference floor, and between the
        two sides of each random division; `ratio` of the distance to holdout over the floor, and over the mean floor
        of all divisions; `headline`, the ratio of a metric as a whole; `distance_at_lag`; `auc`, `auc_low`,
        `auc_high`, `discriminative_score`; `coverage`, the share of holdout profiles in clusters that could be
        compared; `profiles`, those of each side; `clusters_converged`; and what `add_curves` records.

    Raises:
        InputError: no release, names that repeat, unusable options, or too few profiles.
        MismatchError: steps or segments that do not fit, or a household on both sides.
    """
    options = options or FidelityOptions()
    _require_releases(releases)
    _require_disjoint(train, holdout)
    releases, train, holdout = _same_steps(releases, train, holdout)
    n = _require_enough(releases, train, holdout, options)
    own = {"experiment": "fidelity", "data": train.name, "seed": seed, "n_steps": train.n_steps}
    table = RecordTable(**{**own, **(labels or {})})
    with tqdm(total=2 + options.n_divisions + 2 * len(releases), desc="fidelity", leave=False) as bar:
        real = make_real_side(train, holdout, n, options, seed)
        bar.update()
        divided = []
        for division in divisions(train, holdout, real, options, seed):
            divided.append(division)
            bar.update()
        add_real(table, real, divided, options)
        add_discrimination(table, REAL, real.train.kwh, real, seed)
        bar.update()
        for release in releases:
            rows = np.random.default_rng([seed, 2]).permutation(len(release))[:n]
            sample = make_sample(release.kwh[rows].astype(np.float64), real.clusters, options.top_k)
            add_release(table, release.name, sample, real, divided, options)
            bar.update()
            add_discrimination(table, release.name, sample.kwh, real, seed)
            bar.update()
    return table


def _require_releases(releases: Sequence[DailyProfiles]) -> None:
    names = [release.name for release in releases]
    if not names or len(set(names)) < len(names) or REAL in names:
        raise InputError(
            f"releases: expected at least one, each with a name of its own other than {REAL!r}; got {names}."
        )


def _require_disjoint(train: HouseholdProfiles, holdout: HouseholdProfiles) -> None:
    if train.segments != holdout.segments:
        raise MismatchError(
            f"fidelity: expected train and holdout with the same segments, got {train.segments} and {holdout.segments}."
        )
    both = set(train.households["household_id"]) & set(holdout.households["household_id"])
    if both:
        raise MismatchError(
            f"fidelity: expected other households in holdout than in train, got {len(both)} in both, such as "
            f"{min(both)}. Divide them with split_households."
        )


def _same_steps(
    releases: Sequence[DailyProfiles], train: HouseholdProfiles, holdout: HouseholdProfiles
) -> tuple[Sequence[DailyProfiles], HouseholdProfiles, HouseholdProfiles]:
    """All in steps of an hour if any is."""
    n_steps = {profiles.n_steps for profiles in (*releases, train, holdout)}
    if len(n_steps) == 1:
        return releases, train, holdout
    if 24 not in n_steps:
        raise MismatchError(
            f"fidelity: expected profiles of the same number of steps, or some of 24; got {sorted(n_steps)}."
        )
    return [release.to_hourly() for release in releases], train.to_hourly(), holdout.to_hourly()


def _require_enough(
    releases: Sequence[DailyProfiles], train: HouseholdProfiles, holdout: HouseholdProfiles, options: FidelityOptions
) -> int:
    """Return how many profiles a side are compared; refuse what would fail after minutes of work."""
    n = min(options.max_profiles, *map(len, (train, holdout, *releases)))
    need = max(options.min_members, ROWS_PER_CLUSTER * options.n_clusters)
    if n < need:
        raise InputError(
            f"fidelity: expected at least {need} profiles a side (min_members, and {ROWS_PER_CLUSTER} a cluster), got "
            f"{n}. Release more, lower min_members or n_clusters, or raise max_profiles."
        )
    if options.top_k >= train.n_steps:
        raise InputError(f"top_k: expected less than the {train.n_steps} steps of a day, got {options.top_k}.")
    if holdout.n_households < 2:
        raise InputError(f"holdout: expected at least 2 households, got {holdout.n_households}.")
    for release in releases:
        if (release.kwh == release.kwh[0]).all():
            raise InputError(f"{release.name}: expected profiles that differ, got {len(release)} times the same.")
    return n
