"""Forgetting customers against refits on loads from their definition: cases, replacements, ranges, lags, sequences."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import unlearn
from tests.households.customer_data import N_HOURS, SPLIT, enough, known_mw, loads, meters, places, readings, weather
from tests.proofs import proof_count
from unlearn.data import Lags, LoadDataset
from unlearn.errors import DataError, InputError, MismatchError
from unlearn.forecasters import TrainingOptions
from unlearn.households import customer_loads, hourly_meters, release_loads

CASES = [("leaves", None), ("objects", None), ("objects", "class_mean"), ("objects", "rescale")]


@pytest.fixture(scope="module")
def data():
    return loads(lives=True)


@pytest.fixture(scope="module")
def model(data):
    return unlearn.fit_linear(data)


def distance(theta, reference):
    return float((theta - reference).norm() / reference.norm())


def refitted(data, load_mw):
    """A linear forecaster of plain loads that never had the customers: an oracle without the library's sums."""
    own = {field.name: getattr(data, field.name) for field in dataclasses.fields(LoadDataset)}
    own |= {"load_mw": load_mw[-len(data.timestamps) :], "history_mw": load_mw[: -len(data.timestamps)]}
    if data.declared_lags:
        plain = own | {
            "features": data.features[:, :, :5],
            "feature_names": data.feature_names[:5],
            "declared_lags": (),
        }
        features = np.concatenate([plain["features"], _lags_by_hand(load_mw, len(data.timestamps))], axis=2)
        own["features"] = features
    return unlearn.fit_linear(LoadDataset(**own))


def _lags_by_hand(load_mw, n_rows):
    """The load of 24 hours before, and the mean of the 36 hours that end there."""
    start = len(load_mw) - n_rows
    lag = np.stack([load_mw[h - 24] for h in range(start, len(load_mw))])
    mean = np.stack([load_mw[h - 59 : h - 23].mean(axis=0) for h in range(start, len(load_mw))])
    return np.stack([lag, mean], axis=2)


def exact_known(data, table, gone):
    """`known_mw` of readings as the meters keep them."""
    return known_mw(data, (np.rint(table * 2.0**20) / 2.0**20).astype(np.float32).astype(float), gone)


_SLOW = settings(max_examples=proof_count(400), suppress_health_check=[HealthCheck.too_slow])


@_SLOW
@given(
    who=st.lists(st.integers(0, 59), min_size=1, max_size=10, unique=True),
    case=st.sampled_from(CASES),
    span=st.none() | st.tuples(st.integers(210, 240), st.integers(241, 300)),
)
def test_forgetting_equals_a_refit_on_loads_from_their_definition(data, model, who, case, span):
    assume(enough(who, case))
    table = readings(lives=True)
    names = [f"c{i:03d}" for i in who]
    hours = np.zeros(N_HOURS, dtype=bool)
    hours[slice(None) if span is None else slice(*span)] = True
    done = unlearn.forget_customers(
        model, data, names, case[0], hours=None if span is None else np.flatnonzero(hours), replacement=case[1]
    )
    gone = {own: (hours & table[own].notna().to_numpy(), case[1] or "none") for own in names}
    oracle = refitted(data, exact_known(data, table, gone))
    assert distance(done.model.theta, oracle.theta) <= 1e-9
    assert done.complete
    assert done.distance_to_retrained is None


def test_two_hundred_random_groups_equal_refits_of_the_remaining_data(data, model):
    """The refit sees the data set that is left; that it is the right one, the definition says in the test before."""
    random = np.random.default_rng(0)
    lagged = loads(lags=Lags((24,), (36,)))
    problems = [(model, data), (unlearn.fit_linear(lagged), lagged)]
    worst = 0.0
    for k in range(proof_count(200)):
        model, data = problems[k % 2]
        names = [f"c{i:03d}" for i in random.choice(60, random.integers(1, 15), replace=False)]
        case, how = CASES[random.integers(4)]
        hours = None if random.random() < 0.5 else range(210, int(random.integers(215, 300)))
        try:
            done = unlearn.forget_customers(model, data, names, case, hours=hours, replacement=how)
        except InputError as error:
            assert "15 members" in str(error)  # noqa: PT017 (of 20 members, more than five were drawn)
            continue
        worst = max(worst, distance(done.model.theta, unlearn.fit_linear(done.dataset).theta))
    assert worst <= 1e-9


@_SLOW
@given(
    who=st.lists(st.integers(0, 59), min_size=1, max_size=6, unique=True),
    case=st.sampled_from(CASES),
    span=st.none() | st.tuples(st.integers(150, 200), st.integers(201, 260)),
)
def test_with_lags_the_features_are_rebuilt_as_well(who, case, span):
    assume(enough(who, case))
    data = loads(lags=Lags((24,), (36,)))
    model = unlearn.fit_linear(data)
    names = [f"c{i:03d}" for i in who]
    hours = np.zeros(N_HOURS, dtype=bool)
    hours[slice(None) if span is None else slice(span[0] + data.n_history, span[1] + data.n_history)] = True
    done = unlearn.forget_customers(
        model, data, names, case[0], hours=None if span is None else range(*span), replacement=case[1]
    )
    oracle = refitted(data, exact_known(data, readings(), dict.fromkeys(names, (hours, case[1] or "none"))))
    assert distance(done.model.theta, oracle.theta) <= 1e-9
    np.testing.assert_allclose(done.model.scaler.mean, oracle.scaler.mean, rtol=1e-9)
    assert done.complete


def test_the_reported_distance_is_to_another_solver(data, model):
    done = unlearn.forget_customers(model, data, ["c003"], compare_retrained=True)
    assert 0 <= done.distance_to_retrained <= 1e-9
    lagged = loads(lags=[24])
    done = unlearn.forget_customers(unlearn.fit_linear(lagged), lagged, ["c003"], compare_retrained=True)
    assert 0 <= done.distance_to_retrained <= 1e-9
    # Of forecasts, not of parameters in other columns or scales: one customer of twenty moves them a little.
    assert 0 < done.distance_to_original < 0.5


def test_a_thousand_removals_one_by_one_equal_the_joint_one():
    """Customers and, of some, single weeks: in any order, and as one request."""
    n = proof_count(500)
    own = meters(n=n + 100, n_hours=240)
    data = customer_loads(own, places(n + 100), weather(own.hours), split=SPLIT).scaled_to([30.0, 50.0, 20.0])
    start = unlearn.fit_linear(data)
    model, left = start, data
    names = [f"c{i:03d}" for i in np.random.default_rng(1).permutation(n + 100)[:n]]
    for hours in (range(40, 120), None):
        for name in names:
            done = unlearn.forget_customers(model, left, [name], hours=hours)
            model, left = done.model, done.dataset
    joint = unlearn.forget_customers(start, data, names)
    assert distance(model.theta, joint.model.theta) <= 1e-8
    assert distance(model.theta, unlearn.fit_linear(left).theta) <= 1e-8
    np.testing.assert_array_equal(left.load_mw, joint.dataset.load_mw)
    assert model.card.fingerprint == joint.model.card.fingerprint
    assert len(model.card.forgotten) == 2 * n


def test_rows_and_customers_are_forgotten_in_either_order(data, model):
    rows = np.arange(30, 90)
    first = unlearn.forget(model, data, rows)
    both = unlearn.forget_customers(first.model, data, ["c001", "c002"], "objects", replacement="rescale")
    other = unlearn.forget_customers(model, data, ["c001", "c002"], "objects", replacement="rescale")
    again = unlearn.forget(other.model, other.dataset, rows)
    assert both.complete
    assert again.complete
    assert distance(both.model.theta, again.model.theta) <= 1e-9
    remaining = np.setdiff1d(data.split.train, rows)
    design = both.model.design_of(other.dataset, remaining)
    oracle = torch.linalg.lstsq(design, torch.from_numpy(other.dataset.load_pu[remaining])).solution.T
    assert distance(both.model.head, oracle) <= 1e-9


def test_single_loads_and_customers_too(data, model):
    first = unlearn.forget(model, data, range(30, 90), loads=["bus_2"])
    done = unlearn.forget_customers(first.model, data, ["c000", "c001", "c002"])
    design = done.model.design_of(done.dataset, data.split.train)
    target = torch.from_numpy(done.dataset.load_pu[data.split.train])
    for b in range(3):
        keep = np.setdiff1d(data.split.train, range(30, 90)) if b == 1 else data.split.train
        oracle = torch.linalg.lstsq(design[keep], target[keep, b : b + 1]).solution[:, 0]
        assert distance(done.model.head[b], oracle) <= 1e-9


def test_a_regularised_head_is_solved_with_its_regulariser(data):
    model = unlearn.fit_linear(data, l2=0.3)
    done = unlearn.forget_customers(model, data, ["c004"])
    assert distance(done.model.theta, unlearn.fit_linear(done.dataset, l2=0.3).theta) <= 1e-9


def test_other_loads_do_not_move_at_all(data, model):
    done = unlearn.forget_customers(model, data, ["c001"])
    assert done.loads == ("bus_2",)
    assert torch.equal(done.model.head[[0, 2]], model.head[[0, 2]])
    everywhere = unlearn.forget_customers(model, data, ["c000"], "objects", replacement="class_mean")
    later = unlearn.forget_customers(everywhere.model, everywhere.dataset, ["c003"])
    assert "bus_1" in later.loads


def test_the_readings_of_a_customer_leave_no_bit_in_what_remains(data, model):
    """Another data set in which the customer used something else: after the removal, nothing differs."""
    table = readings(lives=True)
    other = table.copy()
    other["c004"] = other["c004"] * 1.7 + 0.3
    done = unlearn.forget_customers(model, data, ["c004"])
    classes = {c: data.meters.segments[data.meters.segment[i]] for i, c in enumerate(table)}
    changed = hourly_meters(other, segments=pd.Series(classes))
    second = customer_loads(changed, places(), weather(changed.hours), split=SPLIT)
    second = dataclasses.replace(second._with(second.roster, data.mw_per_kwh), fitted=data.fitted)
    twin = unlearn.forget_customers(unlearn.fit_linear(second), second, ["c004"])
    assert distance(twin.model.theta, done.model.theta) <= 1e-12
    np.testing.assert_array_equal(twin.dataset.load_mw, done.dataset.load_mw)
    tuned = [unlearn.tune(own.model, own.dataset, "mse", "scale", folds=2).model for own in (done, twin)]
    for name in ("head", "tuned"):
        assert torch.equal(getattr(tuned[0], name), getattr(tuned[1], name))
    for one, two in zip(tuned[0].statistics.groups, tuned[1].statistics.groups, strict=True):
        assert torch.equal(one.moments, two.moments)


def test_a_tuned_model_forgets_at_its_least_squares_head_and_is_tuned_anew(data, model):
    tuned = unlearn.tune(model, data, "mse", "affine", folds=2).model
    done = unlearn.forget_customers(tuned, data, ["c001"])
    assert done.tuned is not None
    assert done.model.is_tuned
    fresh = unlearn.tune(unlearn.fit_linear(done.dataset), done.dataset, "mse", "affine", folds=2).model
    assert distance(done.model.tuned, fresh.tuned) <= 1e-9
    asked = unlearn.forget_customers(model, data, ["c001"], tune=unlearn.Tuning("mse", "affine", folds=2))
    assert torch.equal(asked.model.tuned, done.model.tuned)


def _plain(data):
    """Loads of others with the same features, which know no customers."""
    own = {field.name: getattr(data, field.name) for field in dataclasses.fields(LoadDataset)}
    return LoadDataset(**own)


EPOCHS = TrainingOptions(epochs=1)


def test_a_network_whose_extractor_saw_only_others_forgets_wholly(data):
    others = loads(seed=9)
    renamed = dataclasses.replace(others.meters, customer_ids=tuple(f"o{i}" for i in range(60)))
    others = dataclasses.replace(others, meters=renamed)
    model = unlearn.fit_network(data, "cnn", EPOCHS, extractor_from=others)
    done = unlearn.forget_customers(model, data, ["c001", "c010"], compare_retrained=True)
    assert done.complete
    assert done.distance_to_retrained <= 1e-9
    never = unlearn.fit_network(done.dataset, "cnn", EPOCHS, extractor_from=others)
    for name, value in never.state_dict().items():
        if "extractor" in name or "scaler" in name:
            assert torch.equal(value, done.model.state_dict()[name]), name
    assert distance(done.model.head, never.head) <= 1e-9
    with pytest.raises(InputError, match="expected other customers"):
        unlearn.fit_network(data, "cnn", EPOCHS, extractor_from=loads(seed=9))


def test_whom_an_extractor_of_unnamed_customers_saw_is_the_callers_word(data):
    model = unlearn.fit_network(data, "cnn", EPOCHS, extractor_from=_plain(loads(seed=9)))
    done = unlearn.forget_customers(model, data, ["c001"])
    assert not done.complete
    assert done.complete_as_given
    assert any("taken as given" in said for said in done.limitations)


def test_an_extractor_may_come_from_a_release(data):
    """A release of labelled days becomes loads with the features of the data set that the extractor is to serve."""
    full = data.meters.hours[: N_HOURS // 24 * 24]
    release = unlearn.load_households("simulator", n_households=20, n_days=60, start="2021-03-01").unlabelled()
    table = {name: own.loc[full] for name, own in weather(data.meters.hours).items()}
    others = release_loads(release, full, data.load_names, table, customers=30).scaled_to([30.0, 50.0, 20.0])
    model = unlearn.fit_network(data, "mixer", EPOCHS, extractor_from=others)
    done = unlearn.forget_customers(model, data, ["c001"], compare_retrained=True)
    assert done.complete_as_given
    assert done.distance_to_retrained <= 1e-9
    with pytest.raises(DataError, match="expected full days from midnight"):
        release_loads(release, full[1:], data.load_names)


def test_a_network_whose_extractor_saw_the_customer_says_so(data):
    model = unlearn.fit_network(data, "cnn", EPOCHS)
    done = unlearn.forget_customers(model, data, ["c001"], compare_retrained=True)
    assert not done.complete
    assert not done.complete_as_given
    assert done.distance_to_retrained <= 1e-9
    assert any("the extractor was trained on" in said and "extractor_from" in said for said in done.limitations)
    sensitive = unlearn.forget_customers(model, data, ["c001"], hours=data.split.sensitive[-20:])
    assert sensitive.complete  # hours that the extractor never saw
    later = unlearn.forget_customers(done.model, done.dataset, ["c002"], hours=data.split.sensitive[-20:])
    assert not later.complete  # the step before was not


def test_customers_may_come_as_any_collection(data, model):
    one = unlearn.forget_customers(model, data, ["c001", "c002"])
    for names in ({"c002", "c001"}, pd.Index(["c001", "c002"]), (f"c00{i}" for i in (1, 2))):
        assert torch.equal(unlearn.forget_customers(model, data, names).model.head, one.model.head)


def test_what_stays_is_listed(data, model, tmp_path):
    done = unlearn.forget_customers(model, data, ["c001"])
    text = "\n".join(done.limitations)
    for said in (
        "load scale is kept",
        "in memory with the meters",
        "Call dataset.purged(path)",
        "still know the customers",
    ):
        assert said in text
    assert done.model.card.forgotten[-1]["customers"] == 1
    assert "c001" not in str(done.model.card)
    assert repr(done) == "ForgottenCustomers(1 customer, leaves, 1 loads changed, complete)"
    unlearn.save_forecaster(done.model, tmp_path / "model")
    back = unlearn.load_forecaster(tmp_path / "model")
    assert unlearn.forget_customers(back, done.dataset, ["c002"]).complete


def test_the_factors_of_the_loads_can_be_refitted(data, model):
    nominal = [30.0, 50.0, 20.0]
    done = unlearn.forget_customers(model, data, ["c001", "c002", "c006"])
    again = done.dataset.scaled_to(nominal)
    assert [own.name for own in again.fitted] == ["load scale"]
    np.testing.assert_allclose(again.load_mw[again.split.train].max(axis=0), nominal, rtol=1e-12)
    refitted_too = done.model.fitted_anew(again)
    ratio = torch.from_numpy(again.mw_per_kwh / done.dataset.mw_per_kwh)[:, None]
    assert distance(refitted_too.head, ratio * done.model.head) <= 1e-12
    assert distance(refitted_too.theta, unlearn.fit_linear(again).theta) <= 1e-9


def test_wrong_calls_are_refused(data, model):
    with pytest.raises(InputError, match="expected CustomerLoads, which know their customers, got LoadDataset"):
        unlearn.forget_customers(model, _plain(data), ["c001"])
    done = unlearn.forget_customers(model, data, ["c001"])
    with pytest.raises(MismatchError, match="do not match"):
        unlearn.forget_customers(done.model, data, ["c002"])
    with pytest.raises(InputError, match="fitted on none of them"):
        unlearn.forget_customers(model, data, ["c001"], hours=data.split.test)
    whole = unlearn.fit_network(data, "cnn", EPOCHS, loss="mse")
    with pytest.raises(InputError, match="trained as a whole"):
        unlearn.forget_customers(whole, data, ["c001"])
    with pytest.raises(InputError, match="does not have: nobody"):
        unlearn.forget_customers(model, data, ["nobody"])
