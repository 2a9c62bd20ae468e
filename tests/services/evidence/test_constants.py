"""Fitted parts of forecasters: who saw what is removed, and what was really fitted anew."""

import numpy as np
import pytest

import unlearn
from tests.households.customer_data import loads
from unlearn.data import FittedConstant, LoadDataset
from unlearn.errors import MismatchError
from unlearn.forecasters import Forecaster
from unlearn.services.base import CUSTOMERS, HOURS, LOADS, Change, Constant
from unlearn.services.evidence.constants import constants

NOMINAL = [30.0, 50.0, 20.0]
FITTED = (FittedConstant("stations", "train", "the nearest"), FittedConstant("skipped hours", "all", "filled"))


@pytest.fixture(scope="module")
def data() -> LoadDataset:
    return unlearn.load_dataset("synthetic", n_loads=3, n_hours=1000, nominal_mw=NOMINAL)


@pytest.fixture(scope="module")
def model(data: LoadDataset) -> Forecaster:
    return unlearn.fit_linear(data)


def by_name(model: Forecaster, after: Forecaster, change: Change) -> dict[str, Constant]:
    found = constants(model, after, change)
    assert len({own.name for own in found}) == len(found)
    assert all(own.note.endswith(".") for own in found)
    return {own.name: own for own in found}


def states(found: dict[str, Constant]) -> dict[str, tuple[bool, bool]]:
    return {name: (own.saw, own.refitted) for name, own in found.items()}


def test_readings_are_in_what_looks_at_loads_and_not_in_calendar_and_weather() -> None:
    own = loads()
    model = unlearn.fit_linear(own)
    done = unlearn.forget_customers(model, own, ["c007"])
    found = by_name(model, done.model, Change(CUSTOMERS, own, done.dataset, customers=("c007",)))
    assert states(found) == {
        "head": (True, True),
        "kept sums": (True, True),
        "load scale": (True, False),
        "choice of columns": (False, False),
        "feature scaler": (False, False),
    }
    assert "hold no readings" in found["feature scaler"].note
    again = done.dataset.scaled_to(NOMINAL)
    found = by_name(model, done.model.fitted_anew(again), Change(CUSTOMERS, own, again, customers=("c007",)))
    assert states(found)["load scale"] == (True, True)


def test_with_lags_readings_are_in_the_features() -> None:
    own = loads(lags=[24])
    model = unlearn.fit_linear(own)
    done = unlearn.forget_customers(model, own, ["c007"])
    change = Change(CUSTOMERS, own, done.dataset, customers=("c007",))
    found = states(by_name(model, done.model, change))
    assert found["feature scaler"] == found["choice of columns"] == (True, True)
    kept = done.model
    kept.scaler.mean += 0.01  # type: ignore[union-attr, operator]
    found = states(by_name(model, kept, change))
    assert found["feature scaler"] == found["choice of columns"] == (True, False)


def test_hours_are_in_all_that_their_rows_were_fitted_on(data: LoadDataset, model: Forecaster) -> None:
    done = unlearn.forget(model, data, range(48)).model
    found = by_name(model, done, Change(HOURS, data, data, rows=np.arange(48)))
    assert states(found) == {
        "head": (True, True),
        "kept sums": (True, True),
        "load scale": (True, False),
        "choice of columns": (True, False),
        "feature scaler": (True, False),
    }
    assert "the remaining rows give the very same" in found["choice of columns"].note
    assert "does not depend on it" in found["feature scaler"].note or "invariant" in found["feature scaler"].note


def test_hours_that_go_with_their_lags_are_gone_from_the_scaler() -> None:
    own = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000, lags=[24])
    model = unlearn.fit_linear(own)
    done = unlearn.forget(model, own, range(48), lagged="impute")
    assert done.dataset is not None
    found = states(by_name(model, done.model, Change(HOURS, own, done.dataset, rows=np.arange(48))))
    assert set(found.values()) == {(True, True)}


def test_hours_of_the_test_slice_were_in_nothing_but_what_saw_all_rows(data: LoadDataset) -> None:
    own = unlearn.load_dataset("synthetic", n_loads=3, n_hours=1000)
    own = LoadDataset(**{**vars_of(own), "fitted": FITTED})
    model = unlearn.fit_linear(own, l2=1.0)
    found = by_name(model, model, Change(HOURS, own, own, rows=own.split.test[:5]))
    assert [name for name, one in found.items() if one.saw] == ["skipped hours"]
    assert not found["skipped hours"].refitted
    assert not found["regulariser"].refitted
    assert "nothing of what is removed was in it" in found["head"].note


def vars_of(dataset: LoadDataset) -> dict[str, object]:
    names = ("name", "features", "load_mw", "timestamps", "load_names", "feature_names", "split", "base_mva")
    return {name: getattr(dataset, name) for name in names}


def test_a_head_that_changed_to_something_else_is_not_refitted(data: LoadDataset, model: Forecaster) -> None:
    change = Change(HOURS, data, data, rows=np.arange(200))
    rough = unlearn.forget(model, data, change.rows, form="first_order").model
    found = by_name(model, rough, change)
    assert states(found)["head"] == (True, False)
    assert "not what the rest gives" in found["head"].note
    sums = rough.with_theta(rough.theta, rough.weights, statistics=model.statistics)
    assert states(by_name(model, sums, change))["kept sums"] == (True, False)
    dropped = rough.with_theta(rough.theta, rough.weights)
    assert by_name(model, dropped, change)["kept sums"].note == "Dropped."
    same = by_name(model, model, change)
    assert states(same)["head"] == (True, False)
    assert "still in it" in same["head"].note


def test_a_withdrawn_load_goes_with_its_columns_and_its_factor(data: LoadDataset, model: Forecaster) -> None:
    own = vars_of(data) | {"fitted": data.fitted}
    own |= {"features": data.features[:, 1:], "load_mw": data.load_mw[:, 1:], "load_names": data.load_names[1:]}
    after = LoadDataset(**own)  # type: ignore[arg-type]
    change = Change(LOADS, data, after, loads=data.load_names[:1])
    found = states(by_name(model, unlearn.fit_linear(after), change))
    assert set(found.values()) == {(True, True)}


def test_tuned_heads_are_tuned_anew_or_dropped(data: LoadDataset, model: Forecaster) -> None:
    tuned = unlearn.tune(model, data, "mse", "affine").model
    change = Change(HOURS, data, data, rows=np.arange(100))
    done = unlearn.forget(tuned, data, change.rows).model
    found = by_name(tuned, done, change)
    assert states(found)["tuned head"] == (True, True)
    assert "recipe is kept" in found["tuned head"].note
    assert "Dropped" in by_name(tuned, done.untuned(), change)["tuned head"].note
    kept = done.with_tuned(tuned.tuned, tuned.recipe, tuned.card.tuned)
    assert states(by_name(tuned, kept, change))["tuned head"] == (True, False)


def test_extractors_saw_the_core_alone(dataset: LoadDataset, cnn: Forecaster) -> None:
    rows = dataset.split.sensitive[:40]
    done = unlearn.forget(cnn, dataset, rows).model
    found = by_name(cnn, done, Change(HOURS, dataset, dataset, rows=rows))
    assert states(found)["head"] == (True, True)
    assert states(found)["extractor and feature scaler"] == states(found)["training record"] == (False, False)
    core = np.concatenate([rows, dataset.split.core[:10]])
    done = unlearn.forget(cnn, dataset, core).model
    found = by_name(cnn, done, Change(HOURS, dataset, dataset, rows=core))
    assert states(found)["extractor and feature scaler"] == states(found)["training record"] == (True, False)
    other = unlearn.fit_network(dataset, "cnn", unlearn.TrainingOptions(epochs=1, learning_rate=1e-3), seed=7)
    found = by_name(cnn, other, Change(HOURS, dataset, dataset, rows=core))
    assert states(found)["extractor and feature scaler"] == states(found)["training record"] == (True, True)


def test_networks_trained_as_a_whole_are_one_part(data: LoadDataset) -> None:
    options = unlearn.TrainingOptions(epochs=1)
    whole = unlearn.fit_network(data, "cnn", options, loss="mse")
    anew = unlearn.fit_network(data, "cnn", options, loss="mse", rows=data.split.train[40:])
    change = Change(HOURS, data, data, rows=np.arange(40))
    found = states(by_name(whole, anew, change))
    assert found["head"] == found["network and its scalers"] == (True, True)
    assert states(by_name(whole, whole, change))["network and its scalers"] == (True, False)


def test_extractors_of_others_saw_nothing(data: LoadDataset) -> None:
    others = unlearn.load_dataset("synthetic", n_loads=3, n_hours=1000, random_state=5)
    network = unlearn.fit_network(data, "cnn", unlearn.TrainingOptions(epochs=1), extractor_from=others)
    rows = data.split.train[:50]
    done = unlearn.forget(network, data, rows).model
    found = by_name(network, done, Change(HOURS, data, data, rows=rows))
    assert states(found)["extractor and feature scaler"] == (False, False)
    assert "taken as given" in found["extractor and feature scaler"].note


def test_models_of_other_data_are_refused(data: LoadDataset, model: Forecaster) -> None:
    other = data.with_loads(data.load_mw * 2)
    with pytest.raises(MismatchError):
        constants(model, model, Change(HOURS, data, other, rows=np.arange(5)))
