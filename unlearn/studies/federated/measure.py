"""The study of federated learning, seed by seed and part by part; each part is measured once and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MappingProxyType

import pandas as pd
from tqdm import tqdm

from unlearn.checks import require_package
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles
from unlearn.households.meters import Meters
from unlearn.records import RecordTable, joined
from unlearn.store import Store
from unlearn.studies._shared.study import PACKAGES
from unlearn.studies.federated.averaging import measure_attacked, measure_averaging, measure_processes
from unlearn.studies.federated.exact import measure_exact
from unlearn.studies.federated.inversion import measure_inversions
from unlearn.studies.federated.options import CASES, FederatedOptions
from unlearn.studies.federated.privacy import measure_privacy
from unlearn.studies.federated.setting import Setting, make_setting, meters_of
from unlearn.studies.federated.traffic import measure_traffic
from unlearn.studies.federated.unlearning import measure_unlearning

Measure = Callable[[Setting, RecordTable], None]

#: What each step adds, and the options that it depends on beside those of all; steps of a part are kept one by one.
_MEASURES: MappingProxyType[str, tuple[Measure, tuple[str, ...]]] = MappingProxyType(
    {
        "exact": (measure_exact, ("hours", "public", "training")),
        **{
            f"unlearning-{case}": (
                partial(measure_unlearning, case),
                ("hours", "public", "training", "leavers", "averaging", "joins"),
            )
            for case in CASES
        },
        "averaging": (measure_averaging, ("hours", "averaging")),
        "attacked": (measure_attacked, ("hours", "averaging", "aggregates", "scale", "poison")),
        "processes": (measure_processes, ("hours", "averaging")),
        "privacy": (measure_privacy, ("epsilons", "main_epsilon", "delta", "adoption")),
        "inversion": (
            measure_inversions,
            ("public", "batches", "noise_multipliers", "inversions", "iterations"),
        ),
        "traffic": (measure_traffic, ("batch_customers",)),
    }
)


def study_federated(
    households: HouseholdProfiles | Meters,
    cost: OperatingCost,
    options: FederatedOptions | None = None,
    store: Store | None = None,
) -> pd.DataFrame:
    """Measure what utilities gain by learning together without pooling data, and what is left of who leaves.

    Args:
        households: as profiles or hourly meters; those without all hours are left out.
        cost: the grid; every utility has a copy of it, whose loads are its feeders.
        options: what is measured; None takes the defaults.
        store: where finished parts are kept and taken from; None keeps nothing.

    Returns:
        Tidy records; the column `part` says what they are of.

    Raises:
        InputError: too few households for so many utilities, or whatever `make_setting` refuses.
        MissingPackageError: see `require_packages`.
    """
    options = options or FederatedOptions()
    require_packages(options)
    meters = meters_of(households)
    tables = []
    for seed in options.seeds:
        setting = make_setting(meters, cost, options, seed)
        tables.append(_measured(setting, _describe))
        for step in tqdm(steps_of(options), desc=f"seed {seed}", leave=False, delay=2):
            tables.append(_kept(setting, store, step))
    return joined(tables)


def steps_of(options: FederatedOptions) -> list[str]:
    """Steps of the parts that are asked for, in their order."""
    found = []
    for part in options.parts:
        if part == "unlearning":
            found += [f"{part}-{case}" for case in options.cases]
        else:
            found.append(part)
        if part == "averaging":
            found += ["attacked", *(["processes"] if options.processes else [])]
    return found


def require_packages(options: FederatedOptions) -> None:
    """Refuse a study whose averaging nobody can run, before anything is read.

    Raises:
        MissingPackageError: processes are asked for, and Flower is not installed.
    """
    if options.processes:
        require_package("federated.processes", "flwr", '"unlearn[federated]"')


def _kept(setting: Setting, store: Store | None, step: str) -> pd.DataFrame:
    measure, names = _MEASURES[step]
    make = partial(_measured, setting, measure)
    if store is None:
        return make()
    options = setting.options
    depends = {name: getattr(options, name) for name in ("utilities", "lags", *names)}
    # The first seed compares more aggregates than the others.
    first = step == "attacked" and setting.seed == options.seeds[0]
    return store.table(
        "federated",
        f"{step}-{setting.seed}",
        make=make,
        options={**depends, "step": step, "seed": setting.seed, "first": first, "cost": setting.cost},
        data=setting.datasets,
        code=(measure.func if isinstance(measure, partial) else measure,),
        packages=PACKAGES,
    )


def _measured(setting: Setting, measure: Measure) -> pd.DataFrame:
    table = RecordTable(
        experiment="federated",
        data=setting.meters.name,
        grid=setting.cost.case.name,
        protocol="fair",
        split="test",
        seed=setting.seed,
    )
    measure(setting, table)
    return table.to_frame()


def _describe(setting: Setting, table: RecordTable) -> None:
    """Add sizes."""
    dataset = setting.members[0].dataset
    for name, value, unit in (
        ("utilities", len(setting.members), ""),
        ("households", len(setting.meters), ""),
        ("feeders", setting.n_feeders, ""),
        ("hours_train", len(dataset.split.train), "h"),
        ("hours_test", len(dataset.split.test), "h"),
    ):
        table.add(name, value, unit, part="setting")
