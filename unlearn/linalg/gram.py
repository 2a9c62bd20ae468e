"""The Hessian of a linear head under squared error: `I_B ⊗ G` with `G` a weighted Gram matrix.

For `L(W) = Σ_i w_i (1/B)‖W φ_i − y_i‖²` with `W` of shape (B, D), every output has the same
Hessian `G = (2/B) Σ_i w_i φ_i φ_i' + λ I`. The rule for solving with it:

- condition number of G, columns scaled to unit norm, up to `CHOLESKY_CONDITION`: one Cholesky
  factorisation of G for all outputs, refined with residuals from the rows themselves;
- above, or if the factorisation fails: QR of the weighted design, which keeps the condition number
  at the square root, and names the columns that depend on each other if G is singular.

Beyond float64, products are taken by splitting the factors (Ozaki, Ogita, Oishi & Rump, Numer. Algorithms 59, 2012): a
matrix is cut exactly into a high part of so few bits that the product of two high parts has no rounding error, and a
low part some 2⁻²² smaller. Only products with a low part are rounded: a relative error of about 1e-22, not 1e-16.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from unlearn.checks import require_not_negative
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg.solvers import Preconditioner, Solution

#: Up to here a refinement step gains at least five digits; see the rule above.
CHOLESKY_CONDITION = 1e10


def require_weights(weights: Tensor, n: int) -> None:
    """Refuse weights that are not n finite numbers of at least 0."""
    if weights.shape != (n,):
        raise InputError(f"weights: expected one per sample, shape ({n},), got {tuple(weights.shape)}.")
    if not torch.isfinite(weights).all() or (weights < 0).any():
        raise InputError(
            f"weights: expected finite numbers of at least 0, got {float(weights.min())}; "
            "negative weights make the Hessian indefinite (keep linf_budget at most 1)."
        )


def dependent_columns(null: Tensor, names: Sequence[str] | None) -> str:
    """List the columns that the vectors of a null space, shape (k, D), involve."""
    labels = list(names) if names is not None else [f"column {i}" for i in range(null.shape[1])]
    involved = null.abs().max(dim=0).values > 1e-3
    listed = [name for name, use in zip(labels, involved.tolist(), strict=True) if use]
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")


class GramOperator:
    """`I_B ⊗ G` as an operator on flat heads, with a direct solve."""

    def __init__(
        self, design: Tensor, n_outputs: int, weights: Tensor, damping: float = 0.0, names: Sequence[str] | None = None
    ) -> None:
        """Prepare the operator.

        Args:
            design: Φ, shape (n, D), float64.
            n_outputs: B.
            weights: w >= 0, shape (n,); 0 leaves a sample out.
            damping: λ >= 0.
            names: names of the D columns, for messages.

        Raises:
            InputError: a negative or non-finite weight.
        """
        require_weights(weights, len(design))
        self.damping = require_not_negative("damping", damping)
        self.n_outputs, self.n_columns = n_outputs, design.shape[1]
        self.size = n_outputs * self.n_columns
        self._names = names
        kept = weights > 0
        self._rows = design[kept] * (2.0 / n_outputs * weights[kept]).sqrt()[:, None]

    def matvec(self, vector: Tensor) -> Tensor:
        columns = self._by_column(vector)
        return self._flat(self._rows.T @ (self._rows @ columns) + self.damping * columns, vector)

    def matmat(self, block: Tensor) -> Tensor:
        return self.matvec(block)

    def solve(self, rhs: Tensor) -> Solution:
        """Solve for all outputs at once, refined iteratively.

        Args:
            rhs: b, shape (P,), or several, (P, k).

        Raises:
            SingularHessianError: names the features that depend on each other, and how to damp.
        """
        start = time.perf_counter()
        structured = self._cholesky is not None
        value = self._substitute(rhs)
        correction = self._substitute(rhs - self.matvec(value))
        value = value + correction
        if structured and float(correction.norm()) > 1e-8 * float(value.norm()):
            # Corrections shrink by as much as the first one did.
            value = value + self._substitute(rhs - self.matvec(value))
        scale = float(rhs.norm())
        residual = float((rhs - self.matvec(value)).norm()) / scale if scale else 0.0
        statistics: dict[str, float | str] = {
            "solver": "gram-cholesky" if structured else "gram-qr",
            "relative_residual": residual,
            "condition": self._condition,
            "seconds": time.perf_counter() - start,
        }
        return Solution(value, True, "solved", statistics)

    def preconditioner(self) -> Preconditioner:
        """The exact inverse of the blocks, for CG on this or on a nearby operator.

        Raises:
            SingularHessianError: see `solve`.
        """
        return self._substitute

    def _substitute(self, rhs: Tensor) -> Tensor:
        columns = self._by_column(rhs)
        if self._cholesky is not None:
            scale, factor = self._cholesky
            solved = scale[:, None] * torch.cholesky_solve(scale[:, None] * columns, factor)
        else:
            half = torch.linalg.solve_triangular(self._triangle.T, columns, upper=False)
            solved = torch.linalg.solve_triangular(self._triangle, half, upper=True)
        return self._flat(solved, rhs)

    def _by_column(self, heads: Tensor) -> Tensor:
        """Heads (P,) or (P, k) as a matrix (D, B k), a row for each column of the design."""
        return heads.reshape(self.n_outputs, self.n_columns, -1).transpose(0, 1).reshape(self.n_columns, -1)

    def _flat(self, columns: Tensor, like: Tensor) -> Tensor:
        return columns.reshape(self.n_columns, self.n_outputs, -1).transpose(0, 1).reshape(like.shape)

    @cached_property
    def _gram(self) -> Tensor:
        return self._rows.T @ self._rows + self.damping * torch.eye(self.n_columns, dtype=self._rows.dtype)

    @cached_property
    def _cholesky(self) -> tuple[Tensor, Tensor] | None:
        """Scale of the columns and factor of the scaled Gram matrix; None where QR is called for."""
        squares = self._gram.diagonal()
        if not bool((squares > 0).all()):
            return None
        scale = squares.rsqrt()
        scaled = scale[:, None] * self._gram * scale
        spectrum = torch.linalg.eigvalsh(scaled)
        if not float(spectrum[-1]) <= CHOLESKY_CONDITION * float(spectrum[0]):
            return None
        return scale, torch.linalg.cholesky(scaled)

    @cached_property
    def _condition(self) -> float:
        if self._cholesky is not None:
            spectrum = torch.linalg.eigvalsh(self._gram)
            return float(spectrum[-1] / spectrum[0])
        singular = torch.linalg.svdvals(self._triangle)
        return float((singular[0] / singular[-1]) ** 2)

    @cached_property
    def _triangle(self) -> Tensor:
        ridge = self.damping**0.5 * torch.eye(self.n_columns, dtype=self._rows.dtype)
        rows = torch.cat([self._rows, ridge]) if self.damping else self._rows
        if len(rows) < self.n_columns:
            raise SingularHessianError(
                f"the Hessian is singular: {len(rows)} samples remain for {self.n_columns} features. "
                "Keep more samples, fit with l2 > 0, or pass IhvpOptions(damping=...)."
            )
        triangle = torch.linalg.qr(rows, mode="r")[1]
        self._refuse_dependent(triangle, len(rows))
        return triangle

    def _refuse_dependent(self, triangle: Tensor, n_rows: int) -> None:
        _, singular, right = torch.linalg.svd(triangle)
        floor = torch.finfo(singular.dtype).eps * max(n_rows, self.n_columns) * singular[0]
        rank = int((singular > floor).sum())
        if rank == self.n_columns:
            return
        listed = dependent_columns(right[rank:], self._names)
        raise SingularHessianError(
            f"the Hessian is singular: rank {rank} of {self.n_columns}; dependent features: {listed}. "
            f"Remove repeats, fit with l2 > 0, or pass IhvpOptions(damping={1e-10 * float(singular[0]) ** 2:.1g})."
        )


#: Unit roundoff of float64, and the bits of its significand.
ROUNDOFF, SIGNIFICAND = 2.0**-53, 53


def split(matrix: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Cut a matrix exactly into `high + low`, for products that sum along `dim`.

    The high part keeps as many bits below the largest entry along `dim` as a sum of products of
    two such parts can hold without rounding.
    """
    bits = (SIGNIFICAND - (matrix.shape[dim] - 1).bit_length()) // 2
    largest = matrix.abs().amax(dim=dim, keepdim=True)
    # largest / mantissa is a power of two, exactly.
    power = torch.where(largest > 0, largest / torch.frexp(largest).mantissa, 1.0)
    # Adding a number whose last bit is worth power / 2^bits rounds everything below that bit away.
    shift = power * (1.5 * 2.0 ** (SIGNIFICAND - 1 - bits))
    high = (matrix + shift) - shift
    return high, matrix - high


def split_gram(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gram matrix `rows' rows` as `main + rest`, and bounds of its error.

    Args:
        rows: shape (m, K), m > 0.

    Returns:
        main (K, K) without rounding error; rest (K, K), far smaller; and b (K,) such that the error
        of entry (j, k) is about `sqrt(b_j b_k)` at most, if rounding errors are independent.
    """
    high, low = split(rows, 0)
    main = high.T @ high
    # high'low + low'high + low'low
    cross = (high + 0.5 * low).T @ low
    return main, cross + cross.T, _bounds(main.diagonal(), low)


def split_cross(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Some columns of the Gram matrix `rows' rows`, as `split_gram` gives them all.

    Args:
        rows: shape (m, K), m > 0.
        columns: positions of the columns, shape (k,).

    Returns:
        main and rest, each (K, k), and b (K,).
    """
    high, low = split(rows, 0)
    main = high.T @ high[:, columns]
    rest = high.T @ low[:, columns] + low.T @ (high + low)[:, columns]
    squares = high.square().sum(dim=0)
    return main, rest, _bounds(squares, low)


def _bounds(squares: Tensor, low: Tensor) -> Tensor:
    share = torch.where(squares > 0, low.square().sum(dim=0) / squares, 0.0).max().sqrt()
    return 2.0 * ROUNDOFF * len(low) ** 0.5 * share * squares


def split_product(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """`left @ right` as `main + rest`: main without rounding error, rest far smaller."""
    left_high, left_low = split(left, 1)
    right_high, right_low = split(right, 0)
    return left_high @ right_high, left_high @ right_low + left_low @ right


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rounded sum and its rounding error: `a + b == sum + error` exactly (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)
