"""Split products against exact rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlearn.linalg.gram import split, split_gram, split_product, two_sum


def rationals(matrix):
    return np.array([[Fraction(value) for value in row] for row in matrix.tolist()])


def spread(seed, rows, columns):
    """Numbers over six orders of magnitude, and columns over twelve."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, columns)) * 10.0 ** random.uniform(-3, 3, (rows, columns))
    return torch.from_numpy(values * 10.0 ** random.uniform(-6, 6, columns))


@given(seed=st.integers(0, 1000), rows=st.integers(1, 40), dim=st.integers(0, 1))
def test_the_parts_add_up_exactly_and_high_parts_multiply_without_rounding(seed, rows, dim):
    matrix = spread(seed, rows, 3)
    high, low = split(matrix, dim)
    assert (rationals(high) + rationals(low) == rationals(matrix)).all()
    assert (low.abs().amax(dim) <= 2.0**-20 * matrix.abs().amax(dim)).all()
    factors = rationals(high) if dim == 0 else rationals(high).T
    product = high.T @ high if dim == 0 else high @ high.T
    assert (rationals(product) == factors.T @ factors).all()


@given(seed=st.integers(0, 1000), rows=st.integers(1, 60))
def test_the_gram_matrix_is_within_its_bounds_of_the_exact_one(seed, rows):
    matrix = spread(seed, rows, 4)
    main, rest, bounds = split_gram(matrix)
    exact = rationals(matrix).T @ rationals(matrix)
    error = np.abs(rationals(main) + rationals(rest) - exact).astype(float)
    # The bounds are those of independent errors; the few errors of a single row may agree.
    assert (error <= 2 * np.sqrt(np.outer(bounds, bounds))).all()
    squares = main.diagonal().numpy()
    # A plain product would be wrong by up to 1e-16 of this.
    assert (error <= 1e-21 * np.sqrt(np.outer(squares, squares))).all()


def test_a_product_keeps_what_cancels():
    left, right = spread(1, 5, 9), spread(2, 9, 3)
    main, rest = split_product(left, right)
    exact = rationals(left) @ rationals(right)
    scale = (left.abs() @ right.abs()).numpy()
    error = np.abs(rationals(main) + rationals(rest) - exact).astype(float)
    assert (error <= 1e-19 * scale.max(axis=0)).all()
    assert (np.abs(rationals(left @ right) - exact).astype(float) > 1e-19 * scale.max(axis=0)).any()


def test_columns_of_zeros_have_no_error():
    rows = torch.zeros((5, 2), dtype=torch.float64)
    rows[:, 1] = 1 / 3
    main, rest, bounds = split_gram(rows)
    assert main[0].tolist() == rest[0].tolist() == [0.0, 0.0]
    assert bounds[0] == 0
    assert float((main + rest)[1, 1]) == pytest.approx(5 / 9, rel=1e-15)


@given(st.floats(-1e9, 1e9), st.floats(-1e-3, 1e12))
def test_a_sum_and_its_error_are_exact(a, b):
    total, error = two_sum(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    assert Fraction(float(total)) + Fraction(float(error)) == Fraction(a) + Fraction(b)
