"""The Gaussian mechanism on sums over households, in whole numbers.

Floats give away more than they seem to: which of them noise can make depends on what it is added to, so that last bits
tell what the noise should hide (Mironov 2012), and a sum of floats moves by more than the clip when another household
shifts its roundings (Casacuberta et al. 2022). So each household's vector is rounded to a grid, towards 0, which never
makes it longer; its length is checked in whole numbers; sums of whole numbers are exact; and the noise is a discrete
Gaussian on the same grid, drawn exactly.

With K, the clip in widths of the grid (2³⁰ to 2³¹), and σ the noise multiplier, one household more or less moves the
sum by at most K in Euclidean norm and the noise has the parameter (σ K)² rounded up. It is then (1/2σ²)-concentrated
private as the continuous Gaussian mechanism is (Canonne, Kamath and Steinke 2020, theorem 14), and `GaussianSteps(σ, 1,
1)` accounts for it: the continuous mechanism, rounded, keeps (ε, δ), and differs from this one by less than
W / (16 (σ K)²) in total variation, which adds (1 + e^ε) times as much to δ. That is below 10⁻¹¹ for W up to ten
thousand, σ from 0.1 on and ε up to 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    FloatArray,
    IntArray,
    as_floats,
    require_finite,
    require_not_negative,
    require_positive,
)
from unlearn.dp.noise import Noise, NoiseSource, noise_source
from unlearn.errors import InputError

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
    require_not_negative("noise_multiplier", noise_multiplier)
    source, grid = noise_source(noise), Grid(clip)
    total = grid.rounded(vectors).sum(axis=0).tolist()
    drawn = grid.noise(len(total), noise_multiplier, source)
    return np.array([float(own + more) for own, more in zip(total, drawn, strict=True)]) * grid.width
