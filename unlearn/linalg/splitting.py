"""Matrix products beyond float64, by splitting the factors (Ozaki, Ogita, Oishi & Rump, Numer. Algorithms 59, 2012).

A matrix is cut exactly into a high part of so few bits that the product of two high parts has no rounding
error, and a low part some 2⁻²² smaller. Only products with a low part are rounded, so that the relative
error is about 1e-22 instead of 1e-16, for two or three ordinary matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Unit roundoff of float64, and the bits of its significand.
ROUNDOFF, SIGNIFICAND = 2.0**-53, 53


def split(matrix: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Cut a matrix exactly into `high + low`, for products that sum along `dim`.

    The high part keeps as many bits below the largest entry along `dim` as a sum of products of
    two such parts can hold without rounding.
    """
    bits = (SIGNIFICAND - (matrix.shape[dim] - 1).bit_length()) // 2
    largest = matrix.abs().amax(dim=dim, keepdim=True)
    # largest / mantissa is a power of two, exactly.
    power = torch.where(largest > 0, largest / torch.frexp(largest).mantissa, 1.0)
    # Adding a number whose last bit is worth power / 2^bits rounds everything below that bit away.
    shift = power * (1.5 * 2.0 ** (SIGNIFICAND - 1 - bits))
    high = (matrix + shift) - shift
    return high, matrix - high


def split_gram(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gram matrix `rows' rows` as `main + rest`, and bounds of its error.

    Args:
        rows: shape (m, K), m > 0.

    Returns:
        main (K, K) without rounding error; rest (K, K), far smaller; and b (K,) such that the error
        of entry (j, k) is about `sqrt(b_j b_k)` at most, if rounding errors are independent.
    """
    high, low = split(rows, 0)
    main = high.T @ high
    # high'low + low'high + low'low
    cross = (high + 0.5 * low).T @ low
    squares = main.diagonal()
    share = torch.where(squares > 0, low.square().sum(dim=0) / squares, 0.0).max().sqrt()
    bounds = 2.0 * ROUNDOFF * len(rows) ** 0.5 * share * squares
    return main, cross + cross.T, bounds


def split_product(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """`left @ right` as `main + rest`: main without rounding error, rest far smaller."""
    left_high, left_low = split(left, 1)
    right_high, right_low = split(right, 0)
    return left_high @ right_high, left_high @ right_low + left_low @ right


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rounded sum and its rounding error: `a + b == sum + error` exactly (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)
