"""The mean regularised training loss over a data set, `L(θ) = (1/N) Σ_i ℓ_i(θ) + r(θ)`, and scores of its rows."""

from __future__ import annotations

import abc
import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from unlearn.checks import IntArray
from unlearn.errors import InputError
from unlearn.influence.contract import lone
from unlearn.influence.flat import FlatModel
from unlearn.influence.mean_loss import PROBED, MeanLoss
from unlearn.influence.samples import Samples, leaf_sizes


class BaseObjective(abc.ABC):
    """The training and the test loss of a model, per batch: `train_loss = ℓ(outputs, batch) + r(θ)`.

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
        """Find out how rows can be evaluated together, and refuse what cannot be right.

        Args:
            flat: the model.
            objective: its losses.
            samples: the training rows.
            memory_bytes: what intermediate results of a chunk may take.

        Raises:
            InputError: a loss that is no finite scalar or differs between two passes, or rows of a batch
                that depend on each other.
        """
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
