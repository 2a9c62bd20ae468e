"""Is released data good enough to run a grid on? Forecasters trained on it, tested and priced on real bus loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from unlearn.checks import FloatArray, require_choice
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import FORECASTERS, TrainingOptions, fit_linear, fit_network
from unlearn.grid import OperatingCost
from unlearn.studies._shared.measure import METRICS, measure_forecast, sample_hours
from unlearn.studies._shared.utility.bus_loads import BusPlan, bus_dataset

#: Forecasts that need no training: the load of a week before, and the truth.
WEEK_BEFORE, PERFECT = "week before", "perfect forecast"

#: What such forecasts are said to be trained on.
NOTHING = "nothing"


@dataclass(frozen=True)
class LoadTaskRow:
    """One measured number: what a forecaster was trained on, its kind, the metric."""

    trained_on: str
    forecaster: str
    metric: str
    value: float


def load_scale(plan: BusPlan, train_kwh: FloatArray, cost: OperatingCost) -> FloatArray:
    """MW per kW of each bus that puts the maximum of real training days at its nominal load, shape (B,).

    Raises:
        InputError: a bus without any load on training days.
    """
    largest_kwh = train_kwh[plan.training].max(axis=(0, 2))
    idle = np.flatnonzero(largest_kwh <= 0)
    if idle.size:
        raise InputError(
            f"utility: expected some load on real training days at each bus, got 0 kWh in every hour at bus "
            f"{idle[0] + 1}. Use more customers a bus, or households that use energy."
        )
    return cost.case.nominal_load_mw / largest_kwh


def measure_load_task(
    plan: BusPlan,
    sources_kwh: Mapping[str, FloatArray],
    test_kwh: FloatArray,
    factor: FloatArray,
    cost: OperatingCost,
    forecasters: Sequence[str] = FORECASTERS.names(),
    training: TrainingOptions | None = None,
    hours: int | None = None,
    seed: int = 0,
) -> Iterator[LoadTaskRow]:
    """Train each forecaster on each source and measure it on the test days of other households.

    Args:
        plan: buses and days.
        sources_kwh: hourly bus loads to train on, by name, each of shape (D, B, 24).
        test_kwh: real hourly bus loads of households that no source knows, shape (D, B, 24).
        factor: MW per kW of each bus, `load_scale`.
        cost: the grid that forecasts are priced on.
        forecasters: among "linear", "cnn", "mixer".
        training: of the networks; None takes the published settings.
        hours: test hours that are priced, evenly spaced; None prices all.
        seed: of the core, initial weights and batch order.

    Yields:
        Each metric of `METRICS`, also of two forecasts that need no training.

    Raises:
        SolverError: an hour that cannot be priced.
    """
    for kind in forecasters:
        require_choice("utility.forecasters", kind, FORECASTERS)
    base = cost.case.base_mva
    test = bus_dataset("real test", plan, test_kwh, factor, base, seed)
    rows = sample_hours(test.split.test, hours)

    def measured(trained_on: str, kind: str, forecast: FloatArray) -> Iterator[LoadTaskRow]:
        found = measure_forecast(torch.from_numpy(forecast), test, rows, cost).means(rows)
        for metric in METRICS:
            yield LoadTaskRow(trained_on, kind, metric, found[metric])

    for name, load_kwh in tqdm(sources_kwh.items(), desc="bus loads", leave=False):
        dataset = bus_dataset(name, plan, load_kwh, factor, base, seed)
        for kind in forecasters:
            model = fit_linear(dataset) if FORECASTERS[kind].exact else fit_network(dataset, kind, training, seed)
            yield from measured(name, kind, model.forecast(test.features[rows]))
    yield from measured(NOTHING, WEEK_BEFORE, _week_before(test)[rows])
    yield from measured(NOTHING, PERFECT, test.load_pu[rows])


def _week_before(dataset: LoadDataset) -> FloatArray:
    column = dataset.feature_names.index("load_week_before_mw")
    return np.ascontiguousarray(dataset.features[:, :, column]) / dataset.base_mva
