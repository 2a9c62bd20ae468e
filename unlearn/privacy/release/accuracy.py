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


def _tail(n_values: int, confidence: float) -> float:
    """Chance of one value to be beyond, where all n are within with the confidence."""
    return -math.expm1(math.log(require_fraction("confidence", confidence)) / require_count("n_values", n_values))


class _Noise(NamedTuple):
    """A distribution: what it stays within, by scale and chance to be beyond, and the scale by bound and chance."""

    bound: Callable[[float, float], float]
    scale: Callable[[float, float], float]
    whole: bool


def _normal_quantile(tail: float) -> float:
    """What a standard normal's size is above with this chance."""
    from scipy.special import ndtri

    return -float(ndtri(tail / 2))


def _laplace_beyond(steps: int, scale: float) -> float:
    """P(|X| > t) of the discrete Laplace distribution."""
    return 2 * math.exp(-(steps + 1) / scale) / (1 + math.exp(-1 / scale))


#: Up to this σ the discrete Gaussian's masses are added up; beyond, the sum is an integral to twelve digits.
_SUMMED = 1000.0


def _gaussian_beyond(steps: int, scale: float) -> float:
    """P(|X| > t) of the discrete Gaussian distribution."""
    if scale <= _SUMMED:
        reach = np.arange(1.0, math.ceil(40 * scale) + 2)
        both = [float(np.exp(-(((k + reach) / scale) ** 2) / 2).sum()) for k in (0, steps)]
        return 2 * both[1] / (1 + 2 * both[0])
    # Euler and Maclaurin's formula, from half way between two whole numbers on; all masses add up to σ √(2π).
    z = (steps + 0.5) / scale
    slope = z * math.exp(-z * z / 2) / (12 * scale**2 * math.sqrt(2 * math.pi))
    return max(0.0, math.erfc(z / math.sqrt(2)) - slope)


#: P(|X| > t) by t, in whole steps, and scale: falls with t and rises with the scale.
_Beyond = Callable[[int, float], float]


def _least_steps(beyond: _Beyond) -> Callable[[float, float], float]:
    def bound(scale: float, tail: float) -> float:
        if beyond(0, scale) <= tail:
            return 0.0
        low, high = 0, 1
        while beyond(high, scale) > tail:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if beyond(middle, scale) <= tail else (middle, high)
        return float(high)

    return bound


def _largest_scale(beyond: _Beyond) -> Callable[[float, float], float]:
    def scale(bound: float, tail: float) -> float:
        steps = math.floor(bound)
        # A thousandth of a step is no noise, and keeps within any bound.
        low, high = 1e-3, 1.0
        while beyond(steps, high) <= tail:
            low, high = high, 2 * high
        while high - low > 1e-10 * low:
            middle = (low + high) / 2
            low, high = (middle, high) if beyond(steps, middle) <= tail else (low, middle)
        return low

    return scale


_NOISES = {
    "laplace": _Noise(lambda scale, tail: -scale * math.log(tail), lambda bound, tail: -bound / math.log(tail), False),
    "gaussian": _Noise(
        lambda scale, tail: scale * _normal_quantile(tail), lambda bound, tail: bound / _normal_quantile(tail), False
    ),
    "discrete_laplace": _Noise(_least_steps(_laplace_beyond), _largest_scale(_laplace_beyond), True),
    "discrete_gaussian": _Noise(_least_steps(_gaussian_beyond), _largest_scale(_gaussian_beyond), True),
}
