"""Hours of loads: which rows a caller means, readings in another unit or of a register, and made-up noise."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, require_rows
from unlearn.data.text_tables import listed
from unlearn.errors import DataError, InputError


def autoregressive(shocks: FloatArray, memory: float, axis: int = 0) -> FloatArray:
    """Turn white noise into a stationary AR(1) series of unit variance with a memory of some steps along an axis."""
    decay = np.exp(-1 / memory)
    scaled = shocks * np.sqrt(1 - decay**2)
    first = (0,) if axis == 0 else (..., 0)
    scaled[first] = shocks[first]
    from scipy.signal import lfilter  # most of a second to import, and only made-up data needs it

    return lfilter([1.0], [1.0, -decay], scaled, axis=axis)


#: Readings that a register is told by, and the least share of steps at which it rises.
_ENOUGH, _RISING = 96, 0.25
_UNIT = re.compile(r"[(\[_ ](wh|mwh|gwh|w|kw|mw)[)\]]?\s*$", re.IGNORECASE)


def refuse_other_units(where: str, titles: Sequence[str]) -> None:
    """Refuse columns whose titles end with another unit than kWh.

    Raises:
        DataError: names the column and the unit.
    """
    for title in titles:
        unit = _UNIT.search(title)
        if unit and (title.strip()[-1] in ")]" or unit[1] in ("Wh", "MWh", "GWh", "kW", "MW")):
            raise DataError(
                f"{where}: expected energy of each step in kWh, got column {title}, whose title says {unit[1]}. "
                "Convert the readings to kWh and rename it."
            )


def refuse_registers(where: str, names: Sequence[str], readings: FloatArray) -> None:
    """Refuse readings that only rise from a high start, as the register of a meter does.

    Args:
        where: file, for messages.
        names: of the meters.
        readings: shape (meters, steps), NaN where there is none.

    Raises:
        DataError: names the meters.
    """
    found = []
    for name, row in zip(names, readings, strict=True):
        there = row[np.isfinite(row)]
        steps = np.diff(there)
        if (
            len(there) >= _ENOUGH
            and (steps >= 0).all()
            and (steps > 0).mean() >= _RISING
            and there[0] > 2 * steps.mean()
        ):
            found.append(name)
    if found:
        raise DataError(
            f"{where}: expected the energy of each step, got readings that never fall, as of a register that counts "
            f"all energy so far: {listed(found)} ({len(found)} of {len(names)} meters). Take the differences of "
            "consecutive readings."
        )


#: A moment as a caller may write it; text is ISO 8601, "2007-03-01" or "2007-03-01 06:00".
Time: TypeAlias = str | datetime.date | np.datetime64
#: Rows of a data set: row numbers, a mask over all rows, times, or a pair of dates (start, end).
Rows: TypeAlias = ArrayLike | pd.DatetimeIndex | tuple[Time, Time]
_MOMENT = datetime.date | np.datetime64
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?")


def parse_time(name: str, value: Time) -> pd.Timestamp:
    """Read a moment, refusing whatever could mean another one.

    Args:
        name: what the moment is, for messages.
        value: ISO text, date, datetime, pandas or numpy time, without a time zone.

    Raises:
        InputError: no date, a date that does not exist, or one with a time zone.
    """
    if not isinstance(value, str | _MOMENT):
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
    if isinstance(rows, tuple) and len(rows) == 2 and any(isinstance(one, str | _MOMENT) for one in rows):
        return rows_between(name, timestamps, *rows)
    if isinstance(rows, str | _MOMENT):
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
    if array.ndim == 1 and array.size and array.dtype == object and all(isinstance(one, _MOMENT) for one in array):
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
