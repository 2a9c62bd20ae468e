"""Households on a grid: hourly meters spread over its buses, features that hold nobody's data, and whole test weeks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data import Split
from unlearn.data.times import days_since_monday
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster, fit_linear, fit_network
from unlearn.grid import OperatingCost
from unlearn.households.assignment import customer_loads, spread
from unlearn.households.customers import CustomerLoads
from unlearn.households.io.meters import hourly_meters
from unlearn.households.meters import Meters
from unlearn.studies._shared.study import sample_hours
from unlearn.studies.customers.options import CNN, LINEAR, CustomersOptions
from unlearn.studies.customers.populations import Population
from unlearn.unlearning import tune

#: Share of the training hours that the published network's extractor is trained on.
CORE = 0.3
_WEEK_H = 168


@short_repr
@dataclass(frozen=True, eq=False)
class Setting:
    """Customers on the buses of a grid, for one seed.

    Attributes:
        dataset: loads that know their customers, scaled to the grid.
        cost: what forecasts are priced by.
        options: of the study.
        seed: of the assignment.
        others: loads of simulated customers with the same features, for extractors that have seen no customer.
    """

    dataset: CustomerLoads
    cost: OperatingCost
    options: CustomersOptions
    seed: int
    others: CustomerLoads | None = None

    @property
    def test(self) -> IntArray:
        """Rows that are reported on."""
        return self.dataset.split.test

    @property
    def linear(self) -> Forecaster:
        return self.forecaster(LINEAR)

    @cached_property
    def _fitted(self) -> dict[str, Forecaster]:
        return {}

    @cached_property
    def _tuned(self) -> dict[str, Forecaster]:
        return {}

    def forecaster(self, kind: str) -> Forecaster:
        """The forecaster of a kind, fitted to all customers."""
        if kind not in self._fitted:
            self._fitted[kind] = self._fit(kind)
        return self._fitted[kind]

    def tuned(self, kind: str) -> Forecaster:
        """The same, tuned for the cost by one number."""
        if kind not in self._tuned:
            self._tuned[kind] = self.tune(self.forecaster(kind), self.dataset)
        return self._tuned[kind]

    def tune(self, model: Forecaster, dataset: CustomerLoads) -> Forecaster:
        """A forecaster of these customers or of some of them, tuned for the cost by one number on training hours."""
        rows = sample_hours(model.training_rows(dataset), self.options.tuning_hours)
        return tune(model, dataset, "cost", "scale", grid=self.cost, rows=rows).model

    def _fit(self, kind: str) -> Forecaster:
        if kind == LINEAR:
            return fit_linear(self.dataset)
        if kind == CNN:
            return fit_network(self.dataset, "cnn", self.options.training, self.seed)
        if self.others is None:
            raise InputError(f"customers.forecasters: {kind} needs the loads of other customers, got none.")
        return fit_network(self.dataset, "cnn", self.options.training, self.seed, extractor_from=self.others)


def make_setting(
    population: Population,
    cost: OperatingCost,
    options: CustomersOptions,
    seed: int,
    others: Population | None = None,
) -> Setting:
    """Spread customers over the buses of a grid.

    Args:
        population: whose meters are summed up.
        cost: the grid; loads are scaled so that each bus reaches its nominal load in a training hour.
        options: of the study.
        seed: of the assignment.
        others: households that no customer is among, with the same kind of weather.

    Raises:
        InputError: fewer customers than buses, or weather of other hours.
        DataError: whatever `customer_loads` refuses.
    """
    dataset = _on_buses(population, "", cost, options, seed)
    return Setting(
        dataset, cost, options, seed, None if others is None else _on_buses(others, "other ", cost, options, seed)
    )


def _on_buses(
    population: Population, prefix: str, cost: OperatingCost, options: CustomersOptions, seed: int
) -> CustomerLoads:
    """Loads of a population; its customers' names begin with the prefix, as simulated ones are all called alike."""
    own = population.households
    meters = own if isinstance(own, Meters) else hourly_meters(own)
    meters = replace(meters, customer_ids=tuple(f"{prefix}{name}" for name in meters.customer_ids))
    meters = with_joined_classes(meters, options.least_class)
    case = cost.case
    columns: dict[str, pd.DataFrame | pd.Series] = dict(calendar(meters.hours))
    if population.weather is not None:
        weather = population.weather.resample("h").mean().loc[meters.hours]
        columns |= {str(name): series for name, series in weather.items()}
    dataset = customer_loads(meters, spread(meters.customer_ids, len(case.nominal_load_mw), seed), columns)
    split = by_weeks(meters.hours, options.test_every, seed)
    return replace(dataset, split=split).scaled_to(case.nominal_load_mw, "train", case.base_mva)


def by_weeks(hours: pd.DatetimeIndex, test_every: int, seed: int = 0) -> Split:
    """Divide hours by whole calendar weeks: every `test_every`-th is tested on, half as many are validation.

    In a single year, the last weeks are a season of their own, which no forecaster has seen: a chronological split
    would measure how the season is extrapolated rather than what a customer's data is good for. No feature holds an
    earlier load, so that nothing of a test week is among the features of a training hour.

    Raises:
        InputError: hours without a week for one of the parts.
    """
    week = days_since_monday(hours.to_numpy().astype("datetime64[D]")) // 7
    test = week % test_every == 0
    validation = (week % test_every == test_every // 2) & (week // test_every % 2 == 0)
    train = np.flatnonzero(~test & ~validation)
    if not test.any() or not validation.any() or len(train) < _WEEK_H:
        raise InputError(
            f"customers: expected weeks to train, to validate and to test on with test_every={test_every}, got "
            f"{len(hours)} hours. Take households of more days."
        )
    core = np.sort(np.random.default_rng(seed).permutation(train)[: max(1, int(CORE * len(train)))])
    return Split(train, np.flatnonzero(validation), np.flatnonzero(test), core, np.setdiff1d(train, core))


def calendar(hours: pd.DatetimeIndex) -> Mapping[str, pd.Series]:
    """Columns of the calendar beside those that every data set has: season, shapes of the day, and how these change.

    They are known for any hour without any data. Harmonics of the year, of the day, of the day at weekends, and of
    the day as the season goes.
    """
    day = 2 * np.pi * hours.hour.to_numpy() / 24
    year = 2 * np.pi * (hours.day_of_year.to_numpy() - 1 + hours.hour.to_numpy() / 24) / 365.25
    weekend = (hours.day_of_week.to_numpy() >= 5).astype(np.float64)
    columns: dict[str, FloatArray] = {"weekend": weekend}
    for name, wave in (("sin", np.sin), ("cos", np.cos)):
        columns |= {f"year_{name}_{k}": wave(k * year) for k in (1, 2)}
        columns |= {f"day_{name}_{k}": wave(k * day) for k in (2, 3, 4)}
        columns |= {f"weekend_day_{name}_{k}": weekend * wave(k * day) for k in (1, 2, 3)}
        for season, turn in (("sin", np.sin), ("cos", np.cos)):
            columns |= {f"year_{season}_day_{name}_{k}": turn(year) * wave(k * day) for k in (1, 2)}
    return {name: pd.Series(values, index=hours) for name, values in columns.items()}


def with_joined_classes(meters: Meters, least: int) -> Meters:
    """The same meters with classes of fewer customers joined with the next smallest one, the largest as the last."""
    segment, names = meters.segment.copy(), list(meters.segments)
    while len(names) > 1:
        sizes = np.bincount(segment, minlength=len(names))
        small, into = (int(g) for g in np.argsort(sizes, kind="stable")[:2])
        if sizes[small] >= least:
            break
        names[into] = f"{names[into]} and {names[small]}"
        segment[segment == small] = into
        segment[segment > small] -= 1
        del names[small]
    return replace(meters, segment=segment, segments=tuple(names))
