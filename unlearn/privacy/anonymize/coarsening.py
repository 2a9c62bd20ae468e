"""Coarser time and coarser energy: sums over longer periods, rounded readings, a day's extremes instead of its curve.

Less detail, fewer ways to be told apart; none of it is a guarantee. A sum over a month still tells customers apart
where it is written to the watt-hour, so round what is summed, and measure: `crowd_sizes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, as_floats, require_choice, require_positive, short_repr
from unlearn.errors import InputError
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.meters import BLOCK, Meters

#: Periods that energy is summed over: an hour, six, a day, a week from Monday, a month.
PERIODS = ("h", "6h", "D", "W", "MS")


@short_repr
@dataclass(frozen=True, eq=False)
class Coarser:
    """Energy of customers over whole periods.

    Attributes:
        name: of the source.
        every: length of a period, one of `PERIODS`.
        customer_ids: C names.
        starts: of the P periods.
        kwh: energy, shape (C, P); NaN where the meter was not there the whole period.
        steps_left_out: steps of the source at its ends whose period is not whole.
    """

    name: str
    every: str
    customer_ids: tuple[str, ...]
    starts: pd.DatetimeIndex
    kwh: FloatArray
    steps_left_out: int

    def to_frame(self) -> pd.DataFrame:
        """kWh, a row per period and a column per customer."""
        return pd.DataFrame(self.kwh.T, index=self.starts, columns=list(self.customer_ids))


@short_repr
@dataclass(frozen=True, eq=False)
class DailyExtremes:
    """Least and largest energy of a step on each day.

    Attributes:
        name: of the source.
        customer_ids: C names.
        days: D days.
        low_kwh: shape (C, D); NaN where the meter was not there the whole day.
        high_kwh: shape (C, D).
        steps_per_day: steps of the source, so that energy of a step times this is energy of a day at that power.
        steps_left_out: steps of the source at its ends whose day is not whole.
    """

    name: str
    customer_ids: tuple[str, ...]
    days: pd.DatetimeIndex
    low_kwh: FloatArray
    high_kwh: FloatArray
    steps_per_day: int
    steps_left_out: int


def coarser(source: Meters | HouseholdProfiles, every: str = "D") -> Coarser:
    """Sum energy over whole periods. Sums of meters are exact.

    >>> from unlearn.households import simulate_households
    >>> profiles = simulate_households(3, n_days=40)
    >>> coarser(profiles, "W").kwh.shape, coarser(profiles, "6h").kwh.shape
    ((3, 4), (3, 160))

    Args:
        source: meters or daily profiles.
        every: "h", "6h", "D", "W" (from Monday) or "MS".

    Raises:
        InputError: no such period, or the source covers none of them wholly.
    """
    require_choice("every", every, PERIODS)
    steps = _steps(source)
    starts, edges = _whole_periods(steps, every)
    kwh = np.empty((len(steps.customer_ids), len(starts)))
    for where, block in steps.blocks:
        kwh[where] = np.add.reduceat(block[:, edges[0] : edges[-1]], edges[:-1] - edges[0], axis=1)
    left_out = len(steps.times) - int(edges[-1] - edges[0])
    return Coarser(steps.name, every, steps.customer_ids, starts, kwh, left_out)


def daily_extremes(source: Meters | HouseholdProfiles) -> DailyExtremes:
    """The least and the largest step of each whole day, instead of the day's curve.

    Raises:
        InputError: the source covers no day wholly.
    """
    steps = _steps(source)
    days, edges = _whole_periods(steps, "D")
    low, high = (np.empty((len(steps.customer_ids), len(days))) for _ in range(2))
    for where, block in steps.blocks:
        part = block[:, edges[0] : edges[-1]]
        low[where] = np.minimum.reduceat(part, edges[:-1] - edges[0], axis=1)
        high[where] = np.maximum.reduceat(part, edges[:-1] - edges[0], axis=1)
    per_day = int(edges[1] - edges[0])
    left_out = len(steps.times) - int(edges[-1] - edges[0])
    return DailyExtremes(steps.name, steps.customer_ids, days, low, high, per_day, left_out)


def rounded(kwh: ArrayLike, to_kwh: float = 0.1) -> FloatArray:
    """Round energy to the nearest multiple; halfway between two, to the even one. NaN stays.

    >>> rounded([0.26, 0.34, 1.0], 0.1).tolist()
    [0.3, 0.3, 1.0]

    Args:
        kwh: energy in kWh, any shape.
        to_kwh: the multiple.

    Raises:
        InputError: infinite energy, or a multiple that is not above 0.
    """
    to_kwh = require_positive("to_kwh", to_kwh)
    energy = as_floats("kwh", kwh)
    if np.isinf(energy).any():
        raise InputError(f"kwh: expected finite energy, got {int(np.isinf(energy).sum())} infinite values. Mend them.")
    # A tenth is no float: a division by ten gives the float nearest to each multiple, a product does not.
    per_kwh = round(1 / to_kwh)
    if per_kwh and np.isclose(per_kwh * to_kwh, 1, rtol=1e-12, atol=0):
        return np.rint(energy * per_kwh) / per_kwh
    return np.rint(energy / to_kwh) * to_kwh


class _Steps(NamedTuple):
    """Energy by step: starts of T steps without a gap, and blocks of (positions, kWh (k, T), NaN where absent)."""

    name: str
    customer_ids: tuple[str, ...]
    times: pd.DatetimeIndex
    per_day: int
    blocks: Iterable[tuple[IntArray, FloatArray]]


@singledispatch
def _steps(source: object) -> _Steps:
    raise InputError(f"source: expected Meters or HouseholdProfiles, got {type(source).__name__}.")


@_steps.register
def _(source: Meters) -> _Steps:
    hour = np.arange(len(source.hours))

    def blocks() -> Iterator[tuple[IntArray, FloatArray]]:
        for where, kwh in source.blocks("meters"):
            there = (hour >= source.first[where, None]) & (hour < source.end[where, None])
            yield where, np.where(there, kwh, np.float64(np.nan))

    return _Steps(source.name, source.customer_ids, source.hours, 24, blocks())


@_steps.register
def _(source: HouseholdProfiles) -> _Steps:
    if not len(source):
        raise InputError(f"{source.name}: expected at least one day, got none.")
    first, n_days = source.days[0], int((source.days[-1] - source.days[0]).astype(np.int64)) + 1
    minutes = 24 * 60 // source.n_steps
    times = pd.date_range(pd.Timestamp(first), periods=n_days * source.n_steps, freq=f"{minutes}min")
    order = np.argsort(source.household, kind="stable")
    edges = np.searchsorted(source.household[order], np.arange(source.n_households + 1))

    def blocks() -> Iterator[tuple[IntArray, FloatArray]]:
        for low in tqdm(range(0, source.n_households, BLOCK), desc="households", leave=False, delay=2):
            high = min(low + BLOCK, source.n_households)
            rows = order[edges[low] : edges[high]]
            kwh = np.full((high - low, n_days, source.n_steps), np.nan)
            kwh[source.household[rows] - low, (source.date[rows] - first).astype(np.int64)] = source.kwh[rows]
            yield np.arange(low, high), kwh.reshape(high - low, -1)

    names = tuple(source.households["household_id"].astype(str))
    return _Steps(source.name, names, times, source.n_steps, blocks())


def _whole_periods(steps: _Steps, every: str) -> tuple[pd.DatetimeIndex, IntArray]:
    """Starts of the P periods that steps cover wholly, and the P + 1 edges of their steps."""
    times = steps.times
    begin = _begins(times, every)
    # The first period is whole if it begins with the first step, the last if the step after the last begins another.
    following = times[-1:] + pd.Timedelta(days=1) / steps.per_day
    changes = np.flatnonzero(begin[1:] != begin[:-1]) + 1
    edges = np.concatenate([[0] if times[0] == begin[0] else [], changes])
    if _begins(following, every)[0] == following[0]:
        edges = np.append(edges, len(times))
    edges = edges.astype(np.int64)
    if len(edges) < 2:
        raise InputError(
            f"{steps.name}: expected at least one whole period of {every!r}, got {times[0]} to {times[-1]}. Take a "
            "shorter one, such as every='D'."
        )
    return pd.DatetimeIndex(begin[edges[:-1]]), edges


def _begins(times: pd.DatetimeIndex, every: str) -> NDArray[np.datetime64]:
    """Start of the period that each time is in."""
    if every in ("W", "MS"):
        return np.asarray(times.to_period({"W": "W-SUN", "MS": "M"}[every]).start_time)
    return np.asarray(times.floor(every))
