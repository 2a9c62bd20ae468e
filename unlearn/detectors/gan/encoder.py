"""An encoder from windows to latent values, trained after the GAN: a search that starts at its z needs few steps."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import torch
from tqdm import tqdm

from unlearn.detectors.gan.adversarial import TrainedGan
from unlearn.detectors.gan.networks import Encoder
from unlearn.detectors.gan.options import EncoderOptions
from unlearn.detectors.gan.starts import LatentLoss
from unlearn.detectors.windows import Windows
from unlearn.errors import ConvergenceError, InputError


def train_encoder(
    gan: TrainedGan, windows: Windows, options: EncoderOptions | None = None, seed: int = 0
) -> TrainedGan:
    """Train z = E(x) so that G(E(x)) has a small S, with generator and discriminator as they are.

    Args:
        gan: trained networks.
        windows: normal windows of training buildings, those that the GAN was trained on.
        options: settings.
        seed: of initial weights and batch order.

    Returns:
        The same networks with the encoder; the card has its options and `encoder_loss` of each epoch.

    Raises:
        InputError: unusable windows, see `train_gan`, or of another length.
        ConvergenceError: the loss became NaN or infinite.
    """
    options = options or EncoderOptions()
    values = torch.from_numpy(windows.normal_values())
    if values.shape[1] != gan.length:
        raise InputError(f"windows: expected {gan.length} hours, as the GAN was trained on, got {values.shape[1]}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(options.hidden)
    width = min(options.batch_size, len(values))
    loss = LatentLoss(gan.generator, gan.discriminator, gan.length, width, options.feature_weight)
    optimiser = torch.optim.Adam(encoder.parameters(), options.learning_rate)
    random = torch.Generator().manual_seed(seed)
    history: list[float] = []
    for epoch in tqdm(range(options.epochs), desc="encoder", unit="epoch", leave=False):
        total = 0.0
        order = torch.randperm(len(values), generator=random)
        for rows in tqdm(order.split(options.batch_size), desc="batches", leave=False, mininterval=1):
            x = values[rows]
            z = encoder(x)
            fixed = z.detach()
            by_hour = x.t().contiguous()
            score = loss.score(*loss.parts(fixed.t(), by_hour, loss.features(by_hour)))
            # Of S with respect to z from the pass that inversion uses, of the pull by hand.
            gradient = loss.gradient().t() + 2 * options.pull * fixed / gan.latent_std**2
            optimiser.zero_grad()
            z.backward(gradient / z.numel())
            optimiser.step()
            total += float(score.sum()) + options.pull * float((fixed / gan.latent_std).square().sum())
        history.append(total / values.numel())
        if not math.isfinite(history[-1]):
            raise ConvergenceError(
                f"encoder: the loss became {history[-1]} in epoch {epoch}. Lower gan.encoder.learning_rate "
                f"({options.learning_rate:g})."
            )
    encoder.eval().requires_grad_(False)
    return replace(gan, encoder=encoder, card=gan.card | {"encoder": asdict(options), "encoder_loss": history})
