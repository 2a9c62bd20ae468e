"""Training of one network (`train_network`: Adam, cosine annealing, early stopping, best state kept) or of many at once
(`train_ensemble`).

Small networks on small batches spend most of their time in the overhead of single operations; one
vmapped step for all of them shares it. Adam works entry by entry, so the stacked networks do not meet.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from tqdm import tqdm

from unlearn.checks import IntArray, require_choice
from unlearn.errors import ConvergenceError, InputError, UnlearnError
from unlearn.forecasters.specs import TrainingOptions

#: Maps outputs and targets of n rows to one value a row, (n,), or one an entry, (n, ...); its mean is minimised.
RowLoss = Callable[[Tensor, Tensor], Tensor]


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error of every entry."""
    return (outputs - targets).square()


def n_watched(n_rows: int, options: TrainingOptions) -> int:
    """Number of last rows that are kept for early stopping.

    Raises:
        InputError: fewer than two rows.
    """
    if n_rows < 2:
        raise InputError(f"training: expected at least 2 rows (to train on and to watch), got {n_rows}.")
    return max(1, int(options.validation_share * n_rows))


def train_network(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    options: TrainingOptions,
    seed: int,
    weights: Tensor | None = None,
    loss: RowLoss = squared_error,
) -> dict[str, Any]:
    """Train in place by the mean of a loss, squared error by default, and leave the best state in the network.

    Args:
        network: maps inputs (n, ...) to targets (n, B); its initial weights are the caller's.
        inputs: shape (n, ...), in time order; the last `validation_share` is not trained on.
        targets: shape (n, B).
        options: settings.
        seed: seed of the batch order.
        weights: of the rows that are trained on, all but the last `validation_share`; shape (n − n_watched,).
            A step follows the weighted mean over its batch, so that 0 takes a row out and leaves the order of
            the others as it is. None means ones.
        loss: of outputs and targets, what is minimised and what the watched rows are judged by.

    Returns:
        History: losses per epoch (`train`, `validation`), `best_epoch`, `stopped_early`.

    Raises:
        InputError: fewer than two rows, or weights of another shape or below 0.
        ConvergenceError: the loss became NaN or infinite.
    """
    n_validation = n_watched(len(inputs), options)
    if weights is not None:
        require_weights(weights, (len(inputs) - n_validation,))
    train_x, train_y = inputs[:-n_validation], targets[:-n_validation]
    valid_x, valid_y = inputs[-n_validation:], targets[-n_validation:]
    optimiser = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=options.epochs)
    generator = torch.Generator().manual_seed(seed)
    losses: dict[str, list[float]] = {"train": [], "validation": []}
    best_loss, best_epoch, best_state = float("inf"), -1, network.state_dict()
    bar = tqdm(range(options.epochs), desc="training", leave=False)
    for epoch in bar:
        order = torch.randperm(len(train_x), generator=generator)
        batches = order.split(options.batch_size)
        losses["train"].append(_one_epoch(network, train_x, train_y, batches, optimiser, weights, loss))
        with torch.no_grad():
            losses["validation"].append(float(loss(network(valid_x), valid_y).mean()))
        schedule.step()
        current = losses["validation"][-1]
        if not math.isfinite(current) or not math.isfinite(losses["train"][-1]):
            raise ConvergenceError(f"training diverged in epoch {epoch}: lower the learning rate or check the inputs.")
        if current < best_loss:
            best_loss, best_epoch, best_state = current, epoch, copy.deepcopy(network.state_dict())
        bar.set_postfix(validation=f"{current:.4f}", best=f"{best_loss:.4f}")
        if epoch - best_epoch >= options.patience:
            break
    network.load_state_dict(best_state)
    return {**losses, "best_epoch": best_epoch, "stopped_early": len(losses["train"]) < options.epochs}


def _one_epoch(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    batches: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
    weights: Tensor | None,
    loss: RowLoss,
) -> float:
    total = 0.0
    for rows in batches:
        optimiser.zero_grad()
        values = loss(network(inputs[rows]), targets[rows])
        mean = (
            values.mean()
            if weights is None
            else weighted_mean(values.reshape(len(rows), -1).mean(dim=1), weights[rows])
        )
        mean.backward()
        optimiser.step()
        total += float(mean.detach()) * len(rows)
    return total / len(inputs)


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the last axis; 0 where no weight is above 0."""
    return (losses * weights).sum(dim=-1) / weights.sum(dim=-1).clamp_min(torch.finfo(losses.dtype).tiny)


def require_weights(weights: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse weights of training rows that have another shape or are not finite numbers of at least 0."""
    if tuple(weights.shape) != shape or not bool((weights.isfinite() & (weights >= 0)).all()):
        lowest = f", lowest {float(weights.min()):.3g}" if weights.numel() else ""
        raise InputError(
            f"training weights: expected finite numbers of at least 0 in shape {shape}, one per row that is trained on "
            f"(not those watched for early stopping), got shape {tuple(weights.shape)}{lowest}."
        )


States = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """M trained networks.

    Attributes:
        states: their parameters by name, each stacked along a first axis of length M.
        best_epoch: epoch of each whose state was kept, shape (M,).
        watched_loss: mean loss of each, in that state, over the watched rows, shape (M,).
    """

    states: States
    best_epoch: IntArray
    watched_loss: Tensor


def train_ensemble(
    network: nn.Module,
    states: States,
    inputs: Tensor,
    targets: Tensor,
    weights: Tensor,
    options: TrainingOptions,
    seeds: Sequence[int],
    keep: str = "best",
) -> Ensemble:
    """Train M networks, each from its own state, on its own row weights, in the batch order of its own seed.

    Network m ends as `train_network(network_m, inputs, targets, options, seeds[m], weights[m])` leaves
    it, but for rounding.

    Args:
        network: architecture without buffers; its own parameters are not used.
        states: initial parameters, stacked, (M, ...) each.
        inputs: shape (n, ...), in time order; the last `validation_share` is only watched.
        targets: shape (n, B).
        weights: of the rows trained on, shape (M, n − n_watched), at least 0; 0 leaves a row out.
        options: settings of the training.
        seeds: seed of the batch order of each, M of them.
        keep: "best" state by the watched rows, with early stopping; or "last" after all epochs.

    Raises:
        InputError: no network, numbers of states, weights and seeds that differ, or a network with buffers.
        UnlearnError: a loss became NaN or infinite.
    """
    require_choice("keep", keep, ("best", "last"))
    n_models = len(seeds)
    if not n_models or any(len(value) != n_models for value in states.values()):
        raise InputError(f"ensemble: expected as many states as seeds ({n_models}), at least 1.")
    if any(True for _ in network.buffers()):
        raise InputError("ensemble: expected a network without buffers (no batch norm); train such networks singly.")
    watched = n_watched(len(inputs), options)
    require_weights(weights, (n_models, len(inputs) - watched))
    train_x, train_y = inputs[:-watched], targets[:-watched]
    valid_x, valid_y = inputs[-watched:], targets[-watched:]
    weights = weights.to(inputs.dtype)
    current = {name: value.detach().clone().requires_grad_(True) for name, value in states.items()}
    run = vmap(lambda state, rows: functional_call(network, state, (rows,)), in_dims=(0, None))
    run_each = vmap(lambda state, rows: functional_call(network, state, (rows,)))
    optimiser = torch.optim.Adam(current.values(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=options.epochs)
    # Networks with the same seed share their order of rows, as `train_network` draws it.
    distinct = sorted(set(seeds))
    generators = [torch.Generator().manual_seed(seed) for seed in distinct]
    drawn_by = torch.tensor([distinct.index(seed) for seed in seeds])
    kept = _KeptStates(current, n_models, options.patience if keep == "best" else None)
    for epoch in tqdm(range(options.epochs), desc=f"training {n_models} networks", leave=False):
        total = torch.zeros(n_models, dtype=inputs.dtype)
        orders = torch.stack([torch.randperm(len(train_x), generator=own) for own in generators])[drawn_by]
        for rows in orders.split(options.batch_size, dim=1):
            optimiser.zero_grad()
            error = (run_each(current, train_x[rows]) - train_y[rows]).square().mean(dim=-1)
            losses = weighted_mean(error, weights.gather(1, rows))
            losses.sum().backward()
            optimiser.step()
            total += losses.detach()
        schedule.step()
        with torch.no_grad():
            watched_losses = (run(current, valid_x) - valid_y).square().mean(dim=(1, 2))
        diverged = (~(total + watched_losses).isfinite() & ~kept.stopped).nonzero()
        if len(diverged):
            raise UnlearnError(
                f"training network {int(diverged[0])} of {n_models} diverged in epoch {epoch}: lower the learning rate "
                "or check the inputs."
            )
        if kept.look(current, watched_losses, epoch):
            break
    return Ensemble(kept.states, kept.epoch.numpy(), kept.loss)


class _KeptStates:
    """The state of each network that training leaves: the best so far until its patience ends, or the last."""

    def __init__(self, current: States, n_models: int, patience: int | None) -> None:
        self.states = {name: value.detach().clone() for name, value in current.items()}
        self.loss = torch.full((n_models,), torch.inf, dtype=next(iter(current.values())).dtype)
        self.epoch = torch.full((n_models,), -1)
        self.stopped = torch.zeros(n_models, dtype=torch.bool)
        self._patience = patience

    def look(self, current: States, losses: Tensor, epoch: int) -> bool:
        """Keep what got better; say whether all networks have stopped."""
        better = losses < self.loss if self._patience is not None else torch.ones_like(self.stopped)
        better &= ~self.stopped
        self.loss = torch.where(better, losses, self.loss)
        self.epoch[better] = epoch
        for name, value in current.items():
            self.states[name][better] = value.detach()[better]
        if self._patience is not None:
            self.stopped |= epoch - self.epoch >= self._patience
        return bool(self.stopped.all())
