"""Where noise and sampling coins come from: the operating system's generator, or a seed where all data are simulated.

Whoever can draw the noise again can take it away, and a promise with it. So real data get bits that nobody can draw
again. A seed is for experiments that repeat, and is accepted only with data sets that say that they are simulated.

Two kinds of numbers are made of the bits. `discrete_gaussians` and `discrete_laplaces` are exact: whole numbers, no
float on the way. `normals` are floats, of which each is the sum of four: what their last bits tell of a single one is
hidden by the others (Holohan and Braghin 2021, as in Opacus' secure mode). That is a mitigation and no proof.

`private_sum` is the Gaussian mechanism on sums over households, in whole numbers. Floats give away more than they seem
to: which of them noise can make depends on what it is added to, so that last bits tell what the noise should hide
(Mironov 2012), and a sum of floats moves by more than the clip when another household shifts its roundings (Casacuberta
et al. 2022). So each household's vector is rounded to a grid, towards 0, which never makes it longer; its length is
checked in whole numbers; sums of whole numbers are exact; and the noise is a discrete Gaussian on the same grid, drawn
exactly.

With K, the clip in widths of the grid (2³⁰ to 2³¹), and σ the noise multiplier, one household more or less moves the
sum by at most K in Euclidean norm and the noise has the parameter (σ K)² rounded up. It is then (1/2σ²)-concentrated
private as the continuous Gaussian mechanism is (Canonne, Kamath and Steinke 2020, theorem 14), and `GaussianSteps(σ, 1,
1)` accounts for it: the continuous mechanism, rounded, keeps (ε, δ), and differs from this one by less than
W / (16 (σ K)²) in total variation, which adds (1 + e^ε) times as much to δ. That is below 10⁻¹¹ for W up to ten
thousand, σ from 0.1 on and ε up to 5.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    as_floats,
    require_finite,
    require_not_negative,
    require_positive,
)
from unlearn.errors import InputError

#: Gaussians that a normal is the sum of.
_SUMMED = 4

#: Bytes that the exact sampler asks for at a time; they die with the call, so that no forked process has them too.
_BLOCK = 2048


@dataclass(frozen=True)
class SimulatedNoise:
    """Noise that can be drawn again: `simulated(seed)`. It protects nobody.

    Attributes:
        seed: at least 0.
    """

    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise InputError(f"noise: expected a seed that is a whole number of at least 0, got {self.seed!r}.")


#: What callers ask for.
Noise = Literal["os"] | SimulatedNoise


@runtime_checkable
class _HasOrigin(Protocol):
    """Data that say whether they are simulated."""

    @property
    def simulated(self) -> bool: ...


class NoiseSource:
    """Bits that noise and coins are made of; `noise_source` makes one.

    Attributes:
        kind: "os", or "simulated", which protects nobody.
    """

    def __init__(self, kind: str, read: Callable[[int], bytes]) -> None:
        self.kind, self._read = kind, read

    def __repr__(self) -> str:
        return f"NoiseSource({self.kind!r})"

    def bytes(self, n: int) -> bytes:
        """The next n bytes."""
        return self._read(n)

    def words(self, n: int) -> np.ndarray:
        """The next n whole numbers from 0 to 2⁶⁴ - 1, shape (n,), uint64."""
        return np.frombuffer(self.bytes(8 * n), dtype="<u8")

    def coins(self, n: int, chance: float) -> BoolArray:
        """n independent coins, each True with this chance rounded down to a multiple of 2⁻⁶⁴, shape (n,)."""
        if chance >= 1:
            return np.ones(n, dtype=bool)
        return cast(BoolArray, self.words(n) < np.uint64(math.floor(Fraction(chance) * 2**64)))

    def normals(self, n: int) -> FloatArray:
        """n independent standard normal floats, each the sum of four over 2, shape (n,)."""
        pairs = (_SUMMED * n + 1) // 2
        # From 2⁻⁵³ to 1: of four sums of them none is beyond 17 standard deviations.
        uniform = ((self.words(2 * pairs) >> np.uint64(11)) + np.uint64(1)).astype(np.float64) * 2.0**-53
        radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
        drawn = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        return cast(FloatArray, drawn[: _SUMMED * n].reshape(_SUMMED, n).sum(axis=0) / math.sqrt(_SUMMED))

    def discrete_gaussians(self, n: int, variance: int) -> list[int]:
        """n independent whole numbers, each x with a chance proportional to exp(-x² / (2 variance)), exactly.

        Canonne, Kamath and Steinke (2020), algorithms 1 to 3: rejection from a discrete Laplace distribution, every
        coin of which is exact.

        Args:
            n: how many.
            variance: parameter σ² > 0; the variance is never above it, and is next to it from σ² = 1 on.
        """
        bits = _Bits(self)
        return [_discrete_gaussian(variance, bits) for _ in range(n)]

    def discrete_laplaces(self, n: int, scale: float | Fraction) -> list[int]:
        """n independent whole numbers, each x with a chance proportional to exp(-|x| / scale), exactly.

        Canonne, Kamath and Steinke (2020), algorithm 2.

        Args:
            n: how many.
            scale: above 0; a float stands for the fraction that it is.

        Raises:
            InputError: a scale that is not above 0 and finite.
        """
        exact = scale if isinstance(scale, Fraction) else Fraction(require_positive("scale", scale))
        if exact <= 0:
            raise InputError(f"scale: expected a number above 0, got {float(exact):g}.")
        bits = _Bits(self)
        return [_discrete_laplace(exact.numerator, bits, exact.denominator) for _ in range(n)]

    def seed(self) -> int:
        """A seed of 63 bits for choices that no promise rests on, such as days of a household whose gradient is cut."""
        return int(self.words(1)[0] >> np.uint64(1))


def noise_source(noise: Noise | NoiseSource, *data: object) -> NoiseSource:
    """Return where to draw noise from.

    Args:
        noise: "os": bits that nobody can draw again; or `SimulatedNoise(seed)`. A source is returned as it is.
        *data: all data sets that the noise is to protect. A seed is refused unless each says that it is simulated.

    Raises:
        InputError: anything else, or a seed where data may be real.
    """
    if isinstance(noise, NoiseSource):
        return noise
    if isinstance(noise, SimulatedNoise):
        if not data or not all(isinstance(one, _HasOrigin) and one.simulated is True for one in data):
            named = ", ".join(str(getattr(one, "name", type(one).__name__)) for one in data) or "data of unknown origin"
            raise InputError(
                f'noise: expected "os" for {named}, got a seed: whoever knows or guesses it takes the noise away. '
                "Seeds are for data that simulate_households has made in this process; what comes from a file, or "
                'was put together otherwise, counts as real. Pass noise="os".'
            )
        # Of all 128 bits of NumPy's state, and of a stream that nothing else draws from the same seed.
        return NoiseSource("simulated", np.random.default_rng([int(noise.seed), 0x6E6F697365]).bytes)
    if noise != "os":
        raise InputError(f'noise: expected "os" or SimulatedNoise(seed), got {noise!r}.')
    return NoiseSource("os", _from_os)


def _from_os(n: int) -> bytes:
    """Bytes of the operating system's cryptographic generator; what tests replace."""
    return os.urandom(n)


class _Bits:
    """Whole numbers of a few bits each."""

    def __init__(self, source: NoiseSource) -> None:
        self._source, self._value, self._left = source, 0, 0

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1, all alike: by rejection, without a remainder."""
        width = (n - 1).bit_length()
        while True:
            if self._left < width:
                fresh = max(_BLOCK, -(-width // 8))
                self._value |= int.from_bytes(self._source.bytes(fresh), "little") << self._left
                self._left += 8 * fresh
            drawn = self._value & ((1 << width) - 1)
            self._value >>= width
            self._left -= width
            if drawn < n:
                return drawn


def _discrete_gaussian(variance: int, bits: _Bits) -> int:
    width = math.isqrt(variance) + 1
    while True:
        drawn = _discrete_laplace(width, bits)
        # exp(-(|y| - σ²/t)² / (2 σ²)), as a fraction of whole numbers.
        if _happens((abs(drawn) * width - variance) ** 2, 2 * variance * width**2, bits):
            return drawn


def _discrete_laplace(scale: int, bits: _Bits, divisor: int = 1) -> int:
    """A whole number x with a chance proportional to exp(-|x| divisor / scale)."""
    while True:
        rest = bits.below(scale)
        if not _happens_at_most_one(rest, scale, bits):
            continue
        whole = 0
        while _happens_at_most_one(1, 1, bits):
            whole += 1
        magnitude, negative = (rest + scale * whole) // divisor, bits.below(2)
        if magnitude or not negative:
            return -magnitude if negative else magnitude


def _happens(numerator: int, denominator: int, bits: _Bits) -> bool:
    """True with a chance of exp(-numerator / denominator)."""
    whole, rest = divmod(numerator, denominator)
    for _ in range(whole):
        if not _happens_at_most_one(1, 1, bits):
            return False
    return _happens_at_most_one(rest, denominator, bits)


def _happens_at_most_one(numerator: int, denominator: int, bits: _Bits) -> bool:
    """True with a chance of exp(-γ) for γ = numerator / denominator of at most 1.

    The series of exp(-γ) alternates: coins of chance γ/1, γ/2, ... are thrown until one fails, and the number of
    throws is odd with this chance.
    """
    k = 1
    while bits.below(denominator * k) < numerator:
        k += 1
    return k % 2 == 1


#: The clip is at least 2 to this power widths of the grid, and less than twice as many.
_BITS = 30


def clipped(vectors: ArrayLike, clip: float) -> FloatArray:
    """Shorten vectors to at most `clip` in Euclidean norm; shorter ones stay as they are.

    Args:
        vectors: one of each household, shape (n_units, W).
        clip: the longest that they may be.

    Raises:
        InputError: not a finite matrix, or a clip that is not above 0.
    """
    array = as_floats("vectors", vectors, ndim=2)
    require_finite("vectors", array)
    require_positive("clip", clip)
    norm = np.linalg.norm(array, axis=1, keepdims=True)
    return array * (clip / np.maximum(norm, clip))


@dataclass(frozen=True)
class Grid:
    """Whole numbers that stand for vectors of at most a norm.

    Attributes:
        clip: the norm.

    Raises:
        InputError: a clip that is not above 0 and finite, or too small for floats to have a grid below it.
    """

    clip: float

    def __post_init__(self) -> None:
        if require_positive("clip", self.clip) < 1e-290:
            raise InputError(f"clip: expected at least 1e-290, got {self.clip:g}. Take other units.")

    @property
    def width(self) -> float:
        """Distance of the grid's points: a power of 2, so that multiples of it are exact floats."""
        return math.ldexp(1.0, math.frexp(self.clip)[1] - 1 - _BITS)

    @property
    def longest(self) -> int:
        """K: the longest vector in widths, `clip` rounded down."""
        return int(Fraction(self.clip) / Fraction(self.width))

    def rounded(self, vectors: ArrayLike) -> IntArray:
        """Vectors in widths, shape (n_units, W): clipped, rounded towards 0, and none longer than K, exactly."""
        array = as_floats("vectors", vectors, ndim=2)
        require_finite("vectors", array)
        with np.errstate(over="ignore"):  # what overflows is cut, too
            array = np.clip(array / self.width, -(2.0**500), 2.0**500)
        norm = np.linalg.norm(array, axis=1, keepdims=True)
        whole = np.trunc(array * (self.longest / np.maximum(norm, self.longest))).astype(np.int64)
        # Floats have measured the norm; whole numbers decide.
        while (over := np.square(whole).sum(axis=1) > self.longest**2).any():
            whole[over] = np.trunc(whole[over] * (1 - 2.0**-28)).astype(np.int64)
        return cast(IntArray, whole)

    def noise(self, n: int, noise_multiplier: float, source: NoiseSource) -> list[int]:
        """n whole numbers of noise in widths, for sums of vectors of at most K; zeros where the multiplier is 0."""
        require_not_negative("noise_multiplier", noise_multiplier)
        if noise_multiplier == 0:
            return [0] * n
        return source.discrete_gaussians(n, math.ceil((Fraction(noise_multiplier) * self.longest) ** 2))


def private_sum(
    vectors: ArrayLike, clip: float, noise_multiplier: float, noise: Noise | NoiseSource = "os"
) -> FloatArray:
    """Sum of clipped vectors with discrete Gaussian noise of standard deviation `noise_multiplier · clip`.

    One household more or less moves the sum by at most `clip`, so that this is one
    `GaussianSteps(noise_multiplier, 1, 1)`.

    Args:
        vectors: one of each household, in which all its data are, shape (n_units, W).
        clip: Euclidean norm that vectors are clipped to, chosen without looking at them. They are rounded to a grid
            of at most `clip / 2³⁰`.
        noise_multiplier: σ.
        noise: "os", or a source that `noise_source` gave for the data that the vectors are made of.

    Returns:
        Multiples of the grid's width, shape (W,).

    Raises:
        InputError: not a finite matrix, a clip or noise multiplier out of range, or a seed for data of unknown origin.
    """
    source, grid = noise_source(noise), Grid(clip)
    total = grid.rounded(vectors).sum(axis=0).tolist()
    drawn = grid.noise(len(total), noise_multiplier, source)
    return np.array([float(own + more) for own, more in zip(total, drawn, strict=True)]) * grid.width
