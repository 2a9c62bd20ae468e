"""The Hessian of a linear head under squared error: `I_B ⊗ G` with `G` a weighted Gram matrix.

For `L(W) = Σ_i w_i (1/B)‖W φ_i − y_i‖²` with `W` of shape (B, D), every output has the same
Hessian `G = (2/B) Σ_i w_i φ_i φ_i' + λ I`. `G` is never formed: a QR factorisation of the weighted
design keeps its condition number at the square root.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn.checks import require_not_negative
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg.solvers import Solution


class GramOperator:
    """`I_B ⊗ G` as an operator on flat heads, with a direct solve."""

    def __init__(
        self,
        design: Tensor,
        n_outputs: int,
        weights: Tensor,
        damping: float = 0.0,
        names: Sequence[str] | None = None,
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
        if not torch.isfinite(weights).all() or (weights < 0).any():
            raise InputError(
                f"weights: expected finite numbers of at least 0, got {float(weights.min())}; "
                "negative weights make the Hessian indefinite (keep linf_budget at most 1)."
            )
        self.damping = require_not_negative("damping", damping)
        self.n_outputs, self.n_columns = n_outputs, design.shape[1]
        self.size = n_outputs * self.n_columns
        self._names = list(names) if names is not None else [f"column {i}" for i in range(self.n_columns)]
        kept = weights > 0
        self._rows = design[kept] * (2.0 / n_outputs * weights[kept]).sqrt()[:, None]
        self._triangle: Tensor | None = None

    def matvec(self, vector: Tensor) -> Tensor:
        head = vector.reshape(self.n_outputs, self.n_columns)
        product = (head @ self._rows.T) @ self._rows + self.damping * head
        return product.reshape(-1)

    def solve(self, rhs: Tensor) -> Solution:
        """Solve for all outputs at once, with one step of iterative refinement.

        Raises:
            SingularHessianError: names the features that depend on each other, and how to damp.
        """
        start = time.perf_counter()
        triangle = self._factor()
        value = self._substitute(triangle, rhs)
        value = value + self._substitute(triangle, rhs - self.matvec(value))
        scale = float(rhs.norm())
        residual = float((rhs - self.matvec(value)).norm()) / scale if scale else 0.0
        singular = torch.linalg.svdvals(triangle)
        statistics: dict[str, float | str] = {
            "solver": "gram-qr",
            "relative_residual": residual,
            "condition": float((singular[0] / singular[-1]) ** 2),
            "seconds": time.perf_counter() - start,
        }
        return Solution(value, True, "solved", statistics)

    def _substitute(self, triangle: Tensor, rhs: Tensor) -> Tensor:
        columns = rhs.reshape(self.n_outputs, self.n_columns).T
        half = torch.linalg.solve_triangular(triangle.T, columns, upper=False)
        return torch.linalg.solve_triangular(triangle, half, upper=True).T.reshape(-1)

    def _factor(self) -> Tensor:
        if self._triangle is None:
            ridge = self.damping**0.5 * torch.eye(self.n_columns, dtype=self._rows.dtype)
            rows = torch.cat([self._rows, ridge]) if self.damping else self._rows
            if len(rows) < self.n_columns:
                raise SingularHessianError(
                    f"the Hessian is singular: {len(rows)} samples remain for {self.n_columns} features. "
                    "Keep more samples, fit with l2 > 0, or pass IhvpOptions(damping=...)."
                )
            triangle = torch.linalg.qr(rows, mode="r")[1]
            self._refuse_dependent(triangle, len(rows))
            self._triangle = triangle
        return self._triangle

    def _refuse_dependent(self, triangle: Tensor, n_rows: int) -> None:
        _, singular, right = torch.linalg.svd(triangle)
        floor = torch.finfo(singular.dtype).eps * max(n_rows, self.n_columns) * singular[0]
        rank = int((singular > floor).sum())
        if rank == self.n_columns:
            return
        involved = right[rank:].abs().max(dim=0).values > 1e-3
        names = [name for name, use in zip(self._names, involved.tolist(), strict=True) if use]
        listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise SingularHessianError(
            f"the Hessian is singular: rank {rank} of {self.n_columns}; dependent features: {listed}. "
            f"Remove repeats, fit with l2 > 0, or pass IhvpOptions(damping={1e-10 * float(singular[0]) ** 2:.1g})."
        )
