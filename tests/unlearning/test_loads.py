"""Withdrawing loads against fits of data sets that never had them: shared stations, lags, what was forgotten before."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unlearn
from tests.households import customer_data
from tests.proofs import proof_count
from unlearn.data import dataset_from_frames
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import TrainingOptions, load_forecaster, save_forecaster

NAMES = ("a", "b", "c", "d", "e")
_SLOW = settings(max_examples=proof_count(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def made_up(seed, stations, lags=None, n_hours=420):
    """Five loads, each with the temperature of one of some stations and a wind of its own."""
    random = np.random.default_rng(seed)
    hours = pd.date_range("2019-01-01", periods=n_hours, freq="h")
    day = 50 + 10 * np.sin(2 * np.pi * np.arange(n_hours) / 24)
    load = np.abs(
        day[:, None] + random.normal(0, 4, (n_hours, 5)).cumsum(axis=0) * 0.2 + random.normal(0, 2, (n_hours, 5))
    )
    warm = random.normal(10, 5, (n_hours, 5))[:, list(stations)]
    wind = random.gamma(2.0, 3.0, (n_hours, 5))
    tables = {"temperature": pd.DataFrame(warm, hours, list(NAMES)), "wind": pd.DataFrame(wind, hours, list(NAMES))}
    return dataset_from_frames(pd.DataFrame(load, hours, list(NAMES)), tables, lags=lags)


def solved(design, target, weights, l2):
    """The minimiser of each output from its definition, by normal equations in the longest floats that there are."""
    design, target, weights = (np.asarray(own, dtype=np.longdouble) for own in (design, target, weights))
    heads = []
    for b in range(target.shape[1]):
        own = weights[:, b : b + 1] * design
        gram = own.T @ design + 0.5 * l2 * target.shape[1] * np.eye(design.shape[1])
        scale = 1 / np.sqrt(np.diag(gram))
        right = scale * (own.T @ target[:, b])
        small = (scale[:, None] * gram * scale).astype(float)
        found = np.zeros(len(right), dtype=np.longdouble)
        for _ in range(3):
            left = right - (scale[:, None] * gram * scale) @ found
            found += np.linalg.solve(small, left.astype(float))
        heads.append(scale * found if weights[:, b].any() else 0 * found)
    return torch.from_numpy(np.array(heads, dtype=float)).reshape(-1)


def refitted(model, dataset):
    """The head that the model's own weights and columns define on a data set."""
    rows = model.training_rows(dataset)
    design = model.design_of(dataset, rows).numpy()
    return solved(design, dataset.load_pu[rows], model.weights.numpy(), model.card.l2)


def distance(theta, reference):
    return float((theta - reference).norm() / reference.norm())


@_SLOW
@given(
    seed=st.integers(0, 1000),
    stations=st.lists(st.integers(0, 4), min_size=5, max_size=5),
    gone=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
    l2=st.sampled_from([0.0, 0.3]),
    lags=st.sampled_from([None, [24]]),
    forgotten=st.none() | st.tuples(st.integers(0, 100), st.lists(st.sampled_from(NAMES), max_size=2, unique=True)),
)
def test_it_equals_a_fit_that_never_had_the_loads(seed, stations, gone, l2, lags, forgotten):
    data = made_up(seed, stations, lags)
    model = unlearn.fit_linear(data, l2)
    if forgotten is not None:
        low, loads = forgotten
        model = unlearn.forget(model, data, range(low, low + 30), loads=loads or None).model
    done = unlearn.withdraw_loads(model, data, gone, compare_retrained=True)
    left = data.without_loads(gone)
    fresh = unlearn.fit_linear(left, l2)
    assert done.dataset.fingerprint == left.fingerprint == done.model.card.fingerprint
    assert done.model.columns == fresh.columns
    assert done.model.card.settings["columns"] == [list(own) for own in fresh.columns]
    torch.testing.assert_close(done.model.scaler.mean, fresh.scaler.mean, rtol=1e-12, atol=1e-12)
    kept = [b for b, name in enumerate(NAMES) if name not in gone]
    assert torch.equal(done.model.weights, model.weights[:, kept])
    assert torch.equal(done.model.forgotten, model.forgotten[:, kept])
    assert distance(done.model.theta, refitted(done.model, left)) <= 1e-9
    if forgotten is None:
        assert distance(done.model.theta, fresh.theta) <= 1e-9
    assert done.distance_to_retrained <= 1e-9
    assert done.statistics["solver"] == "statistics"
    assert done.complete == (lags is None or forgotten is None)  # such a load may still be a lag of other rows
    again = done.model.carried_to(left)  # the block of the sums is what summing up gives
    assert torch.equal(again.theta, done.model.theta)


@_SLOW
@given(
    order=st.permutations(NAMES), cut=st.integers(1, 3), seed=st.integers(0, 1000), lags=st.sampled_from([None, [24]])
)
def test_sequences_equal_a_joint_withdrawal(order, cut, seed, lags):
    data = made_up(seed, (0, 0, 1, 1, 1), lags)
    model = unlearn.forget(unlearn.fit_linear(data), data, range(20, 60), lagged="drop" if lags else None).model
    joint = unlearn.withdraw_loads(model, data, order[: cut + 1])
    now = model, data
    for part in (order[:cut], order[cut : cut + 1]):
        done = unlearn.withdraw_loads(*now, part)
        now = done.model, done.dataset
    assert done.dataset.fingerprint == joint.dataset.fingerprint
    assert done.model.columns == joint.model.columns
    assert distance(done.model.theta, joint.model.theta) <= 1e-10
    assert done.complete
    further = unlearn.forget(done.model, done.dataset, range(100, 130), lagged="drop" if lags else None)
    assert distance(further.model.theta, refitted(further.model, further.dataset)) <= 1e-9


def test_a_station_in_another_unit_is_fitted_anew():
    data = made_up(0, (0, 0, 1, 2, 3))
    features = data.features.copy()
    features[:, 1, 4] = 1.8 * features[:, 0, 4] + 32.0
    data = dataclasses.replace(data, features=features)
    model = unlearn.fit_linear(data)
    assert (1, 4) not in model.columns
    done = unlearn.withdraw_loads(model, data, ["a"], compare_retrained=True)
    fresh = unlearn.fit_linear(done.dataset)
    assert done.statistics["solver"] == "least squares"
    assert done.model.columns == fresh.columns
    assert distance(done.model.theta, fresh.theta) <= 1e-12
    assert done.distance_to_retrained <= 1e-9
    assert done.distance_to_original > 0


def test_sums_that_are_too_rough_go_back_to_the_data():
    data = made_up(1, (0, 1, 2, 3, 4))
    model = unlearn.fit_linear(data)
    wide = [
        dataclasses.replace(own, rounding=own.rounding + 1e-3 * own.moments[0].diagonal())
        for own in model.statistics.groups
    ]
    model.statistics = dataclasses.replace(model.statistics, groups=tuple(wide))
    done = unlearn.withdraw_loads(model, data, ["c"])
    assert done.statistics["solver"] == "least squares"
    assert distance(done.model.theta, unlearn.fit_linear(done.dataset).theta) <= 1e-9


def test_the_model_goes_through_a_file_and_tells_no_names(tmp_path):
    data = made_up(2, (0, 0, 1, 2, 3))
    model = unlearn.forget(unlearn.fit_linear(data), data, range(30), loads=["a", "b"]).model
    done = unlearn.withdraw_loads(model, data, ["a"])
    card = done.model.card
    assert [event["loads"] for event in card.forgotten] == [["b"], []]
    assert card.forgotten[-1]["withdrawn_loads"] == 1
    loaded = load_forecaster(save_forecaster(done.model, tmp_path / "m"))
    assert torch.equal(loaded.theta, done.model.theta)
    np.testing.assert_array_equal(loaded.forecast(done.dataset.features), done.model.forecast(done.dataset.features))
    assert unlearn.forget(loaded, done.dataset, range(50, 60)).complete
    assert repr(done) == "WithdrawnLoads(1 load, 4 left, complete)"


@_SLOW
@given(
    gone=st.sampled_from([["bus_1"], ["bus_2"], ["bus_1", "bus_3"]]),
    who=st.lists(st.integers(0, 59), min_size=1, max_size=5, unique=True),
    case=st.sampled_from([("leaves", None), ("objects", "rescale"), ("objects", None)]),
    lags=st.sampled_from([None, [24]]),
)
def test_customers_of_the_loads_go_with_them(gone, who, case, lags):
    data = customer_data.loads(lags=lags)
    names = [f"c{i:03d}" for i in who]
    first = unlearn.forget_customers(unlearn.fit_linear(data), data, names, case[0], replacement=case[1])
    done = unlearn.withdraw_loads(first.model, first.dataset, gone)
    fresh = unlearn.fit_linear(done.dataset)
    assert distance(done.model.theta, fresh.theta) <= 1e-9
    assert done.complete
    left = [own for own in done.dataset.customer_ids if own not in names][:2]
    again = unlearn.forget_customers(done.model, done.dataset, left)
    assert distance(again.model.theta, unlearn.fit_linear(again.dataset).theta) <= 1e-9
    assert any("purged" in said for said in done.limitations)


@pytest.mark.parametrize("lags", [None, [24]])
def test_means_of_a_class_are_taken_anew(lags):
    data = customer_data.loads(lags=lags)
    first = unlearn.forget_customers(
        unlearn.fit_linear(data), data, ["c001", "c004"], "objects", replacement="class_mean"
    )
    done = unlearn.withdraw_loads(first.model, first.dataset, ["bus_3"], compare_retrained=True)
    there = first.dataset.load_mw[:, :2] != done.dataset.load_mw
    assert there[data.split.train].any()  # members at the withdrawn load were in the mean
    assert distance(done.model.theta, unlearn.fit_linear(done.dataset).theta) <= 1e-9
    assert done.distance_to_retrained <= 1e-9
    assert done.complete


def test_a_tuned_model_is_tuned_anew_or_says_why_not():
    data = made_up(3, (0, 1, 2, 3, 4), n_hours=1200)
    tuned = unlearn.tune(unlearn.fit_linear(data), data, "mape", "scale").model
    done = unlearn.withdraw_loads(tuned, data, ["a"])
    oracle = unlearn.tune(unlearn.fit_linear(done.dataset), done.dataset, "mape", "scale")
    assert done.tuned is not None
    torch.testing.assert_close(done.model.tuned, oracle.model.tuned, rtol=1e-9, atol=1e-12)
    grid = unlearn.load_case("ieee9")
    three = data.without_loads(["d", "e"]).scaled_to(grid.nominal_load_mw, base_mva=grid.base_mva)
    priced = unlearn.tune(unlearn.fit_linear(three), three, "cost", "scale", grid=grid).model
    dropped = unlearn.withdraw_loads(priced, three, ["a"])
    assert dropped.tuned is None
    assert not dropped.model.is_tuned
    assert any("The tuning was dropped" in said for said in dropped.limitations)
    with pytest.raises(InputError, match="expected a recipe on a grid of the 2 loads"):
        unlearn.withdraw_loads(priced, three, ["a"], tune=unlearn.Tuning("cost", "scale", grid))


def test_an_incomplete_step_before_stays_incomplete():
    data = made_up(4, (0, 1, 2, 3, 4))
    model = unlearn.forget(unlearn.fit_linear(data), data, range(30), form="first_order").model
    done = unlearn.withdraw_loads(model, data, ["a"])
    assert not done.complete
    assert any("earlier step" in said for said in done.limitations)
    assert distance(done.model.theta, refitted(done.model, done.dataset)) <= 1e-9


def test_what_cannot_be_withdrawn_is_refused():
    data = made_up(5, (0, 1, 2, 3, 4))
    model = unlearn.fit_linear(data)
    with pytest.raises(InputError, match="loads: expected some of a, b, c"):
        unlearn.withdraw_loads(model, data, ["x"])
    with pytest.raises(InputError, match="nothing would remain"):
        unlearn.withdraw_loads(model, data, list(NAMES))
    with pytest.raises(MismatchError, match="do not match"):
        unlearn.withdraw_loads(model, made_up(6, (0, 1, 2, 3, 4)), ["a"])
    network = unlearn.fit_network(data, "cnn", training=TrainingOptions(epochs=1))
    with pytest.raises(InputError, match=r"fit_network\(dataset.without_loads"):
        unlearn.withdraw_loads(network, data, ["a"])
    emptied = unlearn.forget(model, data, data.split.train, loads=["b", "c", "d", "e"]).model
    with pytest.raises(InputError, match="all measurements were forgotten"):
        unlearn.withdraw_loads(emptied, data, ["a"])
