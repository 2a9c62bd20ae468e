"""The simplest detector: how far a reading lies outside of what is usual in its building."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.anomaly.base import WindowScores
from unlearn.anomaly.windows import Windows
from unlearn.checks import FloatArray


@dataclass(frozen=True, eq=False)
class LevelDetector:
    """Scores an hour by `|x − m|` with x its scaled reading and m the median of the training windows at large.

    Attributes:
        median: of all hours of the training windows.
    """

    median: float
    name: str = "level"

    def score(self, windows: Windows) -> WindowScores:
        distance = np.abs(windows.values.astype(np.float64) - self.median)
        return WindowScores(distance.max(axis=1), distance)

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt, for a file."""
        return {"median": np.array([self.median])}


def fit_level(windows: Windows) -> LevelDetector:
    """Fit to normal windows of training buildings."""
    return LevelDetector(float(np.median(windows.values)))
