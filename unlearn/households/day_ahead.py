"""Day-ahead forecasting of single households: what is known of a household before a day, and its load on that day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data.origin import derived, is_simulated
from unlearn.data.times import DateArray, day_of_week_of
from unlearn.errors import InputError
from unlearn.households.by_household import HouseholdProfiles

#: Days of history that a forecast needs.
HISTORY = 7

HOURS = 24

#: Features of each hour: calendar (as everywhere, first), season, then energies of the days before in kWh.
CALENDAR = ("weekday_sin", "weekday_cos", "hour_sin", "hour_cos", "season_sin", "season_cos")
ENERGIES = ("day_before_kwh", "week_before_kwh", "hour_mean_kwh", "level_kwh")
FEATURES = (*CALENDAR, *ENERGIES)


@short_repr
@dataclass(frozen=True, eq=False)
class DayAheadPanel:
    """Days of households whose week before is complete, sorted by household and date.

    Attributes:
        features: of each hour, `FEATURES`, shape (N, 24, F).
        kwh: energy of each hour, shape (N, 24).
        household: position in the households, shape (N,).
        date: shape (N,).
        row: position of the day in the profiles that the panel was made of, shape (N,).
        name: source.
    """

    features: FloatArray
    kwh: FloatArray
    household: IntArray
    date: DateArray
    row: IntArray
    name: str

    def __len__(self) -> int:
        return len(self.kwh)

    @property
    def simulated(self) -> bool:
        """Whether a simulator of this process made the energies, those before the days too."""
        return is_simulated(self.features, self.kwh)

    @cached_property
    def members(self) -> IntArray:
        """Households that have any row, sorted."""
        return np.unique(self.household)

    def take(self, rows: ArrayLike) -> DayAheadPanel:
        """Keep some rows, by position or mask."""
        chosen = np.asarray(rows)
        names = ("features", "kwh", "household", "date", "row")
        per_row = {name: getattr(self, name)[chosen] for name in names}
        for name in ("features", "kwh"):
            derived(per_row[name], getattr(self, name))
        return replace(self, **per_row)


def day_ahead_panel(households: HouseholdProfiles) -> DayAheadPanel:
    """Make a row of every day whose seven days before are there too.

    Args:
        households: profiles with household and date, in steps that divide an hour.

    Raises:
        InputError: no household has eight days in a row, or a day of a household is there twice.
    """
    hourly = households.to_hourly()
    day = hourly.date.astype(np.int64)
    order = np.lexsort((day, hourly.household))
    # Days of a household in a row are neighbours here whose days differ by as much as their places.
    place = np.arange(len(order))
    who, when = hourly.household[order], day[order]
    twice = np.flatnonzero((who[1:] == who[:-1]) & (when[1:] == when[:-1]))
    if twice.size:
        name = households.households["household_id"].iloc[who[twice[0]]]
        raise InputError(
            f"{households.name}: expected each day of a household once, got {hourly.date[order[twice[0]]]} of "
            f"{name} again. Keep one of them."
        )
    first = np.maximum(place - HISTORY, 0)
    complete = (place >= HISTORY) & (who == who[first]) & (when - when[first] == HISTORY)
    at = np.flatnonzero(complete)
    if not at.size:
        raise InputError(
            f"{households.name}: expected households with {HISTORY + 1} days in a row, got none. Give more days."
        )
    energy = hourly.kwh[order].astype(np.float64)
    past = np.stack([energy[at - lag] for lag in range(1, HISTORY + 1)], axis=1)
    rows = order[at]
    date = hourly.date[rows]
    hour_mean = past.mean(axis=1)
    level = np.broadcast_to(hour_mean.mean(axis=1, keepdims=True), hour_mean.shape)
    features = np.stack([*_calendar(date), past[:, 0], past[:, -1], hour_mean, level], axis=2)
    features, kwh = (derived(array, households.kwh) for array in (features, energy[at]))
    return DayAheadPanel(features, kwh, hourly.household[rows], date, rows, households.name)


def _calendar(date: DateArray) -> list[FloatArray]:
    """The calendar columns, each of shape (n, 24)."""
    year = (date - date.astype("datetime64[Y]")).astype(np.int64) / 365.25
    angles = np.broadcast_arrays((day_of_week_of(date) / 7)[:, None], (np.arange(HOURS) / HOURS)[None], year[:, None])
    return [wave(2 * np.pi * angle) for angle in angles for wave in (np.sin, np.cos)]
