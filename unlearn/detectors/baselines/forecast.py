"""Residuals of forecasts as scores: of the day or week before, and of this library's day-ahead forecasters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from unlearn.checks import FloatArray, require_count
from unlearn.detectors.base import Detector, FittedDetector, State, WindowScores
from unlearn.errors import InputError
from unlearn.forecasters.options import TrainingOptions

if TYPE_CHECKING:
    from unlearn.detectors.windows import Windows


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
        from unlearn.detectors.baselines.day_ahead import fit_day_ahead

        return [fit_day_ahead(windows, "linear", None, seed)]


@dataclass(frozen=True)
class _NetworkForecast(Detector):
    """What the day-ahead forecasts of a network do not expect."""

    training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(epochs=10, batch_size=64, learning_rate=1e-3, patience=5)
    )
    kind: ClassVar[str]

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        from unlearn.detectors.baselines.day_ahead import fit_day_ahead

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
