"""Latent inversion as it is usually written: autograd through `torch.nn.LSTM` and PyTorch's Adam, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from unlearn.detectors.gan.networks import TrainedGan
from unlearn.detectors.options import InversionOptions


def search_as_published(gan: TrainedGan, values: np.ndarray, options: InversionOptions, seed: int) -> np.ndarray:
    """Best score of each window, with the work of the published code (TAnoGAN: Bashar & Nayak 2020).

    In every step the window goes through the discriminator again, and autograd finds a gradient of every weight of both
    networks that nobody asks for.
    """
    with _weights_with_gradients(gan):
        return _each(gan, values, options, seed, lean=False)


def search_lean(gan: TrainedGan, values: np.ndarray, options: InversionOptions, seed: int) -> np.ndarray:
    """Best score of each window, with frozen weights and features of the window found once."""
    return _each(gan, values, options, seed, lean=True)


def _each(gan: TrainedGan, values: np.ndarray, options: InversionOptions, seed: int, lean: bool) -> np.ndarray:
    given = torch.from_numpy(np.array(values)).to(gan.generator.output.weight.dtype)
    return np.array([_search(gan, x[None], options, seed, lean) for x in given])


def _search(gan: TrainedGan, x: Tensor, options: InversionOptions, seed: int, lean: bool) -> float:
    start = gan.latent_std * np.random.default_rng(seed).standard_normal(gan.length)
    z = torch.from_numpy(start).to(x.dtype)[None].requires_grad_()
    optimiser = torch.optim.Adam([z], options.learning_rate)
    features = gan.discriminator(x)[1] if lean else None
    best = np.inf
    for _ in range(options.max_iter):
        wanted = gan.discriminator(x)[1] if features is None else features
        made = gan.generator(z)
        distance = (wanted - gan.discriminator(made)[1]).abs().sum()
        score = (1 - options.feature_weight) * (x - made).abs().sum() + options.feature_weight * distance
        best = min(best, score.item())
        optimiser.zero_grad()
        score.backward()
        optimiser.step()
    return best


@contextmanager
def _weights_with_gradients(gan: TrainedGan) -> Iterator[None]:
    """Let autograd find gradients of all weights, and forget them afterwards."""
    networks = (gan.generator, gan.discriminator)
    for network in networks:
        network.requires_grad_(True)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(False)
            network.zero_grad(set_to_none=True)
