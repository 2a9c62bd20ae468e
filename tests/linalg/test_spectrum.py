"""Ends of the spectrum, and the damping that follows from them, against dense eigenvalues."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.linalg.test_block_cg import Single, normal
from tests.linalg.test_solvers import Matrix
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg import IhvpOptions, damping_for_condition, lanczos_extremes, solve_cg


def symmetric(seed, values):
    """A symmetric matrix with given eigenvalues."""
    basis = torch.linalg.qr(normal(seed, len(values), len(values)))[0]
    matrix = basis * values @ basis.T
    return (matrix + matrix.T) / 2


def drawn(seed, size, low, high, multiple):
    """Eigenvalues between low and high, both taken, some of them several times."""
    values = low + (high - low) * torch.rand(size, generator=torch.Generator().manual_seed(seed)).double()
    if multiple:
        values = values[torch.arange(size) // 3]
    values[0], values[-1] = low, high
    return values


SIZES = st.integers(1, 30)
#: An end and the distance of the other; the squares of smaller numbers, and so their norms, would be zero.
ENDS = st.tuples(st.floats(-10, 10), st.floats(0, 20)).map(
    lambda ends: tuple(e if abs(e) > 1e-100 else 0.0 for e in ends)
)


@given(seed=st.integers(0, 1000), size=SIZES, ends=ENDS, multiple=st.booleans())
def test_all_steps_find_both_ends_of_any_spectrum(seed, size, ends, multiple):
    matrix = symmetric(seed, drawn(seed, size, ends[0], sum(ends), multiple))
    found = lanczos_extremes(Matrix(matrix), steps=100, seed=seed)
    exact = torch.linalg.eigvalsh(matrix)
    accuracy = 1e-11 * float(exact.abs().max())
    assert found.smallest == pytest.approx(float(exact[0]), rel=0, abs=accuracy)
    assert found.largest == pytest.approx(float(exact[-1]), rel=0, abs=accuracy)
    assert max(found.smallest_residual, found.largest_residual) <= accuracy
    assert found.steps <= size


@given(seed=st.integers(0, 1000), size=st.integers(5, 40), ends=ENDS, steps=st.integers(1, 10))
def test_an_eigenvalue_lies_within_the_residual(seed, size, ends, steps):
    matrix = symmetric(seed, drawn(seed, size, ends[0], sum(ends), False))
    found = lanczos_extremes(Matrix(matrix), steps)
    exact = torch.linalg.eigvalsh(matrix)
    slack = 1e-13 * float(exact.abs().max())
    for value, residual in (
        (found.smallest, found.smallest_residual),
        (found.largest, found.largest_residual),
    ):
        assert float((exact - value).abs().min()) <= residual + slack
        assert float(exact[0]) - slack <= value <= float(exact[-1]) + slack
    assert found.steps <= steps


def test_large_clustered_spectra_are_settled_in_few_steps():
    values = torch.cat([torch.linspace(1.0, 2.0, 498).double(), torch.tensor([0.1, 30.0]).double()])
    found = lanczos_extremes(Matrix(torch.diag(values)), 200, tolerance=1e-6)
    assert found.steps < 40
    assert found.smallest == pytest.approx(0.1, abs=1e-8)
    assert found.largest == pytest.approx(30.0, abs=1e-8)
    assert max(found.smallest_residual, found.largest_residual) <= 1.01e-6 * 30


@pytest.mark.parametrize("factor", [3.0, -3.0, 0.0])
@pytest.mark.parametrize("size", [1, 7])
def test_multiples_of_the_identity_take_one_step(factor, size):
    found = lanczos_extremes(Matrix(factor * torch.eye(size, dtype=torch.float64)), 20)
    assert found.steps == 1
    assert found.smallest == pytest.approx(factor, rel=1e-14)
    assert found.largest == pytest.approx(factor, rel=1e-14)


@given(
    seed=st.integers(0, 1000),
    size=SIZES,
    ends=st.tuples(st.floats(-1, 1), st.floats(0.01, 20)),
    exponent=st.floats(0.1, 7),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_the_damping_is_the_smallest_that_bounds_the_condition(seed, size, ends, exponent, scale):
    values = scale * drawn(seed, size, ends[0], sum(ends), False)
    matrix, condition = symmetric(seed, values), 10**exponent
    choice = damping_for_condition(Matrix(matrix), condition)
    exact = torch.linalg.eigvalsh(matrix) + choice.damping
    assert choice.condition == condition
    assert float(exact[0]) > 0
    # Ends are known to rounding error, hence the quotient to that times κ.
    reached = float(exact[-1] / exact[0])
    assert reached <= condition * (1 + 1e-13 * condition + 1e-6)
    if size > 1 and choice.damping > 0:
        assert reached >= condition * (1 - 1e-12 * condition - 1e-6)


@given(seed=st.integers(0, 1000), size=SIZES, exponent=st.floats(0, 5.9))
def test_a_well_conditioned_operator_is_left_alone(seed, size, exponent):
    values = torch.logspace(0, -exponent, size, dtype=torch.float64)
    assert damping_for_condition(Matrix(symmetric(seed, values))).damping == 0.0


def test_an_indefinite_hessian_is_solved_with_the_damping():
    matrix = symmetric(0, torch.linspace(-0.5, 4.0, 40, dtype=torch.float64))
    choice = damping_for_condition(Matrix(matrix), 100.0)
    assert choice.damping == pytest.approx((4.0 + 100 * 0.5) / 99)
    damped = matrix + choice.damping * torch.eye(40, dtype=torch.float64)
    assert solve_cg(Matrix(damped), normal(0, 40), IhvpOptions("cg", rtol=1e-10)).converged


def test_the_search_for_a_damping_stops_when_the_ends_are_known():
    values = torch.cat([torch.linspace(1.0, 2.0, 498).double(), torch.tensor([-0.1, 30.0]).double()])
    choice = damping_for_condition(Matrix(torch.diag(values)), 1e3)
    assert choice.extremes.steps < 60
    assert choice.damping == pytest.approx((30 + 1e3 * 0.1) / 999, rel=1e-3)  # what the residuals may add


def test_ends_that_were_not_settled_make_the_damping_larger():
    matrix = Matrix(symmetric(0, torch.logspace(0, -9, 60, dtype=torch.float64)))
    full, few = damping_for_condition(matrix, 1e4), damping_for_condition(matrix, 1e4, steps=3)
    assert few.extremes.steps == 3
    assert few.damping > full.damping == pytest.approx(1 / (1e4 - 1), rel=0.05)
    assert few.extremes.smallest_residual > 0.01 * few.damping


@pytest.mark.parametrize("factor", [2.0, 1e-200, -2.0, -1e5])
@pytest.mark.parametrize("size", [1, 6])
def test_the_damping_of_multiples_of_the_identity(factor, size):
    choice = damping_for_condition(Matrix(factor * torch.eye(size, dtype=torch.float64)), 1e6)
    expected = 0.0 if factor > 0 else -factor * (1 + 1e-6)
    assert choice.damping == pytest.approx(expected, rel=1e-12)
    assert factor + choice.damping > 0


def test_rounding_errors_of_single_precision_are_allowed_for():
    matrix = symmetric(0, torch.logspace(0, -12, 50, dtype=torch.float64))
    choice = damping_for_condition(Single(matrix), 1e4)
    assert choice.damping == pytest.approx(1e-4, rel=0.05)
    assert choice.extremes.largest_residual > 1e-9  # rounding errors, which double precision would not have
    rounded = torch.linalg.eigvalsh(matrix.float().double()) + choice.damping
    assert float(rounded[-1] / rounded[0]) <= 1e4


def test_a_zero_operator_has_no_damping_of_its_own():
    with pytest.raises(SingularHessianError, match=r"Hessian of 4 parameters is zero.*IhvpOptions\(damping="):
        damping_for_condition(Matrix(torch.zeros(4, 4).double()))


@pytest.mark.parametrize("condition", [1.0, 0.5, -2.0, math.inf, math.nan])
def test_an_unusable_condition_is_refused(condition):
    with pytest.raises(InputError, match="condition: expected a number above"):
        damping_for_condition(Matrix(torch.eye(3).double()), condition)


def test_unusable_operators_are_refused():
    with pytest.raises(InputError, match="expected at least one step and one parameter, got 0 steps, 3 parameters"):
        lanczos_extremes(Matrix(torch.eye(3).double()), 0)
    with pytest.raises(InputError, match="one parameter, got 5 steps, 0 parameters"):
        lanczos_extremes(Matrix(torch.zeros(0, 0).double()), 5)
    with pytest.raises(InputError, match="lanczos: expected finite products"):
        lanczos_extremes(Matrix(torch.full((3, 3), torch.nan).double()), 5)
