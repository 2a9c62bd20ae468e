"""The study of de-identification, seed by seed and part by part; each part is measured once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.checks import FloatArray
from unlearn.forecasters import fit_linear
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles
from unlearn.records import RecordTable, joined
from unlearn.store import Store
from unlearn.studies._shared.bus_loads import NOTHING, BusPlan, bus_dataset
from unlearn.studies._shared.feeders import AREA, measure_published
from unlearn.studies._shared.study import METRICS, PACKAGES
from unlearn.studies.anonymize.attackers import measure_linkage, measure_patterns, measure_relinking
from unlearn.studies.anonymize.attributes import measure_crowds, measure_labels
from unlearn.studies.anonymize.features import measure_risks
from unlearn.studies.anonymize.options import (
    LABELS,
    OF_SUMS,
    RAW,
    ROTATED,
    ROUNDED,
    STEPS,
    SUPPRESSED,
    AnonymizeOptions,
)
from unlearn.studies.anonymize.releases import (
    RECORD_STEPS,
    information_left,
    load_of_records,
    rebuilt,
    records_of,
    timed,
)
from unlearn.studies.anonymize.setting import Readings, Setting, make_setting, meters_of
from unlearn.studies.anonymize.sums import (
    load_of_sums,
    measure_composition,
    measure_differences,
    measure_membership,
    publish,
)
from unlearn.studies.anonymize.table import COPY, INDEPENDENT

Part = tuple[str, Callable[[Setting, RecordTable], None]]


def study_anonymize(
    profiles: HouseholdProfiles,
    cost: OperatingCost,
    options: AnonymizeOptions | None = None,
    store: Store | None = None,
) -> pd.DataFrame:
    """Measure which de-identification steps protect households, and what they cost.

    Args:
        profiles: half-hourly readings of households.
        cost: the grid, whose loads are the feeders of the households.
        options: what is measured; None takes the defaults.
        store: where finished parts are kept and taken from; None keeps nothing.

    Returns:
        Tidy records; the column `part` says what they are of.

    Raises:
        InputError: readings that are not half-hourly, fewer households than loads, too few days to train and to test.
        DataError: no household without gaps.
    """
    options = options or AnonymizeOptions()
    meters = meters_of(profiles)
    alike = replace(options, seeds=(0,), steps=STEPS)
    standard: Readings | None = None
    tables = []
    for seed in options.seeds:
        setting = make_setting(profiles, meters, cost, options, seed, standard)
        standard = setting.standard
        wanted = list(parts_of(options, seed))
        for name, measure in tqdm(wanted, desc=f"seed {seed}", leave=False, delay=2):
            make = partial(_measured, setting, measure)
            if store is None:
                tables.append(make())
                continue
            # A step more measures nothing else anew but what is made of all of them together.
            depends = {"options": alike, "cost": cost, "seed": seed, "part": name}
            depends |= {"steps": options.steps} if name == "utility" else {}
            tables.append(
                store.table(
                    "anonymize",
                    f"{name}-{seed}",
                    make=make,
                    options=depends,
                    data={"households": profiles},
                    code=(study_anonymize,),
                    packages=PACKAGES,
                )
            )
    return joined(tables)


def parts_of(options: AnonymizeOptions, seed: int) -> Iterator[Part]:
    """Parts of a seed, by name; what no seed changes is measured with the first one."""
    first = seed == options.seeds[0]
    yield "setting", _describe
    for step in options.steps:
        if step in RECORD_STEPS:
            if first:
                yield f"release-{step}", partial(_describe_records, step)
            yield f"linkage-{step}", partial(_link, step)
            yield f"risk-{step}", partial(_risk, step)
        elif step in OF_SUMS:
            yield f"sums-{step}", partial(_sums, step)
        elif step == LABELS:
            yield "labels", measure_labels
    yield f"risk-{COPY}", partial(_risk, COPY)
    yield f"risk-{INDEPENDENT}", partial(_risk, INDEPENDENT)
    if ROTATED in options.steps:
        yield "relinking", measure_relinking
    if first:
        yield "patterns", measure_patterns
        yield "crowds", measure_crowds
    yield "membership", measure_membership
    yield "composition", measure_composition
    yield "utility", measure_utility


def _measured(setting: Setting, measure: Callable[[Setting, RecordTable], None]) -> pd.DataFrame:
    table = RecordTable(
        experiment="anonymize",
        data=setting.readings.profiles.name,
        grid=setting.feeders.cost.case.name,
        protocol="fair",
        split="test",
        seed=setting.seed,
        households=len(setting.readings),
        main_known=setting.options.main_known,
        step=None,
    )
    measure(setting, table)
    return table.to_frame()


def _describe(setting: Setting, table: RecordTable) -> None:
    """Add numbers of households, days, feeders and classes."""
    readings, feeders = setting.readings, setting.feeders
    for metric, value in (
        ("households", len(readings)),
        ("days", len(readings.days)),
        ("feeders", len(feeders.names)),
        ("substations", len(feeders.substations)),
        ("classes", readings.segment.nunique()),
    ):
        table.add(metric, value, "", part="setting")


def _describe_records(step: str, setting: Setting, table: RecordTable) -> None:
    """Add size, time, and what is left of the readings."""
    readings = setting.readings
    made, seconds = timed(step, readings, setting.options.rounding_kwh)
    own = {"part": "release", "step": step}
    table.add("bytes", made.size(), "B", **own)
    table.add("seconds", seconds, "s", **own)
    told = rebuilt(made, setting)
    table.add("information", information_left(readings.kwh, told), "share", **own)
    if step in (RAW, ROUNDED):
        table.add("largest_difference", float(np.abs(told - readings.kwh).max()), "kwh", **own)


def _link(step: str, setting: Setting, table: RecordTable) -> None:
    measure_linkage(setting, records_of(step, setting.readings, setting.options.rounding_kwh), table)


def _risk(step: str, setting: Setting, table: RecordTable) -> None:
    measure_risks(setting, step, table)


def _sums(step: str, setting: Setting, table: RecordTable) -> None:
    """Add size, time, what is left and what is withheld of a release of sums, and what its differences tell."""
    made = publish(setting, step)
    own = {"part": "release", "step": step}
    table.add("bytes", made.size(), "B", **own)
    table.add("seconds", made.seconds, "s", **own)
    # Half an hour is half of its hour.
    half = np.repeat(made.rebuilt() / 2, 2, axis=1)
    table.add("information", information_left(setting.readings.kwh, half), "share", **own)
    table.add("largest_difference", made.largest_difference, "kwh", **own)
    table.add("withheld", float((~made.published).mean()), "share", **own)
    measure_differences(setting, step, table)


def measure_utility(setting: Setting, table: RecordTable) -> None:
    """Add error and cost of forecasts that learn from each release, and of those that need none."""
    options, feeders = setting.options, setting.feeders
    steps = [step for step in options.steps if step != LABELS]
    loads = {}
    for step in tqdm(steps, desc="loads of releases", leave=False, delay=2):
        if step in OF_SUMS:
            loads[step] = load_of_sums(publish(setting, step), setting)
        else:
            made = records_of(step, setting.readings, options.rounding_kwh)
            loads[step] = load_of_records(made, setting)
    for step, own in loads.items():
        table.add("mape", total_mape(own, setting), "percent", part="total", step=step, forecaster="linear")
    hours = options.hours or None
    found = list(measure_published(feeders, loads, options.forecasters, options.training, hours, setting.seed))
    few = [step for step in (RAW, SUPPRESSED) if step in loads]
    if options.networks and setting.seed == options.seeds[0]:
        chosen = {step: loads[step] for step in few}
        of_networks = measure_published(feeders, chosen, options.networks, options.training, hours, setting.seed)
        found += [own for own in of_networks if own[0] != NOTHING]
    for source, kind, metric, value in found:
        trained = {"part": "utility", "step": None if source == NOTHING else source, "forecaster": kind}
        table.add(metric, value, METRICS[metric], **trained)


def total_mape(kwh: FloatArray, setting: Setting) -> float:
    """MAPE in percent of forecasts of the area's load by a linear model that learns from feeder loads (D, B, 24)."""
    feeders = setting.feeders
    plan = BusPlan(np.array([[AREA]]), feeders.plan.days, feeders.plan.training)
    true, told = (own.sum(axis=1, keepdims=True) for own in (feeders.kwh, kwh))
    one = np.ones(1)
    test = bus_dataset("true total", plan, true, one, 1.0)
    rows = test.split.test
    forecast = fit_linear(bus_dataset("published total", plan, told, one, 1.0)).forecast(test.features[rows])
    there = test.load_pu[rows] > 0
    return float(100 * np.abs(forecast / np.where(there, test.load_pu[rows], 1.0) - 1)[there].mean())
