"""Kronecker-factored approximate curvature (K-FAC) through the library curvlinops (extra `kfac`)."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from unlearn.checks import require_choice
from unlearn.influence.base import BaseInfluenceModule
from unlearn.influence.cg import RTOL
from unlearn.influence.factorable import require_factorable, require_layers
from unlearn.influence.kronecker import FISHER_TYPES, KroneckerInverse, prior_curvature, require_curvlinops
from unlearn.influence.module import require_module
from unlearn.influence.risk import BaseObjective
from unlearn.linalg import Solution


class KFACInfluenceModule(BaseInfluenceModule):
    """Products with `(K + λI)⁻¹`, K the K-FAC approximation of the Gauss-Newton matrix of L: fast, not exact.

    K has a block `A ⊗ S` per linear or convolutional layer, weight and bias together: A is the mean of `a a'`
    over the layer's inputs a (1 appended for the bias), S the mean of `J' C J`, J the Jacobian of the outputs in those
    of the layer and C the curvature of the loss in the outputs (Martens & Grosse, ICML 2015; convolutions:
    Grosse & Martens, ICML 2016). λ is added to the product, by eigenvectors of the factors, not to each factor. K is
    the Gauss-Newton matrix itself for a linear model under squared error; elsewhere it leaves out what couples layers
    and what couples a layer's inputs with its slopes. `solution.statistics["relative_residual"]` says how far x is
    from solving the Gauss-Newton system `(G + ∇²r + damp I) x = vec`; CGInfluenceModule solves it.
    Above 1 it is worse than x = 0, which is common for small damp; the order of the scores suffers less, and
    a larger damp helps both.

    Attributes:
        damp: λ in use, without what the regularisation adds.
        fisher_type: how S is estimated.
        eigenvalue_correction: whether K is EK-FAC.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: BaseObjective,
        train_loader: DataLoader,
        test_loader: DataLoader | None,
        device: torch.device | str,
        damp: float | str,
        *,
        loss_function: nn.Module,
        fisher_type: str = "type-2",
        eigenvalue_correction: bool = False,
        memory_mb: float = 512.0,
    ) -> None:
        """Check that K-FAC fits the model and the objective; factors are computed with the first product.

        Args:
            model: trained model; every trainable parameter is the weight or bias of an nn.Linear or nn.Conv2d.
            objective: its losses.
            train_loader: training rows, in batches (inputs, targets).
            test_loader: test rows, or None.
            device: where to compute.
            damp: λ >= 0, or "auto", see `damping_choice`. The mean curvature of the regularisation is added to it.
            loss_function: nn.MSELoss, nn.CrossEntropyLoss or nn.BCEWithLogitsLoss with the values of the
                objective's `train_loss_on_outputs`: curvlinops knows the curvature of these.
            fisher_type: "type-2" (the exact C, a backward pass per output) or "mc" (one random draw a row).
            eigenvalue_correction: K gets the diagonal of the Gauss-Newton blocks in the eigenvectors of the factors
                (EK-FAC; George et al., NeurIPS 2018), for a second pass; closer to the blocks in the Frobenius norm.
            memory_mb: what intermediate results may take; decides how many rows are handled at once.

        Raises:
            InputError: curvlinops is not installed, a layer or loss that K-FAC does not know, or an unusable argument.
        """
        require_curvlinops()
        require_module(model)
        require_layers(model)
        super().__init__(model, objective, train_loader, test_loader, device, memory_mb=memory_mb)
        self.fisher_type = require_choice("fisher_type", fisher_type, FISHER_TYPES)
        self.eigenvalue_correction = bool(eigenvalue_correction)
        self.loss_function = loss_function
        require_factorable(self.risk, loss_function, self.eigenvalue_correction)
        self.damp = self._damping(damp, gauss_newton=True)
        self._built: tuple[Tensor, KroneckerInverse] | None = None

    def inverse_hvp(self, vec: Tensor) -> Tensor:
        """`(K + λI)⁻¹ vec`, shape (P,), in the order and dtype of the model's parameters.

        Raises:
            InputError: a vector of another shape, or not finite.
            SingularHessianError: `K + λI` is singular to rounding.
        """
        return self._solve(self._require_vector(vec))

    def inverse_hvps(self, vectors: Tensor) -> Tensor:
        """The same for every column of (P, k) at once; errors as `inverse_hvp`."""
        return self._solve(self._require_vector(vectors))

    def _solve(self, rhs: Tensor) -> Tensor:
        start = time.perf_counter()
        value = self._inverse()(rhs).to(self._flat.dtype)
        seconds = time.perf_counter() - start
        residual = self._residual(value, rhs)
        converged = residual <= RTOL.get(self._flat.dtype, 1e-3)
        statistics: dict[str, float | str] = {
            "solver": "ekfac" if self.eigenvalue_correction else "kfac",
            "relative_residual": residual,
            "seconds": seconds,
        }
        self.solution = Solution(value, converged, "solved" if converged else "approximate", statistics)
        return value

    def _inverse(self) -> KroneckerInverse:
        """At the model's parameters as they are now."""
        theta = self._flat.theta
        if self._built is None or not torch.equal(self._built[0], theta):
            damping = self.damp + prior_curvature(self.risk, theta)
            inverse = KroneckerInverse(
                self.risk, self.loss_function, self.fisher_type, self.eigenvalue_correction, damping
            )
            self._built = theta, inverse
        return self._built[1]

    def _residual(self, value: Tensor, rhs: Tensor) -> float:
        """Largest relative residual of the Gauss-Newton system over the columns (0 for a column of zeros)."""
        columns, wanted = value.reshape(len(value), -1), rhs.double().reshape(len(rhs), -1)
        left = wanted - self.operator(gauss_newton=True, damping=self.damp).matmat(columns).double()
        scale = wanted.norm(dim=0)
        return float((left.norm(dim=0) / torch.where(scale > 0, scale, 1.0)).max())
