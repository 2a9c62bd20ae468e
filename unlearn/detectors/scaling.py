"""Readings of each building on one scale, fitted on that building's training time only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import BoolArray, FloatArray, require_count, require_fraction, require_shape, short_repr
from unlearn.errors import DataError, InputError

if TYPE_CHECKING:
    from unlearn.households.buildings import BuildingSeries

#: Quantiles of a building's training time that become −1 and 1, so that a spike in it does not press the rest flat.
QUANTILES = (0.01, 0.99)


class Usable(NamedTuple):
    """Which buildings can be scaled, and why the others cannot."""

    kept: BoolArray
    few_readings: BoolArray
    constant: BoolArray


@short_repr
@dataclass(frozen=True, eq=False)
class ScaledSeries:
    """Readings of M buildings over T hours, each building on its own scale.

    Attributes:
        series: the readings in kWh, with names, hours and labels.
        value: `2 (kwh − low) / (high − low) − 1`, cut off at ± `limit`, NaN where there is no reading, shape (M, T),
            float32.
        low: of each building, kWh, shape (M,).
        high: of each building, kWh, shape (M,).
        fitted: the training time, hours that `low` and `high` were taken over, shape (T,).
        limit: where values are cut off.
    """

    series: BuildingSeries
    value: NDArray[np.float32]
    low: FloatArray
    high: FloatArray
    fitted: BoolArray
    limit: float


def training_time(series: BuildingSeries, share: float = 0.5) -> BoolArray:
    """The first share of the hours, in whole days, shape (T,)."""
    require_fraction("training_share", share)
    n_days = int(share * series.n_hours / 24)
    if n_days < 1:
        raise InputError(
            f"training_share: expected at least a day of training time, got {share:g} of {series.n_hours} hours."
        )
    return np.arange(series.n_hours) < 24 * n_days


def usable_buildings(series: BuildingSeries, fitted: BoolArray, least_hours: int = 168) -> Usable:
    """Tell which buildings have enough readings in training time, of more than one value.

    Args:
        series: readings.
        fitted: training time, shape (T,).
        least_hours: measured hours that a building must have in it.
    """
    require_count("least_hours", least_hours)
    there = series.measured & fitted
    few = there.sum(axis=1) < least_hours
    low, high = _range(series, fitted, ~few)
    constant = ~few & ~(high > low)
    return Usable(~few & ~constant, few, constant)


def scale(series: BuildingSeries, fitted: BoolArray, limit: float = 4.0) -> ScaledSeries:
    """Scale each building by quantiles of its own readings in training time; no other hour or building matters.

    Args:
        series: readings.
        fitted: training time, shape (T,).
        limit: scaled values beyond ± this are cut off, for a spike of a thousand times the normal use is no more
            anomalous than one of ten times.

    Raises:
        DataError: a building without two different readings in training time; see `usable_buildings`.
        InputError: a mask of another shape, or a limit not above 1.
    """
    require_shape("training time", fitted, (series.n_hours,))
    if not limit > 1:
        raise InputError(f"limit: expected a number above 1, the scaled end of the usual range, got {limit!r}.")
    low, high = _range(series, fitted, np.asarray((series.measured & fitted).any(axis=1)))
    flat = ~(high > low)
    if flat.any():
        name = series.buildings[int(np.argmax(flat))]
        raise DataError(
            f"{series.name}: expected readings of more than one value in training time, got none in {int(flat.sum())} "
            f"buildings, such as {name}. Leave them out with take(usable_buildings(...).kept)."
        )
    span = (high - low)[:, None]
    value = (2 * (series.kwh - low[:, None]) / span - 1).clip(-limit, limit)
    return ScaledSeries(series, value.astype(np.float32), low, high, fitted, limit)


def _range(series: BuildingSeries, fitted: BoolArray, asked: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Low and high quantile of each building that is asked for; NaN for the others."""
    seen = np.where(series.measured, series.kwh, np.nan)[:, fitted]
    found = np.full((2, len(series)), np.nan)
    if asked.any():
        found[:, asked] = np.nanquantile(seen[asked], QUANTILES, axis=1)
    return found[0], found[1]
