"""Who has an electric vehicle, told from a household's meter: the data of a pilot across utilities.

Readings may be real; who has a vehicle is simulated, for no meter data tells it: a seeded share of households gets
charging sessions added to their readings, by the rules of `unlearn.households.simulator`, and the label. Utilities
differ in how many households have a vehicle and in how many of those charge by timer, at night, as a tariff makes them.

`adoption_data(meters, ...)` makes the data; the study `federated` compares classifiers on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, FloatArray, IntArray, require_each_once, require_fraction, short_repr
from unlearn.data.simulated import derived, is_simulated
from unlearn.data.times import day_of_week_of
from unlearn.errors import DataError, InputError
from unlearn.households.appliances import ACTIVE, AWAY, charging_kwh, summer_time
from unlearn.households.meters import InMemory, Meters
from unlearn.households.profiles import STEPS

#: Features of a household, in their order; see `household_features`.
FEATURES = ("night share", "evening power", "night power", "high power", "high hours", "weekday share")
#: Mean and standard deviation that features are standardised with where the data may not say them: of 1,000 simulated
#: households of a year with `SHARES` of vehicles, rounded.
PUBLIC_SCALING = ((0.26, 0.51, 0.26, 0.82, 1.43, 0.49), (0.12, 0.29, 0.23, 0.42, 1.75, 0.03))

#: Share of households with a vehicle, and of those that charge by timer, of each utility, if nothing else is said.
SHARES = {"north": 0.10, "east": 0.15, "south": 0.20, "west": 0.25, "centre": 0.30}
TIMERS = {"north": 0.10, "east": 0.25, "south": 0.40, "west": 0.55, "centre": 0.70}

_HIGH_KWH = 3.0
_WEEKEND = 5


@short_repr
@dataclass(frozen=True, eq=False)
class AdoptionData:
    """Households of several utilities, described by their readings, and who of them has a vehicle.

    Attributes:
        name: where they come from.
        features: of each household, in the order of `FEATURES`, not standardised, shape (n, F).
        owns: who has a vehicle, simulated, shape (n,).
        utility: position of each household's utility in `utilities`, shape (n,).
        utilities: their names.
        test: households that are held out, shape (n,).
        rates: share of households with a vehicle in each utility, which counts as public.
    """

    name: str
    features: FloatArray
    owns: BoolArray
    utility: IntArray
    utilities: tuple[str, ...]
    test: BoolArray
    rates: tuple[float, ...]

    @property
    def simulated(self) -> bool:
        """Whether the readings, too, are a simulator's, so that noise may come from a seed."""
        return is_simulated(self.features)

    def _in_short(self) -> str:
        return f"{self.name}: {len(self)} households of {len(self.utilities)} utilities"

    def __len__(self) -> int:
        return len(self.owns)

    def training(self, utility: str | None = None) -> tuple[FloatArray, BoolArray]:
        """Features and labels of the households that are trained on: of one utility, or of all."""
        return self._rows(utility, ~self.test)

    def held_out(self, utility: str | None = None) -> tuple[FloatArray, BoolArray]:
        """Features and labels of the households that are held out: of one utility, or of all."""
        return self._rows(utility, self.test)

    def _rows(self, utility: str | None, chosen: BoolArray) -> tuple[FloatArray, BoolArray]:
        rows = chosen if utility is None else chosen & (self.utility == self.utilities.index(utility))
        return self.features[rows], self.owns[rows]


def adoption_data(
    meters: Meters,
    share_by_utility: Mapping[str, float] | None = None,
    seed: int = 0,
    timer_by_utility: Mapping[str, float] | None = None,
    test_share: float = 0.3,
) -> AdoptionData:
    """Divide households among utilities at random, give some a vehicle, and describe them all by their readings.

    >>> from unlearn.households import hourly_meters, simulate_households
    >>> data = adoption_data(hourly_meters(simulate_households(60, n_days=14, ev_share=0)), {"a": 0.2, "b": 0.4})
    >>> data.features.shape, int(data.owns.sum()), int(data.test.sum())
    ((60, 6), 18, 18)

    Args:
        meters: hourly readings, of households without vehicles as far as is known.
        share_by_utility: share of households with a vehicle in each utility; None takes `SHARES`.
        seed: of who belongs where, who has a vehicle, when it is charged, and who is held out.
        timer_by_utility: share of vehicles that are charged by timer in each utility; None takes `TIMERS` by name, and
            0.35 for other names.
        test_share: share of each utility's owners, and of its other households, that is held out.

    Raises:
        InputError: a share out of range, fewer utilities than 1, or timers of utilities that there are none of.
        DataError: a utility is left without an owner or another household in training or held out.
    """
    shares = dict(SHARES if share_by_utility is None else share_by_utility)
    require_each_once("share_by_utility", list(shares))
    for name, share in shares.items():
        require_fraction(f"share_by_utility of {name}", share)
    timers = {name: TIMERS.get(name, 0.35) for name in shares} | dict(timer_by_utility or {})
    if strangers := sorted(set(timers) - set(shares)):
        raise InputError(f"timer_by_utility: expected utilities among {sorted(shares)}, got {strangers}.")
    for name, share in timers.items():
        if not 0 <= share <= 1:
            raise InputError(f"timer_by_utility of {name}: expected a share from 0 to 1, got {share!r}.")
    require_fraction("test_share", test_share)
    random = np.random.default_rng(seed)
    utilities = tuple(shares)
    utility = random.permutation(np.arange(len(meters)) % len(shares)).astype(np.int64)
    owns, test = np.zeros(len(meters), dtype=bool), np.zeros(len(meters), dtype=bool)
    for i, name in enumerate(utilities):
        own = random.permutation(np.flatnonzero(utility == i))
        n_owners = round(shares[name] * len(own))
        owns[own[:n_owners]] = True
        for group in (own[:n_owners], own[n_owners:]):
            n_test = max(1, round(test_share * len(group)))
            if n_test >= len(group):
                raise DataError(
                    f"{meters.name}: expected households with and without a vehicle in training and held out of "
                    f"utility {name}, got too few. Take more households, or fewer utilities."
                )
            test[group[:n_test]] = True
    chance = np.array([timers[name] for name in utilities])[utility]
    features = np.concatenate(
        [
            household_features(kwh + _charging(meters.hours, owns[where], chance[where], random), meters, where)
            for where, kwh in meters.blocks("features")
        ]
    )
    if meters.simulated and isinstance(meters.source, InMemory):
        features = derived(features, meters.source.kwh)
    rates = tuple(float(owns[utility == i].mean()) for i in range(len(utilities)))
    return AdoptionData(meters.name, features, owns, utility, utilities, test, rates)


def household_features(kwh: FloatArray, meters: Meters, where: IntArray) -> FloatArray:
    """Describe households by their readings while their meters were there.

    Night share: energy from 22 to 6 h over all energy. Evening power: mean from 17 to 22 h; night power: from 0 to
    6 h; high power: 95th percentile; each as log(1 + kW). High hours: those above 3 kW, as log(1 + hours of 1,000).
    Weekday share: mean power on weekdays over the sum of that and the mean power at weekends. Hours are those of
    `meters`; a share of nothing is what an even load would have.

    Args:
        kwh: readings, shape (k, H).
        meters: whose hours and lives they are.
        where: positions of the households, shape (k,).

    Returns:
        Shape (k, F), in the order of `FEATURES`.
    """
    hour = np.arange(len(meters.hours))
    there = (hour >= meters.first[where, None]) & (hour < meters.end[where, None])
    clock = meters.hours.hour.to_numpy()
    weekend = day_of_week_of(meters.hours.to_numpy().astype("datetime64[D]")) >= _WEEKEND
    sets = np.stack(
        [(clock >= 22) | (clock < 6), (clock >= 17) & (clock < 22), clock < 6, ~weekend, weekend, clock >= 0], axis=1
    ).astype(np.float64)
    present = np.where(there, kwh, 0.0).astype(np.float64)
    energy, hours = present @ sets, there.astype(np.float64) @ sets
    mean = energy / np.maximum(hours, 1.0)
    both = mean[:, 3] + mean[:, 4]
    high = np.nanpercentile(np.where(there, kwh, np.nan), 95, axis=1)
    return np.stack(
        [
            np.where(energy[:, 5] > 0, energy[:, 0] / np.maximum(energy[:, 5], 1e-12), 1 / 3),
            np.log1p(mean[:, 1]),
            np.log1p(mean[:, 2]),
            np.log1p(high),
            np.log1p(1000 * (present > _HIGH_KWH).sum(axis=1) / np.maximum(hours[:, 5], 1.0)),
            np.where(both > 0, mean[:, 3] / np.maximum(both, 1e-12), 0.5),
        ],
        axis=1,
    )


def _charging(
    hours: pd.DatetimeIndex, owns: BoolArray, timer_chance: FloatArray, random: np.random.Generator
) -> FloatArray:
    """Energy that vehicles are charged with, in kWh, shape (k, H); 0 for households without."""
    first, last = (edge.to_datetime64().astype("datetime64[D]") for edge in (hours[0], hours[-1]))
    days, skipped = np.arange(first, last + 1), int(hours[0].hour)
    n_steps = len(days) * STEPS
    found = np.zeros((len(owns), len(hours)))
    timed = random.random(len(owns)) < timer_chance
    for by_timer in (False, True):
        who = np.flatnonzero(owns & (timed == by_timer))
        # People are back between 16 h and midnight, mostly about 18 h; on some days nobody drives.
        back = np.clip(36 + 3 * random.standard_normal((len(who), len(days))), 32, STEPS - 1)
        state = np.where(np.arange(STEPS) >= back[:, :, None], ACTIVE, AWAY).astype(np.int8)
        away = random.random((len(who), len(days))) < 0.08
        at, kwh = charging_kwh(
            np.ones(len(who), dtype=bool),
            state.reshape(len(who), n_steps),
            away,
            summer_time(days),
            random,
            float(by_timer),
        )
        steps = np.bincount(at, weights=kwh, minlength=len(who) * n_steps)
        by_hour = steps.reshape(len(who), n_steps * 24 // STEPS, STEPS // 24).sum(axis=2)
        found[who] = by_hour[:, skipped : skipped + len(hours)]
    return found
