"""Whether forecasters of households give them away, and their sums at the buses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from unlearn.attacks import Outcome, likelihood_ratio_scores, measure_attack
from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data import LoadDataset
from unlearn.dp.noise import Noise, noise_source
from unlearn.forecasters.head import ClippedSums
from unlearn.forecasters.household import UNIT_KWH, HourlyLinear, HouseholdForecaster, linear_rows
from unlearn.grid import OperatingCost
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.injection import DayAheadPanel
from unlearn.studies._shared.bus_loads import (
    LAG_DAYS,
    BusPlan,
    bus_dataset,
    household_load_kwh,
    load_scale,
    plan_buses,
)
from unlearn.studies._shared.study import measure_forecast, sample_hours


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


def loss_attack(
    forecaster: HouseholdForecaster, train: DayAheadPanel, holdout: DayAheadPanel, fprs: Sequence[float], seed: int
) -> Outcome:
    """Score households by minus their mean squared error (Yeom et al. 2018).

    Args:
        forecaster: the model attacked.
        train: rows of the households it was trained on.
        holdout: rows of other households, on the same days.
        fprs: false positive rates.
        seed: of the intervals.

    Raises:
        InputError: too few households for a false positive rate.
    """
    scores = [-_mean_by_household(forecaster.losses(panel), panel) for panel in (train, holdout)]
    return measure_attack(*scores, unit="household", fprs=fprs, seed=seed)


def likelihood_attack(
    forecaster: HouseholdForecaster,
    train: DayAheadPanel,
    holdout: DayAheadPanel,
    *,
    clip: float,
    noise_multiplier: float,
    ridge: float,
    shadows: int,
    fprs: Sequence[float],
    seed: int,
    noise: Noise = "os",
) -> Outcome:
    """Attack a linear forecaster by likelihood ratios, with shadow heads fitted as it was on random households.

    A head needs only sums over households, so that hundreds of shadow heads cost what one costs.

    Args:
        forecaster: a linear one.
        train: rows of the households it was trained on.
        holdout: rows of other households, on the same days.
        clip: norm that rows were clipped to; infinity where they were not.
        noise_multiplier: of its release; 0 where it is not private.
        ridge: of its release.
        shadows: shadow heads.
        fprs: false positive rates.
        seed: of the shadow heads' households, and of intervals.
        noise: of shadow heads, see `fit_private_household_forecaster`.

    Raises:
        InputError: too few households for a false positive rate, or too few shadow heads.
    """
    clipped, plain = (np.concatenate([_moments(panel, c) for panel in (train, holdout)]) for c in (clip, np.inf))
    n_train, n = len(train.members), len(clipped)
    random, source = np.random.default_rng(seed), noise_source(noise, train, holdout)
    # Of the size of the attacked one's training set; each household is in some of them and not in others.
    member = random.random((shadows, n)).argsort(axis=1).argsort(axis=1) < n_train
    heads = np.empty((shadows, clipped.shape[1] - 1))
    for k, inside in enumerate(member):
        moments = torch.from_numpy(clipped[inside].sum(axis=0))
        sums = ClippedSums(moments, clipped.shape[1] - 1, clip, n_train)
        heads[k] = sums.release(noise_multiplier, source, ridge)[0].numpy()
    observed = _losses(plain, _head(forecaster)[None])[0]
    scores = likelihood_ratio_scores(observed, _losses(plain, heads), member)
    return measure_attack(scores[:n_train], scores[n_train:], unit="household", fprs=fprs, seed=seed)


def _head(forecaster: HouseholdForecaster) -> FloatArray:
    assert isinstance(forecaster.network, HourlyLinear)
    return forecaster.network.head.numpy()


def _moments(panel: DayAheadPanel, clip: float) -> FloatArray:
    """Mean over a household's rows [φ, y] of their outer products, shape (households, D + 1, D + 1)."""
    design, target, unit = linear_rows(panel)
    order = np.argsort(unit, kind="stable")
    counts = np.unique(unit, return_counts=True)[1]
    parts = zip(design[order].split(counts.tolist()), target[order].split(counts.tolist()), strict=True)
    return np.stack([ClippedSums.of(x, y, np.zeros(len(x), int), clip).moments.numpy() for x, y in parts])


def _losses(moments: FloatArray, heads: FloatArray) -> FloatArray:
    """Mean squared error in kWh² of each household under each head, shape (heads, households)."""
    extended = np.concatenate([heads, -np.ones((len(heads), 1))], axis=1)
    return np.einsum("ki,hij,kj->kh", extended, moments, extended, optimize=True) * UNIT_KWH**2


def _mean_by_household(losses: FloatArray, panel: DayAheadPanel) -> FloatArray:
    place = np.unique(panel.household, return_inverse=True)[1].reshape(-1)
    return np.bincount(place, weights=losses) / np.bincount(place)
