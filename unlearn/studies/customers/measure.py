"""The study of customers, seed by seed and part by part; each part is measured once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from unlearn.grid import OperatingCost
from unlearn.records import RecordTable, joined
from unlearn.store import Store
from unlearn.studies._shared.study import PACKAGES
from unlearn.studies.customers.audit import measure_audit
from unlearn.studies.customers.cells import cases_of, measure_cells, measure_original
from unlearn.studies.customers.options import CASES, CNN_OF_OTHERS, LINEAR, CustomersOptions
from unlearn.studies.customers.populations import Population, simulated_others
from unlearn.studies.customers.setting import Setting, make_setting
from unlearn.studies.customers.worth import measure_worth

Part = tuple[str, Callable[[Setting, RecordTable], None]]


def study_customers(
    population: Population,
    cost: OperatingCost,
    options: CustomersOptions | None = None,
    store: Store | None = None,
) -> pd.DataFrame:
    """Measure what forgetting customers costs, who pays, and what one customer's data is worth.

    Args:
        population: whose meters are summed up to the loads of the grid's buses.
        cost: the grid.
        options: what is measured; None takes the defaults.
        store: where finished parts are kept and taken from; None keeps nothing.

    Returns:
        Tidy records; the column `part` says what they are of.

    Raises:
        InputError, DataError: whatever `make_setting` refuses.
    """
    options = options or CustomersOptions()
    others = simulated_others(population, options.simulated) if CNN_OF_OTHERS in options.forecasters else None
    alike = replace(options, seeds=(0,), cases=tuple(CASES), forecasters=(LINEAR,))
    tables = []
    for seed in options.seeds:
        setting = make_setting(population, cost, options, seed, others if seed == options.seeds[0] else None)
        for name, measure in _parts(options, seed):
            make = partial(_measured, setting, measure)
            if store is None:
                tables.append(make())
                continue
            # Forecasters and cases are parts of their own: one more measures nothing else anew.
            depends = {"options": alike, "cost": cost, "seed": seed, "part": name, "first": seed == options.seeds[0]}
            others_too = setting.others is not None and name.startswith(CNN_OF_OTHERS)
            data = {"train": setting.dataset, **({"others": setting.others} if others_too else {})}
            tables.append(
                store.table(
                    "customers",
                    f"{name}-{seed}",
                    make=make,
                    options=depends,
                    data=data,
                    code=(measure_original, measure_cells, measure_worth, measure_audit),
                    packages=PACKAGES,
                )
            )
    return joined(tables)


def _parts(options: CustomersOptions, seed: int) -> Iterator[Part]:
    """Parts of a seed, by name; networks, true removals of single customers and the audit are of the first seed."""
    first = seed == options.seeds[0]
    yield "setting", _describe
    for kind in options.forecasters if first else (LINEAR,):
        yield f"{kind}-original", partial(_original, kind)
        for case in cases_of(options.cases):
            yield f"{kind}-{case}", partial(_case, kind, case)
    yield "worth", partial(_worth, options.removals if first else 0)
    if first:
        yield "audit", measure_audit


def _original(kind: str, setting: Setting, table: RecordTable) -> None:
    measure_original(setting, kind, table)


def _case(kind: str, case: str, setting: Setting, table: RecordTable) -> None:
    measure_cells(setting, kind, case, table)


def _worth(removals: int, setting: Setting, table: RecordTable) -> None:
    measure_worth(setting, removals, table)


def _measured(setting: Setting, measure: Callable[[Setting, RecordTable], None]) -> pd.DataFrame:
    table = RecordTable(
        experiment="customers",
        data=setting.dataset.name,
        grid=setting.cost.case.name,
        protocol="fair",
        split="test",
        seed=setting.seed,
        weather=weather_of(setting.dataset.feature_names),
        n_customers=len(setting.dataset.meters),
    )
    measure(setting, table)
    return table.to_frame()


def _describe(setting: Setting, table: RecordTable) -> None:
    """Add hours, customers, and sizes of groups."""
    split = setting.dataset.split
    for name in ("train", "validation", "test"):
        table.add("hours", len(getattr(split, name)), "h", part="setting", method=name)
    groups = setting.dataset.groups()
    for own in groups.to_dict("records"):
        columns = {"part": "group", "method": own["kind"], "bus": own["group"]}
        for metric, unit in (("customers", ""), ("largest_share", "share"), ("meets_15_15", "")):
            table.add(metric, own[metric], unit, **columns)
    table.add("energy", float(np.mean(setting.dataset.energy_kwh)), "kwh", part="setting", method="customer")


def weather_of(names: tuple[str, ...]) -> str:
    """Measurements among the features, for records: those that are not of the calendar."""
    from unlearn.data.features import CALENDAR_NAMES

    other = ("weekend", "year_", "day_")
    found = [own for own in names if own not in CALENDAR_NAMES and not own.startswith(other)]
    return ", ".join(found) or "none"
