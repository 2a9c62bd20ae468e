"""Adversarial training of the LSTM-GAN on normal windows; an interrupted one goes on to the same weights.

Protocol of Bashar & Nayak (2020): Adam, one update of the discriminator and one of the generator per batch, binary
cross entropy at every hour, real windows labelled 1 and generated ones 0, the generator rewarded where its windows
pass for real. Their code updates the discriminator twice per batch, after real and after generated windows; here it
is once, with both.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from unlearn.checks import require_count, short_repr
from unlearn.detectors.gan.networks import Discriminator, Encoder, Generator, new_networks
from unlearn.detectors.options import AdversarialOptions, NetworkOptions
from unlearn.detectors.storage import load_checkpoint, save_checkpoint
from unlearn.detectors.windows import Windows
from unlearn.errors import ConvergenceError
from unlearn.records import provenance

#: What is noted of every epoch, each the mean over its windows.
HISTORY = ("discriminator_loss", "generator_loss", "real_probability", "generated_probability", "generated_std")


@short_repr
@dataclass(frozen=True, eq=False)
class TrainedGan:
    """Generator and discriminator after training, frozen.

    Attributes:
        generator: latent values to windows.
        discriminator: windows to logits and features.
        card: options, seed, history per epoch and what it was trained on; JSON.
        encoder: windows to latent values, see `train_encoder`; None before it is trained.
    """

    generator: Generator
    discriminator: Discriminator
    card: dict[str, Any]
    encoder: Encoder | None = None

    @property
    def length(self) -> int:
        """Hours of a window, W."""
        return int(self.card["length"])

    @property
    def latent_std(self) -> float:
        return float(self.card["networks"]["latent_std"])

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw n windows, shape (n, W)."""
        random = torch.Generator().manual_seed(seed)
        z = torch.randn((require_count("n", n), self.length), generator=random)
        return self.generator(self.latent_std * z)


def train_gan(
    windows: Windows,
    networks: NetworkOptions | None = None,
    options: AdversarialOptions | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
) -> TrainedGan:
    """Train on normal windows of training buildings.

    Args:
        windows: none with an anomalous hour; labels are not needed, but where there are some they are obeyed.
        networks: sizes and latent prior.
        options: settings.
        seed: of initial weights, batch order and latent noise.
        folder: keeps the state after each epoch there; the same call with the same folder goes on from the last one,
            to the same weights as without interruption. None keeps nothing.

    Raises:
        InputError: labelled windows among them, fewer than two, readings missing, or a folder with the state of
            another training.
        ConvergenceError: a loss became NaN or infinite.
    """
    networks, options = networks or NetworkOptions(), options or AdversarialOptions()
    values = torch.from_numpy(windows.normal_values())
    card = {
        "kind": "gan",
        "networks": asdict(networks),
        "training": asdict(options),
        "seed": seed,
        "data": windows.series.series.name,
        "n_windows": len(values),
        "length": values.shape[1],
    }
    dependencies = card | {"windows": hashlib.sha256(values.numpy().tobytes()).hexdigest()}
    generator, discriminator = new_networks(networks, seed)
    optimisers = {
        name: torch.optim.Adam(network.parameters(), options.learning_rate, options.betas)
        for name, network in (("generator", generator), ("discriminator", discriminator))
    }
    parts = {"generator": generator, "discriminator": discriminator}
    history: list[dict[str, float]] = []
    if folder is not None:
        history = load_checkpoint(Path(folder), parts, optimisers, dependencies)
    bar = tqdm(range(len(history), options.epochs), desc="GAN", unit="epoch", leave=False)
    for epoch in bar:
        # Order and noise depend on seed and epoch alone, so that a training can go on.
        random = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        means = _one_epoch(generator, discriminator, optimisers, values, networks.latent_std, options, random)
        if not all(math.isfinite(value) for value in means.values()):
            raise ConvergenceError(
                f"GAN: the losses became {means['discriminator_loss']} and {means['generator_loss']} in epoch {epoch}. "
                f"Lower gan.training.learning_rate ({options.learning_rate:g})."
            )
        history.append(means)
        bar.set_postfix({name: f"{history[-1][name]:.3f}" for name in HISTORY[:3]}, refresh=False)
        if folder is not None:
            save_checkpoint(Path(folder), parts, optimisers, dependencies, history)
    for network in parts.values():
        network.eval().requires_grad_(False)
    record = {name: [epoch[name] for epoch in history] for name in HISTORY}
    return TrainedGan(generator, discriminator, card | {"history": record, **provenance()})


def _one_epoch(
    generator: Generator,
    discriminator: Discriminator,
    optimisers: dict[str, torch.optim.Adam],
    values: Tensor,
    latent_std: float,
    options: AdversarialOptions,
    random: torch.Generator,
) -> dict[str, float]:
    """Train on every window once; means over the windows of what `HISTORY` names."""
    total = dict.fromkeys(HISTORY, 0.0)
    order = torch.randperm(len(values), generator=random)
    for rows in tqdm(order.split(options.batch_size), desc="batches", leave=False, mininterval=1):
        real = values[rows]
        noise = latent_std * torch.randn(real.shape, generator=random)
        found = _one_step(generator, discriminator, optimisers, real, noise, options.real_target)
        for name, value in found.items():
            total[name] += value * len(rows) / len(values)
    return total


def _one_step(
    generator: Generator,
    discriminator: Discriminator,
    optimisers: dict[str, torch.optim.Adam],
    real: Tensor,
    noise: Tensor,
    real_target: float,
) -> dict[str, float]:
    generated = generator(noise)
    logit_real, logit_generated = discriminator(torch.cat([real, generated.detach()]))[0].chunk(2)
    loss = _cross_entropy(logit_real, real_target) + _cross_entropy(logit_generated, 0.0)
    optimisers["discriminator"].zero_grad()
    loss.backward()
    optimisers["discriminator"].step()

    # The gradient goes through the discriminator, not to its weights.
    discriminator.requires_grad_(False)
    generator_loss = _cross_entropy(discriminator(generated)[0], 1.0)
    optimisers["generator"].zero_grad()
    generator_loss.backward()
    optimisers["generator"].step()
    discriminator.requires_grad_(True)
    return {
        "discriminator_loss": float(loss.detach()),
        "generator_loss": float(generator_loss.detach()),
        "real_probability": float(logit_real.detach().sigmoid().mean()),
        "generated_probability": float(logit_generated.detach().sigmoid().mean()),
        "generated_std": float(generated.detach().std(dim=0, correction=0).mean()),
    }


def _cross_entropy(logit: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logit, torch.full_like(logit, target))
