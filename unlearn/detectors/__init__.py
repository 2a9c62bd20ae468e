"""Anomalies in meter readings: windows, LSTM-GAN and latent inversion, detectors to compare with, thresholds."""

from typing import TYPE_CHECKING

from unlearn.lazy import lazily

if TYPE_CHECKING:
    from unlearn.detectors.autoencoder import AutoencoderOptions, FittedAutoencoder, fit_autoencoder
    from unlearn.detectors.base import FittedDetector, WindowScores
    from unlearn.detectors.baselines.forecast import fit_forecast
    from unlearn.detectors.baselines.pyod import PyodOptions, fit_pyod
    from unlearn.detectors.baselines.simple import fit_ecod, fit_level, fit_median, fit_seasonal
    from unlearn.detectors.gan.fitted import FittedGan, GanOptions, fit_gan
    from unlearn.detectors.gan.inversion import Inversion, InversionOptions, invert
    from unlearn.detectors.metrics import Confusion, Ranking, confusion
    from unlearn.detectors.registry import DETECTORS, DetectorOptions, fit_candidates
    from unlearn.detectors.scaling import ScaledSeries, scale, training_time, usable_buildings
    from unlearn.detectors.storage import load_detector, save_detector
    from unlearn.detectors.thresholds import Threshold, ThresholdRule, choose_threshold
    from unlearn.detectors.windows import Division, DivisionOptions, Windows, cut_windows, divide
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # readings on one scale, cut into windows
    "ScaledSeries", "Windows", "cut_windows", "scale", "training_time", "usable_buildings",
    # who is seen when
    "Division", "DivisionOptions", "divide",
    # detectors by name
    "DETECTORS", "DetectorOptions", "FittedDetector", "WindowScores", "fit_candidates",
    # the LSTM-GAN and its latent inversion
    "FittedGan", "GanOptions", "Inversion", "InversionOptions", "fit_gan", "invert", "load_detector", "save_detector",
    # detectors to compare with
    "AutoencoderOptions", "FittedAutoencoder", "PyodOptions", "fit_autoencoder", "fit_ecod", "fit_forecast",
    "fit_level", "fit_median", "fit_pyod", "fit_seasonal",
    # thresholds and metrics
    "Confusion", "Ranking", "Threshold", "ThresholdRule", "choose_threshold", "confusion",
]  # fmt: skip
