"""Typed schema of the neural detectors: the LSTM-GAN with its latent inversion, and the autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class NetworksConfig:
    """Sizes of generator and discriminator; see `unlearn.anomaly.networks.NetworkOptions`."""

    generator: list[int] = MISSING
    discriminator: int = MISSING
    latent_std: float = MISSING
    initial: str = MISSING


@dataclass
class AdversarialConfig:
    """Adversarial training; see `unlearn.anomaly.adversarial.AdversarialOptions`."""

    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    betas: list[float] = MISSING
    real_target: float = MISSING


@dataclass
class EncoderConfig:
    """The encoder that searches start at; see `unlearn.anomaly.encoder.EncoderOptions`."""

    hidden: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    feature_weight: float = MISSING
    pull: float = MISSING


@dataclass
class InversionConfig:
    """The search for latent values; see `unlearn.anomaly.inversion.InversionOptions`."""

    steps: int = MISSING
    learning_rate: float = MISSING
    feature_weight: float = MISSING
    batch_size: int = MISSING
    patience: int | None = MISSING
    tolerance: float = MISSING
    start: str = MISSING


@dataclass
class GanConfig:
    """The GAN as a detector; see `unlearn.anomaly.gan.GanOptions`."""

    networks: NetworksConfig = field(default_factory=NetworksConfig)
    training: AdversarialConfig = field(default_factory=AdversarialConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    inversion: InversionConfig = field(default_factory=InversionConfig)


@dataclass
class AutoencoderConfig:
    """The autoencoder; see `unlearn.anomaly.autoencoder.AutoencoderOptions`."""

    hidden: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    patience: int = MISSING
    validation_share: float = MISSING


@dataclass
class AnomalyBenchmarkConfig:
    """What the benchmark's part `anomaly` searches, and the GAN that it searches with.

    Attributes:
        model: folder of a detector that was saved; null trains one as `gan` says, on windows of the households.
        windows: trained on at most.
        stride: hours between them.
        scored: windows searched at once, half of them with an injected anomaly where there are as many.
        singles: windows searched one at a time.
        patience: of the searches that stop early.
    """

    model: str | None = MISSING
    windows: int = MISSING
    stride: int = MISSING
    scored: int = MISSING
    singles: int = MISSING
    patience: int = MISSING
