from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unlearn.data import (
    FittedConstant,
    SplitSpec,
    StandardScaler,
    calendar_features,
    dataset_from_frames,
    distinct_columns,
    make_synthetic,
    remain_rows,
)
from unlearn.errors import DataError, InputError

HOURS = pd.date_range("2022-05-02", periods=50, freq="h")


@pytest.fixture
def load():
    return pd.DataFrame({"a": np.arange(50.0), "b": np.arange(50.0)[::-1] + 1}, index=HOURS)


@pytest.fixture
def weather(load):
    return pd.DataFrame({"a": np.sin(np.arange(50)), "b": np.cos(np.arange(50))}, index=HOURS)


def test_frames_become_a_data_set(load, weather):
    constant = FittedConstant("mine", "train", "a choice of my own")
    dataset = dataset_from_frames(load, {"wind_m_s": weather[["b", "a"]]}, fitted=[constant])
    np.testing.assert_array_equal(dataset.features[:, :, 4], weather)
    assert dataset.fitted == (constant,)
    assert dataset.n_loads == 2
    np.testing.assert_array_equal(dataset.load_pu, load / 100)


def test_fingerprint_changes_with_anything(load, weather):
    dataset = dataset_from_frames(load, {"wind_m_s": weather})
    others = [
        dataset_from_frames(load + 1e-9, {"wind_m_s": weather}),
        dataset_from_frames(load, {"wind_m_s": weather + 1e-9}),
        dataset_from_frames(load, {"wind_m_s": weather}, split=SplitSpec(random_state=1)),
        dataset_from_frames(load, {"gust_m_s": weather}),
        replace(dataset, base_mva=10.0),
    ]
    assert len({dataset.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_frames_that_do_not_belong_together(load, weather):
    with pytest.raises(DataError, match="expected a DatetimeIndex of hours, got RangeIndex"):
        dataset_from_frames(load.reset_index(drop=True), {})
    with pytest.raises(DataError, match="frames rain: expected the hours of the load table"):
        dataset_from_frames(load, {"rain": weather.iloc[1:]})
    with pytest.raises(DataError, match="frames rain: expected a column per load, missing b"):
        dataset_from_frames(load, {"rain": weather.assign(c=0).drop(columns="b")})


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.nan, r"frames load: expected a finite number, got nan in column b at row 7 \(2022-05-02 07:00"),
        (-1.0, r"frames load: expected a load of at least 0, got -1.0 in column b at row 7"),
    ],
)
def test_unusable_load(load, value, match):
    load.iloc[7, 1] = value
    with pytest.raises(DataError, match=match):
        dataset_from_frames(load, {})


def test_unusable_weather(load, weather):
    weather.iloc[3, 0] = np.inf
    with pytest.raises(DataError, match=r"frames rain: expected a finite number, got inf in column a at row 3"):
        dataset_from_frames(load, {"rain": weather})


@pytest.mark.parametrize(
    ("order", "match"),
    [
        ([*range(50), 49], "at row 50 after .*: it is a duplicate"),
        ([1, 0, *range(2, 50)], "at row 1 after .*: it is unsorted"),
        ([*range(9), *range(10, 50)], r"2022-05-02 10:00:00 at row 9 after .*: it follows a gap"),
    ],
)
def test_hours_must_follow_each_other(load, order, match):
    with pytest.raises(DataError, match=match):
        dataset_from_frames(load.iloc[order], {})


def test_a_row_without_a_time(load):
    load.index = load.index.where(np.arange(50) != 4)
    with pytest.raises(DataError, match="expected a time in every row, got none at row 4"):
        dataset_from_frames(load, {})


def test_scaled_to(load):
    dataset = dataset_from_frames(load, {})
    train = dataset.scaled_to([10.0, 20.0])
    np.testing.assert_allclose(train.load_mw[dataset.split.train].max(0), [10, 20], rtol=1e-14)
    everything = dataset.scaled_to([10.0, 20.0], over="all")
    np.testing.assert_allclose(everything.load_mw.max(0), [10, 20], rtol=1e-14)
    with pytest.raises(InputError, match=r"nominal_mw: expected numbers above 0, got 0\.0 for a"):
        dataset.scaled_to([0.0, 1.0])
    with pytest.raises(InputError, match="over"):
        dataset.scaled_to([1.0, 1.0], over="test")
    with pytest.raises(InputError, match=r"one nominal load for each of the 2 loads of frames \(a, b\), got 1"):
        dataset.scaled_to([1.0])


@given(
    st.integers(0, 2000),
    st.floats(0.1, 0.89),
    st.floats(0, 0.5),
    st.floats(0.1, 0.9),
    st.sampled_from(["first", "random"]),
)
def test_parts_of_a_split_are_disjoint_ordered_and_complete(n_hours, train, validation, core, choice):
    try:
        split = SplitSpec(train, validation, core, choice).rows(n_hours)
    except InputError:
        return
    parts = np.concatenate([split.train, split.validation, split.test])
    np.testing.assert_array_equal(parts, np.arange(n_hours))
    np.testing.assert_array_equal(np.union1d(split.core, split.sensitive), split.train)
    assert np.intersect1d(split.core, split.sensitive).size == 0
    assert (np.diff(split.core) > 0).all()
    assert min(map(len, (split.core, split.sensitive, split.test))) >= 1
    if choice == "first":
        assert split.core[-1] < split.sensitive[0]


def test_published_numbers():
    published = SplitSpec(train=0.8, validation=0.0).rows(8760)
    assert [len(rows) for rows in (published.train, published.test, published.sensitive)] == [
        7008,
        1752,
        4906,
    ]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"train": 1.0}, "split.train"),
        ({"validation": -0.1}, "split.validation"),
        ({"core": 0.0}, "split.core"),
        ({"core_choice": "last"}, "split.core_choice: expected one of first, random; got 'last'"),
        ({"train": 0.7, "validation": 0.3}, "leaves no test rows"),
    ],
)
def test_unusable_split(options, match):
    with pytest.raises(InputError, match=match):
        SplitSpec(**options)


@given(st.integers(1, 300), st.randoms(use_true_random=False))
def test_remain_rows_are_the_others(n_train, chooser):
    rows = np.array(chooser.sample(range(n_train), chooser.randint(0, n_train)), dtype=np.int64)
    remain = remain_rows(rows, n_train)
    np.testing.assert_array_equal(np.sort(np.concatenate([rows, remain])), np.arange(n_train))


def test_calendar():
    calendar = calendar_features(HOURS)
    # 2 May 2022 is a Monday.
    np.testing.assert_allclose(calendar[0], [0, 1, 0, 1], atol=1e-15)
    np.testing.assert_allclose(calendar[30, 2:], [1, 0], atol=1e-15)
    np.testing.assert_allclose(calendar[30, :2], [np.sin(2 * np.pi / 7), np.cos(2 * np.pi / 7)])


def test_distinct_columns_leave_out_copies_and_constants():
    features = np.random.default_rng(0).normal(size=(20, 3, 2))
    features[:, 2, 0] = features[:, 0, 0]
    features[:, 1, 1] = 5.0
    assert distinct_columns(features) == ((0, 0), (0, 1), (1, 0), (2, 1))


@given(st.floats(-1e3, 1e3).filter(lambda factor: abs(factor) > 1e-3), st.floats(-1e3, 1e3))
def test_distinct_columns_leave_out_another_unit_of_a_column(factor, constant):
    features = np.random.default_rng(0).normal(size=(50, 3, 2))
    features[:, 1, 0] = factor * features[:, 0, 1] + constant
    features[:, 2, 0] = features[:, 0, 0] + 1e-5 * features[:, 2, 1]  # alike, but no copy
    assert distinct_columns(features) == ((0, 0), (0, 1), (1, 1), (2, 0), (2, 1))


@given(arrays(np.float64, st.tuples(st.integers(2, 20), st.integers(1, 4)), elements=st.floats(-1e3, 1e3)))
def test_scaler_round_trip(values):
    scaler = StandardScaler.fit(values)
    tensor = torch.from_numpy(values)
    np.testing.assert_allclose(scaler.inverse(scaler(tensor)).numpy(), values, atol=1e-9)
    assert np.isfinite(scaler(tensor).numpy()).all()


def test_scaler_leaves_the_calendar_as_it_is():
    dataset = make_synthetic(2, 100)
    train = dataset.features[dataset.split.train]
    scaler = StandardScaler.fit(train, skip=4)
    scaled = scaler(torch.from_numpy(train)).numpy()
    np.testing.assert_array_equal(scaled[..., :4], train[..., :4])
    np.testing.assert_allclose(scaled[..., 4:].mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(scaled[..., 4:].std(axis=0), 1, atol=1e-10)
    assert not list(scaler.parameters())


def test_scaler_refuses():
    with pytest.raises(InputError, match="mean and std of one shape"):
        StandardScaler(torch.zeros(2), torch.ones(3))
    with pytest.raises(InputError, match="values to scale"):
        StandardScaler.fit(np.array([[np.nan], [1.0]]))


def test_hours_with_a_time_zone_are_refused_with_a_remedy() -> None:
    hours = pd.date_range("2024-01-01", periods=48, freq="h", tz="Europe/Rome")
    loads = pd.DataFrame(np.ones((48, 2)), hours, ["a", "b"])
    with pytest.raises(DataError, match=r"without a time zone, got Europe/Rome.*tz_localize"):
        dataset_from_frames(loads, {})


@pytest.mark.parametrize(
    ("loads", "weather", "options", "said"),
    [
        (lambda t: t["a"], {}, {}, "a DataFrame of loads"),
        (lambda t: t, [1], {}, "a mapping of weather variables"),
        (lambda t: t, {"wind": [1.0] * 48}, {}, r"wind \(list\)"),
        (lambda t: t, {}, {"split": "fair"}, "a SplitSpec"),
        (lambda t: t.set_axis(["a", "a"], axis=1), {}, {}, "a different name for each column, got 'a' twice"),
    ],
)
def test_tables_of_the_wrong_kind_are_named(loads, weather, options, said) -> None:
    table = pd.DataFrame(np.ones((48, 2)), pd.date_range("2024-01-01", periods=48, freq="h"), ["a", "b"])
    with pytest.raises(DataError, match=said):
        dataset_from_frames(loads(table), weather, **options)
