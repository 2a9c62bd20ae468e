from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.builders import daily_series
from unlearn.errors import DataError, InputError
from unlearn.households import household_profiles, load_households
from unlearn.households.buildings import BuildingSeries, buildings_of, fill_gaps, split_buildings
from unlearn.households.io.sources import load_buildings


def test_households_become_hourly_series_with_their_missing_days() -> None:
    days = np.array(["2013-01-01", "2013-01-03", "2013-01-02"], dtype="datetime64[D]")
    kwh = np.arange(3 * 48, dtype=np.float32).reshape(3, 48)
    table = pd.DataFrame({"household_id": ["a", "b"], "segment": "all"})
    series = buildings_of(household_profiles("three days", kwh, [0, 0, 1], days, table))
    assert series.buildings == ("a", "b")
    assert series.n_hours == 72
    hourly = kwh.reshape(3, 24, 2).sum(axis=2)
    np.testing.assert_array_equal(series.kwh[0], [*hourly[0], *[np.nan] * 24, *hourly[1]])
    np.testing.assert_array_equal(series.kwh[1], [*[np.nan] * 24, *hourly[2], *[np.nan] * 24])
    assert series.anomaly is None
    cut = buildings_of(household_profiles("three days", kwh, [0, 0, 1], days, table), "2013-01-02", "2013-01-03")
    np.testing.assert_array_equal(cut.kwh, series.kwh[:, 24:48])
    with pytest.raises(DataError, match="expected days from 2014-01-01"):
        buildings_of(household_profiles("three days", kwh, [0, 0, 1], days, table), "2014-01-01")


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (("January", None), "start: expected a date such as"),
        (("2013-01-01 06:00", None), "start: expected a day without a time"),
        ((None, "02/01/2013"), "end: expected a date such as"),
        (("2013-01-03", "2013-01-03"), "expected a start before the end, got 2013-01-03 and 2013-01-03"),
    ],
)
def test_days_that_cannot_be_meant_are_refused(days: tuple[str | None, str | None], said: str) -> None:
    with pytest.raises(InputError, match=said):
        buildings_of(load_households("simulator", n_households=2, n_days=4), *days)


def test_households_load_by_name() -> None:
    series = load_buildings("simulator", n_households=3, n_days=4)
    assert series.kwh.shape == (3, 96)
    assert np.isfinite(series.kwh).all()


@given(st.integers(2, 40), st.integers(0, 5), st.floats(0, 0.7), st.integers(0, 2**32 - 1))
def test_short_gaps_are_filled_as_pandas_does_and_long_ones_stay(t: int, longest: int, gaps: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    kwh = random.random((3, t))
    kwh[random.random((3, t)) < gaps] = np.nan
    hours = np.datetime64("2013-01-01T00", "h") + np.arange(t)
    series = BuildingSeries("gaps", ("a", "b", "c"), hours, kwh, np.ones(kwh.shape, dtype=bool))
    filled = fill_gaps(series, longest)
    for m in range(3):
        row = pd.Series(kwh[m])
        missing = row.isna()
        run = (missing != missing.shift()).cumsum()
        size = missing.groupby(run).transform("size")
        between = row.interpolate(limit_area="inside")
        expected = np.where(missing & (size <= longest), between, row)
        np.testing.assert_allclose(filled.kwh[m], expected, atol=1e-12)
        np.testing.assert_array_equal(filled.filled[m], missing & np.isfinite(expected))
    np.testing.assert_array_equal(filled.anomaly, ~filled.filled)
    np.testing.assert_array_equal(filled.measured, np.isfinite(kwh))
    again = fill_gaps(filled, longest)
    np.testing.assert_array_equal(again.kwh, filled.kwh)
    np.testing.assert_array_equal(again.filled, filled.filled)


def test_filling_a_building_looks_at_no_other() -> None:
    series = daily_series(3, 5)
    series.kwh[:, 50] = np.nan
    other = series.kwh.copy()
    other[1:] = np.where(np.isnan(other[1:]), np.nan, 99.0)
    np.testing.assert_array_equal(fill_gaps(series).kwh[0], fill_gaps(replace(series, kwh=other)).kwh[0])


def test_buildings_are_taken_with_all_that_is_known_of_them() -> None:
    series = fill_gaps(daily_series(4, 3, labelled=True))
    part = series.take([1, 3])
    assert part.buildings == ("b1", "b3")
    assert part.anomaly.shape == part.filled.shape == (2, 72)
    np.testing.assert_array_equal(part.kwh, series.kwh[[1, 3]])
    assert part.fingerprint != series.fingerprint == series.take(np.ones(4, dtype=bool)).fingerprint


def test_series_that_do_not_fit_are_refused() -> None:
    good = daily_series(2, 2)
    with pytest.raises(DataError, match="kwh: expected a value per building and hour"):
        replace(good, kwh=good.kwh[:, 1:])
    with pytest.raises(DataError, match="anomaly: expected a value per building and hour"):
        replace(good, anomaly=np.zeros(3, dtype=bool))
    with pytest.raises(DataError, match="expected each name once, got b0 again"):
        replace(good, buildings=("b0", "b0"))
    with pytest.raises(DataError, match="expected consecutive hours, got 2013-01-01T05"):
        replace(good, hours=np.delete(np.append(good.hours, good.hours[-1] + 1), 4))
    endless = good.kwh.copy()
    endless[1, 3] = np.inf
    with pytest.raises(DataError, match="got inf of building b1 at 2013-01-01T03"):
        replace(good, kwh=endless)
    with pytest.raises(InputError, match="longest_h"):
        fill_gaps(good, -1)


@given(st.integers(3, 300), st.floats(0.05, 0.45), st.floats(0.05, 0.45), st.integers(0, 1000))
def test_every_building_is_in_one_part(n: int, validation: float, test: float, seed: int) -> None:
    if min(round(validation * n), round(test * n)) < 1:
        with pytest.raises(InputError, match="at least one building in each part"):
            split_buildings(n, validation, test, seed)
        return
    split = split_buildings(n, validation, test, seed)
    together = np.concatenate([split.train, split.validation, split.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(n))
    assert abs(len(split.test) - test * n) <= 0.5
    np.testing.assert_array_equal(split.test, split_buildings(n, validation, test, seed).test)
