"""What goes on around appliances: the weather and daylight of London in half-hours, made up, and who is at home.

When a household is asleep, away or active is a Markov chain whose hazards follow the clock and the kind of day.

Appliances that people start when they are up: how often, when, for how long, with what power.

The technologies that change a household's load most stand here, too: electric heating, vehicles and solar cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, require_count
from unlearn.data.hours import autoregressive, parse_day
from unlearn.data.times import day_of_week_of
from unlearn.errors import InputError
from unlearn.households.profiles import STEPS

ASLEEP, AWAY, ACTIVE = 0, 1, 2

#: Ways of life, as `ROUTINES` lists them.
KINDS = ("working", "at home", "family", "irregular")

#: The chain starts at 4:00 UTC, when nearly everyone sleeps.
_FIRST = 8
_STEPS = 48

#: Per kind, working day then day off: hour of rising; hours of leaving, their width and peak hazard; hazard of leaving
#: at other hours; the same of returning; hour of going to bed. Hazards are per half-hour.
ROUTINES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "working": (
        (6.9, 8.3, 0.7, 0.50, 0.04, 18.2, 1.3, 0.36, 0.035, 23.0),
        (8.6, 12.5, 2.5, 0.10, 0.03, 17.0, 2.5, 0.22, 0.14, 23.6),
    ),
    "at home": (
        (7.8, 11.0, 2.0, 0.11, 0.03, 15.0, 3.0, 0.30, 0.18, 22.7),
        (8.2, 12.0, 2.0, 0.10, 0.03, 16.0, 3.0, 0.28, 0.18, 22.9),
    ),
    "family": (
        (6.7, 8.6, 0.5, 0.35, 0.05, 16.2, 1.2, 0.38, 0.12, 22.7),
        (7.9, 12.0, 2.5, 0.11, 0.03, 16.5, 2.5, 0.26, 0.14, 23.1),
    ),
    "irregular": (
        (9.0, 13.0, 4.0, 0.14, 0.06, 20.0, 4.0, 0.20, 0.10, 24.5),
        (9.8, 14.0, 4.0, 0.12, 0.06, 20.0, 4.0, 0.20, 0.10, 25.0),
    ),
}


def simulate_activity(
    kind: IntArray,
    shift: IntArray,
    away: NDArray[np.bool_],
    first_day: np.datetime64,
    random: np.random.Generator,
) -> NDArray[np.int8]:
    """Simulate the state of each household in each half-hour.

    Args:
        kind: position in `KINDS` of each household, shape (H,).
        shift: half-hours by which a household lives later than its kind, shape (H,).
        away: days on which a household is on holiday, shape (H, D).
        first_day: the first day.
        random: source of chance.

    Returns:
        `ASLEEP`, `AWAY` or `ACTIVE`, shape (H, 48 D), half-hours in UTC.
    """
    n_households, n_days = away.shape
    days = first_day + np.arange(-1, n_days)  # half of the first night belongs to the day before
    off = (day_of_week_of(days) >= 5).astype(np.int64)
    table = _hazards()
    local = _FIRST + 2 * summer_time(days)
    state = np.zeros((n_households, len(days)), dtype=np.int8)
    states = np.empty((n_households, len(days), _STEPS), dtype=np.int8)
    leaving = np.array([ACTIVE, ACTIVE, AWAY], dtype=np.int8)
    for step in range(_STEPS):
        clock = np.clip(local[None] + step - shift[:, None], 0, table.shape[-1] - 1)
        change, bed = table[:, state, kind[:, None], off[None], clock]
        chance = random.random(state.shape, dtype=np.float32)
        state = np.where(chance < change, leaving[state], np.where(chance < change + bed, ASLEEP, state))
        states[:, :, step] = state
    flat = states.reshape(n_households, -1)[:, _STEPS - _FIRST :][:, : _STEPS * n_days].copy()
    flat[np.repeat(away, _STEPS, axis=1)] = AWAY
    return flat


def _hazards() -> NDArray[np.float32]:
    """Hazards of (rising, returning, leaving) and of going to bed; shape (2, state, kind, day off, half-hours)."""
    hour = np.arange(2 * _STEPS) / 2
    table = np.zeros((2, 3, len(KINDS), 2, len(hour)), dtype=np.float32)

    def after(when: float, width: float) -> FloatArray:
        return 1 / (1 + np.exp(-(hour - when) / width))

    def around(when: float, width: float) -> FloatArray:
        return np.exp(-0.5 * ((hour - when) / width) ** 2)

    for k, name in enumerate(KINDS):
        for off, routine in enumerate(ROUTINES[name]):
            rise, out, out_width, out_peak, out_base, back, back_width, back_peak, back_base, bed = routine
            table[0, ASLEEP, k, off] = 0.012 + 0.4 * after(rise, 0.5) * (1 - after(bed - 1.0, 0.2))
            table[0, AWAY, k, off] = np.maximum(
                back_base, back_peak * np.maximum(around(back, back_width), hour > back)
            )
            table[0, ACTIVE, k, off] = np.where(hour < bed - 1.5, out_base, 0.0) + out_peak * around(out, out_width)
            table[1, ACTIVE, k, off] = 0.4 * after(bed, 0.8) + np.where(hour < rise - 1.0, 0.4, 0.0)
    return table


_LATITUDE = np.radians(51.5)


def london_weather(start: str = "2013-01-01", n_days: int = 365, random_state: int = 0) -> pd.DataFrame:
    """Make half-hourly temperature and irradiance with the climate of London.

    The temperature has a season (5 °C in January, 18 °C in July), a day (wider in summer) and fronts that last days;
    the irradiance follows the height of the sun and passing clouds.

    Args:
        start: first day.
        n_days: number of days D.
        random_state: `simulate_households` with the same seed, start and number of days lives in this weather.

    Returns:
        Columns `temperature_c` and `irradiance_w_m2` (on the level), index the 48 D half-hours in UTC by their start.

    Raises:
        InputError: a start that is not a date, fewer days than 1, or a negative seed.
    """
    hours = half_hours(start, n_days)
    random = generator(random_state, 1)
    season = 2 * np.pi * (hours.day_of_year.to_numpy() - 1) / 365.25
    clock = hours.hour.to_numpy() + hours.minute.to_numpy() / 60 + 0.25  # middle of the half-hour
    declination = -0.409 * np.cos(season + 0.17)
    height = np.sin(_LATITUDE) * np.sin(declination) - np.cos(_LATITUDE) * np.cos(declination) * np.cos(
        2 * np.pi * clock / 24
    )
    cloud = 1 / (1 + np.exp(-0.6 - 1.6 * autoregressive(random.standard_normal(len(hours)), 16.0)))
    irradiance = 990.0 * np.maximum(height, 0.0) ** 1.2 * (1 - 0.75 * cloud)
    swing = (2.6 - 1.4 * np.cos(season)) * (1.3 - 0.6 * cloud)
    temperature = (
        11.3
        - 6.8 * np.cos(season - 0.42)
        + swing * np.cos(2 * np.pi * (clock - 15.0) / 24)
        + 2.9 * autoregressive(random.standard_normal(len(hours)), 48.0 * 3.5)
    )
    return pd.DataFrame({"temperature_c": temperature, "irradiance_w_m2": irradiance}, index=hours)


def generator(random_state: int, stream: int) -> np.random.Generator:
    """Return one of several independent sources of chance of a seed."""
    if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer) or random_state < 0:
        raise InputError(f"random_state: expected a whole number of at least 0, got {random_state!r}.")
    return np.random.default_rng([int(random_state), stream])


def half_hours(start: str, n_days: int) -> pd.DatetimeIndex:
    """Starts of the half-hours of some days, UTC.

    Raises:
        InputError: a start that is not a date, or fewer days than 1.
    """
    first = parse_day("start", start)
    return pd.date_range(first, periods=STEPS * require_count("n_days", n_days), freq="30min", name="timestamp")


def summer_time(days: np.ndarray) -> IntArray:
    """Return 1 on days of British Summer Time, else 0: from the last Sunday of March to that of October.

    Args:
        days: datetime64[D], any shape.
    """
    year = days.astype("datetime64[Y]")

    def last_sunday(month: int) -> np.ndarray:
        last = (year.astype("datetime64[M]") + month).astype("datetime64[D]") - 1
        # 1970-01-04 was a Sunday.
        return last - (last.astype(np.int64) - 3) % 7

    return ((days >= last_sunday(3)) & (days < last_sunday(10))).astype(np.int64)


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
    timer_share: float = 0.35,
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
        timer_share: chance of a vehicle to be charged by timer.

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
    timer = random.random(len(who)) < timer_share
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
