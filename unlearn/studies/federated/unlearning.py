"""Somebody leaves: exact subtraction, averaging anew, rolling back, or nothing, each against never having joined."""

from __future__ import annotations

import time
from collections.abc import Mapping

from unlearn.data import LoadDataset
from unlearn.privacy.federated.averaged_network import AveragedNetwork, fit_averaged
from unlearn.privacy.federated.least_squares import fit_federated, update_federated, withdraw
from unlearn.privacy.federated.training import flattened
from unlearn.records import RecordTable
from unlearn.studies.federated.averaging import averaged_by_all
from unlearn.studies.federated.exact import EXACT_KINDS, add_distances, design_of, forecast_distance, oracle
from unlearn.studies.federated.members import (
    ARCHITECTURE,
    averaging_channel,
    averaging_options,
    exact_channel,
    learners_of,
)
from unlearn.studies.federated.options import (
    CUSTOMER,
    EXACT,
    HALF_BACK,
    KEPT,
    LATE,
    MIXER,
    OTHER_SEED,
    RETRAINED,
    ROLLED_BACK,
    UTILITY,
)
from unlearn.studies.federated.pooled import relative_distance
from unlearn.studies.federated.setting import Forecast, Setting

#: Added to a seed for a model that is as good, but another.
OTHER = 1000


def measure_unlearning(case: str, setting: Setting, table: RecordTable) -> None:
    """Add what is left of who leaves, in one case."""
    if case == UTILITY:
        _exact_utility(setting, table)
        _averaged_utility(setting, table)
    elif case == LATE:
        _averaged_late(setting, table)
    else:
        leaving = setting.leaving_customers(1 if case == CUSTOMER else setting.options.leavers)
        after = setting.never_joined(leaving)
        _exact_customers(setting, table, case, leaving, after)
        _averaged_customers(setting, table, case, after)


def _without_leaver(setting: Setting) -> dict[str, LoadDataset]:
    return {name: own for name, own in setting.datasets.items() if name != setting.leaver.name}


def _exact_utility(setting: Setting, table: RecordTable) -> None:
    left = _without_leaver(setting)
    for kind in EXACT_KINDS:
        channel, utilities = exact_channel(setting.datasets)
        model = fit_federated(channel, design_of(setting, kind))
        before, start = channel.traffic.n_bytes(), time.perf_counter()
        utilities[setting.leaver.name].leave()
        after = withdraw(channel, model, setting.leaver.name)
        own = {"part": "unlearning", "case": UTILITY, "forecaster": kind, "method": EXACT}
        table.add("seconds", time.perf_counter() - start, "s", **own)
        table.add("bytes", channel.traffic.n_bytes() - before, "B", **own)
        add_distances(table, after, oracle(setting, kind, left), left, **own)
        setting.add_forecasts(table, left, dict.fromkeys(left, after.forecast), **own)
        if kind == EXACT_KINDS[0]:
            own["method"] = KEPT
            add_distances(table, model, oracle(setting, kind, left), left, **own)
            setting.add_forecasts(table, left, dict.fromkeys(left, model.forecast), **own)


def _exact_customers(
    setting: Setting,
    table: RecordTable,
    case: str,
    leaving: Mapping[str, tuple[str, ...]],
    left: Mapping[str, LoadDataset],
) -> None:
    for kind in EXACT_KINDS:
        channel, utilities = exact_channel(setting.datasets)
        model = fit_federated(channel, design_of(setting, kind))
        before, start = channel.traffic.n_bytes(), time.perf_counter()
        for name, customers in leaving.items():
            utilities[name].forget(customers, rescale=True)
        after = update_federated(channel, model)
        own = {"part": "unlearning", "case": case, "forecaster": kind, "method": EXACT}
        table.add("seconds", time.perf_counter() - start, "s", **own)
        table.add("bytes", channel.traffic.n_bytes() - before, "B", **own)
        add_distances(table, after, oracle(setting, kind, left), left, **own)
        setting.add_forecasts(table, left, dict.fromkeys(left, after.forecast), **own)
        if kind == EXACT_KINDS[0]:
            own["method"] = KEPT
            add_distances(table, model, oracle(setting, kind, left), left, **own)
            setting.add_forecasts(table, left, dict.fromkeys(left, model.forecast), **own)


def _averaged_utility(setting: Setting, table: RecordTable) -> None:
    left, leaver, settings = _without_leaver(setting), setting.leaver.name, setting.options.averaging
    model = averaged_by_all(setting)
    never = _trained(setting, left, setting.seed)
    other = _trained(setting, left, setting.seed + OTHER)
    channel = averaging_channel(learners_of(left))
    anew, spent = model.without(channel, leaver, "retrain")
    back, back_spent = model.without(channel, leaver, "roll_back")
    half, half_spent = model.without(channel, leaver, "roll_back", max(1, settings.rounds // 2))
    for method, found, how in (
        (RETRAINED, anew, spent),
        (ROLLED_BACK, back, back_spent),
        (HALF_BACK, half, half_spent),
        (KEPT, model, None),
        (OTHER_SEED, other, None),
    ):
        spent_on = {} if how is None else {"seconds": how.seconds, "bytes": float(how.n_bytes)}
        _add(setting, table, UTILITY, method, found, never, left, spent_on)


def _averaged_late(setting: Setting, table: RecordTable) -> None:
    left, leaver, settings = _without_leaver(setting), setting.leaver.name, setting.options.averaging
    joins = min(max(1, round(setting.options.joins * settings.rounds)), settings.rounds - 1)
    options = averaging_options(settings, setting.seed)
    channel = averaging_channel(learners_of(setting.datasets))
    model = fit_averaged(channel, ARCHITECTURE, options, joined={leaver: joins})
    never = _trained(setting, left, setting.seed)
    channel = averaging_channel(learners_of(left))
    back, spent = model.without(channel, leaver, "roll_back")
    half, half_spent = model.without(channel, leaver, "roll_back", max(1, (settings.rounds - joins) // 2))
    for method, found, how in ((ROLLED_BACK, back, spent), (HALF_BACK, half, half_spent), (KEPT, model, None)):
        spent_on = {} if how is None else {"seconds": how.seconds, "bytes": float(how.n_bytes)}
        _add(setting, table, LATE, method, found, never, left, spent_on)


def _averaged_customers(setting: Setting, table: RecordTable, case: str, left: Mapping[str, LoadDataset]) -> None:
    """Nothing but averaging anew takes a customer out of every round: that is the never-joined run itself."""
    start = time.perf_counter()
    channel = averaging_channel(learners_of(left))
    never = fit_averaged(channel, ARCHITECTURE, averaging_options(setting.options.averaging, setting.seed))
    spent = {"seconds": time.perf_counter() - start, "bytes": float(channel.traffic.n_bytes())}
    _add(setting, table, case, RETRAINED, never, never, left, spent)
    _add(setting, table, case, KEPT, averaged_by_all(setting), never, left, {})


def _trained(setting: Setting, datasets: Mapping[str, LoadDataset], seed: int) -> AveragedNetwork:
    """Averaging over some members, once for each seed."""
    key = ("trained", tuple(datasets), seed)
    if key not in setting.known:
        options = averaging_options(setting.options.averaging, seed)
        setting.known[key] = fit_averaged(averaging_channel(learners_of(datasets)), ARCHITECTURE, options)
    return setting.known[key]


def _add(
    setting: Setting,
    table: RecordTable,
    case: str,
    method: str,
    model: AveragedNetwork,
    never: AveragedNetwork,
    left: Mapping[str, LoadDataset],
    spent: Mapping[str, float],
) -> None:
    own = {"part": "unlearning", "case": case, "forecaster": MIXER, "method": method}
    forecast: Forecast = model.forecast
    table.add("distance", forecast_distance(forecast, never.forecast, left), "relative", **own)
    weights = [flattened(one.averaged.weights) for one in (model, never)]
    table.add("distance_parameters", relative_distance(*weights), "relative", **own)
    for name, value in spent.items():
        table.add(name, value, {"seconds": "s", "bytes": "B"}[name], **own)
    setting.add_forecasts(table, left, dict.fromkeys(left, forecast), **own)
