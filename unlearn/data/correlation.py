"""Greedy choice of the loads that resemble each other least."""

from __future__ import annotations

import numpy as np

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError


def least_correlated(load: FloatArray, count: int) -> IntArray:
    """Choose `count` columns whose mutual correlations are small.

    The choice starts with the pair of the smallest |correlation| and adds, one by one, the column
    whose largest |correlation| with those chosen is smallest. Columns that do not vary are never
    chosen.

    Args:
        load: shape (N, B); pass training rows only.
        count: number of columns, from 1 to those that vary.

    Returns:
        Sorted positions, shape (count,).

    Raises:
        InputError: fewer than `count` columns vary, or `count` is below 1.
    """
    usable = np.flatnonzero(load.max(axis=0) > load.min(axis=0))
    if not 1 <= count <= usable.size:
        raise InputError(
            f"least_correlated: expected a number of loads from 1 to {usable.size} "
            f"(loads that vary, of {load.shape[1]}), got {count}."
        )
    if usable.size == 1:
        return usable.astype(np.int64)
    closeness = np.abs(np.corrcoef(load[:, usable], rowvar=False))
    # A load is not a partner of itself, nor may it be chosen twice.
    np.fill_diagonal(closeness, np.inf)
    first, second = np.unravel_index(closeness.argmin(), closeness.shape)
    chosen = [int(first), int(second)][:count]
    while len(chosen) < count:
        chosen.append(int(closeness[chosen].max(axis=0).argmin()))
    return np.sort(usable[chosen]).astype(np.int64)
