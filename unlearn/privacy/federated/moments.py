"""Sufficient statistics as vectors that can be summed, subtracted and sent; and the same about other origins.

A vector holds, of the moments of rows `z = [φ, y]` of size S = D + B, the S (S + 1) / 2 entries on and above the
diagonal, row by row, then the S error bounds, then the total weight. High and low parts are kept apart: their sum is
exact to some 1e-22, so that what was added can be subtracted again without a trace that an error bound would not cover.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import ProtocolError
from unlearn.linalg import SufficientStatistics
from unlearn.linalg.gram import ROUNDOFF, two_sum

#: Relative error of a few operations on pairs of a high and a low part.
_PAIRS = 16 * ROUNDOFF**2

#: Columns repeat each other where their correlation is that close to 1 or -1, as in `distinct_columns`.
_REPEATS = 1e-12

#: Splits a float64 into two halves whose products are exact (Dekker, Numer. Math. 18, 1971).
_HALVES = 2.0**27 + 1


def vector_length(size: int) -> int:
    """Numbers in the vector of statistics of rows with S entries.

    >>> vector_length(3)  # 6 moments, 3 bounds, 1 total
    10
    """
    return size * (size + 1) // 2 + size + 1


def as_vector(statistics: SufficientStatistics) -> FloatArray:
    """High and low part of statistics as a vector, shape (2, n)."""
    upper = np.triu_indices(len(statistics.rounding))
    pairs = statistics.moments.numpy()[:, upper[0], upper[1]]
    plain = np.append(statistics.rounding.numpy(), statistics.total)
    return np.concatenate([pairs, np.stack([plain, np.zeros_like(plain)])], axis=1)


def from_vector(vector: FloatArray, n_columns: int, n_outputs: int, what: str = "statistics") -> SufficientStatistics:
    """Take statistics back from a vector, shape (2, n).

    Args:
        vector: as `as_vector` made it, or a sum of such.
        n_columns: D.
        n_outputs: B.
        what: whose it is, for the error.

    Raises:
        ProtocolError: another length; NaN or infinity.
    """
    size = n_columns + n_outputs
    if vector.shape != (2, vector_length(size)):
        raise ProtocolError(
            f"{what}: expected {vector_length(size)} numbers, high and low part, for {n_columns} columns and "
            f"{n_outputs} loads, got shape {vector.shape}. Let every party run the same version."
        )
    if not np.isfinite(vector).all():
        raise ProtocolError(f"{what}: expected finite numbers, got NaN or infinity. Nothing was added.")
    n_pairs = size * (size + 1) // 2
    moments, upper = np.zeros((2, size, size)), np.triu_indices(size)
    moments[:, upper[0], upper[1]] = vector[:, :n_pairs]
    moments[:, upper[1], upper[0]] = vector[:, :n_pairs]
    bounds = vector[0, n_pairs:-1].copy()
    return SufficientStatistics(torch.from_numpy(moments), torch.from_numpy(bounds), float(vector[0, -1]), n_columns)


def added(one: SufficientStatistics, other: SufficientStatistics) -> SufficientStatistics:
    """The statistics of the rows of both; error bounds add up, as if errors could be alike."""
    high, error = two_sum(one.moments[0], other.moments[0])
    moments = torch.stack(two_sum(high, error + one.moments[1] + other.moments[1]))
    lost = _PAIRS * torch.maximum(one.moments[0].diagonal().abs(), other.moments[0].diagonal().abs())
    return SufficientStatistics(moments, one.rounding + other.rounding + lost, one.total + other.total, one.n_columns)


def negated(statistics: SufficientStatistics) -> SufficientStatistics:
    """What takes these rows away when it is added to a sum that holds these very numbers.

    Their error goes with them, so the bound goes as well: φ computed twice differs in last bits, but nothing is
    computed twice here.
    """
    return SufficientStatistics(-statistics.moments, -statistics.rounding, -statistics.total, statistics.n_columns)


def centred(statistics: SufficientStatistics, origin: Tensor) -> SufficientStatistics:
    """The statistics of rows `z − origin`, without the rows, and without cancellation.

    The last column of φ is an intercept. Columns far from 0, such as temperatures in K, make the moments hard to solve
    with; about their means they are as easy as standardised columns.

    Args:
        statistics: of rows [φ, y].
        origin: subtracted from every row, shape (S,); 0 at the intercept.
    """
    one = statistics.n_columns - 1
    sums, count = statistics.moments[:, :, one], statistics.moments[0, one, one]
    steps = -origin
    # M + s o' + o s' + n o o', every product exact and every sum with its rounding error.
    across = _product(sums[0][:, None], steps[None, :])
    across_low = across[1] + sums[1][:, None] * steps[None, :]
    scaled = _product(count.expand_as(steps), steps)
    square = _product(scaled[0][:, None], steps[None, :])
    square_low = square[1] + scaled[1][:, None] * steps[None, :]
    high, low = statistics.moments
    for main, rest in ((across[0], across_low), (across[0].T, across_low.T), (square[0], square_low)):
        high, error = two_sum(high, main)
        low = low + error + rest
    # Both halves were added up, in different orders; one is taken for both.
    moments = torch.triu(torch.stack(two_sum(high, low)))
    moments = moments + torch.triu(moments, 1).transpose(1, 2)
    # Bounds of [z_j, 1]: an entry's error is at most the product of the roots, also after the step.
    roots = statistics.rounding.clamp_min(0).sqrt()
    squares = statistics.moments[0].diagonal().abs() + count.abs() * origin.square()
    bounds = (roots + origin.abs() * roots[one]).square() + _PAIRS * squares
    return SufficientStatistics(moments, bounds, statistics.total, statistics.n_columns)


def distinct(statistics: SufficientStatistics) -> tuple[IntArray, FloatArray]:
    """Columns of φ that vary over the rows and repeat no earlier one, as `distinct_columns` has them, from sums alone.

    Args:
        statistics: of rows [φ, y], the last column of φ an intercept.

    Returns:
        Positions of these columns, sorted, without the intercept; and the means of all D − 1 columns.
    """
    d = statistics.n_columns - 1
    count = float(statistics.moments[0, d, d])
    means = torch.zeros(len(statistics.rounding), dtype=torch.float64)
    if count > 0:
        means[:d] = statistics.moments[0, :d, d] / count
    about = centred(statistics, means)
    moments, bounds = about.moments.sum(dim=0)[:d, :d], about.rounding[:d]
    squares = moments.diagonal()
    varies = squares > 4 * bounds
    norm = torch.where(varies, squares, 1.0).sqrt()
    alike = (moments / (norm[:, None] * norm)).abs() >= 1 - _REPEATS
    alike &= varies[:, None] & varies
    repeats = torch.triu(alike, diagonal=1).any(dim=0)
    return (varies & ~repeats).nonzero()[:, 0].numpy(), means[:d].numpy()


def _product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rounded product and its rounding error, exactly (Dekker)."""
    product = a * b
    halves = []
    for own in (a, b):
        scaled = _HALVES * own
        top = scaled - (scaled - own)
        halves.append((top, own - top))
    (a_top, a_rest), (b_top, b_rest) = halves
    return product, ((a_top * b_top - product) + a_top * b_rest + a_rest * b_top) + a_rest * b_rest
