"""Readings made ready for methods: days with what is known before them, and documented anomalies with exact labels.

A row of a day-ahead panel is a day of a household. Of the anomalies, each event lies in one building and lasts a whole
number of hours; x is the clean reading, q the 95th percentile of the building's readings, u a number drawn anew for
each event from the range given.

| kind | hours | what the meter reports | stands for |
|---|---|---|---|
| spike | 1 to 3 | x + u q, u in 1.5 to 4 | a counting fault, a short circuit |
| dropout | 3 to 24 | 0 | an outage of the meter or its link |
| stuck | 12 to 48 | the reading of the hour before, again and again | a frozen register |
| shift | 24 to 72 | x of k hours before, k in 4 to 12 | a wrong clock |
| theft | 168 to 504 | x (1 − u r), r rising evenly to 1, u in 0.4 to 0.9 | a bypass that is opened bit by bit |
| level_shift | 48 to 168 | x + u q, u in 0.3 to 0.8 | a faulty current transformer, a new base load |
| night_bypass | 120 to 336 | u x from 22 to 6 o'clock, u in 0 to 0.2 | load led past the meter at night |

An hour is labelled exactly where the reading that is reported differs from the clean one: an hour of a dropout in
which nothing was used, or the days of a bypass, stay normal. Hours without a reading stay without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import BoolArray, FloatArray, IntArray, short_repr
from unlearn.data.simulated import derived, is_simulated
from unlearn.data.times import DateArray, day_of_week_of
from unlearn.errors import InputError
from unlearn.households.buildings import NO_KIND, BuildingSeries
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.io.sources import KINDS, InjectionOptions

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


_NIGHT_BEGINS, _NIGHT_ENDS = 22, 6
#: Hours before an event that it may look back to.
_LOOK_BACK = 12


def inject(series: BuildingSeries, options: InjectionOptions | None = None, seed: int = 0) -> BuildingSeries:
    """Put anomalies into every building's readings, at places that do not overlap.

    Args:
        series: clean readings, not labelled yet.
        options: how much of what.
        seed: of places, lengths and sizes; each building draws from a stream of its own.

    Returns:
        The series with `anomaly`, `kind` and `kinds`.

    Raises:
        InputError: a series with labels, or with too few hours for the longest event or so large a share.
    """
    wanted = options or InjectionOptions()
    if series.anomaly is not None:
        raise InputError(f"{series.name}: expected a series without labels to inject into, got a labelled one.")
    longest = max(KINDS[kind][1] for kind in wanted.kinds)
    if series.n_hours < 2 * longest:
        raise InputError(
            f"{series.name}: expected at least {2 * longest} hours to inject events of up to {longest} hours, got "
            f"{series.n_hours}. Give more hours or inject shorter kinds."
        )
    kwh = series.kwh.copy()
    kind = np.full(series.kwh.shape, NO_KIND, dtype=np.int8)
    streams = np.random.default_rng(seed).spawn(len(series))
    for m, random in enumerate(streams):
        for start, end, code in _places(series.n_hours, wanted, random, f"{series.name} {series.buildings[m]}"):
            reported = _reported(wanted.kinds[code], series, m, slice(start, end), random)
            clean = series.kwh[m, start:end]
            changed = np.isfinite(reported) & (reported != clean) & np.isfinite(clean)
            kwh[m, start:end] = np.where(changed, reported, clean)
            kind[m, start:end] = np.where(changed, code, NO_KIND)
    return replace(series, kwh=kwh, anomaly=kind != NO_KIND, kind=kind, kinds=wanted.kinds)


def _places(
    n_hours: int, options: InjectionOptions, random: np.random.Generator, where: str
) -> list[tuple[int, int, int]]:
    """First hour, end and kind of each event of one building, an hour apart at least."""
    taken = np.zeros(n_hours + 1, dtype=bool)
    events: list[tuple[int, int, int]] = []
    wanted = options.share * n_hours / len(options.kinds)
    # The longest kinds first, while there is room.
    for code in sorted(range(len(options.kinds)), key=lambda code: -KINDS[options.kinds[code]][1]):
        shortest, longest = KINDS[options.kinds[code]]
        count = random.poisson(2 * wanted / (shortest + longest))
        for length in random.integers(shortest, longest, size=count, endpoint=True):
            start = _free_start(taken, int(length), random)
            if start is None:
                raise InputError(
                    f"{where}: expected room for anomalies in {options.share:g} of {n_hours} hours, found none for a "
                    f"{options.kinds[code]} of {length} hours. Inject a smaller share, or give more hours."
                )
            taken[start : start + length] = True
            events.append((start, start + int(length), code))
    return events


def _free_start(taken: BoolArray, length: int, random: np.random.Generator) -> int | None:
    """A place for an event at random among all that are free with an hour on either side."""
    busy = np.concatenate([[0], np.cumsum(taken)])
    starts = np.arange(_LOOK_BACK, len(taken) - length)
    free = starts[busy[starts + length + 1] == busy[starts - 1]]
    return int(random.choice(free)) if free.size else None


def _high(series: BuildingSeries, m: int) -> float:
    """95th percentile of a building's clean readings; 1 kWh where nothing was ever used."""
    there = series.kwh[m][np.isfinite(series.kwh[m])]
    high = float(np.quantile(there, 0.95)) if there.size else 0.0
    return high if high > 0 else 1.0


def _reported(kind: str, series: BuildingSeries, m: int, at: slice, random: np.random.Generator) -> FloatArray:
    """What the meter of a building reports during an event."""
    clean, length = series.kwh[m, at], at.stop - at.start
    match kind:
        case "spike":
            return clean + random.uniform(1.5, 4.0) * _high(series, m)
        case "dropout":
            return np.zeros(length)
        case "stuck":
            return np.full(length, series.kwh[m, at.start - 1])
        case "shift":
            late = int(random.integers(4, _LOOK_BACK, endpoint=True))
            return series.kwh[m, at.start - late : at.stop - late]
        case "theft":
            rising = np.arange(1, length + 1) / length
            return clean * (1 - random.uniform(0.4, 0.9) * rising)
        case "level_shift":
            return clean + random.uniform(0.3, 0.8) * _high(series, m)
        case _:  # night_bypass
            hour = series.hours[at].astype(np.int64) % 24
            night = (hour >= _NIGHT_BEGINS) | (hour < _NIGHT_ENDS)
            return np.where(night, random.uniform(0.0, 0.2) * clean, clean)
