"""Synthetic meter data: generators of daily profiles and of feeders with their meters."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.generators.base import GENERATORS, Generator, make_generator
    from unlearn.generators.baselines import IndependentGaussian, Resampled, ShuffledHours, SimulatorGenerator
    from unlearn.generators.faraday import (
        Faraday,
        FaradayGenerator,
        FaradayOptions,
        PrivateFaradayGenerator,
        fit_faraday,
        load_faraday,
        save_faraday,
    )
    from unlearn.generators.feeder import FeederGenerator
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # what a generator is, and those that have a name
    "GENERATORS", "Generator", "make_generator",
    # generators; more of Faraday and of feeders in unlearn.generators.faraday and unlearn.generators.feeder
    "FaradayGenerator", "PrivateFaradayGenerator", "FeederGenerator", "SimulatorGenerator",
    # baselines
    "IndependentGaussian", "Resampled", "ShuffledHours",
    # Faraday, fitted
    "Faraday", "FaradayOptions", "fit_faraday", "load_faraday", "save_faraday",
]  # fmt: skip
