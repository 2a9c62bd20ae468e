"""What a day-ahead forecaster expects of readings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.detectors.baselines import FittedResidual
from unlearn.detectors.windows import ScaledSeries, Windows
from unlearn.errors import InputError
from unlearn.forecasters.household import UNIT_KWH, HouseholdForecaster, fit_household_forecaster
from unlearn.forecasters.specs import TrainingOptions
from unlearn.households.by_household import household_profiles
from unlearn.households.injection import HOURS, DayAheadPanel, day_ahead_panel


@short_repr
@dataclass(frozen=True, eq=False)
class DayAhead:
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


def fit_day_ahead(windows: Windows, kind: str, training: TrainingOptions | None, seed: int) -> FittedResidual:
    """Fit a day-ahead forecaster to the days that lie wholly in training windows; score hours by its residuals.

    Forecasters think in a constant unit of energy, and buildings differ in size a hundredfold: each building is
    forecast in units of its own usual range, from the low (0) to the high (1) quantile of its training time.

    Args:
        windows: normal windows of training buildings.
        kind: "linear", "cnn" or "mixer".
        training: of the networks.
        seed: of the networks.

    Raises:
        InputError: no day with a complete week before.
    """
    found = _panel(windows.series, np.unique(windows.building))
    if found is not None:
        panel, building, first = found
        inside = windows.covered_hours()[building[:, None], first[:, None] + np.arange(HOURS)].all(axis=1)
        if inside.any():
            forecaster = fit_household_forecaster(panel.take(inside), kind, training, seed)
            return FittedResidual(kind, DayAhead(forecaster), windows)
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
