"""Residuals of forecasts as scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, FloatArray, IntArray, short_repr
from unlearn.detectors.base import WindowScores
from unlearn.detectors.scaling import ScaledSeries
from unlearn.detectors.windows import Windows
from unlearn.errors import InputError
from unlearn.forecasters.household import UNIT_KWH, HouseholdForecaster, fit_household_forecaster
from unlearn.forecasters.options import TrainingOptions
from unlearn.households.by_household import household_profiles
from unlearn.households.day_ahead import HOURS, DayAheadPanel, day_ahead_panel


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


@short_repr
@dataclass(frozen=True, eq=False)
class _DayAhead:
    """Expects what a forecaster says at midnight, from the seven days before."""

    forecaster: HouseholdForecaster

    def __call__(self, windows: Windows) -> FloatArray:
        expected = np.full(windows.series.value.shape, np.nan)
        found = _panel(windows.series, np.unique(windows.building))
        if found is not None:
            panel, building, first = found
            at = first[:, None] + np.arange(HOURS)
            expected[building[:, None], at] = 2 * self.forecaster.forecast(panel.features) / UNIT_KWH - 1
        return expected

    @property
    def history(self) -> dict[str, list[float]]:
        found = self.forecaster.card.get("training", {})
        return {name: found[name] for name in ("train", "validation") if name in found}

    def arrays(self) -> dict[str, FloatArray]:
        state = self.forecaster.network.state_dict()
        return {name: value.double().numpy() for name, value in state.items()}


def fit_forecast(
    windows: Windows, kind: str = "linear", training: TrainingOptions | None = None, seed: int = 0
) -> ResidualDetector:
    """Fit a day-ahead forecaster to the days that lie wholly in training windows; score hours by its residuals.

    Forecasters think in a constant unit of energy, and buildings differ in size a hundredfold: each building is
    forecast in units of its own usual range, from the low (0) to the high (1) quantile of its training time.

    Args:
        windows: normal windows of training buildings.
        kind: "linear", "cnn" or "mixer".
        training: of the networks.
        seed: of the networks.

    Raises:
        InputError: an unknown kind, or no day with a complete week before.
    """
    found = _panel(windows.series, np.unique(windows.building))
    if found is not None:
        panel, building, first = found
        inside = covered_hours(windows)[building[:, None], first[:, None] + np.arange(HOURS)].all(axis=1)
        if inside.any():
            forecaster = fit_household_forecaster(panel.take(inside), kind, training, seed)
            return ResidualDetector(kind, _DayAhead(forecaster), windows)
    raise InputError(
        f"{windows.series.series.name}: expected normal days after seven days of readings to fit {kind} to, got none. "
        "Give more training time."
    )


def _panel(scaled: ScaledSeries, buildings: IntArray) -> tuple[DayAheadPanel, IntArray, IntArray] | None:
    """Days of some buildings whose week before is complete, the building and first hour of each; None without any."""
    hours = scaled.series.hours
    first = int(-hours[0].astype(np.int64) % HOURS)
    n_days = (len(hours) - first) // HOURS
    value = scaled.value[buildings, first : first + n_days * HOURS].reshape(len(buildings), n_days, HOURS)
    own, day = np.nonzero(np.isfinite(value).all(axis=2))
    dates = hours[first].astype("datetime64[D]") + day
    names = pd.DataFrame({"household_id": [scaled.series.buildings[m] for m in buildings], "segment": "all"})
    # What lies below the usual range counts as its end; residuals see the reading itself.
    energy = (np.clip((value[own, day] + 1) / 2, 0, None) * UNIT_KWH).astype(np.float32)
    try:
        panel = day_ahead_panel(household_profiles(scaled.series.name, energy, own, dates, names))
    except InputError:
        return None
    return panel, buildings[panel.household], first + HOURS * day[panel.row]
