"""The damped inverse of a training risk's Kronecker-factored curvature, by curvlinops (extra `kfac`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.checks import require_package
from unlearn.errors import SingularHessianError
from unlearn.influence.factorable import first_rows, targets_of
from unlearn.influence.risk import TrainingRisk
from unlearn.linalg import rounding_limit, spectrum_and_limit

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
        """Sum up the factors over the training rows: one pass, two for EK-FAC.

        Args:
            risk: one that `require_layers` and `require_factorable` have let through with this loss.
            loss_function: the loss in the outputs.
            fisher_type: "type-2" or "mc".
            corrected: EK-FAC.
            damping: λ.

        Raises:
            SingularHessianError: `K + λI` is singular to rounding.
        """
        import curvlinops

        parameters = dict(risk.flat.model.named_parameters())
        _, outputs, _ = first_rows(risk)
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
