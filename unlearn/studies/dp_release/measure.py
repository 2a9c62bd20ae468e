"""The study of differentially private statistics, part by part; each part is measured once and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MappingProxyType

import pandas as pd

from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles
from unlearn.households.meters import Meters
from unlearn.records import RecordTable, joined
from unlearn.store import Store
from unlearn.studies._shared.study import PACKAGES
from unlearn.studies.dp_release.audit import measure_audit
from unlearn.studies.dp_release.forecasts import measure_utility
from unlearn.studies.dp_release.load_curves import measure_error, measure_hierarchy, measure_local, measure_single
from unlearn.studies.dp_release.noise import measure_noise
from unlearn.studies.dp_release.options import DpReleaseOptions
from unlearn.studies.dp_release.questions import measure_composition, measure_peak, measure_queries
from unlearn.studies.dp_release.setting import Setting, make_setting

Measure = Callable[[Setting, RecordTable], None]

#: What each part adds, and the options that it depends on beside those of all.
_MEASURES: MappingProxyType[str, tuple[Measure, tuple[str, ...]]] = MappingProxyType(
    {
        "noise": (measure_noise, ("draws",)),
        "audit": (measure_audit, ("audit_epsilons", "audit_runs")),
        "error": (measure_error, ("epsilons", "spans", "samples")),
        "composition": (measure_composition, ("answers", "answer_epsilon", "composition_delta")),
        "queries": (measure_queries, ("answer_epsilon", "query_days", "query_runs")),
        "peak": (measure_peak, ("peak_homes", "peak_within")),
        "hierarchy": (measure_hierarchy, ("epsilons", "samples")),
        "local": (measure_local, ("drop_out", "samples")),
        "single": (measure_single, ("epsilons", "samples")),
    }
)
_ALWAYS = ("main_epsilon", "kwh_per_hour", "kwh_per_day", "confidence", "test_every", "noise")
_UTILITY = ("epsilons", "forecasters", "training", "larger", "hours")


def study_dp_release(
    households: HouseholdProfiles | Meters,
    cost: OperatingCost,
    options: DpReleaseOptions | None = None,
    store: Store | None = None,
) -> pd.DataFrame:
    """Measure what can be published of households with differential privacy, and how far off it is.

    The records compare with data without noise, and break the promise that they measure: they are for the owner only.

    Args:
        households: as profiles or hourly meters; those without all hours are left out.
        cost: the grid, whose loads are the feeders.
        options: what is measured; None takes the defaults.
        store: where finished parts are kept and taken from; None keeps nothing.

    Returns:
        Tidy records; the column `part` says what they are of.

    Raises:
        InputError: whatever `make_setting` refuses.
        MissingPackageError: OpenDP is not installed.
    """
    options = options or DpReleaseOptions()
    setting = make_setting(households, cost, options)
    tables = [_measured(setting, 0, _describe)]
    for part in options.parts:
        if part in _MEASURES:
            measure, names = _MEASURES[part]
            tables.append(_kept(setting, store, part, 0, measure, names))
        else:
            for seed in options.seeds:
                again = partial(_utility, seed)
                tables.append(_kept(setting, store, part, seed, again, _UTILITY))
    return joined(tables)


def _utility(seed: int, setting: Setting, table: RecordTable) -> None:
    measure_utility(setting, seed, table)


def _kept(
    setting: Setting, store: Store | None, part: str, seed: int, measure: Measure, names: tuple[str, ...]
) -> pd.DataFrame:
    make = partial(_measured, setting, seed, measure)
    if store is None:
        return make()
    depends = {name: getattr(setting.options, name) for name in (*_ALWAYS, *names)}
    return store.table(
        "dp_release",
        f"{part}-{seed}",
        make=make,
        options={**depends, "part": part, "seed": seed, "cost": setting.feeders.cost},
        data={"homes": setting},
        code=(measure_utility if part not in _MEASURES else measure,),
        packages=(*PACKAGES, "opendp"),
    )


def _measured(setting: Setting, seed: int, measure: Measure) -> pd.DataFrame:
    case = setting.feeders.cost.case.name
    table = RecordTable(experiment="dp_release", data=setting.name, grid=case, protocol="fair", split="test", seed=seed)
    measure(setting, table)
    return table.to_frame()


def _describe(setting: Setting, table: RecordTable) -> None:
    """Add sizes, means and bounds."""
    own, feeders = setting.options, setting.feeders
    numbers = {
        "customers": (setting.n_homes, ""),
        "feeders": (len(feeders.names), ""),
        "homes_per_feeder": (setting.n_homes / len(feeders.names), ""),
        "hours": (len(setting.meters.hours), "h"),
        "kwh_per_home": (setting.kwh_per_home, "kwh"),
        "kwh_per_hour": (own.kwh_per_hour, "kwh"),
        "kwh_per_day": (own.kwh_per_day, "kwh"),
        "main_epsilon": (own.main_epsilon, ""),
        "delta": (setting.delta, ""),
        "clipping": (1 - float(setting.bounded_kwh("household").sum() / feeders.kwh.sum()), "share"),
        "clipping_hour": (1 - float(setting.bounded_kwh("event").sum() / feeders.kwh.sum()), "share"),
    }
    for name, (value, unit) in numbers.items():
        table.add(name, value, unit, part="setting")
