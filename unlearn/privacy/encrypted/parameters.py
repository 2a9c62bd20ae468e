"""Parameters of exact encrypted sums, derived from what is summed so that even the worst case comes out exactly.

A number v of low..high is written as the digits of v - low in a base B, one coefficient of a polynomial each. Sums of
digits stay below the plaintext modulus t > n (B - 1) for n addends, so nothing wraps around. Each fresh ciphertext has
noise of at most 21 (2N + 1), for SEAL's errors are at most 21 and its secrets -1, 0 or 1; scaling a plaintext adds at
most 1/2. The ciphertext decrypts to the truth while n (21 (2N + 1) + 1/2) < q / 2t. These are bounds, not
probabilities. Degree N and bits of q are those of 128-bit security, as SEAL and the HomomorphicEncryption.org standard
(2018) have them.

All of q serves the noise: sums need neither rotations nor relinearisation, so there is no prime for switching keys.
Coefficients rather than slots are used because t is then free to be a power of two with q = 1 modulo t. The rounding
of a plaintext in SEAL's scaling is then m / t, so that of a sum depends on the sum alone: together with the noise of
encryption, which knows no readings, the key holder sees nothing of one meter beyond the total.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

from unlearn.checks import require_count
from unlearn.errors import InputError, ProtocolError

#: Largest modulus with 128-bit security, in bits, by the degree; one prime of at most 60 bits is used.
_BITS = {1024: 27, 2048: 54, 4096: 60}

#: Largest |error| of SEAL's centered binomial distribution.
_ERROR = 21


@dataclass(frozen=True)
class Summands:
    """What each sender encrypts, and how many may be added.

    >>> day = Summands(n_values=24, low=0, high=2**16 - 1, addends=10_000)
    >>> parameters(day).degree, parameters(day).digits, parameters(day).n_ciphertexts
    (2048, 2, 1)

    Attributes:
        n_values: numbers of each sender, such as 24 hours or a day of each of several feeders.
        low, high: least and largest of these, whole numbers.
        addends: senders that a sum may have at most.

    Raises:
        InputError: no whole numbers, high not above low, or a range beyond 2^62.
    """

    n_values: int
    low: int
    high: int
    addends: int

    def __post_init__(self) -> None:
        for name in ("n_values", "addends"):
            object.__setattr__(self, name, require_count(name, getattr(self, name)))
        for name in ("low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise InputError(f"{name}: expected a whole number, got {value!r}.")
        if not self.low < self.high or max(abs(self.low), abs(self.high)) > 2**62:
            raise InputError(
                f"high: expected a whole number above low, both within 2^62, got {self.low} to {self.high}."
            )

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


@dataclass(frozen=True)
class SumParameters:
    """How such sums are encrypted.

    Attributes:
        degree: N, coefficients of a ciphertext.
        modulus: q, a prime.
        plain_modulus: t, a power of two.
        digits: D of each number.
        base: B of the digits.
        n_ciphertexts: of each sender.
        spare_bits: log2 of q / 2t over the largest noise; above zero.
    """

    degree: int
    modulus: int
    plain_modulus: int
    digits: int
    base: int
    n_ciphertexts: int
    spare_bits: float


@lru_cache(maxsize=64)
def parameters(summands: Summands) -> SumParameters:
    """The parameters with the fewest bytes, of those the smallest degree and then the fewest digits.

    Raises:
        InputError: so many addends that the noise leaves no room; sum in several groups.
    """
    found = list(_candidates(summands))
    if not found:
        raise InputError(
            f"addends: expected few enough for the noise of one key, got {summands.addends}. Sum in several groups, "
            "each with a run of its own."
        )
    return min(found, key=lambda one: (one.n_ciphertexts * one.degree * _BITS[one.degree], one.degree, one.digits))


def _candidates(summands: Summands) -> Iterator[SumParameters]:
    span, n = summands.high - summands.low, summands.addends
    for degree, bits in _BITS.items():
        for digits in range(1, span.bit_length() + 1):
            base = _root(span + 1, digits)
            # Twice what sums need: digits stay below t / 2, where the rounding of SEAL's scaling is m / t.
            plain = 2 ** (2 * n * (base - 1)).bit_length()
            noise = n * (2 * _ERROR * (2 * degree + 1) + 1)  # twice the bound, a whole number
            if plain * noise >= 2**bits:
                continue
            modulus = _prime(bits, max(2 * degree, plain))
            if modulus is None or plain * noise >= modulus:
                continue
            parts = -(-summands.n_values * digits // degree)
            spare = math.log2(modulus / (plain * noise))
            yield SumParameters(degree, modulus, plain, digits, base, parts, spare)


def _root(value: int, digits: int) -> int:
    """The least base of so many digits for numbers below value."""
    base = max(2, round(value ** (1 / digits)) - 1)
    while base**digits < value:
        base += 1
    return base


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
