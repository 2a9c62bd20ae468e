"""Made-up weather and daylight of London in half-hours: seeded, for simulated households and as a feature."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, require_count
from unlearn.data.hours import autoregressive, parse_day
from unlearn.errors import InputError
from unlearn.households.profiles import STEPS

_LATITUDE = np.radians(51.5)


def london_weather(start: str = "2013-01-01", n_days: int = 365, seed: int = 0) -> pd.DataFrame:
    """Make half-hourly temperature and irradiance with the climate of London.

    The temperature has a season (5 °C in January, 18 °C in July), a day (wider in summer) and fronts that last days;
    the irradiance follows the height of the sun and passing clouds.

    Args:
        start: first day.
        n_days: number of days D.
        seed: `simulate_households` with the same seed, start and number of days lives in this weather.

    Returns:
        Columns `temperature_c` and `irradiance_w_m2` (on the level), index the 48 D half-hours in UTC by their start.

    Raises:
        InputError: a start that is not a date, fewer days than 1, or a negative seed.
    """
    hours = half_hours(start, n_days)
    random = generator(seed, 1)
    season = 2 * np.pi * (hours.day_of_year.to_numpy() - 1) / 365.25
    clock = hours.hour.to_numpy() + hours.minute.to_numpy() / 60 + 0.25  # middle of the half-hour
    declination = -0.409 * np.cos(season + 0.17)
    height = np.sin(_LATITUDE) * np.sin(declination) - np.cos(_LATITUDE) * np.cos(declination) * np.cos(
        2 * np.pi * clock / 24
    )
    cloud = 1 / (1 + np.exp(-0.6 - 1.6 * autoregressive(random.standard_normal(len(hours)), 16.0)))
    irradiance = 990.0 * np.maximum(height, 0.0) ** 1.2 * (1 - 0.75 * cloud)
    swing = (2.6 - 1.4 * np.cos(season)) * (1.3 - 0.6 * cloud)
    temperature = (
        11.3
        - 6.8 * np.cos(season - 0.42)
        + swing * np.cos(2 * np.pi * (clock - 15.0) / 24)
        + 2.9 * autoregressive(random.standard_normal(len(hours)), 48.0 * 3.5)
    )
    return pd.DataFrame({"temperature_c": temperature, "irradiance_w_m2": irradiance}, index=hours)


def generator(seed: int, stream: int) -> np.random.Generator:
    """Return one of several independent sources of chance of a seed."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed: expected a whole number of at least 0, got {seed!r}.")
    return np.random.default_rng([int(seed), stream])


def half_hours(start: str, n_days: int) -> pd.DatetimeIndex:
    """Starts of the half-hours of some days, UTC.

    Raises:
        InputError: a start that is not a date, or fewer days than 1.
    """
    first = parse_day("start", start)
    return pd.date_range(first, periods=STEPS * require_count("n_days", n_days), freq="30min", name="timestamp")


def summer_time(days: np.ndarray) -> IntArray:
    """Return 1 on days of British Summer Time, else 0: from the last Sunday of March to that of October.

    Args:
        days: datetime64[D], any shape.
    """
    year = days.astype("datetime64[Y]")

    def last_sunday(month: int) -> np.ndarray:
        last = (year.astype("datetime64[M]") + month).astype("datetime64[D]") - 1
        # 1970-01-04 was a Sunday.
        return last - (last.astype(np.int64) - 3) % 7

    return ((days >= last_sunday(3)) & (days < last_sunday(10))).astype(np.int64)
