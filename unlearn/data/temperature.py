"""What temperature tells of loads: the station of each load, degrees of heating and cooling, and earlier hours."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, FloatArray, IntArray, require_choice, require_shape
from unlearn.data.dataset import FittedConstant, LoadDataset, dataset_from_frames
from unlearn.data.splits import SplitSpec
from unlearn.errors import InputError

logger = logging.getLogger(__name__)

_Readings = TypeVar("_Readings", FloatArray, pd.DataFrame)

#: Factor and constant that make °F of a unit.
_FAHRENHEIT = {"f": (1.0, 0.0), "c": (1.8, 32.0), "k": (1.8, -459.67)}
_NAME = re.compile(r"(?P<prefix>(?:.*_)?)temperature_(?P<unit>[fck])", re.DOTALL)
#: Readings on earth in °F (-90 to 60 °C). What is beyond has another unit, or stands for a missing reading.
_COLDEST_F, _WARMEST_F = -130.0, 140.0


def temperature_unit(variable: str) -> str | None:
    """Return the unit of a weather variable that is a temperature by its name: "f", "c" or "k"; None if it is none.

    >>> temperature_unit("temperature_c"), temperature_unit("airport_temperature_f"), temperature_unit("wind_m_s")
    ('c', 'f', None)
    """
    found = _NAME.fullmatch(str(variable))
    return None if found is None else found["unit"]


def in_fahrenheit(temperature: _Readings, unit: str) -> _Readings:
    """Convert readings in °F ("f"), °C ("c") or K ("k")."""
    require_choice("unit", unit, tuple(_FAHRENHEIT))
    factor, constant = _FAHRENHEIT[unit]
    return temperature * factor + constant


def implausible(temperature: FloatArray, unit: str) -> BoolArray:
    """Which readings no station has: they have another unit, or stand for a missing reading."""
    fahrenheit = in_fahrenheit(temperature, unit)
    return (fahrenheit < _COLDEST_F) | (fahrenheit > _WARMEST_F)


def temperature_features(temperature: pd.DataFrame, *, unit: str = "f", prefix: str = "") -> dict[str, pd.DataFrame]:
    """Derive the six features of a load from hourly temperatures of its station.

    Load bends at the temperatures where cooling and heating begin, and buildings remember the last
    day: hence degrees above 70 °F and below 40 °F, lags, and the day's mean above 65 °F. Bases and
    lags were chosen by the test error of GEFCom2012's 2005 and 2006, not of its default year 2007. No base
    occurs with both branches, since T - 65 is cooling minus heating degrees at 65 °F and would make the
    columns collinear. Pass the day before the first wanted hour too, where there is one.

    >>> hours = pd.date_range("2024-07-01", periods=48, freq="h")
    >>> list(temperature_features(pd.DataFrame({"airport": range(48)}, hours), unit="c"))[:2]
    ['temperature_c', 'cooling_degrees_70f']

    Args:
        temperature: hourly readings, one column per station or load. Lags and the mean use earlier
            rows; the first rows use the hours available.
        unit: of the readings, "f" (°F), "c" (°C) or "k" (K). The readings stay in it, what is derived is in °F.
        prefix: what the names of all six begin with, to tell several stations of a load apart.

    Returns:
        Six tables of the shape of `temperature`, by feature name, as `dataset_from_frames` takes them.

    Raises:
        InputError: another unit, or no table.
    """
    if not isinstance(temperature, pd.DataFrame):
        raise InputError(f"temperature: expected a DataFrame of hourly readings, got {type(temperature).__name__}.")
    fahrenheit = in_fahrenheit(temperature, unit)
    mean_24h = fahrenheit.rolling(24, min_periods=1).mean()
    tables = {
        f"temperature_{unit}": temperature,
        "cooling_degrees_70f": (fahrenheit - 70).clip(lower=0),
        "heating_degrees_40f": (40 - fahrenheit).clip(lower=0),
        "temperature_lag_6h_f": fahrenheit.shift(6).bfill(),
        "temperature_lag_12h_f": fahrenheit.shift(12).bfill(),
        "cooling_degrees_65f_of_mean_24h": (mean_24h - 65).clip(lower=0),
    }
    return {prefix + name: table for name, table in tables.items()}


def with_temperature_features(weather: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Put the features of each temperature in the place of the temperature; other variables stay as they are.

    Temperatures are variables called `temperature_f`, `temperature_c` or `temperature_k`, or that end so, as
    `airport_temperature_c`; then the names of what is derived begin alike, as `airport_cooling_degrees_70f`.

    Args:
        weather: hourly readings by variable, a column per station or load.

    Raises:
        InputError: two variables would have one name, such as those of one temperature in two units.
    """
    tables: dict[str, pd.DataFrame] = {}
    came_from: dict[str, str] = {}
    for variable, table in weather.items():
        found = _NAME.fullmatch(str(variable))
        made = {variable: table} if found is None else temperature_features(table, **found.groupdict())
        for name in made:
            if name in came_from or (name != variable and name in weather):
                raise InputError(
                    f"weather: expected one temperature of each place and no features of it, got {name} from "
                    f"{variable} and from {came_from.get(name, name)}. Leave one of them out, name places apart as in "
                    "airport_temperature_c, or set temperature_features=False."
                )
            came_from[name] = variable
        tables |= made
    return tables


def best_stations(load: FloatArray, temperature: FloatArray, hour: IntArray) -> tuple[IntArray, FloatArray]:
    """Find the station whose temperature explains each load best.

    Every load is regressed on T, T², T³ of one station and a constant per hour of the day, the core of the regressions
    in Hong, Pinson & Fan, International Journal of Forecasting 30(2), 2014. The hourly constants are eliminated by
    taking out hourly means, which leaves a 3 x 3 system for each station.

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


def paired_dataset(
    load_mw: pd.DataFrame,
    temperature_f: pd.DataFrame,
    *,
    split: SplitSpec,
    name: str,
    place: str,
    fitted: Sequence[FittedConstant] = (),
) -> LoadDataset:
    """Build a data set of loads with the temperature features of the station that explains each best.

    The station is chosen on training rows, and the choice is declared in `fitted`.

    Args:
        load_mw: N hours, B loads.
        temperature_f: hourly readings in °F, a column per station: the hours of the loads and, where there is one,
            the day before.
        split: how to divide the hours.
        name: source, for records and messages.
        place: what a load is the load of, such as "zone".
        fitted: further constants.

    Returns:
        N hours, B loads, F = 10 features: the calendar and six features in °F (see `temperature_features`).
    """
    train = split.rows(len(load_mw)).train
    station, r_squared = best_stations(
        load_mw.to_numpy()[train],
        temperature_f.loc[load_mw.index].to_numpy()[train],
        pd.DatetimeIndex(load_mw.index).hour.to_numpy()[train],
    )
    pairing = ", ".join(
        f"{load}: station {temperature_f.columns[s]} (R2 {r_squared[s, b]:.2f})"
        for b, (load, s) in enumerate(zip(load_mw.columns, station, strict=True))
    )
    logger.debug("temperature stations of %s: %s", name, pairing)
    weather = {
        feature: table.loc[load_mw.index].iloc[:, station].set_axis(load_mw.columns, axis=1)
        for feature, table in temperature_features(temperature_f).items()
    }
    constant = FittedConstant(f"temperature station of each {place}", "train", pairing)
    return dataset_from_frames(load_mw, weather, split=split, name=name, fitted=[constant, *fitted])


def _without_hourly_means(values: FloatArray, hour: IntArray) -> FloatArray:
    """Subtract from each row the mean over all rows of the same hour of the day."""
    flat = values.reshape(len(values), -1)
    member = np.equal.outer(np.arange(24), hour).astype(np.float64)
    means = member @ flat / np.maximum(member.sum(axis=1), 1)[:, None]
    return (flat - means[hour]).reshape(values.shape)
