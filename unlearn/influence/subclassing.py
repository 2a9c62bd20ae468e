"""Helpers that subclasses written for torch-influence call: parameters, batches and products by their names there.

New subclasses need none of them: `operator(...)` gives products with the curvature, `risk` everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.functional import hvp, jvp, vjp
from torch.utils.data import DataLoader, RandomSampler

from unlearn.checks import IntArray, require_rows
from unlearn.influence.flat import FlatModel, twice_differentiable
from unlearn.influence.risk import BaseObjective
from unlearn.influence.samples import Samples, map_tensors


class SubclassHelpers:
    """What subclasses may call besides the public methods."""

    model: nn.Module
    objective: BaseObjective
    device: torch.device
    is_model_functional: bool = False
    _owners: dict[str, list[tuple[nn.Module, str]]]
    _flat: FlatModel
    _train: Samples

    if TYPE_CHECKING:

        @property
        def _test(self) -> Samples: ...

    @property
    def params_names(self) -> tuple[str, ...]:
        return tuple(self._flat.shapes)

    @property
    def params_shape(self) -> tuple[torch.Size, ...]:
        return tuple(self._flat.shapes.values())

    def _model_params(self, with_names: bool = True) -> tuple[Any, ...]:
        parameters = dict(self.model.named_parameters())
        pairs = tuple((name, parameters[name]) for name in self._flat.shapes)
        return pairs if with_names else tuple(parameter for _, parameter in pairs)

    def _flatten_params_like(self, params_like: Sequence[Tensor]) -> Tensor:
        return torch.cat([piece.reshape(-1) for piece in params_like])

    def _reshape_like_params(self, vec: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._flat.split(vec).values())

    def _model_make_functional(self) -> tuple[Tensor, ...]:
        """Take the parameters out of the model, so that `_model_reinsert_params` can put tensors in their place."""
        taken = tuple(parameter.detach().requires_grad_() for parameter in self._model_params(with_names=False))
        # Found before any is taken out: a layer under a parametrisation is looked up through its parameters.
        self._owners = {name: self._flat.owners(name) for name in self._flat.shapes}
        for owners in self._owners.values():
            for owner, attribute in owners:
                delattr(owner, attribute)
        self.is_model_functional = True
        return taken

    def _model_reinsert_params(self, params: Sequence[Tensor], register: bool = False) -> None:
        """Put tensors in the place of the parameters; `register` makes them parameters again."""
        for name, value in zip(self._flat.shapes, params, strict=True):
            held = nn.Parameter(value) if register else value
            for owner, attribute in self._owners[name]:
                setattr(owner, attribute, held)
        self.is_model_functional = not register

    def _transfer_to_device(self, batch: Any) -> Any:
        return map_tensors(lambda tensor: tensor.to(self.device), batch)

    def _loader_wrapper(
        self,
        train: bool,
        batch_size: int | None = None,
        subset: Sequence[int] | None = None,
        sample_n_batches: int = -1,
    ) -> Iterator[tuple[Any, int]]:
        """Batches and their sizes: all rows in order, a subset, or batches drawn with replacement.

        Draws follow the global generator: `torch.manual_seed` repeats them.
        """
        samples = self._train if train else self._test
        size = batch_size or samples.batch_size
        rows: IntArray = np.arange(samples.size)
        if subset is not None:
            require_rows("subset", subset, samples.size)
            rows = np.asarray(subset, dtype=np.int64)
        drawn = (
            RandomSampler(rows.tolist(), replacement=True, num_samples=sample_n_batches * size)
            if sample_n_batches > 0
            else None
        )
        if drawn is None and subset is None:
            yield from samples.sweep(size)
            return
        for chosen in DataLoader(rows.tolist(), batch_size=size, sampler=drawn):
            yield samples.take(chosen.numpy()), len(chosen)

    def _loss_grad_loader_wrapper(self, train: bool, **kwargs: Any) -> Iterator[tuple[Tensor, int]]:
        """Gradient of the loss of each batch, shape (P,), and the batch's size; arguments of `_loader_wrapper`."""
        loss_of = self.objective.train_loss if train else self.objective.test_loss
        for batch, size in self._loader_wrapper(train, **kwargs):
            point = self._flat.theta.requires_grad_(True)
            loss = self._flat.call(point, loss_of, point, batch)
            yield torch.autograd.grad(loss, point, materialize_grads=True)[0], size

    def _hvp_at_batch(self, batch: Any, flat_params: Tensor, vec: Tensor, gnh: bool) -> Tensor:
        """Hessian (or Gauss-Newton) product of one batch's regularised loss, shape (P,), without damping."""
        if not gnh:
            return hvp(lambda theta: self._call(theta, self.objective.train_loss, theta, batch), flat_params, vec)[1]
        outputs_of = lambda theta: self._call(theta, self.objective.train_outputs, batch)  # noqa: E731
        outputs, forward = jvp(outputs_of, flat_params, vec)
        curved = hvp(partial(self.objective.train_loss_on_outputs, batch=batch), outputs, forward)[1]
        prior = hvp(self.objective.train_regularization, flat_params, vec)[1]
        return vjp(outputs_of, flat_params, curved)[1] + prior

    def _call(self, theta: Tensor, function: Any, *args: Any) -> Any:
        """`function(model, *args)` at θ, whether or not the parameters are in the model."""
        if not self.is_model_functional:
            return self._flat.call(theta, function, *args)
        self._model_reinsert_params(self._reshape_like_params(theta))
        with twice_differentiable(self.model):
            return function(self.model, *args)
