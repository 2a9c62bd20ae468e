"""Cells: some customers are removed in one case, and the forecaster before and after is priced on test hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from unlearn.checks import FloatArray
from unlearn.criteria import MAPE
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import price_hours
from unlearn.records import RecordTable
from unlearn.studies._shared.study import METRICS, measure_forecast
from unlearn.studies.customers.bearing import burden, contributions
from unlearn.studies.customers.options import CASES, LINEAR, MOST, RANDOM
from unlearn.studies.customers.removals import Removal, removals
from unlearn.studies.customers.setting import Setting
from unlearn.unlearning import ForgottenCustomers, forget_customers

#: Metrics of every model on the test hours.
MEASURED = ("cost", "mape", "mse", "shedding_cost", "storage_cost", "generation_cost")
#: Choices of customers, of a share that the page is about, whose change of the cost is divided over buses.
DIVIDED = (RANDOM, MOST)


def measure_original(setting: Setting, kind: str, table: RecordTable) -> None:
    """Add what forecasts cost before anybody is forgotten: as fitted, tuned, and of a perfect forecast."""
    model, dataset = setting.forecaster(kind), setting.dataset
    columns = {"forecaster": kind, "part": "original"}
    _measure(table, setting, dataset, _forecast(model, setting, dataset), "original", columns)
    _measure_perfect(table, setting, dataset, columns)
    if setting.options.tuning_hours:
        forecast = _forecast(setting.tuned(kind), setting, dataset)
        _measure(table, setting, dataset, forecast, "original_tuned", columns)
    error = _by_bus(_forecast(model, setting, dataset), dataset.load_pu[setting.test])
    for b, name in enumerate(dataset.load_names):
        table.add("mape", error[b], "percent", method="original", forecaster=kind, part="bus", bus=name)


def measure_cells(setting: Setting, kind: str, case: str, table: RecordTable) -> None:
    """Add all removals in one case.

    Args:
        setting: customers on a grid.
        kind: of forecaster; networks forget customers drawn at random alone, of the main share.
        case: of `CASES`.
        table: gets the records; what the library refuses is a record, too, with the reason.
    """
    options = setting.options
    model = setting.forecaster(kind)
    every = kind == LINEAR
    choices, shares = (options.choices, options.shares) if every else ((RANDOM,), (options.main_share,))
    wanted = list(removals(setting, choices, shares))
    for removal in tqdm(wanted, desc=f"seed {setting.seed}, {kind}, {case}", leave=False, delay=2):
        columns = {"forecaster": kind, "case": case, "selection": removal.choice, "proportion": removal.share}
        if not removal.customers:
            _refuse(table, columns, "nobody to remove", removal.reason)
            continue
        columns["customers"] = len(removal.customers)
        try:
            done = _forgotten(setting, model, removal, case)
        except InputError as error:
            _refuse(table, columns, "refused", str(error))
            continue
        _measure_cell(table, setting, model, done, removal, columns)


def _forgotten(setting: Setting, model: Forecaster, removal: Removal, case: str) -> ForgottenCustomers:
    kind, replacement = CASES[case]
    return forget_customers(
        model, setting.dataset, removal.customers, kind, replacement=replacement, compare_retrained=True
    )


def _refuse(table: RecordTable, columns: dict[str, Any], kind: str, why: str) -> None:
    table.add("refused", 1, "", part="refusal", reason=kind, why=why, **columns)


def _measure_cell(
    table: RecordTable,
    setting: Setting,
    model: Forecaster,
    done: ForgottenCustomers,
    removal: Removal,
    columns: dict[str, Any],
) -> None:
    before = _forecast(model, setting, setting.dataset)
    after = _forecast(done.model, setting, done.dataset)
    own = {**columns, "part": "cell"}
    _measure(table, setting, done.dataset, after, "forgotten", own)
    _measure_perfect(table, setting, done.dataset, own)
    if done.case == "leaves":
        _measure(table, setting, done.dataset, before, "stale", own)
    table.add("complete", done.complete, "", method="forgotten", **own)
    for name in ("distance_to_retrained", "distance_to_original"):
        table.add(name, getattr(done, name), "relative", method="forgotten", **own)
    table.add("seconds", done.seconds["prepare"] + done.seconds["unlearn"], "s", method="forgotten", **own)
    table.add("seconds_refit", done.seconds["compare"], "s", method="forgotten", **own)
    energy, names = setting.dataset.energy_kwh, setting.dataset.meters.customer_ids
    table.add("energy", energy[np.isin(names, done.customers)].sum() / energy.sum(), "share", method="forgotten", **own)
    table.add("limitations", len(done.limitations), "", method="forgotten", **own)
    for said in done.limitations if _is_main(setting, removal) else ():
        table.add("limitation", 1, "", method="forgotten", why=said, **columns, part="limitation")
    if removal.choice == RANDOM and setting.options.tuning_hours:
        tuned = _forecast(setting.tune(done.model, done.dataset), setting, done.dataset)
        _measure(table, setting, done.dataset, tuned, "forgotten_tuned", own)
        if done.case == "leaves":
            tuned = _forecast(setting.tuned(columns["forecaster"]), setting, done.dataset)
            _measure(table, setting, done.dataset, tuned, "stale_tuned", own)
    if removal.choice in DIVIDED and removal.share == setting.options.main_share and columns["forecaster"] == LINEAR:
        _divide(table, setting, done, (before, after), columns)


def _is_main(setting: Setting, removal: Removal) -> bool:
    return removal.choice == RANDOM and removal.share == setting.options.main_share


def _divide(
    table: RecordTable,
    setting: Setting,
    done: ForgottenCustomers,
    forecasts: tuple[FloatArray, FloatArray],
    columns: dict[str, Any],
) -> None:
    """Add who bears the change of the cost: buses, and customers by segment."""
    dataset, test = setting.dataset, setting.test
    loads = dataset.load_pu[test], done.dataset.load_pu[test]
    found = contributions(setting.cost, (forecasts[0], loads[0]), (forecasts[1], loads[1]))
    error = _by_bus(forecasts[1], loads[1])
    for b, name in enumerate(dataset.load_names):
        own = {**columns, "part": "bus", "bus": name, "method": "forgotten"}
        table.add("change_of_cost", found.total[b], "money/h", **own)
        table.add("change_through_forecast", found.forecast[b], "money/h", **own)
        table.add("mape", error[b], "percent", **own)
    removed = np.isin(dataset.meters.customer_ids, done.customers)
    paid = burden(dataset, found.total, removed, done.case == "leaves")
    for g, segment in enumerate(dataset.meters.segments):
        if np.isfinite(paid.of_segment(g)):
            own = {**columns, "part": "segment", "segment": segment, "method": "forgotten"}
            table.add("change_per_customer", paid.of_segment(g), "money/year", **own)
    own = {**columns, "part": "division", "method": "forgotten"}
    table.add("change_of_cost", found.change, "money/h", **own)
    table.add("attribution_gap", found.gap, "relative", **own)
    table.add("nodes", found.nodes, "", **own)
    table.add("borne_by_removed", paid.share_of_removed, "share", **own)


def _measure(
    table: RecordTable,
    setting: Setting,
    dataset: LoadDataset,
    forecast: FloatArray,
    method: str,
    columns: dict[str, Any],
) -> None:
    test = setting.test
    found = measure_forecast(torch.from_numpy(forecast), dataset, test, setting.cost, MAPE(leave_out_zeros=True)).means(
        test
    )
    for metric in MEASURED:
        table.add(metric, found[metric], METRICS[metric], method=method, **columns)
    load = dataset.load_pu[test].sum()
    table.add("bias", 100 * (forecast.sum() - load) / load, "percent", method=method, **columns)


def _measure_perfect(table: RecordTable, setting: Setting, dataset: LoadDataset, columns: dict[str, Any]) -> None:
    """Add what a perfect forecast of the physical load costs."""
    load = dataset.load_pu[setting.test]
    perfect = float(price_hours(setting.cost, load, load).total.mean())
    table.add("cost", perfect, "money/h", method="perfect", **columns)
    table.add("load", float(dataset.load_mw[setting.test].sum(axis=1).mean()), "MW", method="perfect", **columns)


def _forecast(model: Forecaster, setting: Setting, dataset: LoadDataset) -> FloatArray:
    """Forecast of the test hours in p.u., shape (n, B)."""
    return model.forecast(dataset.features[setting.test])


def _by_bus(forecast: FloatArray, load: FloatArray) -> FloatArray:
    """MAPE of each bus over hours with a load, shape (B,)."""
    there = load > 0
    error = np.where(there, np.abs(forecast - load) / np.where(there, load, 1.0), 0.0)
    return 100 * error.sum(axis=0) / np.maximum(there.sum(axis=0), 1)


def cases_of(cases: Sequence[str]) -> Iterator[str]:
    """Cases in the order in which they are shown."""
    yield from (own for own in CASES if own in cases)
