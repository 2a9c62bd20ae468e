"""Curvature operators against PyTorch's own Hessian and Jacobian."""

import re

import numpy as np
import pytest
import torch

from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg import GaussNewtonOperator, GramOperator, HessianOperator, dense_matrix, relative_residual

N, D, B = 40, 6, 3


@pytest.fixture
def problem():
    """Design, target, weights of a small least-squares problem, and a point θ."""
    random = torch.Generator().manual_seed(0)
    design = torch.randn(N, D, generator=random, dtype=torch.float64)
    target = torch.randn(N, B, generator=random, dtype=torch.float64)
    weights = torch.rand(N, generator=random, dtype=torch.float64)
    weights[:5] = 0.0
    theta = torch.randn(B * D, generator=random, dtype=torch.float64)
    return design, target, weights, theta


def loss_of(design, target, weights):
    def loss(theta):
        return (weights[:, None] * (design @ theta.reshape(B, D).T - target).square()).sum() / B

    return loss


def bent(theta):
    """A function with a full, point-dependent Hessian."""
    return (theta.sin() * theta.roll(1) ** 3).sum() + theta.prod()


@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_hessian_operator_equals_the_autograd_hessian(damping):
    at = torch.linspace(-1, 2, 5, dtype=torch.float64)
    expected = torch.autograd.functional.hessian(bent, at) + damping * torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(dense_matrix(HessianOperator(bent, at, damping)), expected)


def test_hessian_of_a_linear_function_is_the_damping():
    operator = HessianOperator(lambda theta: 3 * theta.sum(), torch.zeros(4, dtype=torch.float64), damping=0.5)
    torch.testing.assert_close(dense_matrix(operator), 0.5 * torch.eye(4, dtype=torch.float64))


def test_the_point_is_not_touched():
    at = torch.ones(3, dtype=torch.float64)
    HessianOperator(bent, at).matvec(torch.ones(3, dtype=torch.float64))
    assert not at.requires_grad
    torch.testing.assert_close(at, torch.ones(3, dtype=torch.float64), rtol=0, atol=0)


def test_gauss_newton_equals_jacobian_squared(problem):
    design, _, weights, _ = problem
    at = torch.linspace(-1, 1, D, dtype=torch.float64)

    def outputs(theta):
        return torch.stack([(design @ theta).tanh(), (design @ theta**2).sin()], dim=1)

    jacobian = torch.autograd.functional.jacobian(outputs, at).reshape(-1, D)
    curvature = weights[:, None].expand(N, 2).reshape(-1)
    expected = jacobian.T @ (curvature[:, None] * jacobian) + 0.3 * torch.eye(D, dtype=torch.float64)
    operator = GaussNewtonOperator(outputs, at, weights[:, None], damping=0.3)
    assert operator.size == D
    torch.testing.assert_close(dense_matrix(operator), expected)


@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_gram_operator_equals_the_hessian_of_the_loss(problem, damping):
    design, target, weights, theta = problem
    gram = GramOperator(design, B, weights, damping)
    hessian = HessianOperator(loss_of(design, target, weights), theta, damping)
    torch.testing.assert_close(dense_matrix(gram), dense_matrix(hessian))


@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_gram_solve_equals_a_dense_solve(problem, damping):
    design, _, weights, rhs = problem
    gram = GramOperator(design, B, weights, damping)
    expected = np.linalg.solve(dense_matrix(gram).numpy(), rhs.numpy())
    solution = gram.solve(rhs)
    torch.testing.assert_close(solution.value, torch.from_numpy(expected), rtol=1e-12, atol=1e-14)
    assert solution.converged
    assert solution.statistics["solver"] == "gram-cholesky"
    assert solution.statistics["relative_residual"] == pytest.approx(relative_residual(gram, solution.value, rhs))
    singular = np.linalg.cond(dense_matrix(gram).numpy())
    assert solution.statistics["condition"] == pytest.approx(singular, rel=1e-6)


def test_gram_solve_of_nothing_is_nothing(problem):
    design, _, weights, _ = problem
    solution = GramOperator(design, B, weights).solve(torch.zeros(B * D, dtype=torch.float64))
    assert not solution.value.any()
    assert solution.statistics["relative_residual"] == 0


def test_gram_keeps_the_digits_that_normal_equations_lose():
    random = torch.Generator().manual_seed(1)
    design = torch.randn(60, 8, generator=random, dtype=torch.float64)
    design = design * torch.logspace(0, -6, 8, dtype=torch.float64)  # the Gram matrix has condition 1e12 and more
    gram = GramOperator(design, 1, torch.ones(60, dtype=torch.float64))
    truth = torch.randn(8, generator=random, dtype=torch.float64)
    # Badly scaled but well conditioned after scaling: the backward error is that of QR, 1e-15 times cond.
    torch.testing.assert_close(gram.solve(gram.matvec(truth)).value, truth, rtol=1e-4, atol=0)
    assert gram.solve(gram.matvec(truth)).statistics["relative_residual"] < 1e-12


@pytest.mark.parametrize("exponent", [1, 4, 7, 9, 9.9, 10.1, 12])
def test_both_routes_are_as_accurate_as_the_condition_allows(exponent):
    random = torch.Generator().manual_seed(2)
    left = torch.linalg.qr(torch.randn(80, D, generator=random, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(D, D, generator=random, dtype=torch.float64))[0]
    design = left * torch.logspace(0, -exponent / 2, D, dtype=torch.float64) @ right
    gram = GramOperator(design, B, torch.ones(80, dtype=torch.float64))
    truth = torch.randn(B * D, generator=random, dtype=torch.float64)
    solution = gram.solve(gram.matvec(truth))
    assert float((solution.value - truth).norm() / truth.norm()) <= 1e-15 * 10**exponent
    # The condition that decides is that of columns scaled to unit norm.
    unit = design / design.norm(dim=0)
    expected = "gram-cholesky" if np.linalg.cond(unit.numpy()) ** 2 <= 1e10 else "gram-qr"
    assert solution.statistics["solver"] == expected


def test_a_singular_gram_names_the_dependent_features_and_a_damping_that_works(problem):
    design, _, weights, rhs = problem
    repeated = torch.cat([design, design[:, :1] + design[:, 2:3]], dim=1)
    names = ["temp", "wind", "sun", "rain", "hour", "day", "temp+sun"]
    rhs = torch.ones(B * 7, dtype=torch.float64)
    gram = GramOperator(repeated, B, weights, names=names)
    with pytest.raises(SingularHessianError, match="rank 6 of 7") as caught:
        gram.solve(rhs)
    message = str(caught.value)
    assert "dependent features: temp, sun, temp+sun." in message
    suggested = float(re.search(r"IhvpOptions\(damping=(\S+)\)\.$", message).group(1))
    assert suggested > 0
    damped = GramOperator(repeated, B, weights, suggested, names).solve(rhs)
    assert damped.converged
    assert damped.statistics["relative_residual"] < 1e-4


def test_a_long_list_of_dependent_features_is_cut(problem):
    design, _, weights, _ = problem
    doubled = torch.cat([design, design], dim=1)
    with pytest.raises(SingularHessianError, match=r"column 0, .*column 7 and 4 more\."):
        GramOperator(doubled, B, weights).solve(torch.ones(B * 12, dtype=torch.float64))


def test_fewer_samples_than_features_are_named(problem):
    design, _, _, rhs = problem
    few = torch.zeros(N, dtype=torch.float64)
    few[:4] = 1
    with pytest.raises(SingularHessianError, match="4 samples remain for 6 features"):
        GramOperator(design, B, few).solve(rhs)
    assert GramOperator(design, B, few, damping=1.0).solve(rhs).converged


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_unusable_weights_are_refused(problem, value):
    design, _, weights, _ = problem
    weights[7] = value
    with pytest.raises(InputError, match="weights: expected finite numbers of at least 0"):
        GramOperator(design, B, weights)


def test_negative_damping_is_refused_everywhere(problem):
    design, _, weights, theta = problem
    for build in (
        lambda: GramOperator(design, B, weights, -1.0),
        lambda: HessianOperator(bent, theta, -1.0),
        lambda: GaussNewtonOperator(lambda t: t, theta, weights, -1.0),
    ):
        with pytest.raises(InputError, match="damping: expected a number of at least 0, got -1"):
            build()
