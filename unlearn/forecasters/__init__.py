"""Load forecasters: linear, and networks with a frozen extractor and an analytic head."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.forecasters.base import Forecaster
    from unlearn.forecasters.card import ModelCard
    from unlearn.forecasters.checkpoint import destroy_forecaster, forecaster_files, load_forecaster, save_forecaster
    from unlearn.forecasters.head import ClippedSums, HeadObjective, HeadStatistics
    from unlearn.forecasters.household import (
        HouseholdForecaster,
        fit_household_forecaster,
        fit_private_household_forecaster,
        household_mean,
    )
    from unlearn.forecasters.linear import LinearForecaster, fit_linear
    from unlearn.forecasters.network import NetworkForecaster, fit_network
    from unlearn.forecasters.specs import (
        FORECASTERS,
        Cnn,
        ForecasterSpec,
        Linear,
        Mixer,
        PrivateForecastOptions,
        TrainingOptions,
    )
    from unlearn.forecasters.training import Ensemble, train_ensemble, train_network
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # how a forecaster is made, by name or as an object
    "FORECASTERS", "Cnn", "ForecasterSpec", "Linear", "Mixer",
    # models
    "Forecaster", "LinearForecaster", "ModelCard", "NetworkForecaster",
    # fitting
    "Ensemble", "HeadObjective", "HeadStatistics", "TrainingOptions", "fit_linear", "fit_network", "train_ensemble",
    "train_network",
    # forecasters of single households, without and with differential privacy
    "ClippedSums", "HouseholdForecaster", "PrivateForecastOptions", "fit_household_forecaster",
    "fit_private_household_forecaster", "household_mean",
    # on disk
    "destroy_forecaster", "forecaster_files", "load_forecaster", "save_forecaster",
]  # fmt: skip
