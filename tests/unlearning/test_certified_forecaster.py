"""Certified forecasters: their design, what they forget, what they say, and files."""

import json

import numpy as np
import pytest

import unlearn
from unlearn.data import make_synthetic
from unlearn.dp import SimulatedNoise
from unlearn.errors import BudgetError, DataError, InputError
from unlearn.unlearning import (
    CertifiedHead,
    Logistic,
    PseudoHuber,
    fit_certified,
    load_certified,
    save_certified,
)


@pytest.fixture(scope="module")
def data():
    return make_synthetic(n_loads=3, n_hours=1000)


@pytest.fixture(scope="module")
def model(data):
    return fit_certified(data, sigma=0.3)


def test_without_noise_it_forecasts_as_least_squares_does(data):
    test = data.split.test
    errors = [
        np.abs(own.forecast(data.features[test]) - data.load_pu[test]).mean()
        for own in (fit_certified(data, sigma=0.0, l2=1e-3), unlearn.fit_linear(data))
    ]
    assert errors[0] < 1.05 * errors[1]


def test_its_design_is_that_of_the_linear_forecaster_scaled(data, model):
    train = data.split.train
    plain = unlearn.fit_linear(data)
    design = plain.design_of(data, train).numpy()
    D = design.shape[1]
    target = data.load_pu[train] / data.load_pu[train].max(axis=0)
    head = CertifiedHead.fit(design / (2 * np.sqrt(D)), target, PseudoHuber(0.3), l2=0.1, sigma=0.0)
    own = fit_certified(data, PseudoHuber(0.3), sigma=0.0)
    np.testing.assert_allclose(own.head.weights, head.weights, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        own.forecast(data.features), head.predict(own.design(data.features)) * data.load_pu[train].max(axis=0)
    )


def test_hours_are_forgotten_by_their_dates(data, model):
    start = data.timestamps[48]
    after = model.forget((start, start + np.timedelta64(6, "h")))
    assert after.certificate()["removed"] == 6
    np.testing.assert_array_equal(np.setdiff1d(model.head.rows, after.head.rows), np.arange(48, 54))
    overlap = after.forget(range(50, 56))  # four of them are gone already
    assert overlap.certificate()["removed"] == 8
    assert np.abs(after.forecast(data.features) - model.forecast(data.features)).max() > 0


def test_rows_that_it_never_learnt_from_need_no_forgetting(data, model):
    test = data.split.test
    assert model.forget([3, *test[:5]]).certificate()["removed"] == 1
    for rows in (test[:5], []):
        with pytest.raises(InputError, match="nothing to forget"):
            model.forget(rows)
    with pytest.raises(InputError, match="nothing to forget"):
        model.forget([3]).forget([3])


def test_a_removal_beyond_the_budget_is_refused_or_fitted_anew(data):
    model = fit_certified(data, sigma=1e-4)
    with pytest.raises(BudgetError, match="A retrain is due"):
        model.forget(range(300))
    after = model.forget(range(300), retrain=True)
    assert after.certificate()["removed"] == 300
    assert after.retrained().head.requests == 0


def test_peak_hours(data):
    peaks = data.load_pu > 0.8 * data.load_pu.max(axis=0)
    model = fit_certified(data, Logistic(), target=peaks, sigma=1.0)
    test = data.split.test
    assert ((model.forecast(data.features[test]) > 0) == peaks[test]).mean() > 0.8
    assert model.forget([5]).certificate()["loss"] == {"name": "logistic"}


def test_what_it_says(data, model):
    said = model.forget([5]).certificate()
    assert said["fingerprint"] == data.fingerprint
    assert said["noise"] == "os"
    assert any("scaler" in sentence for sentence in said["limitations"])
    assert not any("lags" in sentence for sentence in said["limitations"])
    json.dumps(said)
    lagged = fit_certified(data.with_lags([24]), sigma=0.3)
    assert any("lags" in sentence for sentence in lagged.certificate()["limitations"])


def test_it_comes_back_from_its_files(data, model, tmp_path):
    before = model.forget([5, 6])
    folder = save_certified(before, tmp_path / "model")
    again = load_certified(folder)
    np.testing.assert_array_equal(again.forecast(data.features), before.forecast(data.features))
    assert again.certificate() == before.certificate()
    one, two = (own.forget([9]) for own in (again, before))
    np.testing.assert_array_equal(one.head.weights, two.head.weights)
    assert {file.stat().st_mode & 0o077 for file in folder.iterdir()} == {0}, "rows and noise are in it"


def test_damaged_and_other_files_are_refused(data, model, tmp_path):
    folder = save_certified(model, tmp_path / "model")
    (folder / "certified.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(DataError):
        load_certified(folder)
    other = tmp_path / "other"
    unlearn.save_forecaster(unlearn.fit_linear(data), other)
    with pytest.raises(DataError):
        load_certified(other)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"reach": 0.0}, "reach: expected a number above 0"),
        ({"noise": SimulatedNoise(1)}, 'noise: expected "os" for synthetic'),
        ({"target": np.ones((3, 1))}, "target: expected shape"),
        ({"epsilon": 2.0}, "epsilon: expected at most 1"),
    ],
)
def test_refusals(data, changed, said):
    with pytest.raises(InputError, match=said):
        fit_certified(data, **changed)


def test_features_that_do_not_fit_are_refused(data, model):
    with pytest.raises(InputError, match="features: expected shape"):
        model.forecast(data.features[:, :2])
