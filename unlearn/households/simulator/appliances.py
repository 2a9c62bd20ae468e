"""Appliances that people start when they are up: how often, when, for how long, with what power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray

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
