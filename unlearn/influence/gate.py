"""What an influence module takes at all: refused in one place, before anything is computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from unlearn.errors import InputError

#: What an objective must be able to do.
METHODS = ("train_outputs", "train_loss_on_outputs", "train_regularization", "train_loss", "test_loss")


def require_module(model: Any) -> None:
    """Refuse what is no PyTorch module, or one whose parameters have no values yet."""
    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise InputError(
            f"model: expected a trained torch.nn.Module, got {what}. Estimators of other libraries have no "
            "parameters that PyTorch could differentiate; write a linear one as nn.Linear with its coefficients."
        )
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise InputError(f"model: expected parameters with values, got {lazy[0]} without a shape; run a batch first.")


def require_objective(objective: Any) -> None:
    """Refuse what does not know the losses of a model."""
    missing = [name for name in METHODS if not callable(getattr(objective, name, None))]
    if isinstance(objective, type) or missing:
        what = f"the class {objective.__name__}" if isinstance(objective, type) else type(objective).__name__
        without = f" without {', '.join(missing)}" if missing and not isinstance(objective, type) else ""
        raise InputError(
            f"objective: expected an object of a subclass of unlearn.influence.BaseObjective, got {what}{without}. For "
            "batches (x, y) and one loss, PairObjective(loss) is one."
        )


def require_device(device: Any) -> torch.device:
    """Return the device if tensors can be made there."""
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError, TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"device: expected one that this machine has, such as 'cpu' or 'cuda', got {device!r} ({told(error)})."
        ) from error
    return found


def told(error: Exception) -> str:
    """An error of other code in one line, without a full stop."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def as_tensor(name: str, value: Any, dtype: torch.dtype) -> Tensor:
    """Return numbers as a tensor: floating ones keep their dtype, others get that of the model."""
    try:
        tensor = torch.as_tensor(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{name}: expected a tensor of numbers, got {type(value).__name__} ({told(error)})."
        ) from error
    return tensor if tensor.is_floating_point() else tensor.to(dtype)
