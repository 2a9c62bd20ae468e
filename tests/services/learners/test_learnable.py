"""What models may learn of customers, against tables that are grouped by day with pandas alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import unlearn
from tests.households.customer_data import SPLIT, classes, loads, meters, places, readings
from unlearn.errors import InputError
from unlearn.households import CustomerLoads, customer_loads, hourly_meters
from unlearn.services.learners.learnable import (
    daily_profiles,
    hourly_series,
    left_out_in,
    of_customers,
    ranges_of,
    require_customers,
)


def allowed(data: CustomerLoads, left_out: np.ndarray | None = None) -> pd.DataFrame:
    """Readings with NaN wherever they may not be learnt, from the table itself."""
    table = readings(lives=True)
    kwh = (np.rint(table * 2.0**20) / 2.0**20).astype(np.float32).loc[data.timestamps]
    train = np.isin(np.arange(len(kwh)), data.split.train)
    kwh[~train] = np.nan
    if left_out is not None:
        for own in kwh:
            kwh.loc[left_out[:, data.load_names.index(places()[own])], own] = np.nan
    return kwh


def whole_days(kwh: pd.DataFrame) -> dict[tuple[str, pd.Timestamp], np.ndarray]:
    return {
        (own, day): hours.to_numpy()
        for own in kwh
        for day, hours in kwh[own].groupby(kwh.index.normalize())
        if len(hours) == 24 and hours.notna().all()
    }


@pytest.mark.parametrize("lags", [None, [30]])
def test_days_are_those_of_which_every_hour_may_be_learnt(lags: list[int] | None) -> None:
    data = loads(lives=True, lags=lags)  # with lags the rows begin at six in the morning
    data = data.without(["c003"], hours=np.arange(50, 60)).without(["c004"]).without(["c005"], "objects")
    left_out = np.zeros((len(data.timestamps), data.n_loads), dtype=bool)
    left_out[100:130, 1] = True
    kwh = allowed(data, left_out)
    kwh.iloc[50:60, kwh.columns.get_loc("c003")] = np.nan
    expected = whole_days(kwh.drop(columns=["c004", "c005"]))
    found = daily_profiles(data, data.split.train, left_out)
    names = found.households["household_id"].to_numpy()[found.household]
    keys = list(zip(names, pd.DatetimeIndex(found.date), strict=True))
    assert len(set(keys)) == len(keys)
    assert set(keys) == set(expected)
    np.testing.assert_array_equal(found.kwh, np.array([expected[key] for key in keys]))
    assert [found.segments[s] for s in found.segment] == [classes()[own] for own in names]
    assert (found.day_of_week == pd.DatetimeIndex(found.date).day_of_week).all()


def test_hourly_series_have_no_reading_that_may_not_be_learnt() -> None:
    data = loads(lives=True).without(["c003"], hours=np.arange(50, 60)).without(["c004"])
    left_out = np.zeros((len(data.timestamps), data.n_loads), dtype=bool)
    left_out[100:130, 1] = True
    kwh = allowed(data, left_out).drop(columns=["c004"])
    kwh.iloc[50:60, kwh.columns.get_loc("c003")] = np.nan
    found = hourly_series(data, data.split.train, left_out)
    np.testing.assert_array_equal(found.kwh, kwh[list(found.buildings)].to_numpy().T.astype(float))
    assert set(found.buildings) == {own for own in kwh if kwh[own].notna().any()}


def test_a_class_of_which_nobody_remains_is_gone_from_the_segments() -> None:
    data = customer_loads(meters(n=12), dict.fromkeys(places(12), "bus_1"), split=SPLIT)
    large = [own for own, group in classes(12).items() if group == "large"]
    assert daily_profiles(data, data.split.train).segments == ("large", "small")
    assert data.without(large).meters.segments == ("large", "small")
    assert daily_profiles(data.without(large), data.split.train).segments == ("small",)
    profiles = daily_profiles(data, data.split.train)
    small = profiles.households["segment"].to_numpy() == "small"
    part = of_customers(profiles, small)
    assert part.segments == ("small",)
    assert part.n_households == small.sum()


def test_no_whole_day_gives_no_profiles() -> None:
    table = readings(n=6, n_hours=40).iloc[5:27]
    data = customer_loads(hourly_meters(table), dict.fromkeys(table, "bus_1"), split=SPLIT)
    assert len(daily_profiles(data, np.arange(22))) == 0
    assert hourly_series(data, np.zeros(0, dtype=int)).kwh.shape == (0, 22)


def test_hours_left_out_survive_a_file_and_loads_that_are_gone() -> None:
    data = loads(n=12)
    mask = np.random.default_rng(0).random((len(data.timestamps), data.n_loads)) < 0.3
    mask[:, 2] = False
    ranges = ranges_of(data, mask)
    assert set(ranges) == set(data.load_names[:2])
    np.testing.assert_array_equal(left_out_in(data, ranges), mask)
    assert not left_out_in(data, {"bus_9": ranges["bus_1"]}).any()


def test_refusals() -> None:
    data = loads(n=12)
    plain = unlearn.load_dataset("synthetic", n_hours=200, n_loads=2)
    with pytest.raises(InputError, match=r"expected CustomerLoads.*got LoadDataset.*customer_loads"):
        require_customers(plain)
    with pytest.raises(InputError, match="left_out"):
        daily_profiles(data, data.split.train, np.zeros((3, 3), dtype=bool))
