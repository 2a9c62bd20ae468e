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
from unlearn.studies.federated.averaging import measure_averaging
from unlearn.studies.federated.exact import measure_exact
from unlearn.studies.federated.inversion import measure_inversions
from unlearn.studies.federated.options import FederatedOptions
from unlearn.studies.federated.privacy import measure_privacy
from unlearn.studies.federated.setting import Setting, make_setting, meters_of
from unlearn.studies.federated.traffic import measure_traffic
from unlearn.studies.federated.unlearning import measure_unlearning

Measure = Callable[[Setting, RecordTable], None]

#: What each part adds, and the options that it depends on beside those of all.
_MEASURES: MappingProxyType[str, tuple[Measure, tuple[str, ...]]] = MappingProxyType(
    {
        "exact": (measure_exact, ("hours", "public", "training")),
        "unlearning": (
            measure_unlearning,
            ("hours", "public", "training", "leavers", "cases", "averaging", "joins"),
        ),
        "averaging": (measure_averaging, ("hours", "averaging", "aggregates", "scale", "poison", "processes")),
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
        for part in tqdm(options.parts, desc=f"seed {seed}", leave=False, delay=2):
            measure, names = _MEASURES[part]
            tables.append(_kept(setting, store, part, measure, names))
    return joined(tables)


def require_packages(options: FederatedOptions) -> None:
    """Refuse a study whose averaging nobody can run, before anything is read.

    Raises:
        MissingPackageError: processes are asked for, and Flower is not installed.
    """
    if options.processes:
        require_package("federated.processes", "flwr", '"unlearn[federated]"')


def _kept(setting: Setting, store: Store | None, part: str, measure: Measure, names: tuple[str, ...]) -> pd.DataFrame:
    make = partial(_measured, setting, measure)
    if store is None:
        return make()
    options = setting.options
    depends = {name: getattr(options, name) for name in ("utilities", "lags", *names)}
    # Only what the first seed measures beside the others depends on which one that is.
    first = setting.seed == options.seeds[0]
    return store.table(
        "federated",
        f"{part}-{setting.seed}",
        make=make,
        options={**depends, "part": part, "seed": setting.seed, "first": first, "cost": setting.cost},
        data=setting.datasets,
        code=(measure,),
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
