"""Appliances that people start when they are up: how often, when, for how long, with what power.

The technologies that change a household's load most stand here, too: electric heating, vehicles and solar cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray
from unlearn.households.simulator.surroundings import ACTIVE, ASLEEP, AWAY

_STEPS = 48


@dataclass(frozen=True)
class Appliance:
    """A kind of appliance.

    Attributes:
        name: what it is.
        per_day: attempts to start it on a day in a household of one; an attempt while nobody is up comes to nothing.
        by_occupants: exponent of the number of occupants.
        kwh: energy of each half-hour of a run.
        spread: standard deviation of the logarithm of a run's energy.
        hours: (hour, width in hours, weight) of the local times at which it is started.
        owned: share of households that own it: Affluent, Comfortable, Adversity.
        day_off: factor of `per_day` at weekends.
        winter: relative rise of `per_day` from the yearly mean to the coldest days.
    """

    name: str
    per_day: float
    by_occupants: float
    kwh: tuple[float, ...]
    spread: float
    hours: tuple[tuple[float, float, float], ...]
    owned: tuple[float, float, float]
    day_off: float = 1.0
    winter: float = 0.0

    def clock(self) -> FloatArray:
        """Chance of each local half-hour, shape (48,)."""
        hour = (np.arange(_STEPS) + 0.5) / 2
        bumps = [
            weight / width * np.exp(-0.5 * (((hour - centre + 12) % 24 - 12) / width) ** 2)
            for centre, width, weight in self.hours
        ]
        total = np.sum(bumps, axis=0)
        return total / total.sum()


_MEALS = ((7.9, 1.2, 0.28), (12.7, 1.4, 0.32), (18.3, 2.2, 0.40))
_CHORES = ((10.0, 1.9, 0.5), (14.5, 2.5, 0.32), (19.0, 2.0, 0.18))

#: Powers and frequencies of British homes; the shares that own them differ among segments.
# fmt: off
APPLIANCES = (
    Appliance("kettle", 3.4, 0.5, (0.08,), 0.35, ((7.5, 1.2, 0.3), (11, 2, 0.35), (16, 3, 0.35)), (0.98, 0.98, 0.98)),
    Appliance("microwave", 1.2, 0.4, (0.10,), 0.4, _MEALS, (0.93, 0.93, 0.92)),
    Appliance("toaster", 0.7, 0.6, (0.06,), 0.3, ((7.8, 1.0, 0.8), (12, 2, 0.2)), (0.9, 0.9, 0.85)),
    Appliance("hob", 0.75, 0.5, (0.22, 0.15), 0.4, ((12.7, 1.6, 0.42), (18.3, 2, 0.58)), (0.42, 0.40, 0.40), 1.1, 0.15),
    Appliance("oven", 0.34, 0.4, (0.5, 0.35), 0.3, ((13, 1.8, 0.42), (18.2, 2, 0.58)), (0.65, 0.6, 0.5), 1.3, 0.25),
    Appliance("washing machine", 0.30, 0.7, (0.34, 0.16, 0.07, 0.06), 0.3, _CHORES, (0.97, 0.96, 0.94), 1.4),
    Appliance("tumble dryer", 0.16, 0.8, (0.7, 0.6, 0.3), 0.25, _CHORES, (0.42, 0.32, 0.24), 1.3, 0.7),
    Appliance("dishwasher", 0.5, 0.4, (0.5, 0.2, 0.3), 0.15, ((9.8, 2, 0.35), (20.8, 1.6, 0.65)), (0.52, 0.3, 0.12)),
    Appliance("shower", 0.6, 0.9, (0.5,), 0.35, ((7.8, 1.3, 0.7), (20.5, 2.0, 0.3)), (0.18, 0.22, 0.28)),
    Appliance("television", 3.0, 0.4, (0.06,) * 4, 0.4, ((11, 3, 0.5), (19.4, 2.8, 0.5)), (0.98, 0.98, 0.97), 1.1, 0.2),
    Appliance("computer", 1.5, 0.6, (0.05,) * 5, 0.5, ((11, 3, 0.5), (20, 3, 0.5)), (0.9, 0.8, 0.65), 1.0, 0.1),
    Appliance("iron or cleaner", 0.16, 0.6, (0.35,), 0.4, _CHORES, (0.97, 0.95, 0.9), 1.6),
    Appliance("heater", 0.55, 0.2, (0.55,) * 4, 0.4, ((8.5, 2, 0.4), (19, 2.8, 0.6)), (0.12, 0.16, 0.2), 1.1, 1.0),
)
# fmt: on


def run_appliance(
    appliance: Appliance,
    attempts: FloatArray,
    shift: IntArray,
    local_step: IntArray,
    up: NDArray[np.bool_],
    random: np.random.Generator,
) -> tuple[IntArray, FloatArray]:
    """Draw the runs of one kind of appliance.

    Args:
        appliance: the kind.
        attempts: expected attempts of each household and day, shape (H, D).
        shift: half-hours by which a household lives later than others, shape (H,).
        local_step: local half-hour (0 to 47) at which each UTC day begins, shape (D,).
        up: whether someone is up, shape (H, 48 D).
        random: source of chance.

    Returns:
        Positions in the flattened (H, 48 D) half-hours, and the kWh used there; a position may come more than once.
    """
    n_steps = up.shape[1]
    counts = random.poisson(attempts)
    household, day = (np.repeat(values.ravel(), counts.ravel()) for values in np.indices(counts.shape))
    local = np.searchsorted(np.cumsum(appliance.clock()), random.random(len(day)), side="right")
    step = (np.minimum(local, _STEPS - 1) + shift[household] - local_step[day]) % _STEPS
    start = day * _STEPS + step
    started = up[household, start]
    household, start = household[started], start[started]
    scale = np.exp(appliance.spread * random.standard_normal(len(start)))
    at = start[:, None] + np.arange(len(appliance.kwh))
    energy = scale[:, None] * np.asarray(appliance.kwh)
    inside = at < n_steps
    return (household[:, None] * n_steps + at)[inside], energy[inside]


_BASE_C = 15.5  # below this outside temperature British homes heat


def heating_kwh(
    households: pd.DataFrame,
    state: NDArray[np.int8],
    felt_c: FloatArray,
    local_step: IntArray,
    random: np.random.Generator,
) -> tuple[IntArray, FloatArray]:
    """Electricity for heating of the households that use more of it than a boiler's pump.

    Direct heaters and heat pumps follow the temperature while people are up, and hold a lower one else; storage
    heaters charge at night for the day. A heat pump needs the less the warmer it is outside.

    Args:
        households: as `draw_population` gives them, H rows.
        state: as `simulate_activity` gives it, shape (H, 48 D).
        felt_c: outside temperature as a building feels it, °C, shape (48 D,).
        local_step: local half-hour of each half-hour, shape (48 D,).
        random: source of chance.

    Returns:
        Positions of these households, and their kWh, shape (positions, 48 D).
    """
    heating = households["heating"].to_numpy()
    who = np.flatnonzero(heating != "gas")
    need_k = np.maximum(_BASE_C - felt_c, 0.0)
    leak_kw = 0.105 * np.sqrt(households["occupants"].to_numpy()[who]) * np.exp(0.35 * random.standard_normal(len(who)))
    comfort = np.where(state[who] == ACTIVE, 1.0, np.where(state[who] == ASLEEP, 0.3, 0.2))
    thermal = 0.5 * leak_kw[:, None] * need_k * comfort
    kind = heating[who]
    pump = kind == "heat pump"
    # Seasonal performance of air-source pumps in Britain is about 2.8; in frost it nears 2. They run more evenly.
    performance = np.clip(2.9 + 0.07 * (felt_c - 7.0), 1.8, 4.0)
    smooth = 0.5 * leak_kw[:, None] * need_k * (0.65 + 0.35 * comfort) * 1.9
    thermal[pump] = smooth[pump] / performance
    storage = kind == "storage"
    night = ((local_step >= 1) & (local_step < 14)) / 13.0
    daily = np.repeat(need_k.reshape(-1, _STEPS).mean(axis=1), _STEPS) * 0.5 * _STEPS
    thermal[storage] = (0.55 * leak_kw[:, None] * daily * night)[storage]
    return who, np.minimum(thermal * np.exp(0.15 * random.standard_normal(thermal.shape)), 4.5)


def charging_kwh(
    owns: NDArray[np.bool_],
    state: NDArray[np.int8],
    away: NDArray[np.bool_],
    summer: IntArray,
    random: np.random.Generator,
) -> tuple[IntArray, FloatArray]:
    """Electricity for vehicles, charged at home in the evening or, by timer, at night.

    A household drives some km on each day that it is not on holiday; once the battery lacks enough, it is charged:
    after the first return from 16:00 on, or from 0:30 on.

    Args:
        owns: which households have a vehicle, shape (H,).
        state: as `simulate_activity` gives it, shape (H, 48 D).
        away: days of holiday, shape (H, D).
        summer: 1 on days of summer time, shape (D,).
        random: source of chance.

    Returns:
        Positions in the flattened (H, 48 D) half-hours, and the kWh charged there.
    """
    who = np.flatnonzero(owns)
    n_days = away.shape[1]
    weekly_km = 190.0 * np.exp(0.45 * random.standard_normal(len(who)))
    km = weekly_km[:, None] / 7 * random.gamma(1.3, 1 / 1.3, (len(who), n_days)) * ~away[who]
    threshold = random.uniform(4.0, 16.0, len(who))[:, None]
    used = np.cumsum(0.19 * km, axis=1)
    charges = np.diff(np.floor(used / threshold), axis=1, prepend=0.0)
    vehicle, day = np.nonzero(charges)
    energy = np.minimum(charges[vehicle, day] * threshold[vehicle, 0], 38.0)
    home = (state[who] != AWAY).reshape(len(who), n_days, _STEPS)[vehicle, day]
    arrival = 32 - 2 * summer[day]
    late = np.arange(_STEPS)[None] >= arrival[:, None]
    returned = late & home
    evening = np.where(returned.any(axis=1), np.argmax(returned, axis=1), _STEPS - 1)
    timer = random.random(len(who)) < 0.35
    start = day * _STEPS + np.where(timer[vehicle], _STEPS + 1 - 2 * summer[day], evening)
    per_step = np.where(random.random(len(who)) < 0.6, 1.8, 3.5)[vehicle]
    step = np.arange(24)
    amount = np.clip(energy[:, None] - step * per_step[:, None], 0.0, per_step[:, None])
    at = start[:, None] + step
    inside = (at < n_days * _STEPS) & (amount > 0)
    return (who[vehicle][:, None] * (n_days * _STEPS) + at)[inside], amount[inside]


def solar_kwh(owns: NDArray[np.bool_], irradiance: FloatArray, random: np.random.Generator) -> FloatArray:
    """Electricity of the solar cells of the households that have them, shape (owners, 48 D).

    Args:
        owns: which households have cells, shape (H,).
        irradiance: on the level, W/m², shape (48 D,).
        random: source of chance.
    """
    n_owners = int(owns.sum())
    peak_kw = random.uniform(1.5, 4.0, n_owners)
    # A tilted roof sees more than the level, the inverter and dirt take some.
    yield_ = random.uniform(0.8, 1.05, n_owners)
    return 0.5 * (peak_kw * yield_)[:, None] * irradiance / 1000.0
