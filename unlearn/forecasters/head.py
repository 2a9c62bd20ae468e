"""The training problem of a linear head: least squares on fixed features (Proposition 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn.checks import require_not_negative
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg import GramOperator, Preconditioner


class HeadObjective:
    """`L(W) = Σ_i w_i (1/B)‖W φ_i − y_i‖² + (l2/2)‖W‖²`, W of shape (B, D) flattened by rows.

    All of it in closed form and float64: losses, gradients, the Hessian `I_B ⊗ G`, and the
    minimiser for any weights. `l2` regularises the sum, not the mean.
    """

    def __init__(self, design: Tensor, target: Tensor, l2: float = 0.0, names: Sequence[str] | None = None) -> None:
        """Fix the samples.

        Args:
            design: features Φ of the head, intercept included, shape (n, D).
            target: true loads in p.u., shape (n, B).
            l2: regulariser of the sum, >= 0.
            names: names of the D columns, for messages.
        """
        if len(design) != len(target):
            raise InputError(f"design and target: expected as many rows, got {len(design)} and {len(target)}.")
        self.design = design.detach().double()
        self.target = target.detach().double()
        self.l2 = require_not_negative("l2", l2)
        self.names = names
        self.n_samples, self.n_columns = self.design.shape
        self.n_outputs = self.target.shape[1]
        self.n_parameters = self.n_outputs * self.n_columns

    def losses(self, theta: Tensor) -> Tensor:
        return self._residual(theta).square().mean(dim=1)

    def gradient(self, theta: Tensor, weights: Tensor, regularised: bool = True) -> Tensor:
        slope = (2.0 / self.n_outputs) * (weights[:, None] * self._residual(theta)).T @ self.design
        return slope.reshape(-1) + (self.l2 * theta if regularised else 0.0)

    def gradient_products(self, theta: Tensor, vector: Tensor) -> Tensor:
        direction = self.design @ self._head(vector).T
        return (2.0 / self.n_outputs) * (self._residual(theta) * direction).sum(dim=1)

    def per_sample_gradients(self, theta: Tensor) -> Tensor:
        """Gradients of every ℓ_i, shape (n, P)."""
        outer = self._residual(theta)[:, :, None] * self.design[:, None, :]
        return (2.0 / self.n_outputs) * outer.reshape(self.n_samples, -1)

    def hessian(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> GramOperator:
        return GramOperator(self.design, self.n_outputs, weights, self.l2 + damping, self.names)

    def preconditioner(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> Preconditioner:
        """The exact inverse of the Hessian, block by block."""
        return self.hessian(theta, weights, damping).preconditioner()

    def fit(self, weights: Tensor | None = None) -> Tensor:
        """Minimise L by an SVD-based least-squares solve, from the data and not from any θ.

        Args:
            weights: w >= 0, shape (n,); None means ones.

        Returns:
            θ, shape (P,).

        Raises:
            InputError: a negative or non-finite weight.
            SingularHessianError: no unique minimiser; names the dependent features.
        """
        ones = torch.ones(self.n_samples, dtype=torch.float64) if weights is None else weights.double()
        hessian = self.hessian(torch.zeros(0), ones)
        root = ones.sqrt()[:, None]
        design, target = root * self.design, root * self.target
        if self.l2:
            # (l2/2)‖W‖² in units of the loss's 1/B.
            ridge = (0.5 * self.l2 * self.n_outputs) ** 0.5 * torch.eye(self.n_columns, dtype=torch.float64)
            design = torch.cat([design, ridge])
            target = torch.cat([target, torch.zeros(self.n_columns, self.n_outputs, dtype=torch.float64)])
        solved = torch.linalg.lstsq(design, target, driver="gelsd")
        if int(solved.rank) < self.n_columns:
            hessian.solve(torch.zeros(self.n_parameters, dtype=torch.float64))
            raise SingularHessianError(f"least squares: rank {int(solved.rank)} of {self.n_columns}; use l2 > 0.")
        return solved.solution.T.reshape(-1)

    def _head(self, theta: Tensor) -> Tensor:
        return theta.reshape(self.n_outputs, self.n_columns)

    def _residual(self, theta: Tensor) -> Tensor:
        return self.design @ self._head(theta).T - self.target
