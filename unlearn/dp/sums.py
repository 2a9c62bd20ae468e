"""The Gaussian mechanism on sums over households."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, as_floats, require_finite, require_not_negative, require_positive


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


def private_sum(vectors: ArrayLike, clip: float, noise_multiplier: float, seed: int | None) -> FloatArray:
    """Sum of clipped vectors with Gaussian noise of standard deviation `noise_multiplier · clip`.

    One household more or less moves the sum by at most `clip`, so that this is one
    `GaussianSteps(noise_multiplier, 1, 1)`.

    Args:
        vectors: one of each household, in which all its data are, shape (n_units, W).
        clip: Euclidean norm that vectors are clipped to, chosen without looking at them.
        noise_multiplier: σ.
        seed: of the noise, for experiments that repeat; who knows it can take the noise away. None draws it from the
            operating system's entropy.

    Returns:
        Shape (W,).

    Raises:
        InputError: not a finite matrix, or a clip or noise multiplier out of range.
    """
    require_not_negative("noise_multiplier", noise_multiplier)
    total = clipped(vectors, clip).sum(axis=0)
    return total + noise_multiplier * clip * np.random.default_rng(seed).standard_normal(total.shape)
