"""Per-hour criteria of a forecaster on rows of a data set, and their means over splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, require_positive, short_repr
from unlearn.criteria import CRITERIA, MAPE, MSE, Criterion
from unlearn.data import LoadDataset
from unlearn.errors import DataError, InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost, price_hours
from unlearn.records import RecordTable

#: Metrics of every evaluation, with units; the parts of the cost come after the criteria.
METRICS = {
    **{name: CRITERIA[name].unit for name in CRITERIA},
    "generation_cost": "money/h",
    "shedding_cost": "money/h",
    "storage_cost": "money/h",
    "over_generated": "share",
    "shed_above_load": "share",
    "degenerate": "share",
    "clipped": "entries/h",
}


@short_repr
@dataclass(frozen=True, eq=False)
class HourlyMetrics:
    """Metrics of every priced hour.

    Attributes:
        rows: rows of the data set, sorted, shape (n,).
        values: one array (n,) per name in `METRICS`, and per criterion of one's own.
        units: unit of each.
    """

    rows: IntArray
    values: Mapping[str, FloatArray]
    units: Mapping[str, str]

    def means(self, rows: IntArray) -> dict[str, float]:
        """Average each metric over those of `rows` that were priced."""
        chosen = np.isin(self.rows, rows)
        if not chosen.any():
            raise InputError("evaluation.hours: none of a split's hours was priced; price more, or all (null).")
        return {metric: float(values[chosen].mean()) for metric, values in self.values.items()}

    def add_means(self, table: RecordTable, rows: IntArray, **columns: object) -> None:
        """Add the means over some rows to records."""
        for metric, value in self.means(rows).items():
            table.add(metric, value, self.units[metric], **columns)


def measure(
    model: Forecaster,
    dataset: LoadDataset,
    rows: IntArray,
    cost: OperatingCost,
    mape: MAPE | None = None,
    criteria: Sequence[Criterion] = (),
) -> HourlyMetrics:
    """Evaluate MSE, MAPE and operating cost of a forecaster, hour by hour.

    Args:
        model: fitted forecaster.
        dataset: loads and features.
        rows: rows to evaluate, shape (n,).
        cost: the grid that hours are priced on.
        mape: how MAPE treats loads of 0; None refuses them.
        criteria: further criteria.

    Raises:
        InputError: a load of zero that is not to be left out.
        SolverError: an hour that cannot be priced; names it.
    """
    forecast = torch.from_numpy(model.forecast(dataset.features[rows]))
    return measure_forecast(forecast, dataset, rows, cost, mape, criteria)


def refuse_zero_loads(dataset: LoadDataset, rows: IntArray) -> None:
    """Refuse rows in which a load is zero, for which a percentage of the load means nothing.

    Raises:
        DataError: names column and hour, and the option that leaves such loads out of MAPE.
    """
    zero = np.argwhere(dataset.load_mw[rows] == 0)
    if len(zero):
        i, b = (int(k) for k in zero[0])
        raise DataError(
            f"{dataset.name}: expected loads above 0 for MAPE, got 0 in column {dataset.load_names[b]} at "
            f"{dataset.timestamps[rows[i]]}; {len(zero)} such values. Pass mape=MAPE(leave_out_zeros=True) "
            "to average over the other loads, or leave the column out."
        )


def measure_forecast(
    forecast: Tensor,
    dataset: LoadDataset,
    rows: IntArray,
    cost: OperatingCost,
    mape: MAPE | None = None,
    criteria: Sequence[Criterion] = (),
) -> HourlyMetrics:
    """Evaluate forecasts in p.u., shape (n, B), of some rows of a data set; see `measure`."""
    load = torch.from_numpy(dataset.load_pu[rows])
    priced = price_hours(cost, forecast, load)
    columns = {
        "mse": MSE()(forecast, load),
        "mape": (mape or MAPE())(forecast, load),
        "cost": priced.total,
        "generation_cost": priced.generation,
        "shedding_cost": priced.shedding,
        "storage_cost": priced.storage,
        "over_generated": priced.over_generated,
        "shed_above_load": priced.shed_above_load,
        "degenerate": priced.degenerate,
        "clipped": priced.clipped,
        **{criterion.name: criterion(forecast, load) for criterion in criteria},
    }
    units = METRICS | {criterion.name: criterion.unit for criterion in criteria}
    return HourlyMetrics(rows, {metric: columns[metric].double().numpy() for metric in units}, units)


def sample_hours(rows: IntArray, hours: int | None) -> IntArray:
    """Take at most `hours` evenly spaced rows, the same ones for whoever asks; None takes all."""
    if hours is None or hours >= len(rows):
        return rows
    require_positive("evaluation.hours", hours)
    return rows[np.linspace(0, len(rows) - 1, hours).round().astype(int)]
