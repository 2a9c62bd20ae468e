"""Households summed to bus loads: against plain loops, and only with what each source knows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.generators.builders import households
from unlearn.errors import InputError
from unlearn.households import DailyProfiles, HouseholdProfiles, household_profiles
from unlearn.studies._shared.bus_loads import (
    BusPlan,
    bus_dataset,
    household_load_kwh,
    plan_buses,
    release_load_kwh,
    training_days,
)


def consecutive(n: int = 8, n_days: int = 40, seed: int = 0) -> HouseholdProfiles:
    return households(n, n_days, seed, every_day=True)


def test_whole_calendar_weeks_are_left_out() -> None:
    days = np.arange(np.datetime64("2013-01-01"), np.datetime64("2013-12-31"))
    training = training_days(days, 4)
    weeks = pd.Series(training, pd.DatetimeIndex(days)).resample("W-SUN").mean()
    assert set(weeks) == {0.0, 1.0}
    assert training.mean() == pytest.approx(0.75, abs=0.02)
    np.testing.assert_array_equal(training_days(days[30:], 4), training[30:])
    with pytest.raises(InputError, match="at least 2"):
        training_days(days, 1)


def plan_of(segment: list[list[str]], days: np.ndarray) -> BusPlan:
    return BusPlan(np.array(segment), days, training_days(days))


def test_real_customers_stay_the_same_all_year() -> None:
    profiles = consecutive()
    # Each household's energy tells who it is.
    kwh = np.zeros_like(profiles.kwh)
    kwh[:, 10] = 10.0**profiles.household
    marked = household_profiles("marked", kwh, profiles.household, profiles.date, profiles.households)
    plan = plan_of([["late"] * 3, ["early"] * 3], marked.days)
    load = household_load_kwh(plan, marked, seed=1)
    assert load.shape == (40, 2, 24)
    assert (load[:, :, 5] == load[0, :, 5]).all()
    assert (load[:, :, [0, 6, 23]] == 0).all()
    late = {10.0**i for i in range(8) if i % 2}
    digits = [int(d) for d in str(int(load[0, 0, 5]))[::-1]]
    assert sum(digits) == 3
    assert {10.0**i for i, d in enumerate(digits) if d} <= late


def test_a_missing_day_takes_the_mean_of_the_other_customers() -> None:
    profiles = consecutive(n=2)
    missing = (profiles.household == 1) & (profiles.date == profiles.days[5])
    some = profiles.take(~missing)
    plan = plan_of([["late", "early"]], profiles.days)
    load = household_load_kwh(plan, some)
    other = profiles.to_hourly().kwh[(profiles.household == 0) & (profiles.date == profiles.days[5])]
    np.testing.assert_allclose(load[5, 0], 2 * other[0], rtol=1e-6)
    with pytest.raises(InputError, match=r"no customer of bus 1 has data on 2013-01-06"):
        household_load_kwh(plan, profiles.take(profiles.date != profiles.days[5]))


def release_of(labels: list[tuple[int, int, int]], segments: tuple[str, ...] = ("early", "late")) -> DailyProfiles:
    """Profiles whose energy in the first hour is their position, in powers of a thousand."""
    month, day, segment = map(np.array, zip(*labels, strict=True))
    kwh = np.zeros((len(labels), 48))
    kwh[:, 0] = np.arange(len(labels)) + 1
    return DailyProfiles("release", kwh, month, day, segment, segments)


def test_a_release_is_drawn_by_its_labels_and_falls_back_step_by_step() -> None:
    days = np.arange(np.datetime64("2013-01-01"), np.datetime64("2013-03-01"))  # a Tuesday
    plan = plan_of([["early"], ["late"], ["else"]], days)
    release = release_of([(1, 1, 0), (1, 2, 0), (1, 1, 1), (2, 4, 1)])
    load = release_load_kwh(plan, release)[:, :, 0]
    tuesday, wednesday, thursday = load[0], load[1], load[2]
    assert tuesday[0] == 1
    assert tuesday[1] == 3
    assert tuesday[2] in (1, 3)  # no such segment: month and day
    assert wednesday[0] == 2
    assert wednesday[1] == 3  # no late Wednesday: a late day of the month
    assert thursday[0] in (1, 2)
    assert load[31, 0] == 4  # 1 February, nobody early: what the month has
    march = release_load_kwh(plan_of([["early"]], days + np.timedelta64(59, "D")), release)[:, 0, 0]
    assert set(march) <= {1.0, 2.0, 3.0, 4.0}
    assert len(set(march)) > 1


@given(st.integers(0, 1000), st.integers(1, 60))
def test_drawing_from_all_real_profiles_keeps_their_mean(seed: int, customers: int) -> None:
    profiles = households(6, 30, seed)
    plan = plan_buses(consecutive(6, 40, seed), 3, customers, seed=seed)
    load = release_load_kwh(plan, profiles, seed)
    assert (load >= 0).all()
    assert load.shape == (40, 3, 24)
    energy = profiles.to_hourly().kwh
    assert load.max() <= customers * energy.max() * (1 + 1e-6)


def test_plans_have_mixed_buses_and_refuse_too_few_days() -> None:
    profiles = consecutive(20)
    plan = plan_buses(profiles, 14, 50, seed=2)
    assert plan.segment.shape == (14, 50)
    shares = (plan.segment == "late").mean(axis=1)
    assert shares.std() > 0.05
    assert 0.3 < shares.mean() < 0.7
    np.testing.assert_array_equal(plan_buses(profiles, 14, 50, seed=2).segment, plan.segment)
    with pytest.raises(InputError, match="expected more days than 7"):
        plan_buses(consecutive(4, 7), 2, 5)
    with pytest.raises(InputError, match="n_customers"):
        plan_buses(profiles, 2, 0)


def test_the_data_set_has_lags_of_its_own_bus_and_tests_on_left_out_weeks() -> None:
    profiles = consecutive(n_days=60)
    plan = plan_buses(profiles, 3, 10)
    load = household_load_kwh(plan, profiles)
    factor = np.array([0.1, 1.0, 2.0])
    dataset = bus_dataset("made", plan, load, factor, 100.0, seed=4)
    assert dataset.load_mw.shape == ((60 - 7) * 24, 3)
    np.testing.assert_allclose(dataset.load_mw[30, 2], 2 * load[8, 2, 6])
    day, week = (dataset.feature_names.index(f"load_{lag}_before_mw") for lag in ("day", "week"))
    np.testing.assert_allclose(dataset.features[24:, :, day], dataset.load_mw[:-24])
    np.testing.assert_allclose(dataset.features[168:, :, week], dataset.load_mw[:-168])
    np.testing.assert_allclose(dataset.features[5, 1, week], load[0, 1, 5])
    hours = dataset.timestamps[dataset.split.test].to_numpy().astype("datetime64[D]")
    assert not training_days(hours).any()
    assert training_days(dataset.timestamps[dataset.split.train].to_numpy().astype("datetime64[D]")).all()
    assert len(dataset.split.core) == int(0.3 * len(dataset.split.train))
    assert dataset.fitted[0].name == "load scale"
