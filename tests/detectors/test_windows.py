from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.builders import daily_series
from unlearn.detectors.windows import QUANTILES, cut_windows, scale, training_time, usable_buildings
from unlearn.errors import DataError, InputError
from unlearn.households.buildings import BuildingSeries


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
