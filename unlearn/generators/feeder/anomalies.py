"""Anomalies as plug-ins: each turns the normal use of many meters into what they would report instead.

Register one's own, then name it in `GeneratorConfig.anomaly_types`:

>>> @register_anomaly("half")
... def half(use, random):
...     return AnomalyEffect(0.5 * use.kwh)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, short_repr
from unlearn.errors import InputError

#: Hours of the day that a night-time bypass acts on: from 22:00 to 05:00.
NIGHT = np.isin(np.arange(24), (22, 23, 0, 1, 2, 3, 4))


@short_repr
@dataclass(frozen=True)
class MeterUse:
    """Normal use of n meters over M months.

    Attributes:
        kwh: energy of each month, shape (n, M).
        hour_share: share of a month's energy that is expected in each hour of the day, shape (n, M, 24).
    """

    kwh: FloatArray
    hour_share: FloatArray


@short_repr
@dataclass(frozen=True)
class AnomalyEffect:
    """What anomalous meters report.

    Attributes:
        kwh: energy of each month, shape (n, M); finite, at least 0.
        hour_factor: what each hour of the day is multiplied by before the hours of a month are scaled to its energy;
            at least 0, not 0 for a whole day; broadcasts to (n, M, 24). None changes nothing.
        flat: months whose hours all hold the same energy, shape (n, M). None: no month.
    """

    kwh: FloatArray
    hour_factor: FloatArray | None = None
    flat: NDArray[np.bool_] | None = None


Anomaly: TypeAlias = Callable[[MeterUse, np.random.Generator], AnomalyEffect]

#: The known types of anomaly, by name.
ANOMALIES: dict[str, Anomaly] = {}


def register_anomaly(name: str) -> Callable[[Anomaly], Anomaly]:
    """Make a type of anomaly known under a name, as a decorator.

    Args:
        name: goes into the labels; letters, digits and underscores.

    Raises:
        InputError: the name is taken or no identifier.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"anomaly type: expected a name of letters, digits and underscores, got {name!r}.")
    if name in ANOMALIES:
        raise InputError(f"anomaly type {name!r}: the name is taken. Choose another.")

    def register(anomaly: Anomaly) -> Anomaly:
        ANOMALIES[name] = anomaly
        return anomaly

    return register


@register_anomaly("low_consumption")
def low_consumption(use: MeterUse, random: np.random.Generator) -> AnomalyEffect:
    """Sustained use of about 30 % of the baseline that declines over the months.

    The level is uniform from 15 to 45 % of normal use, the decline from the first to the last month 10 to 50 % of the
    level; the mean over the months is the level.
    """
    n, n_months = use.kwh.shape
    level = random.uniform(0.15, 0.45, (n, 1))
    decline = random.uniform(0.1, 0.5, (n, 1))
    elapsed = np.linspace(-0.5, 0.5, n_months) if n_months > 1 else np.zeros(1)
    return AnomalyEffect(use.kwh * level * (1 - decline * elapsed))


@register_anomaly("spike")
def spike(use: MeterUse, random: np.random.Generator) -> AnomalyEffect:
    """One to three successive months of 2 to 5 times the normal use."""
    n, n_months = use.kwh.shape
    length = random.integers(1, min(3, n_months) + 1, (n, 1))
    first = random.integers(0, n_months - length + 1)
    factor = random.uniform(2.0, 5.0, (n, 1))
    month = np.arange(n_months)
    return AnomalyEffect(np.where((month >= first) & (month < first + length), factor, 1.0) * use.kwh)


@register_anomaly("flatline")
def flatline(use: MeterUse, random: np.random.Generator) -> AnomalyEffect:
    """A stuck register: from a month in the first half on, its energy is reported again, the same each hour."""
    n, n_months = use.kwh.shape
    first = random.integers(0, (n_months + 1) // 2, (n, 1))
    stuck = np.arange(n_months) >= first
    return AnomalyEffect(np.where(stuck, np.take_along_axis(use.kwh, first, axis=1), use.kwh), flat=stuck)


@register_anomaly("night_bypass")
def night_bypass(use: MeterUse, random: np.random.Generator) -> AnomalyEffect:
    """The meter is bypassed from 22:00 to 05:00: 60 to 100 % of the use of these hours is missing."""
    missing = random.uniform(0.6, 1.0, (len(use.kwh), 1, 1)) * NIGHT
    lost = (use.hour_share * missing).sum(axis=2)
    return AnomalyEffect(use.kwh * (1 - lost), hour_factor=1 - missing)


def apply_anomaly(name: str, use: MeterUse, random: np.random.Generator) -> AnomalyEffect:
    """Apply a type of anomaly and refuse what a plug-in must not return."""
    effect = ANOMALIES[name](use, random)
    if not isinstance(effect, AnomalyEffect):
        raise InputError(f"anomaly type {name!r}: expected it to return an AnomalyEffect, got {type(effect).__name__}.")
    n, n_months = use.kwh.shape
    kwh = np.asarray(effect.kwh, dtype=np.float64)
    if kwh.shape != use.kwh.shape or not np.isfinite(kwh).all() or (kwh < 0).any():
        raise InputError(
            f"anomaly type {name!r}: expected finite energy of at least 0 and of shape {use.kwh.shape}, got shape "
            f"{kwh.shape} and values from {np.min(kwh, initial=0)} to {np.max(kwh, initial=0)}."
        )
    factor = np.asarray(1.0 if effect.hour_factor is None else effect.hour_factor, dtype=np.float64)
    try:
        factor = np.broadcast_to(factor, (n, n_months, 24))
    except ValueError as error:
        raise InputError(
            f"anomaly type {name!r}: expected hour_factor to broadcast to (meters, months, 24) = {(n, n_months, 24)}, "
            f"got shape {factor.shape}."
        ) from error
    if not np.isfinite(factor).all() or (factor < 0).any() or (factor.max(axis=2, initial=0) == 0).any():
        raise InputError(
            f"anomaly type {name!r}: expected finite hour factors of at least 0 that leave some hour of each day."
        )
    flat = np.zeros(kwh.shape, bool) if effect.flat is None else np.asarray(effect.flat)
    if flat.shape != kwh.shape or flat.dtype != bool:
        raise InputError(f"anomaly type {name!r}: expected flat as booleans of shape {kwh.shape}, got {flat.shape}.")
    return AnomalyEffect(kwh, factor, flat)
