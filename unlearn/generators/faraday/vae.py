"""Faraday's variational autoencoder, its loss and its training, which stops early by other households."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from scipy.special import ndtri
from torch import Tensor, nn
from tqdm import tqdm

from unlearn.checks import short_repr
from unlearn.errors import ConvergenceError
from unlearn.generators.faraday.generators import LossWeights, VaeOptions


def profile_losses(
    vae: ProfileVae, x: Tensor, labels: Tensor, noise: Tensor, weights: LossWeights, zero: float
) -> tuple[Tensor, Tensor]:
    """Loss of each profile without the MMD, which only a batch has, and the latents it was measured at.

    Args:
        vae: the network.
        x: scaled profiles, shape (n, S).
        labels: one-hot, shape (n, C).
        noise: standard normal, shape (n, L).
        weights: of the terms.
        zero: scaled value of 0 kWh, at which meters censor: quantiles below it count as it does.

    Returns:
        Losses (n,) and latents (n, L).
    """
    mean, log_variance = vae.posterior(x, labels)
    z = mean + noise * (log_variance / 2).exp()
    quantiles = vae.quantiles(z, labels).clamp_min(zero)
    losses = weights.quantile * pinball(quantiles, x, vae.levels)
    losses = losses + weights.reconstruction * (expected(quantiles, vae.levels) - x).square().mean(dim=-1)
    if weights.kind == "kl":
        losses = losses + weights.divergence * kl_divergence(mean, log_variance)
    return losses, z


def pinball(quantiles: Tensor, x: Tensor, levels: Tensor) -> Tensor:
    """Pinball loss, summed over levels and averaged over steps: minimal at the quantiles; shape (n,).

    Where quantiles are clipped at a censoring point, this is Powell's (1986) censored quantile regression.
    """
    error = x[..., None] - quantiles
    return torch.maximum(levels * error, (levels - 1) * error).sum(dim=-1).mean(dim=-1)


def expected(quantiles: Tensor, levels: Tensor) -> Tensor:
    """Mean of the distribution that quantiles (n, S, Q) describe, by the trapezoidal rule over levels; shape (n, S)."""
    edges = torch.cat([levels.new_zeros(1), (levels[1:] + levels[:-1]) / 2, levels.new_ones(1)])
    return quantiles @ edges.diff()


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats, shape (n,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1)


def mmd(z: Tensor, prior: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of latents and draws of the prior, unbiased (Gretton et al. 2012, eq. 3).

    The kernel is a sum of inverse multiquadrics at several scales (Tolstikhin et al. 2018), which keep a gradient
    far from the prior.
    """
    n, m = len(z), len(prior)
    scales = 2.0 * z.shape[1] * z.new_tensor([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = (a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T).clamp_min(0)
        return (scales / (scales + squared[..., None])).sum(dim=-1)

    own, other = kernel(z, z), kernel(prior, prior)
    within = (own.sum() - own.diagonal().sum()) / (n * (n - 1))
    within = within + (other.sum() - other.diagonal().sum()) / (m * (m - 1))
    return within - 2 * kernel(z, prior).mean()


#: Levels of the quantiles that the decoder gives.
LEVELS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.995, 0.999)
_MEDIAN = LEVELS.index(0.5)
#: Limits of the log-variance of the posterior, which keep exp() finite.
_LOG_VARIANCE = (-8.0, 4.0)


class ProfileVae(nn.Module):
    """Variational autoencoder of scaled daily profiles, conditioned on labels.

    Args:
        n_steps: steps of a profile, S.
        n_labels: columns of the one-hot labels, C.
        latent: dimension of the latent space, L.
        hidden: width of the two hidden layers of encoder and decoder.
    """

    levels: Tensor
    scores: Tensor

    def __init__(self, n_steps: int, n_labels: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.n_steps, self.latent = n_steps, latent
        self.encoder = _network(n_steps + n_labels, hidden, 2 * latent)
        self.decoder = _network(latent + n_labels, hidden, n_steps * len(LEVELS))
        self.register_buffer("levels", torch.tensor(LEVELS), persistent=False)
        self.register_buffer("scores", torch.tensor(ndtri(LEVELS), dtype=torch.float32), persistent=False)

    def posterior(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x, labels), each of shape (n, L)."""
        mean, log_variance = self.encoder(torch.cat([x, labels], dim=-1)).chunk(2, dim=-1)
        return mean, log_variance.clamp(*_LOG_VARIANCE)

    def quantiles(self, z: Tensor, labels: Tensor) -> Tensor:
        """Quantiles of each step given z at `LEVELS`, increasing, shape (n, S, Q)."""
        raw = self.decoder(torch.cat([z, labels], dim=-1)).unflatten(-1, (self.n_steps, len(LEVELS)))
        middle = raw[..., _MEDIAN : _MEDIAN + 1]
        # Steps between neighbours are positive, so quantiles cannot cross; they start out small.
        above = F.softplus(raw[..., _MEDIAN + 1 :] - 2).cumsum(dim=-1)
        below = F.softplus(raw[..., :_MEDIAN] - 2).flip(-1).cumsum(dim=-1).flip(-1)
        return torch.cat([middle - below, middle, middle + above], dim=-1)

    def value_at(self, quantiles: Tensor, score: Tensor) -> Tensor:
        """Value of each step at a standard normal score, shape (n, S).

        Between levels the quantile function is linear in the score, and beyond the outer levels it goes on with
        their slope, so that tails fall off as a normal distribution's do.

        Args:
            quantiles: shape (n, S, Q).
            score: Φ⁻¹ of the level, shape (n, S).
        """
        low = (torch.searchsorted(self.scores, score.contiguous()) - 1).clamp(0, len(LEVELS) - 2)
        left, right = quantiles.gather(-1, low[..., None])[..., 0], quantiles.gather(-1, low[..., None] + 1)[..., 0]
        start, end = self.scores[low], self.scores[low + 1]
        return left + (right - left) * (score - start) / (end - start)

    def score_of(self, quantiles: Tensor, x: Tensor) -> Tensor:
        """Standard normal score at which the quantile function takes the value x; the inverse of `value_at`."""
        low = ((x[..., None] > quantiles).sum(dim=-1) - 1).clamp(0, len(LEVELS) - 2)
        left, right = quantiles.gather(-1, low[..., None])[..., 0], quantiles.gather(-1, low[..., None] + 1)[..., 0]
        start, end = self.scores[low], self.scores[low + 1]
        return start + (end - start) * (x - left) / (right - left).clamp_min(1e-6)


def _network(n_inputs: int, hidden: int, n_outputs: int) -> nn.Sequential:
    """Linear layers only, no normalisation over a batch: each profile's gradient is its own."""
    return nn.Sequential(
        nn.Linear(n_inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, n_outputs)
    )


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
    """Train in place and leave the state with the best loss on profiles of other households in the network.

    Initial weights are the caller's; the seed is of batch order and latent noise, `zero` the scaled value of 0 kWh.

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
