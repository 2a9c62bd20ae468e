"""Baselines beside slow sums, the forecaster they are made of, and PyOD."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.stats import skew

from tests.detectors.builders import SMALL, anomalous_series, daily_series, small_division
from unlearn.detectors.base import Detector, require_detectors
from unlearn.detectors.baselines import (
    CnnForecast,
    Ecod,
    IsolationForest,
    Level,
    LinearForecast,
    LocalOutlierFactor,
    MixerForecast,
    Seasonal,
)
from unlearn.detectors.options import Gan
from unlearn.detectors.storage import save_detector
from unlearn.detectors.windows import Windows, cut_windows, divide, scale
from unlearn.errors import InputError
from unlearn.forecasters.specs import TrainingOptions
from unlearn.records import read_json
from unlearn.registry import settings_of


def test_level_is_the_distance_from_the_centre() -> None:
    division = small_division()
    x = division.test.values.astype(float)
    middle, median = Level().fit(division.train)
    found = middle.score(division.test)
    np.testing.assert_array_equal(found.hour, np.abs(x))
    np.testing.assert_array_equal(found.window, np.abs(x).max(axis=1))
    centre = float(np.median(division.train.values))
    np.testing.assert_array_equal(median.score(division.test).hour, np.abs(x - centre))


def test_seasonal_is_the_difference_to_the_hour_a_lag_before() -> None:
    division = small_division()
    value = division.scaled.value.astype(float)
    found = Seasonal((48,)).fit(division.train)[0].score(division.test)
    for row in (0, 5, len(division.test) - 1):
        m, start = division.test.building[row], division.test.start[row]
        expected = [abs(value[m, t] - value[m, t - 48]) for t in range(start, start + 24)]
        np.testing.assert_array_equal(found.hour[row], expected)
        np.testing.assert_allclose(found.window[row], np.mean(expected))


def test_hours_without_a_past_have_the_usual_residual() -> None:
    series = daily_series(4, 10)
    series.kwh[:, 40:60] = np.nan
    windows = cut_windows(scale(series, np.arange(240) < 200), length=24, stride=12)
    (detector,) = Seasonal((24,)).fit(windows)
    found = detector.score(windows)
    unknown = (windows.hours < 24) | ((windows.hours >= 64) & (windows.hours < 84))
    assert (found.hour[unknown] == detector.usual).all()
    assert np.isfinite(found.hour).all()
    np.testing.assert_allclose(detector.usual, np.median(found.hour[~unknown]))


def test_a_forecast_knows_a_wave_and_not_a_jump() -> None:
    """What repeats every day is forecast; a reading that is changed is off by what it was changed by."""
    series = daily_series(6, 40)
    series.kwh[:, :] = series.kwh[:, :24][:, np.arange(960) % 24]
    fitted = np.arange(960) < 480
    scaled = scale(series, fitted)
    (detector,) = LinearForecast().fit(cut_windows(scaled, 24, 24, fitted))
    series.kwh[2, 700] += 0.3 * (scaled.high[2] - scaled.low[2])
    changed = scale(series, fitted)
    found = detector.score(cut_windows(changed, 24, 24, ~fitted))
    assert found.hour.max() == pytest.approx(0.6, abs=0.02)
    others = np.delete(found.hour.ravel(), found.hour.argmax())
    assert np.median(others) < 0.02


def test_forecasts_are_those_of_the_day_at_hand_also_where_hours_begin_late() -> None:
    """Cutting the first five hours off moves no midnight: days after it are forecast as before."""
    series = anomalous_series(4, 30)
    late = type(series)(
        series.name,
        series.buildings,
        series.hours[5:],
        series.kwh[:, 5:],
        series.anomaly[:, 5:],  # type: ignore[index]
    )
    scores = []
    for own, cut in ((series, 0), (late, 5)):
        hours = np.arange(own.n_hours) + cut
        scaled = scale(own, (hours >= 24) & (hours < 400))
        train = cut_windows(scaled, 24, 24, (hours >= 240) & (hours < 400)).normal()
        scores.append(LinearForecast().fit(train)[0].score(cut_windows(scaled, 24, 24, hours >= 480)).hour)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)


@pytest.mark.parametrize("network", [CnnForecast, MixerForecast])
def test_networks_forecast_too(network: type[CnnForecast | MixerForecast]) -> None:
    division = small_division()
    (detector,) = network(TrainingOptions(epochs=1, batch_size=64)).fit(division.train)
    assert detector.name == network.name
    assert len(detector.state()[0]["history"]["train"]) == 1
    assert np.isfinite(detector.score(division.validation).hour).all()


def test_a_forecast_without_enough_days_is_refused() -> None:
    windows = cut_windows(scale(daily_series(3, 6), np.ones(144, dtype=bool)), 24)
    with pytest.raises(InputError, match="expected normal days after seven days"):
        LinearForecast().fit(windows)


def test_covered_hours_are_those_of_any_window() -> None:
    windows = small_division().train
    expected = np.zeros(windows.series.value.shape, dtype=bool)
    for m, hours in zip(windows.building, windows.hours, strict=True):
        expected[m, hours] = True
    np.testing.assert_array_equal(windows.covered_hours(), expected)


def ecod_by_its_paper(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The largest of three sums over dimensions, counted reading by reading."""
    n = len(known)
    left = -np.log(np.maximum((known[None] <= new[:, None]).sum(axis=1), 1) / n)
    right = -np.log(np.maximum((known[None] >= new[:, None]).sum(axis=1), 1) / n)
    spread = np.ptp(known, axis=0) > 0
    # Of constant readings scipy warns, and gives NaN.
    skewness = np.array([skew(column) if some else 0.0 for column, some in zip(known.T, spread, strict=True)])
    by_skewness = np.where(skewness < 0, left, right)
    return np.maximum(np.maximum(left.sum(axis=1), right.sum(axis=1)), by_skewness.sum(axis=1))


@given(
    length=st.integers(1, 8), n=st.integers(2, 60), seed=st.integers(0, 999), rounded=st.booleans(), flip=st.booleans()
)
def test_ecod_is_its_paper_s(length: int, n: int, seed: int, rounded: bool, flip: bool) -> None:
    random = np.random.default_rng(seed)
    known = random.gamma(1.0, size=(n, length)) * np.where(np.arange(length) % 2 == flip, 1, -1)
    new = random.normal(size=(20, length)) * 2
    if rounded:  # ties among readings, and hours without any spread
        known, new = known.round(), new.round()
    found = Ecod().fit(windows_of(known))[0].score(windows_of(new))
    # Readings are kept in single precision.
    expected = ecod_by_its_paper(*(part.astype(np.float32).astype(float) for part in (known, new)))
    np.testing.assert_allclose(found.window, expected, rtol=1e-9, atol=1e-9)
    assert (found.hour.sum(axis=1) >= found.window - 1e-9).all()


def windows_of(values: np.ndarray) -> Windows:
    rows = np.arange(len(values))
    return Windows(values.astype(np.float32), rows * 0, rows, None, small_division().train.series)


def test_ecod_scores_a_window_by_itself() -> None:
    division = small_division()
    (detector,) = Ecod().fit(division.train)
    alone = detector.score(division.test.take([7]))
    assert alone.window[0] == detector.score(division.test).window[7]


@pytest.mark.extras
def test_ecod_s_hours_add_up_to_pyod_s_score_of_the_training_windows() -> None:
    from pyod.models.ecod import ECOD

    train = small_division().train
    expected = ECOD().fit(train.values.astype(float)).decision_scores_
    np.testing.assert_allclose(Ecod().fit(train)[0].score(train).hour.sum(axis=1), expected)


@pytest.mark.extras
@pytest.mark.parametrize("outliers", [IsolationForest(20), LocalOutlierFactor(5, 100)], ids=lambda own: own.name)
def test_pyod_finds_what_is_far_away(outliers: Detector) -> None:
    division = small_division()
    (detector,) = outliers.fit(division.train)
    far = division.train.take(np.arange(20))
    moved = Windows(far.values + np.float32(3), far.building, far.start, far.hour_labels, far.series)
    assert detector.score(moved).window.min() > detector.score(far).window.max()
    (again,) = outliers.fit(division.train)
    np.testing.assert_array_equal(again.score(division.test).window, detector.score(division.test).window)
    assert detector.score(far).reductions == ("own",)


def test_pyod_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(InputError, match=r'pip install "unlearn\[anomaly\]"'):
        require_detectors(["level", "lof"])
    require_detectors(["level", "ecod"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "at least one"),
        (["level", "level"], "each name once"),
        (["oracle"], "detector: expected one of level, seasonal"),
    ],
)
def test_detectors_that_cannot_be_fitted_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_detectors(names)


def test_bad_lags_are_refused() -> None:
    for lags in ((), (24, 24), (0,)):
        with pytest.raises(InputError, match=r"seasonal\.lags"):
            Seasonal(lags)


def test_a_detector_depends_on_its_own_settings() -> None:
    assert settings_of(Level("of another name")) == {}
    assert settings_of(Seasonal((24,))) == {"lags": (24,)}
    assert set(settings_of(Gan())) == {"networks", "training", "encoder", "inversion"}


def test_windows_are_scored_by_their_hours_in_one_way_for_all() -> None:
    division = small_division()
    scores = Ecod().fit(division.train)[0].score(division.test)
    np.testing.assert_allclose(scores.reduced("mean").window, scores.hour.mean(axis=1))
    np.testing.assert_allclose(scores.reduced("max").window, scores.hour.max(axis=1))
    assert scores.reduced("own") is scores
    with pytest.raises(InputError, match="reduction"):
        scores.reduced("median")


def test_baselines_are_kept_without_pickles(tmp_path: Path) -> None:
    division = divide(anomalous_series(), SMALL)
    (detector,) = LinearForecast().fit(division.train)
    save_detector(detector, tmp_path)
    assert read_json(tmp_path / "card.json")["kind"] == "linear"
    kept = load_file(tmp_path / "weights.safetensors")
    assert kept.keys() == detector.state()[1]["weights"].keys()
    np.testing.assert_array_equal(kept["head"], detector.state()[1]["weights"]["head"])
