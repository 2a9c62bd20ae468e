"""Preconditioned conjugate gradients: the same solution in fewer steps, and the same honesty."""

import pytest
import torch

from tests.linalg.test_solvers import Bowl, Matrix
from unlearn.errors import ConvergenceError, InputError
from unlearn.forecasters import HeadObjective
from unlearn.linalg import GramOperator, IhvpOptions, inverse_hvp, solve_cg

N, D, B = 1500, 35, 14


def head_problem(condition=3.5e4):
    """Least squares whose Gram matrix has the condition number of the published linear model."""
    random = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(N, D, generator=random, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(D, D, generator=random, dtype=torch.float64))[0]
    design = left * torch.logspace(0, -0.5, D, base=condition, dtype=torch.float64) @ right
    objective = HeadObjective(design, torch.randn(N, B, generator=random, dtype=torch.float64))
    rhs = torch.randn(objective.n_parameters, generator=random, dtype=torch.float64)
    return objective, torch.zeros_like(rhs), torch.ones(N, dtype=torch.float64), rhs


def test_exact_blocks_need_a_step_where_plain_cg_needs_a_hundred():
    objective, theta, weights, rhs = head_problem()
    direct = inverse_hvp(objective, theta, weights, rhs, IhvpOptions()).value
    steps = {}
    for name in ("none", "block"):
        found = inverse_hvp(objective, theta, weights, rhs, IhvpOptions("cg", rtol=1e-10, preconditioner=name))
        steps[name] = found.statistics["steps"]
        assert found.converged
        assert float((found.value - direct).norm() / direct.norm()) <= 1e-8
    assert steps["block"] <= 3
    assert steps["none"] > 20 * steps["block"]


def test_blocks_of_all_samples_serve_for_what_remains():
    objective, theta, weights, rhs = head_problem()
    remain = weights.clone()
    remain[: N // 4] = 0
    operator = objective.hessian(theta, remain)
    found = solve_cg(operator, rhs, IhvpOptions("cg", rtol=1e-10), objective.preconditioner(theta, weights))
    assert found.converged
    assert found.statistics["steps"] <= 25
    # The residual is that of the operator, not of the preconditioned system.
    residual = float((rhs - operator.matvec(found.value)).norm() / rhs.norm())
    assert residual <= 1e-10
    assert found.statistics["relative_residual"] == pytest.approx(residual)


@pytest.mark.parametrize("condition", [1e4, 1e14])
def test_the_preconditioner_is_the_inverse_on_both_routes(condition):
    design = head_problem(condition)[0].design
    operator = GramOperator(design, B, torch.ones(N, dtype=torch.float64), damping=1e-13)
    vector = torch.linspace(-1, 1, B * D, dtype=torch.float64)
    found = operator.matvec(operator.preconditioner()(vector))
    assert float((found - vector).norm() / vector.norm()) <= 1e-15 * condition
    assert operator.solve(vector).statistics["solver"] == ("gram-qr" if condition > 1e10 else "gram-cholesky")


def test_an_indefinite_preconditioner_is_refused():
    operator = Matrix(torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)))
    with pytest.raises(InputError, match=r"preconditioner: expected a positive definite map, got r'Mr = -3"):
        solve_cg(operator, torch.ones(3, dtype=torch.float64), IhvpOptions("cg"), lambda vector: -vector)


def test_a_preconditioner_does_not_hide_failure():
    objective, theta, weights, rhs = head_problem()
    with pytest.raises(ConvergenceError, match="CG: not converged after 3 steps"):
        solve_cg(objective.hessian(theta, weights), rhs, IhvpOptions("cg", max_iter=3), lambda vector: 2 * vector)


def test_blocks_are_refused_where_there_are_none():
    ones = torch.ones(2, dtype=torch.float64)
    with pytest.raises(InputError, match='preconditioner="block": Bowl offers none; use preconditioner="none"'):
        inverse_hvp(Bowl(), ones, ones, ones, IhvpOptions("cg", preconditioner="block"))
    with pytest.raises(InputError, match="expected \"none\" with solver='direct', got 'block'"):
        IhvpOptions(preconditioner="block")
    with pytest.raises(InputError, match=r"ihvp\.preconditioner: expected one of block, none"):
        IhvpOptions("cg", preconditioner="jacobi")
