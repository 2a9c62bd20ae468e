"""The objective of the common case: batches of (inputs, targets), one loss, and a ridge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.checks import require_not_negative
from unlearn.errors import InputError
from unlearn.influence.objective import BaseObjective

#: Maps outputs and targets to the mean loss of a batch, such as `torch.nn.functional.mse_loss`.
LossFunction = Callable[[Tensor, Tensor], Tensor]


class PairObjective(BaseObjective):
    """`loss(model(x), y) + (l2/2) ‖θ‖²` on training batches (x, y); `judge(model(x), y)` on test batches."""

    def __init__(self, loss: LossFunction, l2: float = 0.0, judge: LossFunction | None = None) -> None:
        """Fix the losses.

        Args:
            loss: training loss, a mean over samples.
            l2: regulariser of the mean, >= 0.
            judge: test loss; None means `loss`.
        """
        for name, function in (("loss", loss), ("judge", judge or loss)):
            if isinstance(function, type) or not callable(function):
                what = (
                    f"the class {function.__name__}; make one"
                    if isinstance(function, type)
                    else type(function).__name__
                )
                raise InputError(f"{name}: expected a function of outputs and targets, got {what}.")
        self.loss, self.judge = loss, judge or loss
        self.l2 = require_not_negative("l2", l2)

    def __repr__(self) -> str:
        loss, judge = (getattr(f, "__name__", type(f).__name__) for f in (self.loss, self.judge))
        return f"PairObjective({loss}, l2={self.l2:g}, judge={judge})"

    def train_outputs(self, model: nn.Module, batch: Any) -> Tensor:
        return _outputs(model, _pair(batch)[0])

    def train_loss_on_outputs(self, outputs: Tensor, batch: Any) -> Tensor:
        return _mean_loss(self.loss, outputs, _pair(batch)[1])

    def train_regularization(self, params: Tensor) -> Tensor:
        return 0.5 * self.l2 * params.square().sum() if self.l2 else torch.zeros((), dtype=params.dtype)

    def test_loss(self, model: nn.Module, params: Tensor, batch: Any) -> Tensor:
        inputs, targets = _pair(batch)
        return _mean_loss(self.judge, _outputs(model, inputs), targets)


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        what = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
        raise InputError(
            f"batch: expected (inputs, targets), got a {what}; for other batches subclass "
            "unlearn.influence.BaseObjective."
        )
    return batch[0], batch[1]


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    outputs = model(inputs)
    if not isinstance(outputs, Tensor):
        raise InputError(
            f"model: expected a tensor of outputs, got {type(outputs).__name__}; wrap it in a module whose forward "
            "returns the tensor that the loss takes, or subclass unlearn.influence.BaseObjective."
        )
    return outputs


def _mean_loss(loss: LossFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    if not isinstance(targets, Tensor):
        raise InputError(f"targets: expected a tensor, got {type(targets).__name__}; change the loader's collate_fn.")
    if outputs.shape != targets.shape and not _are_classes(outputs, targets):
        # Broadcasting would pair every output with every target.
        raise InputError(
            f"targets: expected the shape of the outputs, {tuple(outputs.shape)}, got {tuple(targets.shape)}"
            f"{'' if targets.is_floating_point() else ' (classes: that without the second axis)'}. Reshape one of "
            "them, such as targets[:, None] or outputs.squeeze(-1)."
        )
    return loss(outputs, targets)


def _are_classes(outputs: Tensor, targets: Tensor) -> bool:
    """Whether the targets may be indices of classes: scores (n, C, ...) of at least two, and classes (n, ...)."""
    if targets.is_floating_point() or targets.is_complex() or outputs.ndim < 2 or outputs.shape[1] < 2:
        return False
    return targets.shape == outputs.shape[:1] + outputs.shape[2:]
