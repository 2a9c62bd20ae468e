"""Detectors that train nothing or little: level, seasonal and median differences, ECOD."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from unlearn.checks import FloatArray, require_choice, require_count, short_repr
from unlearn.detectors.base import WindowScores
from unlearn.detectors.baselines.forecast import ResidualDetector
from unlearn.detectors.scaling import ScaledSeries
from unlearn.detectors.windows import Windows
from unlearn.records import write_card, write_safetensors

WEIGHTS = "weights.safetensors"


class Baseline(Protocol):
    """A detector whose learnt numbers are arrays."""

    @property
    def name(self) -> str: ...

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt; empty where it has no file format but pickles."""
        ...


def save_baseline(detector: Baseline, folder: Path) -> None:
    """Write `card.json`, and `weights.safetensors` where there are any."""
    arrays = {name: np.ascontiguousarray(value) for name, value in detector.arrays().items()}
    note = {} if arrays else {"note": "Not kept: it would be a pickle. The same windows and seed fit it again."}
    card = {**getattr(detector, "card", {}), "kind": detector.name, **note}
    if arrays:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        write_safetensors(tensors, folder / WEIGHTS, confidential=True)
    write_card(card, folder, [WEIGHTS] if arrays else [], confidential=True)


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


@short_repr
@dataclass(frozen=True, eq=False)
class EcodDetector:
    """Scores a window as the paper does, and an hour by its dimensional score `max(−log F(x), −log F̄(x))`.

    Attributes:
        ordered: training readings of each hour of a window, sorted, shape (W, N).
        skewness: sign of each hour's skewness, shape (W,); 0 counts as skewed to the right, as in the paper.
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

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt, for a file."""
        return {"ordered": self.ordered, "skewness": self.skewness}


def fit_ecod(windows: Windows) -> EcodDetector:
    """Fit to normal windows of training buildings."""
    values = windows.values.astype(np.float64)
    skewness = np.sign(((values - values.mean(axis=0)) ** 3).mean(axis=0))
    # Without spread there is none, but for rounding.
    return EcodDetector(np.sort(values, axis=0).T.copy(), np.where(np.ptp(values, axis=0) > 0, skewness, 0.0))
