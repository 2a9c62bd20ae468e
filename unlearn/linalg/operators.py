"""Curvature as linear operators: Hessian and Gauss-Newton products, damping, the dense matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from unlearn.checks import require_not_negative

#: Columns of a block that are multiplied at once: bounds the memory of vectorised automatic differentiation.
CHUNK = 32


class Operator(Protocol):
    """A symmetric linear map on flat parameter vectors of length `size`.

    An operator may also have `matmat(block)`, (P, k) -> (P, k), where a block costs less than its
    columns; `dtype` and `device` of the vectors that it takes (float64, on the CPU, if it does not say);
    and `damping`, the multiple of the identity that its products include. `products` heeds them.
    """

    size: int

    def matvec(self, vector: Tensor) -> Tensor:
        """Apply the map to a vector of shape (P,)."""
        ...


class HessianOperator:
    """Hessian-vector products of a scalar function, plus damping: `v -> ∇²f(θ) v + λ v`.

    The gradient's graph is built once and differentiated again per product (reverse over
    reverse), which also works for losses whose forward-mode derivative PyTorch lacks.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], at: Tensor, damping: float = 0.0) -> None:
        """Prepare products at a point.

        Args:
            function: maps flat parameters (P,) to a scalar.
            at: the point θ, shape (P,).
            damping: λ >= 0, added to the Hessian of the sum.
        """
        self.damping = require_not_negative("damping", damping)
        self.size, self.dtype, self.device = at.numel(), at.dtype, at.device
        self._at = at.detach().clone().requires_grad_(True)
        self._vectorises = True
        with torch.enable_grad():
            (self._gradient,) = torch.autograd.grad(function(self._at), self._at, create_graph=True)

    def matvec(self, vector: Tensor) -> Tensor:
        if not self._gradient.requires_grad:  # the function is linear
            return self.damping * vector
        (product,) = torch.autograd.grad(self._gradient, self._at, vector, retain_graph=True, materialize_grads=True)
        return product + self.damping * vector

    def matmat(self, block: Tensor) -> Tensor:
        if not self._gradient.requires_grad:
            return self.damping * block
        if self._vectorises:
            try:
                return self._batched(block)
            except RuntimeError:  # vmap refuses an operation, or has no memory for a block
                self._vectorises = False
        return _columnwise(self, block)

    def _batched(self, block: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(
            self._gradient, self._at, block.T, retain_graph=True, is_grads_batched=True, materialize_grads=True
        )
        return product.T + self.damping * block


class GaussNewtonOperator:
    """Gauss-Newton products `v -> J' C J v + λ v`, positive semi-definite for any model.

    `J` is the Jacobian of the model's outputs and `C` the (diagonal) curvature of the loss in the
    outputs: for a weighted squared error `Σ_i w_i (1/B)‖f_i − y_i‖²` it is `2 w_i / B`.
    """

    def __init__(
        self, outputs: Callable[[Tensor], Tensor], at: Tensor, curvature: Tensor, damping: float = 0.0
    ) -> None:
        """Prepare products at a point.

        Args:
            outputs: maps flat parameters (P,) to model outputs (n, B).
            at: the point θ, shape (P,).
            curvature: second derivative of the loss in each output, broadcastable to (n, B).
            damping: λ >= 0.
        """
        self.damping = require_not_negative("damping", damping)
        self.size, self.dtype, self.device = at.numel(), at.dtype, at.device
        self._outputs = outputs
        self._at = at.detach()
        self._curvature = curvature
        self._vectorises = True

    def matvec(self, vector: Tensor) -> Tensor:
        forward = jvp(self._outputs, (self._at,), (vector,))[1]
        (product,) = vjp(self._outputs, self._at)[1](self._curvature * forward)
        return product + self.damping * vector

    def matmat(self, block: Tensor) -> Tensor:
        if self._vectorises:
            try:
                return self._batched(block)
            except RuntimeError:  # vmap refuses an operation, or has no memory for a block
                self._vectorises = False
        return _columnwise(self, block)

    def _batched(self, block: Tensor) -> Tensor:
        back = vjp(self._outputs, self._at)[1]

        def product(vector: Tensor) -> Tensor:
            result: Tensor = back(self._curvature * jvp(self._outputs, (self._at,), (vector,))[1])[0]
            return result

        return vmap(product, in_dims=1, out_dims=1)(block) + self.damping * block


def _columnwise(operator: Operator, block: Tensor) -> Tensor:
    return torch.stack([operator.matvec(column) for column in block.T], dim=1)


def products(operator: Operator, block: Tensor) -> Tensor:
    """Apply an operator to all columns of a block, at most `CHUNK` of them at once.

    Args:
        operator: H; blocks go through its `matmat` where it has one, and through `matvec` otherwise.
        block: V, shape (P, k).

    Returns:
        H V, shape (P, k), in the precision and on the device of V, whatever those of H.
    """
    if not block.shape[1]:
        return block.clone()
    given = block.to(dtype=getattr(operator, "dtype", None), device=getattr(operator, "device", None))
    together = getattr(operator, "matmat", None)
    if together is None or block.shape[1] == 1:
        done = _columnwise(operator, given)
    else:
        done = torch.cat([together(part) for part in given.split(CHUNK, dim=1)], dim=1)
    return done.detach().to(block)


def dense_matrix(operator: Operator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Assemble the operator's matrix (P, P), one product per parameter; for small P and for tests."""
    return products(operator, torch.eye(operator.size, dtype=dtype, device=getattr(operator, "device", None)))
