"""The autoencoder: errors by hour, early stopping on other buildings, the seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.detectors.gans import LENGTH, small_windows
from unlearn.detectors.autoencoder import _watched, train_autoencoder
from unlearn.detectors.options import Autoencoder
from unlearn.errors import ConvergenceError, InputError

OPTIONS = Autoencoder(hidden=6, epochs=4, batch_size=8, learning_rate=0.03)


def test_it_learns_the_wave_and_not_what_breaks_it() -> None:
    windows = small_windows()
    fitted = train_autoencoder(windows, OPTIONS, seed=1)
    error = fitted.card["history"]["train"]
    assert error[-1] < 0.8 * error[0]
    scores = fitted.score(windows)
    values = torch.from_numpy(windows.values.copy())
    np.testing.assert_allclose(scores.hour, (fitted.network(values) - values).abs(), atol=1e-6)
    np.testing.assert_allclose(scores.window, scores.hour.sum(axis=1))
    broken = windows.values.copy()
    broken[:, 5] += 3
    later = fitted.score(replace(windows, values=broken))
    assert (later.window > scores.window).mean() > 0.95
    assert (later.hour.argmax(axis=1) == 5).mean() > 0.9


def test_the_best_epoch_on_the_watched_buildings_counts() -> None:
    windows = small_windows()
    fitted = train_autoencoder(windows, replace(OPTIONS, learning_rate=0.2, patience=2, validation_share=0.4), seed=0)
    errors = fitted.card["history"]["validation"]
    assert fitted.card["best_epoch"] == int(np.argmin(errors))
    watched = windows.take(windows.building >= 4)
    assert fitted.score(watched).hour.mean() == pytest.approx(min(errors), rel=1e-5)
    assert len(errors) in (4, int(np.argmin(errors)) + 3)


def test_whole_buildings_are_watched() -> None:
    windows = small_windows()
    assert set(windows.building[_watched(windows, 0.4)]) == {4, 5}
    assert set(windows.building[_watched(windows, 0.01)]) == {5}


def test_the_seed_decides() -> None:
    options = replace(OPTIONS, epochs=1)
    first, again, other = (
        train_autoencoder(small_windows(), options, seed).score(small_windows()) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.hour, again.hour)
    assert not np.array_equal(first.hour, other.hour)


def test_unusable_windows_are_refused() -> None:
    windows = small_windows()
    with pytest.raises(InputError, match="expected windows of at least 2 buildings"):
        train_autoencoder(windows.take(windows.building == 0), OPTIONS)
    anomalous = replace(windows, hour_labels=np.ones_like(windows.values, dtype=bool))
    with pytest.raises(InputError, match="expected normal ones"):
        train_autoencoder(anomalous, OPTIONS)
    with pytest.raises(ConvergenceError, match=r"Lower autoencoder\.learning_rate"):
        train_autoencoder(windows, replace(OPTIONS, learning_rate=3e37))
    fitted = train_autoencoder(windows, replace(OPTIONS, epochs=1))
    with pytest.raises(InputError, match=rf"expected shape \(any, {LENGTH}\)"):
        fitted.score(replace(windows, values=windows.values[:, 1:]))
    missing = windows.values.copy()
    missing[0, 0] = np.nan
    with pytest.raises(InputError, match="expected finite values"):
        fitted.score(replace(windows, values=missing))
    assert fitted.score(windows.take(np.arange(0))).hour.shape == (0, LENGTH)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, r"autoencoder\.hidden"),
        ({"patience": 0}, r"autoencoder\.patience"),
        ({"learning_rate": 0.0}, r"autoencoder\.learning_rate"),
        ({"validation_share": 1.0}, r"autoencoder\.validation_share"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Autoencoder(**settings)
