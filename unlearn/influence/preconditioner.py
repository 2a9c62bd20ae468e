"""A block preconditioner for networks that end in a linear layer, under mean squared error.

Each linear layer has a block `A ⊗ S + λ I` of the Gauss-Newton matrix (K-FAC; Martens & Grosse, ICML
2015), which its eigenvectors invert: `A = Σ_i w_i a_i a_i'` is the Gram matrix of the layer's inputs,
`S` the mean of `g g'` over samples and random signs u, `g = (2/B)^½ ∂(u'f)/∂(layer's outputs)`. In the
last layer the loss is quadratic and `S = (2/B) I`: there the block is that of the Hessian, exactly. All other
parameters have the diagonal of the Gauss-Newton matrix, estimated with the same signs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearn.errors import InputError
from unlearn.linalg import Preconditioner

#: Random sign vectors behind S and the diagonal.
PROBES = 8

#: Smallest curvature that is inverted, as a share of the mean one: keeps dead features harmless.
FLOOR = 1e-10


@dataclass(frozen=True, eq=False)
class Layer:
    """A trainable linear layer: its name, its inputs (n, d) and its outputs (n, h), in the graph of the module."""

    name: str
    inputs: Tensor
    outputs: Tensor


def block_preconditioner(
    module: nn.Module,
    run: Callable[[Tensor], Tensor],
    positions: Mapping[str, Tensor],
    theta: Tensor,
    weights: Tensor,
    damping: float,
) -> Preconditioner:
    """Build the preconditioner.

    Args:
        module: model.
        run: evaluates it on all samples at flat parameters, (P,) -> (n, B).
        positions: positions in θ of the entries of each trainable parameter, in its shape.
        theta: θ, shape (P,).
        weights: w >= 0 of the samples, shape (n,).
        damping: λ >= 0, damping and regulariser together.

    Raises:
        InputError: no trainable linear layer gives the module's outputs.
    """
    point = theta.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        layers, result = _linear_layers(module, lambda: run(point))
    if not layers or layers[-1].outputs is not result:
        raise InputError(
            f"block preconditioner: expected a module that ends in a trainable nn.Linear, got {type(module).__name__}; "
            'use preconditioner="none".'
        )
    n_outputs = result.shape[1]
    signals = [torch.zeros((layer.outputs.shape[1],) * 2, dtype=theta.dtype) for layer in layers]
    diagonal = torch.zeros_like(theta)
    curvature = (2.0 / n_outputs * weights).sqrt()[:, None]
    random = torch.Generator().manual_seed(0)
    for _ in range(PROBES):
        signs = 2.0 * torch.randint(0, 2, result.shape, generator=random) - 1.0
        slopes = torch.autograd.grad(
            result,
            [*(layer.outputs for layer in layers), point],
            curvature * signs,
            retain_graph=True,
            materialize_grads=True,
        )
        for signal, slope in zip(signals, slopes, strict=False):
            signal += slope.T @ slope / (PROBES * float(weights.sum()))
        diagonal += slopes[-1].square() / PROBES
    signals[-1] = 2.0 / n_outputs * torch.eye(n_outputs, dtype=theta.dtype)
    diagonal = _floored(diagonal, damping)
    blocks = [
        _kronecker_inverse(layer, positions, weights, signal, damping)
        for layer, signal in zip(layers, signals, strict=True)
    ]

    def apply(vector: Tensor) -> Tensor:
        solved = vector / diagonal
        for at, inverse in blocks:
            solved[at] = inverse(vector[at])
        return solved

    return apply


def _linear_layers(module: nn.Module, run: Callable[[], Tensor]) -> tuple[list[Layer], Tensor]:
    """Linear layers that see each sample once, in the order of evaluation, and the module's outputs."""
    seen: list[Layer] = []
    hooks = [
        layer.register_forward_hook(lambda _, given, out, name=name: seen.append(Layer(name, given[0].detach(), out)))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and layer.weight.requires_grad
    ]
    try:
        result = run()
    finally:
        for hook in hooks:
            hook.remove()
    names = [layer.name for layer in seen]
    once = [layer for layer in seen if layer.inputs.shape[:-1] == result.shape[:1] and names.count(layer.name) == 1]
    return once, result


def _kronecker_inverse(
    layer: Layer, positions: Mapping[str, Tensor], weights: Tensor, signal: Tensor, damping: float
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Positions (h, D) in θ of a layer's parameters, and the inverse of `A ⊗ S + λ I` on them."""
    prefix = f"{layer.name}." if layer.name else ""
    inputs, at = layer.inputs, positions[f"{prefix}weight"]
    if f"{prefix}bias" in positions:
        inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
        at = torch.cat([at, positions[f"{prefix}bias"][:, None]], dim=1)
    values, basis = torch.linalg.eigh((weights[:, None] * inputs).T @ inputs)
    of_outputs, rotation = torch.linalg.eigh(signal)
    curvature = _floored(of_outputs.clamp_min(0)[:, None] * values.clamp_min(0), damping)

    def inverse(block: Tensor) -> Tensor:
        return rotation @ ((rotation.T @ block @ basis) / curvature) @ basis.T

    return at, inverse


def _floored(curvature: Tensor, damping: float) -> Tensor:
    damped = curvature + damping
    return damped.clamp_min(FLOOR * float(damped.mean()) or 1.0)
