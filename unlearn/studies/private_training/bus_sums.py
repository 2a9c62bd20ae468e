"""Forecasts of households summed up to the buses of a grid, and priced there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data import LoadDataset
from unlearn.forecasters.household import HouseholdForecaster
from unlearn.grid import OperatingCost
from unlearn.households.day_ahead import DayAheadPanel
from unlearn.households.household_profiles import HouseholdProfiles
from unlearn.studies._shared.measure import measure_forecast, sample_hours
from unlearn.studies.utility.bus_forecasts import load_scale
from unlearn.studies.utility.bus_loads import (
    LAG_DAYS,
    BusPlan,
    bus_dataset,
    household_load_kwh,
    plan_buses,
)


@short_repr
@dataclass(frozen=True, eq=False)
class BusTest:
    """Buses of held-out customers in test weeks: the same ones, for the same seed, that `utility` tests on.

    Attributes:
        holdout: test households with all their days, in hours.
        panel: their days with a complete week before.
        plan: customers of each bus, days and their division.
        factor: MW per kW of each bus, shape (B,); learnt from training households.
        cost: the grid.
        hours: test hours that are priced, evenly spaced; None prices all.
        seed: of the customers.
    """

    holdout: HouseholdProfiles
    panel: DayAheadPanel
    plan: BusPlan
    factor: FloatArray
    cost: OperatingCost
    hours: int | None
    seed: int

    @cached_property
    def truth(self) -> LoadDataset:
        load_kwh = household_load_kwh(self.plan, self.holdout, self.seed)
        return bus_dataset("real test", self.plan, load_kwh, self.factor, self.cost.case.base_mva, self.seed)

    @cached_property
    def rows(self) -> IntArray:
        """Hours that are priced."""
        return sample_hours(self.truth.split.test, self.hours)

    def metrics(self, forecaster: HouseholdForecaster) -> dict[str, float]:
        """MSE, MAPE, operating cost and its parts of a forecaster of households.

        Raises:
            InputError: a test day on which no customer of a bus has a week of history.
            SolverError: an hour that cannot be priced.
        """
        forecast_kwh = household_load_kwh(self.plan, self._forecast(forecaster), self.seed)
        forecast_mw = (forecast_kwh.transpose(0, 2, 1).reshape(-1, self.plan.n_buses) * self.factor)[24 * LAG_DAYS :]
        forecast = torch.from_numpy(forecast_mw[self.rows] / self.cost.case.base_mva)
        return measure_forecast(forecast, self.truth, self.rows, self.cost).means(self.rows)

    def _forecast(self, forecaster: HouseholdForecaster) -> HouseholdProfiles:
        """The holdout with forecasts in place of loads. A test day without a forecast is left out, not told."""
        kwh = self.holdout.kwh.copy()
        kwh[self.panel.row] = forecaster.forecast(self.panel.features)
        # The first days are history alone: no hour of theirs is ever tested on.
        known = np.isin(self.holdout.date, self.plan.days[self.plan.training])
        known |= self.holdout.date < self.plan.days[LAG_DAYS]
        known[self.panel.row] = True
        return replace(self.holdout, kwh=kwh).take(known)


def make_bus_test(
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    panel: DayAheadPanel,
    cost: OperatingCost,
    customers: int,
    test_every: int,
    hours: int | None,
    seed: int,
) -> BusTest:
    """Draw customers of each bus and scale loads to the grid, as `measure_utility` does.

    Args:
        train: training households with all their days.
        holdout: test households with all their days.
        panel: `day_ahead_panel(holdout)`.
        cost: the grid.
        customers: households of each bus.
        test_every: every so many calendar weeks, one is tested on.
        hours: test hours that are priced; None prices all.
        seed: of buses and customers.
    """
    plan = plan_buses(train, len(cost.case.nominal_load_mw), customers, test_every, seed)
    factor = load_scale(plan, household_load_kwh(plan, train, seed), cost)
    return BusTest(holdout.to_hourly(), panel, plan, factor, cost, hours, seed)
