"""What noise does to an answer: how far it is from what it would be without, and the noise that stays within that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from unlearn.checks import require_choice, require_count, require_fraction, require_positive
from unlearn.errors import InputError


def error_bound(noise: str, scale: float, n_values: int = 1, confidence: float = 0.95) -> float:
    """What the noise of all values together stays within, with this chance.

    Draws are independent, so that all n stay within t with a chance of P(|X| <= t)ⁿ, exactly.

    >>> round(error_bound("laplace", scale=2.0), 2)
    5.99
    >>> error_bound("discrete_laplace", scale=2.0)
    6.0

    Args:
        noise: "laplace", "gaussian", "discrete_laplace" or "discrete_gaussian".
        scale: b of a Laplace distribution, the parameter σ of a Gaussian; of discrete ones in whole steps.
        n_values: how many values are to be within at once.
        confidence: the chance.

    Returns:
        t in the unit of the scale; a whole number for discrete noise, the least that keeps to the chance.

    Raises:
        InputError: no such noise, or a setting out of range.
    """
    return _NOISES[require_choice("noise", noise, _NOISES)].bound(
        require_positive("scale", scale), _tail(n_values, confidence)
    )


def scale_for_error(noise: str, bound: float, n_values: int = 1, confidence: float = 0.95) -> float:
    """The largest scale with which the noise of all values together stays within a bound; inverse of `error_bound`.

    >>> error_bound("laplace", scale_for_error("laplace", bound=6.0))
    6.0

    Args:
        noise: see `error_bound`.
        bound: what all values are to stay within; of discrete noise in whole steps, rounded down.
        n_values: how many.
        confidence: with which chance.

    Returns:
        The scale, to ten digits from below.

    Raises:
        InputError: no such noise, a setting out of range, or less than a whole step for discrete noise.
    """
    own = _NOISES[require_choice("noise", noise, _NOISES)]
    require_positive("bound", bound)
    if own.whole and bound < 1:
        raise InputError(f"bound: expected at least 1 step for {noise} noise, got {bound:g}. Count in finer steps.")
    return own.scale(bound, _tail(n_values, confidence))
