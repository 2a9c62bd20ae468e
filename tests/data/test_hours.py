"""Rows of a data set, however they are named."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.data.hours import hour_ranges, parse_time, rows_of
from unlearn.errors import InputError

HOURS = pd.date_range("2007-03-01", periods=96, freq="h")


@given(st.sets(st.integers(0, 95), min_size=1))
def test_every_form_gives_the_same_rows_and_ranges_give_them_back(chosen: set[int]) -> None:
    rows = np.array(sorted(chosen))
    mask = np.isin(np.arange(96), rows)
    forms = (rows, rows[::-1].tolist(), mask, HOURS[rows], HOURS[rows].to_numpy(), [*HOURS[rows][::-1]])
    for form in forms:
        assert rows_of("rows", form, HOURS).tolist() == rows.tolist()
    ranges = hour_ranges(HOURS, rows)
    back = [hour for first, last in ranges for hour in pd.date_range(first, last, freq="h")]
    assert back == list(HOURS[rows])


@given(st.integers(0, 94), st.integers(1, 95))
def test_a_pair_holds_its_start_and_not_its_end(start: int, length: int) -> None:
    end = min(start + length, 95)
    first, after = HOURS[start], HOURS[end]
    pairs = ((str(first), str(after)), (first, after.to_datetime64()), (first.isoformat(), after.to_pydatetime()))
    for pair in pairs:
        if end > start:
            assert rows_of("rows", pair, HOURS).tolist() == list(range(start, end))


def test_days_are_dates() -> None:
    assert rows_of("rows", ("2007-03-02", datetime.date(2007, 3, 3)), HOURS).tolist() == list(range(24, 48))
    assert parse_time("start", "2007-03-02 06:30") == pd.Timestamp(2007, 3, 2, 6, 30)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("2007-03-03", "2007-03-02"), r"start before the end, got start 2007-03-03 .* Exchange them"),
        (("2007-03-02", "2007-03-02"), "end is the time after the last hour"),
        (("March", "2007-04-01"), "start: expected a date such as 2007-03-01 .*got 'March'"),
        (("2007-03-01", "April"), "end: expected a date such as .*got 'April'"),
        (("2007-3-1", "2007-04-01"), "start: expected a date such as"),
        (("03/01/2007", "2007-04-01"), "start: expected a date such as"),
        (("2007", "2008"), "start: expected a date such as"),
        (("2007-02-30", "2007-04-01"), "expected a date that exists, got '2007-02-30'"),
        ((1.5, "2007-04-01"), "start: expected a date such as 2007-03-01, got 1.5"),
        ((pd.NaT, "2007-04-01"), "got none"),
        ((pd.Timestamp("2007-03-01", tz="UTC"), "2007-04-01"), "without a time zone"),
        (("2008-01-01", "2008-02-01"), "no row between .* the data runs from 2007-03-01 .* to 2007-03-04"),
        ("2007-03-01", "got one date, 2007-03-01"),
        (["2007-03-01", "2007-03-02"], "as a tuple; got list"),
        (
            pd.date_range("2007-03-01", periods=3, tz="UTC", freq="h"),
            "without a time zone, as the data has none, got UTC",
        ),
        (pd.DatetimeIndex(["2007-03-01 00:30"]), "got 1 that it does not have, first 2007-03-01 00:30:00"),
        (HOURS[[3, 3]], "got 1 duplicated"),
        (pd.Series(True, index=HOURS[:5]), "over the 96 hours of the data set.*over 5 other hours"),
        ([1.5], "expected integer rows"),
        ([[1]], "expected a 1-D list of rows"),
        ([96], "expected rows from 0 to 95"),
        ([None], "expected row numbers of the data set"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_whatever_could_mean_other_hours_is_refused(rows: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rows_of("rows to unlearn", rows, HOURS)
