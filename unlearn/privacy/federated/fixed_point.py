"""Numbers as integers modulo a power of two, in which sums are exact and a uniform mask hides all of a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlearn.checks import FloatArray, as_floats, require_count, require_finite, require_shape
from unlearn.errors import InputError

#: Numbers of the ring: one row each, of 64-bit limbs, the lowest first.
RingArray = NDArray[np.uint64]

_LIMB, _MANTISSA = 64, 53
#: Largest ring whose every number is a finite float64.
_LARGEST = 1024


@dataclass(frozen=True)
class FixedPoint:
    """Numbers in steps of 2^-fraction_bits, kept modulo 2^ring_bits.

    >>> exact = FixedPoint()
    >>> high, low = exact.decode(exact.add(exact.encode([1e9]), exact.encode([1e-9])))
    >>> (high + 0.0).tolist(), (low * 1e9).round(3).tolist()
    ([1000000000.0], [1.0])

    Attributes:
        fraction_bits: F, binary digits after the point.
        ring_bits: R, all binary digits with the sign, a multiple of 64.

    Raises:
        InputError: R no multiple of 64 up to 1024, or F not below R - 1.
    """

    fraction_bits: int = 96
    ring_bits: int = 192

    def __post_init__(self) -> None:
        bits = require_count("ring_bits", self.ring_bits)
        if bits % _LIMB or bits > _LARGEST:
            raise InputError(f"ring_bits: expected a multiple of {_LIMB} up to {_LARGEST}, got {bits}.")
        if isinstance(self.fraction_bits, bool) or not isinstance(self.fraction_bits, int):
            raise InputError(f"fraction_bits: expected a whole number, got {self.fraction_bits!r}.")
        if not 0 <= self.fraction_bits < bits - 1:
            raise InputError(
                f"fraction_bits: expected 0 to {bits - 2} of {bits} bits, got {self.fraction_bits}. Raise ring_bits."
            )

    @property
    def n_limbs(self) -> int:
        return self.ring_bits // _LIMB

    def limit(self, summands: int = 1) -> float:
        """What a number must stay below, so that the sum of this many has the right sign with a factor two to spare."""
        return float(np.ldexp(1.0, self.ring_bits - 2 - self.fraction_bits)) / require_count("summands", summands)

    def encode(self, high: ArrayLike, low: ArrayLike | None = None, summands: int = 1) -> RingArray:
        """Write numbers in the ring: the nearest step to high + low, which is exact if that is one.

        Args:
            high: numbers, shape (n,).
            low: what to add to each, such as the rest of a double-double, shape (n,); None means zeros.
            summands: how many such numbers are to be summed.

        Returns:
            Shape (n, R / 64).

        Raises:
            InputError: NaN or infinity, or |high| + |low| not below `limit(summands)`.
        """
        first = as_floats("high", high, ndim=1)
        second = np.zeros_like(first) if low is None else as_floats("low", low, ndim=1)
        require_shape("low", second, first.shape)
        require_finite("high", first)
        require_finite("low", second)
        limit = self.limit(summands)
        # Each alone first: the sum of two huge ones may overflow.
        large = (np.abs(first) >= limit) | (np.abs(second) >= limit)
        large |= np.abs(np.where(large, 0.0, first)) + np.abs(np.where(large, 0.0, second)) >= limit
        if large.any():
            raise InputError(
                f"high: expected numbers below {limit:.3g} for {summands} summands, got {int(large.sum())} others, "
                f"first at {int(np.argmax(large))}. Scale them, or raise ring_bits."
            )
        # Scaling by a power of two is exact, and so are the whole part and the rest of each.
        first, second = np.ldexp(first, self.fraction_bits), np.ldexp(second, self.fraction_bits)
        whole = np.trunc(first), np.trunc(second)
        step = _nearest(first - whole[0], second - whole[1])
        return self.add(self.add(self._whole(whole[0]), self._whole(whole[1])), self._whole(step))

    def decode(self, ring: RingArray) -> tuple[FloatArray, FloatArray]:
        """Read numbers: `high` is the nearest float64, and `low` the nearest to what is left; both shape (n,)."""
        self.require(ring)
        high = self._nearest_float(ring)
        rest = self.add(ring, self.negate(self._whole(np.ldexp(high, self.fraction_bits))))
        return high, self._nearest_float(rest)

    def add(self, a: RingArray, b: RingArray) -> RingArray:
        """Sum of the ring, shape (n, R / 64)."""
        total = np.empty_like(a)
        carry = np.zeros(len(a), dtype=np.uint64)
        for limb in range(self.n_limbs):
            part = a[:, limb] + b[:, limb]
            over = part < a[:, limb]
            total[:, limb] = part + carry
            carry = (over | (total[:, limb] < part)).astype(np.uint64)
        return total

    def negate(self, a: RingArray) -> RingArray:
        """What `a` plus it is zero, shape (n, R / 64)."""
        one = np.zeros_like(a)
        one[:, 0] = 1
        return self.add(~a, one)

    def require(self, ring: NDArray) -> None:
        """Refuse what is no array of the ring."""
        if ring.dtype != np.uint64:
            raise InputError(f"ring: expected numbers of the ring as uint64, got {ring.dtype}.")
        require_shape("ring", ring, (None, self.n_limbs))

    def _whole(self, value: FloatArray) -> RingArray:
        """Whole numbers below 2^(R - 1), in float64, in the ring."""
        mantissa, exponent = np.frexp(np.abs(value))
        shift = exponent.astype(np.int64) - _MANTISSA
        digits = np.ldexp(mantissa, _MANTISSA).astype(np.uint64) >> np.clip(-shift, 0, _LIMB - 1).astype(np.uint64)
        limb, bit = np.divmod(np.maximum(shift, 0), _LIMB)
        up = bit.astype(np.uint64)
        # Shifting by 64 is undefined, so the upper part is shifted in two steps.
        parts = digits << up, (digits >> np.uint64(1)) >> (np.uint64(_LIMB - 1) - up)
        ring = np.zeros((len(value), self.n_limbs + 1), dtype=np.uint64)
        rows = np.arange(len(value))
        ring[rows, limb], ring[rows, limb + 1] = parts
        positive = np.ascontiguousarray(ring[:, : self.n_limbs])
        return np.where((value < 0)[:, None], self.negate(positive), positive)

    def _nearest_float(self, ring: RingArray) -> FloatArray:
        """The float64 nearest to each number, ties to even."""
        negative = ring[:, -1] >> np.uint64(_LIMB - 1) == 1
        size = np.where(negative[:, None], self.negate(ring), ring)
        rows = np.arange(len(size))
        top = self.n_limbs - 1 - np.argmax((size != 0)[:, ::-1], axis=1)
        below = np.concatenate([np.zeros((len(size), 1), dtype=np.uint64), size], axis=1)
        first, second = size[rows, top], below[rows, top]
        # Whether anything is set further down, which decides ties.
        any_below = np.logical_or.accumulate(below != 0, axis=1)
        sticky = any_below[rows, np.maximum(top - 1, 0)] & (top > 0)
        free = _leading_zeros(first)
        keep = np.uint64(_LIMB - 1) - free
        window = (first << free) | ((second >> np.uint64(1)) >> keep)
        sticky |= (second << free) != 0
        spare = np.uint64(_LIMB - _MANTISSA)
        digits, rest = window >> spare, window & np.uint64((1 << (_LIMB - _MANTISSA)) - 1)
        half = np.uint64(1 << (_LIMB - _MANTISSA - 1))
        digits = digits + ((rest > half) | ((rest == half) & (sticky | (digits & np.uint64(1) == 1))))
        exponent = top * _LIMB - free.astype(np.int64) + (_LIMB - _MANTISSA) - self.fraction_bits
        value = np.ldexp(digits.astype(np.float64), exponent)
        return np.where(negative, -value, value)


def _nearest(a: FloatArray, b: FloatArray) -> FloatArray:
    """The whole number nearest to a + b, both within (-1, 1), without rounding the sum first."""
    total = a + b
    back = total - a
    error = (a - (total - back)) + (b - back)
    whole = np.rint(total)
    rest = total - whole
    # What the sum lost decides where it seemed to lie just between two.
    return whole + ((rest == 0.5) & (error > 0)) - ((rest == -0.5) & (error < 0))


def _leading_zeros(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Zeros above the highest digit of 64-bit numbers; 63 for zero."""
    upper = value >> np.uint64(32)
    half = np.where(upper > 0, upper, value & np.uint64(0xFFFFFFFF)).astype(np.float64)
    length = np.frexp(half)[1] + np.where(upper > 0, 32, 0)
    return (_LIMB - np.maximum(length, 1)).astype(np.uint64)
