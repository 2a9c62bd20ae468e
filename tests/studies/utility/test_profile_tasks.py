"""Season and next step: tasks that can be won and lost."""

from dataclasses import replace

import numpy as np
import pytest

from tests.generators.builders import households
from unlearn.errors import InputError
from unlearn.studies._shared.utility import next_step_scores, season_of, season_scores


def test_seasons_are_meteorological() -> None:
    assert list(season_of(np.arange(1, 13))) == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0]


def test_seasons_that_show_are_told_and_shuffled_ones_are_not() -> None:
    train, test = households(20, 120, seed=0), households(20, 120, seed=1)
    shown = [replace(p, kwh=p.kwh * np.float32([1, 3, 9, 27])[season_of(p.month), None]) for p in (train, test)]
    scores = season_scores(*shown)
    assert scores["balanced_accuracy"] > 0.7
    assert scores["macro_f1"] > 0.7
    random = np.random.default_rng(0)
    lost = replace(shown[0], month=random.permutation(train.month))
    assert season_scores(lost, shown[1])["balanced_accuracy"] == pytest.approx(0.25, abs=0.06)


def test_a_season_with_one_profile_among_many_is_learnt_too() -> None:
    train, test = households(30, 350, seed=0), households(4, 60, seed=1)
    seasons = season_of(train.month)
    lone = train.take(np.r_[np.flatnonzero(seasons < 3), np.flatnonzero(seasons < 3), np.flatnonzero(seasons == 3)[0]])
    assert len(lone) > 10_000
    # Days that are all alike leave nothing to grow trees on, so this is fast.
    alike = [replace(p, kwh=np.ones_like(p.kwh), day_of_week=np.zeros_like(p.day_of_week)) for p in (lone, test)]
    assert season_scores(*alike)["balanced_accuracy"] == pytest.approx(0.25)


def test_a_pattern_is_forecast_and_noise_is_not_better_than_its_spread() -> None:
    train, test = households(20, 60, seed=0), households(20, 60, seed=1)
    steps = np.arange(48)
    wave = (1 + np.sin(2 * np.pi * steps / 12)).astype(np.float32)
    scores = {
        (model, metric): value
        for model, metric, value in next_step_scores(
            replace(train, kwh=np.tile(wave, (len(train), 1))), replace(test, kwh=np.tile(wave, (len(test), 1)))
        )
    }
    assert scores["ridge", "mae"] < 1e-3
    assert scores["persistence", "mae"] == pytest.approx(np.abs(np.diff(wave))[7:].mean(), rel=1e-5)
    random = np.random.default_rng(0)
    noise = [replace(p, kwh=random.random(p.kwh.shape).astype(np.float32)) for p in (train, test)]
    unknown = {(model, metric): value for model, metric, value in next_step_scores(*noise)}
    assert unknown["ridge", "rmse"] == pytest.approx(np.sqrt(1 / 12), rel=0.02)
    assert unknown["persistence", "rmse"] == pytest.approx(np.sqrt(1 / 6), rel=0.02)


def test_windows_stay_within_a_day() -> None:
    """A profile's own level tells its next step; the neighbour's would not."""
    made = households(10, 60)
    level = np.arange(1, len(made) + 1, dtype=np.float32) % 7
    flat = replace(made, kwh=np.repeat(level[:, None], 48, axis=1))
    scores = {(model, metric): value for model, metric, value in next_step_scores(flat, flat)}
    assert scores["persistence", "mae"] == 0
    assert scores["ridge", "mae"] < 1e-3


def test_what_a_task_cannot_use_is_refused() -> None:
    made = households(10, 60)
    with pytest.raises(InputError, match="at least two seasons"):
        season_scores(made.take(made.month == 1), made)
    with pytest.raises(InputError, match="same steps a day"):
        season_scores(made.to_hourly(), made)
    with pytest.raises(InputError, match="expected 1 to 47 steps, got 48"):
        list(next_step_scores(made, made, window=48))
