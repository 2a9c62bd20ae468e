"""Utility end to end on a small town, what stays out of training, and tasks that can be won and lost."""

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
from unlearn.studies._shared.utility import (
    REAL,
    REDRAWN,
    measure_utility,
    next_step_scores,
    season_of,
    season_scores,
    training_part,
)

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


def test_seasons_are_meteorological() -> None:
    assert list(season_of(np.arange(1, 13))) == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0]


@pytest.mark.slow
def test_seasons_that_show_are_told_and_shuffled_ones_are_not() -> None:
    train, test = households(20, 120, seed=0), households(20, 120, seed=1)
    shown = [replace(p, kwh=p.kwh * np.float32([1, 3, 9, 27])[season_of(p.month), None]) for p in (train, test)]
    scores = season_scores(*shown)
    assert scores["balanced_accuracy"] > 0.7
    assert scores["macro_f1"] > 0.7
    random = np.random.default_rng(0)
    lost = replace(shown[0], month=random.permutation(train.month))
    assert season_scores(lost, shown[1])["balanced_accuracy"] == pytest.approx(0.25, abs=0.06)


def test_a_season_with_one_profile_among_many_is_learnt_too() -> None:
    train, test = households(30, 350, seed=0), households(4, 60, seed=1)
    seasons = season_of(train.month)
    lone = train.take(np.r_[np.flatnonzero(seasons < 3), np.flatnonzero(seasons < 3), np.flatnonzero(seasons == 3)[0]])
    assert len(lone) > 10_000
    # Days that are all alike leave nothing to grow trees on, so this is fast.
    alike = [replace(p, kwh=np.ones_like(p.kwh), day_of_week=np.zeros_like(p.day_of_week)) for p in (lone, test)]
    assert season_scores(*alike)["balanced_accuracy"] == pytest.approx(0.25)


def test_a_pattern_is_forecast_and_noise_is_not_better_than_its_spread() -> None:
    train, test = households(20, 60, seed=0), households(20, 60, seed=1)
    steps = np.arange(48)
    wave = (1 + np.sin(2 * np.pi * steps / 12)).astype(np.float32)
    scores = {
        (model, metric): value
        for model, metric, value in next_step_scores(
            replace(train, kwh=np.tile(wave, (len(train), 1))), replace(test, kwh=np.tile(wave, (len(test), 1)))
        )
    }
    assert scores["ridge", "mae"] < 1e-3
    assert scores["persistence", "mae"] == pytest.approx(np.abs(np.diff(wave))[7:].mean(), rel=1e-5)
    random = np.random.default_rng(0)
    noise = [replace(p, kwh=random.random(p.kwh.shape).astype(np.float32)) for p in (train, test)]
    unknown = {(model, metric): value for model, metric, value in next_step_scores(*noise)}
    assert unknown["ridge", "rmse"] == pytest.approx(np.sqrt(1 / 12), rel=0.02)
    assert unknown["persistence", "rmse"] == pytest.approx(np.sqrt(1 / 6), rel=0.02)


def test_windows_stay_within_a_day() -> None:
    """A profile's own level tells its next step; the neighbour's would not."""
    made = households(10, 60)
    level = np.arange(1, len(made) + 1, dtype=np.float32) % 7
    flat = replace(made, kwh=np.repeat(level[:, None], 48, axis=1))
    scores = {(model, metric): value for model, metric, value in next_step_scores(flat, flat)}
    assert scores["persistence", "mae"] == 0
    assert scores["ridge", "mae"] < 1e-3


def test_what_a_task_cannot_use_is_refused() -> None:
    made = households(10, 60)
    with pytest.raises(InputError, match="at least two seasons"):
        season_scores(made.take(made.month == 1), made)
    with pytest.raises(InputError, match="same steps a day"):
        season_scores(made.to_hourly(), made)
    with pytest.raises(InputError, match="expected 1 to 47 steps, got 48"):
        list(next_step_scores(made, made, window=48))
