"""Forecasters of households on the grid and under attack."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from unlearn.dp import Noise, SimulatedNoise
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters.household import HouseholdForecaster, fit_household_forecaster, household_mean
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles, simulate_households, split_households
from unlearn.households.injection import DayAheadPanel, day_ahead_panel
from unlearn.studies._shared.bus_loads import household_load_kwh
from unlearn.studies.private_training.attacks import likelihood_attack, loss_attack, make_bus_test
from unlearn.studies.private_training.household_load import MEAN, HouseholdLoadOptions, measure_household_load


@pytest.fixture(scope="module")
def sides() -> tuple[HouseholdProfiles, HouseholdProfiles]:
    train, holdout = split_households(simulate_households(60, n_days=60, random_state=2), 0.5, 0)
    return train, holdout


class Oracle(HouseholdForecaster):
    """Forecasts what it is told."""

    def forecast(self, features: np.ndarray) -> np.ndarray:
        return self.card["truth"]


def test_the_truth_costs_what_perfect_forecasts_cost(
    sides: tuple[HouseholdProfiles, HouseholdProfiles], cost: OperatingCost
) -> None:
    panel = day_ahead_panel(sides[1])
    test = make_bus_test(*sides, panel, cost, customers=10, test_every=4, hours=24, seed=0)
    perfect = Oracle("oracle", household_mean().network, {"truth": panel.kwh})
    found = test.metrics(perfect)
    assert found["mse"] == pytest.approx(0, abs=1e-12)
    assert found["shedding_cost"] == pytest.approx(0, abs=1e-5)
    assert test.metrics(household_mean())["cost"] > found["cost"]
    doubled = Oracle("oracle", household_mean().network, {"truth": 2 * panel.kwh})
    load = household_load_kwh(test.plan, sides[1].to_hourly(), 0).transpose(0, 2, 1).reshape(-1, 14)[168:]
    error_pu = load[test.rows] * test.factor / cost.case.base_mva
    assert test.metrics(doubled)["mse"] == pytest.approx(np.square(error_pu).mean(), rel=1e-5)


def test_a_test_day_without_a_forecast_is_not_told_the_truth(
    sides: tuple[HouseholdProfiles, HouseholdProfiles], cost: OperatingCost
) -> None:
    panel = day_ahead_panel(sides[1])
    test = make_bus_test(*sides, panel.take(panel.household != 0), cost, 10, 4, 24, 0)
    mean = household_mean()
    used = test._forecast(mean)
    assert not np.isin(used.date[used.household == 0], test.plan.days[7:][~test.plan.training[7:]]).any()


def test_memorised_households_are_found_and_others_are_not(
    sides: tuple[HouseholdProfiles, HouseholdProfiles],
) -> None:
    train, holdout = (day_ahead_panel(side) for side in sides)
    told = Oracle("oracle", household_mean().network, {"truth": train.kwh})
    mean = household_mean()

    class Memory(HouseholdForecaster):
        def forecast(self, features: np.ndarray) -> np.ndarray:
            return told.card["truth"] if len(features) == len(train) else mean.forecast(features)

    assert len(train) == len(holdout)
    other = holdout.take(np.arange(len(holdout) - 1))
    assert loss_attack(Memory("memory", mean.network), train, other, (0.1,), 0).auc.value == 1.0
    fair = loss_attack(mean, train, holdout, (0.1,), 0).auc
    assert fair.low <= 0.5 <= fair.high


def test_the_likelihood_ratio_finds_few_households_with_many_parameters(
    sides: tuple[HouseholdProfiles, HouseholdProfiles],
) -> None:
    """Twelve households determine 13 parameters almost alone; a Gaussian release of the same sums hides them."""
    few, others = (side.of_households(np.arange(12)) for side in sides)
    train, holdout = day_ahead_panel(few), day_ahead_panel(others)
    settings = {"shadows": 64, "fprs": (), "seed": 0}
    plain = fit_household_forecaster(train)
    found = likelihood_attack(plain, train, holdout, clip=np.inf, noise_multiplier=0.0, ridge=0.0, **settings)
    by_loss = loss_attack(plain, train, holdout, (), 0)
    assert found.auc.value > max(0.6, by_loss.auc.value)
    assert found.unit == "household"


def test_shadow_heads_have_noise_that_repeats_for_simulated_households_alone(
    sides: tuple[HouseholdProfiles, HouseholdProfiles],
) -> None:
    train, holdout = (day_ahead_panel(side.of_households(np.arange(12))) for side in sides)
    settings = {"clip": 2.0, "noise_multiplier": 1.0, "ridge": 1.0, "shadows": 48, "fprs": (), "seed": 0}

    def found(noise: Noise, panel: DayAheadPanel = train) -> float:
        return likelihood_attack(fit_household_forecaster(train), panel, holdout, **settings, noise=noise).auc.value

    assert found(SimulatedNoise(1)) == found(SimulatedNoise(1))
    assert 0 <= found("os") <= 1
    with pytest.raises(InputError, match="got a seed"):
        found(SimulatedNoise(1), replace(train, kwh=train.kwh.copy()))


def test_records_hold_costs_and_attacks(
    sides: tuple[HouseholdProfiles, HouseholdProfiles], cost: OperatingCost
) -> None:
    options = HouseholdLoadOptions(forecasters=("linear",), customers=10, hours=24, shadows=32, fprs=(0.1,))
    table = measure_household_load(*sides, cost, inf, options).to_frame()
    costs = table[table["metric"] == "cost"].set_index("forecaster")["value"]
    assert set(costs.index) == {MEAN, "linear"}
    aucs = table[table["metric"] == "auc"].set_index("attack")
    assert set(aucs.index) == {"loss", "likelihood ratio"}
    assert (aucs["low"] <= aucs["value"]).all()
    assert (aucs["value"] <= aucs["high"]).all()


def test_unusable_input_is_refused(sides: tuple[HouseholdProfiles, HouseholdProfiles], cost: OperatingCost) -> None:
    with pytest.raises(InputError, match="epsilon: expected a number above 0"):
        measure_household_load(*sides, cost, 0.0)
    with pytest.raises(MismatchError, match="30 of the training households"):
        measure_household_load(sides[0], sides[0], cost)
    with pytest.raises(InputError, match="at least 100 records"):
        measure_household_load(*sides, cost)


@pytest.mark.extras
def test_a_private_forecaster_is_measured_with_what_it_spent(
    sides: tuple[HouseholdProfiles, HouseholdProfiles], cost: OperatingCost
) -> None:
    options = HouseholdLoadOptions(forecasters=("linear",), customers=10, hours=24, shadows=32, fprs=(0.1,))
    table = measure_household_load(*sides, cost, 1.0, options).to_frame().set_index("metric")
    assert 0.99 < table.loc["epsilon_pld", "value"] <= 1.001
    assert (
        table.loc["epsilon_prv_low", "value"]
        <= table.loc["epsilon_pld", "value"]
        <= table.loc["epsilon_prv_high", "value"]
    )
    assert table.loc["n_units", "value"] == 30
