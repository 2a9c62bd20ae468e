"""Readings with bounds that hold exactly, in whole steps, and how far one contributor can then move sums and counts.

Everything a household does is bounded by a rule that sees this household alone, so that one more or less never changes
what others contribute.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, require_shape
from unlearn.errors import InputError
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release.base import Contribution, Sensitivity, View

#: Sums over up to so many households stay below 2⁶².
_HOUSEHOLDS = 2**22


def bounded_steps(kwh: FloatArray | NDArray[np.float32], contribution: Contribution, view: View) -> IntArray:
    """Readings in whole steps of `RESOLUTION_KWH`, within the bounds of a contribution.

    In this order: each reading is rounded towards 0 and clipped to [0, `steps_per_hour`]; of a household's days that
    have a reading above 0 the first `days` are kept, at "household"; a day with more than `steps_per_day` is scaled
    down and rounded down. What is within all bounds stays as it is.

    >>> import pandas as pd
    >>> view = View(pd.date_range("2013-01-01", periods=3, freq="h"), ("all",))
    >>> steps = bounded_steps(np.array([[1.0, 9.0, 4.0]]), Contribution("day", 4.0, kwh_per_day=4.5), view)
    >>> (steps * RESOLUTION_KWH).round(3).tolist()
    [[0.5, 2.0, 2.0]]

    Args:
        kwh: readings, 0 where a household is absent, shape (k, T). NaN counts as 0.
        contribution: the bounds.
        view: the hours.

    Returns:
        Shape (k, T).

    Raises:
        InputError: readings that are not a row of T hours for each household.
    """
    require_shape("kwh", kwh, (None, len(view.hours)))
    most, per_day = contribution.steps_per_hour, contribution.steps_per_day
    scaled = np.nan_to_num(np.asarray(kwh, dtype=np.float64), nan=0.0, posinf=math.inf, neginf=0.0) / RESOLUTION_KWH
    steps = np.floor(np.clip(scaled, 0, most)).astype(np.int64)
    if contribution.level == "event":
        return cast(IntArray, steps)
    starts = np.flatnonzero(np.diff(view.day, prepend=-1))
    sums = np.add.reduceat(steps, starts, axis=1)
    if contribution.level == "household" and contribution.days is not None:
        kept = np.cumsum(sums > 0, axis=1) <= contribution.days
        steps, sums = steps * kept[:, view.day], sums * kept
    over = sums > per_day
    if over.any():
        # The share that is kept, as a fraction of a power of 2 with which no product leaves 63 bits.
        bits = 62 - per_day.bit_length()
        share = np.where(over, (per_day << bits) // np.maximum(sums, 1), 0)[:, view.day]
        steps = np.where(over[:, view.day], (steps * share) >> bits, steps)
    return cast(IntArray, steps)


def counted_days(contribution: Contribution, view: View) -> int:
    """Days of the view in which one contributor can have readings."""
    if contribution.level != "household":
        return 1
    return view.n_days if contribution.days is None else min(view.n_days, contribution.days)


def energy_sensitivity(contribution: Contribution, view: View, every: str | None) -> Sensitivity:
    """How far one contributor moves sums of energy over households; attained by the one that is at its bounds.

    Of "household" these are the longest of its counted days. In hours, a day's norm is largest where as few hours as
    possible are full.

    Args:
        contribution: the bounds.
        view: the hours.
        every: "h", a sum for each hour; "D", for each day; None, for the whole view.

    Raises:
        InputError: bounds with which sums of whole numbers could be too large for 64 bits.
    """
    hour = min(contribution.steps_per_hour, contribution.steps_per_day)
    if contribution.level == "event":
        return _refused_if_large(Sensitivity(hour, hour, hour))
    days = sorted((min(contribution.steps_per_day, hour * int(n)) for n in np.bincount(view.day)), reverse=True)
    days = days[: counted_days(contribution, view)]
    total = sum(days)
    if every is None:
        return _refused_if_large(Sensitivity(total, total, total))
    if every == "D":
        return _refused_if_large(Sensitivity(total, root_above(sum(day**2 for day in days)), days[0]))
    squares = sum(day // hour * hour**2 + (day % hour) ** 2 for day in days)
    return _refused_if_large(Sensitivity(total, root_above(squares), hour))


def days_and_hours(contribution: Contribution, view: View) -> tuple[int, int]:
    """Days and readings of one contributor at most."""
    if contribution.level == "event":
        return 1, 1
    hours = sorted(np.bincount(view.day).tolist(), reverse=True)[: counted_days(contribution, view)]
    return len(hours), sum(hours)


def root_above(square: int) -> int:
    """The root of a whole number, rounded up."""
    root = math.isqrt(square)
    return root + (root * root < square)


def _refused_if_large(own: Sensitivity) -> Sensitivity:
    if own.linf * _HOUSEHOLDS >= 2**62:
        raise InputError(
            "contribution: expected bounds with which sums over households stay within 64 bits, got "
            f"{own.linf * RESOLUTION_KWH:.3g} kWh of one contributor in one sum. Lower contribution.kwh_per_hour, "
            "or ask for fewer hours at a time."
        )
    return own
