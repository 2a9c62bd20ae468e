"""Solvers of `H x = b` that return value, status and statistics, and raise with cause and remedy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlearn.checks import require_choice, require_not_negative, require_positive
from unlearn.errors import ConvergenceError, InputError, SingularHessianError
from unlearn.linalg.operators import Operator, dense_matrix

SOLVERS = ("direct", "cg")
PRECONDITIONERS = ("none", "block")

#: A symmetric positive definite map on flat vectors that approximates the inverse of an operator.
Preconditioner = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Solution:
    """Solution of a linear system.

    Attributes:
        value: x, shape (P,).
        converged: the true relative residual meets the tolerance.
        status: "solved", "not converged" or "negative curvature".
        statistics: solver, steps, true relative residual, seconds, and what else is known.
    """

    value: Tensor
    converged: bool
    status: str
    statistics: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class IhvpOptions:
    """How inverse-Hessian-vector products are solved.

    Attributes:
        solver: "direct" (structured or dense factorisation) or "cg" (matrix-free).
        damping: λ >= 0 added to the Hessian of the sum.
        rtol: relative residual that CG must reach.
        max_steps: CG steps; None means ten times the number of parameters.
        on_failure: "raise", or "report" in the returned status.
        preconditioner: of CG: "none", or "block": the block structure of the objective, see its
            `preconditioner`.
    """

    solver: str = "direct"
    damping: float = 0.0
    rtol: float = 1e-12
    max_steps: int | None = None
    on_failure: str = "raise"
    preconditioner: str = "none"

    def __post_init__(self) -> None:
        require_choice("ihvp.solver", self.solver, SOLVERS)
        require_choice("ihvp.preconditioner", self.preconditioner, PRECONDITIONERS)
        if self.solver != "cg" and self.preconditioner != "none":
            raise InputError(
                f'ihvp.preconditioner: expected "none" with solver={self.solver!r}, got {self.preconditioner!r}; only '
                'solver="cg" is preconditioned.'
            )
        require_choice("ihvp.on_failure", self.on_failure, ("raise", "report"))
        require_not_negative("ihvp.damping", self.damping)
        require_positive("ihvp.rtol", self.rtol)
        if self.max_steps is not None:
            require_positive("ihvp.max_steps", self.max_steps)


def relative_residual(operator: Operator, value: Tensor, rhs: Tensor) -> float:
    """True relative residual ‖b − Hx‖ / ‖b‖ (0 for b = 0)."""
    scale = float(rhs.norm())
    return float((rhs - operator.matvec(value)).norm()) / scale if scale else 0.0


def solve_dense(operator: Operator, rhs: Tensor) -> Solution:
    """Assemble the matrix and solve by Cholesky.

    Raises:
        SingularHessianError: the matrix is not positive definite.
    """
    start = time.perf_counter()
    factor, info = torch.linalg.cholesky_ex(dense_matrix(operator, rhs.dtype))
    if int(info):
        raise SingularHessianError(
            f"the Hessian of {operator.size} parameters is not positive definite (leading minor {int(info)}). "
            "Remove dependent features, or pass IhvpOptions(damping=...), such as 1e-8 times its largest eigenvalue."
        )
    value = torch.cholesky_solve(rhs[:, None], factor)[:, 0]
    statistics: dict[str, float | str] = {
        "solver": "dense",
        "relative_residual": relative_residual(operator, value, rhs),
        "seconds": time.perf_counter() - start,
    }
    return Solution(value, True, "solved", statistics)


def solve_cg(
    operator: Operator, rhs: Tensor, options: IhvpOptions, preconditioner: Preconditioner | None = None
) -> Solution:
    """Solve by conjugate gradients; the reported residual is the true one, not the recurrence's.

    CG keeps the iterate whose true residual is smallest and restarts from it when the recurrence
    has drifted, until the tolerance is met or `max_steps` are spent.

    Args:
        operator: H, symmetric.
        rhs: b, shape (P,).
        options: tolerance, steps and what to do on failure.
        preconditioner: M, close to the inverse of H; the residual that must meet the tolerance stays
            that of H.

    Raises:
        InputError: a right-hand side that is not finite, or M that is not positive definite.
        ConvergenceError: the tolerance is not met, or curvature `p'Hp <= 0` is found (unless
            `options.on_failure` is "report").
    """
    if not torch.isfinite(rhs).all():
        raise InputError("right-hand side: expected finite values, got NaN or infinity (NaN parameters?).")
    start = time.perf_counter()
    limit = options.max_steps or 10 * operator.size
    target = options.rtol * float(rhs.norm())
    value = torch.zeros_like(rhs)
    steps, status = 0, "solved"
    residual = rhs.clone()
    best_value, best_norm = value, float(residual.norm())
    while best_norm > target and steps < limit and status == "solved":
        value, used, curvature = _cg_sweep(operator, best_value, residual, target, limit - steps, preconditioner)
        steps += used
        residual = rhs - operator.matvec(value)
        norm = float(residual.norm())
        if curvature <= 0:
            status = "negative curvature"
        elif not norm <= 0.5 * best_norm:
            # A restart that gains less than half is at the accuracy that float64 allows, or NaN.
            best_value, best_norm = (value, norm) if norm < best_norm else (best_value, best_norm)
            break
        best_value, best_norm = value, norm
    if status == "solved" and not best_norm <= target:
        status = "not converged"
    scale = float(rhs.norm()) or 1.0
    statistics: dict[str, float | str] = {
        "solver": "cg",
        "status": status,
        "steps": float(steps),
        "relative_residual": best_norm / scale,
        "seconds": time.perf_counter() - start,
    }
    if status != "solved" and options.on_failure == "raise":
        raise ConvergenceError(
            f"CG: {status} after {steps} steps, relative residual {best_norm / scale:.2g}, expected "
            f"{options.rtol:.0e}. Raise the damping or max_steps, loosen rtol, or use solver='direct'."
        )
    return Solution(best_value, status == "solved", status, statistics)


def _cg_sweep(
    operator: Operator,
    value: Tensor,
    residual: Tensor,
    target: float,
    limit: int,
    preconditioner: Preconditioner | None,
) -> tuple[Tensor, int, float]:
    """Run CG from `value`; return the iterate, the steps used and the last curvature."""
    value, residual = value.clone(), residual.clone()
    ahead = residual if preconditioner is None else preconditioner(residual)
    direction = ahead.clone()
    square = residual.dot(ahead)
    curvature = 1.0
    steps = 0
    while steps < limit and float(residual.norm()) > target:
        if square <= 0:
            raise InputError(
                f"preconditioner: expected a positive definite map, got r'Mr = {float(square):.2g}; use "
                'IhvpOptions(preconditioner="none").'
            )
        product = operator.matvec(direction)
        curvature = float(direction.dot(product))
        steps += 1
        if curvature <= 0:
            break
        step = square / curvature
        value += step * direction
        residual -= step * product
        ahead = residual if preconditioner is None else preconditioner(residual)
        fresh = residual.dot(ahead)
        direction = ahead + (fresh / square) * direction
        square = fresh
    return value, steps, curvature
