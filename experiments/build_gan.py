"""From the typed configuration to the options of the neural detectors."""

from __future__ import annotations

from dataclasses import asdict

from experiments.schema_gan import AutoencoderConfig, GanConfig
from unlearn.anomaly.adversarial import AdversarialOptions
from unlearn.anomaly.autoencoder import AutoencoderOptions
from unlearn.anomaly.encoder import EncoderOptions
from unlearn.anomaly.gan import GanOptions
from unlearn.anomaly.inversion import InversionOptions
from unlearn.anomaly.networks import NetworkOptions


def build_gan_options(config: GanConfig) -> GanOptions:
    """Options of `fit_gan`."""
    return GanOptions(
        networks=NetworkOptions(**asdict(config.networks)),
        training=AdversarialOptions(**asdict(config.training)),
        encoder=EncoderOptions(**asdict(config.encoder)),
        inversion=InversionOptions(**asdict(config.inversion)),
    )


def build_autoencoder_options(config: AutoencoderConfig) -> AutoencoderOptions:
    """Options of `fit_autoencoder`."""
    return AutoencoderOptions(**asdict(config))
