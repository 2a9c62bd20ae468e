"""Loads among the features of other hours are found, and nothing else is."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unlearn
from unlearn.data import dataset_from_frames
from unlearn.data.features import Lag, find_lags
from unlearn.errors import InputError


def series(seed: int, n_loads: int = 3) -> np.ndarray:
    """Loads with a day's shape, noise and a common weather."""
    random = np.random.default_rng(seed)
    hours = np.arange(900)
    shape = 2 + np.sin(2 * np.pi * hours / 24)[:, None] + 0.3 * np.sin(2 * np.pi * hours / 168)[:, None]
    return 50 * (shape + random.normal(0, 0.1, (900, n_loads)))


@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 24, 48, 168, -24]),
    st.floats(0.01, 1000.0),
    st.floats(-100.0, 100.0),
    st.sampled_from([None, 2]),
)
def test_a_shifted_load_is_found_whatever_its_unit(
    seed: int, hours: int, factor: float, constant: float, digits: int | None
) -> None:
    load = series(seed)
    weather = np.random.default_rng(seed + 1).normal(size=load.shape)
    lagged = np.roll(load, hours, axis=0)
    lagged = factor * (lagged if digits is None else lagged.round(digits)) + constant
    kept = slice(abs(hours), len(load) - abs(hours))
    features = np.stack([weather, lagged], axis=2)[kept]
    assert find_lags(features, load[kept], ("t", "before"), ("a", "b", "c")) == (Lag("before", None, (hours,)),)


def test_features_that_are_the_same_beside_several_loads_are_found_beside_each() -> None:
    load = series(0)
    past = np.roll(load, 24, axis=0)
    features = np.stack([past, past[:, [0, 0, 0]], np.roll(load, 48, axis=0)[:, [2, 2, 1]]], axis=2)[48:]
    expected = {Lag("own", None, (24,)), Lag("a's", "a", (24,)), Lag("mixed", "b", (48,)), Lag("mixed", "c", (48,))}
    assert set(find_lags(features, load[48:], ("own", "a's", "mixed"), ("a", "b", "c"))) == expected


def test_one_loads_past_beside_all_is_named() -> None:
    load = series(0)
    features = np.repeat(np.roll(load, 24, axis=0)[:, 1:2, None], 3, axis=1)[24:]
    assert find_lags(features, load[24:], ("x",), ("a", "b", "c")) == (Lag("x", "b", (24,)),)


def test_weather_the_load_itself_and_constants_are_no_lags() -> None:
    load = series(0)
    weather = load + np.random.default_rng(1).normal(0, 1.0, load.shape)
    features = np.stack([weather, load, np.ones_like(load)], axis=2)
    assert find_lags(features, load, ("weather", "load", "one"), ("a", "b", "c")) == ()
    data = unlearn.load_dataset("synthetic", n_hours=1400, n_loads=3)
    assert data.lags == ()


def test_declared_lags_stand_beside_found_ones_and_change_the_fingerprint() -> None:
    hours = pd.date_range("2019-01-01", periods=900, freq="h")
    load = pd.DataFrame(series(0), index=hours, columns=list("abc"))
    tables = {"before": load.shift(24).bfill(), "mean": load.rolling(24).mean().shift(1).bfill()}
    load, tables = load[24:], {name: table[24:] for name, table in tables.items()}
    plain = dataset_from_frames(load, tables)
    declared = dataset_from_frames(load, tables, declared_lags={"mean": range(1, 25)})
    assert plain.lags == (Lag("before", None, (24,)),)
    assert declared.lags == (Lag("mean", None, tuple(range(1, 25))), Lag("before", None, (24,)))
    assert plain.fingerprint != declared.fingerprint
    assert str(declared.lags[0]).endswith("1 hours before, 2 hours before, 3 hours before and 21 more")
    for wrong, message in (({"men": 24}, "got 'men'"), ({"mean": 0}, "other than 0"), ({"mean": []}, "got")):
        with pytest.raises(InputError, match=message):
            dataset_from_frames(load, tables, declared_lags=wrong)
