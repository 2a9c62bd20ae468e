"""Utilities with feeders of their own in one layout: households at random, and what forecasts of each utility cost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from unlearn.checks import FloatArray, short_repr
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles, hourly_meters, simulate_households
from unlearn.households.assignment import customer_loads, spread
from unlearn.households.customers import CustomerLoads
from unlearn.households.meters import Meters
from unlearn.privacy.federated.designs import NetworkDesign
from unlearn.records import RecordTable
from unlearn.studies._shared.study import METRICS, measure_forecast, sample_hours
from unlearn.studies.federated.options import FederatedOptions

_logger = logging.getLogger(__name__)

#: Seed of the simulated households that are nobody's customers.
PUBLIC_SEED = 90210
#: Metrics of forecasts that records keep.
KEPT_METRICS = ("mse", "mape", "cost")
#: Forecasts in p.u., shape (n, B), of features, shape (n, B, F).
Forecast = Callable[[FloatArray], FloatArray]


@short_repr
@dataclass(frozen=True, eq=False)
class Member:
    """One utility.

    Attributes:
        name: within the federation.
        meters: hourly readings of its customers.
        load_of: feeder of each customer, by name.
        dataset: sums over feeders, scaled to the loads of its own copy of the grid.
    """

    name: str
    meters: Meters
    load_of: Mapping[str, str]
    dataset: CustomerLoads

    def _in_short(self) -> str:
        return f"{self.name}: {len(self.meters)} customers at {self.dataset.n_loads} feeders"


@short_repr
@dataclass(frozen=True, eq=False)
class Setting:
    """A federation for one seed.

    Attributes:
        members: utilities.
        meters: of all their customers.
        cost: the grid, of which each utility has a copy.
        options: what is measured.
        seed: of who belongs to which utility and feeder.
        known: what several parts train, once it is trained.
    """

    members: tuple[Member, ...]
    meters: Meters
    cost: OperatingCost
    options: FederatedOptions
    seed: int
    known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def _in_short(self) -> str:
        return f"seed {self.seed}, {len(self.members)} utilities, {len(self.meters)} customers"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(own.name for own in self.members)

    @property
    def datasets(self) -> dict[str, CustomerLoads]:
        """Loads of every utility, by its name."""
        return {own.name: own.dataset for own in self.members}

    @property
    def leaver(self) -> Member:
        """The utility that leaves, or whose customer does."""
        return self.members[-1]

    def leaving_customers(self, n: int, draw: int = 0) -> dict[str, tuple[str, ...]]:
        """So many customers by utility, spread over them, drawn at random among feeders that keep somebody."""
        random = np.random.default_rng((self.seed, 1, draw))
        left: dict[str, list[str]] = {}
        # From the last utility on, so that one customer is one of the leaver's.
        order = [self.members[-1 - i % len(self.members)] for i in range(n)]
        for own in order:
            gone = left.setdefault(own.name, [])
            feeders = pd.Series({one: own.load_of[one] for one in own.meters.customer_ids if one not in gone})
            sizes = feeders.map(feeders.value_counts())
            choice = sizes[sizes > 1].index
            if not len(choice):
                raise InputError(
                    f"federated.leavers: expected feeders that keep a customer each, got {n} leavers of "
                    f"{len(self.meters)} customers. Take fewer leavers or more households."
                )
            gone.append(str(random.choice(choice)))
        return {name: tuple(gone) for name, gone in left.items()}

    def never_joined(self, leaving: Mapping[str, Iterable[str]]) -> dict[str, CustomerLoads]:
        """Loads of all utilities as if some customers had never been there, built from the others' meters alone."""
        found = {}
        for own in self.members:
            gone = set(leaving.get(own.name, ()))
            kept = [i for i, one in enumerate(own.meters.customer_ids) if one not in gone]
            found[own.name] = own.dataset if not gone else self._loads(own.meters.take(np.array(kept)), own.load_of)
        return found

    def _loads(self, meters: Meters, load_of: Mapping[str, str]) -> CustomerLoads:
        return loads_at_feeders(meters, load_of, self.cost, self.options)

    @cached_property
    def public(self) -> CustomerLoads:
        """Feeders of simulated households on the same days, nobody's customers, in the same layout."""
        hours = self.meters.hours
        days = (hours[-1].normalize() - hours[0].normalize()).days + 1
        made = hourly_meters(
            simulate_households(self.options.public, f"{hours[0]:%Y-%m-%d}", days, random_state=PUBLIC_SEED)
        )
        made = made.between(hours[0], hours[-1] + pd.Timedelta(hours=1))
        return self._loads(made, spread(made.customer_ids, self.n_feeders, 0))

    @cached_property
    def extractor(self) -> NetworkDesign:
        """A Mixer's extractor that was trained on the public households alone."""
        from unlearn.forecasters.network import NetworkForecaster, fit_network

        made = fit_network(self.public, "mixer", self.options.training, self.seed)
        assert isinstance(made, NetworkForecaster)
        return NetworkDesign.of(made)

    @property
    def n_feeders(self) -> int:
        return len(self.cost.case.nominal_load_mw)

    def add_forecasts(
        self, table: RecordTable, datasets: Mapping[str, LoadDataset], forecasts: Mapping[str, Forecast], **columns: str
    ) -> None:
        """Add error and cost of forecasts of each utility's test hours."""
        for name, dataset in tqdm(datasets.items(), desc="forecasts", leave=False, delay=2):
            rows = sample_hours(dataset.split.test, self.options.hours)
            forecast = torch.from_numpy(np.ascontiguousarray(forecasts[name](dataset.features[rows])))
            found = measure_forecast(forecast, dataset, rows, self.cost).means(rows)
            for metric in KEPT_METRICS:
                table.add(metric, found[metric], METRICS[metric], utility=name, **columns)


def loads_at_feeders(
    meters: Meters, load_of: Mapping[str, str], cost: OperatingCost, options: FederatedOptions
) -> CustomerLoads:
    """Loads of one utility's feeders with loads of earlier hours, the largest training hour at the nominal load."""
    case = cost.case
    own = {one: load_of[one] for one in meters.customer_ids}
    names = [f"bus_{b + 1}" for b in range(len(case.nominal_load_mw))]
    made = customer_loads(meters, own, load_names=names, lags=list(options.lags))
    return made.scaled_to(case.nominal_load_mw, "train", case.base_mva)


def meters_of(households: HouseholdProfiles | Meters) -> Meters:
    """Hourly meters of the households that have every hour."""
    meters = households if isinstance(households, Meters) else hourly_meters(households, with_gaps="leave_out")
    whole = np.flatnonzero((meters.first == 0) & (meters.end == len(meters.hours)))
    if not len(whole):
        raise InputError(f"{meters.name}: expected households that have all hours of the year, got none.")
    if len(whole) < len(meters):
        _logger.info("federated: %d of %d households have all hours; the others are left out", len(whole), len(meters))
    return meters if len(whole) == len(meters) else meters.take(whole)


def make_setting(meters: Meters, cost: OperatingCost, options: FederatedOptions, seed: int) -> Setting:
    """Divide households among utilities, and those of each among its feeders, at random and evenly.

    Args:
        meters: of `meters_of`.
        cost: the grid, whose loads are the feeders of each utility.
        options: what is measured.
        seed: of the division.

    Raises:
        InputError: fewer households than two at each feeder of each utility.
    """
    n_feeders = len(cost.case.nominal_load_mw)
    least = 2 * n_feeders * options.utilities
    if len(meters) < least:
        raise InputError(
            f"{meters.name}: expected at least {least} households with all hours, two at each of {n_feeders} feeders "
            f"of {options.utilities} utilities, so that a customer can leave; got {len(meters)}."
        )
    order = np.random.default_rng(seed).permutation(len(meters))
    members = []
    for i in range(options.utilities):
        own = meters.take(np.sort(order[i :: options.utilities]))
        load_of = spread(own.customer_ids, n_feeders, seed)
        members.append(Member(f"utility_{i + 1}", own, load_of, loads_at_feeders(own, load_of, cost, options)))
    return Setting(tuple(members), meters, cost, options, seed)
