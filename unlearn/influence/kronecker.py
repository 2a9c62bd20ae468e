"""Kronecker-factored approximate curvature (K-FAC) by curvlinops (extra `kfac`): its damped inverse, and the influence
module that uses it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from unlearn.checks import require_choice, require_package
from unlearn.errors import SingularHessianError
from unlearn.influence.base import RTOL, BaseInfluenceModule
from unlearn.influence.factorable import first_batch, require_factorable, require_layers, targets_of
from unlearn.influence.module import require_module
from unlearn.influence.preconditioner import prior_curvature
from unlearn.influence.risk import BaseObjective, TrainingRisk
from unlearn.linalg import Solution, rounding_limit, spectrum_and_limit

#: Estimates of the curvature in the outputs whose mean is the Gauss-Newton matrix's.
FISHER_TYPES = ("type-2", "mc")
#: What the operators of curvlinops keep per layer, as named in their `state_dict`.
FACTORS = (
    "input_covariances",
    "gradient_covariances",
    "input_covariances_eigenvectors",
    "gradient_covariances_eigenvectors",
    "corrected_eigenvalues",
)


class KroneckerInverse:
    """`(K + λI)⁻¹`, K the K-FAC or EK-FAC approximation of the Gauss-Newton matrix, without regularisation."""

    def __init__(
        self, risk: TrainingRisk, loss_function: nn.Module, fisher_type: str, corrected: bool, damping: float
    ) -> None:
        """Sum up the factors over the training rows: one pass, two for EK-FAC (`corrected`).

        `require_layers` and `require_factorable` have let the risk and the loss through.

        Raises:
            SingularHessianError: `K + λI` is singular to rounding.
        """
        import curvlinops

        parameters = dict(risk.flat.model.named_parameters())
        with torch.no_grad():
            outputs = risk.outputs(risk.flat.theta, first_batch(risk))
        classes = 1 if isinstance(loss_function, nn.CrossEntropyLoss) else -1
        kind = curvlinops.EKFACLinearOperator if corrected else curvlinops.KFACLinearOperator
        kfac = kind(
            _Outputs(risk),
            loss_function,
            [parameters[name] for name in risk.flat.shapes],
            _Batches(risk),
            check_deterministic=False,
            fisher_type=fisher_type,
            num_per_example_loss_terms=outputs[0].numel() // outputs.shape[classes],
            separate_weight_and_bias=False,
            num_data=risk.samples.size,
            batch_size_fn=len,
        )
        with torch.enable_grad():
            kfac.compute_kronecker_factors()
            if corrected:
                kfac.compute_eigenvalue_correction()
        state = kfac.state_dict()
        for name in FACTORS:
            _double(state.get(name, {}))  # these are the operator's own dictionaries
        _require_invertible(state, damping, risk.samples.size, torch.finfo(risk.flat.dtype).eps)
        # Damping each factor would add cross terms: (A + √λ I) ⊗ (S + √λ I).
        self._inverse = curvlinops.KFACInverseLinearOperator(kfac, damping, use_exact_damping=True)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Apply to (P,) or (P, k), in float64."""
        solved: Tensor = self._inverse @ vectors.double()
        return solved


def require_curvlinops() -> None:
    """Refuse to start without the package."""
    require_package(
        "KFACInfluenceModule",
        "curvlinops",
        "--no-deps curvlinops-for-pytorch einconv einops linear_operator opt_einsum (without --no-deps it brings "
        "torchvision, which it does not use)",
    )


def _require_invertible(state: dict[str, Any], damping: float, n_rows: int, roundoff: float) -> None:
    """Refuse a block whose smallest eigenvalue, damped, may be rounding error; each block is inverted by itself."""
    for spectrum, limit in _spectra(state, n_rows, roundoff):
        smallest = float(spectrum.min())
        if not smallest + damping > limit:
            raise SingularHessianError(
                f"K-FAC: the eigenvalues of a layer run from {smallest:.3g} to {float(spectrum.max()):.3g}, so that "
                f"damping {damping:.3g} leaves it singular to rounding. Pass a damp well above "
                f'{limit - min(smallest, 0.0):.2g}, or damp="auto".'
            )


def _spectra(state: dict[str, Any], n_rows: int, roundoff: float) -> Iterator[tuple[Tensor, float]]:
    """Eigenvalues of each block of K, from the state of an operator, and what rounding may make of a 0 among them."""
    if "corrected_eigenvalues" in state:
        for layer in state["corrected_eigenvalues"].values():
            for value in layer.values() if isinstance(layer, dict) else [layer]:
                yield value, rounding_limit(value.flatten(), n_rows, roundoff)
        return
    inputs = state["input_covariances"]
    for name, slopes in state["gradient_covariances"].items():
        own, limit = spectrum_and_limit(slopes, n_rows, roundoff)
        if name not in inputs:
            yield own, limit
            continue
        of_inputs, of_rounding = spectrum_and_limit(inputs[name], n_rows, roundoff)
        yield torch.outer(own, of_inputs), limit * float(of_inputs[-1]) + of_rounding * float(own[-1])


def _double(tensors: dict[Any, Any]) -> None:
    for key, value in tensors.items():
        if isinstance(value, dict):
            _double(value)
        else:
            tensors[key] = value.double()


class _Outputs(nn.Module):
    """The objective's outputs as a module whose layers curvlinops can watch."""

    def __init__(self, risk: TrainingRisk) -> None:
        super().__init__()
        self.model = risk.flat.model
        self._outputs = risk.objective.train_outputs

    def forward(self, given: dict[str, Any]) -> Tensor:
        return self._outputs(self.model, given["batch"])


class _Batches:
    """Training batches as curvlinops wants them, as often as it wants them."""

    def __init__(self, risk: TrainingRisk) -> None:
        self._risk = risk

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        for batch, _ in self._risk.chunks(None, "K-FAC"):
            # No curvature here depends on the targets, but curvlinops refuses labels other than 0 and 1.
            yield {"batch": batch}, torch.zeros_like(targets_of(batch))


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

        Arguments that are not named here are those of `BaseInfluenceModule`.

        Args:
            model: trained model; every trainable parameter is the weight or bias of an nn.Linear or nn.Conv2d.
            train_loader: training rows, in batches (inputs, targets).
            damp: λ >= 0, or "auto", see `damping_choice`. The mean curvature of the regularisation is added to it.
            loss_function: nn.MSELoss, nn.CrossEntropyLoss or nn.BCEWithLogitsLoss with the values of the
                objective's `train_loss_on_outputs`: curvlinops knows the curvature of these.
            fisher_type: "type-2" (the exact C, a backward pass per output) or "mc" (one random draw a row).
            eigenvalue_correction: K gets the diagonal of the Gauss-Newton blocks in the eigenvectors of the factors
                (EK-FAC; George et al., NeurIPS 2018), for a second pass; closer to the blocks in the Frobenius norm.

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
        # Of the Gauss-Newton system, the largest over the columns (0 for a column of zeros).
        columns, wanted = value.reshape(len(value), -1), rhs.double().reshape(len(rhs), -1)
        left = wanted - self.operator(gauss_newton=True, damping=self.damp).matmat(columns).double()
        scale = wanted.norm(dim=0)
        residual = float((left.norm(dim=0) / torch.where(scale > 0, scale, 1.0)).max())
        converged = residual <= RTOL.get(self._flat.dtype, 1e-3)
        statistics: dict[str, float | str] = {
            "solver": "ekfac" if self.eigenvalue_correction else "kfac",
            "relative_residual": residual,
            "seconds": seconds,
        }
        self.solution = Solution(value, converged, "solved" if converged else "approximate", statistics)
        return value

    def _inverse(self) -> KroneckerInverse:
        theta = self._flat.theta
        if self._built is None or not torch.equal(self._built[0], theta):
            damping = self.damp + prior_curvature(self.risk, theta)
            inverse = KroneckerInverse(
                self.risk, self.loss_function, self.fisher_type, self.eigenvalue_correction, damping
            )
            self._built = theta, inverse
        return self._built[1]
