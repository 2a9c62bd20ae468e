"""Lags that are made from the loads: never later than the horizon, never invented, made again with other loads."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unlearn
from unlearn.data import Lags, LoadDataset, Split, dataset_from_frames, make_synthetic
from unlearn.data.features import Lag
from unlearn.errors import DataError, InputError

HOURS = 900


def made_up(lags: Lags | list[int] | None = None, n_hours: int = HOURS, n_loads: int = 2) -> LoadDataset:
    """Loads and a temperature that are noise about a day's shape."""
    random = np.random.default_rng(0)
    hours = pd.date_range("2019-01-01", periods=n_hours, freq="h")
    shape = 50 + 10 * np.sin(2 * np.pi * np.arange(n_hours) / 24)
    names = ["a", "b", "c"][:n_loads]
    load = pd.DataFrame(shape[:, None] + random.normal(0, 3, (n_hours, n_loads)), index=hours, columns=names)
    weather = pd.DataFrame(random.normal(10, 5, (n_hours, n_loads)), index=hours, columns=names)
    return dataset_from_frames(load, {"temperature_c": weather}, lags=lags)


@given(
    st.lists(st.integers(24, 200), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 100), max_size=2, unique=True),
)
def test_a_lag_is_the_load_of_that_hour_and_a_mean_ends_a_horizon_before(hours: list[int], means: list[int]) -> None:
    plain = made_up()
    data = plain.with_lags(Lags(tuple(hours), tuple(means)))
    first = max([*hours, *(24 + own - 1 for own in means)])
    frame = pd.DataFrame(plain.load_mw)
    expected = [frame.shift(own) for own in hours] + [frame.rolling(own).mean().shift(24) for own in means]
    for place, table in enumerate(expected):
        np.testing.assert_allclose(data.features[:, :, 5 + place], table.to_numpy()[first:], rtol=1e-12)
    assert data.timestamps.equals(plain.timestamps[first:])
    np.testing.assert_array_equal(data.load_mw, plain.load_mw[first:])
    np.testing.assert_array_equal(data.history_mw, plain.load_mw[:first])
    np.testing.assert_array_equal(data.features[:, :, :5], plain.features[first:])
    names = [f"load_lag_{own}h_mw" for own in hours] + [f"load_mean_{own}h_mw" for own in means]
    assert list(data.feature_names[5:]) == names == [lag.feature for lag in data.lags]
    assert data.split.describe()["rows"] == plain.split.spec.rows(HOURS - first).describe()["rows"]  # type: ignore[union-attr]


def test_no_forecast_sees_a_load_that_is_measured_after_it_was_made() -> None:
    data = made_up(Lags((24, 168), means=(24, 168)))
    noise = np.random.default_rng(1).uniform(0, 100, data.load_mw.shape)
    for row in (0, 23, 24, 300):
        other = data.load_mw.copy()
        other[row:] = noise[row:]
        changed = (data.with_loads(other).features != data.features).any(axis=(1, 2))
        assert not changed[: row + 24].any()
        assert changed[row + 24 : row + 200].all()


def test_plain_hours_are_lags_and_both_ways_lead_to_the_same_data() -> None:
    assert made_up([24, 168]).fingerprint == made_up(Lags()).fingerprint == made_up().with_lags([24, 168]).fingerprint
    source = {"n_hours": 1000, "n_loads": 2}
    loaded = unlearn.load_dataset("synthetic", lags=[24], nominal_mw=[10.0, 20.0], **source)
    by_hand = make_synthetic(**source).with_lags([24]).scaled_to([10.0, 20.0])
    assert loaded.fingerprint == by_hand.fingerprint


def test_lags_one_after_the_other_are_lags_at_once() -> None:
    assert made_up([24]).with_lags([168]).fingerprint == made_up([24, 168]).fingerprint
    assert made_up([168]).with_lags([24]).load_mw.shape == made_up([24, 168]).load_mw.shape


def test_scaled_loads_have_scaled_lags() -> None:
    data = made_up(Lags((24,), means=(48,)))
    scaled = data.scaled_to([200.0, 20.0])
    factor = scaled.load_mw[0] / data.load_mw[0]
    assert not np.isclose(factor, 1).any()
    np.testing.assert_allclose(scaled.features[:, :, 5:], data.features[:, :, 5:] * factor[:, None], rtol=1e-12)
    np.testing.assert_allclose(scaled.history_mw, data.history_mw * factor, rtol=1e-12)
    np.testing.assert_array_equal(scaled.features[:, :, :5], data.features[:, :, :5])


def test_other_loads_make_other_lags_and_a_stale_lag_is_refused() -> None:
    data = made_up([24])
    load, history = data.load_mw + 5, data.history_mw + 7
    other = data.with_loads(load, history)
    np.testing.assert_array_equal(other.features[:, :, 5], np.concatenate([history, load])[: len(load)])
    assert other.with_loads(data.load_mw, data.history_mw).fingerprint == data.fingerprint
    with pytest.raises(DataError, match=r"load_lag_24h_mw: expected the loads .* at row 24, .*with_loads"):
        replace(data, load_mw=load)
    with pytest.raises(DataError, match="expected loads of 24 hours before the first row, got 3"):
        replace(data, history_mw=data.history_mw[-3:])


def test_every_load_of_the_history_counts_in_the_fingerprint() -> None:
    data = made_up(Lags((24,), means=(24,)))
    history = data.history_mw.copy()
    history[0, 1] += 1e-3
    other = data.with_loads(data.load_mw, history)
    assert other.fingerprint != data.fingerprint
    declared = replace(data, declared_lags=tuple(replace(lag, made=False) for lag in data.declared_lags))
    assert declared.fingerprint != data.fingerprint
    for bad, message in ((-1.0, "a load of at least 0"), (np.nan, "a finite number")):
        history[3, 0] = bad
        with pytest.raises(DataError, match=rf"history: expected {message}, got .* column a at row 3"):
            replace(data, history_mw=history)


def test_a_split_by_hand_keeps_its_hours() -> None:
    plain = made_up()
    rows = np.arange(HOURS)
    split = Split(rows[100:], rows[50:100], rows[:50], rows[100:150], rows[150:])
    given = replace(plain, split=split)
    data = given.with_lags([30])
    for part in ("train", "validation", "test", "core", "sensitive"):
        before = given.timestamps[getattr(split, part)]
        expected = before[before >= data.timestamps[0]]
        assert data.timestamps[getattr(data.split, part)].equals(expected), part
    with pytest.raises(InputError, match="no test row would be left"):
        given.with_lags([60])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Lags((12,)), "at least 24, .* does not know later loads.*got 12"),
        (lambda: Lags((24, 24)), "each once"),
        (lambda: Lags((), ()), "at least one"),
        (lambda: Lags((24.5,)), "24.5"),  # type: ignore[arg-type]
        (lambda: Lags(24), "such as"),  # type: ignore[arg-type]
        (lambda: Lags((24,), means=(0,)), "means"),
        (lambda: Lags((24,), horizon=0), "horizon"),
        (lambda: made_up([24]).with_lags([24]), "other names than the lags', got load_lag_24h_mw"),
        (lambda: made_up([24_000]), "more hours than the longest lag, 24000, got 900"),
        (lambda: made_up([896]), "too few"),
    ],
)
def test_lags_that_cannot_be_are_refused(made: object, message: str) -> None:
    with pytest.raises((InputError, DataError), match=message):
        made()  # type: ignore[operator]


def test_an_hour_ahead_may_know_the_hour_before() -> None:
    data = made_up(Lags((1,), means=(3,), horizon=1))
    assert [lag.hours for lag in data.lags] == [(1,), (1, 2, 3)]
    assert all(lag.made for lag in data.lags)
    assert Lag("x", None, (24,)) != Lag("x", None, (24,), made=True)


def test_forecasters_take_lags_and_forecast_better() -> None:
    """Loads that wander have little to do with calendar and weather; yesterday tells more."""
    random = np.random.default_rng(2)
    hours = pd.date_range("2019-01-01", periods=2000, freq="h")
    wander = 5 * np.cumsum(random.normal(0, 0.1, (2000, 2)), axis=0)
    load = pd.DataFrame(50 + wander + random.normal(0, 0.1, (2000, 2)), index=hours, columns=["a", "b"])
    plain = dataset_from_frames(load, {"temperature_c": load * 0 + random.normal(size=(2000, 1))})
    data = plain.with_lags(Lags((24, 168), means=(24,)))

    def error(own: LoadDataset) -> float:
        test = own.split.test
        return float(np.abs(unlearn.fit_linear(own).forecast(own.features[test]) - own.load_pu[test]).mean())

    assert error(data) < 0.5 * error(plain)
    model = unlearn.fit_linear(data)
    assert [name for name in model.column_names() if "load_" in name] == [
        f"{load}:{feature}" for load in "ab" for feature in data.feature_names[5:]
    ]
    assert model.card.lags[0] == {"feature": "load_lag_24h_mw", "load": None, "hours": (24,), "made": True}
    network = unlearn.fit_network(data, "cnn", unlearn.TrainingOptions(epochs=1))
    assert np.isfinite(network.forecast(data.features[:5])).all()


def test_scalers_see_lags_of_training_rows_alone() -> None:
    data = made_up([24])
    load = data.load_mw.copy()
    load[data.split.train[-1] - 23 :] += 40.0
    one, other = unlearn.fit_linear(data), unlearn.fit_linear(data.with_loads(load))
    np.testing.assert_array_equal(one.scaler.mean, other.scaler.mean)
