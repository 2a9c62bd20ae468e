"""An embedded simulator of household meters: seeded, offline, 200 households of a year in about a second.

Who lives in the households is drawn first: segment, occupants, way of life, and what they own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, require_count
from unlearn.data.hours import autoregressive, parse_day
from unlearn.data.simulated import mark_simulated
from unlearn.data.times import day_of_week_of
from unlearn.errors import InputError
from unlearn.households.appliances import (
    ACTIVE,
    APPLIANCES,
    KINDS,
    charging_kwh,
    generator,
    heating_kwh,
    london_weather,
    run_appliance,
    simulate_activity,
    solar_kwh,
    summer_time,
)
from unlearn.households.by_household import HouseholdProfiles, household_profiles
from unlearn.households.io.sources import Simulator
from unlearn.households.profiles import STEPS

Array32 = NDArray[np.float32]

#: Households simulated at a time, which bounds the memory beside the result.
_BLOCK = 256


def simulate_households(
    n_households: int = Simulator.n_households,
    start: str = Simulator.start,
    n_days: int = Simulator.n_days,
    random_state: int = Simulator.random_state,
    ev_share: float = Simulator.ev_share,
    heat_pump_share: float = Simulator.heat_pump_share,
    solar_share: float = Simulator.solar_share,
) -> HouseholdProfiles:
    """Simulate what the electricity meters of London households count.

    A household of a segment has occupants and a way of life. A Markov chain by clock and kind of day says when its
    people are asleep, away or up; holidays and a habit of living early or late make households differ. Its load is
    standby, a fridge that cycles, what people use while they are up, light while it is dark, appliances that they start
    (each with its hours, duration and energy), a boiler's pump or electric heating that follows the weather, vehicles
    that are charged after driving, less solar power: a meter of import stops at 0. Habits drift over weeks.

    Tuned by hand to the moments of half-hourly data of the Low Carbon London trial (UK Power Networks, 2011 to 2014):
    mean about 0.21 kWh per half-hour, half of the households below 0.16, evening peak at 19 h, 1.4 times as much in
    winter as in summer. It contains none of that data.

    Args:
        n_households: number of households H.
        start: first day.
        n_days: number of days D.
        random_state: seed of the random generator; the same seed gives the same bits on one machine.
        ev_share: share of households with an electric vehicle, likelier where income is high.
        heat_pump_share: share with a heat pump.
        solar_share: share with solar cells.

    Returns:
        H x D profiles of 48 half-hours in UTC, each household's days in a row, energy in whole Wh. Labels of the
        households: `segment`, `occupants`, `routine`, `heating`, `ev`, `heat_pump`, `solar`. `london_weather` with the
        same start, number of days and seed is the weather that they live in.

    Raises:
        InputError: fewer households or days than 1, a share outside of 0 to 1, a start that is not a date, or
            a negative seed.
    """
    require_count("n_households", n_households)
    shares = {"ev": ev_share, "heat_pump": heat_pump_share, "solar": solar_share}
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float | np.number) or not 0 <= share <= 1:
            raise InputError(f"{name}_share: expected a share from 0 to 1, got {share!r}.")
    weather = london_weather(start, n_days, random_state)
    households = draw_population(n_households, shares, generator(random_state, 0))
    first = parse_day("start", start)
    kwh = np.empty((n_households, len(weather)), dtype=np.float32)
    for block, begin in enumerate(range(0, n_households, _BLOCK)):
        rows = slice(begin, begin + _BLOCK)
        kwh[rows] = _simulate(households.iloc[rows], weather, first, generator(random_state, 2 + block))
    return household_profiles(
        "simulated households",
        mark_simulated(kwh.reshape(-1, STEPS)),
        np.repeat(np.arange(n_households), n_days),
        first + np.tile(np.arange(n_days), n_households),
        households,
        SEGMENTS,
    )


def _simulate(
    households: pd.DataFrame, weather: pd.DataFrame, first: np.datetime64, random: np.random.Generator
) -> Array32:
    """Simulate all meters, shape (H, 48 D), kWh in whole Wh."""
    n_households, n_days = len(households), len(weather) // STEPS
    summer = summer_time(first + np.arange(n_days))
    local = (np.tile(np.arange(STEPS), n_days) + np.repeat(2 * summer, STEPS)) % STEPS
    occupants = households["occupants"].to_numpy()
    rank = pd.Index(SEGMENTS).get_indexer(pd.Index(households["segment"]))
    shift = np.clip(np.rint(2.0 * random.standard_normal(n_households)), -6, 7).astype(np.int64)
    away = _holidays(n_households, n_days, random)
    kind = pd.Index(KINDS).get_indexer(pd.Index(households["routine"]))
    state = simulate_activity(kind, shift, away, first, random)
    up = state == ACTIVE

    # How much a household uses beside its size: its habits, which drift over weeks, and this day's mood.
    habit = np.exp(0.68 * random.standard_normal(n_households) + np.asarray([0.16, -0.17, -0.19])[rank])
    drift = 0.30 * autoregressive(random.standard_normal((n_households, n_days)), 40.0, axis=1)
    level = habit[:, None] * np.exp(drift + 0.10 * random.standard_normal((n_households, n_days)))

    kwh = _background(households, habit, weather, random)
    kwh += _while_up(up, level, weather, occupants, random)
    flat = kwh.reshape(-1)
    cold = np.clip((11.0 - weather["temperature_c"].to_numpy().reshape(-1, STEPS).mean(axis=1)) / 8.0, -1.0, 1.5)
    off = (day_of_week_of(first + np.arange(n_days)) >= 5).astype(np.int64)
    for appliance in APPLIANCES:
        owned = random.random(n_households) < np.asarray(appliance.owned)[rank]
        often = owned * appliance.per_day * occupants**appliance.by_occupants
        by_day = np.where(off, appliance.day_off, 1.0) * np.maximum(1 + appliance.winter * cold, 0.0)
        at, energy = run_appliance(appliance, often[:, None] * level * by_day, shift, local[::STEPS], up, random)
        np.add.at(flat, at, energy.astype(np.float32))
    felt = weather["temperature_c"].ewm(halflife=16).mean().to_numpy()
    who, heat = heating_kwh(households, state, felt, local, random)
    kwh[who] += heat
    at, energy = charging_kwh(households["ev"].to_numpy(), state, away, summer, random)
    np.add.at(flat, at, energy.astype(np.float32))
    owns = households["solar"].to_numpy()
    kwh[owns] -= solar_kwh(owns, weather["irradiance_w_m2"].to_numpy(), random)
    return np.round(np.maximum(kwh, 0), 3).astype(np.float32, copy=False)


def _holidays(n_households: int, n_days: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Days on which nobody is at home, shape (H, D)."""
    begins = random.random((n_households, n_days)) < 2.6 / 365
    household, day = np.nonzero(begins)
    lasts = random.integers(2, 15, len(day))
    change = np.zeros((n_households, n_days + 1), dtype=np.int64)
    np.add.at(change, (household, day), 1)
    np.add.at(change, (household, np.minimum(day + lasts, n_days)), -1)
    return np.cumsum(change, axis=1)[:, :-1] > 0


def _background(
    households: pd.DataFrame, habit: FloatArray, weather: pd.DataFrame, random: np.random.Generator
) -> Array32:
    """Standby and fridges, which run whoever is at home, shape (H, 48 D)."""
    n_households, time = len(households), np.arange(len(weather), dtype=np.float32)
    occupants = households["occupants"].to_numpy()
    standby_kw = 0.053 * occupants**0.45 * habit**0.5 * np.exp(0.85 * random.standard_normal(n_households))
    # Some households switch everything off, and then the meter stands still while the fridge rests.
    spartan = random.random(n_households) < 0.10
    standby_kw[spartan] = 0.0
    fridge_kw = 0.034 * occupants**0.2 * np.exp(0.35 * random.standard_normal(n_households))
    warm = 1 + 0.02 * (weather["temperature_c"].to_numpy() - 11.0)
    cycle = random.uniform(1.4, 4.5, n_households)
    turns = time / cycle[:, None].astype(np.float32) + random.random((n_households, 1), dtype=np.float32)
    turns -= np.floor(turns)
    duty = np.where(spartan, random.uniform(0.5, 0.85, n_households), 0.6)[:, None]
    depth = np.where(spartan, 1.0, random.uniform(0.2, 0.6, n_households))[:, None]
    running = np.where(turns < duty, 1 - depth + depth / duty, 1 - depth)
    return (0.5 * (standby_kw[:, None] + fridge_kw[:, None] * warm * running)).astype(np.float32)


def _while_up(
    up: NDArray[np.bool_], level: FloatArray, weather: pd.DataFrame, occupants: IntArray, random: np.random.Generator
) -> Array32:
    """Small devices and light while people are up, and the boiler's pump while it is cold, shape (H, 48 D)."""
    n_households = len(up)
    dark = 1 / (1 + np.exp((weather["irradiance_w_m2"].to_numpy() - 60.0) / 25.0))
    light_kw = 0.12 * occupants**0.35 * np.exp(0.5 * random.standard_normal(n_households))
    devices_kw = 0.068 * occupants**0.5 * np.exp(0.5 * random.standard_normal(n_households))
    pump_kw = 0.09 * np.clip((14.0 - weather["temperature_c"].to_numpy()) / 10.0, 0.0, 1.0)
    per_step = 0.5 * (
        light_kw[:, None].astype(np.float32) * dark.astype(np.float32)
        + devices_kw[:, None].astype(np.float32)
        + pump_kw.astype(np.float32)
    )
    level_step = np.repeat(level.astype(np.float32), STEPS, axis=1)
    ripple = random.random(up.shape, dtype=np.float32) + np.float32(0.5)
    return per_step * level_step * ripple * up


#: Customer segments by falling income, as the grouped Acorn names them.
SEGMENTS = ("Affluent", "Comfortable", "Adversity")

_SEGMENT_SHARE = (0.37, 0.27, 0.36)
#: Chance of 1, 2, ... 6 occupants, per segment.
_OCCUPANTS = (
    (0.27, 0.38, 0.15, 0.14, 0.05, 0.01),
    (0.33, 0.34, 0.15, 0.12, 0.05, 0.01),
    (0.40, 0.28, 0.14, 0.10, 0.06, 0.02),
)
#: Chance of each way of life of a household of one or two, and of more, per segment.
_KIND_OF_FEW = ((0.58, 0.24, 0.0, 0.18), (0.50, 0.32, 0.0, 0.18), (0.38, 0.42, 0.0, 0.20))
_KIND_OF_MANY = ((0.30, 0.12, 0.48, 0.10), (0.27, 0.17, 0.46, 0.10), (0.20, 0.28, 0.40, 0.12))
#: How likely a household of a segment is to own a technology, relative to the others.
_ADOPTION = {"ev": (2.2, 0.9, 0.3), "heat_pump": (1.8, 1.0, 0.5), "solar": (1.7, 1.1, 0.5)}
#: Gas boiler, direct electric heating, storage heaters.
HEATING = ("gas", "electric", "storage")
_HEATING_SHARE = ((0.925, 0.06, 0.015), (0.915, 0.065, 0.02), (0.89, 0.075, 0.035))


def draw_population(n_households: int, shares: dict[str, float], random: np.random.Generator) -> pd.DataFrame:
    """Draw the households.

    Args:
        n_households: number of households H.
        shares: share of households with `ev`, `heat_pump` and `solar`, 0 to 1; the nearest whole number of households
            has each.
        random: source of chance.

    Returns:
        A row per household: `household_id`, `segment`, `occupants` (1 to 6), `routine` (a way of life), `heating`,
        `ev`, `heat_pump`, `solar`. A heat pump takes the place of other electric heating.
    """
    rank = _pick(np.tile(_SEGMENT_SHARE, (n_households, 1)), random)
    occupants = 1 + _pick(np.asarray(_OCCUPANTS)[rank], random)
    kinds = np.where((occupants > 2)[:, None], np.asarray(_KIND_OF_MANY)[rank], np.asarray(_KIND_OF_FEW)[rank])
    routine = _pick(kinds, random)
    heating = _pick(np.asarray(_HEATING_SHARE)[rank], random)
    owns = {name: _owners(shares[name], np.asarray(weights)[rank], random) for name, weights in _ADOPTION.items()}
    heating[owns["heat_pump"]] = HEATING.index("gas")
    return pd.DataFrame(
        {
            "household_id": [f"SIM{i:06d}" for i in range(n_households)],
            "segment": np.asarray(SEGMENTS)[rank],
            "occupants": occupants,
            "routine": np.asarray(KINDS)[routine],
            "heating": np.where(owns["heat_pump"], "heat pump", np.asarray(HEATING)[heating]),
            **owns,
        }
    )


def _pick(chances: FloatArray, random: np.random.Generator) -> IntArray:
    level = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)
    return np.minimum((random.random(len(chances))[:, None] >= level).sum(axis=1), chances.shape[1] - 1)


def _owners(share: float, weight: FloatArray, random: np.random.Generator) -> np.ndarray:
    """Draw without replacement, the more likely the larger the weight."""
    # The smallest of exponential arrival times with these rates.
    arrival = random.exponential(size=len(weight)) / weight
    owns = np.zeros(len(weight), dtype=bool)
    owns[np.argsort(arrival, kind="stable")[: round(share * len(weight))]] = True
    return owns
