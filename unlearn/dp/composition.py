"""What several answers cost together: basic and advanced composition, and zero-concentrated differential privacy.

Three rules, each a bound by itself, so that the least of them counts:

- `basic`: ε and δ add up. It is the best one for few answers.
- `advanced`: ε grows with the root of the number of answers, at the price of some δ (Dwork, Rothblum and Vadhan 2010;
  with the constants of Kairouz, Oh and Viswanath 2015, theorem 3.5, for answers of different ε).
- `zcdp`: ρ adds up, and is turned into an (ε, δ) once, at the end (Bun and Steinke 2016; the conversion is that of
  Canonne, Kamath and Steinke 2020, proposition 12).

`basic` and `zcdp` also hold where later losses are chosen by what earlier answers were, as long as the limit on their
sum is fixed before (Rogers et al. 2016 for ε and δ, Feldman and Zrnic 2021 for ρ). `advanced` needs losses that are
fixed before the first answer; the questions may then still depend on earlier answers.

A loss is read as the decimal number that it is written as: ten answers of ε = 0.1 cost 1, not the little more that ten
times the binary number next to 0.1 would be.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from unlearn.checks import require_fraction, require_positive
from unlearn.errors import ConvergenceError, InputError

#: What float results are raised by, relatively: more than their roundings, so that they stay bounds.
_ROUNDING = 1e-12

#: Searches end at relative intervals of this width.
_RTOL = 1e-10


class Loss(NamedTuple):
    """What one answer costs; each of (ε, δ) and ρ is a promise by itself.

    Attributes:
        epsilon: ε of (ε, δ)-differential privacy; infinite where there is none, as of Gaussian noise at δ = 0.
        delta: δ of it.
        rho: ρ of zero-concentrated differential privacy, whatever δ is; infinite where there is none.
    """

    epsilon: float
    delta: float
    rho: float

    @classmethod
    def pure(cls, epsilon: float) -> Loss:
        """Of a mechanism with pure ε, such as Laplace noise: ρ = ε² / 2 (Bun and Steinke 2016, proposition 1.4)."""
        return cls(require_positive("epsilon", epsilon), 0.0, epsilon**2 / 2)

    @classmethod
    def gaussian(cls, sensitivity: float, sigma: float) -> Loss:
        """Of Gaussian noise, discrete or not: ρ = Δ² / 2σ² (Canonne, Kamath and Steinke 2020, theorem 4).

        Args:
            sensitivity: Δ, in Euclidean norm.
            sigma: σ in the same unit: the parameter of the distribution.
        """
        ratio = require_positive("sensitivity", sensitivity) / require_positive("sigma", sigma)
        return cls(math.inf, 0.0, ratio**2 / 2)


def basic(losses: Iterable[Loss]) -> tuple[float, float]:
    """ε and δ of all answers together, added up exactly.

    >>> basic([Loss.pure(0.1)] * 10)
    (1.0, 0.0)

    Args:
        losses: of each answer.

    Returns:
        ε and δ, each 0 where there are no answers.

    Raises:
        InputError: a loss is negative, NaN, or has a δ of 1 or more.
    """
    counted = _counted(losses)
    return _up(_epsilon(counted)), _up(_delta(counted))


def advanced(losses: Iterable[Loss], delta: float) -> float:
    """ε of all answers together at δ by advanced composition, at most that of `basic`.

    Kairouz, Oh and Viswanath (2015), theorem 3.5, with δ~ = δ - Σ δᵢ, which is no more than theirs: the least of Σ εᵢ,
    μ + √(2 S log(e + √S / δ~)) and μ + √(2 S log(1 / δ~)), with S = Σ εᵢ² and μ = Σ εᵢ tanh(εᵢ / 2).

    >>> round(advanced([Loss.pure(0.01)] * 1000, 1e-6), 2)
    1.64

    Args:
        losses: of each answer, all fixed before the first.
        delta: δ of all together, in (0, 1).

    Returns:
        ε; infinite where the answers' own δ are above δ.

    Raises:
        InputError: δ out of range; see also `basic`.
    """
    counted = _counted(losses)
    left = _exact(require_fraction("delta", delta)) - _delta(counted)
    total = _epsilon(counted)
    if left < 0 or total == math.inf:
        return math.inf
    if left == 0 or total == 0:
        return _up(total)
    squares = math.fsum(n * loss.epsilon**2 for loss, n in counted.items())
    mean = math.fsum(n * loss.epsilon * math.tanh(loss.epsilon / 2) for loss, n in counted.items())
    logs = (math.log(math.e + math.sqrt(squares) / float(left)), -math.log(float(left)))
    return min(_up(total), (mean + math.sqrt(2 * squares * min(logs))) * (1 + _ROUNDING))


def zcdp(losses: Iterable[Loss], delta: float) -> float:
    """ε of all answers together at δ, by their ρ.

    >>> round(zcdp([Loss.gaussian(sensitivity=1.0, sigma=10.0)] * 100, 1e-6), 2)
    5.22

    Args:
        losses: of each answer.
        delta: δ, in (0, 1).

    Returns:
        ε; infinite where an answer has no ρ.

    Raises:
        InputError: δ out of range; see also `basic`.
    """
    counted = _counted(losses)
    require_fraction("delta", delta)
    rho = sum((n * _exact(loss.rho) for loss, n in counted.items() if loss.rho < math.inf), Fraction(0))
    return math.inf if any(loss.rho == math.inf for loss in counted) else epsilon_of(_up(rho), delta)


def epsilon_of(rho: float, delta: float) -> float:
    """ε at δ of ρ-zero-concentrated differential privacy.

    Canonne, Kamath and Steinke (2020), proposition 12, solved for ε: the least over α > 1 of
    α ρ + log(1 - 1/α) + (log(1/δ) - log α) / (α - 1). Every α gives a bound, and none is below 0.

    Args:
        rho: ρ, at least 0.
        delta: δ, in (0, 1).

    Raises:
        InputError: one of them is out of range.
    """
    require_fraction("delta", delta)
    if not 0 <= rho < math.inf:
        raise InputError(f"rho: expected a finite number of at least 0, got {rho!r}.")
    if rho == 0:
        return 0.0

    def at(log_order: float) -> float:
        """By log(α - 1): a bound, which falls and then rises."""
        above = math.exp(log_order)
        rest = math.log1p(1 / above) + (math.log(delta) + math.log1p(above)) / above
        return (1 + above) * rho * (1 + _ROUNDING) - rest

    # Without its two small terms the least is where α - 1 = √(log(1/δ) / ρ).
    middle = (math.log(-math.log(delta)) - math.log(rho)) / 2
    low, high = middle - 30.0, middle + 30.0
    golden = (math.sqrt(5) - 1) / 2
    while high - low > 1e-7:  # the bound is flat there: its own error is the square of this
        first, second = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, second) if at(first) <= at(second) else (first, high)
    return max(0.0, at((low + high) / 2))


def rho_for(epsilon: float, delta: float) -> float:
    """The largest ρ, to ten digits, that keeps (ε, δ): the inverse of `epsilon_of`.

    >>> rho = rho_for(1.0, 1e-6)
    >>> epsilon_of(rho, 1e-6) <= 1.0
    True

    Args:
        epsilon: ε, above 0.
        delta: δ, in (0, 1).

    Raises:
        InputError: one of them is out of range.
    """
    require_positive("epsilon", epsilon)
    # The looser conversion ε = ρ + 2 √(ρ log(1/δ)) of Bun and Steinke keeps (ε, δ), with a smaller ρ.
    log = -math.log(require_fraction("delta", delta))
    low = (epsilon / (math.sqrt(log + epsilon) + math.sqrt(log))) ** 2 * (1 - 1e-9)
    high = 2 * low
    while epsilon_of(high, delta) <= epsilon:
        low, high = high, 2 * high
    while high - low > _RTOL * low:
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon_of(middle, delta) <= epsilon else (low, middle)
    return low


def gaussian_sigma_for(epsilon: float, delta: float, sensitivity: float) -> float:
    """The least σ, to ten digits, with which one answer with continuous Gaussian noise keeps (ε, δ).

    Balle and Wang (2018), theorem 8: δ = Φ(Δ/2σ - εσ/Δ) - e^ε Φ(-Δ/2σ - εσ/Δ), which is exact. Of several answers the ρ
    are to be added up instead.

    >>> round(gaussian_sigma_for(1.0, 1e-5, sensitivity=1.0), 4)
    3.7306

    Args:
        epsilon: ε, above 0.
        delta: δ, in (0, 1).
        sensitivity: Δ, in Euclidean norm, in the unit of σ.

    Raises:
        InputError: one of them is out of range.
        ConvergenceError: σ would be beyond a factor of 10¹² of Δ.
    """
    require_positive("epsilon", epsilon)
    require_fraction("delta", delta)
    require_positive("sensitivity", sensitivity)

    def keeps(sigma: float) -> bool:
        return _gaussian_delta(epsilon, 1 / sigma) <= delta

    high = 1.0
    while not keeps(high):
        high *= 2
        if high > 1e12:
            raise ConvergenceError(
                f"sigma: none below 1e12 sensitivities gives epsilon {epsilon:g} at delta {delta:g}. Raise either."
            )
    low = high / 2
    while keeps(low):
        low, high = low / 2, low
        if high < 1e-12:
            raise ConvergenceError(
                f"sigma: less than 1e-12 sensitivities keep epsilon {epsilon:g} at delta {delta:g}. Lower either."
            )
    while high - low > _RTOL * high:
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high * sensitivity


def gaussian_epsilon(sensitivity: float, sigma: float, delta: float) -> float:
    """ε at δ of one answer with continuous Gaussian noise, to ten digits from above: what `gaussian_sigma_for` inverts.

    It is exact, and so it is of several answers: together they are one whose (Δ/σ)² is the sum of theirs.

    >>> round(gaussian_epsilon(sensitivity=1.0, sigma=3.7306, delta=1e-5), 4)
    1.0

    Args:
        sensitivity: Δ, in Euclidean norm.
        sigma: σ in the same unit.
        delta: δ, in (0, 1).

    Returns:
        ε, at least 0; 0 where δ alone covers what is lost.

    Raises:
        InputError: one of them is out of range.
    """
    ratio = require_positive("sensitivity", sensitivity) / require_positive("sigma", sigma)
    require_fraction("delta", delta)
    if _gaussian_delta(0.0, ratio) <= delta:
        return 0.0
    # Zero-concentrated differential privacy bounds it from above.
    low, high = 0.0, epsilon_of(ratio**2 / 2, delta)
    while high - low > _RTOL * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _gaussian_delta(middle, ratio) <= delta else (middle, high)
    return high


def _gaussian_delta(epsilon: float, ratio: float) -> float:
    """δ of Gaussian noise at ε, with ratio = Δ / σ: Balle and Wang (2018), theorem 8."""
    from scipy.special import log_ndtr  # takes long to import, and the other rules do without

    first = float(log_ndtr(ratio / 2 - epsilon / ratio))
    second = epsilon + float(log_ndtr(-ratio / 2 - epsilon / ratio))
    return -math.exp(first) * math.expm1(min(second - first, 0.0))


def _counted(losses: Iterable[Loss]) -> Counter[Loss]:
    """How often each loss occurs; refuses what is none."""
    counted = Counter(losses)
    for loss in counted:
        if not (loss.epsilon >= 0 and 0 <= loss.delta < 1 and loss.rho >= 0):
            raise InputError(
                "losses: expected an epsilon and a rho of at least 0 and a delta in [0, 1), got "
                f"({loss.epsilon!r}, {loss.delta!r}, {loss.rho!r})."
            )
        if loss.rho == 0 and loss.epsilon > 0:
            raise InputError(
                f"losses: expected a rho above 0 beside an epsilon of {loss.epsilon:g}, got 0, which promises that an "
                "answer says nothing. Write math.inf where an answer has no rho, or make it by Loss.pure(epsilon)."
            )
    return counted


def _exact(value: float) -> Fraction:
    """The decimal number that a float is written as."""
    return Fraction(repr(float(value)))


def _epsilon(counted: Counter[Loss]) -> Fraction | float:
    if any(loss.epsilon == math.inf for loss in counted):
        return math.inf
    return sum((n * _exact(loss.epsilon) for loss, n in counted.items()), Fraction(0))


def _delta(counted: Counter[Loss]) -> Fraction:
    return sum((n * _exact(loss.delta) for loss, n in counted.items()), Fraction(0))


def _up(value: Fraction | float) -> float:
    """A float that is written as a number of at least `value`: the nearest one, or the next."""
    if value == math.inf:
        return math.inf
    nearest = float(value)
    return nearest if _exact(nearest) >= value else math.nextafter(nearest, math.inf)
