"""Small building series for tests."""

import numpy as np

from unlearn.detectors.windows import Division, DivisionOptions, divide
from unlearn.households.buildings import BuildingSeries
from unlearn.households.injection import inject
from unlearn.households.io.sources import InjectionOptions


def daily_series(n_buildings: int = 6, n_days: int = 30, seed: int = 0, labelled: bool = False) -> BuildingSeries:
    """A daily wave of a size of its own for each building, with noise."""
    random = np.random.default_rng(seed)
    hours = np.datetime64("2013-01-01T00", "h") + np.arange(24 * n_days)
    wave = 1.2 + np.sin(2 * np.pi * (np.arange(24 * n_days) % 24) / 24)
    kwh = random.uniform(0.5, 5, (n_buildings, 1)) * (wave + 0.1 * random.random((n_buildings, len(hours))))
    anomaly = np.zeros(kwh.shape, dtype=bool) if labelled else None
    return BuildingSeries("waves", tuple(f"b{m}" for m in range(n_buildings)), hours, kwh, anomaly)


def anomalous_series(n_buildings: int = 10, n_days: int = 40, seed: int = 0) -> BuildingSeries:
    """The same with injected anomalies in a tenth of the hours."""
    clean = daily_series(n_buildings, n_days, seed)
    return inject(clean, InjectionOptions(0.1, ("spike", "dropout", "shift")), seed)


def small_division(seed: int = 0) -> Division:
    """Ten buildings over 40 days: five to train on, two to validate, three to test."""
    return divide(anomalous_series(seed=seed), SMALL, seed)


#: Windows of a day, so that many fit.
SMALL = DivisionOptions(length=24, training_stride=8, scoring_stride=10)
