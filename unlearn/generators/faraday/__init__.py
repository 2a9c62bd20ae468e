"""Faraday: daily profiles from a variational autoencoder and a Gaussian mixture over its latent space."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.generators.faraday.em import LabelledMixture, fit_mixture
    from unlearn.generators.faraday.generators import (
        FaradayGenerator,
        FaradayOptions,
        FaradayPrivacy,
        LossWeights,
        MixtureOptions,
        PrivateFaradayGenerator,
        StartOptions,
        VaeOptions,
    )
    from unlearn.generators.faraday.model import Faraday, fit_faraday, load_faraday, save_faraday
    from unlearn.generators.faraday.private import fit_private_faraday, relabelled, untrained_faraday
    from unlearn.generators.faraday.scaling import LabelSpace
    from unlearn.generators.faraday.vae import ProfileVae
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # as generators with all their settings
    "FaradayGenerator", "PrivateFaradayGenerator", "StartOptions",
    # the fitted model
    "Faraday", "fit_faraday", "save_faraday", "load_faraday",
    # the same under differential privacy, from a public start
    "FaradayPrivacy", "fit_private_faraday", "relabelled", "untrained_faraday",
    # settings
    "FaradayOptions", "VaeOptions", "LossWeights", "MixtureOptions",
    # its parts
    "ProfileVae", "LabelSpace", "LabelledMixture", "fit_mixture",
]  # fmt: skip
