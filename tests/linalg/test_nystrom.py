"""The Nyström preconditioner against dense inverses, and what it saves."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.linalg.test_block_cg import Single, normal
from tests.linalg.test_products import operators
from tests.linalg.test_solvers import Matrix
from tests.linalg.test_spectrum import symmetric
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg import GramOperator, IhvpOptions, dense_matrix, nystrom_preconditioner, solve_cg


def identity(size):
    return torch.eye(size, dtype=torch.float64)


def polynomial(size=300, power=3.23):
    """Eigenvalues 1/i^power, condition 1e8 for 300."""
    return torch.arange(1, size + 1, dtype=torch.float64) ** -power


@given(
    seed=st.integers(0, 1000),
    size=st.integers(2, 30),
    rank=st.integers(1, 30),
    share=st.floats(0.1, 1),
    exponent=st.floats(-6, 2),
)
def test_it_is_the_inverse_of_a_damped_operator_of_its_rank(seed, size, rank, share, exponent):
    rank = min(rank, size)
    actual = max(1, int(share * rank))
    factor = normal(seed, size, actual)
    matrix, damping = factor @ factor.T, 10**exponent
    apply = nystrom_preconditioner(Matrix(matrix), rank, damping, seed)
    damped = matrix + damping * identity(size)
    condition = float(torch.linalg.cond(damped))
    product = apply(damped)
    assert float((product - identity(size)).abs().max()) <= 1e-13 * size * condition


@given(seed=st.integers(0, 1000), size=st.integers(1, 25), rank=st.integers(1, 25), width=st.integers(1, 25))
def test_it_is_positive_definite_and_takes_blocks_as_vectors(seed, size, rank, width):
    factor = normal(seed, size, size)
    apply = nystrom_preconditioner(Matrix(factor @ factor.T), min(rank, size), 1e-3, seed)
    dense = apply(identity(size))
    torch.testing.assert_close(dense, dense.T, rtol=1e-8, atol=1e-8 * float(dense.abs().max()))
    assert float(torch.linalg.eigvalsh((dense + dense.T) / 2)[0]) > 0
    block = normal(seed + 1, size, width)
    columns = torch.stack([apply(column) for column in block.T], dim=1)
    torch.testing.assert_close(apply(block), columns, rtol=1e-9, atol=1e-9 * float(columns.abs().max()))


@pytest.mark.parametrize("width", [1, 4])
def test_an_ill_conditioned_problem_needs_several_times_fewer_steps(width):
    matrix, damping = symmetric(0, polynomial()), 1e-6
    assert float(torch.linalg.cond(matrix)) == pytest.approx(1e8, rel=0.1)
    system = Matrix(matrix + damping * identity(300))
    rhs, options = normal(1, 300, width), IhvpOptions("cg", rtol=1e-8)
    plain = solve_cg(system, rhs, options)
    apply = nystrom_preconditioner(Matrix(matrix), 60, damping)
    found = solve_cg(system, rhs, options, apply)
    # A block of four needs fewer steps of itself: 70, against 270 of one.
    assert found.statistics["steps"] < (0.25 if width == 1 else 0.5) * plain.statistics["steps"]
    exact = torch.linalg.solve(system.values, rhs)
    assert float((found.value - exact).norm()) <= 1e-4 * float(exact.norm())
    # The condition number that is left is that behind the rank, (λ_61 + μ) / μ, and what sampling loses.
    left = torch.linalg.eigvals(apply(system.values)).real
    assert float(left.max() / left.min()) <= 10 * (float(polynomial()[60]) + damping) / damping


def test_the_damping_of_an_operator_is_known_to_be_a_multiple_of_the_identity():
    design, weights = normal(0, 3, 8), torch.ones(3, dtype=torch.float64)  # rank 3
    for own, added in ((0.5, 0.0), (0.2, 0.3), (0.0, 0.5)):
        operator = GramOperator(design, 1, weights, own)
        apply = nystrom_preconditioner(operator, 3, added)
        system = dense_matrix(operator) + added * identity(8)
        torch.testing.assert_close(apply(system), identity(8))


def test_an_operator_without_damping_gets_a_tiny_one():
    matrix = symmetric(0, torch.logspace(0, -4, 20, dtype=torch.float64))
    apply = nystrom_preconditioner(Matrix(matrix), 20, 0.0)
    torch.testing.assert_close(apply(matrix), identity(20), rtol=0, atol=1e-5)
    assert not torch.equal(apply(matrix), identity(20))


def test_a_network_in_single_precision_is_sketched_too():
    single = operators(torch.float32)["gauss-newton"]
    dense = dense_matrix(single)
    left = torch.linalg.eigvals(nystrom_preconditioner(single, single.size, 0.0)(dense)).real
    assert float((left - 1).abs().max()) <= 1e-3
    apply = nystrom_preconditioner(Single(symmetric(0, polynomial(60))), 30, 1e-3)
    damped = symmetric(0, polynomial(60)) + 1e-3 * identity(60)
    torch.testing.assert_close(apply(damped), identity(60), rtol=0, atol=5e-2)


def test_a_seed_gives_one_preconditioner():
    matrix, vector = Matrix(symmetric(0, polynomial(40))), normal(1, 40)
    first, again, other = (nystrom_preconditioner(matrix, 5, 1e-3, seed)(vector) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("rank", [0, -1, 6, 2.5, True])
def test_an_unusable_rank_is_refused(rank):
    with pytest.raises(InputError, match="nystrom rank: expected a whole number from 1 to 5 parameters, got"):
        nystrom_preconditioner(Matrix(identity(5)), rank, 1.0)


def test_unusable_operators_and_dampings_are_refused():
    with pytest.raises(InputError, match="nystrom damping: expected a number of at least 0, got -1"):
        nystrom_preconditioner(Matrix(identity(5)), 2, -1.0)
    with pytest.raises(InputError, match=r"positive semi-definite without its damping, got curvature -.*Gauss-Newton"):
        nystrom_preconditioner(Matrix(-identity(5)), 2, 1.0)
    with pytest.raises(InputError, match="nystrom: expected finite products"):
        nystrom_preconditioner(Matrix(torch.nan * identity(5)), 2, 1.0)
    zero = Matrix(0 * identity(5))
    with pytest.raises(SingularHessianError, match="Hessian of 5 parameters is zero and undamped"):
        nystrom_preconditioner(zero, 2, 0.0)
    torch.testing.assert_close(nystrom_preconditioner(zero, 2, 4.0)(identity(5)), identity(5) / 4)
