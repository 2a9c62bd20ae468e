"""The simulator: mechanisms against what they promise, moments against the published ones.

Statistical tests reject at a significance of 0.001; seeds are fixed, so a run repeats to the bit.
"""

from inspect import signature

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unlearn.errors import InputError
from unlearn.households import london_weather, simulate_households, simulator
from unlearn.households.appliances import (
    ACTIVE,
    APPLIANCES,
    ASLEEP,
    AWAY,
    KINDS,
    _hazards,
    charging_kwh,
    half_hours,
    heating_kwh,
    run_appliance,
    simulate_activity,
    solar_kwh,
    summer_time,
)
from unlearn.households.simulator import HEATING, SEGMENTS, draw_population

ALPHA = 0.001


@pytest.fixture(scope="module")
def year():
    """A year of 250 households, half of them with each technology."""
    return simulate_households(250, random_state=3, ev_share=0.5, heat_pump_share=0.3, solar_share=0.5)


@pytest.fixture(scope="module")
def plain():
    """A year of 250 households without any technology."""
    return simulate_households(250, random_state=5, ev_share=0, heat_pump_share=0, solar_share=0)


def cube(profiles):
    return profiles.kwh.reshape(profiles.n_households, -1, 48).astype(np.float64)


def test_the_same_seed_gives_the_same_bits():
    first, second = (simulate_households(12, n_days=20, random_state=4) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    pd.testing.assert_frame_equal(first.households, second.households)
    assert simulate_households(12, n_days=20, random_state=5).fingerprint != first.fingerprint


def test_blocks_of_households_are_all_filled_and_none_repeats_another(monkeypatch):
    monkeypatch.setattr(simulator, "_BLOCK", 5)
    many = simulate_households(12, n_days=10, random_state=4)
    assert (cube(many).sum(axis=(1, 2)) > 0).all()
    assert len({household.tobytes() for household in cube(many)}) == 12


def test_the_default_is_a_year_of_200_households():
    defaults = {name: value.default for name, value in signature(simulate_households).parameters.items()}
    assert (defaults["n_households"], defaults["n_days"]) == (200, 365)


def test_meters_count_whole_wh_and_never_back(year):
    assert year.kwh.min() == 0
    np.testing.assert_allclose(year.kwh * 1000, np.rint(year.kwh * 1000), atol=2e-3)
    assert year.kwh.max() < 12  # 24 kW, more than a British main fuse lets through


def test_labels_and_days(year):
    households = year.households
    assert year.segments == SEGMENTS
    assert (households["ev"].sum(), households["heat_pump"].sum(), households["solar"].sum()) == (125, 75, 125)
    assert set(households["routine"]) <= set(KINDS)
    assert set(households["heating"]) <= {*HEATING, "heat pump"}
    assert (households["heat_pump"] == (households["heating"] == "heat pump")).all()
    assert households["occupants"].between(1, 6).all()
    assert year.days[0] == np.datetime64("2013-01-01")
    assert len(year.days) == 365
    assert not simulate_households(3, n_days=2, ev_share=0).households["ev"].any()
    assert simulate_households(3, n_days=2, solar_share=1).households["solar"].all()


def test_segments_differ_in_what_they_own_and_use():
    many = draw_population(6000, {"ev": 0.2, "heat_pump": 0.2, "solar": 0.2}, np.random.default_rng(0))
    for name in ("ev", "heat_pump", "solar"):
        owners = pd.crosstab(many["segment"], many[name])
        assert stats.chi2_contingency(owners).pvalue < ALPHA
        share = many.groupby("segment")[name].mean()
        assert share["Affluent"] > share["Comfortable"] > share["Adversity"]


def test_the_population_follows_its_chances():
    many = draw_population(20_000, {"ev": 0, "heat_pump": 0, "solar": 0}, np.random.default_rng(1))
    counts = many["segment"].value_counts()[list(SEGMENTS)]
    assert stats.chisquare(counts, 20_000 * np.array([0.37, 0.27, 0.36])).pvalue > ALPHA
    single = (many["occupants"] == 1)[many["segment"] == "Affluent"]
    assert stats.binomtest(int(single.sum()), len(single), 0.27).pvalue > ALPHA


def test_moments_match_the_published_ones(plain):
    """London 2013: mean 0.21 kWh per half-hour, medians of households 0.16, 5 to 95 % of them 0.05 to 0.53."""
    kwh = cube(plain)
    of_household = kwh.mean(axis=(1, 2))
    assert stats.ttest_1samp(of_household, 0.21).pvalue > ALPHA
    above = int((of_household > 0.164).sum())
    assert stats.binomtest(above, len(of_household), 0.5).pvalue > ALPHA
    assert 0.04 < np.quantile(of_household, 0.05) < 0.08
    assert 0.40 < np.quantile(of_household, 0.95) < 0.66
    assert 0.005 < (kwh == 0).mean() < 0.05
    assert 0.6 < np.quantile(kwh, 0.95) < 0.9
    profile = kwh.mean(axis=(0, 1))
    assert 18 <= profile.argmax() / 2 <= 21
    assert profile.argmin() / 2 in (3.5, 4.0, 4.5)
    assert 1.3 < profile.max() / profile[24:30].mean() < 2.0
    winter, summer = (kwh[:, np.isin(plain.month[:365], months)].mean() for months in ((12, 1, 2), (6, 7, 8)))
    assert 1.25 < winter / summer < 1.7
    flat = kwh.reshape(len(kwh), -1)
    series = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)

    def correlation(lag):
        return np.median((series[:, lag:] * series[:, :-lag]).mean(axis=1))

    assert 0.5 < correlation(1) < 0.8
    assert correlation(1) > correlation(2) > correlation(4)
    # Habits: the same time tomorrow tells more than an hour before or after it, and far more than 12 hours.
    assert correlation(48) > max(correlation(46), correlation(50)) > 0.15 > correlation(24)


def test_large_households_and_affluent_ones_use_more():
    many = simulate_households(1500, n_days=14, random_state=1, ev_share=0, heat_pump_share=0, solar_share=0)
    use = cube(many).mean(axis=(1, 2))
    assert stats.spearmanr(many.households["occupants"], use, alternative="greater").pvalue < ALPHA
    by = [use[(many.households["segment"] == segment).to_numpy()] for segment in ("Affluent", "Adversity")]
    assert stats.mannwhitneyu(*by, alternative="greater").pvalue < ALPHA


def test_who_works_uses_more_at_noon_on_days_off(plain):
    kwh = cube(plain)[(plain.households["routine"] == "working").to_numpy()]
    off = plain.day_of_week[:365] >= 5
    noon = kwh[:, :, 20:30].mean(axis=2)
    assert stats.wilcoxon(noon[:, off].mean(1), noon[:, ~off].mean(1), alternative="greater").pvalue < ALPHA


def test_technologies_show_in_the_meter(year):
    kwh, labels = cube(year), year.households
    summer = np.isin(year.month[:365], (5, 6, 7))
    day_share = kwh[:, summer, 20:28].mean(axis=(1, 2)) / kwh[:, summer].mean(axis=(1, 2))
    by_solar = [day_share[(labels["solar"] == owns).to_numpy()] for owns in (True, False)]
    assert stats.mannwhitneyu(*by_solar, alternative="less").pvalue < ALPHA
    peak = np.quantile(kwh.reshape(len(kwh), -1), 0.995, axis=1)
    by_ev = [peak[(labels["ev"] == owns).to_numpy()] for owns in (True, False)]
    assert stats.mannwhitneyu(*by_ev, alternative="greater").pvalue < ALPHA
    winter = np.isin(year.month[:365], (12, 1, 2))
    ratio = kwh[:, winter].mean(axis=(1, 2)) / kwh[:, summer].mean(axis=(1, 2))
    no_solar = ~labels["solar"].to_numpy()
    by_pump = [ratio[no_solar & (labels["heating"] == heating).to_numpy()] for heating in ("heat pump", "gas")]
    assert stats.mannwhitneyu(*by_pump, alternative="greater").pvalue < ALPHA


def test_the_chain_follows_its_hazards():
    """Of the working households that are up on a working day at 8:00, the table's share leaves in this half-hour."""
    n = 4000
    state = simulate_activity(
        np.zeros(n, int),
        np.zeros(n, int),
        np.zeros((n, 3), bool),
        np.datetime64("2013-01-07"),
        np.random.default_rng(0),
    ).reshape(n, 3, 48)
    for step, before, after, place in ((16, ACTIVE, AWAY, 0), (36, AWAY, ACTIVE, 0), (46, ACTIVE, ASLEEP, 1)):
        was = state[:, 1, step - 1] == before
        went = was & (state[:, 1, step] == after)
        hazard = float(_hazards()[place, before, KINDS.index("working"), 0, step])
        assert stats.binomtest(int(went.sum()), int(was.sum()), hazard).pvalue > ALPHA, step
    assert (state[:, :, 7] == ASLEEP).mean() > 0.8
    assert (state[:, 1, 24] == AWAY).mean() > 0.6
    assert (state[:, 1, 40] == ACTIVE).mean() > 0.6


def test_a_late_household_lives_the_same_day_later_and_holidays_are_away():
    n = 3000
    away = np.zeros((n, 4), bool)
    away[:, 2] = True

    def simulated(shift):
        return simulate_activity(
            np.ones(n, int), np.full(n, shift), away, np.datetime64("2013-01-07"), np.random.default_rng(0)
        ).reshape(n, 4, 48)

    on_time, late = simulated(0), simulated(3)
    assert (on_time[:, 2] == AWAY).all()
    rising = [(s[:, 1] == ACTIVE).mean(axis=0) for s in (on_time, late)]
    np.testing.assert_allclose(rising[1][15:24], rising[0][12:21], atol=0.06)


def test_summer_time_moves_habits_an_hour_earlier_in_utc():
    n = 3000
    nobody = np.zeros((n, 2), bool)
    week = [
        simulate_activity(np.ones(n, int), np.zeros(n, int), nobody, np.datetime64(day), np.random.default_rng(0))
        for day in ("2013-03-25", "2013-04-08")  # Mondays before and after the change
    ]
    before, after = ((s.reshape(n, 2, 48)[:, 1] == ACTIVE).mean(axis=0) for s in week)
    np.testing.assert_allclose(after[12:30], before[14:32], atol=0.06)


@pytest.mark.parametrize(
    ("year", "first", "last"),
    [(2012, "2012-03-25", "2012-10-28"), (2013, "2013-03-31", "2013-10-27"), (2014, "2014-03-30", "2014-10-26")],
)
def test_summer_time_of_known_years(year, first, last):
    days = np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="datetime64[D]")
    expected = (days >= np.datetime64(first)) & (days < np.datetime64(last))
    np.testing.assert_array_equal(summer_time(days), expected)


def test_appliances_run_as_often_when_and_as_long_as_they_promise():
    n_households, n_days = 200, 60
    up = np.ones((n_households, 48 * n_days), bool)
    local = np.zeros(n_days, int)
    for appliance in APPLIANCES:
        random = np.random.default_rng(2)
        attempts = np.full((n_households, n_days), appliance.per_day)
        at, kwh = run_appliance(appliance, attempts, np.zeros(n_households, int), local, up, random)
        length = len(appliance.kwh)
        expected = attempts.sum() * length
        # Runs are Poisson; those that the end of the series cuts off are few.
        assert abs(len(at) - expected) < 3.3 * length * np.sqrt(attempts.sum()) + n_households * length, appliance.name
        one_run = np.array([np.sum(appliance.kwh)]) * np.exp(appliance.spread**2 / 2)
        runs = len(at) / length
        spread = one_run[0] * np.sqrt(np.exp(appliance.spread**2) - 1) / np.sqrt(runs)
        assert abs(kwh.sum() / runs - one_run[0]) < 3.3 * spread + 0.01 * one_run[0], appliance.name
        if length == 1:
            clock = np.bincount(at % 48, minlength=48)
            usual = appliance.clock() * clock.sum() >= 5
            fit = stats.chisquare(
                clock[usual], appliance.clock()[usual] / appliance.clock()[usual].sum() * clock[usual].sum()
            )
            assert fit.pvalue > ALPHA, appliance.name


def test_nothing_starts_while_nobody_is_up():
    up = np.zeros((5, 480), bool)
    up[2, 100:140] = True
    at, kwh = run_appliance(
        APPLIANCES[0], np.full((5, 10), 40.0), np.zeros(5, int), np.zeros(10, int), up, np.random.default_rng(0)
    )
    assert len(at)
    assert up.reshape(-1)[at].all()
    assert (kwh > 0).all()


def test_vehicles_charge_what_they_drive_in_the_evening_or_at_night():
    n, n_days = 300, 60
    state = np.full((n, 48 * n_days), ACTIVE, dtype=np.int8)
    away = np.zeros((n, n_days), bool)
    away[:, 30:40] = True
    at, kwh = charging_kwh(np.arange(n) % 2 == 0, state, away, np.zeros(n_days, int), np.random.default_rng(0))
    energy = np.zeros(n * 48 * n_days)
    np.add.at(energy, at, kwh)
    energy = energy.reshape(n, n_days, 48)
    assert not energy[1::2].any()
    assert (energy[::2].sum(axis=(1, 2)) > 0).all()
    # 190 km a week with a log-normal spread of 0.45, 0.19 kWh per km; at the end half a charge of 10 kWh is to come.
    weekly = energy[::2].sum(axis=(1, 2)) / 50 * 7
    expected = 190 * 0.19 * np.exp(0.45**2 / 2)
    assert stats.ttest_1samp(weekly, expected - 7 / 50 * 5).pvalue > ALPHA
    assert kwh.max() <= 3.5
    assert not energy[:, 32:40].any()  # on holiday; the last charge before may run into the first days
    by_step = energy.sum(axis=(0, 1))
    assert by_step[18:32].sum() < 0.02 * by_step.sum()


@pytest.mark.parametrize("timer_share", [0.0, 1.0])
def test_a_timer_charges_at_night(timer_share):
    state = np.full((50, 48 * 20), ACTIVE, dtype=np.int8)
    away, summer, random = np.zeros((50, 20), bool), np.zeros(20, int), np.random.default_rng(0)
    at, kwh = charging_kwh(np.ones(50, bool), state, away, summer, random, timer_share)
    # Charges of up to 38 kWh begin at 0:30 or, as somebody is at home, at 16:00.
    in_the_evening = kwh[at % 48 >= 32].sum() / kwh.sum()
    assert in_the_evening == 0 if timer_share else in_the_evening > 0.9


def test_heating_follows_the_cold():
    households = draw_population(400, {"ev": 0, "heat_pump": 0.25, "solar": 0}, np.random.default_rng(0))
    state = np.full((400, 96), ACTIVE, dtype=np.int8)
    steps = np.tile(np.arange(48), 2)
    felt = np.repeat([0.0, 20.0], 48)
    who, kwh = heating_kwh(households, state, felt, steps, np.random.default_rng(0))
    heating = households["heating"].to_numpy()[who]
    assert set(heating) == {"electric", "storage", "heat pump"}
    assert (kwh[:, 48:] == 0).all()
    cold = kwh[:, :48]
    assert (cold[heating != "storage"] > 0).all()
    assert (cold[heating == "storage"][:, 14:] == 0).all()
    assert (cold[heating == "storage"][:, 1:14] > 0).all()
    assert cold[heating == "heat pump"].mean() < cold[heating == "electric"].mean()


def test_the_sun_rises_in_the_east_and_solar_cells_follow_it():
    weather = london_weather("2013-06-01", 30, random_state=1)
    random = np.random.default_rng(0)
    kwh = solar_kwh(np.array([True, False, True]), weather["irradiance_w_m2"].to_numpy(), random)
    assert kwh.shape == (2, 1440)
    by_step = kwh.reshape(2, 30, 48).mean(axis=(0, 1))
    assert (by_step[:7] == 0).all()
    assert 22 <= by_step.argmax() <= 26
    assert kwh.max() < 0.5 * 4.0 * 1.05


def test_the_weather_of_london():
    weather = london_weather(n_days=365, random_state=0)
    assert weather.index.equals(half_hours("2013-01-01", 365))
    by_month = weather.groupby(weather.index.month).mean()
    assert 2 < by_month["temperature_c"][1] < 8
    assert 15 < by_month["temperature_c"][7] < 21
    assert by_month["irradiance_w_m2"][6] > 5 * by_month["irradiance_w_m2"][12]
    by_hour = weather["temperature_c"].groupby(weather.index.hour).mean()
    assert 13 <= by_hour.idxmax() <= 16
    assert 2 <= by_hour.idxmin() <= 5
    daylight = (weather["irradiance_w_m2"] > 0).groupby(weather.index.normalize()).sum() / 2
    assert 15.5 <= daylight.loc["2013-06-21"] <= 17.5  # 16 h 38 min in London
    assert 7 <= daylight.loc["2013-12-21"] <= 8.5  # 7 h 50 min
    pd.testing.assert_frame_equal(weather, london_weather(n_days=365, random_state=0))
    assert not weather.equals(london_weather(n_days=365, random_state=1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_households": 0}, "n_households: expected a whole number of at least 1, got 0"),
        ({"n_households": 2.5}, "n_households: expected a whole number"),
        ({"n_days": 0}, "n_days: expected a whole number of at least 1"),
        ({"start": "soon"}, "start: expected a date such as 2007-03-01 .*got 'soon'"),
        ({"start": "2013-01-01 12:00"}, "start: expected a day without a time"),
        ({"start": None}, "start: expected a date"),
        ({"random_state": -1}, "random_state: expected a whole number of at least 0"),
        ({"random_state": 0.5}, "random_state: expected a whole number"),
        ({"ev_share": 1.1}, "ev_share: expected a share from 0 to 1, got 1.1"),
        ({"solar_share": -0.1}, "solar_share: expected a share from 0 to 1"),
        ({"heat_pump_share": float("nan")}, "heat_pump_share: expected a share from 0 to 1, got nan"),
    ],
)
def test_unusable_arguments_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        simulate_households(**{"n_households": 2, "n_days": 2, **options})
