"""Households whose half-hourly readings are de-identified, at the feeders of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data.times import day_of_week_of, month_of
from unlearn.errors import InputError
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles, hourly_meters, simulate_households
from unlearn.households.meters import Meters
from unlearn.households.profiles import STEPS
from unlearn.studies._shared.feeders import Feeders, feeders_of
from unlearn.studies.anonymize.options import AnonymizeOptions

#: Seed and number of the simulated households whose mean load is the standard profile, which is nobody's.
STANDARD, N_STANDARD = 90210, 200
#: Share of them that has solar cells.
SOLAR_SHARE = 0.05


@short_repr
@dataclass(frozen=True, eq=False)
class Readings:
    """Readings of C households in S steps of whole days, the same of all.

    Attributes:
        profiles: the same by household and day, in their order.
        kwh: energy by step, shape (C, S).
        days: D days.
    """

    profiles: HouseholdProfiles
    kwh: FloatArray
    days: np.ndarray

    def _in_short(self) -> str:
        return f"{len(self)} households, {len(self.days)} days of {self.per_day} steps"

    def __len__(self) -> int:
        return len(self.kwh)

    @property
    def per_day(self) -> int:
        """Steps of a day."""
        return self.profiles.n_steps

    @cached_property
    def times(self) -> pd.DatetimeIndex:
        """Start of each step, shape (S,)."""
        step = pd.Timedelta(days=1) / self.per_day
        return pd.date_range(pd.Timestamp(self.days[0]), periods=self.kwh.shape[1], freq=step)

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the households."""
        return tuple(self.profiles.households["household_id"].astype(str))

    @property
    def segment(self) -> pd.Series:
        """Class of each household."""
        return self.profiles.households["segment"].astype(str)

    def hourly(self) -> FloatArray:
        """Energy by hour, shape (C, 24 D)."""
        return self.kwh.reshape(len(self), 24 * len(self.days), -1).sum(axis=2)

    def take(self, positions: IntArray) -> Readings:
        """Some of the households, by rising position."""
        return Readings(self.profiles.of_households(positions), self.kwh[positions], self.days)


@short_repr
@dataclass(frozen=True, eq=False)
class Setting:
    """Readings at the feeders of a grid, for one seed.

    Attributes:
        readings: of C households.
        feeders: of the same, in the same order.
        standard: simulated households of the same days, whose mean profile is public.
        solar: households whose solar cells are known: the same if their source knows them, else simulated ones.
        options: of the study.
        seed: of the assignment and of attackers.
    """

    readings: Readings
    feeders: Feeders
    standard: Readings
    solar: Readings
    options: AnonymizeOptions
    seed: int

    def _in_short(self) -> str:
        return f"seed {self.seed}, {self.feeders!r}"

    def random(self, purpose: int) -> np.random.Generator:
        """Chance for one purpose, which others do not change."""
        return np.random.default_rng((self.seed, purpose))

    @cached_property
    def standard_hourly(self) -> FloatArray:
        """Mean energy of a simulated household in each hour, by month, kind of day and hour, shape (24 D,)."""
        return smoothed(self.standard.hourly().mean(axis=0), self.standard.days)


def smoothed(values: FloatArray, days: np.ndarray) -> FloatArray:
    """Means of values by hour, or by half-hour, over the days of a month, workdays and weekends apart, (24 D,)."""
    kind = 2 * month_of(days) + (day_of_week_of(days) >= 5)
    codes, place = np.unique(kind, return_inverse=True)
    by_day = values.reshape(len(days), -1)
    means = np.stack([by_day[place == code].mean(axis=0) for code in range(len(codes))])
    return means[place].ravel()


def readings_of(profiles: HouseholdProfiles, ids: tuple[str, ...], days: np.ndarray) -> Readings:
    """Readings of some households on consecutive days that all of them have."""
    place = pd.Index(profiles.households["household_id"].astype(str)).get_indexer(pd.Index(ids))
    chosen = profiles.of_households(np.sort(place))
    inside = (chosen.date >= days[0]) & (chosen.date <= days[-1])
    chosen = chosen.take(inside)
    chosen = chosen.take(np.lexsort((chosen.date, chosen.household)))
    return Readings(chosen, chosen.kwh.astype(np.float64).reshape(len(ids), -1), days)


def standard_households(days: np.ndarray, n_households: int = N_STANDARD) -> Readings:
    """Simulated households on some days, of whom none is among the customers."""
    made = simulate_households(n_households, str(days[0]), len(days), random_state=STANDARD, solar_share=SOLAR_SHARE)
    return readings_of(made, tuple(made.households["household_id"]), days)


def make_setting(
    profiles: HouseholdProfiles,
    meters: Meters,
    cost: OperatingCost,
    options: AnonymizeOptions,
    seed: int,
    standard: Readings | None = None,
) -> Setting:
    """Spread households over feeders, and take the readings of those that have all days.

    Args:
        profiles: readings by household and day.
        meters: the same by hour.
        cost: the grid.
        options: of the study.
        seed: of the assignment.
        standard: of another seed's setting; None simulates them.

    Raises:
        InputError: whatever `feeders_of` refuses.
    """
    feeders = feeders_of(meters, cost, options.test_every, seed)
    readings = readings_of(profiles, feeders.meters.customer_ids, feeders.plan.days)
    standard = standard or standard_households(readings.days)
    solar = readings if "solar" in readings.profiles.households else standard
    return Setting(readings, feeders, standard, solar, options, seed)


def meters_of(profiles: HouseholdProfiles) -> Meters:
    """Hourly meters of the households that have no gap between their first and last day.

    Raises:
        InputError: readings that are not half-hourly.
    """
    if profiles.n_steps != STEPS:
        raise InputError(
            f"{profiles.name}: expected {STEPS} half-hourly readings a day, of which an attacker knows some, got "
            f"{profiles.n_steps}. Take readings of half an hour."
        )
    return hourly_meters(profiles, with_gaps="leave_out")
