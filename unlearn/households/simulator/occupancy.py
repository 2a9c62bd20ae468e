"""When a household is asleep, away or active: a Markov chain whose hazards follow the clock and the kind of day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray
from unlearn.data.times import day_of_week_of
from unlearn.households.simulator.weather import summer_time

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
