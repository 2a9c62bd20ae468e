"""Loads that are withdrawn and hours that are blanked: equal to data sets that never had them, nothing left."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.left_over import holds
from tests.proofs import proof_count
from tests.unlearning.lagged_hours import LOADS, made_up
from unlearn.data import Lags, dataset_from_frames
from unlearn.errors import InputError

LAGS = Lags((24, 48), means=(36,))


def tables(seed=0, n_hours=500):
    data = made_up(None, seed, n_hours)
    load = pd.DataFrame(data.load_mw, data.timestamps, list(LOADS))
    return load, {"temperature_c": pd.DataFrame(data.features[:, :, 4], data.timestamps, list(LOADS))}


@pytest.mark.parametrize("lags", [None, LAGS])
@pytest.mark.parametrize("gone", [["a"], ["c", "b"]])
def test_without_loads_is_the_data_set_built_without_them(gone, lags):
    load, weather = tables()
    kept = [name for name in LOADS if name not in gone]
    built = dataset_from_frames(load[kept], {v: own[kept] for v, own in weather.items()}, name="frames", lags=lags)
    nominal = {"a": 30.0, "b": 40.0, "c": 50.0}
    data = made_up(lags).scaled_to(list(nominal.values()))
    left = data.without_loads(gone)
    assert left.fingerprint == built.scaled_to([nominal[name] for name in kept]).fingerprint
    assert left.lags == built.lags
    assert left.history_mw.shape == (len(data.history_mw), len(kept))


def test_a_load_that_others_hold_is_refused():
    load, weather = tables()
    other = pd.DataFrame({name: np.roll(load["a"], 24) for name in LOADS}, load.index)
    data = dataset_from_frames(load.iloc[24:], {"other": other.iloc[24:], **{v: w[24:] for v, w in weather.items()}})
    with pytest.raises(InputError, match="other holds a of 24 hours before, and this feature stands beside loads"):
        data.without_loads(["a"])
    assert data.without_loads(["b"]).load_names == ("a", "c")
    own = pd.DataFrame({name: np.roll(load[name], 24) for name in LOADS}, load.index)
    data = dataset_from_frames(load.iloc[24:], {"own": own.iloc[24:]})
    assert [lag.hours for lag in data.without_loads(["a"]).lags] == [(24,)]


@settings(max_examples=proof_count(400), deadline=None)
@given(
    low=st.integers(0, 400),
    length=st.integers(1, 30),
    loads=st.none() | st.lists(st.sampled_from(LOADS), min_size=1, unique=True),
    lags=st.sampled_from([None, LAGS]),
    cut=st.integers(1, 29),
)
def test_blanked_hours_are_0_in_all_arrays(low, length, loads, lags, cut):
    data = made_up(lags, n_hours=500)
    low = min(low, len(data.timestamps) - length)
    rows, places = np.arange(low, low + length), [LOADS.index(name) for name in loads or LOADS]
    blank = data.blanked(rows, loads)
    load = data._load_with_history.copy()
    load[np.ix_(rows + len(data.history_mw), places)] = 0.0
    built = made_up(None)
    if lags:  # from the definition: a data set of these loads from the start
        built = dataclasses.replace(built, load_mw=load).with_lags(lags)
        np.testing.assert_array_equal(blank.features, built.features)
    np.testing.assert_array_equal(blank.load_mw, load[len(data.history_mw) :])
    np.testing.assert_array_equal(blank.features[:, :, :5], data.features[:, :, :5])
    assert not holds(blank, data.load_mw[np.ix_(rows, places)])
    in_parts = data.blanked(rows[:cut], loads)
    if len(rows) > cut:
        in_parts = in_parts.blanked(rows[cut:], loads)
    assert in_parts.fingerprint == blank.fingerprint
    assert blank.split is data.split


def test_lags_of_a_caller_are_blank_where_they_held_a_load():
    load, weather = tables()
    own = load.shift(24).iloc[24:]
    week = load.rolling(12).mean().shift(24).iloc[24:].bfill()
    data = dataset_from_frames(
        load.iloc[24:], {"yesterday": own, "half_day": week, **{v: w[24:] for v, w in weather.items()}},
        declared_lags={"half_day": range(24, 36)},
    )  # fmt: skip
    assert {lag.feature for lag in data.lags} == {"yesterday", "half_day"}
    rows = np.arange(100, 110)
    blank = data.blanked(rows, ["b"])
    assert not holds(blank, data.load_mw[rows, 1])
    assert (blank.features[rows + 24, 1, 4] == 0).all()
    assert (blank.features[124:145, 1, 5] == 0).all()
    untouched = np.ones(data.features.shape, dtype=bool)
    untouched[124:145, 1, 5] = untouched[rows + 24, 1, 4] = False
    np.testing.assert_array_equal(blank.features[untouched], data.features[untouched])
    assert blank.lags == data.lags


def test_what_is_not_there_is_refused():
    data = made_up(None)
    for refused, said in (
        (lambda: data.without_loads("a"), r"write \['a'\]"),
        (lambda: data.without_loads([]), "got none"),
        (lambda: data.without_loads(["x"]), "expected some of a, b, c; got x"),
        (lambda: data.without_loads(["a", "a"]), "got a more than once"),
        (lambda: data.without_loads(["a", "b", "c"]), "nothing would remain"),
        (lambda: data.blanked([]), "expected at least one"),
        (lambda: data.blanked([500]), "500"),
        (lambda: data.blanked([1], ["x"]), "expected some of a, b, c; got x"),
        (lambda: data.blanked([1], []), "got none"),
    ):
        with pytest.raises(InputError, match=said):
            refused()
