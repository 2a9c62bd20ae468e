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

from unlearn.checks import require_count, require_finite, require_positive, short_repr
from unlearn.detectors.checkpoints import load_checkpoint, save_checkpoint
from unlearn.detectors.gan.networks import Discriminator, Encoder, Generator, NetworkOptions, new_networks
from unlearn.detectors.windows import Windows
from unlearn.errors import ConvergenceError, InputError
from unlearn.records import provenance

#: What is noted of every epoch, each the mean over its windows.
HISTORY = ("discriminator_loss", "generator_loss", "real_probability", "generated_probability", "generated_std")


@dataclass(frozen=True)
class AdversarialOptions:
    """Settings of the training.

    The published settings, learning rate 2e-4, betas (0.9, 0.999) and targets of 1 with small first weights, were
    meant for a hundred times as many steps: within 4,000 of them the generator still made one curve from every z. The
    defaults are usual remedies (Radford et al. 2016 for the betas, Salimans et al. 2016 for the target).

    Attributes:
        epochs: passes over the windows.
        batch_size: windows per step.
        learning_rate: Adam's, of both networks.
        betas: Adam's.
        real_target: what the discriminator is taught to say of real windows; below 1 it smooths labels on one side
            (Salimans et al. 2016).
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    real_target: float = 0.9

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        require_count("gan.training.epochs", self.epochs)
        require_count("gan.training.batch_size", self.batch_size)
        require_positive("gan.training.learning_rate", self.learning_rate)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"gan.training.betas: expected two numbers in [0, 1), got {self.betas!r}.")
        if not 0.5 < self.real_target <= 1:
            raise InputError(
                f"gan.training.real_target: expected a number above 0.5 and at most 1, got {self.real_target!r}."
            )


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
    values = normal_values(windows)
    card = {
        "kind": "gan",
        "networks": asdict(networks),
        "training": asdict(options),
        "seed": seed,
        "data": windows.series.series.name,
        "n_windows": len(values),
        "length": values.shape[1],
    }
    made_of = card | {"windows": hashlib.sha256(values.numpy().tobytes()).hexdigest()}
    generator, discriminator = new_networks(networks, seed)
    optimisers = {
        name: torch.optim.Adam(network.parameters(), options.learning_rate, options.betas)
        for name, network in (("generator", generator), ("discriminator", discriminator))
    }
    parts = {"generator": generator, "discriminator": discriminator}
    history: list[dict[str, float]] = []
    if folder is not None:
        history = load_checkpoint(Path(folder), parts, optimisers, made_of)
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
            save_checkpoint(Path(folder), parts, optimisers, made_of, history)
    for network in parts.values():
        network.eval().requires_grad_(False)
    record = {name: [epoch[name] for epoch in history] for name in HISTORY}
    return TrainedGan(generator, discriminator, card | {"history": record, **provenance()})


def normal_values(windows: Windows) -> Tensor:
    """Values of windows to train on, shape (N, W), float32.

    Raises:
        InputError: labelled windows among them, fewer than two, or readings missing.
    """
    if len(windows) < 2:
        raise InputError(f"windows: expected at least 2 to train on, got {len(windows)}.")
    if windows.hour_labels is not None and windows.label.any():
        raise InputError(
            f"windows: expected normal ones to train on, got {int(windows.label.sum())} of {len(windows)} with an "
            "anomalous hour. Pass windows.normal()."
        )
    require_finite("windows", windows.values)
    return torch.from_numpy(np.array(windows.values, dtype=np.float32))


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
