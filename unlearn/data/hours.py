"""Hours of a data set: named by rows, by a mask, by times or by a pair of dates, and written as ranges."""

from __future__ import annotations

import datetime
import re
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import IntArray, require_rows
from unlearn.errors import InputError

#: A moment as a caller may write it; text is ISO 8601, "2007-03-01" or "2007-03-01 06:00".
Time: TypeAlias = str | datetime.date | np.datetime64

#: Rows of a data set: row numbers, a mask over all rows, times, or a pair of dates (start, end).
Rows: TypeAlias = ArrayLike | pd.DatetimeIndex | tuple[Time, Time]

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?")


def parse_time(name: str, value: Time) -> pd.Timestamp:
    """Read a moment, refusing whatever could mean another one.

    Args:
        name: what the moment is, for messages.
        value: ISO text, date, datetime, pandas or numpy time, without a time zone.

    Raises:
        InputError: no date, a date that does not exist, or one with a time zone.
    """
    if not isinstance(value, str | datetime.date | np.datetime64):
        raise InputError(f"{name}: expected a date such as 2007-03-01, got {value!r} ({type(value).__name__}).")
    if isinstance(value, str) and not _ISO.fullmatch(value.strip()):
        raise InputError(
            f"{name}: expected a date such as 2007-03-01 or 2007-03-01 06:00 (year, month, day; without a time zone), "
            f"got {value!r}."
        )
    try:
        time = pd.Timestamp(value.strip() if isinstance(value, str) else value)
    except ValueError as error:
        raise InputError(f"{name}: expected a date that exists, got {str(value)!r}.") from error
    if not isinstance(time, pd.Timestamp):  # NaT
        raise InputError(f"{name}: expected a date such as 2007-03-01, got none (NaT).")
    if time.tz is not None:
        raise InputError(f"{name}: expected a time without a time zone, as the data has none, got {value}.")
    return time


def parse_day(name: str, value: Time) -> np.datetime64:
    """Read a day, as datetime64[D].

    Raises:
        InputError: as `parse_time`, or a moment with a time of day.
    """
    time = parse_time(name, value)
    if time != time.normalize():
        raise InputError(f"{name}: expected a day without a time, such as 2013-01-01, got {value!r}.")
    return np.datetime64(time, "D")


def rows_between(name: str, timestamps: pd.DatetimeIndex, start: Time, end: Time) -> IntArray:
    """Rows with `start <= time < end`.

    Args:
        name: what is chosen, for messages.
        timestamps: hours of the data set, shape (N,).
        start: first time.
        end: time after the last one.

    Raises:
        InputError: a time that cannot be read, a range that ends before it starts or holds no row.
    """
    first, after = parse_time(f"{name}: start", start), parse_time(f"{name}: end", end)
    if first >= after:
        hint = " Exchange them." if first > after else " The end is the time after the last hour."
        raise InputError(f"{name}: expected a start before the end, got start {first} and end {after}.{hint}")
    rows = np.flatnonzero((timestamps >= first) & (timestamps < after))
    if not rows.size:
        raise InputError(
            f"{name}: no row between {first} and {after}; the data runs from {timestamps[0]} to {timestamps[-1]}."
        )
    return rows


def rows_of(name: str, rows: Rows, timestamps: pd.DatetimeIndex) -> IntArray:
    """Rows of a data set, sorted, from whatever names them.

    Args:
        name: what is chosen, for messages.
        rows: row numbers from 0 to N − 1; a mask of N booleans; times, each that of a row; or a pair
            `(start, end)` of dates as a tuple, which holds the start and not the end.
        timestamps: hours of the data set, shape (N,).

    Raises:
        InputError: none of these; a mask of another length or other hours; rows or times that the data
            set does not have, or twice.
    """
    kinds = (
        "row numbers of the data set, a mask over all its rows, hours (a pandas DatetimeIndex), or a pair of dates "
        '("2007-03-01", "2007-04-01") as a tuple'
    )
    if isinstance(rows, tuple) and len(rows) == 2 and any(_is_time(one) for one in rows):
        return rows_between(name, timestamps, *rows)
    if isinstance(rows, str | datetime.date | np.datetime64):
        raise InputError(f"{name}: expected {kinds}; got one date, {rows}.")
    if isinstance(rows, pd.Series) and isinstance(rows.index, pd.DatetimeIndex) and not rows.index.equals(timestamps):
        raise InputError(
            f"{name}: expected a series over the {len(timestamps)} hours of the data set, from {timestamps[0]} to "
            f"{timestamps[-1]}, got one over {len(rows)} other hours. Reindex it, or pass its hours."
        )
    zone = getattr(getattr(rows, "dtype", None), "tz", None)
    if zone is not None:
        raise InputError(f"{name}: expected hours without a time zone, as the data has none, got {zone}.")
    array = np.asarray(rows)
    if array.ndim == 1 and array.size and array.dtype == object and all(_is_moment(one) for one in array):
        array = np.array([parse_time(name, one).to_datetime64() for one in array])
    if array.ndim == 1 and array.dtype.kind == "M":
        return _rows_at(name, pd.DatetimeIndex(array), timestamps)
    if array.dtype.kind in "USO":
        raise InputError(f"{name}: expected {kinds}; got {type(rows).__name__} of {array.dtype}.")
    return require_rows(name, array, len(timestamps))


def hour_ranges(timestamps: pd.DatetimeIndex, rows: IntArray) -> list[list[str]]:
    """First and last hour of each run of consecutive rows, as ISO text: what a person or a file reads."""
    if not len(rows):
        return []
    ends = np.flatnonzero(np.diff(rows) != 1)
    pairs = zip(rows[np.append(0, ends + 1)], rows[np.append(ends, len(rows) - 1)], strict=True)
    return [[timestamps[int(row)].isoformat() for row in pair] for pair in pairs]


def _rows_at(name: str, times: pd.DatetimeIndex, timestamps: pd.DatetimeIndex) -> IntArray:
    found = timestamps.get_indexer(times.as_unit(timestamps.unit)) if len(times) else np.empty(0, dtype=np.int64)
    absent = times[found < 0]
    if len(absent):
        raise InputError(
            f"{name}: expected hours of the data set, which runs from {timestamps[0]} to {timestamps[-1]}; got "
            f"{len(absent)} that it does not have, first {absent[0]}."
        )
    return require_rows(name, found, len(timestamps))


def _is_time(value: object) -> bool:
    return isinstance(value, str) or _is_moment(value)


def _is_moment(value: object) -> bool:
    return isinstance(value, datetime.date | np.datetime64)
