"""Calendar features, and which feature columns a linear model may use."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray

CALENDAR_NAMES = ("weekday_sin", "weekday_cos", "hour_sin", "hour_cos")

#: Weather of a load in climate data sets (TX-123BT and the synthetic source), with units.
WEATHER_NAMES = (
    "temperature_k",
    "shortwave_w_m2",
    "longwave_w_m2",
    "wind_zonal_m_s",
    "wind_meridional_m_s",
    "wind_total_m_s",
)


def calendar_features(timestamps: pd.DatetimeIndex) -> FloatArray:
    """Sine and cosine of the weekday over 7 and of the hour over 24, shape (N, 4)."""
    weekday = 2 * np.pi * timestamps.day_of_week.to_numpy() / 7
    hour = 2 * np.pi * timestamps.hour.to_numpy() / 24
    return np.stack([np.sin(weekday), np.cos(weekday), np.sin(hour), np.cos(hour)], axis=1)


def stack_features(timestamps: pd.DatetimeIndex, weather: FloatArray) -> FloatArray:
    """Put the calendar in front of the weather of each load.

    Args:
        timestamps: N hours.
        weather: weather of each load's location, shape (N, B, F - 4).

    Returns:
        Features of shape (N, B, F).
    """
    n_loads = weather.shape[1]
    calendar = np.repeat(calendar_features(timestamps)[:, None, :], n_loads, axis=1)
    return np.concatenate([calendar, weather], axis=2)


def distinct_columns(features: FloatArray) -> tuple[tuple[int, int], ...]:
    """Find the (load, feature) pairs whose series differ from all earlier ones and vary in time.

    The calendar repeats over loads and loads that share a weather station repeat its columns; a
    linear model that uses every copy has a singular Hessian. A constant column repeats the
    intercept and is left out for the same reason.

    Args:
        features: shape (N, B, F); pass training rows only.
    """
    n_hours, n_loads, n_features = features.shape
    flat = features.reshape(n_hours, n_loads * n_features)
    varies = flat.max(axis=0) > flat.min(axis=0)
    _, first = np.unique(flat, axis=1, return_index=True)
    return tuple((int(i) // n_features, int(i) % n_features) for i in np.sort(first) if varies[i])
