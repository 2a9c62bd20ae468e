"""Curvature as linear operators: Hessian and Gauss-Newton products, damping, the dense matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.func import jvp, vjp

from unlearn.checks import require_not_negative


class Operator(Protocol):
    """A symmetric linear map on flat parameter vectors of length `size`."""

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
        self.size = at.numel()
        self._at = at.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            (self._gradient,) = torch.autograd.grad(function(self._at), self._at, create_graph=True)

    def matvec(self, vector: Tensor) -> Tensor:
        if not self._gradient.requires_grad:  # the function is linear
            return self.damping * vector
        (product,) = torch.autograd.grad(self._gradient, self._at, vector, retain_graph=True, materialize_grads=True)
        return product + self.damping * vector


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
        self.size = at.numel()
        self._outputs = outputs
        self._at = at.detach()
        self._curvature = curvature

    def matvec(self, vector: Tensor) -> Tensor:
        forward = jvp(self._outputs, (self._at,), (vector,))[1]
        (product,) = vjp(self._outputs, self._at)[1](self._curvature * forward)
        return product + self.damping * vector


def dense_matrix(operator: Operator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Assemble the operator's matrix (P, P), one product per parameter; for small P and for tests."""
    columns = [operator.matvec(unit) for unit in torch.eye(operator.size, dtype=dtype)]
    return torch.stack(columns, dim=1)
