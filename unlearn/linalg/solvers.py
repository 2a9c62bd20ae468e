"""Solvers of `H x = b` that return value, status and statistics, and raise with cause and remedy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unlearn.errors import SingularHessianError
from unlearn.linalg.operators import Operator, dense_matrix, products
from unlearn.linalg.spectrum import spectrum_and_limit

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
