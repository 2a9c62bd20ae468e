"""Daily profiles and households: what is refused, what is derived, splits that keep a household whole."""

import contextlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import DataError, InputError
from unlearn.households import (
    DailyProfiles,
    HouseholdProfiles,
    household_profiles,
    profiles_from_frame,
    split_households,
)


def made(n_households: int = 6, n_days: int = 10, seed: int = 0, n_segments: int = 2) -> HouseholdProfiles:
    random = np.random.default_rng(seed)
    n = n_households * n_days
    frame = pd.DataFrame(
        {
            "household_id": [f"H{i:03d}" for i in range(n_households)],
            "segment": [f"s{i % n_segments}" for i in range(n_households)],
        }
    )
    days = np.datetime64("2013-02-25") + np.tile(np.arange(n_days), n_households)
    kwh = random.gamma(0.5, 0.4, (n, 48)).astype(np.float32)
    return household_profiles("made", kwh, np.repeat(np.arange(n_households), n_days), days, frame)


def test_labels_follow_from_the_date() -> None:
    profiles = made()
    days = pd.DatetimeIndex(profiles.date)
    assert (profiles.month == days.month).all()
    assert (profiles.day_of_week == days.day_of_week).all()
    assert (
        np.asarray(profiles.segments)[profiles.segment] == "s" + pd.Series(profiles.household % 2).astype(str)
    ).all()


def test_hours_hold_the_energy_of_their_half_hours() -> None:
    profiles = made()
    hourly = profiles.to_hourly()
    assert isinstance(hourly, HouseholdProfiles)
    assert hourly.kwh.shape == (60, 24)
    np.testing.assert_allclose(hourly.kwh[:, 3], profiles.kwh[:, 6] + profiles.kwh[:, 7], rtol=1e-6)
    assert hourly.to_hourly() is hourly


def test_a_frame_gives_the_profiles_back() -> None:
    profiles = made()
    again = profiles_from_frame(profiles.to_frame(), "again")
    assert again.fingerprint == profiles.unlabelled().fingerprint
    assert list(profiles.to_frame().columns[:5]) == ["household_id", "date", "month", "day_of_week", "segment"]


def test_steps_are_read_by_number_and_not_by_letter() -> None:
    kwh = np.arange(2 * 144.0).reshape(2, 144)
    profiles = daily(kwh=kwh, month=np.ones(2, int), day_of_week=np.ones(2, int), segment=np.zeros(2, int))
    frame = profiles.to_frame()
    np.testing.assert_array_equal(profiles_from_frame(frame[frame.columns[::-1]], "again").kwh, kwh)


@given(st.integers(2, 40), st.integers(1, 4), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_a_split_divides_households_whole_and_each_segment_alike(n: int, k: int, share: float, seed: int) -> None:
    profiles = made(n, 2, n_segments=k)
    if n * min(share, 1 - share) < 1:
        with contextlib.suppress(InputError):  # so few that one side may be empty
            split_households(profiles, share, seed)
        return
    train, holdout = split_households(profiles, share, seed)
    ids = [set(part.households["household_id"]) for part in (train, holdout)]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == n
    assert len(train) + len(holdout) == len(profiles)
    assert abs(len(ids[1]) - share * n) <= 1
    for segment in profiles.segments:
        members = (profiles.households["segment"] == segment).sum()
        assert abs((holdout.households["segment"] == segment).sum() - share * members) < 2
    row = int(np.flatnonzero(profiles.household == profiles.households.index[-1])[0])
    part = holdout if profiles.households["household_id"].iloc[-1] in ids[1] else train
    at = list(part.households["household_id"]).index(profiles.households["household_id"].iloc[-1])
    np.testing.assert_array_equal(part.kwh[part.household == at][0], profiles.kwh[row])


def test_the_same_seed_splits_the_same_way() -> None:
    first, second = (split_households(made(20), 0.4, 3)[1].households for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(split_households(made(20), 0.4, 4)[1].households)


def daily(**changes: object) -> DailyProfiles:
    given = {
        "name": "mine",
        "kwh": np.ones((3, 48)),
        "month": np.array([1, 2, 3]),
        "day_of_week": np.array([0, 1, 6]),
        "segment": np.zeros(3, int),
        "segments": ("all",),
    }
    return DailyProfiles(**{**given, **changes})


def with_value(value: float) -> np.ndarray:
    kwh = np.ones((3, 48))
    kwh[1, 7] = value
    return kwh


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kwh": np.ones((3, 47))}, r"expected profiles of 48 \(half-hours\) or another multiple of 24"),
        ({"kwh": np.ones(48)}, "got shape"),
        ({"kwh": [["x"] * 48] * 3}, "expected a matrix of numbers"),
        ({"kwh": with_value(np.nan)}, "got nan in profile 1 at step 7; 1 such values in 1 profiles"),
        ({"kwh": with_value(np.inf)}, "got inf in profile 1"),
        ({"kwh": with_value(-0.1)}, "got -0.1"),
        ({"month": np.array([1, 2, 13])}, "month: expected 1 to 12, got 13 in profile 2"),
        ({"day_of_week": np.array([0, 7, 0])}, "day_of_week: expected 0 to 6, got 7"),
        ({"segment": np.array([0, 1, 0])}, "segment: expected 0 to 0, got 1"),
        ({"month": np.ones(2, int)}, "one label per profile"),
        ({"month": np.ones(3)}, "expected integers"),
        ({"segments": ("a", "a")}, "each name once"),
    ],
)
def test_bad_profiles_are_refused_with_their_place(changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        daily(**changes)


def test_unknown_segments_and_missing_columns_are_refused() -> None:
    frame = daily().to_frame()
    with pytest.raises(DataError, match="expected one of rich, poor; got 'all' at row 0"):
        profiles_from_frame(frame, "mine", ["rich", "poor"])
    with pytest.raises(DataError, match="missing month"):
        profiles_from_frame(frame.drop(columns="month"), "mine")
    with pytest.raises(DataError, match=r"missing kwh_\*"):
        profiles_from_frame(frame[["month", "day_of_week", "segment"]], "mine")


def test_households_are_checked() -> None:
    profiles = made()
    twice = profiles.households.assign(household_id="same")
    with pytest.raises(DataError, match="each household_id once, got same again"):
        household_profiles("mine", profiles.kwh, profiles.household, profiles.date, twice)
    with pytest.raises(DataError, match="missing"):
        household_profiles("mine", profiles.kwh, profiles.household, profiles.date, twice[["segment"]])
    dates = profiles.date.copy()
    dates[3] = np.datetime64("NaT")
    with pytest.raises(DataError, match="date"):
        household_profiles("mine", profiles.kwh, profiles.household, dates, profiles.households)
