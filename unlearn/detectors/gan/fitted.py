"""The GAN as a detector: adversarial training, encoder, and S of the latent inversion as score."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearn.checks import short_repr
from unlearn.detectors.base import WindowScores
from unlearn.detectors.gan.adversarial import AdversarialOptions, TrainedGan, train_gan
from unlearn.detectors.gan.encoder import EncoderOptions, train_encoder
from unlearn.detectors.gan.inversion import InversionOptions, invert
from unlearn.detectors.gan.networks import NetworkOptions
from unlearn.detectors.windows import Windows


@dataclass(frozen=True)
class GanOptions:
    """Settings of the detector.

    Attributes:
        networks: sizes and latent prior.
        training: of generator and discriminator.
        encoder: of the encoder, which is trained only where `inversion.start` is "encoder".
        inversion: the search whose result is the score.
    """

    networks: NetworkOptions = field(default_factory=NetworkOptions)
    training: AdversarialOptions = field(default_factory=AdversarialOptions)
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    inversion: InversionOptions = field(default_factory=InversionOptions)


@short_repr
@dataclass(frozen=True, eq=False)
class FittedGan:
    """Scores windows by S of the best latent values found, hours by their part of it.

    Attributes:
        gan: the networks.
        inversion: settings of the search.
        seed: of its random start.
    """

    gan: TrainedGan
    inversion: InversionOptions
    seed: int = 0

    @property
    def name(self) -> str:
        return "gan"

    @property
    def card(self) -> dict[str, Any]:
        """Settings, history and what it was trained on; JSON."""
        return self.gan.card

    def score(self, windows: Windows) -> WindowScores:
        """Score windows of any building.

        Raises:
            InputError: windows of another length than those trained on.
        """
        found = invert(self.gan, windows.values, self.inversion, self.seed)
        return WindowScores(found.score, found.hour)


def fit_gan(
    windows: Windows, options: GanOptions | None = None, seed: int = 0, folder: str | Path | None = None
) -> FittedGan:
    """Train the GAN, and the encoder where the search starts at one, on normal windows of training buildings.

    Args:
        windows: none with an anomalous hour.
        options: settings.
        seed: of weights, batch order, latent noise and the search's start.
        folder: keeps the state of an interrupted adversarial training, see `train_gan`.

    Raises:
        InputError: unusable windows, or a folder with the state of another training.
        ConvergenceError: a loss became NaN or infinite.
    """
    options = options or GanOptions()
    gan = train_gan(windows, options.networks, options.training, seed, folder)
    if options.inversion.start == "encoder":
        gan = train_encoder(gan, windows, options.encoder, seed)
    return FittedGan(gan, options.inversion, seed)
