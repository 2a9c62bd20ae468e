"""A module as a function of one flat vector: its trainable parameters, in the order of `named_parameters()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from unlearn.errors import InputError

T = TypeVar("T")


class FlatModel:
    """View of a module's trainable parameters as θ of shape (P,); the module itself is only read."""

    def __init__(self, model: nn.Module) -> None:
        """Note names and shapes.

        Raises:
            InputError: no trainable parameter, or parameters of several dtypes.
        """
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not trainable:
            raise InputError("model: expected trainable parameters, got none (requires_grad is False everywhere).")
        dtypes = {p.dtype for p in trainable.values()}
        if len(dtypes) > 1 or not next(iter(dtypes)).is_floating_point:
            raise InputError(f"model: expected parameters of one floating dtype, got {sorted(map(str, dtypes))}.")
        self.model = model
        self.shapes = {name: p.shape for name, p in trainable.items()}
        self.size = sum(p.numel() for p in trainable.values())
        self.dtype = dtypes.pop()
        self._host = _Host(model)
        # A parameter may belong to several modules, and a module may stand in several places: each module once.
        names = {id(parameter): name for name, parameter in trainable.items()}
        self._places = {
            f"model.{place}.{attribute}" if place else f"model.{attribute}": names[id(parameter)]
            for place, module in model.named_modules()
            for attribute, parameter in module._parameters.items()
            if id(parameter) in names
        }

    @property
    def theta(self) -> Tensor:
        """The module's parameters now, detached, shape (P,).

        Raises:
            InputError: NaN or infinity among them.
        """
        parameters = dict(self.model.named_parameters())
        theta = torch.cat([parameters[name].detach().reshape(-1) for name in self.shapes])
        if not bool(theta.isfinite().all()):
            raise InputError("parameters: expected finite values, got NaN or infinity; was the model trained?")
        return theta

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of θ in the shapes of the parameters, by name."""
        pieces = theta.split([shape.numel() for shape in self.shapes.values()])
        return {name: piece.view(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}

    def call(self, theta: Tensor, function: Callable[..., T], *args: Any) -> T:
        """`function(model, *args)` while the model's parameters are θ; differentiable in θ."""
        parameters = self.split(theta)
        placed = {place: parameters[name] for place, name in self._places.items()}
        result: T = functional_call(self._host, placed, (function, *args), tie_weights=False)
        return result

    def load(self, theta: Tensor) -> None:
        """Write θ into the module."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in self.split(theta).items():
                parameters[name].copy_(value)


class _Host(nn.Module):
    """Lets `functional_call` run any function of the model, not only its `forward`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self.model, *args)
