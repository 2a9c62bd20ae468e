"""Records of fidelity: distances, floors, ratios and the discriminative score, of real households and of releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unlearn.checks import FloatArray, IntArray
from unlearn.records import RecordTable
from unlearn.studies.fidelity.curves import add_curves
from unlearn.studies.fidelity.discriminator import discriminate
from unlearn.studies.fidelity.ratios import HEADLINES, Ratio, headline_ratio, mean_distances, ratios
from unlearn.studies.fidelity.real import FidelityOptions, RealSide, comparable_members
from unlearn.studies.fidelity.samples import (
    COMPARED,
    Distances,
    Key,
    Sample,
    distances_inside,
    distances_overall,
    mean_over_clusters,
)

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
    to_holdout, floor = _with_means(
        distances_overall(sample, real.holdout, real.bins) | distances_inside(sample, real.holdout, real.bins, limits),
        real.overall | real.inside(limits),
        real.holdout.members,
    )
    to_train = distances_overall(sample, real.train, real.bins) | distances_inside(
        sample, real.train, real.bins, limits
    )
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
    """Both with their means over the clusters that they share."""
    return (
        found | mean_over_clusters(found, beside, weights),
        beside | mean_over_clusters(beside, found, weights),
    )


def _columns(key: Key) -> dict[str, object]:
    aspect = COMPARED[key.feature].aspect
    return {"aspect": aspect, **key._asdict()}


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
