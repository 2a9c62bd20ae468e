"""Homes at feeders and with retailers for one seed, and what loads and forecasts of these feeders cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from unlearn.checks import FloatArray, IntArray, require_package, short_repr
from unlearn.data import LoadDataset
from unlearn.dp import SimulatedNoise, noise_source
from unlearn.dp.noise import NoiseSource
from unlearn.errors import InputError
from unlearn.forecasters import fit_linear
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles, hourly_meters
from unlearn.households.meters import Meters
from unlearn.records import RecordTable
from unlearn.studies._shared.bus_loads import bus_dataset, load_scale
from unlearn.studies._shared.feeders import Feeders, feeders_of
from unlearn.studies._shared.study import METRICS, measure_forecast, sample_hours
from unlearn.studies.comparison.options import ComparisonOptions

#: Metrics that records keep.
KEPT = ("mse", "mape", "cost")


@short_repr
@dataclass(frozen=True, eq=False)
class Setting:
    """Homes at feeders for one seed.

    Attributes:
        profiles: half-hourly readings by home and day; a generator learns from them.
        feeders: homes by feeder.
        options: of the study.
        seed: of who is where.
        source: bits of noise that OpenDP does not draw.
    """

    profiles: HouseholdProfiles
    feeders: Feeders
    options: ComparisonOptions
    seed: int
    source: NoiseSource

    def _in_short(self) -> str:
        return f"seed {self.seed}, {self.feeders!r}"

    @cached_property
    def kwh(self) -> FloatArray:
        """Hourly readings of all homes, shape (C, H)."""
        return self.feeders.meters.series(np.arange(len(self.feeders.meters)))

    @cached_property
    def half_hourly(self) -> FloatArray:
        """Readings of the same homes by step of their source, shape (C, S)."""
        days, ids = self.feeders.plan.days, self.feeders.meters.customer_ids
        known = {str(own): i for i, own in enumerate(self.profiles.households["household_id"])}
        found = np.empty((len(ids), len(days), self.profiles.n_steps))
        place = {known[own]: i for i, own in enumerate(ids)}
        home = np.array([place.get(i, -1) for i in range(len(known))])[self.profiles.household]
        day = (self.profiles.date - days[0]).astype(np.int64)
        inside = (home >= 0) & (day >= 0) & (day < len(days))
        found[home[inside], day[inside]] = self.profiles.kwh[inside]
        return found.reshape(len(ids), -1)

    @cached_property
    def retailer_of(self) -> IntArray:
        """Retailer of each home, shape (C,): those of a feeder are dealt out in turn.

        Raises:
            InputError: a feeder with fewer homes than retailers.
        """
        found = np.empty(len(self.kwh), dtype=np.int64)
        for b, name in enumerate(self.feeders.names):
            here = np.flatnonzero(self.feeders.feeder_of == b)
            if len(here) < self.options.retailers:
                raise InputError(
                    f"comparison.retailers: expected at most as many as each feeder has homes, got "
                    f"{self.options.retailers}, which is above those of {name}. Lower it."
                )
            found[here] = np.arange(len(here)) % self.options.retailers
        return found

    def by_feeder(self, kwh: FloatArray, homes: IntArray | None = None) -> FloatArray:
        """Sums over the homes of each feeder of readings, shape (n, H), as (D, B, 24)."""
        where = self.feeders.feeder_of if homes is None else self.feeders.feeder_of[homes]
        member = np.arange(len(self.feeders.names))[:, None] == where
        return self.feeders.by_day(member.astype(np.float64) @ kwh)

    @property
    def by_retailer(self) -> list[FloatArray]:
        """Loads of each retailer's homes by feeder, each (D, B, 24)."""
        own = [np.flatnonzero(self.retailer_of == r) for r in range(self.options.retailers)]
        return [self.by_feeder(self.kwh[homes], homes) for homes in own]

    def dataset(self, kwh: FloatArray, name: str = "published") -> LoadDataset:
        """Loads of feeders as a data set, on the scale of the true ones."""
        own = self.feeders
        return bus_dataset(name, own.plan, kwh, own.factor, own.cost.case.base_mva, self.seed)

    def scaled_dataset(self, kwh: FloatArray, name: str) -> LoadDataset:
        """Loads of a part of the homes, its largest training hour at each feeder's nominal load."""
        own = self.feeders
        factor = load_scale(own.plan, kwh, own.cost)
        return bus_dataset(name, own.plan, kwh, factor, own.cost.case.base_mva, self.seed)

    @cached_property
    def test(self) -> LoadDataset:
        """True loads."""
        return self.dataset(self.feeders.kwh, "true")

    @cached_property
    def rows(self) -> IntArray:
        """Test hours that are priced."""
        return sample_hours(self.test.split.test, self.options.hours)

    def learnt(self, kwh: FloatArray) -> Callable[[FloatArray], FloatArray]:
        """The forecast of a linear forecaster that learnt from published loads."""
        return fit_linear(self.dataset(kwh)).forecast

    def add(self, table: RecordTable, forecast_pu: FloatArray, columns: Mapping[str, object]) -> None:
        """Add error and cost of what is taken for the loads of the test hours, shape (n, B)."""
        given = torch.from_numpy(np.ascontiguousarray(forecast_pu))
        found = measure_forecast(given, self.test, self.rows, self.feeders.cost).means(self.rows)
        for metric in KEPT:
            table.add(metric, found[metric], METRICS[metric], **columns)


def make_settings(
    households: HouseholdProfiles, cost: OperatingCost, options: ComparisonOptions, seed: int, meters: Meters
) -> Setting:
    """Spread homes over feeders for one seed.

    Raises:
        InputError: see `feeders_of`; simulated noise for households that are not.
    """
    source = noise_source("os" if options.noise == "os" else SimulatedNoise(seed), meters)
    return Setting(households, feeders_of(meters, cost, options.test_every, seed), options, seed, source)


def meters_of(households: HouseholdProfiles) -> Meters:
    """Hourly meters of the homes without gaps."""
    return hourly_meters(households, with_gaps="leave_out")


def require_noise(options: ComparisonOptions) -> None:
    """Refuse a study whose noise nobody can draw, before anything is read.

    Raises:
        MissingPackageError: OpenDP is not installed.
    """
    if options.noise == "os" and any(own.startswith("dp") for own in options.techniques):
        require_package("comparison", "opendp", '"unlearn[release]"')
