"""Who lives in the simulated households: segment, occupants, way of life, and what they own."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError
from unlearn.households.simulator.occupancy import KINDS

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


def require_share(name: str, value: float) -> float:
    """Return `value` if it lies between 0 and 1, both included."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise InputError(f"{name}: expected a share from 0 to 1, got {value!r}.")
    return float(value)


def _pick(chances: FloatArray, random: np.random.Generator) -> IntArray:
    """Draw one column per row with these chances."""
    level = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)
    return np.minimum((random.random(len(chances))[:, None] >= level).sum(axis=1), chances.shape[1] - 1)


def _owners(share: float, weight: FloatArray, random: np.random.Generator) -> np.ndarray:
    """Draw without replacement, the more likely the larger the weight."""
    # The smallest of exponential arrival times with these rates.
    arrival = random.exponential(size=len(weight)) / weight
    owns = np.zeros(len(weight), dtype=bool)
    owns[np.argsort(arrival, kind="stable")[: round(share * len(weight))]] = True
    return owns
