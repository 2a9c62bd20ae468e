"""Which training rows to unlearn: by influence, at random, by time, or by the caller's mask.

Everything returns positions in the training rows of a model's head (`Forecaster.training_rows`).
To forget single loads (customers), pass `loads=` to `forget` instead of choosing hours.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import (
    IntArray,
    as_floats,
    require_choice,
    require_finite,
    require_fraction,
    require_shape,
)
from unlearn.errors import InputError


def by_influence(influence: ArrayLike, share: float, kind: str = "helpful") -> IntArray:
    """Pick the share of rows with the largest ("helpful") or smallest ("harmful") influence.

    Args:
        influence: change of the criterion if a row is removed, shape (n,).
        share: share of the rows, between 0 and 1.
        kind: "helpful" or "harmful".
    """
    require_choice("kind", kind, ("helpful", "harmful"))
    values = as_floats("influence", influence, ndim=1)
    require_finite("influence", values)
    order = np.argsort(values if kind == "harmful" else -values, kind="stable")
    return np.sort(order[: count(share, len(values))])


def at_random(n_rows: int, share: float, seed: int = 0) -> IntArray:
    """Pick a share of the rows without replacement."""
    return np.sort(np.random.default_rng(seed).permutation(n_rows)[: count(share, n_rows)])


def in_time_range(timestamps: pd.DatetimeIndex, start: str, end: str) -> IntArray:
    """Pick the rows with `start <= time < end`.

    Args:
        timestamps: hours of the training rows, shape (n,).
        start: first time, as pandas reads it ("2007-03-01 06:00").
        end: time after the last one.

    Raises:
        InputError: a time that cannot be read, or a range that holds no row.
    """
    try:
        first, after = pd.Timestamp(start), pd.Timestamp(end)
    except ValueError as error:
        raise InputError(f"time range: expected times such as 2007-03-01 06:00, got {start!r}, {end!r}.") from error
    if first.tz is not None or after.tz is not None or timestamps.tz is not None:
        raise InputError(f"time range: expected times without a time zone, got {start!r}, {end!r}.")
    rows = np.flatnonzero((timestamps >= first) & (timestamps < after))
    if not rows.size:
        raise InputError(
            f"time range: no training row between {first} and {after}; they run from {timestamps[0]} to "
            f"{timestamps[-1]}."
        )
    return rows


def by_mask(mask: ArrayLike, n_rows: int) -> IntArray:
    """Pick the rows that a boolean mask marks, such as data found to be poisoned."""
    marked = np.asarray(mask)
    if marked.dtype != bool:
        raise InputError(f"mask: expected booleans, got {marked.dtype}.")
    require_shape("mask", marked, (n_rows,))
    return np.flatnonzero(marked)


def count(share: float, n_rows: int) -> int:
    """Number of rows in a share, rounded to the nearest, at least 1."""
    return max(1, round(require_fraction("share", share) * n_rows))
