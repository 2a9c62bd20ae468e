"""What the decoder leaves open: correlated deviations of half-hours from their quantile functions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray
from unlearn.generators.faraday.vae import ProfileVae

#: Scores are held within what quantiles near 0 and 1 can tell apart.
_LIMIT = 4.0


def residual_scores(
    vae: ProfileVae, x: Tensor, labels: Tensor, z: Tensor, zero: float, random: torch.Generator
) -> Tensor:
    """Standard normal score of each step of scaled profiles given their latents, shape (n, S).

    Zero is where meters censor, so a step at zero stands for every score up to the one that reaches it: one of
    them is drawn.
    """
    scores = vae.score_of(vae.quantiles(z, labels), x).clamp(-_LIMIT, _LIMIT)
    level = torch.special.ndtr(scores) * torch.rand(scores.shape, generator=random).clamp_min(1e-6)
    drawn = torch.special.ndtri(level).clamp(-_LIMIT, _LIMIT)
    return torch.where(x <= zero + 1e-6, drawn, scores)


def residual_factor(scores: Iterable[Tensor], n_steps: int) -> FloatArray:
    """Lower Cholesky factor of the correlation of scores between steps (a Gaussian copula), shape (S, S).

    Args:
        scores: chunks of shape (n, S); only their sums are kept.
        n_steps: S.
    """
    count, total, outer = 0, np.zeros(n_steps), np.zeros((n_steps, n_steps))
    for chunk in scores:
        values = chunk.double().numpy()
        count += len(values)
        total += values.sum(axis=0)
        outer += values.T @ values
    covariance = outer / count - np.outer(total, total) / count**2
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    # A little identity keeps the factor defined where steps never differ.
    correlation = 0.999 * covariance / np.outer(sd, sd) + 0.001 * np.eye(n_steps)
    np.fill_diagonal(correlation, 1.0)
    return np.linalg.cholesky(correlation)
