"""Shamir's sharing of many numbers at once: any `threshold` of the shares say nothing, one more give the numbers back.

Shares are points of polynomials over a prime field, so shares of sums are sums of shares (Shamir, 1979). Whoever holds
at most `threshold` shares of a number sees uniform numbers that do not depend on it. With n shares, up to
n - threshold - 1 wrong ones are noticed, and up to half of that, rounded down, are found and put right, as in
Reed-Solomon codes (McEliece and Sarwate, 1981). Whoever corrects cannot also count on notice: with more wrong shares
than can be corrected, a correction may lead to other numbers, and to a wrong name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import BoolArray, IntArray, require_count, short_repr
from unlearn.errors import InputError, ProtocolError

#: Numbers of a field.
FieldArray = NDArray[np.uint64]

#: 2^61 - 1, a prime whose remainders need no division.
MERSENNE = 2**61 - 1

#: Holders of shares; the search for wrong ones tries subsets of them.
MOST_HOLDERS = 16

_SMALL = 2**31
_31, _32, _30, _61 = np.uint64(31), np.uint64(32), np.uint64(30), np.uint64(61)
_LOW_31, _LOW_30, _LOW_32 = np.uint64(2**31 - 1), np.uint64(2**30 - 1), np.uint64(2**32 - 1)


@dataclass(frozen=True)
class Field:
    """Numbers modulo a prime, as arrays of uint64 of any shape.

    >>> field = Field()
    >>> int(field.multiply(np.uint64(2**60), np.uint64(2**60))) == 2**120 % (2**61 - 1)
    True

    Attributes:
        prime: 2^61 - 1, or an odd prime below 2^31.

    Raises:
        InputError: another number.
    """

    prime: int = MERSENNE

    def __post_init__(self) -> None:
        small = isinstance(self.prime, int) and 3 <= self.prime < _SMALL and self.prime % 2 == 1
        if self.prime != MERSENNE and not (small and all(self.prime % n for n in range(3, int(self.prime**0.5) + 1))):
            raise InputError(f"prime: expected 2^61 - 1 or an odd prime below 2^31, got {self.prime!r}.")

    def encode(self, values: NDArray) -> FieldArray:
        """Whole numbers of either sign in the field."""
        return np.asarray(np.mod(np.asarray(values, dtype=np.int64), np.int64(self.prime))).astype(np.uint64)

    def add(self, a: FieldArray | np.uint64, b: FieldArray | np.uint64) -> FieldArray:
        """Sum of the field."""
        return self._reduced(np.asarray(a + b, dtype=np.uint64))

    def multiply(self, a: FieldArray | np.uint64, b: FieldArray | np.uint64) -> FieldArray:
        """Product of the field."""
        if self.prime < _SMALL:
            return np.asarray(a * b % np.uint64(self.prime), dtype=np.uint64)
        # With 31-bit halves, 2^62 = 2 in the field; what is added up stays below 2^64.
        a_high, a_low, b_high, b_low = a >> _31, a & _LOW_31, b >> _31, b & _LOW_31
        middle = a_high * b_low + a_low * b_high
        total = (a_high * b_high << np.uint64(1)) + a_low * b_low + (middle >> _30) + ((middle & _LOW_30) << _31)
        return self._reduced(np.asarray(total, dtype=np.uint64))

    def sum_groups(self, values: FieldArray, starts: IntArray) -> FieldArray:
        """Sums of runs of rows, each from one start to the next, shape (groups, ...); no run is empty."""
        # Halves of 32 bits: fewer than 2^32 of them do not overflow.
        high = np.add.reduceat(values >> _32, starts, axis=0)
        low = np.add.reduceat(values & _LOW_32, starts, axis=0)
        return self.add(self.multiply(self._mod(high), np.uint64(2**32 % self.prime)), self._mod(low))

    def random(self, shape: Sequence[int]) -> FieldArray:
        """Uniform numbers from the operating system's generator; there is no seed."""
        mask = np.uint64((1 << self.prime.bit_length()) - 1)
        drawn = np.empty(int(np.prod(shape, dtype=np.int64)), dtype=np.uint64)
        missing = np.arange(len(drawn))
        while len(missing):
            # Numbers from the prime upwards are drawn again, which leaves the others uniform.
            drawn[missing] = np.frombuffer(os.urandom(8 * len(missing)), dtype=np.uint64) & mask
            missing = missing[drawn[missing] >= np.uint64(self.prime)]
        return drawn.reshape(tuple(shape))

    def _mod(self, value: NDArray) -> FieldArray:
        return np.asarray(value % np.uint64(self.prime), dtype=np.uint64)

    def _reduced(self, total: FieldArray) -> FieldArray:
        if self.prime < _SMALL:
            return self._mod(total)
        folded = (total & np.uint64(MERSENNE)) + (total >> _61)
        return folded - np.uint64(MERSENNE) * (folded >= np.uint64(MERSENNE))


#: The field in which readings are shared.
FIELD = Field()


@short_repr
@dataclass(frozen=True, eq=False)
class Decoded:
    """Numbers that shares gave back.

    Attributes:
        values: of the field, in the shape of one share.
        wrong: holders of whose shares at least one was wrong, and was left out.
    """

    values: FieldArray = field(repr=False)
    wrong: tuple[int, ...]


def share(values: FieldArray, n: int, threshold: int, numbers: Field = FIELD) -> FieldArray:
    """Share numbers among holders 1 to n.

    >>> shares = share(np.array([5, 7], dtype=np.uint64), n=5, threshold=2)
    >>> decode({holder + 1: shares[holder] for holder in (0, 2, 4)}, threshold=2).values.tolist()
    [5, 7]

    Args:
        values: of the field, any shape.
        n: holders.
        threshold: any so many shares say nothing.
        numbers: the field.

    Returns:
        Shape (n, ...); row i is for holder i + 1.

    Raises:
        InputError: not 1 <= threshold < n, more than 16 holders, or numbers outside of the field.
    """
    require_holders(n, threshold, numbers)
    if values.dtype != np.uint64 or (values >= np.uint64(numbers.prime)).any():
        raise InputError(f"values: expected numbers of the field as uint64, got {values.dtype} or larger ones.")
    return evaluate(np.concatenate([values[None], numbers.random((threshold, *values.shape))]), n, numbers)


def evaluate(coefficients: FieldArray, n: int, numbers: Field = FIELD) -> FieldArray:
    """Values at 1 to n of polynomials whose coefficients stand along the first axis, the constant first."""
    shares = np.empty((n, *coefficients.shape[1:]), dtype=np.uint64)
    for holder in range(1, n + 1):
        value = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            value = numbers.add(numbers.multiply(value, np.uint64(holder)), coefficient)
        shares[holder - 1] = value
    return shares


def detects(n: int, threshold: int) -> int:
    """How many wrong ones among n shares are always noticed."""
    return max(0, n - threshold - 1)


def corrects(n: int, threshold: int) -> int:
    """How many wrong ones among n shares are always found and put right."""
    return detects(n, threshold) // 2


def decode(
    shares: Mapping[int, FieldArray], threshold: int, numbers: Field = FIELD, correct: bool = True, what: str = "shares"
) -> Decoded:
    """Give numbers back, and name the holders of wrong shares.

    Args:
        shares: by holder, from 1; all of one shape.
        threshold: that they were shared with.
        numbers: the field.
        correct: whether wrong shares are left out where `corrects` so many; False refuses any, and so notices as many
            as `detects` says.
        what: for the error.

    Raises:
        ProtocolError: too few shares, or more wrong ones than can be put right.
    """
    holders = sorted(shares)
    n = len(holders)
    if n <= threshold:
        raise ProtocolError(f"{what}: expected the shares of at least {threshold + 1} holders, got {n}.")
    table = np.stack([shares[holder] for holder in holders]).reshape(n, -1)
    values = np.empty(table.shape[1], dtype=np.uint64)
    wrong: set[int] = set()
    left = np.arange(table.shape[1])
    most = corrects(n, threshold) if correct else 0
    for suspects in _suspects(n, most):
        if not len(left):
            break
        kept = [at for at in range(n) if at not in suspects]
        found, fits = _fit(table[kept][:, left], [holders[at] for at in kept], threshold, numbers)
        values[left[fits]] = found[fits]
        wrong |= {holders[at] for at in suspects} if fits.any() else set()
        left = left[~fits]
    if len(left) or len(wrong) > most:
        raise ProtocolError(
            f"{what}: expected shares of one polynomial from {n} holders, got more wrong ones than the {most} that can "
            "be put right. Nothing is given back; start anew without whoever is at fault, or ask more holders."
        )
    return Decoded(values.reshape(shares[holders[0]].shape), tuple(sorted(wrong)))


def require_holders(n: int, threshold: int, numbers: Field = FIELD) -> None:
    """Refuse a number of holders that cannot share with this threshold."""
    most = min(MOST_HOLDERS, numbers.prime - 1)
    if not require_count("threshold", threshold) < require_count("n", n) <= most:
        raise InputError(f"threshold: expected below the holders, of whom at most {most}; got {threshold} of {n}.")


def _suspects(n: int, most: int) -> Iterator[tuple[int, ...]]:
    """Sets of shares that may be wrong, the smallest first: the first that leaves a polynomial is the only one."""
    for size in range(most + 1):
        yield from combinations(range(n), size)


def _fit(table: FieldArray, holders: Sequence[int], threshold: int, numbers: Field) -> tuple[FieldArray, BoolArray]:
    """What polynomials through the first threshold + 1 rows are at 0, and whether they go through the other rows."""
    base = holders[: threshold + 1]
    fits = np.ones(table.shape[1], dtype=bool)
    for row, holder in enumerate(holders[threshold + 1 :], start=threshold + 1):
        fits &= _interpolated(table, base, holder, numbers) == table[row]
    return _interpolated(table, base, 0, numbers), fits


def _interpolated(table: FieldArray, base: Sequence[int], at: int, numbers: Field) -> FieldArray:
    total = np.zeros(table.shape[1], dtype=np.uint64)
    for row, holder in enumerate(base):
        above = below = 1
        for other in base:
            if other != holder:
                above, below = above * (at - other) % numbers.prime, below * (holder - other) % numbers.prime
        weight = above * pow(below, -1, numbers.prime) % numbers.prime
        total = numbers.add(total, numbers.multiply(table[row], np.uint64(weight)))
    return total
