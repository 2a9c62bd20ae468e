"""Curvature of the training risk as an operator: Hessian and Gauss-Newton products, streamed over the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import IntArray, require_not_negative
from unlearn.errors import InputError
from unlearn.influence.risk import TrainingRisk


class RiskOperator:
    """`v -> (H + λ I) v` with H the Hessian of L at θ, or its Gauss-Newton approximation.

    `H = (1/n) Σ ∇²ℓ_i + ∇²r`; Gauss-Newton replaces `∇²ℓ_i` by `J_i' (∂²ℓ_i/∂f²) J_i`, J_i the Jacobian of
    the outputs f, which is positive semi-definite for a loss convex in the outputs. Products
    differentiate twice in reverse; if all rows fit in one chunk its graph is built once and kept.

    Attributes:
        size: P.
        dtype: that of the model; products are that accurate.
        device: that of the model.
        damping: λ.
    """

    def __init__(
        self,
        risk: TrainingRisk,
        theta: Tensor,
        gauss_newton: bool = False,
        damping: float = 0.0,
        rows: IntArray | None = None,
    ) -> None:
        """Fix the point and the rows (None: all training rows).

        Raises:
            InputError: negative damping, or a layer whose second derivative PyTorch lacks.
        """
        self.damping = require_not_negative("damping", damping)
        self.size, self.dtype, self.device = theta.numel(), theta.dtype, theta.device
        self._risk, self._gauss_newton, self._rows = risk, gauss_newton, rows
        self._point = theta.detach().clone().requires_grad_(True)
        self._count = risk.samples.size if rows is None else len(rows)
        self._kept: list[tuple[Any, int]] = []
        if risk.chunk >= self._count:
            self._kept = list(self._build())
        self._prior = _RegularizationPiece(risk, self._point) if gauss_newton else None

    def matvec(self, vector: Tensor) -> Tensor:
        """Apply to a vector (P,)."""
        return self.matmat(vector[:, None])[:, 0]

    def matmat(self, vectors: Tensor) -> Tensor:
        """Apply to the columns of a matrix (P, k), in one pass over the rows."""
        total = torch.zeros_like(vectors)
        for piece, n in self._kept or self._build():
            total += _columns(piece, vectors) * (n / self._count)
        if self._prior is not None:
            total += _columns(self._prior, vectors)
        return total + self.damping * vectors

    def _build(self) -> Iterator[tuple[Any, int]]:
        kind = _GaussNewtonPiece if self._gauss_newton else _HessianPiece
        for batch, part in self._risk.chunks(self._rows):
            try:
                piece = kind(self._risk, self._point, batch, part)
            except (RuntimeError, NotImplementedError) as error:
                raise second_derivative_error(error) from error
            yield piece, len(part)


def batch_product(risk: TrainingRisk, theta: Tensor, batch: Any, vector: Tensor, gauss_newton: bool) -> Tensor:
    """Product with the undamped curvature of one batch's mean regularised loss, for a single use."""
    point, rows = theta.detach().requires_grad_(True), np.zeros(0, dtype=np.int64)
    if not gauss_newton:
        return _HessianPiece(risk, point, batch, rows)(vector)
    return _GaussNewtonPiece(risk, point, batch, rows)(vector) + _RegularizationPiece(risk, point)(vector)


def second_derivative_error(error: Exception) -> InputError:
    """What to raise where PyTorch lacks a second derivative."""
    return InputError(
        f"model: a layer or the loss cannot be differentiated twice ({str(error).splitlines()[0]}). Use one that can, "
        "such as attention with torch.nn.attention.sdpa_kernel(SDPBackend.MATH), or freeze that layer "
        "(requires_grad_(False))."
    )


class _HessianPiece:
    """Hessian of one batch's loss; the graph of the gradient is differentiated again per product."""

    def __init__(self, risk: TrainingRisk, point: Tensor, batch: Any, rows: IntArray) -> None:
        self._point = point
        with torch.enable_grad():
            loss = risk.loss(point, batch)
            risk.require_finite_loss(loss, rows)
            (self._slope,) = torch.autograd.grad(loss, point, create_graph=True, materialize_grads=True)
        risk.require_finite_gradient(self._slope.detach(), rows)
        _require_twice_differentiable(self._slope)

    def __call__(self, vector: Tensor) -> Tensor:
        return _derivative(self._slope, self._point, vector)


class _GaussNewtonPiece:
    """`J' C J` of one batch: J along v by differentiating `J'u` in u, then two reverse passes."""

    def __init__(self, risk: TrainingRisk, point: Tensor, batch: Any, rows: IntArray) -> None:
        self._point = point
        with torch.enable_grad():
            self._outputs = risk.outputs(point, batch)
            self._dual = torch.zeros_like(self._outputs, requires_grad=True)
            (self._transposed,) = torch.autograd.grad(
                self._outputs, point, self._dual, create_graph=True, materialize_grads=True
            )
            self._seen = self._outputs.detach().requires_grad_(True)
            loss = risk.objective.train_loss_on_outputs(self._seen, batch)
            risk.require_finite_loss(loss, rows)
            (self._slope,) = torch.autograd.grad(loss, self._seen, create_graph=True)
        risk.require_finite_gradient(self._slope.detach(), rows)
        _require_twice_differentiable(self._transposed, self._slope)

    def __call__(self, vector: Tensor) -> Tensor:
        forward = _derivative(self._transposed, self._dual, vector)
        return _derivative(self._outputs, self._point, _derivative(self._slope, self._seen, forward))


class _RegularizationPiece:
    """Hessian of r."""

    def __init__(self, risk: TrainingRisk, point: Tensor) -> None:
        self._point = point
        with torch.enable_grad():
            value = risk.regularization(point)
            self._slope = torch.zeros_like(point)
            if value.requires_grad:
                (self._slope,) = torch.autograd.grad(value, point, create_graph=True, materialize_grads=True)

    def __call__(self, vector: Tensor) -> Tensor:
        return _derivative(self._slope, self._point, vector)


def _require_twice_differentiable(*slopes: Tensor) -> None:
    """Refuse gradients that were cut: a function marked `once_differentiable` would silently count as constant."""
    seen: set[Any] = set()
    ahead = [slope.grad_fn for slope in slopes]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise RuntimeError("a function of it is marked once_differentiable")
        seen.add(node)
        ahead += [function for function, _ in node.next_functions]


def _derivative(of: Tensor, at: Tensor, along: Tensor) -> Tensor:
    """`(∂of/∂at)' along`; zero where `of` does not depend on anything."""
    if not of.requires_grad:
        return torch.zeros_like(at)
    return torch.autograd.grad(of, at, along, retain_graph=True, materialize_grads=True)[0].detach()


def _columns(piece: Any, vectors: Tensor) -> Tensor:
    try:
        return torch.stack([piece(column) for column in vectors.T], dim=1)
    except (RuntimeError, NotImplementedError) as error:
        raise second_derivative_error(error) from error
