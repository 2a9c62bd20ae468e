"""What crowds cost: a table of generalised labels, and curves that several households share."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.privacy.anonymize import (
    Generalised,
    Hierarchy,
    Intervals,
    Names,
    achieved_k,
    achieved_l,
    equivalence_classes,
    k_anonymous,
    microaggregated,
)
from unlearn.records import RecordTable
from unlearn.studies.anonymize.options import LABELS, AnonymizeOptions
from unlearn.studies.anonymize.releases import parquet_size
from unlearn.studies.anonymize.setting import Readings, Setting

#: Quasi-identifiers, and the label that shall not follow from them.
FEEDER, ANNUAL, SOLAR, CLASS = "feeder", "annual_kwh", "solar", "class"
#: Widths of the intervals of annual energy, in kWh.
WIDTHS_KWH = (100.0, 500.0, 1000.0, 5000.0)


def measure_labels(setting: Setting, table: RecordTable) -> None:
    """Add what generalisation makes of the table of labels, and what is lost."""
    options = setting.options
    given, hierarchies = labels_of(setting)
    start = time.perf_counter()
    made = generalised(given, hierarchies, options)
    seconds = time.perf_counter() - start
    own = {"part": "release", "step": LABELS}
    table.add("bytes", parquet_size(made.table), "B", **own)
    table.add("seconds", seconds, "s", **own)
    known = list(hierarchies)
    sizes = equivalence_classes(given, known)["rows"].to_numpy()
    after = equivalence_classes(made.table, known)["rows"].to_numpy()
    diversity = achieved_l(made.table, CLASS, known)
    for metric, value, unit in (
        ("unique_before", (sizes == 1).sum() / len(given), "share"),
        ("unique_after", (after == 1).sum() / len(given), "share"),
        ("right_guess", len(after) / len(given), "share"),
        ("k", achieved_k(made.table, known), ""),
        ("l", diversity, ""),
        ("suppressed", made.losses.suppressed, "share"),
        ("ncp", made.losses.certainty, "share"),
        ("discernibility", made.losses.discernibility / len(given), ""),
    ):
        table.add(metric, float(value), unit, part="labels", step=LABELS)


def labels_of(setting: Setting) -> tuple[pd.DataFrame, dict[str, Hierarchy]]:
    """Labels of each household, and how they become coarser."""
    readings, feeders = setting.readings, setting.feeders
    years = len(readings.days) / 365.25
    given = pd.DataFrame(
        {
            FEEDER: np.array(feeders.names, dtype=object)[feeders.feeder_of],
            ANNUAL: np.rint(readings.kwh.sum(axis=1) / years),
            CLASS: readings.segment.to_numpy(),
        }
    )
    above = feeders.substations
    places = {own: (above[i],) for own, i in zip(feeders.names, feeders.substation_of.tolist(), strict=True)}
    hierarchies: dict[str, Hierarchy] = {FEEDER: Names(places), ANNUAL: Intervals(WIDTHS_KWH)}
    households = readings.profiles.households
    if SOLAR in households:
        given[SOLAR] = households[SOLAR].astype(bool).map({True: "yes", False: "no"}).to_numpy()
        hierarchies[SOLAR] = Names.flat(("yes", "no"))
    return given, hierarchies


def generalised(given: pd.DataFrame, hierarchies: dict[str, Hierarchy], options: AnonymizeOptions) -> Generalised:
    """The table k-anonymous and l-diverse, as far as there are so many classes."""
    diversity = min(options.l, given[CLASS].nunique())
    k = min(options.k, len(given))
    return k_anonymous(given, hierarchies, k, CLASS, diversity, most_suppressed=options.most_suppressed)


def measure_crowds(setting: Setting, table: RecordTable) -> None:
    """Add the information that microaggregation takes away, by the size of classes: of years, and of mean days."""
    readings = setting.readings
    for of, curves in (("year", readings.kwh), ("mean day", mean_days(readings))):
        for size in setting.options.class_sizes:
            if size <= len(readings):
                loss = microaggregated(curves, size).information_loss
                table.add("loss", loss, "share", part="microaggregation", class_size=size, of=of)


def mean_days(readings: Readings) -> FloatArray:
    """Mean profile of each household over its days, shape (C, 48)."""
    return np.asarray(readings.kwh.reshape(len(readings), len(readings.days), -1).mean(axis=1))
