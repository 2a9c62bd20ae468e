"""Who is seen when; above all that nothing of test buildings after training time reaches anything but their scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.detectors.builders import SMALL, anomalous_series, daily_series, small_division
from unlearn.detectors.base import Detector, FittedDetector, fit_candidates
from unlearn.detectors.baselines import CnnForecast, Ecod, Level, LinearForecast, Seasonal
from unlearn.detectors.metrics import ThresholdRule
from unlearn.detectors.options import AdversarialOptions, Autoencoder, Gan, InversionOptions, NetworkOptions
from unlearn.detectors.windows import Division, DivisionOptions, divide
from unlearn.errors import InputError
from unlearn.forecasters.specs import TrainingOptions
from unlearn.households.buildings import BuildingSeries
from unlearn.studies.detection.archive import score_division
from unlearn.studies.detection.measure import thresholds_of

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
def test_bad_settings_are_refused(settings: dict[str, float], message: str) -> None:
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
