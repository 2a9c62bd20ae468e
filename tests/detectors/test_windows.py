"""Who is seen when; nothing of test buildings after training time reaches anything but their scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.builders import SMALL, anomalous_series, daily_series, small_division
from unlearn.detectors.base import Detector, FittedDetector, fit_candidates
from unlearn.detectors.baselines import CnnForecast, Ecod, Level, LinearForecast, Seasonal
from unlearn.detectors.metrics import ThresholdRule
from unlearn.detectors.options import AdversarialOptions, Autoencoder, Gan, InversionOptions, NetworkOptions
from unlearn.detectors.windows import (
    QUANTILES,
    Division,
    DivisionOptions,
    cut_windows,
    divide,
    scale,
    training_time,
    usable_buildings,
)
from unlearn.errors import DataError, InputError
from unlearn.forecasters.specs import TrainingOptions
from unlearn.households.buildings import BuildingSeries
from unlearn.studies.detection.archive import score_division
from unlearn.studies.detection.measure import thresholds_of


def series_of(kwh: np.ndarray, anomaly: np.ndarray | None = None) -> BuildingSeries:
    hours = np.datetime64("2013-01-01T00", "h") + np.arange(kwh.shape[1])
    return BuildingSeries("test", tuple(f"b{m}" for m in range(len(kwh))), hours, kwh, anomaly)


@given(
    st.integers(1, 4),
    st.integers(5, 60),
    st.integers(1, 8),
    st.integers(1, 9),
    st.floats(0, 0.4),
    st.integers(0, 2**32 - 1),
)
def test_windows_are_what_a_slow_search_finds(m: int, t: int, length: int, stride: int, gaps: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    kwh = random.random((m, t)) + np.arange(m)[:, None]
    kwh[random.random((m, t)) < gaps] = np.nan
    kwh[:, :2] = [1, 2]
    within = np.ones(t, dtype=bool)
    within[: t // 5] = False
    scaled = scale(series_of(kwh), np.ones(t, dtype=bool))
    expected = []
    for b in range(m):
        run = []
        for h in range(t + 1):
            if h < t and np.isfinite(kwh[b, h]) and within[h]:
                run.append(h)
                continue
            fits = len(run) - length
            starts = {run[0] + k for k in range(0, fits + 1, stride)} | {run[0] + fits} if fits >= 0 else set()
            expected += [(b, s) for s in sorted(starts)]
            run = []
    if not expected:
        with pytest.raises(InputError, match=r"at least|in a row"):
            cut_windows(scaled, length, stride, within)
        return
    windows = cut_windows(scaled, length, stride, within)
    assert sorted(zip(windows.building, windows.start, strict=True)) == sorted(expected)
    for row in range(len(windows)):
        own = scaled.value[windows.building[row], windows.start[row] : windows.start[row] + length]
        np.testing.assert_array_equal(windows.values[row], own)
    assert np.isfinite(windows.values).all()


def test_no_window_crosses_buildings_or_a_gap() -> None:
    """Each building's readings are its own number: a window that crossed would hold two of them."""
    kwh = np.repeat(np.arange(1.0, 6)[:, None], 200, axis=1)
    kwh[:, 0] = 0  # two values, so that buildings can be scaled
    kwh[2, 90:95] = np.nan
    series = series_of(kwh)
    scaled = replace(scale(series, np.arange(200) < 100), value=kwh.astype(np.float32))
    windows = cut_windows(scaled, length=60, stride=1, within=np.arange(200) > 0)
    assert (windows.values == windows.values[:, :1]).all()
    np.testing.assert_array_equal(windows.values[:, 0], windows.building + 1)
    of_third = windows.start[windows.building == 2]
    assert len(of_third)
    assert not ((of_third < 95) & (of_third + 60 > 90)).any()


def test_labels_of_windows_are_those_of_their_hours() -> None:
    series = daily_series(3, 10, labelled=True)
    series.anomaly[1, 100] = True
    windows = cut_windows(scale(series, training_time(series)), stride=7)
    touched = (windows.building == 1) & (windows.start <= 100) & (windows.start + 60 > 100)
    np.testing.assert_array_equal(windows.label, touched)
    assert touched.any()
    assert not windows.normal().label.any()
    assert len(windows.normal()) == (~touched).sum()
    np.testing.assert_array_equal(np.argwhere(windows.hour_labels)[:, 1], 100 - windows.start[touched])


def test_windows_without_labels_say_so() -> None:
    windows = cut_windows(scale(daily_series(2, 6), np.ones(144, dtype=bool)))
    assert windows.normal() is windows
    with pytest.raises(InputError, match="expected labels"):
        _ = windows.label


def test_mean_by_hour_is_the_mean_over_windows() -> None:
    series = daily_series(2, 6)
    windows = cut_windows(scale(series, np.ones(144, dtype=bool)), length=20, stride=7, buildings=[1])
    values = np.random.default_rng(0).random(windows.values.shape)
    found = windows.mean_by_hour(values)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    for hour in (0, 9, 70, 143):
        inside = (windows.start <= hour) & (windows.start + 20 > hour)
        own = values[inside, hour - windows.start[inside]]
        np.testing.assert_allclose(found[1, hour], own.mean())


def test_the_scaler_sees_training_time_of_its_own_building_only() -> None:
    series = daily_series(4, 20)
    fitted = training_time(series, 0.5)
    assert fitted.sum() == 240
    before = scale(series, fitted)
    kwh = series.kwh.copy()
    kwh[:, ~fitted] = 1e6 * np.random.default_rng(1).random((4, 240))
    kwh[3] *= 100
    after = scale(replace(series, kwh=kwh), fitted)
    np.testing.assert_array_equal(before.low[:3], after.low[:3])
    np.testing.assert_array_equal(before.high[:3], after.high[:3])
    np.testing.assert_array_equal(before.value[:3, fitted], after.value[:3, fitted])
    np.testing.assert_allclose(before.value[3, fitted], after.value[3, fitted], rtol=1e-5)
    low, high = np.quantile(series.kwh[0, fitted], QUANTILES)
    inside = (2 * (series.kwh[0] - low) / (high - low) - 1).astype(np.float32)
    np.testing.assert_allclose(before.value[0], inside, atol=1e-6)


def test_filled_hours_do_not_count_for_the_scaler() -> None:
    series = daily_series(1, 10)
    filled = np.zeros(series.kwh.shape, dtype=bool)
    filled[0, 5] = True
    wild = series.kwh.copy()
    wild[0, 5] = 1e9
    fitted = np.ones(240, dtype=bool)
    without = scale(replace(series, kwh=np.where(filled, np.nan, series.kwh)), fitted)
    assert scale(replace(series, kwh=wild, filled=filled), fitted).high == without.high
    assert scale(replace(series, kwh=wild), fitted).value.max() == 4.0


def test_buildings_that_cannot_be_scaled_are_told_apart() -> None:
    series = daily_series(4, 20)
    series.kwh[1] = 3.0
    series.kwh[2, :200] = np.nan
    fitted = training_time(series)
    usable = usable_buildings(series, fitted, least_hours=100)
    assert usable.kept.tolist() == [True, False, False, True]
    assert usable.constant.tolist() == [False, True, False, False]
    assert usable.few_readings.tolist() == [False, False, True, False]
    with pytest.raises(DataError, match=r"more than one value in training time, got none in 1 buildings, such as b1"):
        scale(series, fitted)
    assert len(scale(series.take(usable.kept), fitted).value) == 2


def test_bad_settings_are_refused() -> None:
    series = daily_series(2, 3)
    with pytest.raises(InputError, match="at least a day"):
        training_time(series, 0.1)
    with pytest.raises(InputError, match="training time: expected shape"):
        scale(series, np.ones(5, dtype=bool))
    with pytest.raises(InputError, match="limit"):
        scale(series, np.ones(72, dtype=bool), limit=1.0)
    scaled = scale(series, np.ones(72, dtype=bool))
    with pytest.raises(InputError, match="at least 100 hours, got 72"):
        cut_windows(scaled, length=100)
    with pytest.raises(InputError, match="in a row"):
        cut_windows(scaled, within=np.arange(72) < 50)
    with pytest.raises(InputError, match="stride"):
        cut_windows(scaled, stride=0)


QUICK = (
    Level(),
    Seasonal((24, 48)),
    LinearForecast(),
    CnnForecast(TrainingOptions(epochs=1, batch_size=64)),
    Ecod(),
    Autoencoder(hidden=3, epochs=1),
    Gan(NetworkOptions((3,), 4), AdversarialOptions(1, 64), inversion=InversionOptions(max_iter=4)),
)


def garbage_on_test(series: BuildingSeries, division: Division) -> BuildingSeries:
    """Other readings, gaps and labels of test buildings after training time."""
    random = np.random.default_rng(9)
    later = ~division.scaled.fitted
    kwh, anomaly = series.kwh.copy(), series.anomaly.copy()  # type: ignore[union-attr]
    for m in division.split.test:
        kwh[m, later] = 1e4 * random.random(later.sum())
        kwh[m, np.flatnonzero(later)[100:103]] = np.nan
        anomaly[m, later] = random.random(later.sum()) < 0.05
    return replace(series, kwh=kwh, anomaly=anomaly, kind=None, kinds=())


def weights_of(detector: FittedDetector) -> dict[str, np.ndarray]:
    files = detector.state()[1]
    return {f"{file}.{key}": np.array(value) for file, arrays in files.items() for key, value in arrays.items()}


@pytest.mark.parametrize("detector", QUICK, ids=lambda detector: detector.name)
def test_test_data_cannot_change_a_model_a_scaler_or_a_threshold(detector: Detector) -> None:
    series = anomalous_series()
    before = divide(series, SMALL, seed=1)
    after = divide(garbage_on_test(series, before), SMALL, seed=1)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(before.split, part), getattr(after.split, part))
    np.testing.assert_array_equal(before.scaled.low, after.scaled.low)
    np.testing.assert_array_equal(before.scaled.high, after.scaled.high)
    np.testing.assert_array_equal(before.train.values, after.train.values)

    fitted = [detector.fit(division.train, seed=2) for division in (before, after)]
    for one, other in zip(*fitted, strict=True):
        mine, theirs = weights_of(one), weights_of(other)
        assert mine.keys() == theirs.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key], key)

    (first, _), (second, _) = (
        score_division(own, division, detector.name, 1) for own, division in zip(fitted, (before, after), strict=True)
    )
    assert first.variant == second.variant
    for level in ("window", "hour"):
        mine_scored, theirs_scored = first.of("validation", level), second.of("validation", level)
        np.testing.assert_array_equal(mine_scored.score, theirs_scored.score)
        np.testing.assert_array_equal(mine_scored.label, theirs_scored.label)
    for rule in (ThresholdRule(), ThresholdRule("percentile", 95)):
        assert thresholds_of(first, rule) == thresholds_of(second, rule)
    assert (
        len(first.test_window) != len(second.test_window) or (first.test_window.score != second.test_window.score).any()
    )


def test_parts_are_other_buildings_and_other_hours() -> None:
    division = small_division()
    fitted = division.scaled.fitted
    parts = {part: getattr(division, part) for part in ("train", "validation", "test")}
    for part, windows in parts.items():
        assert set(windows.building) == set(getattr(division.split, part))
        inside = fitted[windows.hours]
        assert inside.all() if part == "train" else not inside.any()
        for building, start, values in zip(windows.building, windows.start, windows.values, strict=True):
            np.testing.assert_array_equal(values, division.scaled.value[building, start : start + 24])
    owners = [m for windows in parts.values() for m in set(windows.building)]
    assert len(owners) == len(set(owners))
    assert not parts["train"].label.any()
    assert parts["validation"].label.any()
    assert parts["test"].label.any()


def test_without_labels_all_windows_of_training_buildings_are_normal() -> None:
    series = daily_series(10, 40)
    division = divide(series, SMALL)
    assert len(division.train) == len(division.split.train) * (1 + -(-(480 - 24) // 8))
    with pytest.raises(InputError, match="expected labels"):
        score_division(fit_candidates("level", division.train), division, "level", 0)


def test_buildings_that_cannot_be_scaled_are_left_out_and_counted() -> None:
    series = anomalous_series()
    series.kwh[3] = 1.0
    series.kwh[5, :400] = np.nan
    division = divide(series, SMALL)
    assert (division.constant, division.few_readings) == (1, 1)
    assert {"b3", "b5"}.isdisjoint(division.scaled.series.buildings)
    assert sum(map(len, (division.split.train, division.split.validation, division.split.test))) == 8


def test_short_gaps_are_filled_and_long_ones_split_windows(tmp_path: Path) -> None:
    series = anomalous_series()
    series.kwh[:, 700:702] = np.nan
    series.kwh[:, 800:810] = np.nan
    windows = divide(series, SMALL).test
    hours = windows.hours
    assert ((hours == 700).any(axis=1)).any()
    assert not np.isin(hours, np.arange(800, 810)).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 0.0}, r"division\.validation"),
        ({"training_share": 1.0}, r"division\.training_share"),
        ({"scoring_stride": 0}, r"division\.scoring_stride"),
        ({"longest_gap_h": -1}, r"division\.longest_gap_h"),
        ({"length": 24, "scoring_stride": 25}, "at most the 24 hours of a window"),
        ({"limit": 1.0}, r"division\.limit"),
    ],
)
def test_bad_divisions_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DivisionOptions(**settings)  # type: ignore[arg-type]


def test_training_time_without_a_normal_window_is_refused() -> None:
    series = anomalous_series()
    anomaly = series.anomaly.copy()  # type: ignore[union-attr]
    anomaly[:, :480:20] = True
    with pytest.raises(InputError, match="normal windows of training buildings, got 290 that are all"):
        divide(replace(series, anomaly=anomaly, kind=None, kinds=()), SMALL)


def test_too_few_buildings_are_refused() -> None:
    with pytest.raises(InputError, match="at least one building in each part"):
        divide(anomalous_series(n_buildings=2), SMALL)
