"""Detectors that train nothing or little: level, median of earlier days, ECOD, PyOD's, and residuals of forecasts.

PyOD (Zhao et al., JMLR 2019) takes a constant off the isolation forest's published score, which changes no order. Its
local outlier factor of a new window is against the training windows alone, not among all windows as published.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from unlearn.checks import FloatArray, require_count, short_repr
from unlearn.detectors.base import Detector, FittedDetector, State, WindowScores
from unlearn.errors import InputError
from unlearn.forecasters.specs import TrainingOptions

if TYPE_CHECKING:
    from unlearn.detectors.windows import ScaledSeries, Windows


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


_NEEDS = {"pyod": '"unlearn[anomaly]", or leave it out'}


@dataclass(frozen=True)
class IsolationForest(Detector):
    """Windows that few random cuts isolate.

    Attributes:
        n_estimators: trees.
        name: for records.
    """

    n_estimators: int = 200
    name: str = "iforest"
    label: ClassVar[str] = "isolation forest"
    needs: ClassVar[Mapping[str, str]] = _NEEDS

    def __post_init__(self) -> None:
        require_count("iforest.n_estimators", self.n_estimators)

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        forest = importlib.import_module("pyod.models.iforest").IForest
        model = forest(n_estimators=self.n_estimators, random_state=seed)
        return [FittedPyod(self.name, model.fit(windows.values.astype(np.float64)))]


@dataclass(frozen=True)
class LocalOutlierFactor(Detector):
    """Windows whose neighbourhood is less dense than their neighbours' own.

    Attributes:
        n_neighbors: of a window.
        max_windows: training windows drawn at random that are kept; the costs of scoring grow with them.
        name: for records.
    """

    n_neighbors: int = 20
    max_windows: int = 10_000
    name: str = "lof"
    label: ClassVar[str] = "local outlier factor"
    needs: ClassVar[Mapping[str, str]] = _NEEDS

    def __post_init__(self) -> None:
        for name in ("n_neighbors", "max_windows"):
            require_count(f"lof.{name}", getattr(self, name))

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        values = windows.values.astype(np.float64)
        if len(values) <= self.n_neighbors:
            raise InputError(
                f"lof.n_neighbors: expected fewer than the {len(values)} training windows, got {self.n_neighbors}."
            )
        if len(values) > self.max_windows:
            values = values[np.sort(np.random.default_rng(seed).permutation(len(values))[: self.max_windows])]
        model = importlib.import_module("pyod.models.lof").LOF(n_neighbors=self.n_neighbors, novelty=True)
        return [FittedPyod(self.name, model.fit(values))]


@short_repr
@dataclass(frozen=True, eq=False)
class FittedPyod(FittedDetector):
    """Scores windows as a whole; every hour repeats its window's score. Trees and neighbours are kept as pickles alone,
    so none are."""

    name: str
    model: Any

    def score(self, windows: Windows) -> WindowScores:
        window = self.model.decision_function(windows.values.astype(np.float64))
        return WindowScores(window, np.repeat(np.asarray(window)[:, None], windows.length, axis=1))


@dataclass(frozen=True)
class Seasonal(Detector):
    """The difference of a reading to that of some hours before.

    Attributes:
        lags: hours that it may look back, such as 168 to the same hour of the week before; validation decides which.
        name: for records.
    """

    lags: tuple[int, ...] = (24, 168)
    name: str = "seasonal"
    label: ClassVar[str] = "day or week before"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lags", tuple(self.lags))
        if not self.lags or len(set(self.lags)) < len(self.lags):
            raise InputError(f"seasonal.lags: expected at least one, each once, got {list(self.lags)}.")
        for lag in self.lags:
            require_count("seasonal.lags", lag)

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        return [FittedResidual(f"seasonal {lag} h", _Lagged(lag), windows) for lag in self.lags]


@dataclass(frozen=True)
class LinearForecast(Detector):
    """What a linear day-ahead forecaster does not expect."""

    name: str = "linear"
    label: ClassVar[str] = "linear forecast"

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        from unlearn.detectors.day_ahead import fit_day_ahead

        return [fit_day_ahead(windows, "linear", None, seed)]


@dataclass(frozen=True)
class _NetworkForecast(Detector):
    """What the day-ahead forecasts of a network do not expect."""

    training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(epochs=10, batch_size=64, learning_rate=1e-3, patience=5)
    )
    kind: ClassVar[str]

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        from unlearn.detectors.day_ahead import fit_day_ahead

        return [fit_day_ahead(windows, self.kind, self.training, seed)]


@dataclass(frozen=True)
class CnnForecast(_NetworkForecast):
    """What a CNN's day-ahead forecasts do not expect."""

    name: str = "cnn"
    label: ClassVar[str] = "CNN forecast"
    kind: ClassVar[str] = "cnn"


@dataclass(frozen=True)
class MixerForecast(_NetworkForecast):
    """What an MLP-Mixer's day-ahead forecasts do not expect."""

    name: str = "mixer"
    label: ClassVar[str] = "MLP-Mixer forecast"
    kind: ClassVar[str] = "mixer"


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


class FittedResidual(FittedDetector):
    """Scores an hour by its residual; one of which nothing is expected by the median residual of the training windows.

    Args:
        name: for records.
        expect: what is expected.
        windows: training windows.
    """

    def __init__(self, name: str, expect: Expectation, windows: Windows) -> None:
        self.name, self._expect = name, expect
        found = residuals(windows, expect(windows))
        known = found[np.isfinite(found)]
        # Where no training hour has a past, nothing is usual.
        self.usual = float(np.median(known)) if known.size else 0.0

    def state(self) -> State:
        arrays = {**self._expect.arrays(), "usual": np.array([self.usual])}
        return {"history": self._expect.history}, {"weights": arrays}

    def score(self, windows: Windows) -> WindowScores:
        found = residuals(windows, self._expect(windows))
        hour = np.where(np.isfinite(found), found, self.usual)
        return WindowScores(hour.mean(axis=1), hour)


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
