"""Conjugate gradients for many right-hand sides, against dense solves."""

import io
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from tqdm import tqdm

from tests.linalg.test_preconditioning import head_problem
from tests.linalg.test_solvers import Matrix, random_spd
from tests.proofs import proof_count
from unlearn.errors import ConvergenceError, InputError
from unlearn.influence import ModuleObjective
from unlearn.linalg import IhvpOptions, cg, dense_matrix, inverse_hvp, solve_cg

TIGHT = IhvpOptions("cg", rtol=1e-9)


def spd(seed, size, condition):
    return torch.from_numpy(random_spd(seed, size, condition))


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def condition_left(preconditioner, matrix):
    """Condition number of the preconditioned system, which bounds the steps whatever rounding does to their count."""
    spectrum = torch.linalg.eigvals(torch.stack([preconditioner(column) for column in matrix.T], dim=1)).real
    return float(spectrum.max() / spectrum.min())


class Counted(Matrix):
    """A dense matrix that notes the widths of the blocks it multiplies, a vector as 0."""

    def __init__(self, values):
        super().__init__(values)
        self.widths = []

    def matvec(self, vector):
        self.widths.append(0)
        return self.values @ vector

    def matmat(self, block):
        self.widths.append(block.shape[1])
        return self.values @ block


class Single(Matrix):
    """A matrix in single precision, which takes nothing else."""

    dtype = torch.float32

    def matvec(self, vector):
        assert vector.dtype == torch.float32
        return self.values.float() @ vector


@given(
    seed=st.integers(0, 1000),
    size=st.integers(1, 30),
    width=st.integers(1, 12),
    rank=st.integers(1, 12),
    exponent=st.floats(0, 5),
    blocks=st.booleans(),
    apart=st.floats(-17, 0),
)
def test_every_column_reaches_its_true_residual(seed, size, width, rank, exponent, blocks, apart):
    matrix = spd(seed, size, 10**exponent)
    # Dependent but for a share where rank < width, of very different lengths, one of them zero.
    rhs = normal(seed, size, rank) @ normal(seed + 1, rank, width) + 10**apart * normal(seed + 2, size, width)
    rhs = rhs * torch.logspace(0, -6, width, dtype=torch.float64)
    rhs[:, width // 2] = 0.0
    found = solve_cg(Counted(matrix) if blocks else Matrix(matrix), rhs, TIGHT)
    assert found.converged
    assert found.status == "solved"
    assert found.value.shape == rhs.shape
    scale = rhs.norm(dim=0).clamp_min(1e-300)
    residuals = (rhs - matrix @ found.value).norm(dim=0) / scale
    assert float(residuals.max()) <= 1.001e-9
    np.testing.assert_allclose(found.statistics["relative_residuals"], residuals, rtol=1e-3, atol=1e-10)
    assert found.statistics["relative_residual"] == max(found.statistics["relative_residuals"])
    error = (found.value - torch.linalg.solve(matrix, rhs)).norm(dim=0)
    assert bool((error <= (1.1e-9 * 10**exponent + 1e-10) * torch.linalg.solve(matrix, rhs).norm(dim=0)).all())
    assert found.statistics["largest_curvature"] <= 1 + 1e-9


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(proof_count(20)))
def test_a_block_needs_fewer_steps_than_its_columns(seed):
    matrix, rhs = spd(seed, 100, 1e3), normal(seed, 100, 8)
    together = solve_cg(Matrix(matrix), rhs, TIGHT)
    alone = [solve_cg(Matrix(matrix), column, TIGHT) for column in rhs.T[:3]]
    assert together.statistics["steps"] < 0.4 * min(one.statistics["steps"] for one in alone)
    torch.testing.assert_close(
        together.value[:, :3], torch.stack([one.value for one in alone], dim=1), rtol=0, atol=1e-5
    )


def test_equal_right_hand_sides_cost_what_one_costs():
    matrix, rhs = spd(0, 60, 30.0), normal(0, 60)
    one = solve_cg(Matrix(matrix), rhs, TIGHT)
    operator = Counted(matrix)
    many = solve_cg(operator, rhs[:, None] * torch.tensor([1.0, -2.0, 1.0, 1e-7, 1.0]), TIGHT)
    assert many.converged
    # The same search with other rounding errors.
    assert many.statistics["steps"] <= 1.25 * one.statistics["steps"]
    # One vector a step, and the residual of five columns at the end, and once more if a restart was needed.
    checks = operator.widths.count(5)
    assert 1 <= checks <= 2
    assert operator.widths.count(0) == many.statistics["steps"] == len(operator.widths) - checks
    assert many.statistics["products"] == many.statistics["steps"] + 5 * checks


def test_columns_that_converge_early_cost_no_more_products():
    matrix = spd(0, 80, 1e4)
    vectors = torch.linalg.eigh(matrix).eigenvectors
    rhs = torch.cat([vectors[:, :7], normal(3, 80, 1)], dim=1)
    operator = Counted(matrix)
    found = solve_cg(operator, rhs, TIGHT)
    assert found.converged
    assert operator.widths[0] == 8
    assert sum(width == 0 for width in operator.widths) > 0.8 * found.statistics["steps"]  # single vectors


@pytest.mark.parametrize("apart", [1e-13, 1e-10, 1e-7, 1e-4, 1e-1])
@pytest.mark.proof
@pytest.mark.parametrize("seed", range(proof_count(20)))
def test_nearly_dependent_right_hand_sides_converge_as_fast_as_independent_ones(seed, apart):
    matrix, noise = spd(seed, 40, 1e4), normal(seed + 1, 40, 8)
    apart_from_one = solve_cg(Matrix(matrix), normal(seed, 40, 1) + apart * noise, TIGHT)
    one = solve_cg(Matrix(matrix), normal(seed, 40), TIGHT)
    assert apart_from_one.converged
    # At 1e-13 one direction is left: the same search with other rounding errors, hence the slack of a quarter. Else
    # eight directions span the 40 in a few steps, where a search that broke down would need as many as one, or more.
    assert apart_from_one.statistics["steps"] <= (1.25 if apart < 1e-12 else 0.5) * one.statistics["steps"]
    assert apart_from_one.statistics["products"] <= 2 * one.statistics["products"] + 8


def test_more_right_hand_sides_than_parameters():
    matrix, rhs = spd(0, 4, 10.0), normal(0, 4, 9)
    found = solve_cg(Matrix(matrix), rhs, IhvpOptions("cg", rtol=1e-12))
    assert found.statistics["steps"] <= 3
    torch.testing.assert_close(found.value, torch.linalg.solve(matrix, rhs), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("width", [0, 3])
def test_nothing_to_solve_takes_no_step(width):
    found = solve_cg(Matrix(spd(0, 5, 10.0)), torch.zeros(5, width).double(), TIGHT, start=torch.ones(5, width))
    assert found.converged
    assert found.statistics["steps"] == found.statistics["relative_residual"] == 0
    assert found.value.shape == (5, width)
    assert not found.value.any()


@given(seed=st.integers(0, 1000), size=st.integers(2, 25), width=st.integers(1, 6), exponent=st.floats(0, 4))
def test_a_wrong_preconditioner_changes_the_steps_and_not_the_solution(seed, size, width, exponent):
    matrix, rhs, wrong = spd(seed, size, 1e3), normal(seed, size, width), spd(seed + 1, size, 10**exponent)
    found = solve_cg(Matrix(matrix), rhs, TIGHT, lambda block: wrong @ block)
    assert found.converged
    exact = torch.linalg.solve(matrix, rhs)
    assert float((found.value - exact).norm()) <= 1e-5 * float(exact.norm())


@pytest.mark.parametrize("exponent", [0, 6, 12])
def test_the_inverse_as_preconditioner_needs_a_step_or_two(exponent):
    values = torch.logspace(0, -exponent, 40, dtype=torch.float64)
    basis = torch.linalg.qr(normal(0, 40, 40))[0]
    operator = Matrix(basis * values @ basis.T)
    inverse = basis / values @ basis.T
    rhs = operator.values @ normal(1, 40, 5)
    found = solve_cg(operator, rhs, IhvpOptions("cg", rtol=1e-8), lambda block: inverse @ block)
    assert found.converged
    # At a condition of 1e12 the inverse itself has four digits, and each step gains as many.
    assert found.statistics["steps"] <= (4 if exponent == 12 else 2)


def test_preconditioners_that_take_vectors_only_work_column_by_column():
    values = torch.logspace(0, -5, 6, dtype=torch.float64)
    noise = 1e-8 * normal(0, 6, 6)
    operator, rhs = Matrix(torch.diag(values) + noise @ noise.T), normal(1, 6, 6)
    asked = []

    def jacobi(vector):  # broadcasts on a square block, and wrongly
        asked.append(vector.ndim)
        return vector / values

    def strict(vector):
        return torch.linalg.solve(torch.diag(values), vector[None, :, None])[0, :, 0]

    def right(block):
        return torch.diag(1 / values) @ block

    for given_map in (jacobi, strict, right):
        found = solve_cg(operator, rhs, TIGHT, given_map)
        assert found.converged
        torch.testing.assert_close(found.value, torch.linalg.solve(operator.values, rhs), rtol=1e-6, atol=1e-6)
        assert found.statistics["steps"] <= 3
    assert asked.count(2) == 1  # tried once


def test_blocks_of_the_gram_operator_serve_many_right_hand_sides():
    objective, theta, weights, rhs = head_problem()
    sides = torch.stack([rhs, rhs.flip(0), 2 * rhs], dim=1)
    direct = inverse_hvp(objective, theta, weights, sides, IhvpOptions())
    alone = [inverse_hvp(objective, theta, weights, side, IhvpOptions()).value for side in sides.T]
    torch.testing.assert_close(direct.value, torch.stack(alone, dim=1), rtol=1e-9, atol=1e-9)
    options = IhvpOptions("cg", rtol=1e-10, preconditioner="block")
    found = inverse_hvp(objective, theta, weights, sides, options)
    assert found.statistics["steps"] <= 3
    assert float((found.value - direct.value).norm()) <= 1e-8 * float(direct.value.norm())


def test_blocks_of_a_network_serve_many_right_hand_sides():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
    objective = ModuleObjective(module, torch.randn(50, 3), torch.randn(50, 2))
    theta, weights = objective.theta, torch.ones(50, dtype=torch.float64)
    operator = objective.gauss_newton(theta, weights, damping=1e-3)
    rhs = normal(0, operator.size, 5)
    blocks, dense = objective.preconditioner(theta, weights, 1e-3), dense_matrix(operator)
    found = solve_cg(operator, rhs, TIGHT, blocks)
    exact = torch.linalg.solve(dense, rhs)
    assert found.converged
    assert condition_left(blocks, dense) < 0.6 * float(torch.linalg.cond(dense))
    assert float((found.value - exact).norm()) <= 1e-5 * float(exact.norm())


def test_an_indefinite_preconditioner_is_refused_for_a_block():
    signs = torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64)
    with pytest.raises(InputError, match="expected a positive definite map"):
        solve_cg(Matrix(spd(0, 4, 10.0)), normal(0, 4, 4), TIGHT, lambda block: torch.diag(signs) @ block)
    with pytest.raises(InputError, match="expected a positive definite map, got r'Mr = nan"):
        solve_cg(Matrix(spd(0, 4, 10.0)), normal(0, 4, 2), TIGHT, lambda block: block * torch.nan)


@given(seed=st.integers(0, 1000), size=st.integers(2, 20), width=st.integers(1, 6))
def test_negative_curvature_of_a_block_is_detected(seed, size, width):
    matrix = spd(seed, size, 10.0)
    lowest = torch.linalg.eigh(matrix).eigenvectors[:, :1]
    operator = Matrix(matrix - 2 * lowest @ lowest.T)
    with pytest.raises(ConvergenceError, match="CG: negative curvature"):
        solve_cg(operator, normal(seed, size, width), TIGHT)


@given(seed=st.integers(0, 1000), size=st.integers(2, 25), rank=st.integers(1, 12), width=st.integers(1, 8))
def test_a_singular_system_with_a_solution_gets_the_shortest_one(seed, size, rank, width):
    factor = normal(seed, size, min(rank, size)) / size**0.5
    matrix = factor @ factor.T
    expected = matrix @ normal(seed + 1, size, width)
    found = solve_cg(Matrix(matrix), matrix @ expected, IhvpOptions("cg", rtol=1e-10, on_failure="report"))
    singular = torch.linalg.svdvals(factor)
    condition = float(singular[0] / singular[-1]) ** 2
    assert found.status != "negative curvature"
    if condition < 1e5:
        assert found.converged
        assert float((found.value - expected).norm()) <= 1e-9 * condition * float(expected.norm())


@pytest.mark.parametrize("shape", [(30,), (30, 3)])
def test_a_start_is_used(shape):
    matrix, rhs = spd(0, 30, 1e3), normal(0, *shape)
    exact = torch.linalg.solve(matrix, rhs)
    near = exact + 1e-7 * normal(1, *shape)
    warm = solve_cg(Matrix(matrix), rhs, TIGHT, start=near)
    assert solve_cg(Matrix(matrix), rhs, TIGHT, start=exact).statistics["steps"] == 0
    assert warm.statistics["steps"] > 0
    torch.testing.assert_close(warm.value, exact, rtol=1e-5, atol=1e-5)
    # Each step lowers the error in the norm of H, so that one step from a start close by ends close by.
    once = solve_cg(Matrix(matrix), rhs, IhvpOptions("cg", rtol=1e-9, max_iter=1, on_failure="report"), start=near)
    before, after = (float(((x - exact) * (matrix @ (x - exact))).sum()) for x in (near, once.value))
    assert once.statistics["steps"] == 1
    assert after < before
    with pytest.raises(InputError, match=r"start: expected .*\(30.*got \(30, 2\)"):
        solve_cg(Matrix(matrix), rhs, TIGHT, start=torch.zeros(30, 2))
    with pytest.raises(InputError, match="start: expected finite values"):
        solve_cg(Matrix(matrix), rhs, TIGHT, start=exact * torch.nan)


@pytest.mark.parametrize("shape", [(4,), (5, 2, 1), ()])
def test_a_right_hand_side_of_another_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"right-hand side: expected shape \(5,\) or \(5, k\), got"):
        solve_cg(Matrix(spd(0, 5, 10.0)), torch.zeros(shape), TIGHT)


@pytest.mark.parametrize("shape", [(30,), (30, 3)])
def test_the_callback_sees_every_iterate(shape):
    matrix, rhs, seen = spd(0, 30, 1e3), normal(0, *shape), []
    found = solve_cg(Matrix(matrix), rhs, TIGHT, callback=seen.append)
    assert len(seen) == found.statistics["steps"]
    assert all(value.shape == shape for value in seen)
    torch.testing.assert_close(seen[-1], found.value, rtol=0, atol=0)
    exact = torch.linalg.solve(matrix, rhs)
    energies = [float(((value - exact) * (matrix @ (value - exact))).sum()) for value in seen]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(energies))


def test_an_absolute_tolerance_holds_where_it_is_the_looser_one():
    matrix, rhs = spd(0, 50, 1e3), normal(0, 50, 2) * torch.tensor([1.0, 1e-6])
    found = solve_cg(Matrix(matrix), rhs, IhvpOptions("cg", rtol=1e-8, atol=1e-4))
    left = (rhs - matrix @ found.value).norm(dim=0)
    assert float(left.max()) <= 1e-4
    assert float(left[0] / rhs[:, 0].norm()) > 1e-8
    assert not found.value[:, 1].any()  # zero is good enough
    assert found.statistics["stopped_by"] == "tolerance"


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("condition", [10.0, 1e3, 1e5])
def test_single_precision_is_solved_as_far_as_it_goes(width, condition):
    matrix = spd(1, 60, condition)
    operator, rhs = Single(matrix), normal(0, 60, width)
    with pytest.raises(ConvergenceError, match=r"not converged .* state the roundoff"):
        solve_cg(operator, rhs, TIGHT)
    found = solve_cg(operator, rhs, IhvpOptions("cg", rtol=1e-9, roundoff=1.2e-7))
    assert found.converged
    assert found.value.dtype == torch.float64
    assert found.statistics["stopped_by"] == "roundoff"
    assert 0 < found.statistics["backward_error"] <= 10 * 1.2e-7
    left = (rhs - matrix @ found.value).norm(dim=0)
    # The matrix has norm 1; its own conversion to single precision adds the rest.
    assert bool((left <= 15 * 1.2e-7 * found.value.norm(dim=0)).all())


def test_roundoff_excuses_rounding_errors_only():
    operator, rhs = Matrix(spd(0, 60, 1e4)), normal(0, 60)
    with pytest.raises(ConvergenceError, match="not converged after 5 steps"):
        solve_cg(operator, rhs, IhvpOptions("cg", rtol=1e-9, max_iter=5, roundoff=1.2e-7))
    exact = solve_cg(operator, rhs, IhvpOptions("cg", rtol=1e-3, roundoff=1e-15))
    assert exact.statistics["stopped_by"] == "tolerance"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"atol": -1.0}, r"ihvp\.atol: expected a number of at least 0"),
        ({"roundoff": -1e-7}, r"ihvp\.roundoff: expected a share between 0 and 1"),
        ({"roundoff": 1.0}, r"ihvp\.roundoff: expected a share between 0 and 1"),
        ({"roundoff": float("nan")}, r"ihvp\.roundoff: expected a share between 0 and 1"),
    ],
)
def test_unusable_tolerances_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        IhvpOptions(**options)


@pytest.mark.parametrize(("delay", "shown"), [(3.0, False), (1e-9, True)])
def test_progress_shows_in_long_solves_only(monkeypatch, delay, shown):
    screen = io.StringIO()
    monkeypatch.setattr(cg, "tqdm", partial(tqdm, file=screen, disable=False, mininterval=0.0))
    monkeypatch.setattr(cg, "PROGRESS_DELAY", delay)
    solve_cg(Matrix(spd(0, 30, 1e3)), normal(0, 30), TIGHT)
    assert ("CG" in screen.getvalue()) == shown


def test_single_precision_under_a_preconditioner_stops_at_rounding_error():
    """Directions of a preconditioned search have small curvature, which must not pass for the norm of H."""
    random = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(300, 300, generator=random, dtype=torch.float64))[0]
    values = torch.logspace(0, -5, 300, dtype=torch.float64)
    matrix = (basis * values) @ basis.T

    class Single:
        size, dtype = 300, torch.float32

        def matvec(self, vector):
            return matrix.float() @ vector

    half = (basis * values.pow(-0.9)) @ basis.T
    rhs = basis[:, -20:].sum(dim=1)
    options = IhvpOptions("cg", rtol=1e-9, roundoff=torch.finfo(torch.float32).eps, on_failure="report")
    found = solve_cg(Single(), rhs, options, lambda vector: half @ vector)
    assert found.converged
    assert found.statistics["stopped_by"] == "roundoff"
    assert found.statistics["largest_curvature"] == pytest.approx(1.0, rel=0.1)
    exact = torch.linalg.solve(matrix, rhs)
    assert float((found.value - exact).norm() / exact.norm()) < 0.1
