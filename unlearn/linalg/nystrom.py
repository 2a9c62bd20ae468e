"""A preconditioner from a randomised Nyström approximation of a positive semi-definite operator.

Frangella, Tropp & Udell, SIAM J. Matrix Anal. Appl. 44(2), 2023, 718-752 (arXiv 2110.02820, 2021): with H Ω
for random orthonormal Ω, `H ≈ U Λ U'` of rank r, and

    M = U (Λ + μ)⁻¹ U' + (I − U U') / (λ_{r+1} + μ)

approximates `(H + μ I)⁻¹`. The paper's is M times λ_r + μ, which changes no step of CG, with the last eigenvalue kept
where M has the next one. It brings the condition number down to that of the spectrum behind its rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unlearn.checks import require_not_negative
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg.operators import Operator, products
from unlearn.linalg.solvers import Preconditioner
from unlearn.linalg.spectrum import GIVE_DAMPING, NO_CURVATURE

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
