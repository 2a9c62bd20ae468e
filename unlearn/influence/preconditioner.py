"""A block preconditioner for networks that end in a linear layer, and its blocks for a training risk.

Each linear layer has a block `A ⊗ S + λ I` of the Gauss-Newton matrix (K-FAC; Martens & Grosse, ICML
2015), which its eigenvectors invert: `A = Σ_i w_i a_i a_i'` is the Gram matrix of the layer's inputs, `S` the
mean of `g g'` over samples and random signs u, with `g_i = (∂f_i/∂(layer's outputs))' C_i^½ u` and C the
curvature of the loss in the model's outputs f. In the last layer S is the mean of C: for the mean squared
error, whose C is the same for every sample, the block is that of the Hessian, exactly. All other
parameters have the diagonal of the Gauss-Newton matrix, estimated with the same signs.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unlearn.errors import InputError
from unlearn.influence.flat import FlatModel
from unlearn.linalg import Preconditioner

if TYPE_CHECKING:
    from unlearn.influence.risk import TrainingRisk

#: Outputs up to which the curvature of a loss in the outputs is formed, a matrix per sample.
MAX_OUTPUTS = 256

#: Random sign vectors behind S and the diagonal.
PROBES = 8

#: Smallest curvature that is inverted, as a share of the mean one: keeps dead features harmless.
FLOOR = 1e-10


@dataclass(frozen=True, eq=False)
class OutputCurvature:
    """Curvature C of per-sample losses in the outputs of n samples.

    Attributes:
        root: u (n, B) -> `C_i^½ u_i` (n, B).
        total: `Σ_i w_i C_i`, shape (B, B).
    """

    root: Callable[[Tensor], Tensor]
    total: Tensor


@dataclass(frozen=True, eq=False)
class Layer:
    """A trainable linear layer: its name, its inputs (n, d) and its outputs (n, h), in the graph of the module."""

    name: str
    inputs: Tensor
    outputs: Tensor


class BlockCurvature:
    """Sums over samples that the blocks are made of; samples come in any number of pieces."""

    def __init__(self, flat: FlatModel, theta: Tensor) -> None:
        """Start with no samples, at θ of shape (P,)."""
        self._module, self._theta = flat.model, theta.detach()
        self._positions = flat.split(torch.arange(flat.size, device=theta.device))
        self._grams: dict[str, Tensor] = {}
        self._signals: dict[str, Tensor] = {}
        self._diagonal = torch.zeros_like(theta, dtype=torch.float64)
        self._weight = 0.0
        self._random = torch.Generator().manual_seed(0)

    def add(
        self, run: Callable[[Tensor], Tensor], curvature: Callable[[Tensor], OutputCurvature], weights: Tensor
    ) -> None:
        """Add samples.

        Args:
            run: evaluates the model on them at flat parameters, (P,) -> (n, B).
            curvature: gives C at these outputs.
            weights: w >= 0 of the samples, shape (n,).

        Raises:
            InputError: no trainable linear layer gives the module's outputs.
        """
        point = self._theta.clone().requires_grad_(True)
        with torch.enable_grad():
            layers, result = _linear_layers(self._module, self._positions, lambda: run(point))
        if not layers or layers[-1].outputs is not result:
            raise InputError(
                "block preconditioner: expected a module that ends in a trainable nn.Linear with a weight of its own "
                "(not shared with another layer, not computed as by weight_norm), got "
                f'{type(self._module).__name__}; use preconditioner="none".'
            )
        shape_of_outputs = curvature(result.detach())
        root_of_weights = weights.sqrt()[:, None]
        for layer in layers:
            rows = self._inputs(layer).double()
            self._add(self._grams, layer.name, (weights[:, None] * rows).T @ rows)
        # A linear model is its last layer: nothing is left to estimate.
        alone = len(layers) == 1 and self._at(layers[0].name).numel() == len(self._theta)
        for _ in range(0 if alone else PROBES):
            signs = 2.0 * torch.randint(0, 2, result.shape, generator=self._random).to(result) - 1.0
            slopes = torch.autograd.grad(
                result,
                [*(layer.outputs for layer in layers), point],
                shape_of_outputs.root(signs) * root_of_weights,
                retain_graph=True,
                materialize_grads=True,
            )
            for layer, slope in zip(layers[:-1], slopes, strict=False):
                self._add(self._signals, layer.name, (slope.T @ slope).double() / PROBES)
            self._diagonal += slopes[-1].double().square() / PROBES
        self._add(self._signals, layers[-1].name, shape_of_outputs.total.double())
        self._weight += float(weights.sum())

    def inverse(self, damping: float) -> Preconditioner:
        """The inverse of the blocks, with λ = damping and regulariser together, for (P,) or (P, k)."""
        diagonal = _floored(self._diagonal, damping)
        blocks = [
            _kronecker_inverse(self._at(name), self._grams[name], self._signals[name] / self._weight, damping)
            for name in self._grams
        ]

        def apply(vectors: Tensor) -> Tensor:
            columns = vectors.reshape(len(diagonal), -1)
            solved = columns / diagonal[:, None]
            for at, inverse in blocks:
                solved[at] = inverse(columns[at])
            return solved.reshape(vectors.shape)

        return apply

    @staticmethod
    def _add(sums: dict[str, Tensor], name: str, part: Tensor) -> None:
        sums[name] = sums[name] + part if name in sums else part

    def _inputs(self, layer: Layer) -> Tensor:
        if _parameter(layer.name, "bias") not in self._positions:
            return layer.inputs
        return torch.cat([layer.inputs, torch.ones_like(layer.inputs[:, :1])], dim=1)

    def _at(self, name: str) -> Tensor:
        """Positions (h, D) in θ of a layer's parameters, bias last."""
        at, bias = self._positions[_parameter(name, "weight")], self._positions.get(_parameter(name, "bias"))
        return at if bias is None else torch.cat([at, bias[:, None]], dim=1)


def risk_blocks(risk: TrainingRisk, theta: Tensor) -> Callable[[float], Preconditioner]:
    """Sum up the blocks over all training rows, in one pass.

    Returns:
        The inverse of the blocks by the damping λ that is added to them and to the regularisation's mean curvature.

    Raises:
        InputError: the model does not end in a trainable linear layer, or has no outputs (n, B) of at most 256
            columns.
    """
    blocks, prior = BlockCurvature(risk.flat, theta), prior_curvature(risk, theta)
    for batch, rows in risk.chunks(None, "preconditioner"):
        weights = torch.full((len(rows),), 1.0 / risk.samples.size, dtype=theta.dtype, device=theta.device)
        blocks.add(
            lambda point, batch=batch: _matrix(risk.outputs(point, batch)),  # type: ignore[misc]
            lambda outputs, batch=batch, weights=weights: _curvature(risk, outputs, batch, weights),  # type: ignore[misc]
            weights,
        )
    return lambda damping: blocks.inverse(damping + prior)


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


def squared_error_curvature(outputs: Tensor, weights: Tensor) -> OutputCurvature:
    """C of the squared error averaged over outputs: `(2/B) I`."""
    n_outputs = outputs.shape[1]
    eye = torch.eye(n_outputs, dtype=torch.float64, device=outputs.device)
    return OutputCurvature(lambda signs: (2.0 / n_outputs) ** 0.5 * signs, float(weights.sum()) * 2.0 / n_outputs * eye)


def _parameter(layer: str, kind: str) -> str:
    return f"{layer}.{kind}" if layer else kind


def _linear_layers(
    module: nn.Module, positions: Mapping[str, Tensor], run: Callable[[], Tensor]
) -> tuple[list[Layer], Tensor]:
    """Linear layers that see each sample once, in the order of evaluation, and the module's outputs.

    Only those whose weight is a parameter of their own: a block belongs to neither of two layers that share one, nor
    to parameters that a weight is computed from. These have the diagonal, which holds for parameters of any use.
    """
    seen: list[Layer] = []
    owners = Counter(id(own) for layer in module.modules() for own in layer._parameters.values() if own is not None)
    hooks = [
        layer.register_forward_hook(lambda _, given, out, name=name: seen.append(Layer(name, given[0].detach(), out)))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        and _parameter(name, "weight") in positions
        and all(owners[id(own)] == 1 for own in layer._parameters.values() if own is not None)
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
    at: Tensor, gram: Tensor, signal: Tensor, damping: float
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Positions (h, D), and the inverse of `A ⊗ S + λ I` on blocks (h, D, k) there."""
    values, basis = torch.linalg.eigh(gram)
    of_outputs, rotation = torch.linalg.eigh(signal)
    curvature = _floored(of_outputs.clamp_min(0)[:, None] * values.clamp_min(0), damping)

    def inverse(block: Tensor) -> Tensor:
        turned = rotation.T @ block.movedim(2, 0) @ basis / curvature
        return (rotation @ turned @ basis.T).movedim(0, 2)

    return at, inverse


def _floored(curvature: Tensor, damping: float) -> Tensor:
    damped = curvature + damping
    return damped.clamp_min(FLOOR * float(damped.mean()) or 1.0)
