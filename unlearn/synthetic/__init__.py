"""Synthetic meter data: generators of daily profiles and of feeders with their meters."""

from unlearn.synthetic.baselines import BASELINES, independent_gaussian, resampled, shuffled_hours
from unlearn.synthetic.faraday import Faraday, FaradayOptions, fit_faraday, load_faraday, save_faraday

__all__ = [
    # Faraday; more of it in unlearn.synthetic.faraday. Feeders are in unlearn.synthetic.feeder
    "Faraday", "FaradayOptions", "fit_faraday", "load_faraday", "save_faraday",
    # baselines
    "BASELINES", "independent_gaussian", "resampled", "shuffled_hours",
]  # fmt: skip
