"""What unlearning needs to know of a training problem, whatever the model."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from unlearn.errors import InputError
from unlearn.linalg.cg import solve_cg
from unlearn.linalg.operators import Operator
from unlearn.linalg.options import IhvpOptions
from unlearn.linalg.solvers import Preconditioner, Solution, solve_dense


class Objective(Protocol):
    """`L(θ) = Σ_i w_i ℓ_i(θ) + r(θ)` over n samples, θ flat with P entries, float64."""

    n_samples: int
    n_parameters: int

    def losses(self, theta: Tensor) -> Tensor:
        """Per-sample losses ℓ_i, shape (n,)."""
        ...

    def gradient(self, theta: Tensor, weights: Tensor, regularised: bool = True) -> Tensor:
        """`Σ_i w_i ∇ℓ_i (+ ∇r)`, shape (P,)."""
        ...

    def gradient_products(self, theta: Tensor, vector: Tensor) -> Tensor:
        """`∇ℓ_i · v` of every sample, shape (n,)."""
        ...

    def hessian(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> Operator:
        """`Σ_i w_i ∇²ℓ_i + ∇²r + λ I`."""
        ...


def inverse_hvp(objective: Objective, theta: Tensor, weights: Tensor, rhs: Tensor, options: IhvpOptions) -> Solution:
    """Solve `H x = rhs`, rhs of shape (P,) or (P, k), with the weighted Hessian of an objective at θ.

    Raises:
        InputError: NaN in θ or in the right-hand side; a block preconditioner for an objective without one.
        SingularHessianError: direct solve of a singular Hessian.
        ConvergenceError: CG did not reach its tolerance.
    """
    if not bool(theta.isfinite().all()):
        raise InputError("parameters: expected finite values, got NaN or infinity; was the model trained?")
    if not bool(rhs.isfinite().all()):
        raise InputError("right-hand side of the Hessian system: expected finite values, got NaN or infinity.")
    operator = objective.hessian(theta, weights, options.damping)
    if options.solver == "cg":
        return solve_cg(operator, rhs, options, _preconditioner(objective, theta, weights, options))
    structured = getattr(operator, "solve", None)
    return structured(rhs) if structured is not None else solve_dense(operator, rhs, objective.n_samples)


def _preconditioner(
    objective: Objective, theta: Tensor, weights: Tensor, options: IhvpOptions
) -> Preconditioner | None:
    if options.preconditioner == "none":
        return None
    build = getattr(objective, "preconditioner", None)
    if build is None:
        raise InputError(
            f'ihvp.preconditioner="block": {type(objective).__name__} offers none; use preconditioner="none".'
        )
    made: Preconditioner = build(theta, weights, options.damping)
    return made
