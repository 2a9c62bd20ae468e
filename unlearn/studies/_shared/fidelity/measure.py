"""Fidelity of released daily profiles: how far they are from real households, beside how far those are from others.

The four metrics are those that the OpenSynth community proposes: level (distributions of each profile's mean and
95th percentile), autocorrelation, magnitude and timing of the largest steps, and occupancy of clusters of a mixture
fitted on real profiles; then the first three again inside each cluster. Every distance is that of the release to
held-out real households. Its floor is the same distance of the real training households to them, for a release cannot
be expected to be nearer than what it was learnt from: a ratio of 1 is as good as real. Random divisions of all
households show how far the floor itself varies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError, MismatchError
from unlearn.households.by_household import HouseholdProfiles, require_other_households
from unlearn.households.profiles import DailyProfiles
from unlearn.records import RecordTable
from unlearn.studies._shared.fidelity.distances import ROWS_PER_CLUSTER, discriminate
from unlearn.studies._shared.fidelity.samples import (
    COMPARED,
    HOURS,
    Distances,
    Key,
    RealSide,
    Sample,
    comparable_members,
    distances_inside,
    distances_overall,
    divisions,
    make_real_side,
    make_sample,
    mean_over_clusters,
)
from unlearn.studies._shared.options import FidelityOptions


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
    names = [release.name for release in releases]
    if not names or len(set(names)) < len(names) or REAL in names:
        raise InputError(
            f"releases: expected at least one, each with a name of its own other than {REAL!r}; got {names}."
        )
    if train.segments != holdout.segments:
        raise MismatchError(
            f"fidelity: expected train and holdout with the same segments, got {train.segments} and {holdout.segments}."
        )
    require_other_households("fidelity", train, holdout)
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


#: Probabilities at which distributions of level and peaks are recorded.
PROBABILITIES = np.linspace(0.0, 1.0, 101)
#: Band of the autocorrelation at each lag, over profiles.
BAND = {"acf_low": 0.1, "acf_median": 0.5, "acf_high": 0.9}


def add_curves(table: RecordTable, sample: Sample, generator: str, side: str) -> None:
    """Record the distributions of one sample.

    Metrics: `quantile` of `mean`, `p95` and `magnitude` at probabilities; `acf_low`, `acf_median`, `acf_high` at
    lags in hours; `share` of peaks at each step's beginning in hours, of profiles that are constant, and of profiles
    in each cluster; `cluster_mean`, the mean energy of a cluster's members at each step's beginning. The side is
    "release", "train" or "holdout".
    """
    own = {"generator": generator, "side": side}
    features = sample.features
    for name, aspect in (("mean", "level"), ("p95", "level"), ("magnitude", "peaks")):
        for at, value in zip(PROBABILITIES, np.quantile(features.columns(name), PROBABILITIES), strict=True):
            table.add("quantile", value, "kWh", aspect=aspect, feature=name, at=at, **own)
    table.add("share", features.constant_share, "1", aspect="autocorrelation", feature="constant", **own)
    hours = HOURS / sample.kwh.shape[1]
    acf = features.columns("acf")
    for metric, probability in BAND.items() if len(acf) else ():
        for lag, value in enumerate(np.quantile(acf, probability, axis=0), start=1):
            table.add(metric, value, "1", aspect="autocorrelation", feature="acf", at=lag * hours, **own)
    weight = features.timing.sum(axis=0)
    for step, value in enumerate(weight / weight.sum() if weight.any() else ()):
        table.add("share", value, "1", aspect="peaks", feature="timing", at=step * hours, **own)
    for cluster, members in enumerate(sample.members):
        where = {"aspect": "clusters", "cluster": cluster, **own}
        table.add("members", members, "profiles", **where)
        table.add("share", members / len(sample.kwh), "1", feature="occupancy", **where)
        if members:
            for step, value in enumerate(sample.kwh[sample.cluster == cluster].mean(axis=0)):
                table.add("cluster_mean", value, "kWh", at=step * hours, **where)


@dataclass(frozen=True)
class Headline:
    """A metric and the distances whose ratios to the floor are averaged into its number.

    The distances are Wasserstein's, which see how far the mass of a distribution is off, tails included; occupancy
    of clusters has no order, so there it is Jensen-Shannon's. As ratios they have no unit and may be averaged.
    """

    aspect: str
    scope: str
    keys: tuple[Key, ...]


_PARTS = {"level": ("mean", "p95"), "autocorrelation": ("acf",), "peaks": ("magnitude", "timing", "masked")}


def _inside(scope: str) -> tuple[Headline, ...]:
    return tuple(
        Headline(aspect, scope, tuple(Key(scope, name, "wasserstein") for name in names))
        for aspect, names in _PARTS.items()
    )


#: The four metrics, then the first three of them inside clusters.
HEADLINES = (
    *_inside("all"),
    Headline("clusters", "all", (Key("all", "occupancy", "js"),)),
    *_inside("mean over clusters"),
)


@dataclass(frozen=True)
class Ratio:
    """A distance over its floor, and why it is not a finite number or not a quotient; empty where it is."""

    value: float
    note: str = ""


def ratio(distance: float, floor: float) -> Ratio:
    """Divide a distance by its floor; a floor of 0 never divides."""
    if not np.isfinite([distance, floor]).all():
        return Ratio(np.nan, "not measured: no profile that has this feature, or too few members")
    if floor > 0:
        return Ratio(distance / floor)
    if distance > 0:
        return Ratio(np.inf, "the floor is 0 and the distance is not")
    return Ratio(1.0, "distance and floor are both 0")


def ratios(found: Distances, floor: Distances) -> dict[Key, Ratio]:
    """The ratio of every distance, each averaged over its columns first."""
    return {key: ratio(float(value.mean()), float(floor[key].mean())) for key, value in found.items() if key in floor}


def headline_ratio(headline: Headline, by_key: Mapping[Key, Ratio]) -> Ratio:
    """The mean ratio over the parts of a metric; a part that is not measured leaves the metric unmeasured."""
    missing = Ratio(np.nan, "not measured: no cluster with enough members on each side")
    parts = [by_key.get(key, missing) for key in headline.keys]
    notes = dict.fromkeys(part.note for part in parts if part.note)
    return Ratio(float(np.mean([part.value for part in parts])), "; ".join(notes))


def mean_distances(found: Sequence[Distances]) -> Distances:
    """Average distances over several pairs of samples; only what each of them has."""
    common = set(found[0]).intersection(*found[1:])
    return {key: np.mean([one[key] for one in found], axis=0) for key in found[0] if key in common}


#: Under this name stand the numbers of real households, which no release may bear.
REAL = "real households"
#: Lags of the autocorrelation go up to half a day.
LAG_HOURS = 12.0


def add_real(table: RecordTable, real: RealSide, divided: Sequence[Distances], options: FidelityOptions) -> None:
    """Record the real samples, the floor, and the distances of random divisions as multiples of it."""
    add_curves(table, real.train, REAL, "train")
    add_curves(table, real.holdout, REAL, "holdout")
    table.add("profiles", real.n_profiles, "profiles", generator=REAL)
    table.add("clusters_converged", float(real.clusters.converged), "1", generator=REAL)
    floor = real.overall | real.inside(comparable_members([real.train, real.holdout], options.min_members))
    occupancy = real.holdout.members
    for repeat, found in enumerate(divided):
        own, beside = _with_means(found, floor, occupancy)
        _add_distances(table, REAL, own, "division", repeat=repeat)
        _add_ratios(table, REAL, ratios(own, beside), "floor", repeat=repeat)


def add_release(
    table: RecordTable,
    name: str,
    sample: Sample,
    real: RealSide,
    divided: Sequence[Distances],
    options: FidelityOptions,
) -> None:
    """Record every distance of one release, its floor, and their ratios."""
    add_curves(table, sample, name, "release")
    samples = [sample, real.train, real.holdout]
    limits = comparable_members(samples, options.min_members)
    to_holdout, to_train = (
        distances_overall(sample, side, real.bins) | distances_inside(sample, side, real.bins, limits)
        for side in (real.holdout, real.train)
    )
    to_holdout, floor = _with_means(to_holdout, real.overall | real.inside(limits), real.holdout.members)
    for found, reference in ((to_holdout, "holdout"), (floor, "floor"), (to_train, "train")):
        _add_distances(table, name, found, reference)
    _add_ratios(table, name, ratios(to_holdout, floor), "floor")
    _add_ratios(table, name, ratios(to_holdout, mean_distances([real.overall, *divided])), "mean floor")
    for cluster in map(int, np.flatnonzero(limits == 0)):
        counts = ", ".join(
            f"{side} {own.members[cluster]}" for side, own in zip(("release", "train", "holdout"), samples, strict=True)
        )
        note = f"too few members ({counts}; expected {options.min_members})"
        where = {"generator": name, "scope": "cluster", "cluster": cluster}
        table.add("distance", np.nan, "1", reference="holdout", note=note, **where)
    covered = real.holdout.members[limits > 0].sum() / real.n_profiles
    table.add("coverage", covered, "1", generator=name, aspect="clusters", scope="cluster")


def _with_means(found: Distances, beside: Distances, weights: IntArray) -> tuple[Distances, Distances]:
    return (found | mean_over_clusters(found, beside, weights), beside | mean_over_clusters(beside, found, weights))


def _columns(key: Key) -> dict[str, object]:
    return {"aspect": COMPARED[key.feature].aspect, **key._asdict()}


def _add_distances(table: RecordTable, name: str, found: Distances, reference: str, **columns: object) -> None:
    for key, value in found.items():
        own = {"generator": name, "reference": reference, **_columns(key), **columns}
        table.add("distance", value.mean(), COMPARED[key.feature].unit if key.distance == "wasserstein" else "1", **own)
        if key.feature == "acf" and key.scope == "all":
            for lag, at_lag in enumerate(value, start=1):
                table.add("distance_at_lag", at_lag, "1", at=lag * LAG_HOURS / len(value), **own)


def _add_ratios(table: RecordTable, name: str, found: Mapping[Key, Ratio], reference: str, **columns: object) -> None:
    for key, one in found.items():
        own = {"generator": name, "reference": reference, "note": one.note, **_columns(key), **columns}
        table.add("ratio", one.value, "1", **own)
    for headline in HEADLINES:
        if reference == "mean floor" and headline.scope != "all":
            continue  # other clusters may be compared in each division
        one = headline_ratio(headline, found)
        own = {"generator": name, "reference": reference, "note": one.note, **columns}
        table.add("headline", one.value, "1", aspect=headline.aspect, scope=headline.scope, **own)


def add_discrimination(table: RecordTable, name: str, kwh: FloatArray, real: RealSide, seed: int) -> None:
    """Record how well a classifier tells profiles from the holdout; for real training profiles, the floor."""
    found = discriminate(kwh, real.holdout.kwh, real.household, seed)
    own = {"generator": name, "aspect": "discriminative", "reference": "holdout"}
    for metric in ("auc", "auc_low", "auc_high"):
        table.add(metric, getattr(found, metric), "1", **own)
    table.add("discriminative_score", found.score, "1", **own)
    table.add("profiles", found.n_rows, "profiles", **own)
