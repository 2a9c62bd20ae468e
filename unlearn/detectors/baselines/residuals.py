"""Residual detectors: an hour is anomalous by how far its reading lies from what was expected of it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from unlearn.checks import BoolArray, FloatArray
from unlearn.detectors.base import WindowScores
from unlearn.detectors.windows import Windows


class Expectation(Protocol):
    """What readings of some buildings are expected to be, from earlier readings of the same building alone."""

    def __call__(self, windows: Windows) -> FloatArray:
        """Scaled readings that are expected, NaN where nothing is, shape (M, T); other buildings may be NaN."""
        ...

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt, for a file."""
        ...

    @property
    def history(self) -> dict[str, list[float]]:
        """Losses of each epoch, where anything was trained."""
        ...


def residuals(windows: Windows, expected: FloatArray) -> FloatArray:
    """`|x − expected|` of each hour of each window, NaN where nothing was expected, shape (N, W)."""
    own = expected[windows.building[:, None], windows.hours]
    return np.abs(windows.values.astype(np.float64) - own)


class ResidualDetector:
    """Scores an hour by its residual; one of which nothing is expected by the median residual of the training windows.

    Args:
        name: for records.
        expect: what is expected.
        windows: training windows.
    """

    def __init__(self, name: str, expect: Expectation, windows: Windows) -> None:
        self._name, self._expect = name, expect
        found = residuals(windows, expect(windows))
        known = found[np.isfinite(found)]
        # Where no training hour has a past, nothing is usual.
        self.usual = float(np.median(known)) if known.size else 0.0

    @property
    def name(self) -> str:
        return self._name

    @property
    def card(self) -> dict[str, Any]:
        """What it is; JSON."""
        return {"kind": self._name, "history": self._expect.history}

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt, for a file."""
        return {**self._expect.arrays(), "usual": np.array([self.usual])}

    def score(self, windows: Windows) -> WindowScores:
        found = residuals(windows, self._expect(windows))
        hour = np.where(np.isfinite(found), found, self.usual)
        return WindowScores(hour.mean(axis=1), hour)


def covered_hours(windows: Windows) -> BoolArray:
    """Hours that lie in any of the windows, shape (M, T)."""
    m, t = windows.series.value.shape
    # One up where a window begins, one down after it ends; the running sum counts the windows over each hour.
    step = np.zeros((m, t + 1), dtype=np.int64)
    np.add.at(step, (windows.building, windows.start), 1)
    np.add.at(step, (windows.building, windows.start + windows.length), -1)
    return np.asarray(step.cumsum(axis=1)[:, :t] > 0)
