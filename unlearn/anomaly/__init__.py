"""Anomalies in meter readings: windows, LSTM-GAN and latent inversion, detectors to compare with, thresholds."""

from unlearn.anomaly.autoencoder import AutoencoderOptions, FittedAutoencoder, fit_autoencoder
from unlearn.anomaly.base import FittedDetector, WindowScores
from unlearn.anomaly.baselines.ecod import fit_ecod
from unlearn.anomaly.baselines.forecast import fit_forecast
from unlearn.anomaly.baselines.level import fit_level
from unlearn.anomaly.baselines.median import fit_median
from unlearn.anomaly.baselines.pyod import PyodOptions, fit_pyod
from unlearn.anomaly.baselines.seasonal import fit_seasonal
from unlearn.anomaly.detectors import DETECTORS, DetectorOptions, fit_candidates
from unlearn.anomaly.division import Division, DivisionOptions, divide
from unlearn.anomaly.gan import FittedGan, GanOptions, fit_gan
from unlearn.anomaly.inversion import Inversion, InversionOptions, invert
from unlearn.anomaly.metrics import Confusion, Ranking, confusion
from unlearn.anomaly.scaling import ScaledSeries, scale, training_time, usable_buildings
from unlearn.anomaly.storage import load_detector, save_detector
from unlearn.anomaly.thresholds import Threshold, ThresholdRule, choose_threshold
from unlearn.anomaly.windows import Windows, cut_windows

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
