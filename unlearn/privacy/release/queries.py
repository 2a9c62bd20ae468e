"""Sums of energy, counts and histograms of households, days and readings, by group.

Which households there are is not public. One counts where a reading of it above 0 stays within its bounds; readings of
0 are like readings that are absent. Groups are public and disjoint, so that a contributor moves the numbers of one
group alone, and each group has the whole ε.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import ClassVar, cast

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, require_choice, require_not_negative
from unlearn.errors import InputError
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release.base import Asked, Contribution, Noisy, Query, Sensitivity, View
from unlearn.privacy.release.bounding import counted_days, days_and_hours, energy_sensitivity, root_above

#: What of a household is counted: energy of the view, mean energy of its days with any, largest reading; or of each of
#: its days and readings.
MEASURES = ("total", "mean_day", "peak", "day", "reading")
_OF_HOUSEHOLDS = ("total", "mean_day", "peak")


@dataclass(frozen=True)
class Sum(Query):
    """Energy of each group over the hours that are asked for, in kWh."""

    name: str = field(default="sum", init=False)
    unit: str = field(default="kwh", init=False)
    step: float = field(default=RESOLUTION_KWH, init=False)

    def cells(self, view: View) -> pd.DataFrame:
        return pd.DataFrame({"group": list(view.groups)})

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        return by_group(steps.sum(axis=1, keepdims=True), group, view).reshape(-1)

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        return energy_sensitivity(contribution, view, None)


@dataclass(frozen=True)
class LoadCurve(Query):
    """Energy of each group in each hour, or on each day, in kWh.

    Attributes:
        every: "h" or "D".
    """

    every: str = "h"
    name: str = field(default="load_curve", init=False)
    unit: str = field(default="kwh", init=False)
    step: float = field(default=RESOLUTION_KWH, init=False)

    def __post_init__(self) -> None:
        require_choice("every", self.every, ("h", "D"))

    def cells(self, view: View) -> pd.DataFrame:
        return grid_of(view, times_of(view, self.every))

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        return by_group(steps if self.every == "h" else by_day(steps, view), group, view).reshape(-1)

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        return energy_sensitivity(contribution, view, self.every)


@dataclass(frozen=True)
class Peak(Query):
    """The largest energy of each group in one hour, or on one day, in kWh.

    One household adds between 0 and U to each sum of the curve, with U its bound for one hour or day. So the largest
    sum grows by between 0 and U, too, whatever the level: one draw of noise for U is enough, where the whole curve
    would need noise for all its hours. This holds for a reading and a day as well, which add between 0 and U to some
    sums and nothing to the others.

    Attributes:
        every: "h" or "D".
    """

    every: str = "h"
    name: str = field(default="peak", init=False)
    unit: str = field(default="kwh", init=False)
    step: float = field(default=RESOLUTION_KWH, init=False)

    def __post_init__(self) -> None:
        require_choice("every", self.every, ("h", "D"))

    def cells(self, view: View) -> pd.DataFrame:
        return pd.DataFrame({"group": list(view.groups)})

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        """The curve, of which `answered` takes the largest sum."""
        return LoadCurve(self.every).summed(steps, group, view)

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        largest = energy_sensitivity(contribution, view, self.every).linf
        return Sensitivity(largest, largest, largest)

    def answered(self, totals: IntArray, asked: Asked) -> Noisy:
        largest = totals.reshape(len(asked.view.groups), -1).max(axis=1)
        return asked.noisy(largest, self.sensitivity(asked.contribution, asked.view), self.step)


@dataclass(frozen=True)
class Count(Query):
    """Households of each group, or those above a threshold; with "day", on each day.

    Attributes:
        of: what is held against the threshold, of `MEASURES` but "reading": "day" counts on each day the households
            whose energy of that day is above it.
        above_kwh: the threshold, public; with 0 all households that have readings count.
    """

    of: str = "total"
    above_kwh: float = 0.0
    name: str = field(default="count", init=False)
    unit: str = field(default="households", init=False)
    step: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        require_choice("of", self.of, (*_OF_HOUSEHOLDS, "day"))
        require_not_negative("above_kwh", self.above_kwh)

    def cells(self, view: View) -> pd.DataFrame:
        if self.of == "day":
            return grid_of(view, times_of(view, "D"))
        return pd.DataFrame({"group": list(view.groups)})

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        above = measured(self.of, steps, view) > math.floor(self.above_kwh / RESOLUTION_KWH)
        return by_group(above.astype(np.int64), group, view).reshape(-1)

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        """One household, or one of its days, is counted or not."""
        days = counted_days(contribution, view) if self.of == "day" else 1
        return Sensitivity(days, root_above(days), 1)


@dataclass(frozen=True)
class Histogram(Query):
    """How many households, days of households, or readings of each group are between public edges.

    Attributes:
        edges_kwh: rising; a bin from each to the next, the next excluded, one below the first and one from the last on.
        of: what is between them, of `MEASURES`.
    """

    edges_kwh: tuple[float, ...] = ()
    of: str = "reading"
    name: str = field(default="histogram", init=False)
    unit: str = field(default="readings", init=False)
    step: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        require_choice("of", self.of, MEASURES)
        object.__setattr__(self, "edges_kwh", public_numbers("edges_kwh", self.edges_kwh, "histogram"))
        unit = {"reading": "readings", "day": "household_days"}.get(self.of, "households")
        object.__setattr__(self, "unit", unit)

    def cells(self, view: View) -> pd.DataFrame:
        n_bins = len(self.edges_kwh) + 1
        return pd.DataFrame(
            {
                "group": np.repeat(np.array(view.groups, dtype=object), n_bins),
                "from_kwh": np.tile([0.0, *self.edges_kwh], len(view.groups)),
                "to_kwh": np.tile([*self.edges_kwh, math.inf], len(view.groups)),
            }
        )

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        values = measured(self.of, steps, view)
        edges = np.ceil(np.array(self.edges_kwh) / RESOLUTION_KWH)
        place = np.searchsorted(edges, values, side="right") + group[:, None] * (len(edges) + 1)
        counts = np.bincount(place[values > 0], minlength=len(view.groups) * (len(edges) + 1))
        return cast(IntArray, counts.astype(np.int64))

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        """What is there or not counts once; what has only changed leaves a bin for another one."""
        days, hours = days_and_hours(contribution, view)
        if self.of == "reading":
            return Sensitivity(hours, hours, hours)
        changed = contribution.level == "event" or (contribution.level == "day" and self.of != "day")
        if changed:
            return Sensitivity(2, 2, 1)
        n = days if self.of == "day" else 1
        return Sensitivity(n, n, n)


@dataclass(frozen=True)
class Mean(Query):
    """Energy per household over the hours that are asked for, or per household and day, of each group, in kWh.

    A noisy sum over a noisy count, each at half of the cost. The interval takes the ends of both intervals that widen
    it, each at half of the chance to fail; it ends at what one household or day can have at most, which is public.

    Attributes:
        per: "household", or "day": per day with readings of a household.
    """

    plain: ClassVar[bool] = False
    per: str = "day"
    name: str = field(default="mean", init=False)
    unit: str = field(default="kwh", init=False)
    step: float = field(default=RESOLUTION_KWH, init=False)

    def __post_init__(self) -> None:
        require_choice("per", self.per, ("household", "day"))

    def cells(self, view: View) -> pd.DataFrame:
        return pd.DataFrame({"group": list(view.groups)})

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        """Sums of all groups, then their counts."""
        counted = (measured("total" if self.per == "household" else "day", steps, view) > 0).sum(axis=1, keepdims=True)
        return np.concatenate([Sum().summed(steps, group, view), by_group(counted, group, view).reshape(-1)])

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        """Of the sum; see `count_sensitivity`."""
        return energy_sensitivity(contribution, view, None)

    def count_sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        """Of the count: one household, or all its days at once."""
        n = 1 if self.per == "household" else counted_days(contribution, view)
        return Sensitivity(n, n, n)

    def answered(self, totals: IntArray, asked: Asked) -> Noisy:
        whole, counted = totals.reshape(2, -1)
        sure = (1 + asked.confidence) / 2
        total = asked.noisy(whole, self.sensitivity(asked.contribution, asked.view), self.step, 0.5, sure)
        count = asked.noisy(counted, self.count_sensitivity(asked.contribution, asked.view), 1.0, 0.5, sure)
        most = self._most(asked.contribution, asked.view)

        def divided(energy: FloatArray, by: FloatArray) -> FloatArray:
            # Where nothing is counted there is no energy: nothing above 0 is divided by less than 1.
            return np.clip(np.maximum(energy, 0) / np.maximum(by, 1.0), 0, most)

        low, high = divided(total.low, count.high), divided(total.high, count.low)
        return Noisy(np.clip(divided(total.values, count.values), low, high), low, high, total.noise, total.scale)

    def _most(self, contribution: Contribution, view: View) -> float:
        day = min(contribution.steps_per_day, contribution.steps_per_hour * int(np.bincount(view.day).max()))
        days = 1 if self.per == "day" else view.n_days
        return day * days * RESOLUTION_KWH


def measured(of: str, steps: IntArray, view: View) -> IntArray:
    """A measure of each household in whole steps, rounded down, shape (k, 1); of its days (k, D) or readings (k, T)."""
    return cast(IntArray, _MEASURED[of](steps, view))


def _mean_day(steps: IntArray, view: View) -> IntArray:
    days = by_day(steps, view)
    there = np.maximum((days > 0).sum(axis=1, keepdims=True), 1)
    # A household with any energy stays above 0, however little it is.
    total = days.sum(axis=1, keepdims=True)
    return cast(IntArray, np.maximum(total // there, total > 0))


_MEASURED = {
    "total": lambda steps, view: steps.sum(axis=1, keepdims=True),
    "mean_day": _mean_day,
    "peak": lambda steps, view: steps.max(axis=1, keepdims=True),
    "day": lambda steps, view: by_day(steps, view),
    "reading": lambda steps, view: steps,
}


def by_day(steps: IntArray, view: View) -> IntArray:
    """Sums over calendar days, shape (k, D)."""
    return cast(IntArray, np.add.reduceat(steps, np.flatnonzero(np.diff(view.day, prepend=-1)), axis=1))


def by_group(values: IntArray, group: IntArray, view: View) -> IntArray:
    """Sums over the households of each group, shape (G, n)."""
    sums = np.zeros((len(view.groups), values.shape[1]), dtype=np.int64)
    order = np.argsort(group, kind="stable")
    present, starts = np.unique(group[order], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat(values[order], starts, axis=0)
    return sums


def times_of(view: View, every: str) -> pd.DatetimeIndex:
    """Hours, or days, of the view."""
    return view.hours if every == "h" else pd.DatetimeIndex(view.hours.normalize().unique())


def grid_of(view: View, times: pd.DatetimeIndex) -> pd.DataFrame:
    """A row for each group and time, group by group."""
    names = np.repeat(np.array(view.groups, dtype=object), len(times))
    return pd.DataFrame({"group": names, "time": times[np.tile(np.arange(len(times)), len(view.groups))]})


def public_numbers(name: str, values: object, what: str) -> tuple[float, ...]:
    """Public numbers in kWh that bound a query.

    Raises:
        InputError: none, or not finite, not negative and rising.
    """
    try:
        found = tuple(float(one) for one in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers in kWh, got {type(values).__name__}.") from error
    rising = all(one < after for one, after in itertools.pairwise(found))
    if not found or not all(0 <= one < math.inf for one in found) or not rising:
        raise InputError(
            f"{name}: expected rising finite numbers of at least 0 kWh, chosen without looking at the data, got "
            f"{len(found)} numbers that are not. A {what} without them is not bounded: pass {name}=(1.0, 2.0, 5.0), "
            "for example."
        )
    return found
