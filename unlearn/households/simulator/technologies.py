"""What changes a household's load most: electric heating, electric vehicles, and solar cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray
from unlearn.households.simulator.occupancy import ACTIVE, ASLEEP, AWAY

_STEPS = 48
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
