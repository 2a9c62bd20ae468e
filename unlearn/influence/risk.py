"""The mean regularised training loss over a data set, `L(θ) = (1/N) Σ_i ℓ_i(θ) + r(θ)`, streamed in chunks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import grad, vmap
from tqdm import tqdm

from unlearn.checks import IntArray
from unlearn.errors import InputError
from unlearn.influence.flat import FlatModel
from unlearn.influence.objective import BaseObjective
from unlearn.influence.samples import Samples, leaf_sizes, leaves, map_tensors

logger = logging.getLogger(__name__)

#: What a graph that is differentiated twice holds, in units of what the forward pass saves.
SECOND_ORDER = 6

#: Rows on which single and batched evaluation are compared before any work.
PROBED = 4

#: Seconds after which a progress bar shows.
PATIENCE = 2.0


class TrainingRisk:
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
        self.flat, self.objective, self.samples = flat, objective, samples
        self._memory = memory_bytes
        self._whole = type(objective).train_loss is not BaseObjective.train_loss
        theta = flat.theta
        self._require_repeatable(theta)
        self._require_independent(theta)
        self.bytes_per_row = self._bytes_per_row(theta)
        wanted = int(memory_bytes / (SECOND_ORDER * self.bytes_per_row))
        # Batches made by a collate function of unknown habits keep the size that the loader gives them.
        self.chunk = max(1, min(wanted, samples.size)) if samples.columns is not None else samples.batch_size
        self.mode = self._find_mode(theta)

    def loss(self, theta: Tensor, batch: Any) -> Tensor:
        """Mean regularised loss of a batch, a scalar."""
        return self.flat.call(theta, self.objective.train_loss, theta, batch)

    def outputs(self, theta: Tensor, batch: Any) -> Tensor:
        return self.flat.call(theta, self.objective.train_outputs, batch)

    def regularization(self, theta: Tensor) -> Tensor:
        return torch.as_tensor(self.objective.train_regularization(theta))

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

    def mean_loss(self, theta: Tensor, rows: IntArray | None = None) -> float:
        """Mean regularised loss over rows (None: all); NaN or infinity are returned as they are."""
        total, count = 0.0, 0
        with torch.no_grad():
            for batch, part in self.chunks(rows):
                total, count = total + float(self.loss(theta, batch)) * len(part), count + len(part)
        return total / count

    def gradient(self, theta: Tensor, rows: IntArray | None = None) -> Tensor:
        """Mean of `∇L_i` over rows, shape (P,).

        Raises:
            InputError: it is not finite; names the rows.
        """
        point = theta.detach().requires_grad_(True)
        total, count = torch.zeros_like(theta), 0
        for batch, part in self.chunks(rows, "gradient"):
            with torch.enable_grad():
                loss = self.loss(point, batch)
            require_finite_loss(loss, part, "training")
            (slope,) = torch.autograd.grad(loss, point, materialize_grads=True)
            require_finite_gradient(slope, part, "training")
            total, count = total + slope * len(part), count + len(part)
        return total / count

    def scores(self, theta: Tensor, rows: IntArray, vectors: Tensor) -> Tensor:
        """`∇L_i · v` of every row and column, shape (n, k) for vectors (P, k), without forming any gradient."""
        point = theta.detach().requires_grad_(True)
        pieces = [self._scores_of(point, batch, part, vectors) for batch, part in self.chunks(rows, "scores")]
        return torch.cat(pieces) if pieces else vectors.new_zeros((0, vectors.shape[1]))

    def gradients(self, theta: Tensor, rows: IntArray) -> Tensor:
        """`∇L_i` of every row, shape (n, P), by vmap over grad in chunks that fit the memory."""
        if self.mode == "vectorised":
            try:
                return self._gradients_together(theta, rows)
            except RuntimeError as error:
                logger.info("gradients are computed one by one: %s", error)
        return torch.stack([self.gradient(theta, rows[i : i + 1]) for i in range(len(rows))])

    def _gradients_together(self, theta: Tensor, rows: IntArray) -> Tensor:
        per_row = theta.numel() * theta.element_size() + SECOND_ORDER * self.bytes_per_row
        slopes = vmap(grad(lambda point, sample: self.loss(point, _lone(sample))), in_dims=(None, 0))
        result = theta.new_empty((len(rows), theta.numel()))
        start = 0
        for batch, part in self.chunks(rows, "per-sample gradients", max(1, int(self._memory / per_row))):
            result[start : start + len(part)] = slopes(theta.detach(), batch)
            start += len(part)
        require_finite_gradient(result, rows, "training")
        return result

    def _scores_of(self, point: Tensor, batch: Any, part: IntArray, vectors: Tensor) -> Tensor:
        if self.mode == "one by one":
            return torch.stack([self.gradient(point, part[i : i + 1]) @ vectors for i in range(len(part))])
        with torch.enable_grad():
            losses = self._losses(point, batch)
            bad = np.flatnonzero(~losses.detach().isfinite().cpu().numpy())
            require_finite_loss(losses.detach().sum(), part[bad] if len(bad) else part, "training")
            # The slope of Σ u_i ℓ_i is linear in u: its derivative along v holds every ∇ℓ_i · v.
            dual = torch.ones_like(losses, requires_grad=True)
            (slope,) = torch.autograd.grad(losses, point, dual, create_graph=True, materialize_grads=True)
            products = [_along(slope, dual, column) for column in vectors.T]
        scores = torch.stack(products, dim=1)
        if not self._whole:
            scores = scores + self._regularization_slope(point) @ vectors
        require_finite_gradient(scores, part, "training")
        return scores

    def _losses(self, theta: Tensor, batch: Any) -> Tensor:
        """ℓ_i of every row of a batch (with r where the objective has its own `train_loss`), shape (n,)."""
        if self._whole:
            return vmap(lambda sample: self.loss(theta, _lone(sample)))(batch)
        on_outputs: Callable[..., Tensor] = self.objective.train_loss_on_outputs
        return vmap(lambda output, sample: on_outputs(_lone(output), _lone(sample)))(self.outputs(theta, batch), batch)

    def _regularization_slope(self, point: Tensor) -> Tensor:
        with torch.enable_grad():
            value = self.regularization(point)
            if not value.requires_grad:
                return torch.zeros_like(point)
            return torch.autograd.grad(value, point, materialize_grads=True)[0]

    def _require_repeatable(self, theta: Tensor) -> None:
        once, again = self.samples.take_first(), self.samples.take_first()
        rows = np.arange(min(self.samples.batch_size, self.samples.size))
        same_data = all(
            torch.equal(a, b) or bool((a.isnan() == b.isnan()).all() and torch.equal(a.nan_to_num(), b.nan_to_num()))
            for a, b in zip(leaves(once), leaves(again), strict=True)
            if a.shape == b.shape
        )
        if not same_data:
            raise InputError(
                "training data: two passes over the same rows differ, so no gradient belongs to a row. Switch off "
                "random augmentation."
            )
        with torch.no_grad():
            first, second = self.loss(theta, once), self.loss(theta, once)
        require_finite_loss(first, rows, "training")
        if not torch.isclose(first, second, rtol=100 * torch.finfo(theta.dtype).eps, atol=0.0):
            raise InputError(
                f"training loss: two passes over the same batch give {float(first):.6g} and {float(second):.6g}; "
                "expected a deterministic model. Switch off dropout that ignores model.eval(), and other noise."
            )

    def _require_independent(self, theta: Tensor) -> None:
        """Refuse losses that are no mean over rows: sums, and layers that mix the rows of a batch."""
        rows = np.arange(min(PROBED, self.samples.size))
        with torch.no_grad():
            together = float(self.loss(theta, self.samples.take(rows)))
            singles = self._single_losses(theta, rows)
        alone = float(singles.mean())
        tolerance = torch.finfo(theta.dtype).eps ** 0.5 * max(abs(together), float(singles.abs().max()), 1e-30)
        if abs(together - alone) > tolerance:
            raise InputError(
                f"training loss: that of {len(rows)} rows together is {together:.6g}, the mean of their own losses is "
                f"{alone:.6g}; expected a mean over independent rows. Use reduction='mean', and no layer that mixes "
                "the rows of a batch, such as batch norm without running statistics."
            )

    def _single_losses(self, theta: Tensor, rows: IntArray) -> Tensor:
        return torch.stack([self.loss(theta, self.samples.take(rows[i : i + 1])) for i in range(len(rows))])

    def _bytes_per_row(self, theta: Tensor) -> float:
        """What the forward pass saves for one row more, measured."""
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
            self.loss(theta.detach().requires_grad_(True), self.samples.take(rows))
        return saved

    def _find_mode(self, theta: Tensor) -> str:
        """ "vectorised" where that gives, on the first rows, what single evaluation gives; else "one by one"."""
        rows = np.arange(min(PROBED, self.samples.size))
        direction = torch.linspace(-1, 1, theta.numel(), dtype=theta.dtype, device=theta.device)[:, None]
        self.mode = "one by one"
        expected = self.scores(theta, rows, direction)
        batch = self.samples.take(rows)
        sizes = leaf_sizes(batch)
        if sizes is None or set(sizes) != {len(rows)}:
            logger.info("rows are evaluated one by one: batches are not stacked along the first axis")
            return "one by one"
        self.mode = "vectorised"
        try:
            found = self._scores_of(theta.detach().requires_grad_(True), batch, rows, direction)
        except (RuntimeError, NotImplementedError, ValueError, IndexError) as error:
            logger.info("rows are evaluated one by one: %s", error)
            return "one by one"
        tolerance = torch.finfo(theta.dtype).eps ** 0.5
        if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max() + 1e-30)):
            logger.info("rows are evaluated one by one: vectorised scores differ")
            return "one by one"
        return "vectorised"


def require_finite_loss(loss: Tensor, rows: IntArray, which: str) -> None:
    """Refuse a loss that is no finite scalar, naming its rows."""
    if loss.numel() != 1:
        raise InputError(f"{which} loss: expected a scalar, the mean over the batch, got shape {tuple(loss.shape)}.")
    if not bool(loss.detach().isfinite()):
        raise InputError(
            f"{which} loss: expected a finite value, got {float(loss.detach())} {_place(rows)}; mend or drop them."
        )


def require_finite_gradient(values: Tensor, rows: IntArray, which: str) -> None:
    """Refuse a gradient with NaN or infinity, naming its rows."""
    if not bool(values.isfinite().all()):
        raise InputError(
            f"{which} gradient: expected finite values, got NaN or infinity {_place(rows)}; look for roots, logarithms "
            "or norms at 0 in the loss."
        )


def _place(rows: IntArray) -> str:
    if not len(rows):
        return "in a batch of drawn rows"
    return f"in row {rows[0]}" if len(rows) == 1 else f"among {len(rows)} rows from {rows.min()} to {rows.max()}"


def _lone(sample: Any) -> Any:
    """A batch of one."""
    return map_tensors(lambda tensor: tensor[None], sample)


def _along(slope: Tensor, dual: Tensor, vector: Tensor) -> Tensor:
    if not slope.requires_grad:
        return torch.zeros_like(dual)
    return torch.autograd.grad(slope, dual, vector, retain_graph=True, materialize_grads=True)[0].detach()


def _bar(items: Any, label: str, total: int | None = None) -> Any:
    return tqdm(items, desc=label, total=total, leave=False, delay=PATIENCE) if label else items
