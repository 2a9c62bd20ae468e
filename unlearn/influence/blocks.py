"""The block preconditioner of any training risk: curvature of an arbitrary loss in the model's outputs."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from unlearn.errors import InputError
from unlearn.influence.preconditioner import BlockCurvature, OutputCurvature
from unlearn.influence.risk import TrainingRisk

#: Outputs up to which the curvature of a loss in the outputs is formed, a matrix per sample.
MAX_OUTPUTS = 256


class RiskBlocks:
    """Blocks of the Gauss-Newton matrix of a risk, and the mean curvature of its regularisation."""

    def __init__(self, blocks: BlockCurvature, prior: float) -> None:
        self._blocks, self._prior = blocks, prior

    def inverse(self, damping: float) -> Any:
        """Inverse with damping λ added, for (P,) or (P, k)."""
        return self._blocks.inverse(damping + self._prior)


def risk_blocks(risk: TrainingRisk, theta: Tensor) -> RiskBlocks:
    """Sum up the blocks over all training rows, in one pass.

    Raises:
        InputError: the model does not end in a trainable linear layer, or has no outputs (n, B) of at most 256
            columns.
    """
    positions, start = {}, 0
    for name, shape in risk.flat.shapes.items():
        positions[name] = start + torch.arange(shape.numel(), device=theta.device).reshape(shape)
        start += shape.numel()
    blocks = BlockCurvature(risk.flat.model, positions, theta)
    for batch, rows in risk.chunks(None, "preconditioner"):
        weights = torch.full((len(rows),), 1.0 / risk.samples.size, dtype=theta.dtype, device=theta.device)
        blocks.add(
            lambda point, batch=batch: _matrix(risk.outputs(point, batch)),  # type: ignore[misc]
            lambda outputs, batch=batch, weights=weights: _curvature(risk, outputs, batch, weights),  # type: ignore[misc]
            weights,
        )
    return RiskBlocks(blocks, prior_curvature(risk, theta))


def _matrix(outputs: Tensor) -> Tensor:
    if outputs.ndim != 2 or outputs.shape[1] > MAX_OUTPUTS:
        raise InputError(
            f"block preconditioner: expected outputs of shape (n, B) with B <= {MAX_OUTPUTS}, got "
            f'{tuple(outputs.shape)}; use preconditioner="nystrom" or "none".'
        )
    return outputs


def _curvature(risk: TrainingRisk, outputs: Tensor, batch: Any, weights: Tensor) -> OutputCurvature:
    """C_i of every row, column by column: rows are independent, so one product serves all of them."""
    point = outputs.detach().requires_grad_(True)
    with torch.enable_grad():
        loss = risk.objective.train_loss_on_outputs(point, batch) * len(outputs)
        (slope,) = torch.autograd.grad(loss, point, create_graph=True)
    columns = []
    for unit in torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device):
        if slope.requires_grad:
            along = unit.expand_as(slope)
            columns.append(torch.autograd.grad(slope, point, along, retain_graph=True, materialize_grads=True)[0])
        else:
            columns.append(torch.zeros_like(point))
    matrices = torch.stack(columns, dim=2).double()
    matrices = 0.5 * (matrices + matrices.mT)

    @functools.cache
    def spectrum() -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrices)
        return values.clamp_min(0.0).sqrt(), vectors

    def root(signs: Tensor) -> Tensor:
        values, vectors = spectrum()
        turned = torch.einsum("nba,nb->na", vectors, signs.double()) * values
        return torch.einsum("nba,na->nb", vectors, turned).to(signs.dtype)

    return OutputCurvature(root, torch.einsum("n,nbc->bc", weights.double(), matrices))


def prior_curvature(risk: TrainingRisk, theta: Tensor) -> float:
    """Mean of the diagonal of ∇²r, by one random sign vector: exact for multiples of ‖θ‖²."""
    random = torch.Generator().manual_seed(0)
    signs = (2.0 * torch.randint(0, 2, theta.shape, generator=random) - 1.0).to(theta)
    point = theta.detach().requires_grad_(True)
    with torch.enable_grad():
        value = risk.regularization(point)
        if not value.requires_grad:
            return 0.0
        (slope,) = torch.autograd.grad(value, point, create_graph=True, materialize_grads=True)
    if not slope.requires_grad:
        return 0.0
    (product,) = torch.autograd.grad(slope, point, signs, materialize_grads=True)
    return max(float(signs.double() @ product.double()) / len(theta), 0.0)
