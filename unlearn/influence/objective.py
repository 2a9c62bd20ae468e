"""What an influence module has to know of a model's training, as its user writes it down."""

from __future__ import annotations

import abc
from typing import Any

from torch import Tensor, nn


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
