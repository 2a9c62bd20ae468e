"""What goes on around appliances: the weather and daylight of London in half-hours, made up, and who is at home.

When a household is asleep, away or active is a Markov chain whose hazards follow the clock and the kind of day.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, require_count
from unlearn.data.hours import autoregressive, parse_day
from unlearn.data.times import day_of_week_of
from unlearn.errors import InputError
from unlearn.households.profiles import STEPS

ASLEEP, AWAY, ACTIVE = 0, 1, 2

#: Ways of life, as `ROUTINES` lists them.
KINDS = ("working", "at home", "family", "irregular")

#: The chain starts at 4:00 UTC, when nearly everyone sleeps.
_FIRST = 8
_STEPS = 48

#: Per kind, working day then day off: hour of rising; hours of leaving, their width and peak hazard; hazard of leaving
#: at other hours; the same of returning; hour of going to bed. Hazards are per half-hour.
ROUTINES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "working": (
        (6.9, 8.3, 0.7, 0.50, 0.04, 18.2, 1.3, 0.36, 0.035, 23.0),
        (8.6, 12.5, 2.5, 0.10, 0.03, 17.0, 2.5, 0.22, 0.14, 23.6),
    ),
    "at home": (
        (7.8, 11.0, 2.0, 0.11, 0.03, 15.0, 3.0, 0.30, 0.18, 22.7),
        (8.2, 12.0, 2.0, 0.10, 0.03, 16.0, 3.0, 0.28, 0.18, 22.9),
    ),
    "family": (
        (6.7, 8.6, 0.5, 0.35, 0.05, 16.2, 1.2, 0.38, 0.12, 22.7),
        (7.9, 12.0, 2.5, 0.11, 0.03, 16.5, 2.5, 0.26, 0.14, 23.1),
    ),
    "irregular": (
        (9.0, 13.0, 4.0, 0.14, 0.06, 20.0, 4.0, 0.20, 0.10, 24.5),
        (9.8, 14.0, 4.0, 0.12, 0.06, 20.0, 4.0, 0.20, 0.10, 25.0),
    ),
}


def simulate_activity(
    kind: IntArray,
    shift: IntArray,
    away: NDArray[np.bool_],
    first_day: np.datetime64,
    random: np.random.Generator,
) -> NDArray[np.int8]:
    """Simulate the state of each household in each half-hour.

    Args:
        kind: position in `KINDS` of each household, shape (H,).
        shift: half-hours by which a household lives later than its kind, shape (H,).
        away: days on which a household is on holiday, shape (H, D).
        first_day: the first day.
        random: source of chance.

    Returns:
        `ASLEEP`, `AWAY` or `ACTIVE`, shape (H, 48 D), half-hours in UTC.
    """
    n_households, n_days = away.shape
    days = first_day + np.arange(-1, n_days)  # half of the first night belongs to the day before
    off = (day_of_week_of(days) >= 5).astype(np.int64)
    table = _hazards()
    local = _FIRST + 2 * summer_time(days)
    state = np.zeros((n_households, len(days)), dtype=np.int8)
    states = np.empty((n_households, len(days), _STEPS), dtype=np.int8)
    leaving = np.array([ACTIVE, ACTIVE, AWAY], dtype=np.int8)
    for step in range(_STEPS):
        clock = np.clip(local[None] + step - shift[:, None], 0, table.shape[-1] - 1)
        change, bed = table[:, state, kind[:, None], off[None], clock]
        chance = random.random(state.shape, dtype=np.float32)
        state = np.where(chance < change, leaving[state], np.where(chance < change + bed, ASLEEP, state))
        states[:, :, step] = state
    flat = states.reshape(n_households, -1)[:, _STEPS - _FIRST :][:, : _STEPS * n_days].copy()
    flat[np.repeat(away, _STEPS, axis=1)] = AWAY
    return flat


def _hazards() -> NDArray[np.float32]:
    """Hazards of (rising, returning, leaving) and of going to bed; shape (2, state, kind, day off, half-hours)."""
    hour = np.arange(2 * _STEPS) / 2
    table = np.zeros((2, 3, len(KINDS), 2, len(hour)), dtype=np.float32)

    def after(when: float, width: float) -> FloatArray:
        return 1 / (1 + np.exp(-(hour - when) / width))

    def around(when: float, width: float) -> FloatArray:
        return np.exp(-0.5 * ((hour - when) / width) ** 2)

    for k, name in enumerate(KINDS):
        for off, routine in enumerate(ROUTINES[name]):
            rise, out, out_width, out_peak, out_base, back, back_width, back_peak, back_base, bed = routine
            table[0, ASLEEP, k, off] = 0.012 + 0.4 * after(rise, 0.5) * (1 - after(bed - 1.0, 0.2))
            table[0, AWAY, k, off] = np.maximum(
                back_base, back_peak * np.maximum(around(back, back_width), hour > back)
            )
            table[0, ACTIVE, k, off] = np.where(hour < bed - 1.5, out_base, 0.0) + out_peak * around(out, out_width)
            table[1, ACTIVE, k, off] = 0.4 * after(bed, 0.8) + np.where(hour < rise - 1.0, 0.4, 0.0)
    return table


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
