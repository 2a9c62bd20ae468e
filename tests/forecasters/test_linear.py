"""The linear forecaster against scikit-learn and a closed-form ridge."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

import unlearn
from unlearn.data import distinct_columns
from unlearn.errors import InputError, MismatchError, SingularHessianError
from unlearn.forecasters import HeadObjective


def flat(dataset, rows):
    return dataset.features[rows].reshape(len(rows), -1)


def test_forecasts_equal_scikit_learn_on_the_distinct_columns(linear, dataset):
    train, test = dataset.split.train, dataset.split.test
    chosen = [b * len(dataset.feature_names) + f for b, f in distinct_columns(dataset.features[train])]
    reference = LinearRegression().fit(flat(dataset, train)[:, chosen], dataset.load_pu[train])
    expected = reference.predict(flat(dataset, test)[:, chosen])
    np.testing.assert_allclose(linear.forecast(dataset.features[test]), expected, atol=1e-9)


def test_the_calendar_enters_once_and_every_weather_column(linear, dataset):
    names = linear.column_names()
    assert len(names) == 4 + 14 * 6 + 1
    assert names[-1] == "intercept"
    assert sum("hour_sin" in name for name in names) == 1


def test_repeated_and_constant_columns_are_dropped(dataset):
    features = dataset.features.copy()
    features[:, 1] = features[:, 0]  # loads 1 and 2 share a station
    features[:, 2, 5] = 300.0
    model = unlearn.fit_linear(replace(dataset, features=features))
    assert len(model.column_names()) == 4 + 13 * 6 - 1 + 1
    assert not any(name.startswith("load_2:") for name in model.column_names())


def test_dependent_columns_that_are_no_repeats_are_named(dataset):
    features = dataset.features.copy()
    features[:, 0, 4] = features[:, 1, 4] + features[:, 2, 4]
    with pytest.raises(SingularHessianError, match=r"load_1:temperature_k, load_2:temperature_k, load_3:temperature_k"):
        unlearn.fit_linear(replace(dataset, features=features))
    assert unlearn.fit_linear(replace(dataset, features=features), l2=1e-6).theta.isfinite().all()


def test_l2_equals_closed_form_ridge(dataset):
    model = unlearn.fit_linear(dataset, l2=3.0)
    design = model.design_of(dataset, dataset.split.train).numpy()
    target = dataset.load_pu[dataset.split.train]
    # (2/B) Φ'(ΦW' − Y) + l2 W' = 0
    gram = design.T @ design + 0.5 * 3.0 * 14 * np.eye(design.shape[1])
    np.testing.assert_allclose(model.head.numpy().T, np.linalg.solve(gram, design.T @ target), rtol=1e-8, atol=1e-12)


def test_the_declared_scaler_matters_only_with_l2(linear, dataset):
    said = {l2: unlearn.fit_linear(dataset, l2=l2).card.fitted[-1]["fitted_on"] for l2 in (0.0, 1.0)}
    assert said[0.0].startswith("train (forecasts do not depend on it")
    assert said[1.0] == "train"


def test_scaler_and_head_do_not_see_validation_or_test_rows(linear, dataset):
    features, load = dataset.features.copy(), dataset.load_mw.copy()
    later = dataset.split.train[-1] + 1
    features[later:, :, 4:] *= 7.0
    load[later:] *= 3.0
    other = unlearn.fit_linear(replace(dataset, features=features, load_mw=load))
    for name, value in linear.state_dict().items():
        # The later rows would move them by their own size; several threads add up in another order each time.
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-9, atol=1e-11)


def test_forecast_refuses_wrong_shapes_and_nan(linear, dataset):
    features = dataset.features[:3].copy()
    with pytest.raises(InputError, match=r"features: expected shape \(any, 14, 10\), got \(3, 13, 10\)"):
        linear.forecast(features[:, :13])
    with pytest.raises(InputError, match="features: expected 3 axes, got 2"):
        linear.forecast(features[0])
    features[2, 1, 0] = np.nan
    with pytest.raises(InputError, match=r"features: expected finite values.*first at \(2, 1, 0\)"):
        linear.forecast(features)


def test_forecast_is_the_forward_pass_and_needs_no_gradient(model, dataset):
    features = dataset.features[:5]
    found = model.forecast(features)
    assert found.shape == (5, 14)
    np.testing.assert_array_equal(found, model(torch.from_numpy(features)).detach().numpy())


def test_a_data_set_of_other_content_is_refused(model, dataset):
    other = replace(dataset, load_mw=dataset.load_mw * 1.01)
    with pytest.raises(MismatchError, match=r"fitted on 'synthetic' with fingerprint .*fit the model on this data set"):
        model.objective(other)


def test_a_data_set_of_other_loads_is_refused(model):
    other = unlearn.load_dataset("synthetic", n_hours=200, n_loads=3)
    with pytest.raises(MismatchError, match=r"the model expects 14 loads .* has 3 loads"):
        model.objective(other)


def test_with_theta_leaves_the_model_alone(linear):
    before = linear.theta
    other = linear.with_theta(torch.zeros_like(before))
    assert not other.theta.any()
    torch.testing.assert_close(linear.theta, before, rtol=0, atol=0)


def test_a_base_forecaster_has_no_design_of_its_own(linear):
    bare = unlearn.Forecaster(linear.card, 3)
    with pytest.raises(NotImplementedError, match=r"Forecaster must define design\(\)"):
        bare.design(torch.zeros(1, 14, 10))
    with pytest.raises(NotImplementedError, match=r"Forecaster must define column_names\(\)"):
        bare.column_names()


def test_design_and_target_must_have_as_many_rows():
    with pytest.raises(InputError, match="expected as many rows, got 3 and 2"):
        HeadObjective(torch.ones(3, 1), torch.ones(2, 1))
