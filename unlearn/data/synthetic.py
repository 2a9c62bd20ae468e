"""An embedded source of climate-dependent hourly loads: seeded, offline, made in under a second."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray
from unlearn.data.dataset import LoadDataset, dataset_from_frames
from unlearn.data.features import WEATHER_NAMES
from unlearn.data.hours import autoregressive
from unlearn.data.sources import Synthetic
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.errors import InputError

_STEFAN_BOLTZMANN = 5.670374419e-8


def make_synthetic(
    n_loads: int = 14,
    n_hours: int = Synthetic.n_hours,
    random_state: int = Synthetic.random_state,
    start: str = Synthetic.start,
    split: SplitSpec = FAIR,
    nominal_mw: ArrayLike | None = None,
) -> LoadDataset:
    """Make hourly loads that depend on a made-up but plausible climate.

    The loads lie in a region of 600 km by 600 km. Weather fields are correlated in space (more the nearer) and in time
    (fronts of days, clouds of hours, gusts), with seasons, days and a sun that follows latitude. Each load mixes
    residential, commercial and industrial customers, who differ in hours, weekends and in how much they heat and cool;
    buildings lag behind the weather, wind adds to heating, sunshine to cooling but not to lighting. A slow drift and an
    autoregressive error remain unexplained.

    Args:
        n_loads: number of loads B.
        n_hours: number of hours N.
        random_state: seed of the random generator; the same seed gives the same bits on one machine.
        start: first hour.
        split: how to divide the hours.
        nominal_mw: peak of each load over training rows, shape (B,). Default: peaks that the generator draws.

    Returns:
        B strictly positive loads and F = 10 features: calendar, temperature (K), shortwave and
        longwave radiation (W/m²), zonal, meridional and total wind speed (m/s).

    Raises:
        InputError: numbers below 1, a start that is not a date, or unusable nominal loads.
    """
    if n_loads < 1 or n_hours < 1:
        raise InputError(f"synthetic: expected at least 1 load and 1 hour, got {n_loads} and {n_hours}.")
    try:
        hours = pd.date_range(start, periods=n_hours, freq="h", name="timestamp")
    except ValueError as error:
        raise InputError(f"synthetic: expected a start such as 2019-01-01, got {start!r} ({error}).") from error
    random = np.random.default_rng(random_state)
    weather = _weather(hours, n_loads, random)
    load_mw = _load(hours, weather, random)
    names = pd.Index([f"load_{b + 1}" for b in range(n_loads)])
    tables = {name: pd.DataFrame(values, index=hours, columns=names) for name, values in weather.items()}
    frame = pd.DataFrame(load_mw, index=hours, columns=names)
    dataset = dataset_from_frames(frame, tables, split=split, name="synthetic")
    return dataset if nominal_mw is None else dataset.scaled_to(nominal_mw)


def _weather(hours: pd.DatetimeIndex, n_loads: int, random: np.random.Generator) -> dict[str, FloatArray]:
    """Make the six weather features, each of shape (N, B)."""
    place_km = random.uniform(0.0, 600.0, size=(n_loads, 2))
    latitude = 29.0 + place_km[:, 1] / 111.0
    day = hours.day_of_year.to_numpy() - 1.0 + hours.hour.to_numpy() / 24
    season = 2 * np.pi * day / 365.25
    # The sun crosses the east earlier; 15 degrees of longitude are an hour.
    sun_hour = hours.hour.to_numpy()[:, None] + 0.5 + (place_km[:, 0] - 300.0) / 97.0 / 15.0

    cloud = 1 / (1 + np.exp(-1.4 * _field(place_km, 250.0, 14.0, len(hours), random) + 0.3))
    declination = -0.409 * np.cos(season + 0.17)[:, None]
    sin_elevation = np.sin(np.radians(latitude)) * np.sin(declination) + np.cos(np.radians(latitude)) * np.cos(
        declination
    ) * np.cos(2 * np.pi * (sun_hour - 12.0) / 24)
    shortwave = 1050.0 * np.maximum(sin_elevation, 0.0) ** 1.15 * (1 - 0.75 * cloud**2)

    front = _field(place_km, 500.0, 60.0, len(hours), random)
    breeze = _field(place_km, 120.0, 6.0, len(hours), random)
    swing = random.uniform(4.0, 6.5, n_loads) * (1.15 - 0.6 * cloud)
    temperature = (
        295.0
        - 0.75 * (latitude - latitude.mean())
        - random.uniform(6.0, 8.0, n_loads) * np.cos(season - 0.35)[:, None]
        + swing * np.cos(2 * np.pi * (sun_hour - 15.5) / 24)
        + 4.0 * front
        + 0.9 * breeze
    )
    emissivity = 0.74 + 0.18 * cloud + 0.012 * _field(place_km, 200.0, 24.0, len(hours), random)
    zonal = 1.5 + 1.2 * front + 3.0 * _field(place_km, 350.0, 20.0, len(hours), random)
    meridional = 1.0 - 1.0 * front + 3.4 * _field(place_km, 350.0, 20.0, len(hours), random)
    values = (
        temperature,
        shortwave,
        emissivity * _STEFAN_BOLTZMANN * temperature**4,
        zonal,
        meridional,
        np.hypot(zonal, meridional),
    )
    return dict(zip(WEATHER_NAMES, values, strict=True))


def _load(hours: pd.DatetimeIndex, weather: dict[str, FloatArray], random: np.random.Generator) -> FloatArray:
    """Make the loads in MW that go with the weather, shape (N, B)."""
    n_hours, n_loads = weather["temperature_k"].shape
    mixture = random.dirichlet([3.0, 2.0, 1.2], size=n_loads).T
    size_mw = random.lognormal(np.log(40.0), 0.6, size=n_loads)

    felt_k = _lagged(weather["temperature_k"], 4.0)
    sun = weather["shortwave_w_m2"] / 1000.0
    wind = weather["wind_total_m_s"]
    # Buildings of one load switch on at different temperatures, so the branches bend smoothly.
    cooling = 4.0 * np.logaddexp(0.0, (felt_k - 292.0) / 4.0) * (1 + 0.25 * sun)
    heating = 3.0 * np.logaddexp(0.0, (285.0 - felt_k) / 3.0) * (1 + 0.03 * wind)
    response = (
        random.uniform(0.9, 1.1, n_loads) * (np.array([0.030, 0.025, 0.005]) @ mixture) * cooling
        + random.uniform(0.9, 1.1, n_loads) * (np.array([0.010, 0.007, 0.002]) @ mixture) * heating
    )
    lighting = 1 - 0.07 * sun * (np.array([1.0, 0.6, 0.1]) @ mixture)

    years = np.arange(n_hours) / 8766.0
    growth = random.normal(0.005, 0.01, n_loads) * years[:, None]
    drift = 0.008 * autoregressive(random.standard_normal((n_hours, n_loads)), 24.0 * 20)
    noise = 0.015 * autoregressive(random.standard_normal((n_hours, n_loads)), 5.0)
    return size_mw * (_activity(hours) @ mixture * lighting + response) * np.exp(growth + drift + noise)


def _activity(hours: pd.DatetimeIndex) -> FloatArray:
    """Return what residential, commercial and industrial customers use by hour and day, shape (N, 3)."""
    hour = np.arange(24.0)

    def bump(centre: float, width: float) -> FloatArray:
        distance = (hour - centre + 12) % 24 - 12
        return np.exp(-0.5 * (distance / width) ** 2)

    working = np.stack(
        [
            0.45 + 0.22 * bump(7.5, 1.6) + 0.45 * bump(19.5, 2.6),
            0.35 + 0.65 * bump(13.0, 4.0),
            0.80 + 0.15 * bump(12.0, 5.0),
        ]
    )
    saturday = np.stack([0.48 + 0.22 * bump(10.0, 2.5) + 0.42 * bump(19.5, 3.0), 0.75 * working[1], 0.9 * working[2]])
    sunday = np.stack([saturday[0] * 1.02, 0.62 * working[1], 0.85 * working[2]])
    week = np.stack([working] * 5 + [saturday, sunday])
    return week[hours.day_of_week.to_numpy(), :, hours.hour.to_numpy()]


def _field(
    place_km: FloatArray, range_km: float, memory_h: float, n_hours: int, random: np.random.Generator
) -> FloatArray:
    """Draw a field of unit variance that is correlated over space and time, shape (N, B)."""
    distance = np.linalg.norm(place_km[:, None] - place_km[None], axis=2)
    # A share of purely local weather keeps neighbours' columns linearly independent.
    covariance = 0.93 * np.exp(-distance / range_km) + 0.07 * np.eye(len(place_km))
    shocks = random.standard_normal((n_hours, len(place_km))) @ np.linalg.cholesky(covariance).T
    return autoregressive(shocks, memory_h)


def _lagged(values: FloatArray, memory_h: float) -> FloatArray:
    """Smooth exponentially over the hours past, as the mass of buildings does."""
    decay = np.exp(-1 / memory_h)
    from scipy.signal import lfilter  # most of a second to import, and only this source needs it

    smoothed, _ = lfilter([1 - decay], [1.0, -decay], values, axis=0, zi=decay * values[:1])
    return smoothed
