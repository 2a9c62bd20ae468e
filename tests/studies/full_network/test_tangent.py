"""Gauss-Newton steps in the space of outputs, against dense matrices in that of the parameters."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.studies.builders import small_problem
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg import damping_for_condition, damping_of
from unlearn.studies.full_network.curvature import criterion_gradients, selection_scores
from unlearn.studies.full_network.problem import NetworkProblem
from unlearn.studies.full_network.tangent import TangentKernel

N = 36


@pytest.fixture(scope="module")
def problem() -> NetworkProblem:
    return small_problem()


@pytest.fixture(scope="module")
def theta(problem: NetworkProblem) -> torch.Tensor:
    return problem.fit(problem.initial([0]), torch.ones((1, N), dtype=torch.bool), [0])[0]


@pytest.fixture(scope="module")
def kernel(problem: NetworkProblem, theta: torch.Tensor) -> TangentKernel:
    return TangentKernel(problem, theta, chunk=7)


class Oracle:
    """The Jacobian by reverse mode, output by output, and products with it."""

    def __init__(self, problem: NetworkProblem, theta: torch.Tensor) -> None:
        point = theta.clone().requires_grad_(True)
        inputs, targets = problem.inputs[:N], problem.targets[:N]
        outputs = problem.outputs(point, inputs)
        rows = [torch.autograd.grad(value, point, retain_graph=True)[0] for value in outputs.reshape(-1)]
        self.jacobian = torch.stack(rows).reshape(*outputs.shape, -1)
        self.residual = (outputs - targets).detach()
        self.scale = 2.0 / outputs.shape[1]

    def product(self, keep: np.ndarray, damping: float, vector: torch.Tensor) -> torch.Tensor:
        slopes = self.jacobian[keep].flatten(end_dim=1)
        return self.scale * slopes.T @ (slopes @ vector) + damping * vector

    def gradient(self, rows: np.ndarray) -> torch.Tensor:
        return self.scale * torch.einsum("nb,nbp->p", self.residual[rows], self.jacobian[rows])


@pytest.fixture(scope="module")
def oracle(problem: NetworkProblem, theta: torch.Tensor) -> Oracle:
    return Oracle(problem, theta)


@given(
    rows=st.sets(st.integers(0, N - 1), min_size=1, max_size=N - 1),
    other=st.integers(0, N - 1),
    condition=st.sampled_from([1e1, 1e3, 1e6]),
)
def test_steps_solve_the_gauss_newton_system_of_what_remains(
    kernel: TangentKernel, oracle: Oracle, rows: set[int], other: int, condition: float
) -> None:
    damping = damping_of(kernel.largest_curvature(), 0.0, condition)
    groups = [np.array(sorted(rows)), np.array([other])]
    for group, step in zip(groups, kernel.damped(damping).steps(groups), strict=True):
        keep = np.setdiff1d(np.arange(N), group)
        wanted = oracle.gradient(group)
        missed = oracle.product(keep, damping, step) - wanted
        # The solution is unique; its residual may grow with the condition number.
        assert float(missed.norm()) <= 1e-13 * condition * float(wanted.norm())


def test_influence_equals_first_order_steps_against_the_gradient(
    problem: NetworkProblem, theta: torch.Tensor, kernel: TangentKernel, oracle: Oracle
) -> None:
    gradients = criterion_gradients(problem, theta, "test", 3)
    scores = kernel.damped(2.0).influence(gradients)
    assert scores.shape == (N, 3)
    everything = np.arange(N)
    for row in (0, 17):
        gradient = oracle.gradient(np.array([row]))
        # ∇C'H⁻¹∇ℓ from the other side: H⁻¹∇C by conjugate gradients on explicit products.
        for k, slope in enumerate(gradients):
            solved = torch.zeros_like(slope)
            residual, direction = slope.clone(), slope.clone()
            for _ in range(200):
                product = oracle.product(everything, 2.0, direction)
                length = residual.dot(residual) / direction.dot(product)
                solved, fresh = solved + length * direction, residual - length * product
                if float(fresh.norm()) < 1e-13 * float(slope.norm()):
                    break
                direction = fresh + fresh.dot(fresh) / residual.dot(residual) * direction
                residual = fresh
            assert float(scores[row, k]) == pytest.approx(float(gradient.dot(solved)), rel=1e-7, abs=1e-15)


def test_gradients_of_blocks_are_finite_differences(problem: NetworkProblem, theta: torch.Tensor) -> None:
    gradients = criterion_gradients(problem, theta, "test", 2)
    direction = torch.randn(len(theta), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ahead, behind = problem.forecasts(torch.stack([theta + 1e-6 * direction, theta - 1e-6 * direction]))
    change = (problem.hourly_mse(ahead) - problem.hourly_mse(behind)) / 2e-6
    halves = [change[: len(change) // 2].mean(), change[len(change) // 2 :].mean()]
    np.testing.assert_allclose(gradients @ direction, halves, rtol=1e-5)


def test_rows_are_scored_for_selection_by_validation_hours(
    problem: NetworkProblem, theta: torch.Tensor, kernel: TangentKernel
) -> None:
    damping = damping_of(kernel.largest_curvature(), 0.0, 1e2)
    expected = kernel.damped(damping).influence(criterion_gradients(problem, theta, "validation", 1))[:, 0]
    scores = selection_scores(problem, theta, 1e2)
    # Conjugate gradients stop at a relative residual of 1e-2.
    assert np.corrcoef(scores, expected)[0, 1] > 0.999


def test_damping_gives_the_condition_number_and_none_where_it_is_met() -> None:
    for largest, smallest in ((5.0, 0.0), (5.0, -2.0), (5.0, 1e-9)):
        damping = damping_of(largest, smallest, 1e3)
        assert (largest + damping) / (smallest + damping) == pytest.approx(1e3)
    assert damping_of(5.0, 1.0, 1e3) == 0.0


def test_the_largest_curvature_and_the_damping_are_those_of_the_gauss_newton_matrix(
    problem: NetworkProblem, theta: torch.Tensor, kernel: TangentKernel
) -> None:
    operator = problem.objective().gauss_newton(theta, torch.ones(N, dtype=torch.float64))
    choice = damping_for_condition(operator, 1e3)
    assert kernel.largest_curvature() == pytest.approx(choice.extremes.largest, rel=1e-6)
    # Fewer rows than parameters: the smallest eigenvalue is 0.
    assert damping_of(kernel.largest_curvature(), 0.0, 1e3) == pytest.approx(choice.damping, rel=1e-3)


def test_a_problem_that_nothing_was_done_with_yet_has_a_kernel(theta: torch.Tensor, kernel: TangentKernel) -> None:
    fresh = TangentKernel(small_problem(), theta)
    assert fresh.largest_curvature() == pytest.approx(kernel.largest_curvature(), rel=1e-12)


def test_a_damping_that_solves_nothing_is_refused(kernel: TangentKernel) -> None:
    with pytest.raises(InputError, match="damping: expected a number above 0"):
        kernel.damped(0.0)
    repeated = TangentKernel.__new__(TangentKernel)
    repeated.__dict__ |= {**kernel.__dict__, "_gram": torch.ones_like(kernel._gram) * 1e20}
    with pytest.raises(SingularHessianError, match="lost in rounding; pass one above"):
        repeated.damped(1e-3)
