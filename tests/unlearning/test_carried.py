"""Forgotten hours are blanked and the model is carried to what is left, from which it goes on forgetting."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unlearn
from tests.households import customer_data
from tests.left_over import holds
from tests.proofs import proof_count
from tests.unlearning.lagged_hours import LOADS, made_up
from tests.unlearning.test_loads import distance, refitted
from unlearn.data import Lags
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import TrainingOptions, load_forecaster, save_forecaster
from unlearn.households import CustomerLoads

_SLOW = settings(max_examples=proof_count(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
_SPAN = st.tuples(st.integers(0, 280), st.integers(1, 25)).map(lambda own: range(own[0], sum(own)))


def forgotten_and_blanked(model, data, rows, loads):
    """Forget hours, destroy their values, and take the model over."""
    done = unlearn.forget(model, data, rows, loads=loads, lagged="drop" if data.lags else None)
    blank = data.blanked(rows, loads)
    places = [data.load_names.index(name) for name in loads or data.load_names]
    assert not blank.load_mw[np.ix_(rows, places)].any()
    if not isinstance(data, CustomerLoads):  # sums of whole Wh may be the same in another hour
        assert not holds(blank, data.load_mw[np.ix_(rows, places)])
    carried = done.model.carried_to(blank)
    assert torch.equal(carried.theta, done.model.theta)
    assert carried.card.forgotten == done.model.card.forgotten
    return carried, blank


def right(model, data):
    """The model is what its weights define on the data set; of its kind, fitted anew where that is so."""
    model.require_match(data)
    assert distance(model.theta, refitted(model, data)) <= 1e-9
    anew = model.fitted_anew(data)
    np.testing.assert_allclose(model.forecast(data.features), anew.forecast(data.features), rtol=1e-8, atol=1e-9)


@_SLOW
@given(
    steps=st.lists(
        st.tuples(_SPAN, st.none() | st.lists(st.sampled_from(LOADS), min_size=1, max_size=2, unique=True)),
        min_size=1,
        max_size=4,
    ),
    lags=st.sampled_from([None, Lags((24,), (36,))]),
    l2=st.sampled_from([0.0, 0.2]),
)
def test_hours_after_hours(steps, lags, l2):
    data = made_up(lags, n_hours=700)
    model = unlearn.fit_linear(data, l2)
    for rows, loads in steps:
        try:
            model, data = forgotten_and_blanked(model, data, list(rows), loads)
        except InputError as error:
            assert "forgotten before" in str(error)  # noqa: PT017
            continue
        assert distance(model.theta, refitted(model, data)) <= 1e-9
        if not l2:
            right(model, data)


@_SLOW
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["hours", "customers", "loads"]), st.integers(0, 10_000)), min_size=2, max_size=5
    ),
    lags=st.sampled_from([None, [24]]),
)
def test_hours_customers_and_loads_in_any_order(steps, lags):
    data = customer_data.loads(lags=lags)
    model = unlearn.fit_linear(data)
    for kind, seed in steps:
        random = np.random.default_rng(seed)
        if kind == "hours":
            low = int(random.integers(0, 280))
            loads = None if random.random() < 0.5 else [str(random.choice(data.load_names))]
            try:
                model, data = forgotten_and_blanked(model, data, list(range(low, low + 12)), loads)
            except InputError as error:
                assert "forgotten before" in str(error)  # noqa: PT017
        elif kind == "customers":
            case = [("leaves", None), ("objects", None), ("objects", "rescale")][random.integers(3)]
            who = random.choice(data.customer_ids, 2, replace=False).tolist()
            done = unlearn.forget_customers(model, data, who, case[0], replacement=case[1])
            model, data = done.model, done.dataset
        elif data.n_loads > 1:
            done = unlearn.withdraw_loads(model, data, [str(random.choice(data.load_names))])
            model, data = done.model, done.dataset
        right(model, data)


def test_a_tuned_model_and_a_network_are_carried_whole(tmp_path):
    data = made_up(None, n_hours=1200)
    tuned = unlearn.tune(unlearn.fit_linear(data), data, "mape", "scale").model
    done = unlearn.forget(tuned, data, range(50, 80)).model
    blank = data.blanked(range(50, 80))
    carried = done.carried_to(blank)
    assert torch.equal(carried.tuned, done.tuned)
    assert carried.recipe is done.recipe
    assert carried.card.tuned == done.card.tuned
    again = unlearn.forget(carried, blank, range(90, 100))
    oracle = unlearn.forget(done, data, range(90, 100))
    assert torch.equal(again.model.tuned, oracle.model.tuned)
    network = unlearn.fit_network(data, "cnn", training=TrainingOptions(epochs=1))
    rows = data.split.sensitive[20:30]
    less = unlearn.forget(network, data, rows).model
    carried = less.carried_to(data.blanked(rows))
    loaded = load_forecaster(save_forecaster(carried, tmp_path / "m"))
    loaded.require_match(data.blanked(rows))
    more = unlearn.forget(loaded, data.blanked(rows), data.split.sensitive[40:60], compare_retrained=True)
    assert more.distance_to_retrained <= 1e-9


def test_means_of_members_in_blank_hours_are_taken_anew():
    data = customer_data.loads()
    first = unlearn.forget_customers(unlearn.fit_linear(data), data, ["c001"], "objects", replacement="class_mean")
    done = unlearn.forget(first.model, first.dataset, range(40), loads=["bus_3"])  # members of the same class are there
    blank = first.dataset.blanked(range(40), ["bus_3"])
    with pytest.raises(MismatchError, match="measurements that have weight"):
        done.model.carried_to(blank)
    right(done.model.fitted_anew(blank), blank)


def test_what_has_weight_is_compared():
    data = made_up([24])
    model = unlearn.fit_linear(data)
    with pytest.raises(MismatchError, match="measurements that have weight in the model are others"):
        model.carried_to(data.blanked([3]))
    plain = unlearn.forget(model, data, range(30, 40)).model  # not from the lags of other rows
    with pytest.raises(MismatchError, match=r"fitted_anew\(dataset\)"):
        plain.carried_to(data.blanked(range(30, 40)))
    load = data.load_mw.copy()
    load[5, 0] *= 1 + 1e-6
    with pytest.raises(MismatchError, match="expected at most 1e-12"):
        model.carried_to(data.with_loads(load))
    validation = data.split.validation
    assert model.carried_to(data.blanked(validation[-5:])).card.fingerprint != data.fingerprint
    other = dataclasses.replace(data, timestamps=data.timestamps + np.timedelta64(24, "h"))
    with pytest.raises(MismatchError, match="of the same hours and split"):
        model.carried_to(other)
    with pytest.raises(MismatchError, match="model expects 3 loads"):
        model.carried_to(data.without_loads(["a"]))
    unknown = model.with_theta(model.theta, model.weights)
    with pytest.raises(InputError, match="expected one with kept sums"):
        unknown.carried_to(data)
