"""The seasonal-naive detector: an hour is expected to be as it was a day or a week before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import FloatArray, require_count
from unlearn.detectors.baselines.residuals import ResidualDetector
from unlearn.detectors.windows import Windows


@dataclass(frozen=True)
class _Lagged:
    """Expects the reading of `lag` hours before."""

    lag: int

    def __call__(self, windows: Windows) -> FloatArray:
        value = windows.series.value.astype(np.float64)
        expected = np.full(value.shape, np.nan)
        expected[:, self.lag :] = value[:, : -self.lag]
        return expected

    @property
    def history(self) -> dict[str, list[float]]:
        return {}

    def arrays(self) -> dict[str, FloatArray]:
        return {"lag": np.array([float(self.lag)])}


def fit_seasonal(windows: Windows, lag: int = 168) -> ResidualDetector:
    """Score an hour by `|x_t − x_{t−lag}|`.

    Args:
        windows: normal windows of training buildings.
        lag: hours; 168 is the same hour of the week before.

    Raises:
        InputError: no whole number of hours.
    """
    require_count("lag", lag)
    return ResidualDetector(f"seasonal {lag} h", _Lagged(lag), windows)
