"""Month and day of the week of dates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import IntArray

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
