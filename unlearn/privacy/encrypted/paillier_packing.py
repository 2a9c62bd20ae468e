"""Many readings in one whole number, so that one Paillier ciphertext carries a day and sums stay apart.

A reading x of `low` to `high` is written as x - low in a slot of its own. A slot is as wide as the largest sum that the
declared number of addends can reach, so that no sum ever runs over into the next slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import IntArray, require_count
from unlearn.errors import InputError, ProtocolError

#: Bound of |low| and |high|: readings are 64-bit numbers.
_MOST = 2**62


@dataclass(frozen=True)
class Packing:
    """How readings lie in plaintexts.

    >>> packing = Packing(low=-10, high=100, addends=1000, slots=3)
    >>> total = packing.packed(np.array([1, -2, 3])) + packing.packed(np.array([10, 20, -10]))
    >>> packing.unpacked(total, weight=2)
    [11, 18, -7]

    Attributes:
        low, high: least and largest reading, whole numbers of one unit, such as Wh; `low` may be negative.
        addends: how many readings one sum has at most; a reading that is multiplied by a weight counts as many.
        slots: readings in a plaintext.

    Raises:
        InputError: no whole numbers, `high` not above `low`, or either beyond 2^62.
    """

    low: int
    high: int
    addends: int
    slots: int = 24

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise InputError(f"packing.{name}: expected a whole number, got {type(value).__name__}.")
            # Of Python, for numpy's overflow.
            object.__setattr__(self, name, int(value))
        if self.high <= self.low:
            raise InputError(f"packing.high: expected a number above low = {self.low}, got {self.high}.")
        if max(abs(self.low), abs(self.high)) > _MOST:
            raise InputError("packing.high: expected low and high within 2^62, got more. Choose a larger unit.")
        for name in ("addends", "slots"):
            object.__setattr__(self, name, require_count(f"packing.{name}", getattr(self, name)))

    @property
    def slot_bits(self) -> int:
        """Bits that the largest sum takes."""
        return (self.addends * (self.high - self.low)).bit_length()

    @property
    def text(self) -> str:
        """What every party of a run must agree upon."""
        return f"{self.low}..{self.high} in {self.slots} slots, {self.addends} addends"

    def require_room(self, key_bits: int) -> None:
        """Refuse a packing that does not fit into the plaintexts of a key of this many bits."""
        room = (key_bits - 1) // self.slot_bits
        if self.slots > room:
            raise InputError(
                f"packing.slots: expected at most {room} slots of {self.slot_bits} bits for a key of {key_bits} bits, "
                f"got {self.slots}. Pack fewer readings, declare fewer addends or a narrower range, or take a longer "
                "key."
            )

    def require_readings(self, readings: NDArray) -> IntArray:
        """Return readings as whole numbers, shape (ciphertexts, up to slots), if all are in range."""
        array = np.asarray(readings)
        if array.ndim != 2 or not array.size or array.shape[1] > self.slots:
            raise InputError(
                f"readings: expected shape (ciphertexts, 1 to {self.slots} slots), got {array.shape}. Reshape them."
            )
        if not np.issubdtype(array.dtype, np.integer):
            raise InputError(f"readings: expected whole numbers, got {array.dtype}. Choose a smaller unit and round.")
        outside = int(((array < self.low) | (array > self.high)).sum())
        if outside:
            raise InputError(
                f"readings: expected {self.low} to {self.high}, got some outside. Widen the range that all agree upon."
            )
        return array.astype(np.int64)

    def packed(self, readings: NDArray[np.int64]) -> int:
        """One row of readings as a whole number; the first lies lowest."""
        total = 0
        for reading in reversed(readings.tolist()):
            total = (total << self.slot_bits) | (reading - self.low)
        return total

    def require_addends(self, weight: int) -> None:
        """Refuse a sum of more than was declared, before it is made."""
        if weight > self.addends:
            raise ProtocolError(
                f"sum: expected at most {self.addends} addends, counted with their weights, got {weight}. Declare more "
                "in the packing, and start a new run."
            )

    def unpacked(self, total: int, weight: int, n: int | None = None) -> list[int]:
        """The sums in the slots.

        Args:
            total: a sum of packed numbers.
            weight: how many there were, counted with their weights.
            n: slots in use; None is all.

        Raises:
            InputError: more slots than there are.
            ProtocolError: something lies beyond the slots, or a sum that so many readings cannot have.
        """
        self.require_addends(weight)
        mask, used = (1 << self.slot_bits) - 1, self.slots if n is None else require_count("slots", n)
        if used > self.slots:
            raise InputError(f"slots: expected at most the packing's {self.slots}, got {used}.")
        found = [total >> (slot * self.slot_bits) & mask for slot in range(used)]
        if total < 0 or total >> (used * self.slot_bits) or max(found) > weight * (self.high - self.low):
            raise ProtocolError(
                "sum: expected sums that readings in range can have, got others. A sender broke the agreed range, or "
                "the key is another one. Start a new run."
            )
        return [one + weight * self.low for one in found]


#: Largest weight, so that weights travel as 64-bit numbers.
LARGEST_WEIGHT = 2**31


def require_weights(weights: Sequence[int], n: int) -> tuple[int, ...]:
    """Return public weights, one for each ciphertext, if they are whole numbers of at least 0 and not all 0."""
    whole = all(
        isinstance(w, int | np.integer) and not isinstance(w, bool) and 0 <= w <= LARGEST_WEIGHT for w in weights
    )
    if len(weights) != n or not whole or not any(weights):
        raise InputError(
            f"weights: expected {n} whole numbers from 0 to {LARGEST_WEIGHT}, not all 0, got {len(weights)}, of "
            "which some may be others. Give rates in the smallest unit of money."
        )
    return tuple(map(int, weights))
