"""Whose meters are summed up: a source of households with its weather, and simulated ones that no customer is among."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from unlearn.checks import short_repr
from unlearn.households import HouseholdProfiles
from unlearn.households.appliances import london_weather
from unlearn.households.io.sources import HouseholdSource, Simulator, load_households
from unlearn.households.meters import Meters
from unlearn.households.simulator import simulate_households

#: Seed of the simulated households that no customer is among, and of their weather.
OTHERS = 90210


@short_repr
@dataclass(frozen=True, eq=False)
class Population:
    """Households, and the weather that they live in where it is known.

    Attributes:
        households: their meters.
        weather: hourly or half-hourly measurements at the meters' hours, which hold nobody's data; None knows none.
    """

    households: HouseholdProfiles | Meters
    weather: pd.DataFrame | None = None


def population_of(source: HouseholdSource) -> Population:
    """Households of a source; the weather is known of simulated ones alone."""
    weather = (
        london_weather(source.start, source.n_days, source.random_state) if isinstance(source, Simulator) else None
    )
    return Population(load_households(source), weather)


def simulated_others(population: Population, n_households: int) -> Population:
    """Simulated households at the same days, in their own weather where that of the population is known."""
    own = population.households
    days = own.hours[[0, -1]] if isinstance(own, Meters) else pd.DatetimeIndex(own.days[[0, -1]])
    when = f"{days[0]:%Y-%m-%d}", (days[1].normalize() - days[0].normalize()).days + 1
    weather = None if population.weather is None else london_weather(*when, OTHERS)
    return Population(simulate_households(n_households, *when, random_state=OTHERS), weather)
