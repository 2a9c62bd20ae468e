"""Solvers of `H x = b` that return value, status and statistics, and raise with cause and remedy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unlearn.checks import require_choice, require_fraction, require_not_negative, require_positive
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg.operators import Operator, dense_matrix, products
from unlearn.linalg.spectrum import spectrum_and_limit

SOLVERS = ("direct", "cg")
PRECONDITIONERS = ("none", "block")

#: A symmetric positive definite map that approximates the inverse of an operator, on flat vectors (P,) and, where
#: it can, on blocks of them (P, k); CG passes the columns one by one to a map that takes vectors only.
Preconditioner = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Solution:
    """Solution of a linear system.

    Attributes:
        value: x, shape (P,), or (P, k) for k right-hand sides.
        converged: the true relative residual of every column meets the tolerance.
        status: "solved", "not converged" or "negative curvature".
        statistics: solver, steps, true relative residual (the largest one of a block), seconds, and
            what else is known.
    """

    value: Tensor
    converged: bool
    status: str
    statistics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class IhvpOptions:
    """How inverse-Hessian-vector products are solved.

    Attributes:
        solver: "direct" (structured or dense factorisation) or "cg" (matrix-free).
        damping: λ >= 0 added to the Hessian of the sum.
        rtol: relative residual that CG must reach.
        max_steps: CG steps, of a block of right-hand sides too; None means ten times the number of parameters.
        on_failure: "raise", or "report" in the returned status.
        preconditioner: of CG: "none", or "block": the block structure of the objective, see its
            `preconditioner`.
        atol: absolute residual that CG may stop at: it is solved when `‖r‖ <= max(rtol ‖b‖, atol)`.
        roundoff: relative error of the operator's products, such as 1.2e-7 for a model in single
            precision: a residual of at most `10 roundoff ‖H‖ ‖x‖` (`cg.ROUNDOFF_FACTOR`) then counts as solved,
            for x solves a system as close to the given one as the products are.
    """

    solver: str = "direct"
    damping: float = 0.0
    rtol: float = 1e-12
    max_steps: int | None = None
    on_failure: str = "raise"
    preconditioner: str = "none"
    atol: float = 0.0
    roundoff: float = 0.0

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
        require_not_negative("ihvp.atol", self.atol)
        if self.roundoff:
            require_fraction("ihvp.roundoff", self.roundoff)
        if self.max_steps is not None:
            require_positive("ihvp.max_steps", self.max_steps)


def relative_residual(operator: Operator, value: Tensor, rhs: Tensor) -> float:
    """True relative residual ‖b − Hx‖ / ‖b‖ (0 for b = 0), the largest one of a block (P, k)."""
    sides = rhs.reshape(len(rhs), -1)
    residual = (sides - products(operator, value.reshape(sides.shape))).norm(dim=0)
    return float(torch.where(residual > 0, residual / sides.norm(dim=0), 0.0).max())


def solve_dense(operator: Operator, rhs: Tensor, n_terms: int = 1) -> Solution:
    """Assemble the matrix and solve by Cholesky, for b of shape (P,) or (P, k).

    Args:
        operator: H, symmetric.
        rhs: b.
        n_terms: the rows that H is a sum over; see `rounding_limit`.

    Raises:
        SingularHessianError: the matrix is not positive definite, or singular to rounding.
    """
    start = time.perf_counter()
    matrix = dense_matrix(operator, rhs.dtype).double()
    matrix = 0.5 * (matrix + matrix.T)
    spectrum, limit = spectrum_and_limit(matrix, n_terms, torch.finfo(rhs.dtype).eps)
    smallest, largest = float(spectrum[0]), float(spectrum[-1])
    if smallest <= limit:
        singular = abs(smallest) <= limit
        kind = "singular to rounding" if singular else "not positive definite"
        noise = f", and up to {limit:.2g} is rounding error" if singular else ""
        raise SingularHessianError(
            f"the Hessian of {operator.size} parameters is {kind}: its eigenvalues run from {smallest:.3g} to "
            f"{largest:.3g}{noise}. Remove dependent features, or pass IhvpOptions(damping=...), such as "
            f"{max(1e-8 * largest, 2 * (limit - smallest)) or 1.0:.2g}."
        )
    solved = torch.cholesky_solve(rhs.double().reshape(len(rhs), -1), torch.linalg.cholesky(matrix))
    value = solved.reshape(rhs.shape).to(rhs.dtype)
    statistics = {
        "solver": "dense",
        "relative_residual": relative_residual(operator, value, rhs),
        "condition": largest / smallest,
        "seconds": time.perf_counter() - start,
    }
    return Solution(value, True, "solved", statistics)
