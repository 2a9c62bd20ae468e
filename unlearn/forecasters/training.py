"""The one training loop: Adam, cosine annealing, early stopping, best state kept."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from unlearn.errors import ConvergenceError, InputError
from unlearn.forecasters.options import TrainingOptions


def n_watched(n_rows: int, options: TrainingOptions) -> int:
    """Number of last rows that are kept for early stopping.

    Raises:
        InputError: fewer than two rows.
    """
    if n_rows < 2:
        raise InputError(f"training: expected at least 2 core rows (to train on and to watch), got {n_rows}.")
    return max(1, int(options.validation_share * n_rows))


def train_network(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    options: TrainingOptions,
    seed: int,
    weights: Tensor | None = None,
) -> dict[str, Any]:
    """Train in place by mean squared error and leave the best state in the network.

    Args:
        network: maps inputs (n, ...) to targets (n, B); its initial weights are the caller's.
        inputs: shape (n, ...), in time order; the last `validation_share` is not trained on.
        targets: shape (n, B).
        options: settings.
        seed: seed of the batch order.
        weights: of the rows that are trained on, all but the last `validation_share`; shape (n − n_watched,).
            A step follows the weighted mean over its batch, so that 0 takes a row out and leaves the order of
            the others as it is. None means ones.

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
        losses["train"].append(_one_epoch(network, train_x, train_y, order, options.batch_size, optimiser, weights))
        with torch.no_grad():
            losses["validation"].append(float((network(valid_x) - valid_y).square().mean()))
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
    return {
        **losses,
        "best_epoch": best_epoch,
        "stopped_early": len(losses["train"]) < options.epochs,
    }


def _one_epoch(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    order: Tensor,
    batch_size: int,
    optimiser: torch.optim.Optimizer,
    weights: Tensor | None,
) -> float:
    total = 0.0
    for rows in order.split(batch_size):
        optimiser.zero_grad()
        error = (network(inputs[rows]) - targets[rows]).square()
        loss = error.mean() if weights is None else weighted_mean(error.mean(dim=-1), weights[rows])
        loss.backward()
        optimiser.step()
        total += float(loss.detach()) * len(rows)
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
