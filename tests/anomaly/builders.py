"""Small building series for tests."""

import numpy as np

from unlearn.data.buildings.series import BuildingSeries


def daily_series(n_buildings: int = 6, n_days: int = 30, seed: int = 0, labelled: bool = False) -> BuildingSeries:
    """A daily wave of a size of its own for each building, with noise."""
    random = np.random.default_rng(seed)
    hours = np.datetime64("2013-01-01T00", "h") + np.arange(24 * n_days)
    wave = 1.2 + np.sin(2 * np.pi * (np.arange(24 * n_days) % 24) / 24)
    kwh = random.uniform(0.5, 5, (n_buildings, 1)) * (wave + 0.1 * random.random((n_buildings, len(hours))))
    anomaly = np.zeros(kwh.shape, dtype=bool) if labelled else None
    return BuildingSeries("waves", tuple(f"b{m}" for m in range(n_buildings)), hours, kwh, anomaly)
