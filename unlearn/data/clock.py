"""Why times do not follow each other: another step, a stray row, or a clock that was changed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, IntArray
from unlearn.data.dates import seconds_of

HOUR_S = 3600

#: Months in which clocks go forward or back somewhere; they do so in the early hours from Friday to Sunday.
_MONTHS = (3, 4, 9, 10, 11)
_LISTED = 4


def common_step(seconds: IntArray) -> int:
    """The most common distance in time between rows that rise, in seconds; 0 where there is none."""
    steps = np.diff(seconds)
    found, counts = np.unique(steps[steps > 0], return_counts=True)
    return int(found[counts.argmax()]) if found.size else 0


def off_the_step(seconds: IntArray, step_s: int) -> BoolArray:
    """Which rows do not lie at full steps."""
    return seconds % step_s != 0


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
