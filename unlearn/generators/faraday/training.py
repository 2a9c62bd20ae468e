"""Training of Faraday's network: Adam, one learning-rate cycle, early stopping on other households."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import short_repr
from unlearn.errors import ConvergenceError
from unlearn.generators.faraday.options import LossWeights, VaeOptions
from unlearn.generators.faraday.vae import ProfileVae, mmd, profile_losses


@short_repr
@dataclass(frozen=True, eq=False)
class ScaledProfiles:
    """Scaled profiles and their one-hot labels: x (N, S), labels (N, C), float32."""

    x: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def chunks(self, size: int = 8192) -> Iterator[tuple[Tensor, Tensor]]:
        """Consecutive chunks of x and labels."""
        return zip(self.x.split(size), self.labels.split(size), strict=True)


def train_vae(
    vae: ProfileVae, train: ScaledProfiles, validation: ScaledProfiles, zero: float, options: VaeOptions, seed: int
) -> dict[str, Any]:
    """Train in place and leave the state with the best validation loss in the network.

    Args:
        vae: the network; its initial weights are the caller's.
        train: profiles to learn from.
        validation: profiles of other households, for early stopping.
        zero: scaled value of 0 kWh.
        options: settings.
        seed: of batch order and latent noise.

    Returns:
        History: losses per epoch (`train`, `validation`), `best_epoch`, `stopped_early`.

    Raises:
        ConvergenceError: the loss became NaN or infinite.
    """
    batches = max(1, len(train) // options.batch_size)
    optimiser = torch.optim.Adam(vae.parameters(), lr=options.learning_rate)
    steps = options.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.learning_rate, total_steps=max(2, steps))
    random = torch.Generator().manual_seed(seed)
    losses: dict[str, list[float]] = {"train": [], "validation": []}
    best_loss, best_epoch, best_state = math.inf, -1, vae.state_dict()
    bar = tqdm(range(options.epochs), desc="VAE", unit="epoch", leave=False)
    for epoch in bar:
        order = torch.randperm(len(train), generator=random)
        total = 0.0
        for rows in order.tensor_split(batches):
            loss = _batch_loss(vae, train.x[rows], train.labels[rows], zero, options.loss, random)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        losses["train"].append(total / len(train))
        losses["validation"].append(_validation_loss(vae, validation, zero, options.loss, seed))
        current = losses["validation"][-1]
        if not math.isfinite(current) or not math.isfinite(total):
            raise ConvergenceError(
                f"VAE: the loss became {current} in epoch {epoch}. Lower vae.learning_rate ({options.learning_rate:g})."
            )
        if current < best_loss:
            best_loss, best_epoch, best_state = current, epoch, copy.deepcopy(vae.state_dict())
        bar.set_postfix(validation=f"{current:.4f}", best=f"{best_loss:.4f}", refresh=False)
        if epoch - best_epoch >= options.patience:
            break
    vae.load_state_dict(best_state)
    return {**losses, "best_epoch": best_epoch, "stopped_early": len(losses["train"]) < options.epochs}


def _batch_loss(
    vae: ProfileVae, x: Tensor, labels: Tensor, zero: float, weights: LossWeights, random: torch.Generator
) -> Tensor:
    noise = torch.randn((len(x), vae.latent), generator=random)
    losses, z = profile_losses(vae, x, labels, noise, weights, zero)
    loss = losses.mean()
    if weights.kind == "mmd" and len(z) > 1:
        loss = loss + weights.divergence * mmd(z, torch.randn(z.shape, generator=random))
    return loss


@torch.no_grad()
def _validation_loss(vae: ProfileVae, profiles: ScaledProfiles, zero: float, weights: LossWeights, seed: int) -> float:
    """Mean loss at the same latent noise in every epoch, so that epochs compare."""
    random = torch.Generator().manual_seed(seed + 1)
    total = sum(
        float(_batch_loss(vae, x, labels, zero, weights, random)) * len(x) for x, labels in profiles.chunks(4096)
    )
    return total / len(profiles)
