"""The simplest detector: how far a reading lies from what is usual in its building, at any hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import FloatArray, require_choice, short_repr
from unlearn.detectors.base import WindowScores
from unlearn.detectors.windows import Windows

#: The middle of a building's usual range, or the median of all training readings on that scale.
CENTRES = ("middle", "median")


@short_repr
@dataclass(frozen=True, eq=False)
class LevelDetector:
    """Scores an hour by `|x − c|` with x its scaled reading, and a window by its highest hour.

    Attributes:
        name: for records.
        centre: c.
    """

    name: str
    centre: float

    def score(self, windows: Windows) -> WindowScores:
        distance = np.abs(windows.values.astype(np.float64) - self.centre)
        return WindowScores(distance.max(axis=1), distance)

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt, for a file."""
        return {"centre": np.array([self.centre])}


def fit_level(windows: Windows, centre: str = "middle") -> LevelDetector:
    """Fit to normal windows of training buildings.

    Args:
        windows: normal windows of training buildings.
        centre: "middle" learns nothing beyond the scale of each building; "median" is the median of the windows.

    Raises:
        InputError: another centre.
    """
    require_choice("centre", centre, CENTRES)
    value = 0.0 if centre == "middle" else float(np.median(windows.values))
    return LevelDetector(f"distance from the {centre}", value)
