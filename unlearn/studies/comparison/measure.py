"""The comparison of techniques, seed by seed and technique by technique; each is measured once and kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pandas as pd
from tqdm import tqdm

from unlearn.errors import MissingPackageError
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles
from unlearn.records import RecordTable, joined
from unlearn.store import Store
from unlearn.studies._shared.study import PACKAGES
from unlearn.studies.comparison.attacks import collected_seen, difference_error, linked, membership
from unlearn.studies.comparison.options import (
    COLLECTED,
    FEDERATED_DP,
    FORECAST,
    HE,
    HE_FORECAST,
    MPC,
    MPC_FIT,
    TOTALS,
    WEEK,
    ComparisonOptions,
)
from unlearn.studies.comparison.setting import Setting, make_settings, meters_of, require_noise
from unlearn.studies.comparison.techniques import MAKERS, Made

_LOG = logging.getLogger(__name__)

#: Packages of an extra that compute a technique.
_NEEDS = {HE: ("tenseal",), HE_FORECAST: ("tenseal",), MPC_FIT: ("mpyc",)}


def study_comparison(
    households: HouseholdProfiles,
    cost: OperatingCost,
    options: ComparisonOptions | None = None,
    store: Store | None = None,
) -> pd.DataFrame:
    """Measure every technique on the same two tasks, and what attackers learn from what it gives away.

    The records compare with true readings: they are for their owner only.

    Args:
        households: readings by home and day; those without all days are left out.
        cost: the grid, whose loads are the feeders.
        options: what is compared; None takes the defaults.
        store: where finished parts are kept and taken from; None keeps nothing.

    Returns:
        Tidy records; the column `part` says what they are of, `technique` of which.

    Raises:
        InputError: too few homes or days, or whatever `feeders_of` refuses.
        MissingPackageError: OpenDP is not installed.
    """
    options = options or ComparisonOptions()
    require_noise(options)
    meters = meters_of(households)
    tables = []
    for seed in options.seeds:
        setting = make_settings(households, cost, options, seed, meters)
        tables.append(_measured(setting, None))
        for technique in tqdm(options.techniques, desc=f"seed {seed}", delay=2, leave=False):
            tables.append(_kept_or_missing(setting, store, technique))
    return joined(tables)


def _kept_or_missing(setting: Setting, store: Store | None, technique: str) -> pd.DataFrame:
    """What was measured, or that a package is missing, which is not kept: it may be there the next time."""
    try:
        return _kept(setting, store, technique)
    except MissingPackageError as error:
        # The others are worth having without it; the page says so.
        _LOG.warning("comparison: %s is left out: %s", technique, error)
        table = _table(setting)
        table.add("missing", 1, part="spent", technique=technique)
        return table.to_frame()


def _kept(setting: Setting, store: Store | None, technique: str) -> pd.DataFrame:
    make = partial(_measured, setting, technique)
    if store is None:
        return make()
    return store.table(
        "comparison",
        f"{technique}-{setting.seed}",
        make=make,
        options={
            "options": setting.options,
            "technique": technique,
            "seed": setting.seed,
            "cost": setting.feeders.cost,
        },
        data={"households": setting.profiles},
        code=(study_comparison,),
        packages=(*PACKAGES, "opendp", *_NEEDS.get(technique, ())),
    )


def _makers() -> Mapping[str, Callable[[Setting], Iterator[Made]]]:
    from unlearn.studies.comparison.meter_sums import encrypted, shared
    from unlearn.studies.comparison.models import encrypted_forecast, private_profile, shared_fit

    own = {MPC: shared, HE: encrypted, MPC_FIT: shared_fit, HE_FORECAST: encrypted_forecast}
    return {**MAKERS, **own, FEDERATED_DP: private_profile}


def _table(setting: Setting) -> RecordTable:
    return RecordTable(
        experiment="comparison",
        data=setting.profiles.name,
        grid=setting.feeders.cost.case.name,
        protocol="fair",
        split="test",
        seed=setting.seed,
    )


def _measured(setting: Setting, technique: str | None) -> pd.DataFrame:
    table = _table(setting)
    if technique is None:
        _describe(setting, table)
    else:
        for made in _makers()[technique](setting):
            _add(setting, technique, made, table)
    return table.to_frame()


def _describe(setting: Setting, table: RecordTable) -> None:
    """Add sizes, and the forecast that learns nothing."""
    own = setting.options
    for metric, value in (
        ("homes", len(setting.kwh)),
        ("feeders", len(setting.feeders.names)),
        ("hours", setting.kwh.shape[1]),
        ("main_epsilon", own.main_epsilon),
        ("known", own.known),
        ("class_size", own.class_size),
        ("retailers", own.retailers),
    ):
        table.add(metric, value, part="setting")
    test, rows = setting.test, setting.rows
    week = test.features[rows][:, :, test.feature_names.index("load_week_before_mw")] / test.base_mva
    setting.add(table, week, {"part": "utility", "technique": WEEK, "task": FORECAST})


def _add(setting: Setting, technique: str, made: Made, table: RecordTable) -> None:
    own = {"technique": technique, "epsilon": made.epsilon}
    for metric, value, unit in (
        ("seconds", made.seconds, "s"),
        ("bytes", float(made.n_bytes), "B"),
        ("bytes_each", made.n_bytes / made.parties, "B"),
    ):
        table.add(metric, value, unit, part="spent", **own)
    if made.kwh is not None:
        given = setting.dataset(made.kwh).load_pu[setting.rows]
        setting.add(table, given, {"part": "utility", "task": TOTALS, **own})
    forecast = made.forecast or setting.learnt(made.kwh)  # type: ignore[arg-type]
    learnt = forecast(setting.test.features[setting.rows])
    setting.add(table, learnt, {"part": "utility", "task": FORECAST, **own})
    if made.records is not None:
        table.add("linked", linked(setting, made.records), "share", part="attack", **own)
    if made.refuses is not None:
        table.add("refused", float(made.refuses), "share", part="attack", **own)
    error = difference_error(setting, technique, made)
    if error is not None:
        table.add("difference", error, "relative", part="attack", **own)
    auc = membership(setting, technique, made.epsilon)
    if auc is not None:
        table.add("membership_auc", auc, "1", part="attack", **own)
    seen = collected_seen(setting) if technique in COLLECTED else made.seen
    if seen is not None:
        table.add("seen", seen, "share", part="attack", **own)
    if made.differs is not None:
        table.add("differs", made.differs, "p.u.", part="utility", task=FORECAST, **own)
