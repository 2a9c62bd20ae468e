"""The mean regularised training loss over a data set, `L(θ) = (1/N) Σ_i ℓ_i(θ) + r(θ)`: what an objective gives, scores
of the rows, and the curvature as an operator (Hessian and Gauss-Newton products, streamed over the rows).
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from unlearn.checks import IntArray, require_not_negative
from unlearn.errors import InputError
from unlearn.influence.contract import lone
from unlearn.influence.flat import FlatModel
from unlearn.influence.mean_loss import PROBED, MeanLoss
from unlearn.influence.samples import Samples, leaf_sizes


class BaseObjective(abc.ABC):
    """The training and the test loss of a model, per batch: `train_loss = ℓ(outputs, batch) + r(θ)`.

    Why it is not an `unlearn.linalg.Objective` is told in `unlearn.influence`.

    Both losses are means over the samples of a batch. A batch is what the loader's collate function
    makes: a tensor, or a tuple, list or dict of tensors.
    """

    @abc.abstractmethod
    def train_outputs(self, model: nn.Module, batch: Any) -> Tensor:
        """Outputs of the model for a training batch, one row per sample."""

    @abc.abstractmethod
    def train_loss_on_outputs(self, outputs: Tensor, batch: Any) -> Tensor:
        """Loss of these outputs, a mean over samples, as a scalar; convex in the outputs for Gauss-Newton."""

    @abc.abstractmethod
    def train_regularization(self, params: Tensor) -> Tensor:
        """Regularisation r(θ) of the flat parameters (P,), a scalar; `torch.zeros(())` for none."""

    def train_loss(self, model: nn.Module, params: Tensor, batch: Any) -> Tensor:
        """Regularised loss of a training batch, a scalar."""
        return self.train_loss_on_outputs(self.train_outputs(model, batch), batch) + self.train_regularization(params)

    @abc.abstractmethod
    def test_loss(self, model: nn.Module, params: Tensor, batch: Any) -> Tensor:
        """Loss of a test batch, a mean over samples, as a scalar."""


logger = logging.getLogger(__name__)


class TrainingRisk(MeanLoss):
    """Losses, gradients and scores of the training rows at flat parameters θ (P,), in bounded memory.

    `∇L_i = ∇ℓ_i + ∇r` is the gradient of row i: removing the row and refitting the mean over the rest
    with the same r changes θ by `H⁻¹ ∇L_i / N`, to first order.
    """

    def __init__(self, flat: FlatModel, objective: BaseObjective, samples: Samples, memory_bytes: float) -> None:
        """Check the training loss, see `MeanLoss`, and find out how rows can be evaluated together."""
        self.objective = objective
        self._whole = getattr(type(objective), "train_loss", None) is not BaseObjective.train_loss
        super().__init__("training", flat, objective.train_loss, samples, memory_bytes)
        theta = flat.theta
        if samples.columns is not None:
            # Independent rows may be chunked at will, unless a collate function of unknown habits makes the batches.
            self.chunk = self.rows_that_fit
        self.vectorised = self._is_vectorised(theta)

    def outputs(self, theta: Tensor, batch: Any) -> Tensor:
        """Outputs of a batch.

        Raises:
            InputError: they are no tensor, so that they have no Gauss-Newton matrix.
        """
        outputs = self._any_outputs(theta, batch)
        if not isinstance(outputs, Tensor):
            raise InputError(
                f"model: expected a tensor of outputs, got {type(outputs).__name__}; have the objective's "
                "train_outputs return the one that the loss is computed from, or use the Hessian (gnh=False)."
            )
        return outputs

    def data_loss(self, theta: Tensor, batch: Any) -> Tensor:
        if self._whole:
            return self.loss(theta, batch)
        return self.objective.train_loss_on_outputs(self._any_outputs(theta, batch), batch)

    def _any_outputs(self, theta: Tensor, batch: Any) -> Any:
        return self.flat.call(theta, self.objective.train_outputs, batch)

    def regularization(self, theta: Tensor) -> Tensor:
        return torch.as_tensor(self.objective.train_regularization(theta))

    def scores(self, theta: Tensor, rows: IntArray, vectors: Tensor) -> Tensor:
        """`∇L_i · v` of every row and column, shape (n, k) for vectors (P, k), without forming any gradient."""
        point = theta.detach().requires_grad_(True)
        score = self._scores_together if self.vectorised else self._scores_one_by_one
        pieces = [score(point, batch, part, vectors) for batch, part in self.chunks(rows, "scores")]
        return torch.cat(pieces) if pieces else vectors.new_zeros((0, vectors.shape[1]))

    def _scores_one_by_one(self, point: Tensor, batch: Any, part: IntArray, vectors: Tensor) -> Tensor:
        return torch.stack([self.gradient(point, part[i : i + 1]) @ vectors for i in range(len(part))])

    def _scores_together(self, point: Tensor, batch: Any, part: IntArray, vectors: Tensor) -> Tensor:
        with torch.enable_grad():
            losses = self._losses(point, batch)
            bad = np.flatnonzero(~losses.detach().isfinite().cpu().numpy())
            self.require_finite_loss(losses.detach().sum(), part[bad] if len(bad) else part)
            # The slope of Σ u_i ℓ_i is linear in u: its derivative along v holds every ∇ℓ_i · v.
            dual = torch.ones_like(losses, requires_grad=True)
            (slope,) = torch.autograd.grad(losses, point, dual, create_graph=True, materialize_grads=True)
            products = [_along(slope, dual, column) for column in vectors.T]
        scores = torch.stack(products, dim=1)
        if not self._whole:
            scores = scores + self._regularization_slope(point) @ vectors
        self.require_finite_gradient(scores, part)
        return scores

    def _losses(self, theta: Tensor, batch: Any) -> Tensor:
        """ℓ_i of every row of a batch (with r where the objective has its own `train_loss`), shape (n,)."""
        if self._whole:
            return vmap(lambda sample: self.loss(theta, lone(sample)))(batch)
        on_outputs = self.objective.train_loss_on_outputs
        return vmap(lambda output, sample: on_outputs(lone(output), lone(sample)))(
            self._any_outputs(theta, batch), batch
        )

    def _regularization_slope(self, point: Tensor) -> Tensor:
        with torch.enable_grad():
            value = self.regularization(point)
            if not value.requires_grad:
                return torch.zeros_like(point)
            return torch.autograd.grad(value, point, materialize_grads=True)[0]

    def _is_vectorised(self, theta: Tensor) -> bool:
        """Whether scores of the first rows together are those of single rows; a log line says why not."""
        rows = np.arange(min(PROBED, self.samples.size))
        batch = self.samples.take(rows)
        sizes = leaf_sizes(batch)
        if sizes is None or set(sizes) != {len(rows)}:
            logger.info("rows are evaluated one by one: batches are not stacked along the first axis")
            return False
        point = theta.detach().requires_grad_(True)
        direction = torch.linspace(-1, 1, theta.numel(), dtype=theta.dtype, device=theta.device)[:, None]
        expected = self._scores_one_by_one(point, batch, rows, direction)
        try:
            found = self._scores_together(point, batch, rows, direction)
        except (RuntimeError, NotImplementedError, ValueError, IndexError) as error:
            logger.info("rows are evaluated one by one: %s", error)
            return False
        tolerance = torch.finfo(theta.dtype).eps ** 0.5
        if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max() + 1e-30)):
            logger.info("rows are evaluated one by one: vectorised scores differ")
            return False
        return True


def _along(slope: Tensor, dual: Tensor, vector: Tensor) -> Tensor:
    if not slope.requires_grad:
        return torch.zeros_like(dual)
    return torch.autograd.grad(slope, dual, vector, retain_graph=True, materialize_grads=True)[0].detach()


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
