"""Losses of Faraday's network, a value per profile wherever the loss allows it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.checks import require_choice, require_not_negative
from unlearn.errors import InputError
from unlearn.generators.faraday.vae import ProfileVae


@dataclass(frozen=True)
class LossWeights:
    """What training minimises: `reconstruction · MSE + quantile · pinball + divergence · (KL or MMD)`.

    Attributes:
        reconstruction: of the squared error of the expected profile, mean over steps.
        quantile: of the pinball loss, mean over steps and summed over levels.
        divergence: of what draws the latent distribution towards N(0, I).
        kind: "kl" (a value per profile) or "mmd" (of a batch: the aggregated posterior, Gretton et al. 2012).
    """

    reconstruction: float = 0.1
    quantile: float = 2.0
    divergence: float = 0.005
    kind: str = "kl"

    def __post_init__(self) -> None:
        for name in ("reconstruction", "quantile", "divergence"):
            require_not_negative(f"loss.{name}", getattr(self, name))
        require_choice("loss.kind", self.kind, ("kl", "mmd"))
        if self.reconstruction + self.quantile == 0:
            raise InputError("loss: expected reconstruction or quantile above 0, else nothing is reconstructed.")


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
