"""Hours of three loads with lags among their features."""

import numpy as np
import pandas as pd

from unlearn.data import Lags, LoadDataset, dataset_from_frames

LOADS = ("a", "b", "c")


def made_up(lags: Lags | list[int] | None, seed: int = 0, n_hours: int = 500) -> LoadDataset:
    """Loads of a day's and a week's shape that wander, and a temperature."""
    random = np.random.default_rng(seed)
    hours = pd.date_range("2019-01-01", periods=n_hours, freq="h")
    shape = 50 + 10 * np.sin(2 * np.pi * np.arange(n_hours) / 24) + 5 * np.cos(2 * np.pi * np.arange(n_hours) / 168)
    wander = np.cumsum(random.normal(0, 1, (n_hours, 3)), axis=0) * 0.3
    load = pd.DataFrame(np.abs(shape[:, None] + wander + random.normal(0, 2, (n_hours, 3))), hours, list(LOADS))
    weather = pd.DataFrame(random.normal(10, 5, (n_hours, 3)), hours, list(LOADS))
    return dataset_from_frames(load, {"temperature_c": weather}, lags=lags)
