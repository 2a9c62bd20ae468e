"""A module as a function of one flat vector: its trainable parameters, in the order of `named_parameters()`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from unlearn.errors import InputError, UnlearnError
from unlearn.temporary import Guard

T = TypeVar("T")

#: What influence is computed in: half precision has no factorisations, and too few digits for second derivatives.
PRECISIONS = (torch.float32, torch.float64)

#: How PyTorch complains of numbers of two kinds.
TWO_DTYPES = re.compile(
    r"dtype|scalar type|type \(\w+\) and \w+ type|can't be cast|not implemented for '|"
    r"(Half|Float|BFloat16|Double|Long|Int|Short|Char|Byte|Bool|Complex\w+) did not match"
)


#: Held while a function of a module runs with other parameters: until it ends they stand in the module itself, where
#: another thread would meet them.
SWAPPED = Guard()


class FlatModel:
    """View of a module's trainable parameters as θ of shape (P,); the module itself is only read."""

    def __init__(self, model: nn.Module) -> None:
        """Note names and shapes.

        Raises:
            InputError: no trainable parameter, or parameters of several dtypes, or of neither float32 nor float64.
        """
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not trainable:
            raise InputError("model: expected trainable parameters, got none (requires_grad is False everywhere).")
        dtypes = {p.dtype for p in trainable.values()}
        if len(dtypes) > 1 or not dtypes <= set(PRECISIONS):
            raise InputError(
                "model: expected parameters of one floating dtype, float32 or float64, got "
                f"{', '.join(sorted(map(str, dtypes)))}. Pass model.float() or model.double(), and inputs to match."
            )
        self.model = model
        self.shapes = {name: p.shape for name, p in trainable.items()}
        self.size = sum(p.numel() for p in trainable.values())
        self.dtype = dtypes.pop()
        self._host = _Host(model)
        self._places = {f"model.{place}": name for place, name in places_of(model, trainable).items()}

    def owners(self, name: str) -> list[tuple[nn.Module, str]]:
        """The modules that hold a parameter, and its attribute there: several where layers share it."""
        places = [place.removeprefix("model.") for place, held in self._places.items() if held == name]
        parts = [place.rpartition(".") for place in places]
        return [(self.model.get_submodule(path), attribute) for path, _, attribute in parts]

    @property
    def theta(self) -> Tensor:
        """The module's parameters now, detached, shape (P,).

        Raises:
            InputError: NaN or infinity among them.
        """
        with SWAPPED:
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
        with SWAPPED, twice_differentiable(self.model):
            result: T = functional_call(self._host, placed, (function, *args), tie_weights=False)
        return result

    def load(self, theta: Tensor) -> None:
        """Write θ into the module."""
        with SWAPPED, torch.no_grad():
            parameters = dict(self.model.named_parameters())
            for name, value in self.split(theta).items():
                parameters[name].copy_(value)


def places_of(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Where parameters and buffers stand in a model, each place with the name of its tensor.

    A tensor may belong to several modules, and a module may stand in several places: each module once, for
    `functional_call` puts nothing back into a module that it meets twice.
    """
    names = {id(tensor): name for name, tensor in tensors.items()}
    return {
        f"{place}.{attribute}" if place else attribute: names[id(held)]
        for place, module in model.named_modules()
        for attribute, held in (*module._parameters.items(), *module._buffers.items())
        if id(held) in names
    }


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of a model, also where a layer keeps a weight that it has computed, as under `weight_norm`."""
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, computed)


@contextmanager
def dtypes_named(flat: FlatModel, batches: Callable[[], Iterable[Tensor]]) -> Iterator[None]:
    """Turn complaints of PyTorch about numbers of two kinds into one that names those of the model and the data.

    Raises:
        InputError: the model, or the loss, cannot be evaluated with the dtypes of the data.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as error:
        # What the first evaluation refuses in general words comes from PyTorch's own complaint.
        complaint = error.__cause__ if isinstance(error, UnlearnError) else error
        if complaint is None or not TWO_DTYPES.search(str(complaint)):
            raise
        data = ", ".join(sorted({str(tensor.dtype) for tensor in batches()}))
        held = ", ".join(sorted({str(value.dtype) for value in flat.model.state_dict().values()}))
        said = str(complaint).splitlines()[0].rstrip(".")
        raise InputError(
            f"model and data: expected dtypes that go together, got {held} in the model and {data} in the batches "
            f"({said}). Convert the data (x.to({flat.dtype})) or the model (model.double())."
        ) from error


@contextmanager
def twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Evaluate a model so that its second derivatives are right, where PyTorch's own are not."""
    normed = any(
        type(part).__name__ in ("_WeightNorm", "WeightNorm")
        for module in model.modules()
        for part in (module, *module._forward_pre_hooks.values())
    )
    if not normed:
        yield
        return
    with _WeightNormByNorms():
        yield


class _WeightNormByNorms(TorchFunctionMode):
    """`weight_norm` from norms: the second derivative of PyTorch's kernel takes them for constants."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._weight_norm:
            direction, size, *along = args
            axis = along[0] if along else (kwargs or {}).get("dim", 0)
            return direction * (size / torch.norm_except_dim(direction, 2, axis))
        return func(*args, **(kwargs or {}))


class _Host(nn.Module):
    """Lets `functional_call` run any function of the model, not only its `forward`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self.model, *args)
