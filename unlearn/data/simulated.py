"""Which data is simulated: households that a simulator made need no protection.

So noise on them may be drawn again from a seed; on anything else it may not. The knowledge goes with the array of
energies, not with a field that a caller could fill in: it is lost where another array takes its place, where its
numbers change, on the way through a file, and in another process.
"""

from __future__ import annotations

import hashlib
import weakref
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Array = TypeVar("_Array", bound=NDArray)

#: Of each simulated array, by its id: the array, weakly, and what it held.
_SIMULATED: dict[int, tuple[weakref.ref[NDArray], bytes]] = {}


def mark_simulated(array: _Array) -> _Array:
    """Return the array, from now on known as simulated. For simulators alone, which see no data."""
    key = id(array)

    def forget(gone: weakref.ref[NDArray]) -> None:
        # Another array may have the id by now.
        if (entry := _SIMULATED.get(key)) is not None and entry[0] is gone:
            del _SIMULATED[key]

    _SIMULATED[key] = weakref.ref(array, forget), _digest(array)
    return array


def derived(array: _Array, *sources: NDArray) -> _Array:
    """Return the array, known as simulated if all that it was made of is."""
    return mark_simulated(array) if is_simulated(*sources) else array


def is_simulated(*arrays: NDArray) -> bool:
    """Whether all arrays are simulated, each with the numbers that it was made with; False for none."""
    entries = [(array, _SIMULATED.get(id(array))) for array in arrays]
    return bool(entries) and all(
        entry is not None and entry[0]() is array and entry[1] == _digest(array) for array, entry in entries
    )


def _digest(array: NDArray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).digest()
