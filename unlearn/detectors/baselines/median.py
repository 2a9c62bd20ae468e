"""A detector without training: each hour beside the same hour of the weeks before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from unlearn.checks import FloatArray, require_count
from unlearn.detectors.base import WindowScores
from unlearn.detectors.scaling import ScaledSeries
from unlearn.detectors.windows import Windows

_DAY = 24


@dataclass(frozen=True)
class MedianDetector:
    """Scores an hour by its distance to the median of the same hour of the `days` days before.

    The first day has nothing before it and scores 0; the days after it have fewer days before them.
    """

    days: int
    name: str = "median"

    def score(self, windows: Windows) -> WindowScores:
        """Distances in scaled units."""
        distance = _distance(windows.series, self.days)[windows.building[:, None], windows.hours]
        return WindowScores(distance.mean(axis=1), distance)


def fit_median(windows: Windows, seed: int, days: int = 28) -> MedianDetector:
    """There is nothing to fit; windows and seed are what every detector is given."""
    return MedianDetector(require_count("median: days", days))


def _distance(series: ScaledSeries, days: int) -> FloatArray:
    """Distance of every hour, shape (M, T); 0 where nothing is known before it."""
    m, t = series.value.shape
    padded = np.full((m, -(-t // _DAY) * _DAY), np.nan)
    padded[:, :t] = series.value
    by_day = padded.reshape(m, -1, _DAY)
    before = np.concatenate([np.full((m, days, _DAY), np.nan), by_day[:, :-1]], axis=1)
    known = sliding_window_view(before, days, axis=1)  # (M, days of the series, 24, days before)
    usual = np.full(by_day.shape, np.nan)
    there = np.isfinite(known).any(axis=-1)
    usual[there] = np.nanmedian(known[there], axis=-1)
    return np.nan_to_num(np.abs(by_day - usual)).reshape(m, -1)[:, :t]
