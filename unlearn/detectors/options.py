"""The LSTM-GAN and the LSTM autoencoder as detectors, with all their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from unlearn.checks import require_choice, require_count, require_fraction, require_not_negative, require_positive
from unlearn.detectors.base import Detector, FittedDetector
from unlearn.errors import InputError

if TYPE_CHECKING:
    from unlearn.detectors.windows import Windows


INITIAL, STARTS = ("small", "spread"), ("random", "encoder", "hourly")


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


@dataclass(frozen=True)
class EncoderOptions:
    """Settings of the encoder.

    Attributes:
        hidden: units of each direction of its LSTM.
        epochs: passes over the windows.
        batch_size: windows per step.
        learning_rate: Adam's.
        feature_weight: λ of the S that it lowers; the same as the search's.
        pull: weight of the mean of (z / latent_std)², beside the mean of S over windows and hours.
    """

    hidden: int = 64
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    feature_weight: float = 0.1
    pull: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("hidden", "epochs", "batch_size"):
            require_count(f"gan.encoder.{name}", getattr(self, name))
        require_positive("gan.encoder.learning_rate", self.learning_rate)
        require_not_negative("gan.encoder.feature_weight", self.feature_weight)
        require_not_negative("gan.encoder.pull", self.pull)
        if self.feature_weight > 1:
            raise InputError(f"gan.encoder.feature_weight: expected a share from 0 to 1, got {self.feature_weight!r}.")


@dataclass(frozen=True)
class InversionOptions:
    """Settings of the search.

    Attributes:
        max_iter: evaluations of each window at most; Adam moves z between them.
        learning_rate: Adam's.
        feature_weight: λ, the share of the discriminator's features in S.
        batch_size: windows at once, rounded up to a multiple of `BLOCK`; changes time and memory only.
        patience: steps without gain after which a window stops; None: all take all steps.
        tolerance: what counts as gain: a share of S by which it must fall below its value at the last gain.
        start: "random": all windows begin at one draw of the latent prior; "encoder": at the encoder's z; "hourly": at
            the z of `HourlySearch`.
        tried: values that the hourly start tries for each hour.
    """

    max_iter: int = 300
    learning_rate: float = 1e-2
    feature_weight: float = 0.1
    batch_size: int = 256
    patience: int | None = None
    tolerance: float = 0.01
    start: str = "random"
    tried: int = 16

    def __post_init__(self) -> None:
        require_count("inversion.max_iter", self.max_iter)
        require_positive("inversion.learning_rate", self.learning_rate)
        require_not_negative("inversion.feature_weight", self.feature_weight)
        if self.feature_weight > 1:
            raise InputError(f"inversion.feature_weight: expected a share from 0 to 1, got {self.feature_weight!r}.")
        require_count("inversion.batch_size", self.batch_size)
        if self.patience is not None:
            require_count("inversion.patience", self.patience)
        require_not_negative("inversion.tolerance", self.tolerance)
        require_choice("inversion.start", self.start, STARTS)
        if require_count("inversion.tried", self.tried) < 2:
            raise InputError(f"inversion.tried: expected a whole number of at least 2, got {self.tried!r}.")


@dataclass(frozen=True)
class Gan(Detector):
    """The LSTM-GAN: windows are scored by how near generated ones come to them (Bashar & Nayak 2020, TAnoGAN).

    Attributes:
        networks: sizes and latent prior.
        training: of generator and discriminator.
        encoder: of the encoder, which is trained only where `inversion.start` is "encoder".
        inversion: the search whose result is the score.
        name: for records.
    """

    networks: NetworkOptions = field(default_factory=NetworkOptions)
    training: AdversarialOptions = field(default_factory=AdversarialOptions)
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    inversion: InversionOptions = field(default_factory=InversionOptions)
    name: str = "gan"
    label: ClassVar[str] = "GAN-LSTM"

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        """Train the GAN, and the encoder where the search starts at one; see `Detector.fit` and `train_gan`.

        Raises:
            InputError: unusable windows, or a folder with the state of another training.
            ConvergenceError: a loss became NaN or infinite.
        """
        from unlearn.detectors.gan.inversion import fit_gan

        return [fit_gan(windows, self, seed, folder)]

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any]) -> FittedDetector:
        from unlearn.detectors.gan.inversion import load_gan

        return load_gan(folder, card)


@dataclass(frozen=True)
class Autoencoder(Detector):
    """An LSTM autoencoder: the error of each hour's reconstruction is its score; see `network`.

    Attributes:
        hidden: units of encoder and decoder, the length of the code.
        epochs: passes over the windows at most.
        batch_size: windows per step.
        learning_rate: Adam's.
        patience: epochs without a better validation error after which training stops.
        validation_share: last share of the training buildings, kept for early stopping; one at least.
        name: for records.
    """

    hidden: int = 32
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    patience: int = 4
    validation_share: float = 0.1
    name: str = "autoencoder"
    label: ClassVar[str] = "LSTM autoencoder"

    def __post_init__(self) -> None:
        for name in ("hidden", "epochs", "batch_size", "patience"):
            require_count(f"autoencoder.{name}", getattr(self, name))
        require_positive("autoencoder.learning_rate", self.learning_rate)
        require_fraction("autoencoder.validation_share", self.validation_share)

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        from unlearn.detectors.autoencoder import train_autoencoder

        return [train_autoencoder(windows, self, seed)]

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any]) -> FittedDetector:
        from unlearn.detectors.autoencoder import load_autoencoder

        return load_autoencoder(folder, card)
