"""What every detector of anomalies does: score windows and their hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from unlearn.checks import FloatArray, require_finite, require_shape, short_repr
from unlearn.detectors.windows import Windows, mean_by_hour


@short_repr
@dataclass(frozen=True, eq=False)
class WindowScores:
    """Scores of N windows of W hours; the larger, the more anomalous.

    Attributes:
        window: of each window as a whole, shape (N,).
        hour: of each of its hours, shape (N, W). A detector that sees windows only as a whole repeats its score.
    """

    window: FloatArray
    hour: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", np.asarray(self.window, dtype=np.float64))
        object.__setattr__(self, "hour", np.asarray(self.hour, dtype=np.float64))
        require_shape("window scores", self.window, (len(self.hour),))
        require_finite("window scores", self.window)
        require_finite("hour scores", self.hour)

    def by_hour(self, windows: Windows) -> FloatArray:
        """Score of every hour of the series: the mean over the windows that it lies in, shape (M, T), NaN in none."""
        return mean_by_hour(windows, self.hour)


class FittedDetector(Protocol):
    """A detector that was fitted on normal windows of training buildings."""

    @property
    def name(self) -> str:
        """Name for records."""
        ...

    def score(self, windows: Windows) -> WindowScores:
        """Score windows of any building; labels are never looked at."""
        ...
