"""A model that is fitted anew to other loads and features is the one that would be fitted to them from the start."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import unlearn
from unlearn.data import Lags, LoadDataset, Split
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import Forecaster, LinearForecaster

QUICK = unlearn.TrainingOptions(epochs=2)


@pytest.fixture(scope="module")
def data() -> LoadDataset:
    return unlearn.load_dataset("synthetic", n_loads=3, n_hours=1100, lags=Lags((24,), means=(24,)))


@pytest.fixture(scope="module")
def other(data: LoadDataset) -> LoadDataset:
    random = np.random.default_rng(0)
    return data.with_loads(data.load_mw * random.uniform(0.9, 1.1, data.load_mw.shape))


@pytest.fixture(scope="module")
def linear(data: LoadDataset) -> LinearForecaster:
    return unlearn.fit_linear(data)  # type: ignore[return-value]


def close(one: torch.Tensor, two: torch.Tensor, rtol: float = 1e-9) -> bool:
    return bool((one - two).norm() <= rtol * two.norm())


def without(data: LoadDataset, rows: np.ndarray) -> LoadDataset:
    train = np.setdiff1d(data.split.train, rows)
    return replace(data, split=Split(train, data.split.validation, data.split.test, train[:1], train[1:]))


def test_on_the_same_data_nothing_changes(data: LoadDataset, linear: Forecaster) -> None:
    anew = linear.fitted_anew(data)
    assert torch.equal(anew.head, linear.head)
    assert anew.card == linear.card
    assert torch.equal(anew.parts, linear.parts)


def test_on_other_data_columns_scaler_and_head_are_those_of_a_new_fit(linear: Forecaster, other: LoadDataset) -> None:
    anew, expected = linear.fitted_anew(other), unlearn.fit_linear(other)
    assert torch.equal(anew.scaler.mean, expected.scaler.mean)
    assert torch.equal(anew.scaler.std, expected.scaler.std)
    assert torch.equal(anew.head, expected.head)
    assert replace(anew.card, versions={}) == replace(expected.card, versions={})
    anew.require_match(other)


def test_columns_that_repeat_now_are_left_out(data: LoadDataset, linear: LinearForecaster) -> None:
    load = data.load_mw.copy()
    load[:, 2], history = load[:, 1], data.history_mw.copy()
    history[:, 2] = history[:, 1]
    anew = linear.fitted_anew(data.with_loads(load, history))
    assert isinstance(anew, LinearForecaster)
    assert len(anew.columns) == len(linear.columns) - 2


def test_what_is_forgotten_is_in_no_part(data: LoadDataset, linear: Forecaster) -> None:
    gone = data.split.train[100:150]
    forgotten = torch.zeros_like(linear.forgotten)
    forgotten[100:150] = True
    anew = linear.fitted_anew(data, (~forgotten).double(), forgotten)
    expected = unlearn.fit_linear(without(data, gone))
    torch.testing.assert_close(anew.scaler.std, expected.scaler.std, rtol=1e-12, atol=0)
    assert close(anew.head, expected.head)
    assert anew.card.fitted[-1]["fitted_on"].startswith(f"{len(data.split.train) - 50} training rows that remained")
    load = data.load_mw.copy()
    features = data.features.copy()
    load[gone], features[gone] = 7.0, 0.0
    plain = replace(data, declared_lags=())
    hidden = replace(plain, load_mw=load, features=features)
    one, two = (linear.fitted_anew(own, (~forgotten).double(), forgotten) for own in (plain, hidden))
    assert torch.equal(one.head, two.head)
    assert one.statistics is not None
    assert two.statistics is not None
    for first, second in zip(one.statistics.to_tensors().values(), two.statistics.to_tensors().values(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_outputs_of_the_same_weights_are_fitted_together_and_one_without_any_is_0(data: LoadDataset, l2: float) -> None:
    model = unlearn.fit_linear(data, l2)
    weights = torch.ones_like(model.weights)
    weights[:40, 1] = 0.0
    weights[:, 2] = 0.0
    anew = model.fitted_anew(data, weights, weights == 0)
    assert close(anew.head[0], model.head[0])
    design = anew.design_of(data, data.split.train).numpy()[40:]
    ridge = 0.5 * l2 * 3 * np.eye(design.shape[1])
    expected = np.linalg.solve(design.T @ design + ridge, design.T @ data.load_pu[data.split.train[40:], 1])
    np.testing.assert_allclose(anew.head[1].numpy(), expected, rtol=1e-6, atol=1e-9)  # solved by normal equations
    assert not anew.head[2].any()
    renewed = anew.with_statistics(data)
    assert renewed.statistics is not None
    assert anew.statistics is not None
    assert torch.equal(renewed.statistics.groups[0].moments, anew.statistics.groups[0].moments)


def test_of_a_network_the_head_alone(data: LoadDataset, other: LoadDataset) -> None:
    model = unlearn.fit_network(data, "cnn", QUICK)
    anew = model.fitted_anew(other)
    rows = other.split.sensitive
    design = model.design_of(other, rows)
    assert torch.equal(anew.design_of(other, rows), design)
    expected = np.linalg.lstsq(design.numpy(), other.load_pu[rows], rcond=None)[0].T
    np.testing.assert_allclose(anew.head.numpy(), expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    anew.require_match(other)
    assert anew.card.history == model.card.history
    assert anew.card.fitted == model.card.fitted


def test_what_was_forgotten_before_stays_on_the_card(data: LoadDataset, linear: Forecaster) -> None:
    forgot = unlearn.forget(linear, data, range(30)).model
    anew = forgot.fitted_anew(data)
    assert anew.card.forgotten == forgot.card.forgotten
    assert torch.equal(anew.weights, forgot.weights)
    assert torch.equal(anew.forgotten, forgot.forgotten)


def test_what_does_not_fit_is_refused(data: LoadDataset, linear: Forecaster) -> None:
    with pytest.raises(MismatchError, match="do not match: the model expects 3 loads"):
        linear.fitted_anew(unlearn.load_dataset("synthetic", n_loads=3, n_hours=1100))
    with pytest.raises(InputError, match=r"weights: expected shape \(\d+, 3\), got \(5, 3\)"):
        linear.fitted_anew(data, torch.ones((5, 3)))
    whole = unlearn.fit_network(data, "cnn", QUICK, loss="mse")
    with pytest.raises(InputError, match="trained as a whole"):
        whole.fitted_anew(data)
