"""Stations of weather: the choice of one for each load, and of the least correlated loads."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, require_shape
from unlearn.errors import InputError


def least_correlated(load: FloatArray, count: int) -> IntArray:
    """Choose `count` columns whose mutual correlations are small.

    The choice starts with the pair of the smallest |correlation| and adds, one by one, the column
    whose largest |correlation| with those chosen is smallest. Columns that do not vary are never
    chosen.

    Args:
        load: shape (N, B); pass training rows only.
        count: number of columns, from 1 to those that vary.

    Returns:
        Sorted positions, shape (count,).

    Raises:
        InputError: fewer than `count` columns vary, or `count` is below 1.
    """
    usable = np.flatnonzero(load.max(axis=0) > load.min(axis=0))
    if not 1 <= count <= usable.size:
        raise InputError(
            f"least_correlated: expected a number of loads from 1 to {usable.size} "
            f"(loads that vary, of {load.shape[1]}), got {count}."
        )
    if usable.size == 1:
        return usable.astype(np.int64)
    closeness = np.abs(np.corrcoef(load[:, usable], rowvar=False))
    # A load is not a partner of itself, nor may it be chosen twice.
    np.fill_diagonal(closeness, np.inf)
    first, second = np.unravel_index(closeness.argmin(), closeness.shape)
    chosen = [int(first), int(second)][:count]
    while len(chosen) < count:
        chosen.append(int(closeness[chosen].max(axis=0).argmin()))
    return np.sort(usable[chosen]).astype(np.int64)


def best_stations(load: FloatArray, temperature: FloatArray, hour: IntArray) -> tuple[IntArray, FloatArray]:
    """Find the station whose temperature explains each load best.

    Every load is regressed on T, T², T³ of one station and a constant per hour of the day, the core
    of the regressions in Hong, Pinson & Fan, International Journal of Forecasting 30(2), 2014. The
    hourly constants are eliminated by taking out hourly means, which leaves a 3 x 3 system for each
    station.

    Args:
        load: shape (N, B), any unit; pass training rows only.
        temperature: shape (N, S), any unit; the same rows.
        hour: hour of the day, 0 to 23, shape (N,).

    Returns:
        The position of the best station of each load, shape (B,), and the share of the variance
        about the hourly means that each station explains, R², shape (S, B).

    Raises:
        InputError: arrays of differing lengths.
    """
    require_shape("temperature", temperature, (len(load), None))
    require_shape("hour", hour, (len(load),))
    scaled = (temperature - temperature.mean(axis=0)) / np.maximum(temperature.std(axis=0), 1e-12)
    powers = _without_hourly_means(np.stack([scaled, scaled**2, scaled**3], axis=2), hour)
    target = _without_hourly_means(load, hour)
    gram = np.einsum("nsi,nsj->sij", powers, powers)
    moments = np.einsum("nsi,nb->sib", powers, target)
    # A station that does not vary has a singular system and explains nothing.
    coefficients = np.linalg.pinv(gram, hermitian=True, rcond=1e-12) @ moments
    explained = (coefficients * moments).sum(axis=1)
    r_squared = explained / np.maximum((target**2).sum(axis=0), 1e-300)
    return r_squared.argmax(axis=0).astype(np.int64), r_squared


def temperature_features(temperature_f: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Derive the six features of a load from hourly temperatures of its station.

    Load bends at the temperatures where cooling and heating begin, and buildings remember the last
    day: hence degrees above 70 °F and below 40 °F, lags, and the day's mean above 65 °F. Bases and
    lags were chosen by the test error of 2005 and 2006, not of the default year 2007. No base occurs
    with both branches, since T - 65 is cooling minus heating degrees at 65 °F and would make the
    columns collinear. Pass the day before the first wanted hour too, where there is one.

    Args:
        temperature_f: hourly readings in °F, one column per station. Lags and the mean use earlier
            rows; the first rows use the hours available.

    Returns:
        Six tables of the shape of `temperature_f`, by feature name.
    """
    mean_24h = temperature_f.rolling(24, min_periods=1).mean()
    return {
        "temperature_f": temperature_f,
        "cooling_degrees_70f": (temperature_f - 70).clip(lower=0),
        "heating_degrees_40f": (40 - temperature_f).clip(lower=0),
        "temperature_lag_6h_f": temperature_f.shift(6).bfill(),
        "temperature_lag_12h_f": temperature_f.shift(12).bfill(),
        "cooling_degrees_65f_of_mean_24h": (mean_24h - 65).clip(lower=0),
    }


def _without_hourly_means(values: FloatArray, hour: IntArray) -> FloatArray:
    """Subtract from each row the mean over all rows of the same hour of the day."""
    flat = values.reshape(len(values), -1)
    member = np.equal.outer(np.arange(24), hour).astype(np.float64)
    means = member @ flat / np.maximum(member.sum(axis=1), 1)[:, None]
    return (flat - means[hour]).reshape(values.shape)
