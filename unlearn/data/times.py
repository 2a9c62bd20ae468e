"""Times as people write them: dates, clocks, zones, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unlearn.checks import IntArray
from unlearn.data.text_tables import Table
from unlearn.errors import DataError, InputError, said

DateArray = NDArray[np.datetime64]


def month_of(dates: DateArray) -> IntArray:
    """1 to 12."""
    return dates.astype("datetime64[M]").astype(np.int64) % 12 + 1


def days_since_monday(dates: DateArray) -> IntArray:
    """Days since Monday, 29 December 1969: whole weeks and days of the week follow by dividing by 7."""
    # 1970-01-01 was a Thursday.
    return dates.astype("datetime64[D]").astype(np.int64) + 3


def day_of_week_of(dates: DateArray) -> IntArray:
    """0 (Monday) to 6."""
    return days_since_monday(dates) % 7


def seconds_of(times: pd.DatetimeIndex) -> IntArray:
    """Seconds since 1970 of each time."""
    return times.to_numpy().astype("datetime64[s]").astype(np.int64)


HOUR_S = 3600
#: Months in which clocks go forward or back somewhere; they do so in the early hours from Friday to Sunday.
_MONTHS = (3, 4, 9, 10, 11)
_LISTED = 4


def common_step(seconds: IntArray) -> int:
    """The most common distance in time between rows that rise, in seconds; 0 where there is none."""
    steps = np.diff(seconds)
    found, counts = np.unique(steps[steps > 0], return_counts=True)
    return int(found[counts.argmax()]) if found.size else 0


def length_of(seconds: int) -> str:
    """A duration in words: `15 min`, `1 h`, `1 day`."""
    for unit_s, unit in ((86_400, "day"), (HOUR_S, "h"), (60, "min")):
        if seconds and seconds % unit_s == 0:
            return f"{seconds // unit_s} {unit}{'s' if unit == 'day' and seconds > unit_s else ''}"
    return f"{seconds} s"


def clock_change(times: pd.DatetimeIndex, rows: IntArray) -> str:
    """A sentence on daylight saving, if these rows (that do not follow their predecessors) stand where clocks change.

    Args:
        times: of all rows.
        rows: positions of rows that repeat an hour or come an hour late.

    Returns:
        The sentence with a leading blank, or nothing.
    """
    seconds, step_s = seconds_of(times), common_step(seconds_of(times))
    jumps = np.isin(seconds[rows] - seconds[rows - 1], (step_s + HOUR_S, step_s - HOUR_S, 0))
    return repeated_hour(times[rows[jumps]])


def repeated_hour(times: pd.DatetimeIndex) -> str:
    """The same sentence for times that are there twice."""
    there = times[np.isin(times.month, _MONTHS) & (times.day_of_week >= 4) & (times.hour <= 4)]
    dates = sorted({str(date) for date in there.date})
    if not dates:
        return ""
    more = f" and {len(dates) - _LISTED} more" if len(dates) > _LISTED else ""
    return (
        f" This looks like the clock change of {', '.join(dates[:_LISTED])}{more} in local time: write the times in "
        "UTC or in standard time."
    )


_OFFSET = r"(?P<offset>Z|z|[+-]\d{2}(?::?\d{2})?)"
_ISO = re.compile(
    r"(?P<time>\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?)(?: ?" + _OFFSET + ")?", re.ASCII
)
_WITH_OFFSET = re.compile(r"(?P<time>.*?) ?" + _OFFSET, re.ASCII | re.DOTALL)
_PARTED = re.compile(
    r"(?P<first>\d{1,4})(?P<sep>[/.\-])(?P<second>\d{1,2})(?P=sep)(?P<third>\d{4}|\d{1,2})(?P<rest>\D.*)?",
    re.ASCII | re.DOTALL,
)
_CLOCK = re.compile(
    r"(?P<gap>[T ,]*)\d{1,2}:\d{2}(?P<seconds>:\d{2}(?P<fraction>\.\d+)?)?(?P<half> ?[AaPp]\.?[Mm]\.?)?"
)
_HALF = re.compile(r" ?(?<![A-Za-z])(?P<half>[AaPp])\.?[Mm]\.?(?![A-Za-z])")
_WRITE_ISO = "Write times as 2019-01-31 23:00"
_NO_BLANK = f"{_WRITE_ISO}, or drop the row."


def read_times(table: Table, title: str, *, to_utc: bool = False, date_format: str | None = None) -> pd.DatetimeIndex:
    """Read a column of times.

    Text must be ISO 8601 (`2016-01-31`, `2016-01-31 23:00`, `2016-01-31T23:00:00Z`), or have the format given. Of the
    two readings of 01/02/2016 neither is chosen, and numbers are not taken for times.

    Args:
        table: the table.
        title: of the column.
        to_utc: convert times with an offset to UTC; otherwise they keep their wall clock.
        date_format: format of the text with the directives of `strftime`, such as `%d/%m/%Y %H:%M`.

    Returns:
        Times without a zone, one for each row, whole seconds.

    Raises:
        InputError: a format that does not give a whole date.
        DataError: a blank, what is no such time or is ambiguous, or offsets that differ where the wall clock is kept;
            names column and row, and the format to pass.
    """
    _check_format(date_format)
    column = table.column(title)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        times = pd.DatetimeIndex(column.to_pandas(date_as_object=False), name="timestamp")
        if times.tz is not None:
            times = times.tz_convert("UTC" if to_utc else times.tz).tz_localize(None)
    elif pa.types.is_string(column.type):
        times = _from_text(table, title, column, to_utc, date_format)
    else:
        table.refuse(column.is_null().to_numpy().astype(bool), [title], "a time", _NO_BLANK)
        examples = [str(value) for value in column.slice(0, 1).to_pylist()]
        raise DataError(
            f"{table.where}: expected times in column {title}, got a column of {column.type}"
            f"{f', first {examples[0]}' if examples else ''}. {time_fault(examples)}"
        )
    table.refuse(np.asarray(times.isna()), [title], "a time", _NO_BLANK)
    table.refuse(np.asarray(times != times.floor("s")), [title], "times in whole seconds", "Round them.")
    return times


def _from_text(
    table: Table, title: str, column: pa.ChunkedArray, to_utc: bool, date_format: str | None
) -> pd.DatetimeIndex:
    coded = pc.dictionary_encode(pc.utf8_trim_whitespace(column).fill_null("")).unify_dictionaries().combine_chunks()
    texts, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy()

    def refuse(wrong: Sequence[bool] | np.ndarray, wanted: str, mend: str) -> None:
        table.refuse(np.asarray(wrong, dtype=bool)[codes], [title], wanted, mend)

    refuse([text == "" for text in texts], "a time", _NO_BLANK)
    pattern = (
        _ISO if date_format is None else _WITH_OFFSET if date_format.endswith("%z") else re.compile("(?P<time>.*)")
    )
    matches = [pattern.fullmatch(text) for text in texts]
    of_format = "a time" if date_format is None else f"times of date_format {date_format!r}"
    refuse(
        [match is None for match in matches],
        of_format,
        time_fault(texts) if date_format is None else _other_format(texts),
    )
    plain = [match["time"] for match in matches if match]
    layout = "ISO8601" if date_format is None else date_format.removesuffix("%z").rstrip()
    later = pd.to_timedelta(np.zeros(len(plain)), unit="h")
    if "%p" in layout:  # read here: pandas knows AM and PM in the language of the process only
        halves = [_HALF.search(text) for text in plain]
        refuse([half is None for half in halves], of_format, _other_format(texts))
        later = pd.to_timedelta([12 * (half is not None and half["half"] in "Pp") for half in halves], unit="h")
        plain, layout = [_HALF.sub("", text, count=1) for text in plain], re.sub(" ?%p", "", layout)
    parsed = pd.DatetimeIndex(pd.to_datetime(pd.Series(plain, dtype=object), format=layout, errors="coerce")) + later
    impossible = "There is no such date" if date_format is None else _other_format(texts).rstrip(".")
    if any(re.search(r"[T ]24:", text) for text in texts):
        impossible = "The hour 24 is the hour 0 of the next day: write it so"
    refuse(np.asarray(parsed.isna()), "a time" if date_format is None else of_format, f"{impossible}.")
    offsets = [match.groupdict().get("offset") for match in matches if match]
    bare = [offset is None for offset in offsets]
    if any(bare) and not all(bare):
        refuse(bare, "times that all have an offset, or none", "Write all in UTC, or all with their offset.")
    shift = pd.to_timedelta([_offset_s(offset) for offset in offsets], unit="s")
    if to_utc:
        parsed = parsed - shift
    elif len(set(shift)) > 1:
        refuse(
            shift != shift[int(codes[0])],
            "times of one offset",
            f"The first has {offsets[int(codes[0])]}. Offsets change with the clock (daylight saving). "
            "Write them in UTC.",
        )
    return pd.DatetimeIndex(parsed[codes], name="timestamp")


def _offset_s(offset: str | None) -> int:
    if offset is None or offset in "Zz":
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (-1 if offset[0] == "-" else 1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def _check_format(date_format: str | None) -> None:
    """Refuse a format that does not give year, month and day, or half of a clock."""
    if date_format is None:
        return
    wrong = f"date_format: expected directives of a whole date such as '%d/%m/%Y %H:%M', got {date_format!r}"
    example = datetime(2013, 11, 22, 16)
    try:
        back = datetime.strptime(example.strftime(date_format), date_format)
    except (TypeError, ValueError) as error:
        raise InputError(f"{wrong}: {said(error)}.") from error
    if back.date() != example.date() or "%Z" in date_format or ("%I" in date_format and "%p" not in date_format):
        raise InputError(f"{wrong}. Give year, month and day, %p with %I, and %z rather than %Z, once and at the end.")
    if "%z" in date_format.removesuffix("%z"):
        raise InputError(f"{wrong}. Give %z at the end.")


def _other_format(texts: Sequence[str]) -> str:
    if all(_ISO.fullmatch(text) for text in texts):
        return "They are ISO 8601: leave date_format out."
    return "Give the format of all rows, and write all rows alike."


def time_fault(texts: Sequence[str]) -> str:
    """What texts that are not ISO 8601 may be, and what to do about it."""
    others = [text for text in texts if not _ISO.fullmatch(text)]
    if others and len(others) < len(texts) and not _numbertime_fault(others[0]):
        known = _PARTED.fullmatch(others[0])
        return "The other rows are written in another format: write all alike." if known else f"{_WRITE_ISO}."
    if not others:
        return f"{_WRITE_ISO}."
    number = _numbertime_fault(others[0])
    if number:
        return number
    parted = [_PARTED.fullmatch(text) for text in others]
    if all(parted):
        return _partedtime_fault([match for match in parted if match])
    if any(parted):
        return "The rows are written in differing formats: write all alike."
    if re.search(r"[A-Za-z]{3}", others[0]) and re.search(r"\d{2}", others[0]):
        return (
            f"{_WRITE_ISO}, with an offset rather than the name of a zone, or pass its date_format, such as '%d-%b-%Y "
            "%H:%M' for 31-Jan-2019 23:00."
        )
    return f"{_WRITE_ISO}."


def _partedtime_fault(dates: Sequence[re.Match[str]]) -> str:
    """Of dates such as 01/02/2016, which of day, month and year may stand where."""
    first = dates[0]
    sep, clock = first["sep"], _clock_format(first["rest"] or "")
    if len({(date["sep"], len(date["first"]) == 4) for date in dates}) > 1:
        return "The rows are written in differing formats: write all alike."
    if len(first["first"]) == 4:
        return f"Pass date_format='%Y{sep}%m{sep}%d{clock}'."
    year = "%Y" if len(first["third"]) == 4 else "%y"
    day_first, month_first = (f"'{a}{sep}{b}{sep}{year}{clock}'" for a, b in (("%d", "%m"), ("%m", "%d")))
    may_be_month = all(int(date["first"]) <= 12 for date in dates)
    may_be_day = all(int(date["second"]) <= 12 for date in dates)
    short = " Two digits do not tell the century, nor whether the year stands last." if year == "%y" else ""
    if may_be_month and may_be_day:
        return (
            f"Day or month may come first. Pass date_format={day_first} for the day, date_format={month_first} for the "
            f"month.{short}"
        )
    if not may_be_month and not may_be_day:
        return "In some rows the day comes first, in others the month: write all alike."
    return f"Pass date_format={day_first if may_be_day else month_first}.{short}"


def _clock_format(rest: str) -> str:
    match = _CLOCK.match(rest)
    if not match:
        return ""
    half = match["half"] or ""
    seconds = "" if not match["seconds"] else ":%S.%f" if match["fraction"] else ":%S"
    gap, space = match["gap"], " " if half.startswith(" ") else ""
    return f"{gap}%I:%M{seconds}{space}%p" if half else f"{gap}%H:%M{seconds}"


def _numbertime_fault(text: str) -> str:
    """What a number in place of a time may be; nothing where the text is no number."""
    if not re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text, re.ASCII):
        return ""
    whole = text.split(".")[0]
    for layout, form in (("%Y%m%d", 8), ("%Y%m%d%H", 10), ("%Y%m%d%H%M", 12), ("%Y%m%d%H%M%S", 14)):
        if len(whole) == form and whole[:2] in ("19", "20"):
            spelt = "YYYYMMDDHHMMSS"[:form]
            return f"{text} looks like {spelt}: pass date_format='{layout}' (parquet: save the column as text)."
    value = float(text)
    if 20_000 <= value < 80_000:
        day = datetime(1899, 12, 30) + timedelta(days=value)
        mend = "Format the cells as yyyy-mm-dd hh:mm"
        return f"{text} looks like the serial number that Excel has for {day:%Y-%m-%d %H:%M}. {mend}."
    for digits, unit in ((10, "seconds"), (13, "milliseconds"), (16, "microseconds"), (19, "nanoseconds")):
        if len(whole) in (digits - 1, digits):
            then = datetime.fromtimestamp(value / 10.0 ** (digits - 10), UTC)
            return f"{text} looks like epoch {unit} ({then:%Y-%m-%d %H:%M} UTC). Write them as such times."
    return f"{text} is a number. {_WRITE_ISO}."


def check_hours(where: str, timestamps: pd.DatetimeIndex, number: Callable[[int], int] = int) -> None:
    """Refuse missing, unsorted or duplicated hours, and gaps, naming the row by its number in the table."""
    if timestamps.tz is not None:
        raise DataError(
            f"{where}: expected wall-clock hours without a time zone, got {timestamps.tz}. Convert to one that has no "
            "daylight saving and drop it: hours.tz_convert('UTC').tz_localize(None)."
        )
    if timestamps.hasnans:
        row = int(np.flatnonzero(timestamps.isna())[0])
        raise DataError(f"{where}: expected a time in every row, got none at row {row}.")
    seconds = seconds_of(timestamps)
    steps = np.diff(seconds)
    wrong = np.flatnonzero(steps != HOUR_S) + 1
    if not wrong.size:
        return
    step = common_step(seconds)
    if step != HOUR_S and len(wrong) == len(steps) and step:
        raise DataError(f"{where}: expected consecutive hours, got steps of {length_of(step)}. Resample to hours.")
    row = int(wrong[0])
    step = int(steps[row - 1])
    fault, mend = (
        ("it is a duplicate", "Drop or average the repeats.")
        if step == 0
        else ("it is unsorted", "Sort by time.")
        if step < 0
        else ("it follows a gap", "Fill the missing hours or cut the data there.")
    )
    raise DataError(
        f"{where}: expected consecutive hours, got {timestamps[row]} at row {number(row)} after {timestamps[row - 1]}: "
        f"{fault}; {wrong.size} such rows. {mend}{clock_change(timestamps, wrong)}"
    )
