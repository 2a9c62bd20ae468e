"""Whole-number noise for many meters at once: discrete Laplace, and shares of it that add up to it.

`NoiseSource.discrete_gaussians` and its like draw one number after the other, exactly. A million meters need arrays.
Here a number is put together from a few digits, each looked up in a table of chances by 64 bits of the source, so that
any scale is drawn in a time that does not grow with it:

- A geometric number has independent digits, in any base.
- A Pólya number (negative binomial of any shape) is a sum of a Poisson number of logarithmic ones (Quenouille 1949).
  A logarithmic number falls between two powers of 2; there it is a geometric one that is kept with a chance of more
  than one half.

The tables are floats and end where less than 2⁻⁶⁴ is left. So a draw is not exact, but differs from its distribution by
less than 10⁻¹¹ in total variation: all draws of a release together add less than (1 + e^ε) 10⁻¹¹ times their number to
δ. Where that matters, as with one number that a curator adds, take the exact draws.
"""

from __future__ import annotations

import math

import numpy as np

from unlearn.checks import FloatArray, IntArray, require_positive
from unlearn.dp.noise import NoiseSource
from unlearn.errors import InputError

#: Bits of a digit, and what is left where tables end.
_DIGIT, _END = 12, 64

#: Larger scales might overflow sums of 64 bits.
_LARGEST = 2.0**40

#: Nodes and weights of Gauss and Legendre's rule on [0, 1]: exact to the last digits for what is integrated here.
_NODES, _WEIGHTS = (own / 2 for own in np.polynomial.legendre.leggauss(64))


def require_scale(scale: float) -> float:
    """Return a scale in whole steps that draws can have.

    Raises:
        InputError: not above 0, or above 2⁴⁰.
    """
    if require_positive("scale", scale) > _LARGEST:
        raise InputError(f"scale: expected at most {_LARGEST:.3g} steps, got {scale:.3g}. Count in coarser steps.")
    return float(scale)


def discrete_laplaces(n: int, scale: float, source: NoiseSource) -> IntArray:
    """n independent whole numbers, each x with a chance proportional to exp(-|x| / scale), shape (n,).

    Args:
        n: how many.
        scale: b, in whole steps.
        source: of bits.
    """
    require_scale(scale)
    return _geometrics(n, scale, source) - _geometrics(n, scale, source)


def polya_differences(n: int, shape: float, scale: float, source: NoiseSource) -> IntArray:
    """n independent differences of two Pólya numbers, which are discrete Laplace numbers where shapes add up to 1.

    A Pólya number k has a chance proportional to Γ(k + shape) / k! exp(-k / scale); the sum of two has the sum of
    their shapes (Ács and Castelluccia 2011, who use Gamma numbers likewise; Goryczka and Xiong 2017).

    Args:
        n: how many.
        shape: r > 0, such as one over the number of those who add a share.
        scale: b of the discrete Laplace distribution, in whole steps.
        source: of bits.

    Returns:
        Shape (n,).
    """
    require_positive("shape", shape)
    require_scale(scale)
    return _polyas(n, shape, scale, source) - _polyas(n, shape, scale, source)


def _look_up(survival: FloatArray, n: int, source: NoiseSource) -> IntArray:
    """n numbers k >= 0 with P(X > k) as the table says, which falls; 0 beyond its end."""
    ascending = np.ldexp(np.minimum(survival[::-1], 1 - 2.0**-53), 64).astype(np.uint64)
    return len(survival) - np.searchsorted(ascending, source.words(n), side="right").astype(np.int64)


def _geometrics(n: int, scale: float, source: NoiseSource) -> IntArray:
    """n numbers g >= 0 with chances proportional to exp(-g / scale)."""
    # Low digits, until the table of the rest is short.
    n_digits = max(0, math.ceil((math.log2(scale) + 6 - _DIGIT) / _DIGIT))
    rate = math.ldexp(1 / scale, _DIGIT * n_digits)
    rest = np.exp(-rate * np.arange(1, math.ceil(_END * math.log(2) / rate) + 2))
    found = _look_up(rest, n, source) << (_DIGIT * n_digits)
    return found + _geometrics_below(_DIGIT * n_digits, n, scale, source)


def _geometrics_below(n_bits: int, n: int, scale: float, source: NoiseSource) -> IntArray:
    """n numbers from 0 to 2^n_bits - 1 with chances proportional to exp(-g / scale)."""
    found = np.zeros(n, dtype=np.int64)
    for start in range(0, n_bits, _DIGIT):
        size = 1 << min(_DIGIT, n_bits - start)
        rate, above = math.ldexp(1 / scale, start), np.arange(1, size)
        survival = np.exp(-rate * above) * np.expm1(-rate * (size - above)) / math.expm1(-rate * size)
        found += _look_up(survival, n, source) << start
    return found


def _polyas(n: int, shape: float, scale: float, source: NoiseSource) -> IntArray:
    from scipy.special import pdtrc

    mean = -shape * math.log(-math.expm1(-1 / scale))
    last = math.ceil(mean + 12 * math.sqrt(mean) + 60)
    terms = _look_up(pdtrc(np.arange(last), mean), n, source)
    found = np.zeros(n, dtype=np.int64)
    np.add.at(found, np.repeat(np.arange(n), terms), _logarithmics(int(terms.sum()), scale, source))
    return found


def _logarithmics(n: int, scale: float, source: NoiseSource) -> IntArray:
    """n numbers k >= 1 with chances proportional to exp(-k / scale) / k."""
    mass = np.array([_mass(bits, scale) for bits in range(max(1, math.ceil(math.log2(scale) + 6)))])
    above = np.cumsum(mass[::-1])[::-1]
    bits = _look_up(above[1:] / above[0], n, source)
    found = np.ones(n, dtype=np.int64)
    for own in range(1, len(mass)):
        waiting = np.flatnonzero(bits == own)
        while len(waiting):
            drawn = (1 << own) + _geometrics_below(own, len(waiting), scale, source)
            # The geometric number is kept with a chance of 2^own / k, of 53 bits.
            kept = (source.words(len(waiting)) >> np.uint64(11)).astype(np.float64) < np.ldexp(1 / drawn, own + 53)
            found[waiting[kept]] = drawn[kept]
            waiting = waiting[~kept]
    return found


def _mass(bits: int, scale: float) -> float:
    """Sum of exp(-(k - 1) / scale) / k over k from 2^bits to 2^(bits + 1) - 1."""
    first = 1 << bits
    if bits <= _DIGIT:
        k = np.arange(first, 2 * first)
        return float((np.exp(-(k - 1) / scale) / k).sum())
    # Euler and Maclaurin's formula, from half way to half way between whole numbers; its next term is below 10⁻¹⁶.
    low, high = first - 0.5, 2 * first - 0.5
    x = low * (high / low) ** (_NODES + 0.5)
    integral = math.log(high / low) * float(_WEIGHTS @ np.exp(-(x - 1) / scale))
    slopes = [-math.exp(-(end - 1) / scale) * (1 / scale + 1 / end) / end for end in (low, high)]
    return integral - (slopes[1] - slopes[0]) / 24
