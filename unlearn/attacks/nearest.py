"""Nearest records: the distance of each profile to the nearest of many others, in chunks of matrix products."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_shape
from unlearn.errors import InputError

#: Entries of a block of distances, which bounds memory (32 MB) and stays near the cache.
_BLOCK = 4_000_000


class Nearest(NamedTuple):
    """Of each query: Euclidean distance to the nearest record in kWh, and that record's row; each of shape (m,)."""

    distance: FloatArray
    row: IntArray


def nearest_records(queries: ArrayLike, records: ArrayLike) -> Nearest:
    """Find the nearest record of each query; exact copies have a distance of exactly 0.

    Args:
        queries: profiles in kWh, shape (m, S).
        records: profiles in kWh, shape (n, S).

    Raises:
        InputError: no records, other steps than the queries', NaN.
    """
    asked, known = profile_matrix("queries", queries), profile_matrix("records", records)
    require_shape("queries", asked, (None, known.shape[1]))
    if not len(known):
        raise InputError("records: expected at least one profile to be near to, got none.")
    # Distances are differences of squares: about the mean they lose fewer digits.
    centre = known.mean(axis=0)
    right = known - centre
    squared = (right**2).sum(axis=1) / 2
    row = np.empty(len(asked), dtype=np.int64)
    size = max(1, _BLOCK // len(known))
    for start in tqdm(range(0, len(asked), size), desc="nearest", leave=False, delay=2):
        block = slice(start, start + size)
        row[block] = (squared - (asked[block] - centre) @ right.T).argmin(axis=1)
    return Nearest(np.linalg.norm(asked - known[row], axis=1), row)


def profile_matrix(name: str, value: ArrayLike) -> FloatArray:
    """Return profiles as finite float64, shape (n, S)."""
    array = as_floats(name, value, ndim=2)
    require_finite(name, array)
    return array
