"""Synthetic meter data: generators of daily profiles and of feeders with their meters."""

from typing import TYPE_CHECKING

from unlearn.lazy import lazily

if TYPE_CHECKING:
    from unlearn.generators.baselines import BASELINES, independent_gaussian, resampled, shuffled_hours
    from unlearn.generators.faraday import Faraday, FaradayOptions, fit_faraday, load_faraday, save_faraday
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # Faraday; more of it in unlearn.generators.faraday. Feeders are in unlearn.generators.feeder
    "Faraday", "FaradayOptions", "fit_faraday", "load_faraday", "save_faraday",
    # baselines
    "BASELINES", "independent_gaussian", "resampled", "shuffled_hours",
]  # fmt: skip
