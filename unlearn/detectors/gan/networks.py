"""The two LSTM networks of the GAN (TAnoGAN: Bashar & Nayak 2020), as published for windows of 60 hours."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearn.checks import require_choice, require_count, require_positive
from unlearn.errors import InputError

INITIAL = ("small", "spread")

#: About the root mean square of an LSTM's states when its gates' sums have variance 1.
_STATE_RMS = 0.3


@dataclass(frozen=True)
class NetworkOptions:
    """Sizes of generator and discriminator.

    Attributes:
        generator: hidden units of its stacked LSTM layers.
        discriminator: hidden units of its one layer, features per hour.
        latent_std: standard deviation of z.
        initial: first weights of the generator. "small": PyTorch's, as published; the spread of z then reaches the
            windows shrunk by a factor of a thousand. "spread": input weights whose sums have a variance near 1 in every
            layer, recurrent weights orthogonal, so that windows vary with z from the first step on.
    """

    generator: tuple[int, ...] = (32, 64, 128)
    discriminator: int = 100
    latent_std: float = 0.1
    initial: str = "spread"

    def __post_init__(self) -> None:
        object.__setattr__(self, "generator", tuple(self.generator))
        if not self.generator:
            raise InputError("gan.networks.generator: expected the hidden units of at least one layer, got none.")
        for units in self.generator:
            require_count("gan.networks.generator", units)
        require_count("gan.networks.discriminator", self.discriminator)
        require_positive("gan.networks.latent_std", self.latent_std)
        require_choice("gan.networks.initial", self.initial, INITIAL)


class Generator(nn.Module):
    """Latent values (n, W), one for each hour, to scaled readings (n, W) in (−1, 1): stacked LSTMs, linear, tanh."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        sizes = (1, *options.generator)
        layers = [nn.LSTM(n_in, n_out, batch_first=True) for n_in, n_out in itertools.pairwise(sizes)]
        self.layers = nn.ModuleList(layers)
        self.output = nn.Linear(sizes[-1], 1)
        if options.initial == "spread":
            _spread(layers, self.output, options.latent_std)

    def forward(self, z: Tensor) -> Tensor:
        states = z[..., None]
        for layer in self.layers:
            states, _ = layer(states)
        return torch.tanh(self.output(states)).squeeze(-1)


def _spread(layers: list[nn.LSTM], output: nn.Linear, latent_std: float) -> None:
    """Set the weights so that layers pass on the spread of z."""
    given = latent_std
    for layer in layers:
        weights = dict(layer.named_parameters())
        nn.init.normal_(weights["weight_ih_l0"], std=1 / (given * layer.input_size**0.5))
        for gate in weights["weight_hh_l0"].chunk(4):
            nn.init.orthogonal_(gate)
        given = _STATE_RMS
    nn.init.normal_(output.weight, std=1 / (given * output.in_features**0.5))


class Discriminator(nn.Module):
    """Scaled readings (n, W) to a logit of "real" for each hour (n, W) and features (n, W, H), its LSTM's states.

    D(x) is the mean over the hours of sigmoid(logit): the published network judges every hour by what came before.
    """

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.layer = nn.LSTM(1, options.discriminator, batch_first=True)
        self.output = nn.Linear(options.discriminator, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, _ = self.layer(x[..., None])
        return self.output(features).squeeze(-1), features


class Encoder(nn.Module):
    """Scaled readings (n, W) to latent values (n, W): an LSTM that reads both ways, linear.

    Args:
        hidden: units of each direction.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(1, hidden, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.layer(x[..., None])
        return self.output(states).squeeze(-1)


def new_networks(options: NetworkOptions, seed: int) -> tuple[Generator, Discriminator]:
    """Fresh networks whose weights depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(options), Discriminator(options)
