"""Gauss-Newton unlearning of a whole network, exactly and for many groups at once, in the space of its outputs.

With rows `a = (2/B)^½ ∂f/∂θ` of A, one per sample and output (n·B of them), and residuals
`ρ = (2/B)^½ (f − y)`, the Gauss-Newton matrix is `A'A` and the gradient `A'ρ`. Let
`M = (AA' + λI)⁻¹`. Then `(A'A + λI)⁻¹ A' = A'M`, and with the rows U left out (Woodbury)
`(A_R'A_R + λI)⁻¹ A_U'ρ_U = A' M_{:,U} (λ M_UU)⁻¹ ρ_U`,
where `I − λM_UU` are the leverages of U. Any damping above rounding is as cheap as another, which
conjugate gradients are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.func import jacrev, vmap
from tqdm import tqdm

from unlearn.checks import IntArray, require_positive
from unlearn.errors import SingularHessianError
from unlearn.linalg import lanczos_extremes, rounding_limit
from unlearn.studies.full_network.problem import NetworkProblem

#: Lanczos steps at most, and the share of the largest eigenvalue that its residual is brought to.
STEPS, SETTLED = 300, 1e-5

#: Rows of a block of AA', of which only one triangle is multiplied out.
BLOCK = 1024


class TangentKernel:
    """A network linearised at θ: `A` (n·B, P), `ρ` (n·B,) and `AA'`."""

    def __init__(self, problem: NetworkProblem, theta: Tensor, chunk: int = 32) -> None:
        """Differentiate the outputs of every trained row.

        Args:
            problem: rows and network.
            theta: θ*, shape (P,), float64.
            chunk: rows that are differentiated at once.
        """
        inputs, targets = problem.inputs[: problem.n_trained], problem.targets[: problem.n_trained]
        self.n_rows, self.n_outputs = targets.shape
        self._root = (2.0 / self.n_outputs) ** 0.5

        def one(point: Tensor, x: Tensor) -> Tensor:
            return problem.outputs(point, x[None])[0]

        jacobian = vmap(jacrev(one), in_dims=(None, 0))
        self._slopes = torch.empty(self.n_rows * self.n_outputs, len(theta), dtype=theta.dtype)
        for start in tqdm(range(0, self.n_rows, chunk), desc="output gradients", leave=False):
            own = jacobian(theta, inputs[start : start + chunk]).detach()
            first = start * self.n_outputs
            self._slopes[first : first + own.shape[0] * own.shape[1]] = self._root * own.flatten(end_dim=1)
        with torch.no_grad():
            self._residual = self._root * (problem.outputs(theta, inputs) - targets).reshape(-1)
        self._gram = _gram(self._slopes)

    def largest_curvature(self) -> float:
        """Largest eigenvalue of the Gauss-Newton matrix."""
        return lanczos_extremes(_Dense(self._gram), STEPS, tolerance=SETTLED).largest

    def damped(self, damping: float) -> DampedKernel:
        """Factorise for one damping λ > 0.

        Raises:
            SingularHessianError: λ is lost in rounding.
        """
        require_positive("damping", damping)
        # No eigenvalue is negative, and their sum is the diagonal's: the worst case is that one of them has it all.
        worst = torch.zeros(len(self._gram), dtype=torch.float64)
        worst[0] = self._gram.diagonal().sum()
        limit = rounding_limit(worst, self._slopes.shape[1])
        if damping <= limit:
            raise SingularHessianError(
                f"tangent kernel: damping {damping:.3g} is lost in rounding; pass one above {limit:.2g}."
            )
        matrix = self._gram.clone()
        matrix.diagonal().add_(damping)
        factor = torch.linalg.cholesky(matrix)
        del matrix
        return DampedKernel(self._slopes, self._residual, torch.cholesky_inverse(factor), damping, self.n_outputs)


class DampedKernel:
    """A tangent kernel with a damping, ready to solve."""

    def __init__(self, slopes: Tensor, residual: Tensor, inverse: Tensor, damping: float, n_outputs: int) -> None:
        self._slopes = slopes
        self._residual = residual
        self._inverse = inverse
        self._damping = damping
        self._n_outputs = n_outputs

    def influence(self, gradients: Tensor) -> Tensor:
        """Influence of removing each row on K criteria of gradients (K, P), shape (n, K); see `influence_scores`."""
        solved = self._inverse @ (self._slopes @ gradients.T)
        weighted = self._residual[:, None] * solved
        return weighted.reshape(-1, self._n_outputs, len(gradients)).sum(dim=1)

    def steps(self, groups: Sequence[IntArray]) -> Tensor:
        """Newton steps `(A_R'A_R + λI)⁻¹ Σ_U ∇ℓ_j` of groups U of rows, shape (groups, P); see `newton_update`."""
        duals = torch.stack(list(self._duals(groups)))
        return duals @ self._slopes

    def _duals(self, groups: Sequence[IntArray]) -> Iterator[Tensor]:
        for rows in tqdm(groups, desc="Gauss-Newton steps", leave=False):
            at = (torch.from_numpy(rows)[:, None] * self._n_outputs + torch.arange(self._n_outputs)).reshape(-1)
            columns = self._inverse[at]
            factor = torch.linalg.cholesky(self._damping * columns[:, at])
            yield torch.cholesky_solve(self._residual[at, None], factor)[:, 0] @ columns


class _Dense:
    def __init__(self, matrix: Tensor) -> None:
        self.size = len(matrix)
        self._matrix = matrix

    def matvec(self, vector: Tensor) -> Tensor:
        return self._matrix @ vector


def _gram(rows: Tensor) -> Tensor:
    """`rows rows'`, one triangle multiplied out and mirrored."""
    gram = torch.empty(len(rows), len(rows), dtype=rows.dtype)
    starts = range(0, len(rows), BLOCK)
    for i in tqdm(starts, desc="tangent kernel", leave=False):
        for j in range(0, i + 1, BLOCK):
            block = rows[i : i + BLOCK] @ rows[j : j + BLOCK].T
            gram[i : i + BLOCK, j : j + BLOCK] = block
            gram[j : j + BLOCK, i : i + BLOCK] = block.T
    return gram
