"""Detectors that train nothing or little: level, differences to the median of earlier days, ECOD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from unlearn.checks import FloatArray, require_count, short_repr
from unlearn.detectors.base import Detector, FittedDetector, State, WindowScores

if TYPE_CHECKING:
    from unlearn.detectors.scaling import ScaledSeries
    from unlearn.detectors.windows import Windows

_DAY = 24


@dataclass(frozen=True)
class Level(Detector):
    """The distance of a reading from the middle of its building's usual range, or from the median of all readings."""

    name: str = "level"
    label: ClassVar[str] = "level"

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        # The middle learns nothing beyond the scale of each building.
        median = float(np.median(windows.values))
        return [FittedLevel("distance from the middle", 0.0), FittedLevel("distance from the median", median)]


@short_repr
@dataclass(frozen=True, eq=False)
class FittedLevel(FittedDetector):
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

    def state(self) -> State:
        return {}, {"weights": {"centre": np.array([self.centre])}}


@dataclass(frozen=True)
class Median(Detector, FittedDetector):
    """Scores an hour by its distance to the median of the same hour of the `days` days before; nothing is fitted.

    The first day has nothing before it and scores 0; the days after it have fewer days before them.
    """

    days: int = 28
    name: str = "median"
    label: ClassVar[str] = "seasonal median"

    def __post_init__(self) -> None:
        require_count("median.days", self.days)

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        return [self]

    def score(self, windows: Windows) -> WindowScores:
        """Distances in scaled units."""
        distance = _distance(windows.series, self.days)[windows.building[:, None], windows.hours]
        return WindowScores(distance.mean(axis=1), distance)


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


@dataclass(frozen=True)
class Ecod(Detector):
    """ECOD (Li et al. 2022): how far out a window's readings lie in the distributions of each of its hours."""

    name: str = "ecod"
    label: ClassVar[str] = "ECOD"

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        values = windows.values.astype(np.float64)
        skewness = np.sign(((values - values.mean(axis=0)) ** 3).mean(axis=0))
        # Without spread there is none, but for rounding.
        skewness = np.where(np.ptp(values, axis=0) > 0, skewness, 0.0)
        return [FittedEcod(np.sort(values, axis=0).T.copy(), skewness)]


@short_repr
@dataclass(frozen=True, eq=False)
class FittedEcod(FittedDetector):
    """Scores a window as the paper does, and an hour by its dimensional score `max(−log F(x), −log F̄(x))`.

    Attributes:
        ordered: training readings of each hour of a window, sorted, shape (W, N).
        skewness: sign of each hour's skewness, shape (W,); 0 counts as skewed to the right, as in the paper.
        name: for records.
    """

    ordered: FloatArray
    skewness: FloatArray
    name: str = "ecod"

    def score(self, windows: Windows) -> WindowScores:
        left, right = np.empty(windows.values.shape), np.empty(windows.values.shape)
        n = self.ordered.shape[1]
        for w, known in enumerate(self.ordered):
            x = windows.values[:, w].astype(np.float64)
            # A reading beyond all of training counts as the outermost one.
            left[:, w] = -np.log(np.maximum(np.searchsorted(known, x, side="right"), 1) / n)
            right[:, w] = -np.log(np.maximum(n - np.searchsorted(known, x, side="left"), 1) / n)
        by_skewness = np.where(self.skewness < 0, left, right)
        sums = [part.sum(axis=1) for part in (left, right, by_skewness)]
        return WindowScores(np.max(sums, axis=0), np.maximum(left, right))

    def state(self) -> State:
        return {}, {"weights": {"ordered": self.ordered, "skewness": self.skewness}}
