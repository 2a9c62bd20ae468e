"""A seeded tropical climate, and the load shapes of customer classes that follow it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.generators.feeder.config import CLASSES, GeneratorConfig, Stream, generator

#: Hours by which customers' days are shifted, each as likely.
SHIFTS = (-2, -1, 0, 1, 2)

#: Rise of use per degree of cooling (K), and spread of an hour about its expectation, by class.
_COOLING = np.array([0.10, 0.08, 0.02])
_SPREAD = np.array([0.70, 0.35, 0.15])


class LoadShapes:
    """Expected load of each kind of meter, hour by hour.

    A kind is a class of customers and a shift of their day. The load of a kind is
    `activity(class, weekday, hour + shift) * (1 + rise(class) * cooling(temperature))`. Its sum over a month is the
    season, its share by hour of the day is what a night-time bypass takes from, and within a month it is the shape
    that a meter's hours follow: months and hours come from one model.

    Attributes:
        months: the M months of the configuration.
        n_kinds: K, classes times shifts; kind = class * 5 + shift.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self.months = config.months
        self.n_kinds = len(CLASSES) * len(SHIFTS)
        self._seed = config.random_seed
        # The season averages 1 over the last year, so a year is there even if fewer months are wanted.
        self._covered = pd.period_range(end=self.months[-1], periods=max(12, len(self.months)), freq="M")
        self._first_hour = np.concatenate([[0], 24 * np.cumsum(self._covered.days_in_month)])
        self._unwanted = len(self._covered) - len(self.months)

    @property
    def timestamps(self) -> pd.DatetimeIndex:
        """Starts of the hours of all months."""
        end = self.months[-1].end_time.floor("h")
        return pd.date_range(self.months[0].start_time, end, freq="h", name="timestamp")

    @property
    def temperature_c(self) -> FloatArray:
        """Temperature of the region in each hour of all months, in °C, shape (H,)."""
        return self._temperature_c[self._first_hour[self._unwanted] :]

    def hours_in(self, month: int) -> int:
        """Hours of the month at this position."""
        return int(np.diff(self._first_hour)[month + self._unwanted])

    def first_hour(self, month: int) -> int:
        """Position of the month's first hour among all hours."""
        return int(self._first_hour[month + self._unwanted] - self._first_hour[self._unwanted])

    def weights(self, month: int) -> FloatArray:
        """Expected load of each kind in each hour of a month, relative, shape (K, hours)."""
        return self._weights(month + self._unwanted)

    @cached_property
    def season(self) -> FloatArray:
        """Use of each month relative to the mean month of the last year, shape (K, M)."""
        energy = self._energy_by_hour_of_day.sum(axis=2)
        return (energy / energy[:, -12:].mean(axis=1, keepdims=True))[:, self._unwanted :]

    @cached_property
    def hour_share(self) -> FloatArray:
        """Share of each month's energy by hour of the day, shape (K, M, 24)."""
        energy = self._energy_by_hour_of_day[:, self._unwanted :]
        return energy / energy.sum(axis=2, keepdims=True)

    @staticmethod
    def spread(kind: np.ndarray) -> FloatArray:
        """Standard deviation of an hour about its expectation, relative, of meters of these kinds."""
        return _SPREAD[kind // len(SHIFTS)]

    @cached_property
    def _energy_by_hour_of_day(self) -> FloatArray:
        sums = [self._weights(m).reshape(self.n_kinds, -1, 24).sum(axis=1) for m in range(len(self._covered))]
        return np.stack(sums, axis=1)

    def _weights(self, covered: int) -> FloatArray:
        month = self._covered[covered]
        weekday = (month.start_time.day_of_week + np.arange(month.days_in_month)) % 7
        # (3, days, 24) -> (3, 5, days * 24)
        activity = np.stack([np.roll(_ACTIVITY, -shift, axis=2) for shift in SHIFTS], axis=1)[:, :, weekday]
        hours = slice(self._first_hour[covered], self._first_hour[covered + 1])
        cooling = 1.5 * np.logaddexp(0.0, (self._temperature_c[hours] - 26.0) / 1.5)
        activity = activity.reshape(len(CLASSES), len(SHIFTS), -1) * (1 + _COOLING[:, None, None] * cooling)
        return activity.reshape(self.n_kinds, -1)

    @cached_property
    def _temperature_c(self) -> FloatArray:
        """Warmest in May, coolest in January, days of 7 K and spells of about four days."""
        random = generator(self._seed, Stream.CLIMATE)
        n_hours = int(self._first_hour[-1])
        memory = np.exp(-np.arange(40) / 4.0)
        shocks = random.standard_normal(n_hours // 24 + 1 + len(memory) - 1)
        spells = np.convolve(shocks, memory / np.linalg.norm(memory), mode="valid")
        hour = np.arange(n_hours)
        start = self._covered[0].start_time
        day_of_year = start.day_of_year + hour / 24
        return (
            27.6
            + 1.8 * np.cos(2 * np.pi * (day_of_year - 130) / 365.25)
            + 3.5 * np.cos(2 * np.pi * (hour % 24 - 14) / 24)
            + np.interp(hour / 24, np.arange(len(spells)), spells)
        )


def _activity() -> FloatArray:
    """What each class uses by weekday (Monday first) and hour, before weather, shape (3, 7, 24)."""
    hour = np.arange(24.0)

    def bump(centre: float, width: float) -> FloatArray:
        distance = (hour - centre + 12) % 24 - 12
        return np.exp(-0.5 * (distance / width) ** 2)

    residential = 0.40 + 0.20 * bump(6.5, 1.5) + 0.25 * bump(12.5, 2.5) + 0.60 * bump(20.0, 2.5)
    commercial = 0.30 + 0.75 * bump(13.5, 4.0)
    industrial = 0.75 + 0.25 * bump(11.0, 4.5)
    weekend = 0.42 + 0.15 * bump(8.0, 2.0) + 0.40 * bump(13.0, 3.5) + 0.58 * bump(20.0, 3.0)
    days = {
        "working": np.stack([residential, commercial, industrial]),
        "saturday": np.stack([weekend, 0.9 * commercial, 0.85 * industrial]),
        "sunday": np.stack([1.05 * weekend, 0.65 * commercial, 0.6 * industrial]),
    }
    return np.stack([days["working"]] * 5 + [days["saturday"], days["sunday"]], axis=1)


_ACTIVITY = _activity()
