"""Many networks of one architecture trained at once, as `train_network` trains each (same steps, same order).

Small networks on small batches spend most of their time in the overhead of single operations; one
vmapped step for all of them shares it. Adam works entry by entry, so the stacked networks do not meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from tqdm import tqdm

from unlearn.checks import IntArray, require_choice
from unlearn.errors import InputError, UnlearnError
from unlearn.forecasters.network import n_watched, require_weights, weighted_mean
from unlearn.forecasters.specs import TrainingOptions

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
    orders = _BatchOrders(seeds, len(train_x))
    kept = _KeptStates(current, n_models, options.patience if keep == "best" else None)
    for epoch in tqdm(range(options.epochs), desc=f"training {n_models} networks", leave=False):
        total = torch.zeros(n_models, dtype=inputs.dtype)
        for rows in orders.draw().split(options.batch_size, dim=1):
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


class _BatchOrders:
    """Orders of rows, epoch by epoch; networks with the same seed share theirs, as `train_network` draws it."""

    def __init__(self, seeds: Sequence[int], n_rows: int) -> None:
        distinct = sorted(set(seeds))
        self._generators = [torch.Generator().manual_seed(seed) for seed in distinct]
        self._of_model = torch.tensor([distinct.index(seed) for seed in seeds])
        self._n_rows = n_rows

    def draw(self) -> Tensor:
        """Order of the next epoch, shape (M, n)."""
        orders = torch.stack([torch.randperm(self._n_rows, generator=own) for own in self._generators])
        return orders[self._of_model]


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
