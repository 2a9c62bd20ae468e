"""Households as customers of the grid's buses: what is published of their loads, and what forecasts made of it cost.

Each bus of the grid is a feeder. Every household belongs to one feeder, feeders to a substation, and all to one area.
What a third party is given of the feeders' loads in training weeks trains a forecaster; the true loads of the same
feeders in the weeks between are forecast and priced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, require_count, require_shape, short_repr
from unlearn.errors import InputError
from unlearn.forecasters import TrainingOptions
from unlearn.grid import OperatingCost
from unlearn.households.assignment import spread
from unlearn.households.meters import Meters
from unlearn.studies._shared.bus_loads import LAG_DAYS, BusPlan, load_scale, measure_load_task, training_days

#: Feeders of a substation, and the name of what all belong to.
PER_SUBSTATION, AREA = 4, "area"


@short_repr
@dataclass(frozen=True, eq=False)
class Feeders:
    """Households by feeder, substation and area, in whole days that all of them have.

    Attributes:
        meters: hourly readings, cut to whole days.
        names: of the B feeders, in the order of the grid's loads.
        feeder_of: position of each household's feeder, shape (C,).
        substation_of: position of each feeder's substation, shape (B,).
        kwh: true hourly energy of each feeder, shape (D, B, 24).
        plan: days, and which of them may be learnt from.
        factor: MW per kW of each feeder.
        cost: the grid.
    """

    meters: Meters
    names: tuple[str, ...]
    feeder_of: IntArray
    substation_of: IntArray
    kwh: FloatArray
    plan: BusPlan
    factor: FloatArray
    cost: OperatingCost

    def _in_short(self) -> str:
        return f"{len(self.meters)} households at {len(self.names)} feeders, {len(self.plan.days)} days"

    @property
    def groups(self) -> dict[str, str]:
        """The feeder of each household, by name."""
        return {own: self.names[b] for own, b in zip(self.meters.customer_ids, self.feeder_of.tolist(), strict=True)}

    @property
    def substations(self) -> tuple[str, ...]:
        """Names of the substations."""
        return tuple(f"substation_{i + 1}" for i in range(int(self.substation_of.max()) + 1))

    @property
    def parents(self) -> dict[str, str]:
        """What each feeder and substation belongs to, by name."""
        above = self.substations
        return {
            **{own: above[i] for own, i in zip(self.names, self.substation_of.tolist(), strict=True)},
            **dict.fromkeys(above, AREA),
        }

    @property
    def training_hours(self) -> IntArray:
        """Positions of the hours that may be learnt from, among all hours."""
        return np.flatnonzero(np.repeat(self.plan.training, 24))

    def by_day(self, kwh: FloatArray) -> FloatArray:
        """Hourly energy of feeders, shape (B, H), as days, shape (D, B, 24)."""
        require_shape("kwh", kwh, (len(self.names), 24 * len(self.plan.days)))
        return np.ascontiguousarray(kwh.reshape(len(self.names), -1, 24).transpose(1, 0, 2))


def feeders_of(meters: Meters, cost: OperatingCost, test_every: int = 4, seed: int = 0) -> Feeders:
    """Spread households over the grid's loads, evenly and at random.

    Args:
        meters: of any length; those that do not have all hours are left out, as are hours of incomplete days.
        cost: the grid, whose loads are the feeders.
        test_every: every so many calendar weeks is forecast and never learnt from.
        seed: of who is where.

    Raises:
        InputError: fewer households than loads, or too few days to train and to test on.
    """
    require_count("test_every", test_every)
    inside = _whole_days(meters)
    meters = inside.take(np.flatnonzero((inside.first == 0) & (inside.end == len(inside.hours))))
    n_loads = len(cost.case.nominal_load_mw)
    where = spread(meters.customer_ids, n_loads, seed)
    names = tuple(f"bus_{b + 1}" for b in range(n_loads))
    feeder_of = np.array([names.index(where[own]) for own in meters.customer_ids], dtype=np.int64)
    kwh = np.zeros((n_loads, len(meters.hours)))
    for positions, readings in meters.blocks("feeders"):
        np.add.at(kwh, feeder_of[positions], readings.astype(np.float64))
    days = np.unique(meters.hours.to_numpy().astype("datetime64[D]"))
    training = training_days(days, test_every)
    if len(days) <= LAG_DAYS or not training[LAG_DAYS:].any() or training[LAG_DAYS:].all():
        raise InputError(
            f"{meters.name}: expected more days than {LAG_DAYS}, some to train and some to test on with "
            f"test_every={test_every}; got {len(days)} days."
        )
    plan = BusPlan(np.array([[name] for name in names]), days, training)
    by_day = np.ascontiguousarray(kwh.reshape(n_loads, -1, 24).transpose(1, 0, 2))
    factor = load_scale(plan, by_day, cost)
    return Feeders(meters, names, feeder_of, np.arange(n_loads) // PER_SUBSTATION, by_day, plan, factor, cost)


def measure_published(
    feeders: Feeders,
    published_kwh: Mapping[str, FloatArray],
    forecasters: Sequence[str] = ("linear",),
    training: TrainingOptions | None = None,
    hours: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, str, str, float]]:
    """Train forecasters on what was published of the feeders' loads, and price forecasts of the true ones.

    Args:
        feeders: of `feeders_of`.
        published_kwh: hourly energy by feeder, as published or as far as it can be made of that, by name, each of shape
            (D, B, 24). Loads of training days alone are learnt; lags are of all that was published. Lags of the hours
            that are forecast are true loads, for every source: the operator meters its feeders.
        forecasters: among those of `measure_load_task`.
        training: of networks.
        hours: test hours that are priced, evenly spaced; None prices all.
        seed: of networks.

    Yields:
        As `measure_load_task`: what was learnt from, forecaster, metric, value.
    """
    for name, own in published_kwh.items():
        require_shape(f"published {name}", own, feeders.kwh.shape)
    yield from measure_load_task(
        feeders.plan, published_kwh, feeders.kwh, feeders.factor, feeders.cost, forecasters, training, hours, seed
    )


def _whole_days(meters: Meters) -> Meters:
    first, after = meters.hours[0], meters.hours[-1] + pd.Timedelta(hours=1)
    start, end = first.ceil("D"), after.floor("D")
    if start >= end:
        raise InputError(f"{meters.name}: expected at least one whole day of hours, got {len(meters.hours)} hours.")
    return meters if (start, end) == (first, after) else meters.between(start, end)
