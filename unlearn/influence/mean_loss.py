"""A mean loss over the rows of a data set as a function of flat parameters, streamed in chunks of bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import grad, vmap
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError, UnlearnError
from unlearn.influence.contract import Contract, lone
from unlearn.influence.flat import FlatModel
from unlearn.influence.module import told
from unlearn.influence.samples import Samples, described, leaves, same

logger = logging.getLogger(__name__)

#: What a graph that is differentiated twice holds, in units of what the forward pass saves.
SECOND_ORDER = 6

#: Rows on which things are measured or compared before any work.
PROBED = 4

#: Seconds after which a progress bar shows.
PATIENCE = 2.0

#: Maps a model, its flat parameters and a batch to the mean loss of the batch.
BatchLoss = Callable[[nn.Module, Tensor, Any], Tensor]


class MeanLoss:
    """Values and gradients of a loss that is a mean over rows, at flat parameters θ (P,).

    Attributes:
        samples: the rows.
        chunk: rows that are handled at once; the loader's batch size.
        bytes_per_row: what the forward pass saves for one row, measured.
        vectorised: whether rows can be evaluated side by side by vmap.
    """

    def __init__(
        self, which: str, flat: FlatModel, batch_loss: BatchLoss, samples: Samples, memory_bytes: float
    ) -> None:
        """Check the loss `batch_loss` of rows; `which` ("training" or "test") is for messages.

        Intermediate results of a chunk may take `memory_bytes`.

        Raises:
            InputError: it is no finite scalar, no mean over rows, or differs between two passes.
        """
        self.which, self.flat, self.samples = which, flat, samples
        self._batch_loss, self._memory = batch_loss, memory_bytes
        theta = flat.theta
        self._require_repeatable(theta)
        self.chunk = samples.batch_size
        self.bytes_per_row = self._bytes_per_row(theta)
        Contract(self).check(theta)
        self.vectorised = samples.columns is not None

    @property
    def rows_that_fit(self) -> int:
        """Rows whose graph, differentiated twice, fits in the memory."""
        return max(1, min(int(self._memory / (SECOND_ORDER * self.bytes_per_row)), self.samples.size))

    def loss(self, theta: Tensor, batch: Any) -> Tensor:
        """Mean loss of a batch, a scalar, with what its objective adds to it."""
        return self.flat.call(theta, self._batch_loss, theta, batch)

    def data_loss(self, theta: Tensor, batch: Any) -> Tensor:
        """The part of it that is a mean over rows."""
        return self.loss(theta, batch)

    def tried(self, theta: Tensor, batch: Any, rows: IntArray) -> Tensor:
        """The loss of a batch without a graph, where a model or a loss may still turn out not to fit the data.

        Raises:
            InputError: model or loss failed, or the loss is no scalar.
        """
        try:
            with torch.no_grad():
                value = self.data_loss(theta, batch)
        except UnlearnError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.which} loss: the model or the loss failed {_place(rows)}: {told(error)}. "
                f"They got a batch of {described(batch)}; check shapes, dtypes "
                "and devices, and that a batch of one row keeps its first axis."
            ) from error
        self._require_scalar(value)
        return value

    def chunks(self, rows: IntArray | None, label: str = "", size: int | None = None) -> Iterator[tuple[Any, IntArray]]:
        """Batches of these rows (None: all), with the rows in them."""
        if rows is None and self.samples.columns is None and size is None:
            start = 0
            for batch, n in _bar(self.samples.sweep(self.chunk), label, -(-self.samples.size // self.chunk)):
                yield batch, np.arange(start, start + n)
                start += n
            return
        chosen = np.arange(self.samples.size) if rows is None else rows
        step = size or self.chunk
        for start in _bar(range(0, len(chosen), step), label):
            part = chosen[start : start + step]
            yield (self.samples.take(part) if rows is not None else self.samples.span(start, start + step)), part

    def of_rows(self, theta: Tensor) -> FloatArray:
        """Loss of every row by itself, without regularisation where that is apart, shape (N,)."""
        return Contract(self).own_losses(theta)

    def mean(self, theta: Tensor, rows: IntArray | None = None) -> float:
        """Mean loss over rows (None: all); NaN or infinity are returned as they are."""
        total, count = 0.0, 0
        with torch.no_grad():
            for batch, part in self.chunks(rows):
                total, count = total + float(self.loss(theta, batch)) * len(part), count + len(part)
        return total / count

    def gradient(self, theta: Tensor, rows: IntArray | None = None) -> Tensor:
        """Gradient of the mean loss over rows (None: all), shape (P,).

        Raises:
            InputError: it is not finite; names the rows.
        """
        point = theta.detach().requires_grad_(True)
        total, count = torch.zeros_like(theta), 0
        for batch, part in self.chunks(rows, f"{self.which} gradient"):
            with torch.enable_grad():
                loss = self.loss(point, batch)
            self.require_finite_loss(loss, part)
            (slope,) = torch.autograd.grad(loss, point, materialize_grads=True)
            self.require_finite_gradient(slope, part)
            total, count = total + slope * len(part), count + len(part)
        return total / count

    def gradients(self, theta: Tensor, rows: IntArray) -> Tensor:
        """Gradient of the loss of each row by itself, shape (n, P), by vmap over grad in chunks that fit the memory."""
        if self.vectorised:
            try:
                return self._gradients_together(theta, rows)
            except RuntimeError as error:
                logger.info("gradients are computed one by one: %s", error)
        return torch.stack([self.gradient(theta, rows[i : i + 1]) for i in range(len(rows))])

    def require_finite_loss(self, loss: Tensor, rows: IntArray) -> None:
        """Refuse a loss that is no finite scalar, naming its rows."""
        self._require_scalar(loss)
        if not bool(loss.detach().isfinite()):
            raise InputError(
                f"{self.which} loss: expected a finite value, got {float(loss.detach())} {_place(rows)}; mend or drop "
                "them."
            )

    def require_finite_gradient(self, values: Tensor, rows: IntArray) -> None:
        """Refuse a gradient with NaN or infinity, naming its rows."""
        if not bool(values.isfinite().all()):
            raise InputError(
                f"{self.which} gradient: expected finite values, got NaN or infinity {_place(rows)}; look for roots, "
                "logarithms or norms at 0 in the loss."
            )

    def _require_scalar(self, loss: Tensor) -> None:
        if not isinstance(loss, Tensor):
            raise InputError(
                f"{self.which} loss: expected a scalar tensor, the mean over the batch, got {type(loss).__name__}; "
                "return the loss alone, as torch computes it."
            )
        if loss.numel() != 1:
            raise InputError(
                f"{self.which} loss: expected a scalar, the mean over the batch, got shape {tuple(loss.shape)}; use "
                "reduction='mean'."
            )

    def _gradients_together(self, theta: Tensor, rows: IntArray) -> Tensor:
        per_row = theta.numel() * theta.element_size() + SECOND_ORDER * self.bytes_per_row
        slopes = vmap(grad(lambda point, sample: self.loss(point, lone(sample))), in_dims=(None, 0))
        result = theta.new_empty((len(rows), theta.numel()))
        start = 0
        for batch, part in self.chunks(rows, "per-sample gradients", max(1, int(self._memory / per_row))):
            result[start : start + len(part)] = slopes(theta.detach(), batch)
            start += len(part)
        self.require_finite_gradient(result, rows)
        return result

    def _require_repeatable(self, theta: Tensor) -> None:
        once, again = self.samples.take_first(), self.samples.take_first()
        pairs = list(zip(leaves(once), leaves(again), strict=False))
        if len(leaves(once)) != len(leaves(again)) or not all(same(a, b) for a, b in pairs):
            raise InputError(
                f"{self.which} data: two passes over the same rows differ, so no gradient belongs to a row. Switch off "
                "random augmentation."
            )
        rows = np.arange(min(self.samples.batch_size, self.samples.size))
        first, second = self.tried(theta, once, rows), self.tried(theta, once, rows)
        self.require_finite_loss(first, rows)
        if not torch.isclose(first, second, rtol=100 * torch.finfo(theta.dtype).eps, atol=0.0):
            raise InputError(
                f"{self.which} loss: two passes over the same batch give {float(first):.6g} and {float(second):.6g}; "
                "expected a deterministic model. Switch off dropout that ignores model.eval(), and other noise."
            )

    def _bytes_per_row(self, theta: Tensor) -> float:
        n = min(PROBED, self.samples.size)
        few, more = (self._saved_bytes(theta, np.arange(count)) for count in (max(1, n // 2), n))
        batch = self.samples.take(np.arange(n))
        own = sum(leaf.numel() * leaf.element_size() for leaf in leaves(batch)) / n
        return max((more - few) / max(1, n - n // 2), own, 1.0)

    def _saved_bytes(self, theta: Tensor, rows: IntArray) -> int:
        saved = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal saved
            saved += tensor.numel() * tensor.element_size()
            return tensor

        with torch.enable_grad(), saved_tensors_hooks(count, lambda tensor: tensor):
            value = self.data_loss(theta.detach().requires_grad_(True), self.samples.take(rows))
        if not value.requires_grad:
            raise InputError(
                f"{self.which} loss: expected one that depends on the model's trainable parameters, got one without a "
                "gradient; compute it from the outputs by torch, without .item(), .detach(), argmax, NumPy or no_grad."
            )
        return saved


def _place(rows: IntArray) -> str:
    if not len(rows):
        return "in a batch of drawn rows"
    return f"in row {rows[0]}" if len(rows) == 1 else f"among {len(rows)} rows from {rows.min()} to {rows.max()}"


def _bar(items: Any, label: str, total: int | None = None) -> Any:
    return tqdm(items, desc=label, total=total, leave=False, delay=PATIENCE) if label else items
