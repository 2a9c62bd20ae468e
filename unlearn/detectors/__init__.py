"""Anomalies in meter readings: windows, LSTM-GAN and latent inversion, detectors to compare with, thresholds."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.detectors.base import (
        DETECTORS,
        Detector,
        FittedDetector,
        WindowScores,
        fit_candidates,
        make_detector,
        require_detectors,
    )
    from unlearn.detectors.baselines import (
        CnnForecast,
        Ecod,
        IsolationForest,
        Level,
        LinearForecast,
        LocalOutlierFactor,
        Median,
        MixerForecast,
        Seasonal,
    )
    from unlearn.detectors.gan.inversion import Inversion, invert
    from unlearn.detectors.metrics import Confusion, Ranking, Threshold, ThresholdRule, choose_threshold, confusion
    from unlearn.detectors.options import (
        AdversarialOptions,
        Autoencoder,
        EncoderOptions,
        Gan,
        InversionOptions,
        NetworkOptions,
    )
    from unlearn.detectors.storage import load_detector, save_detector
    from unlearn.detectors.windows import (
        Division,
        DivisionOptions,
        ScaledSeries,
        Windows,
        cut_windows,
        divide,
        scale,
        training_time,
        usable_buildings,
    )
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # readings on one scale, cut into windows
    "ScaledSeries", "Windows", "cut_windows", "scale", "training_time", "usable_buildings",
    # who is seen when
    "Division", "DivisionOptions", "divide",
    # what a detector is, and the names of those built in
    "DETECTORS", "Detector", "FittedDetector", "WindowScores", "fit_candidates", "load_detector", "make_detector",
    "require_detectors", "save_detector",
    # the LSTM-GAN and its latent inversion
    "AdversarialOptions", "EncoderOptions", "Gan", "Inversion", "InversionOptions", "NetworkOptions", "invert",
    # detectors to compare with
    "Autoencoder", "CnnForecast", "Ecod", "IsolationForest", "Level", "LinearForecast", "LocalOutlierFactor", "Median",
    "MixerForecast", "Seasonal",
    # thresholds and metrics
    "Confusion", "Ranking", "Threshold", "ThresholdRule", "choose_threshold", "confusion",
]  # fmt: skip
