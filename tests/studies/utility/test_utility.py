"""Utility end to end on a small town: what is compared, what stays out of training, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import unlearn
from tests.generators.builders import households
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import TrainingOptions
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles, split_households
from unlearn.studies._shared.bus_loads import (
    PERFECT,
    WEEK_BEFORE,
    household_load_kwh,
    load_scale,
    measure_load_task,
    plan_buses,
    training_days,
)
from unlearn.studies._shared.options import UtilityOptions
from unlearn.studies._shared.utility import REAL, REDRAWN, measure_utility, training_part

QUICK = UtilityOptions(
    profiles=400,
    windows=2000,
    customers=20,
    forecasters=("linear", "cnn"),
    hours=24,
    training=TrainingOptions(epochs=2),
)


@pytest.fixture(scope="module")
def parts() -> tuple[HouseholdProfiles, HouseholdProfiles]:
    return split_households(households(30, 200, every_day=True), 0.4, seed=0)


@pytest.fixture(scope="module")
def small_cost() -> OperatingCost:
    return OperatingCost(unlearn.load_case("ieee9"))


def test_every_task_compares_the_release_with_real_data(
    parts: tuple[HouseholdProfiles, HouseholdProfiles], small_cost: OperatingCost
) -> None:
    train, holdout = parts
    copies = replace(training_part(train).unlabelled(), name="copies")
    nonsense = replace(copies, name="nonsense", kwh=np.random.default_rng(0).permuted(copies.kwh, axis=1))
    records = measure_utility([copies, nonsense], train, holdout, small_cost, QUICK, seed=1).to_frame()
    assert set(records["task"]) == {"season", "next_step", "load"}
    assert set(records["generator"]) == {REAL, REDRAWN, "copies", "nonsense", "nothing"}
    value = records.set_index(["task", "generator", "forecaster", "metric"])["value"]
    assert value["season", "copies", "boosting", "balanced_accuracy"] == pytest.approx(
        value["season", REAL, "boosting", "balanced_accuracy"], abs=1e-12
    )
    assert value["next_step", "nonsense", "boosting", "rmse"] > 1.1 * value["next_step", "copies", "boosting", "rmse"]
    # Copies are drawn from the same pool as real redrawn days; only the random numbers could differ, and do not.
    assert value["load", "copies", "linear", "mape"] == pytest.approx(value["load", REDRAWN, "linear", "mape"])
    assert value["load", "nonsense", "linear", "cost"] > value["load", "copies", "linear", "cost"]
    assert value["load", "nothing", PERFECT, "mse"] == 0
    assert value["load", "nothing", PERFECT, "cost"] < value["load", REAL, "linear", "cost"]
    assert value["load", "nothing", WEEK_BEFORE, "mape"] > 0


def test_the_load_task_measures_what_a_plain_fit_measures(
    parts: tuple[HouseholdProfiles, HouseholdProfiles], small_cost: OperatingCost
) -> None:
    from unlearn.studies._shared.bus_loads import bus_dataset

    train, holdout = parts
    plan = plan_buses(train, 3, 15)
    load, test_kwh = household_load_kwh(plan, train), household_load_kwh(plan, holdout)
    factor = load_scale(plan, load, small_cost)
    rows = list(measure_load_task(plan, {"mine": load}, test_kwh, factor, small_cost, ["linear"], hours=48))
    dataset, test = (bus_dataset("any", plan, kwh, factor, 100.0) for kwh in (load, test_kwh))
    np.testing.assert_allclose(
        dataset.load_mw[dataset.split.train].max(axis=0), small_cost.case.nominal_load_mw, rtol=0.3
    )
    forecast = unlearn.fit_linear(dataset).forecast(test.features[test.split.test])
    true = test.load_pu[test.split.test]
    found = {metric: value for name, _, metric, value in rows if name == "mine"}
    assert found["mape"] == pytest.approx(100 * np.abs(forecast / true - 1).mean(), rel=0.5)
    everything = measure_load_task(plan, {"mine": load}, test_kwh, factor, small_cost, ["linear"])
    found = {metric: value for name, _, metric, value in everything if name == "mine"}
    assert found["mape"] == pytest.approx(100 * np.abs(forecast / true - 1).mean(), rel=1e-9)
    assert found["mse"] == pytest.approx(np.square(forecast - true).mean(), rel=1e-9)


def test_test_weeks_and_test_households_are_in_no_training_set(
    parts: tuple[HouseholdProfiles, HouseholdProfiles],
) -> None:
    train, holdout = parts
    learnt = training_part(train)
    assert training_days(learnt.date).all()
    assert 0.7 < len(learnt) / len(train) < 0.8
    changed = replace(holdout, kwh=holdout.kwh * np.where(training_days(holdout.date), 5, 1)[:, None])
    # What holdout households do in training weeks has no influence on the profile tasks.
    options = replace(QUICK, tasks=("season", "next_step"))
    first, second = (measure_utility([], train, test, None, options).to_frame() for test in (holdout, changed))
    assert first.equals(second)


def test_if_one_release_is_hourly_all_profile_tasks_are_in_hours(
    parts: tuple[HouseholdProfiles, HouseholdProfiles],
) -> None:
    train, holdout = parts
    hourly = replace(training_part(train).unlabelled().to_hourly(), name="hourly")
    options = replace(QUICK, tasks=("season", "next_step"))
    records = measure_utility([hourly], train, holdout, None, options).to_frame()
    assert set(records["n_steps"]) == {24}
    # The same days as real training: an error in kWh an hour beside one in kWh a half-hour would be twice as large.
    value = records.set_index(["generator", "forecaster", "metric"])["value"]
    assert value["hourly", "ridge", "rmse"] == pytest.approx(value[REAL, "ridge", "rmse"], rel=1e-12)


def test_bad_input_is_refused_before_anything_is_trained(
    parts: tuple[HouseholdProfiles, HouseholdProfiles], small_cost: OperatingCost
) -> None:
    train, holdout = parts
    with pytest.raises(MismatchError, match="of the training households among them, such as H"):
        measure_utility([], train, train, small_cost, QUICK)
    with pytest.raises(InputError, match="expected cost, an OperatingCost, got None"):
        measure_utility([], train, holdout, None, QUICK)
    with pytest.raises(InputError, match="names of their own"):
        measure_utility([train.unlabelled()] * 2, train, holdout, small_cost, QUICK)
    with pytest.raises(InputError, match="names of their own"):
        measure_utility([replace(train.unlabelled(), name="nothing")], train, holdout, small_cost, QUICK)
    with pytest.raises(InputError, match=r"utility\.tasks"):
        UtilityOptions(tasks=("poetry",))
    with pytest.raises(InputError, match=r"utility\.customers"):
        UtilityOptions(customers=0)
    with pytest.raises(InputError, match=r"utility\.forecasters"):
        UtilityOptions(forecasters=("oracle",))
    with pytest.raises(InputError, match=r"utility\.window: expected a whole number"):
        UtilityOptions(window=0)


def test_sets_without_days_and_buses_without_load_are_refused(
    parts: tuple[HouseholdProfiles, HouseholdProfiles], small_cost: OperatingCost
) -> None:
    train, holdout = parts
    trained_only = holdout.take(training_days(holdout.date))
    options = replace(QUICK, tasks=("next_step",))
    with pytest.raises(InputError, match=f"got none in {holdout.name}.*test_every"):
        measure_utility([], train, trained_only, None, options)
    nothing = replace(train.unlabelled().take(np.arange(0)), name="nothing left")
    with pytest.raises(InputError, match="got none in nothing left"):
        measure_utility([nothing], train, holdout, None, options)
    idle = replace(train, kwh=np.zeros_like(train.kwh))
    with pytest.raises(InputError, match="0 kWh in every hour at bus 1"):
        measure_utility([], idle, holdout, small_cost, replace(QUICK, tasks=("load",)))
