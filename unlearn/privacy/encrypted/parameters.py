"""Parameters of exact encrypted sums, derived from what is summed so that even the worst case comes out exactly.

A number v of low..high is written as v - low, one coefficient of a polynomial. A sum of n stays below the plaintext
modulus t > n (high - low), so nothing wraps around. Numbers are not cut into digits, which would fit into shorter
ciphertexts: sums of digits tell more than the sum of the numbers.

Each fresh ciphertext has noise of at most 21 (2N + 1), for SEAL's errors are at most 21 and its secrets -1, 0 or 1.
Where there is a second prime p, SEAL encrypts modulo qp and divides by p, which leaves 21 (2N + 1) / p + (N + 1) / 2.
Scaling a plaintext adds at most 1/2. With e for the sum of these, the sum decrypts to the truth while n e < q / 2t.
These are bounds, not probabilities. Degree N and bits of qp are those of 128-bit security, as SEAL and the
HomomorphicEncryption.org standard (2018) have them. Sums need neither rotations nor relinearisation.

Coefficients rather than slots are used because t is then free to be a power of two with q = 1 modulo t. The rounding
of a plaintext in SEAL's scaling is then m / t, so that of a sum depends on the sum alone: together with the noise of
encryption, which knows no readings, the key holder sees nothing of one meter beyond the total.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import ClassVar, Protocol, Self

import numpy as np

from unlearn.checks import require_count
from unlearn.errors import InputError, ProtocolError

#: Degree, bits of q, and bits of p or 0; at most 27, 54 and 109 bits in all have 128-bit security.
_SETS = ((1024, 27, 0), (2048, 54, 0), (4096, 60, 49))

#: For bills: degree, and bits of qp that have 128-bit security.
_BILL_SETS = ((4096, 109), (8192, 218))
#: Least bits of p: above 21 (2N + 1) there, so that less than 1 / 2 of the noise is left by dividing.
_DROPPED_BITS = 24
#: Of SEAL.
_LARGEST_PLAIN = 2**59

#: Largest |error| of SEAL's centered binomial distribution.
_ERROR = 21


class Encryptable(Protocol):
    """What a sender encrypts and what is computed of it: `Summands` or `BillTerms`.

    Attributes:
        scheme: as labels and keys name it.
        n_values: numbers of each sender.
        low, high: least and largest of these.
        text: all of it, as the label of a ciphertext has it.
        parameters: that hold for it.
    """

    scheme: ClassVar[str]

    @property
    def n_values(self) -> int: ...
    @property
    def low(self) -> int: ...
    @property
    def high(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def parameters(self) -> SumParameters: ...

    def in_shares(self, n: int) -> Self:
        """What the keys of a holder of n shares of each number are for."""
        ...


@dataclass(frozen=True)
class Summands:
    """What each sender encrypts, and how many may be added.

    >>> day = Summands(n_values=24, low=0, high=2**16 - 1, addends=10_000)
    >>> parameters(day).degree, parameters(day).n_ciphertexts
    (4096, 1)

    Attributes:
        n_values: numbers of each sender, such as 24 hours or a day of each of several feeders.
        low, high: least and largest of these, whole numbers.
        addends: senders that a sum may have at most.

    Raises:
        InputError: no whole numbers, high not above low, or a range beyond 2^62.
    """

    scheme: ClassVar[str] = "bfv"
    n_values: int
    low: int
    high: int
    addends: int

    def __post_init__(self) -> None:
        for name in ("n_values", "addends"):
            object.__setattr__(self, name, require_count(name, getattr(self, name)))
        for name, value in zip(("low", "high"), _require_range(self.low, self.high), strict=True):
            object.__setattr__(self, name, value)

    @property
    def text(self) -> str:
        """As the label of a ciphertext has it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Summands:
        """Read what `text` wrote.

        Raises:
            ProtocolError: something else.
        """
        try:
            found = cls(**json.loads(text))
            if found.text != text:
                raise ValueError
        except (ValueError, TypeError, RecursionError):
            raise ProtocolError(
                "summands: expected what is summed and how many, got another text. Let every party run the same "
                "version."
            ) from None
        return found

    @property
    def parameters(self) -> SumParameters:
        """See the function `parameters`."""
        return parameters(self)

    def in_shares(self, n: int) -> Summands:
        """The same with n times as many numbers, which a sum adds one by one."""
        return replace(self, n_values=self.n_values * n)


@dataclass(frozen=True)
class BillTerms:
    """What a meter encrypts so that any tariff within these bounds can be applied to it later.

    >>> month = BillTerms(n_values=31 * 48, low=0, high=11_500, highest_rate=6_720)  # Wh; hundredths of pence per kWh
    >>> month.parameters.degree, month.parameters.spare_bits > 0
    (4096, True)

    Attributes:
        n_values: readings of a period.
        low, high: least and largest of these, whole numbers.
        highest_rate: of a tariff, in absolute value: rates are whole numbers and may be below zero.
        shares: of each reading, that one ciphertext holds; see `split_keys`.

    Raises:
        InputError: no whole numbers, or high not above low.
    """

    scheme: ClassVar[str] = "bfv bill"
    n_values: int
    low: int
    high: int
    highest_rate: int
    shares: int = 1

    def __post_init__(self) -> None:
        for name in ("n_values", "highest_rate", "shares"):
            object.__setattr__(self, name, require_count(name, getattr(self, name)))
        for name, value in zip(("low", "high"), _require_range(self.low, self.high), strict=True):
            object.__setattr__(self, name, value)

    @property
    def text(self) -> str:
        """As the label of a ciphertext has it."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def parameters(self) -> SumParameters:
        """See `bill_parameters`."""
        return bill_parameters(self)

    def in_shares(self, n: int) -> BillTerms:
        """The same with n shares of each reading."""
        return replace(self, shares=n)


def _require_range(low: int, high: int) -> tuple[int, int]:
    """Both as whole numbers of Python, which every text of them has alike."""
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise InputError(f"{name}: expected a whole number, got {value!r}.")
    low, high = int(low), int(high)
    if not low < high or max(abs(low), abs(high)) > 2**62:
        raise InputError(f"high: expected a whole number above low, both within 2^62, got {low} to {high}.")
    return low, high


@dataclass(frozen=True)
class SumParameters:
    """How such sums are encrypted.

    Attributes:
        degree: N, coefficients of a ciphertext.
        primes: whose product is q; one for sums.
        dropped: p, a prime that encryption divides by; 0 if there is none.
        plain_modulus: t, a power of two.
        n_ciphertexts: of each sender.
        spare_bits: log2 of q / 2t over the largest noise; above zero.
    """

    degree: int
    primes: tuple[int, ...]
    dropped: int
    plain_modulus: int
    n_ciphertexts: int
    spare_bits: float

    @property
    def modulus(self) -> int:
        """q."""
        return math.prod(self.primes)


@lru_cache(maxsize=64)
def parameters(summands: Summands) -> SumParameters:
    """The parameters with the fewest bytes, of those the smallest degree.

    Raises:
        InputError: so many addends or so wide a range that the noise leaves no room.
    """
    found = list(_candidates(summands))
    if not found:
        raise InputError(
            f"addends: expected few enough for the noise and range of one key, got {summands.addends}. Sum in several "
            "groups, each with a run of its own, or agree on a narrower range."
        )
    return min(found, key=lambda one: (one.n_ciphertexts * one.degree * one.modulus.bit_length(), one.degree))


def _candidates(summands: Summands) -> Iterator[SumParameters]:
    n = summands.addends
    # Twice what sums need: they stay below t / 2, where the rounding of SEAL's scaling is m / t.
    plain = 2 ** (2 * n * (summands.high - summands.low)).bit_length()
    for degree, bits, dropped_bits in _SETS:
        modulus = _prime(bits, max(2 * degree, plain))
        dropped = (_prime(dropped_bits, 2 * degree) or 0) if dropped_bits else 0
        # Twice the bound for one addend, a whole number.
        fresh = 2 * _ERROR * (2 * degree + 1)
        noise = (-(-fresh // dropped) + degree + 1 if dropped else fresh) + 1
        if modulus is None or plain * n * noise >= modulus:
            continue
        parts = -(-summands.n_values // degree)
        yield SumParameters(degree, (modulus,), dropped, plain, parts, math.log2(modulus / (plain * n * noise)))


@lru_cache(maxsize=64)
def bill_parameters(terms: BillTerms) -> SumParameters:
    """The smallest parameters that hold for one product with any rates of these terms.

    With r for the sum of the absolute rates, at most n_values times the highest, a bill is at most r (high - low) in
    absolute value, below t / 2. A product multiplies the noise of a fresh ciphertext by at most r. Around (q / t) m
    with a fraction for q / t, whatever exceeds t in the product is a multiple of q and adds none.

    Raises:
        InputError: too many readings, or so wide ranges that no parameters hold them.
    """
    most = terms.n_values * terms.highest_rate
    plain = 2 ** (2 * most * (terms.high - terms.low)).bit_length()
    for degree, total in _BILL_SETS:
        # Twice the bound: the division by p leaves (N + 1) / 2 and less than 1 / 2, and scaling 1 / 2.
        noise = degree + 3
        needed = (plain * most * noise).bit_length() + 1
        for n_primes in range(1, total // 60 + 2):
            bits = max(-(-needed // n_primes) + 1, _DROPPED_BITS)
            dropped_bits = min(60, total - n_primes * bits)
            if (
                bits > 60
                or dropped_bits < _DROPPED_BITS
                or terms.n_values * terms.shares > degree
                or plain > _LARGEST_PLAIN
            ):
                continue
            *primes, dropped = _primes([bits] * n_primes + [dropped_bits], 2 * degree)
            spare = math.log2(math.prod(primes) / (plain * most * noise))
            return SumParameters(degree, tuple(primes), dropped, plain, 1, spare)
    raise InputError(
        f"bill: expected readings and rates that one ciphertext holds, got {terms.n_values} readings of "
        f"{terms.shares} shares with rates up to {terms.highest_rate}. Bill shorter periods, agree on narrower ranges "
        "or coarser rates, or split keys among fewer holders."
    )


def _primes(bits: list[int], step: int) -> list[int]:
    """Different primes of so many bits each that are 1 modulo a power of two."""
    found: list[int] = []
    for n in bits:
        value = 2**n - step + 1
        while value in found or not _is_prime(value):
            value -= step
        if value <= 2 ** (n - 1):
            raise InputError(f"bill: expected primes of {n} bits, found none. Agree on other ranges.")
        found.append(value)
    return found


@lru_cache(maxsize=256)
def _prime(bits: int, step: int) -> int | None:
    """The largest prime of so many bits that is 1 modulo a power of two."""
    value = 2**bits - step + 1
    while value > 2 ** (bits - 1):
        if _is_prime(value):
            return value
        value -= step
    return None


def _is_prime(value: int) -> bool:
    """Miller-Rabin with the bases that decide all numbers below 3.3e24 (Sorenson and Webster, 2015)."""
    power = (value - 1 & -(value - 1)).bit_length() - 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):
        x = pow(base, value - 1 >> power, value)
        if x in (1, value - 1) or value == base:
            continue
        for _ in range(power - 1):
            x = x * x % value
            if x == value - 1:
                break
        else:
            return False
    return True
