"""What one customer's data is worth: its influence on criteria of the test hours, checked against true removals."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.criteria import MAPE
from unlearn.errors import InputError
from unlearn.influence import customer_influence
from unlearn.records import RecordTable
from unlearn.studies._shared.study import METRICS, measure_forecast
from unlearn.studies.customers.options import CASES
from unlearn.studies.customers.setting import Setting
from unlearn.unlearning import forget_customers

#: Criteria of which each customer's influence is known.
CRITERIA = ("cost", "mape", "mse")
#: Cases in which single customers are truly removed.
REMOVED = ("objects", "class_mean", "rescale")


def measure_worth(setting: Setting, removals: int, table: RecordTable) -> None:
    """Add the influence of every customer, and what its removal truly changes.

    Args:
        setting: customers on a grid.
        removals: customers who are truly removed, one at a time, drawn at random.
        table: gets a record per customer, criterion and term: "model" if the customer objects and nothing fills the
            gap, "load" what is added if it leaves; "removed" of true removals by case; and how well both agree.
    """
    dataset = setting.dataset
    found = {
        own: customer_influence(
            setting.linear,
            dataset,
            MAPE(leave_out_zeros=True) if own == "mape" else own,
            grid=setting.cost,
            evaluate_on="test",
        )
        for own in CRITERIA
    }
    place = dataset.meters.positions("customers", found["cost"].customers)
    for criterion, scores in found.items():
        for term, values in (("model", scores.model), ("load", scores.load)):
            _add(table, setting, place, values, scores.unit, criterion=criterion, method="influence", term=term)
    _add(table, setting, place, dataset.energy_kwh[place], "kwh", metric="energy", method="meter")
    _add(table, setting, place, 1000 * dataset.mw_per_kwh[dataset.roster.load_of[place]], "", metric="households")
    drawn = np.sort(np.random.default_rng(setting.seed).permutation(len(place))[:removals])
    truth = {case: _removed(setting, place[drawn], case) for case in REMOVED}
    for case, by_criterion in truth.items():
        for criterion, values in by_criterion.items():
            known = np.isfinite(values)
            _add(
                table,
                setting,
                place[drawn[known]],
                values[known],
                METRICS[criterion],
                criterion=criterion,
                method="removed",
                case=case,
            )
    for criterion in ("cost", "mse"):
        _agreement(table, criterion, found[criterion].model[drawn], truth["objects"][criterion])


def _add(
    table: RecordTable,
    setting: Setting,
    place: IntArray,
    values: FloatArray,
    unit: str,
    metric: str = "worth",
    **columns: object,
) -> None:
    """Add a number of each customer, who is known by a position, not by a name."""
    dataset = setting.dataset
    for i, value in zip(place.tolist(), values.tolist(), strict=True):
        labels = {
            "customer": i,
            "bus": dataset.load_names[dataset.roster.load_of[i]],
            "segment": dataset.meters.segments[dataset.meters.segment[i]],
        }
        table.add(metric, value, unit, part="worth", **labels, **columns)


def _removed(setting: Setting, place: IntArray, case: str) -> dict[str, FloatArray]:
    """Change of each criterion of the test hours without each customer, shape (n,); NaN where it is refused."""
    dataset, test = setting.dataset, setting.test
    kind, replacement = CASES[case]

    def measured(forecast: FloatArray) -> dict[str, float]:
        mape = MAPE(leave_out_zeros=True)
        return measure_forecast(torch.from_numpy(forecast), dataset, test, setting.cost, mape).means(test)

    before = measured(setting.linear.forecast(dataset.features[test]))
    changes = {criterion: np.full(len(place), np.nan) for criterion in CRITERIA}
    for k, i in enumerate(tqdm(place.tolist(), desc=f"one customer {case}", leave=False, delay=2)):
        try:
            done = forget_customers(
                setting.linear, dataset, [dataset.meters.customer_ids[i]], kind, replacement=replacement
            )
        except InputError:
            continue
        after = measured(done.model.forecast(dataset.features[test]))
        for criterion, values in changes.items():
            values[k] = after[criterion] - before[criterion]
    return changes


def _agreement(table: RecordTable, criterion: str, scores: FloatArray, truth: FloatArray) -> None:
    known = np.isfinite(truth)
    if known.sum() < 3:
        return
    columns = {"part": "agreement", "criterion": criterion, "method": "influence", "case": "objects"}
    table.add("spearman", float(spearmanr(scores[known], truth[known])[0]), "", **columns)
    table.add("calibration", float(np.polyfit(scores[known], truth[known], 1)[0]), "", **columns)
    table.add("removals", int(known.sum()), "", **columns)
