"""How exact approximate encryption is: parameters of CKKS that follow from a wanted precision, with a bound of errors.

Approximate encryption (Cheon, Kim, Kim and Song, 2017) keeps numbers as round(scale * number) plus noise. Its large
errors are not those of random inputs. A weight that is rounded errs in the same direction for all terms, so equal
inputs at the border add up what random signs let cancel. A vector of equal numbers puts all of itself into one
coefficient and wraps around long before a random one. A small number beside a large one is as exact as float64 is for
the large one. So scales and modulus are derived from the *worst* input, and numbers beyond the agreed range are
refused at encryption.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import lru_cache

from unlearn.checks import require_count, require_positive
from unlearn.errors import InputError, ProtocolError

#: Largest modulus of 128-bit security by degree, in bits (homomorphic encryption standard, 2018), as SEAL checks.
MAX_BITS = {4096: 109, 8192: 218, 16384: 438, 32768: 881}

#: Bits of the prime that SEAL takes off each fresh ciphertext, which divides the noise of encryption.
SPECIAL_BITS = 36

#: Flooding noise is this many bits above the noise that it hides.
FLOOD_BITS = 40

#: One coefficient of noise times sqrt(degree) is below this many standard deviations in every slot: Hoeffding's bound
#: over all slots of a ciphertext, both parts, fails with probability below 2^-40.
_TAIL = 9.0
_UNIT = 2.0**-53


@dataclass(frozen=True)
class Task:
    """What is computed on encrypted numbers, agreed upon before keys are made; everybody can read it in the keys.

    Attributes:
        largest: the numbers lie within -largest..largest.
        absolute: wanted bound of a result's error, in the unit of the result.
        terms: addends of a result.
        mass: bound of the sum of a result's absolute weights; `terms` for a plain sum.
        squares: whether sums of squares are computed, too, without weights.
        flooded: whether results are flooded, so that they tell of the weights no more than their values.

    Raises:
        InputError: a number that is not positive.
    """

    largest: float
    absolute: float
    terms: int = 1
    mass: float = 1.0
    squares: bool = False
    flooded: bool = False

    def __post_init__(self) -> None:
        # Of Python, so that both sides of a computation write the same text.
        object.__setattr__(self, "terms", require_count("terms", self.terms))
        for name in ("largest", "absolute", "mass"):
            object.__setattr__(self, name, require_positive(name, getattr(self, name)))

    @property
    def text(self) -> str:
        """As settings of keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Task:
        """Read what `text` wrote.

        Raises:
            ProtocolError: another text.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError, InputError):
            raise ProtocolError("settings of keys: expected those of approximate encryption, got others.") from None


@dataclass(frozen=True)
class RealParameters:
    """Parameters of CKKS.

    Attributes:
        degree: N; a ciphertext holds N / 2 numbers.
        prime_bits: of each prime of the modulus; the last is taken off before anything is computed.
        scale_bits, weight_bits: numbers are kept in steps of 2^-scale_bits, weights in steps of 2^-weight_bits.
        error: bound of a result's error; exceeded with probability below 2^-40 whatever the input.
        flood: flooding noise is uniform within -flood..flood, 0 where there is none.
        term_error: bound of the error of one encrypted number, and of the mean of several.
    """

    degree: int
    prime_bits: tuple[int, ...]
    scale_bits: int
    weight_bits: int
    error: float
    flood: float
    term_error: float

    @property
    def slots(self) -> int:
        return self.degree // 2


def fresh_noise(degree: int) -> float:
    """Bound of a fresh ciphertext's noise in every slot, in units of 1 / scale.

    Encryption's own noise is divided by the special prime. What is left are roundings e0 + e1 s of both polynomials,
    with coefficients within 1/2 and a ternary key of variance 2/3, and the rounding of the encoded numbers, which an
    input can steer: at most 1/2 for each of the N coefficients.
    """
    root = math.sqrt(degree)
    rounding = _TAIL * 0.5 * root * (1.0 + _TAIL * math.sqrt(2.0 / 3.0) * root)
    # e0 + e1 s + u e of SEAL, of variance 21/2 each.
    own = _TAIL * math.sqrt(10.5) * root * (1.0 + 2.0 * _TAIL * math.sqrt(2.0 / 3.0) * root)
    return rounding + own / 2.0 ** (SPECIAL_BITS - 1) + degree / 2


@lru_cache(maxsize=64)
def parameters(task: Task) -> RealParameters:
    """The least parameters that keep a result's error within `task.absolute` for every input within range.

    >>> own = parameters(Task(largest=100.0, absolute=1e-4, terms=140, mass=20.0))
    >>> own.degree, own.error <= 1e-4
    (8192, True)

    Raises:
        InputError: more than float64 can tell apart, or than fits into 128-bit security.
    """
    for degree, most in MAX_BITS.items():
        try:
            found = _at(task, degree, most)
        except OverflowError:  # numbers beyond those of float64
            break
        if found is not None:
            return found
    raise InputError(
        f"precision: expected a range and a precision that 128-bit security has room for, got {task.absolute:g} within "
        f"{task.largest:g}. Ask for less."
    )


def _at(task: Task, degree: int, most: int) -> RealParameters | None:
    noise, float_error = fresh_noise(degree), math.sqrt(degree) * 2.0 * (math.log2(degree) + 4.0) * _UNIT
    x, terms, third = task.largest, task.terms, task.absolute / 4.0
    weight_bits = 0 if task.squares else max(1, math.ceil(math.log2(max(1.0, terms * x / (2.0 * third)))))
    # Weights as they are rounded, and what their rounding adds for the worst input.
    mass = float(terms) if task.squares else task.mass + terms * 2.0 ** -(weight_bits + 1)
    rounded = 0.0 if task.squares else terms * x * 2.0 ** -(weight_bits + 1)
    # Flooding by 2^40 times the noise that it hides, with the fresh zero that is added to a result and finer parts.
    times = (mass + 1.0) * (1.0 + (1.001 * 2.0**FLOOD_BITS if task.flooded else 0.0))
    if task.squares:
        times = terms * (2.0 * x + 1.0)
    scale_bits = max(20, math.ceil(math.log2(times * noise / third)))
    fresh = noise / 2.0**scale_bits
    # Encoding and decoding are in float64, as exact as it is for the largest number of a vector.
    largest = terms * (x + fresh) ** 2 if task.squares else mass * (x + fresh)
    flood = 2.0**FLOOD_BITS * (mass + 1.0) * fresh if task.flooded else 0.0
    rest = float_error * (2.0 * largest * (2.0 if task.squares else 1.0) + flood)
    error = times * fresh + rounded + rest
    if error > task.absolute:
        if degree == max(MAX_BITS):
            raise InputError(
                f"absolute: expected an error that float64 can tell apart within {task.largest:g}, got "
                f"{task.absolute:g}. Ask for a larger one."
            )
        return None
    total = 2 * scale_bits if task.squares else scale_bits + weight_bits
    # A value of x fills a coefficient of scale * x where all slots are equal; sign and a factor two to spare.
    bits = total + math.ceil(math.log2(largest + 2.0 * flood + 1.0)) + 3
    n_primes = max(1, math.ceil(bits / 58))
    each = max(30, math.ceil((bits + n_primes) / n_primes))
    if n_primes * each + SPECIAL_BITS > most or each > 60:
        return None
    return RealParameters(
        degree,
        (*(each,) * n_primes, SPECIAL_BITS),
        scale_bits,
        weight_bits,
        error,
        flood,
        fresh + 4.0 * float_error * x,
    )
