"""What data users do with daily profiles: tell the season, forecast the next step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError
from unlearn.households.profiles import DailyProfiles

SEASONS = ("winter", "spring", "summer", "autumn")


def season_of(month: IntArray) -> IntArray:
    """Meteorological season of a month of the northern hemisphere: 0 (December to February) to 3."""
    return month % 12 // 3


def season_scores(train: DailyProfiles, test: DailyProfiles, seed: int = 0) -> dict[str, float]:
    """Classify the season of each test profile after training on others.

    Args:
        train: profiles that the classifier (gradient boosting on histograms) learns from.
        test: real profiles, same steps a day.
        seed: of the classifier.

    Returns:
        `balanced_accuracy` (0.25 by chance with four seasons) and `macro_f1`, over the seasons that occur in the test.

    Raises:
        InputError: fewer than two seasons in either set, or other steps a day.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import balanced_accuracy_score, f1_score

    _require_same_steps(train, test)
    known, true = (season_of(part.month) for part in (train, test))
    for part, seasons in ((train, known), (test, true)):
        if len(np.unique(seasons)) < 2:
            raise InputError(f"season: expected profiles of at least two seasons, {part.name} has one.")
    # Roots draw in the tail; the day of the week goes along, since it changes days as seasons do.
    inputs = [np.column_stack([np.sqrt(part.kwh), part.day_of_week]) for part in (train, test)]
    # With many profiles it sets some of each season aside to stop early, which takes two of each.
    stopping = "auto" if np.unique(known, return_counts=True)[1].min() > 1 else False
    model = HistGradientBoostingClassifier(max_iter=150, early_stopping=stopping, random_state=seed)
    guess = model.fit(inputs[0], known).predict(inputs[1])
    return {
        "balanced_accuracy": float(balanced_accuracy_score(true, guess)),
        "macro_f1": float(f1_score(true, guess, average="macro", labels=np.unique(true))),
    }


def next_step_scores(
    train: DailyProfiles, test: DailyProfiles, window: int = 8, rows: int = 60_000, seed: int = 0
) -> Iterator[tuple[str, str, float]]:
    """Forecast each profile's next step from the steps before it, within a day.

    Args:
        train: profiles that models learn from.
        test: real profiles, same steps a day.
        window: steps that a forecast sees.
        rows: windows drawn from each side at most.
        seed: of the draw and of boosting.

    Yields:
        Model ("boosting", "ridge", or "persistence", which learns nothing), metric ("mae" or "rmse"), value in kWh.

    Raises:
        InputError: other steps a day, or a window that is as long as a day.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge

    _require_same_steps(train, test)
    if not 1 <= window < train.n_steps:
        raise InputError(f"window: expected 1 to {train.n_steps - 1} steps, got {window}.")
    random = np.random.default_rng(seed)
    (seen, target), (inputs, true) = (_windows(part, window, rows, random) for part in (train, test))
    boosting = HistGradientBoostingRegressor(max_iter=150, random_state=seed).fit(seen, target)
    forecasts = {
        "boosting": boosting.predict(inputs),
        "ridge": Ridge(alpha=1.0).fit(seen, target).predict(inputs),
        "persistence": inputs[:, window - 1],
    }
    for model, forecast in forecasts.items():
        error = forecast - true
        yield model, "mae", float(np.abs(error).mean())
        yield model, "rmse", float(np.sqrt(np.square(error).mean()))


def _windows(
    profiles: DailyProfiles, window: int, rows: int, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Steps before, time of day and day of the week, and the step that follows; none runs across two days."""
    starts = profiles.n_steps - window
    total = len(profiles) * starts
    chosen = random.permutation(total)[:rows] if rows < total else np.arange(total)
    row, start = np.divmod(chosen, starts)
    seen = profiles.kwh[row[:, None], start[:, None] + np.arange(window)].astype(np.float64)
    angle = 2 * np.pi * (start + window) / profiles.n_steps
    more = [np.sin(angle), np.cos(angle), profiles.day_of_week[row] >= 5]
    return np.column_stack([seen, *more]), profiles.kwh[row, start + window].astype(np.float64)


def _require_same_steps(train: DailyProfiles, test: DailyProfiles) -> None:
    if train.n_steps != test.n_steps:
        raise InputError(
            f"utility: expected the same steps a day, got {train.n_steps} in {train.name} and {test.n_steps} in "
            f"{test.name}. Use to_hourly() on both."
        )
