"""Solvers of `H x = b` that return value, status and statistics, and raise with cause and remedy; a preconditioner.

The Nyström preconditioner (Frangella, Tropp & Udell, SIAM J. Matrix Anal. Appl. 44(2), 2023, 718-752) approximates a
positive semi-definite H: with H Ω for random orthonormal Ω, `H ≈ U Λ U'` of rank r, and

    M = U (Λ + μ)⁻¹ U' + (I − U U') / (λ_{r+1} + μ)

approximates `(H + μ I)⁻¹`. The paper's is M times λ_r + μ, which changes no step of CG, with the last eigenvalue kept
where M has the next one. It brings the condition number down to that of the spectrum behind its rank.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unlearn.checks import require_not_negative
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg.operators import GIVE_DAMPING, NO_CURVATURE, Operator, dense_matrix, products, spectrum_and_limit

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


#: Shift μ of an operator without damping, as a share of its largest eigenvalue.
UNDAMPED_SHIFT = 1e-10


def nystrom_preconditioner(operator: Operator, rank: int, damping: float, seed: int = 0) -> Preconditioner:
    """Build a preconditioner of `operator + damping I` from one block of products.

    The operator's own `.damping`, if it says that it has one, is part of the system: it is taken out of
    the sketch, which stays of low rank, and joins the shift, `μ = operator.damping + damping`. An operator
    that was built with its damping is therefore passed with `damping=0`.

    Args:
        operator: H, positive semi-definite even without its damping, such as a Gauss-Newton operator.
        rank: eigenpairs to approximate, 1 to P; costs one product more than that.
        damping: >= 0, what the system adds to the operator. Where all of μ is 0,
            `UNDAMPED_SHIFT` times the largest eigenvalue takes its place.
        seed: of the random test vectors.

    Returns:
        M for vectors (P,) and blocks (P, k), symmetric positive definite.

    Raises:
        InputError: a rank outside 1 to P, a negative damping, or products that are not finite or
            show negative curvature beyond rounding error.
        SingularHessianError: a zero operator without damping.
    """
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= operator.size:
        raise InputError(f"nystrom rank: expected a whole number from 1 to {operator.size} parameters, got {rank!r}.")
    own = float(getattr(operator, "damping", 0.0))
    shift = own + require_not_negative("nystrom damping", damping)
    random = torch.Generator().manual_seed(seed)
    # One pair beyond the rank tells how large the rest of the spectrum is.
    test = torch.randn(operator.size, min(rank + 1, operator.size), generator=random, dtype=torch.float64)
    basis, values = _approximate(operator, torch.linalg.qr(test)[0], own)
    shift = shift or UNDAMPED_SHIFT * float(values[0])
    if shift == 0:
        raise SingularHessianError(
            f"nystrom: the Hessian of {operator.size} parameters is zero and undamped. {NO_CURVATURE} {GIVE_DAMPING}"
        )
    rest = 1.0 / (float(values[-1]) + shift)
    basis, gains = basis[:, :rank], 1.0 / (values[:rank] + shift) - rest

    def apply(vector: Tensor) -> Tensor:
        within = basis.T @ vector
        return rest * vector + basis @ (torch.diag(gains) @ within)

    return apply


def _approximate(operator: Operator, test: Tensor, own: float) -> tuple[Tensor, Tensor]:
    """Eigenvectors and eigenvalues, descending, of the stable Nyström approximation of `operator − own I`."""
    test = test.to(getattr(operator, "device", None) or "cpu")
    sketch = products(operator, test) - own * test
    if not bool(sketch.isfinite().all()):
        raise InputError("nystrom: expected finite products, got NaN or infinity from the operator (NaN parameters?).")
    precision = getattr(operator, "dtype", torch.float64)
    size = float(torch.linalg.matrix_norm(sketch, 2)) + own
    if size == 0:
        return test, test.new_zeros(test.shape[1])
    # Makes the small matrix positive definite whatever the rounding errors, and is taken off again.
    shift = len(test) ** 0.5 * torch.finfo(precision).eps * size
    sketch = sketch + shift * test
    core = test.T @ sketch
    factor, failed = torch.linalg.cholesky_ex((core + core.T) / 2)
    if int(failed):
        lowest = float(torch.linalg.eigvalsh(core + core.T)[0]) / 2 - shift
        raise InputError(
            "nystrom: expected an operator that is positive semi-definite without its damping, got curvature "
            f"{lowest:.2g}; use Gauss-Newton products."
        )
    root = torch.linalg.solve_triangular(factor, sketch.T, upper=False).T
    vectors, singular, _ = torch.linalg.svd(root, full_matrices=False)
    return vectors, (singular.square() - shift).clamp_min(0.0)
