"""Solvers: what they return is checked against numpy, and they never report what they did not reach."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import ConvergenceError, InputError, SingularHessianError
from unlearn.linalg import IhvpOptions, inverse_hvp, relative_residual, solve_cg, solve_dense


@dataclass
class Matrix:
    """A dense matrix as an operator."""

    values: torch.Tensor

    @property
    def size(self) -> int:
        return len(self.values)

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        return self.values @ vector


def random_spd(seed: int, size: int, condition: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(random.normal(size=(size, size)))
    return basis @ np.diag(np.geomspace(1, 1 / condition, size)) @ basis.T


@given(seed=st.integers(0, 1000), size=st.integers(1, 30), exponent=st.floats(0, 5))
def test_cg_reaches_its_true_residual(seed, size, exponent):
    matrix = random_spd(seed, size, 10**exponent)
    rhs = np.random.default_rng(seed).normal(size=size)
    found = solve_cg(Matrix(torch.from_numpy(matrix)), torch.from_numpy(rhs), IhvpOptions("cg", rtol=1e-9))
    residual = np.linalg.norm(rhs - matrix @ found.value.numpy()) / np.linalg.norm(rhs)
    assert found.converged
    assert found.status == "solved"
    assert residual <= 1e-9
    assert found.statistics["relative_residual"] == pytest.approx(residual, rel=1e-3, abs=1e-10)
    # The error is at most the residual times the condition number.
    expected = np.linalg.solve(matrix, rhs)
    assert np.linalg.norm(found.value.numpy() - expected) <= 1.1e-9 * 10**exponent * np.linalg.norm(expected) + 1e-12


@given(seed=st.integers(0, 1000), size=st.integers(1, 30))
def test_dense_solve_equals_numpy(seed, size):
    matrix = random_spd(seed, size, 100.0)
    rhs = np.random.default_rng(seed).normal(size=size)
    found = solve_dense(Matrix(torch.from_numpy(matrix)), torch.from_numpy(rhs))
    np.testing.assert_allclose(found.value.numpy(), np.linalg.solve(matrix, rhs), rtol=1e-10, atol=1e-12)
    assert found.statistics["relative_residual"] < 1e-12


@pytest.fixture
def hard():
    return Matrix(torch.from_numpy(random_spd(0, 30, 1e4))), torch.ones(30, dtype=torch.float64)


def test_cg_that_does_not_converge_raises_with_cause_and_remedy(hard):
    with pytest.raises(ConvergenceError, match=r"CG: not converged after 3 steps, relative residual .*solver='direct'"):
        solve_cg(*hard, IhvpOptions("cg", max_iter=3))


def test_cg_that_does_not_converge_is_reported_when_asked(hard):
    found = solve_cg(*hard, IhvpOptions("cg", max_iter=3, on_failure="report"))
    assert (found.converged, found.status, found.statistics["steps"]) == (False, "not converged", 3)
    assert found.statistics["relative_residual"] == pytest.approx(relative_residual(hard[0], found.value, hard[1]))


def test_cg_does_not_claim_more_than_float64_allows():
    operator = Matrix(torch.from_numpy(random_spd(0, 30, 1e6)))
    found = solve_cg(operator, torch.ones(30, dtype=torch.float64), IhvpOptions("cg", rtol=1e-18, on_failure="report"))
    assert found.status == "not converged"
    assert found.statistics["relative_residual"] < 1e-8


@pytest.mark.parametrize("rhs", [[0.1, 1.0, 1.0], [0.0, 0.0, 1.0]])
def test_negative_curvature_is_detected(rhs):
    operator = Matrix(torch.diag(torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)))
    rhs = torch.tensor(rhs, dtype=torch.float64)
    with pytest.raises(ConvergenceError, match="CG: negative curvature"):
        solve_cg(operator, rhs, IhvpOptions("cg"))
    found = solve_cg(operator, rhs, IhvpOptions("cg", on_failure="report"))
    assert (found.converged, found.status) == (False, "negative curvature")


def test_a_singular_system_without_a_solution_is_not_solved():
    operator = Matrix(torch.diag(torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)))
    rhs = torch.tensor([0.1, 1.0, 1.0], dtype=torch.float64)
    with pytest.raises(ConvergenceError, match=r"CG: (not converged|negative curvature)"):
        solve_cg(operator, rhs, IhvpOptions("cg"))


def test_an_operator_that_returns_nan_is_not_solved():
    operator = Matrix(torch.full((3, 3), float("nan"), dtype=torch.float64))
    rhs = torch.ones(3, dtype=torch.float64)
    with pytest.raises(ConvergenceError, match="CG: not converged"):
        solve_cg(operator, rhs, IhvpOptions("cg"))
    with pytest.raises(SingularHessianError):
        solve_dense(operator, rhs)


@pytest.mark.parametrize("solver", ["cg", "dense"])
def test_a_zero_right_hand_side_has_a_zero_solution(hard, solver):
    zero = torch.zeros(30, dtype=torch.float64)
    found = solve_cg(hard[0], zero, IhvpOptions("cg")) if solver == "cg" else solve_dense(hard[0], zero)
    assert found.converged
    assert not found.value.any()
    assert found.statistics["relative_residual"] == 0


def test_a_right_hand_side_with_nan_is_refused(hard):
    rhs = hard[1].clone()
    rhs[2] = torch.nan
    with pytest.raises(InputError, match="right-hand side: expected finite values"):
        solve_cg(hard[0], rhs, IhvpOptions("cg"))


def test_an_indefinite_matrix_is_refused_with_a_remedy():
    operator = Matrix(torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)))
    message = (
        r"3 parameters is not positive definite: its eigenvalues run from -1 to 1\. .*damping=\.\.\.\), such as 2\."
    )
    with pytest.raises(SingularHessianError, match=message):
        solve_dense(operator, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "lissa"}, "ihvp.solver: expected one of cg, direct"),
        ({"on_failure": "ignore"}, "ihvp.on_failure: expected one of raise, report"),
        ({"damping": -1.0}, "ihvp.damping: expected a number of at least 0"),
        ({"rtol": 0.0}, "ihvp.rtol: expected a number above 0"),
        ({"max_iter": 0}, "ihvp.max_iter: expected a number above 0"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        IhvpOptions(**options)


class Bowl:
    """`Σ_i w_i a_i θ²/2`, an objective without a structured solve."""

    n_samples, n_parameters = 2, 2

    def hessian(self, theta, weights, damping=0.0):
        return Matrix(torch.diag(weights) + damping * torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("solver", ["direct", "cg"])
def test_inverse_hvp_uses_the_weighted_damped_hessian(solver):
    weights, rhs = torch.tensor([1.0, 3.0]).double(), torch.tensor([4.0, 5.0]).double()
    found = inverse_hvp(Bowl(), torch.zeros(2).double(), weights, rhs, IhvpOptions(solver, damping=1.0))
    torch.testing.assert_close(found.value, torch.tensor([2.0, 1.25]).double())


def test_inverse_hvp_refuses_nan():
    good, bad = torch.ones(2).double(), torch.tensor([1.0, float("nan")]).double()
    with pytest.raises(InputError, match=r"parameters: expected finite values.*was the model trained"):
        inverse_hvp(Bowl(), bad, good, good, IhvpOptions())
    with pytest.raises(InputError, match="right-hand side of the Hessian system"):
        inverse_hvp(Bowl(), good, good, bad, IhvpOptions())
