"""Forgotten hours that are lags of others: imputed or dropped, nothing of them is left; ignored, they are found."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unlearn
from tests.unlearning.lagged_hours import LOADS, made_up
from unlearn.data import Lags, LoadDataset, Split, dataset_from_frames
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.unlearning import Tuning
from unlearn.unlearning.lagged import LAGGED, imputed
from unlearn.unlearning.steps import relative_distance

QUICK = unlearn.TrainingOptions(epochs=2)
#: Lags of a property test: plain ones, and rolling means.
SOME_LAGS = st.builds(
    Lags,
    st.lists(st.integers(24, 60), min_size=1, max_size=2, unique=True),
    st.lists(st.integers(4, 12), max_size=1),  # of more hours than there are plain lags, which they would repeat
)
#: What is forgotten: rows of the data set, training and others.
SOME_ROWS = st.lists(st.integers(0, 399), min_size=1, max_size=40, unique=True).filter(lambda rows: min(rows) < 200)


def by_the_rule(data: LoadDataset, gone: dict[str, list[int]]) -> LoadDataset:
    """The data set in which forgotten loads are imputed: written from the rule's words, row by row."""
    frame = pd.DataFrame(data.load_mw, data.timestamps, list(LOADS))
    for name, rows in gone.items():
        known = frame[name].iloc[np.setdiff1d(data.split.train, rows)]
        for row in rows:
            when = data.timestamps[row]
            hour = known[known.index.hour == when.hour]
            week = hour[hour.index.day_of_week == when.day_of_week]
            best = next((own for own in (week, hour, known) if len(own)), None)
            frame.iloc[row, LOADS.index(name)] = 0.0 if best is None else best.mean()
    history = data.timestamps[0] - pd.to_timedelta(np.arange(len(data.history_mw), 0, -1), unit="h")
    whole = pd.concat([pd.DataFrame(data.history_mw, history, list(LOADS)), frame])
    features = data.features.copy()
    for lag in data.declared_lags:
        place = data.feature_names.index(lag.feature)
        features[:, :, place] = whole.rolling(len(lag.hours)).mean().shift(min(lag.hours)).loc[data.timestamps]
    return replace(data, load_mw=frame.to_numpy(), features=features)


def remaining(data: LoadDataset, gone: np.ndarray | list[int] | range) -> LoadDataset:
    """The data set in which some rows are no training rows."""
    train = np.setdiff1d(data.split.train, gone)
    return replace(data, split=Split(train, data.split.validation, data.split.test, train[:1], train[1:]))


def holders(data: LoadDataset, rows: list[int]) -> np.ndarray:
    """Training rows of which some row is a lag."""
    hours = {k for lag in data.lags for k in lag.hours}
    return np.array([r for r in data.split.train if any(r - k in rows for k in hours)], dtype=np.int64)


def least_squares(data: LoadDataset, rows: np.ndarray, load: int, at: LoadDataset) -> np.ndarray:
    """Forecasts of a load for all hours, by least squares on some rows, in p.u.; numpy alone."""
    flat = data.features.reshape(len(data.timestamps), -1)
    _, first = np.unique(flat[rows].round(9), axis=1, return_index=True)
    first = [own for own in first if np.ptp(flat[rows, own]) > 0]
    mean, std = flat[rows][:, first].mean(axis=0), flat[rows][:, first].std(axis=0)

    def design(own: LoadDataset) -> np.ndarray:
        other = own.features.reshape(len(own.timestamps), -1)[:, first]
        return np.column_stack([(other - mean) / std, np.ones(len(other))])

    solved, *_ = np.linalg.lstsq(design(data)[rows], data.load_pu[rows, load], rcond=None)
    return design(at) @ solved


def close(one: np.ndarray, two: np.ndarray, rtol: float = 1e-9) -> bool:
    return bool(np.linalg.norm(one - two) <= rtol * np.linalg.norm(two))


def same(one: Forecaster, two: Forecaster, rtol: float = 0.0) -> bool:
    """Whether head, columns, scaler, weights and sums of two models are the same."""
    tensors = [dict(own.state_dict()) | own.statistics.to_tensors() for own in (one, two)]  # type: ignore[union-attr]
    assert tensors[0].keys() == tensors[1].keys()
    return one.card.settings == two.card.settings and all(
        value.shape == tensors[1][name].shape
        and torch.allclose(value.double(), tensors[1][name].double(), rtol=rtol, atol=rtol)
        for name, value in tensors[0].items()
    )


@given(SOME_LAGS, SOME_ROWS, st.integers(0, 10**6))
def test_imputed_it_is_the_fit_to_the_data_by_the_rule(lags: Lags, rows: list[int], seed: int) -> None:
    data = made_up(lags, seed)
    done = unlearn.forget(unlearn.fit_linear(data), data, rows, lagged="impute", compare_retrained=True)
    expected = by_the_rule(data, dict.fromkeys(LOADS, rows))
    assert done.dataset is not None
    np.testing.assert_allclose(done.dataset.load_mw, expected.load_mw, rtol=1e-12)
    np.testing.assert_allclose(done.dataset.features, expected.features, rtol=1e-9)
    model = unlearn.fit_linear(remaining(expected, rows))
    assert relative_distance(done.model.theta, model.theta) <= 1e-9
    assert done.complete
    assert done.distance_to_retrained <= 1e-9  # another solver
    assert done.unlearn_rows.tolist() == sorted(set(rows) & set(data.split.train.tolist()))
    done.model.require_match(done.dataset)


@given(SOME_LAGS, SOME_ROWS, st.sampled_from([["a"], ["b", "c"]]), st.sampled_from(LAGGED))
def test_of_single_loads_each_output_is_its_own_least_squares(
    lags: Lags, rows: list[int], loads: list[str], lagged: str
) -> None:
    data = made_up(lags)
    done = unlearn.forget(unlearn.fit_linear(data), data, rows, loads=loads, lagged=lagged)
    assert done.complete
    now = by_the_rule(data, dict.fromkeys(loads, rows)) if lagged == "impute" else data
    held = holders(data, rows) if lagged == "drop" else np.zeros(0, dtype=np.int64)
    assert done.lagged_rows.tolist() == held.tolist()
    forecast = done.model.forecast(now.features)
    for place, name in enumerate(LOADS):
        kept = np.setdiff1d(data.split.train, held)
        kept = np.setdiff1d(kept, rows) if name in loads else kept
        assert close(forecast[:, place], least_squares(now, kept, place, now)), name


@given(SOME_LAGS, SOME_ROWS, st.integers(0, 10**6))
def test_dropped_it_is_least_squares_without_what_is_forgotten_and_what_holds_it(
    lags: Lags, rows: list[int], seed: int
) -> None:
    data = made_up(lags, seed)
    done = unlearn.forget(unlearn.fit_linear(data), data, rows, lagged="drop")
    held = np.setdiff1d(holders(data, rows), rows)
    assert done.lagged_rows.tolist() == held.tolist()
    kept = np.setdiff1d(data.split.train, [*rows, *held])
    forecast = done.model.forecast(data.features)
    for place in range(3):
        assert close(forecast[:, place], least_squares(data, kept, place, data))
    assert relative_distance(done.model.theta, unlearn.fit_linear(remaining(data, [*rows, *held])).theta) <= 1e-9
    assert done.complete
    assert done.dataset is data


@given(SOME_LAGS, SOME_ROWS, SOME_ROWS, st.sampled_from(LAGGED))
def test_one_after_the_other_is_both_at_once(lags: Lags, one: list[int], two: list[int], lagged: str) -> None:
    two = [row for row in two if row not in one] or [max(one) + 1]
    data = made_up(lags)
    if min(two) > 200:
        two.append(next(row for row in range(200) if row not in one and row not in two))
    model = unlearn.fit_linear(data)
    joint = unlearn.forget(model, data, [*one, *two], lagged=lagged)
    first = unlearn.forget(model, data, one, lagged=lagged)
    assert first.dataset is not None
    second = unlearn.forget(first.model, first.dataset, two, lagged=lagged)
    assert second.complete
    assert same(second.model, joint.model, 1e-8)
    assert second.dataset is not None
    assert joint.dataset is not None
    assert second.dataset.fingerprint == joint.dataset.fingerprint == second.model.card.fingerprint


@pytest.mark.parametrize("loads", [None, ["b"]], ids=["whole rows", "one load"])
@pytest.mark.parametrize("lagged", [None, *LAGGED])
def test_what_was_measured_in_forgotten_hours_changes_nothing_unless_lags_are_ignored(
    lagged: str | None, loads: list[str] | None
) -> None:
    rows = np.arange(60, 72)
    data = made_up(Lags((24,), means=(6,)))
    columns = [LOADS.index(name) for name in loads or LOADS]
    load = data.load_mw.copy()
    load[np.ix_(rows, columns)] *= np.random.default_rng(1).uniform(0.2, 3.0, (len(rows), len(columns)))
    one, two = (
        unlearn.forget(unlearn.fit_linear(own), own, rows, loads=loads, lagged=lagged)
        for own in (data, data.with_loads(load))
    )
    if lagged is None:
        assert not one.complete
        assert relative_distance(one.model.theta, two.model.theta) > 1e-3
        (said,) = [own for own in one.limitations if "load_lag_24h_mw" in own]
        assert 'lagged="drop"' in said
        assert 'lagged="impute"' in said
        return
    assert one.complete
    assert two.complete
    assert same(one.model, two.model, 1e-12)
    assert one.dataset is not None
    assert two.dataset is not None
    if lagged == "impute":
        assert one.dataset.fingerprint == two.dataset.fingerprint


def test_the_rule_of_imputing() -> None:
    hours = pd.date_range("2024-01-01", periods=400, freq="h")
    load = np.arange(400.0)[:, None] @ np.ones((1, 2))
    train, gone = np.arange(300), np.zeros((400, 2), dtype=bool)
    gone[[10, 399], 0] = True
    found = imputed(load, hours, train, gone)
    assert found[10, 0] == 178.0  # the same hour a week later
    assert found[399, 0] == (63 + 231) / 2  # a test hour, of those weeks that are training hours
    assert (found[~gone] == load[~gone]).all()
    gone[[178], 0] = True  # then the same hour of other days
    found = imputed(load, hours, train, gone)
    assert found[10, 0] == np.mean([r for r in range(10, 300, 24) if r not in (10, 178)])
    gone[10:300:24, 0] = True  # then all hours
    assert imputed(load, hours, train, gone)[10, 0] == load[train[~gone[train, 0]], 0].mean()
    gone[:, 1] = True  # then none
    assert (imputed(load, hours, train, gone)[:, 1] == 0).all()


def test_a_load_that_leaves_is_0_and_its_history_is_told_of() -> None:
    data = made_up([24])
    model = unlearn.fit_linear(data)
    done = unlearn.forget(model, data, range(len(data.timestamps)), loads=["b"], lagged="impute")
    assert done.complete
    assert done.dataset is not None
    assert not done.dataset.load_mw[:, 1].any()
    assert not done.model.forecast(done.dataset.features)[:, 1].any()
    assert any("24 hours before the first row are no rows" in said for said in done.limitations)


def test_what_would_drop_everything_is_refused() -> None:
    data = made_up([24])
    every_other_day = [row for row in data.split.train if row // 24 % 2 == 0]
    with pytest.raises(InputError, match=r'got \d+ of 333 that do, so that nothing would remain with "drop"'):
        unlearn.forget(unlearn.fit_linear(data), data, every_other_day, lagged="drop")


def test_what_was_fitted_anew_is_not_said_to_be_kept() -> None:
    data = made_up([24]).scaled_to([100.0, 90.0, 80.0])
    done = unlearn.forget(unlearn.fit_linear(data), data, range(30, 50), lagged="drop")
    assert any("load scale is kept" in said for said in done.limitations)
    assert not any("scaler is kept" in said or "columns is kept" in said for said in done.limitations)
    assert any("20 other training rows" in said for said in done.limitations)
    assert "rows that held them: 20" in repr(done)
    assert 0 < done.distance_to_original < 1
    event = done.model.card.forgotten[-1]
    assert event["lagged"] == "drop"
    assert event["lagged_rows"] == [[data.timestamps[54].isoformat(), data.timestamps[73].isoformat()]]


def test_where_nothing_holds_them_nothing_else_changes() -> None:
    data = made_up([24])
    rows = data.split.train[-5:]  # held by validation rows alone
    model = unlearn.fit_linear(data)
    plain = unlearn.forget(model, data, rows)
    assert plain.complete
    for lagged in LAGGED:
        done = unlearn.forget(model, data, rows, lagged=lagged)
        assert done.complete
        assert not len(done.lagged_rows)
        assert close(done.model.forecast(data.features), plain.model.forecast(data.features))
        assert done.distance_to_original == pytest.approx(plain.distance_to_original, rel=0.1)


def test_a_day_that_went_with_another_one_can_still_be_asked_for() -> None:
    data = made_up([24])
    model = unlearn.fit_linear(data)
    one, two = list(range(24, 48)), list(range(48, 72))
    first = unlearn.forget(model, data, one, lagged="drop")
    assert first.lagged_rows.tolist() == two
    with pytest.raises(InputError, match="all 24 were forgotten before; they stand in other rows alone, as lags"):
        unlearn.forget(first.model, data, two)
    second = unlearn.forget(first.model, data, two, lagged="drop")
    assert second.lagged_rows.tolist() == list(range(72, 96))
    assert same(second.model, unlearn.forget(model, data, [*one, *two], lagged="drop").model)
    assert unlearn.forget(first.model, data, two, lagged="impute").complete
    for lagged in LAGGED:
        done = unlearn.forget(model, data, one, lagged=lagged)
        assert done.dataset is not None
        with pytest.raises(InputError, match="all 24 were forgotten before; there is nothing of them left"):
            unlearn.forget(done.model, done.dataset, one, lagged=lagged)


def test_a_forecaster_whose_scaler_is_kept_has_not_forgotten() -> None:
    data = made_up([24])
    model = unlearn.fit_linear(data)
    model.design_fitted_anew = False  # type: ignore[misc]
    for lagged in LAGGED:
        done = unlearn.forget(model, data, range(30, 50), lagged=lagged)
        assert not done.complete
        assert any("These trained what is frozen" in said for said in done.limitations)


def test_a_model_on_disk_knows_what_was_imputed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = made_up(Lags((24,), means=(3,)))
    model = unlearn.fit_linear(data)
    first = unlearn.forget(model, data, range(30, 40), loads=["a"], lagged="impute")
    kept = unlearn.load_forecaster(unlearn.save_forecaster(first.model, tmp_path))
    assert first.dataset is not None
    second = unlearn.forget(kept, first.dataset, range(198, 208), loads=["a"], lagged="impute")
    joint = unlearn.forget(model, data, [*range(30, 40), *range(198, 208)], loads=["a"], lagged="impute")
    assert same(second.model, joint.model, 1e-12)


def test_after_imputing_one_goes_on_imputing() -> None:
    data = made_up([24])
    first = unlearn.forget(unlearn.fit_linear(data), data, range(30, 40), lagged="impute")
    assert first.dataset is not None
    with pytest.raises(InputError, match='expected "impute" from now on, got "drop"'):
        unlearn.forget(first.model, first.dataset, [60], lagged="drop")
    ignored = unlearn.forget(first.model, first.dataset, data.split.train[-3:])
    assert not ignored.complete
    assert any("were imputed by means of those that remained then" in said for said in ignored.limitations)


def test_lags_of_ones_own_can_be_dropped_and_not_imputed() -> None:
    plain = made_up(None)
    load = pd.DataFrame(plain.load_mw, plain.timestamps, list(LOADS))
    tables = {"yesterday": load.shift(24), "mean_of_a_day": load.rolling(24).mean().shift(24)}
    tables = {name: table.iloc[47:] for name, table in tables.items()}
    data = dataset_from_frames(load.iloc[47:], tables, declared_lags={"mean_of_a_day": range(24, 48)})
    model, rows = unlearn.fit_linear(data), [50, 51]
    with pytest.raises(InputError, match=r'for "impute", got mean_of_a_day holds loads .* Take "drop"'):
        unlearn.forget(model, data, rows, lagged="impute")
    done = unlearn.forget(model, data, rows, lagged="drop")
    assert done.complete
    assert done.lagged_rows.tolist() == list(range(74, 99))


def test_a_network_forgets_what_its_frozen_part_never_held() -> None:
    data = made_up([24], n_hours=900)
    spec = unlearn.SplitSpec(core_choice="first")
    data = replace(data, split=spec.rows(len(data.timestamps)))
    model = unlearn.fit_network(data, "cnn", QUICK)
    core = len(data.split.core)
    for lagged in LAGGED:
        late = unlearn.forget(model, data, range(core + 10, core + 30), lagged=lagged)
        assert late.complete
        assert late.dataset is not None
        design = model.design_of(late.dataset, late.dataset.split.sensitive)
        kept = ~late.model.forgotten.all(dim=1)
        target = torch.from_numpy(late.dataset.load_pu[late.dataset.split.sensitive])
        expected = torch.linalg.lstsq(design[kept], target[kept], driver="gelsd").solution.T
        assert relative_distance(late.model.theta, expected.reshape(-1)) <= 1e-6  # collinear features
        early = unlearn.forget(model, data, range(core - 10, core + 10), lagged=lagged)
        assert not early.complete
        assert early.not_forgotten.tolist() == list(range(core - 10, core))
    scattered = replace(data, split=unlearn.SplitSpec().rows(len(data.timestamps)))
    model = unlearn.fit_network(scattered, "cnn", QUICK)
    sensitive = scattered.split.sensitive[20:40]
    done = unlearn.forget(model, scattered, sensitive, lagged="impute")
    assert not done.complete
    assert any("These trained what is frozen" in said for said in done.limitations)


def test_a_tuned_model_is_tuned_anew_on_the_data_set_as_it_is_then() -> None:
    data = made_up([24], n_hours=1200)
    recipe = Tuning("mse", "scale")
    done = unlearn.forget(unlearn.fit_linear(data), data, range(30, 60), lagged="impute", tune=recipe)
    assert done.tuned is not None
    assert done.dataset is not None
    expected = remaining(by_the_rule(data, {name: list(range(30, 60)) for name in LOADS}), range(30, 60))
    by_hand = unlearn.tune(unlearn.fit_linear(expected), expected, "mse")
    assert close(done.model.tuned.numpy(), by_hand.model.tuned.numpy())
    again = unlearn.forget(done.model, done.dataset, range(100, 110), lagged="impute")
    assert again.model.is_tuned
    assert again.complete


def test_other_words_are_refused() -> None:
    data = made_up([24])
    with pytest.raises(InputError, match="lagged: expected one of"):
        unlearn.forget(unlearn.fit_linear(data), data, [30], lagged="ignore")


def test_a_result_has_the_data_set_to_go_on_with() -> None:
    data = made_up([24])
    model = unlearn.fit_linear(data)
    assert unlearn.forget(model, data, [30]).dataset is data
    assert unlearn.reweight(model, data, [30], "mse", 0.1).dataset is data
    given = unlearn.forget_rows(model, [30], data.features[[30]], data.load_pu[[30]])
    assert given.dataset is None
    assert not given.complete_as_given
    assert any("load_lag_24h_mw holds loads of 24 hours before" in said for said in given.limitations)
