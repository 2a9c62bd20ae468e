"""Faraday: daily profiles from a variational autoencoder and a Gaussian mixture over its latent space."""

from unlearn.synthetic.faraday.em import MixtureOptions, fit_mixture
from unlearn.synthetic.faraday.labels import LabelSpace
from unlearn.synthetic.faraday.losses import LossWeights
from unlearn.synthetic.faraday.mixture import LabelledMixture
from unlearn.synthetic.faraday.model import Faraday, FaradayOptions, fit_faraday
from unlearn.synthetic.faraday.private import FaradayPrivacy, fit_private_faraday
from unlearn.synthetic.faraday.public import relabelled, untrained_faraday
from unlearn.synthetic.faraday.storage import load_faraday, save_faraday
from unlearn.synthetic.faraday.training import VaeOptions
from unlearn.synthetic.faraday.vae import ProfileVae

__all__ = [
    # the generator
    "Faraday",
    "fit_faraday",
    "save_faraday",
    "load_faraday",
    # the same under differential privacy, from a public start
    "FaradayPrivacy",
    "fit_private_faraday",
    "relabelled",
    "untrained_faraday",
    # settings
    "FaradayOptions",
    "VaeOptions",
    "LossWeights",
    "MixtureOptions",
    # its parts
    "ProfileVae",
    "LabelSpace",
    "LabelledMixture",
    "fit_mixture",
]
