"""Forgetting from sufficient statistics: the removed rows alone, a thousand times, and everything refused."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import unlearn
from tests.forecasters.test_checkpoint import rewrite
from unlearn.data import PUBLISHED
from unlearn.errors import InputError, MismatchError, SingularHessianError, SolverError
from unlearn.forecasters.checkpoint import WEIGHTS
from unlearn.forecasters.head import PREFIX, HeadStatistics
from unlearn.linalg import ACCURACY
from unlearn.unlearning import relative_distance, steps


def given(dataset, rows):
    """Features and loads of some rows."""
    return dataset.features[np.asarray(rows)], dataset.load_pu[np.asarray(rows)]


def forget_rows(model, dataset, rows, **options):
    return unlearn.forget_rows(model, rows, *given(dataset, rows), **options)


def refit(model, dataset, weights):
    """Least squares by SVD, output by output, with the weights of each."""
    objective = model.objective(dataset)
    head = [objective.fit(weights[:, b]).reshape(model.head.shape)[b] for b in range(weights.shape[1])]
    return torch.stack(head).reshape(-1)


def test_forgetting_needs_the_removed_rows_alone(model, dataset):
    positions = np.random.default_rng(0).permutation(len(model.weights))[: len(model.weights) // 4]
    rows = model.training_rows(dataset)[positions]
    result = forget_rows(model, dataset, rows)
    expected = unlearn.retrain(model.objective(dataset), np.sort(positions))
    assert (result.complete, result.complete_as_given) == (False, True)
    assert relative_distance(result.model.theta, expected) <= 1e-9
    assert result.statistics["solver"] == "statistics"
    assert result.statistics["error_estimate"] <= ACCURACY
    assert (result.unlearn_rows == np.sort(rows)).all()
    assert (result.weights[positions] == 0).all()
    assert result.weights.sum() == len(model.weights) - len(rows)
    assert any(sentence.startswith("The removed rows were taken as given") for sentence in result.limitations)
    assert any("scaler" in sentence for sentence in result.limitations)


def test_a_quarter_of_the_published_size_is_exact():
    data = unlearn.load_dataset("synthetic", split=PUBLISHED)
    model = unlearn.fit_linear(data)
    rows = np.random.default_rng(0).permutation(7008)[:1752]
    result = forget_rows(model, data, rows)
    # Measured: 4e-15, at a condition number of 4e3 (1e-12 by plain normal equations).
    assert relative_distance(result.model.theta, unlearn.retrain(model.objective(data), rows)) <= 1e-12
    assert 1e3 < result.statistics["condition"] < 1e5


@pytest.fixture(scope="module")
def small():
    """2,100 training hours of two loads."""
    data = unlearn.load_dataset("synthetic", n_hours=3000, n_loads=2)
    return data, unlearn.fit_linear(data)


@pytest.mark.slow
def test_a_thousand_removals_in_a_row_equal_one_refit(small):
    data, model = small
    order = np.random.default_rng(0).permutation(len(model.weights))[:1500]
    forgetful = model
    for rows in np.array_split(order, 1000):
        result = forget_rows(forgetful, data, rows)
        forgetful = result.model
    assert result.complete_as_given
    assert len(forgetful.card.forgotten) == 1000
    expected = unlearn.retrain(model.objective(data), np.sort(order))
    # Measured: 1e-14; what is promised is 1e-8.
    assert relative_distance(forgetful.theta, expected) <= 1e-12
    assert result.statistics["error_estimate"] <= 1e-12
    assert relative_distance(forgetful.theta, forget_rows(model, data, order).model.theta) <= 1e-14


def test_single_loads_divide_the_statistics(linear, dataset):
    names = list(dataset.load_names)
    first = forget_rows(linear, dataset, range(50), loads=names[:2]).model
    second = forget_rows(first, dataset, range(30, 90)).model
    third = forget_rows(second, dataset, range(200, 260), loads=names[1:4]).model
    weights = torch.ones_like(linear.weights)
    weights[:50, :2] = 0
    weights[30:90] = 0
    weights[200:260, 1:4] = 0
    assert torch.equal(third.weights, weights)
    assert relative_distance(third.theta, refit(linear, dataset, weights)) <= 1e-11
    assert len(third.statistics.groups) == 4
    assert [round(third.statistics.of_output(b).total) for b in (0, 1, 2, 9)] == [890, 830, 860, 920]


def test_both_ways_of_forgetting_can_be_mixed(model, dataset):
    first, second = np.split(model.training_rows(dataset)[:80], 2)
    one = forget_rows(unlearn.forget(model, dataset, first).model, dataset, second).model
    other = unlearn.forget(forget_rows(model, dataset, first).model, dataset, second).model
    assert relative_distance(one.theta, other.theta) <= 1e-9
    assert torch.equal(one.weights, other.weights)


@pytest.mark.parametrize(
    "options",
    [
        {"criterion": "mse", "l1_budget": 0.05},
        {"form": "first_order"},
        {"ihvp": unlearn.IhvpOptions("cg", rtol=1e-9)},
    ],
    ids=["re-weighted", "first order", "conjugate gradients"],
)
def test_statistics_follow_every_kind_of_step(linear, dataset, options):
    """After any step, forgetting from statistics equals a refit with the weights that the step left."""
    step = unlearn.reweight if "criterion" in options else unlearn.forget
    changed = step(linear, dataset, range(40), **options).model
    rows = np.flatnonzero(changed.weights[:, 0] > 0)[:60]
    result = forget_rows(changed, dataset, rows)
    assert relative_distance(result.model.theta, refit(linear, dataset, result.model.weights)) <= 1e-10
    assert result.complete_as_given == ("ihvp" in options), "an earlier step was incomplete"


def test_statistics_survive_saving_bit_for_bit(linear, dataset, tmp_path):
    once = forget_rows(linear, dataset, range(40), loads=["load_3"]).model
    loaded = unlearn.load_forecaster(unlearn.save_forecaster(once, tmp_path))
    for name, tensor in once.statistics.to_tensors().items():
        assert torch.equal(loaded.statistics.to_tensors()[name], tensor), name
    first, again = (forget_rows(m, dataset, range(40, 80)).model.theta for m in (once, loaded))
    assert torch.equal(first, again)


def test_models_of_earlier_versions_have_no_statistics_and_can_get_them(linear, dataset, tmp_path):
    unlearn.save_forecaster(linear, tmp_path)
    tensors = {k: v for k, v in load_file(tmp_path / WEIGHTS).items() if not k.startswith(PREFIX)}
    rewrite(tmp_path, tensors)
    old = unlearn.load_forecaster(tmp_path)
    with pytest.raises(InputError, match=r"with sufficient statistics, got one without.*with_statistics\(dataset\)"):
        forget_rows(old, dataset, range(40))
    expected = forget_rows(linear, dataset, range(40)).model.theta
    assert torch.equal(forget_rows(old.with_statistics(dataset), dataset, range(40)).model.theta, expected)
    by_data = unlearn.forget(old, dataset, range(40)).model
    assert relative_distance(by_data.theta, expected) <= 1e-14
    assert by_data.statistics is not None


def test_broken_statistics_in_a_checkpoint_are_refused(linear, tmp_path):
    unlearn.save_forecaster(linear, tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    rewrite(tmp_path, {**tensors, f"{PREFIX}group": torch.full((14,), 3)})
    with pytest.raises(InputError, match="does not fit its card: sufficient statistics"):
        unlearn.load_forecaster(tmp_path)
    del tensors[f"{PREFIX}rounding"]
    rewrite(tmp_path, tensors)
    with pytest.raises(InputError, match="does not fit its card: sufficient statistics"):
        unlearn.load_forecaster(tmp_path)


def test_changed_weights_without_statistics_drop_them(linear):
    assert linear.with_theta(linear.theta).statistics is linear.statistics
    assert linear.with_theta(linear.theta, linear.weights).statistics is None


def test_a_head_that_is_no_minimum_ends_at_the_minimum(linear, dataset):
    unfinished = linear.with_theta(linear.theta * 1.001)
    result = forget_rows(unfinished, dataset, range(40))
    assert result.complete_as_given
    expected = unlearn.retrain(linear.objective(dataset), np.arange(40))
    assert relative_distance(result.model.theta, expected) <= 1e-12


def test_a_regulariser_is_kept(dataset):
    model = unlearn.fit_linear(dataset, l2=50.0)
    result = forget_rows(model, dataset, range(200))
    expected = unlearn.retrain(model.objective(dataset), np.arange(200))
    assert relative_distance(result.model.theta, expected) <= 1e-12


def test_rows_and_their_data_stay_together_in_any_order(linear, dataset):
    mask = np.zeros(1400, dtype=bool)
    mask[[2, 5, 700]] = True
    hours = dataset.timestamps[[700, 2, 5]]
    ways = (([700, 2, 5], [700, 2, 5]), ([2, 5, 700], [2, 5, 700]), (mask, [2, 5, 700]), (hours, [700, 2, 5]))
    thetas = [unlearn.forget_rows(linear, rows, *given(dataset, order)).model.theta for rows, order in ways]
    assert all(torch.equal(theta, thetas[0]) for theta in thetas)
    days = (dataset.timestamps[24], dataset.timestamps[72])
    of_pair = unlearn.forget_rows(linear, days, *given(dataset, range(24, 72)))
    assert of_pair.unlearn_rows.tolist() == list(range(24, 72))


def test_what_was_forgotten_before_is_refused(linear, dataset):
    once = forget_rows(linear, dataset, range(40)).model
    with pytest.raises(InputError, match=r"10 of 20 were forgotten before, first 30; .* Leave them out"):
        forget_rows(once, dataset, range(30, 50))
    with pytest.raises(InputError, match="all 10 were forgotten before"):
        forget_rows(once, dataset, range(10))
    with pytest.raises(InputError, match="all that is left"):
        forget_rows(once, dataset, range(40, 980))
    # Forgotten for one load only, they are still there for the others.
    partly = forget_rows(linear, dataset, range(40), loads=["load_1"]).model
    with pytest.raises(InputError, match="all 40 were forgotten before"):
        forget_rows(partly, dataset, range(40), loads=["load_1"])
    whole = forget_rows(partly, dataset, range(40)).model
    assert relative_distance(whole.theta, once.theta) <= 1e-14
    assert relative_distance(unlearn.forget(partly, dataset, range(40)).model.theta, once.theta) <= 1e-14


def test_rows_that_cannot_have_been_trained_on_are_refused(linear, dataset):
    features, load = given(dataset, range(40))
    with pytest.raises(MismatchError, match=r"cannot have been among the training rows\..*leverage is above 1"):
        unlearn.forget_rows(linear, range(40), 30 * features, load)
    with pytest.raises(MismatchError, match=r"sum of squared residuals is negative.*in p\.u\."):
        unlearn.forget_rows(linear, range(40), features, 100 * load)


def test_what_does_not_determine_the_head_is_refused(linear, dataset):
    sun = dataset.features[dataset.split.train][:, :, dataset.feature_names.index("shortwave_w_m2")]
    day = np.flatnonzero((sun > 0).any(axis=1))
    with pytest.raises(SingularHessianError, match=r"dependent features: .*shortwave_w_m2.*go back to the data"):
        forget_rows(linear, dataset, day)


def blurred(model, rounding):
    """The model, its statistics known to a larger error only."""
    groups = tuple(replace(g, rounding=rounding * g.moments[0].diagonal()) for g in model.statistics.groups)
    return model.with_theta(model.theta, model.weights, statistics=HeadStatistics(groups, model.statistics.group))


def test_statistics_that_are_no_longer_accurate_are_refused_or_summed_up_anew(linear, dataset):
    worn = blurred(linear, 1e-10)
    with pytest.raises(
        SolverError, match=r"estimated error of the head is .*above 1e-09.*forget\(model, dataset, rows"
    ):
        forget_rows(worn, dataset, range(40))
    renewed = unlearn.forget(worn, dataset, range(40), compare_retrained=True)
    assert renewed.complete
    assert renewed.statistics["solver"] == "statistics"
    assert renewed.distance_to_retrained <= 1e-12
    assert renewed.model.statistics.groups[0].rounding.max() < worn.statistics.groups[0].rounding.max() / 1e6
    assert forget_rows(renewed.model, dataset, range(40, 80)).complete_as_given


def test_statistics_wear_out_as_removals_go_on(small):
    """The error that is left behind by a removal counts against what remains."""
    data, model = small
    bounds = []
    for rows in np.split(np.arange(1950), 13):
        result = forget_rows(model, data, rows)
        model = result.model
        bounds.append(result.model.statistics.groups[0].rounding)
    assert all((later > earlier).all() for earlier, later in pairwise(bounds))


def test_where_statistics_do_not_suffice_the_data_decides(dataset, monkeypatch):
    """Two columns that differ by 1e-8: a condition of 1e16 and more, beyond any sum of squares."""
    model = unlearn.fit_linear(dataset)
    objective = model.objective(dataset)
    twin = objective.design[:, :1] + 1e-8 * torch.from_numpy(np.random.default_rng(0).normal(size=(980, 1)))
    hard = type(objective)(torch.cat([objective.design, twin], dim=1), objective.target)
    other = model.with_theta(model.theta)
    other.head = hard.fit().reshape(14, -1)
    other.statistics = HeadStatistics.of(hard.design, hard.target, model.weights)
    monkeypatch.setattr(type(model), "objective", lambda self, data: hard)
    monkeypatch.setattr(type(model), "column_names", lambda self: [f"column {i}" for i in range(hard.n_columns)])
    monkeypatch.setattr(
        type(model), "design_of", lambda self, data, rows: hard.design[np.searchsorted(data.split.train, rows)]
    )
    result = unlearn.forget(other, dataset, range(100), form="remain_gradient")
    assert result.statistics["solver"] == "gram-qr"
    after = torch.ones(980, dtype=torch.float64)
    after[:100] = 0
    forecast, expected = (h.reshape(14, -1) @ hard.design.T for h in (result.model.theta, hard.fit(after)))
    assert relative_distance(forecast, expected) <= 1e-7


def test_an_ill_conditioned_network_is_not_unlearnt_from_features_that_are_not_exact(cnn, dataset):
    """Two features 1e-6 apart, a condition of 1e13: the last bits of features computed anew would decide the head."""
    model = copy.deepcopy(cnn)
    linear = model.extractor.linear
    linear.weight[1] = linear.weight[0] + 1e-6 * linear.weight[1]
    linear.bias[1] = linear.bias[0]
    model = model.fitted_to(dataset)
    rows = model.training_rows(dataset)[:100]
    with pytest.raises((SolverError, SingularHessianError), match=r"back to the (remaining )?data"):
        forget_rows(model, dataset, rows)
    result = unlearn.forget(model, dataset, rows, form="remain_gradient")
    objective = model.objective(dataset)
    expected = unlearn.retrain(objective, np.arange(100)).reshape(14, -1)
    assert result.statistics["condition"] > 1e11
    forecasts = (objective.design @ h.T for h in (result.model.head, expected))
    # What float64 least squares allows at this condition; heads may differ by far more than forecasts.
    assert relative_distance(*forecasts) <= 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rows": [], "features": np.zeros((0, 14, 10)), "load_pu": np.zeros((0, 14))},
            "expected at least one, got none",
        ),
        ({"rows": [0, 1400]}, "expected rows from 0 to 1399, got 1 outside"),
        ({"rows": [3, 3]}, "got 1 duplicated"),
        ({"features": np.zeros((3, 14, 10))}, r"features: expected shape \(2, 14, 10\), got \(3, 14, 10\)"),
        ({"features": np.full((2, 14, 10), np.nan)}, "features: expected finite values"),
        ({"load_pu": np.zeros((2, 13))}, r"load_pu: expected shape \(2, 14\), got \(2, 13\)"),
        ({"load_pu": np.full((2, 14), np.inf)}, "load_pu: expected finite values"),
        ({"loads": ["load_99"]}, "loads: expected some of load_1, .*; got load_99"),
        ({"loads": "load_1"}, "loads: expected a list of names"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_unusable_requests_are_refused_with_a_reason(linear, dataset, change, message):
    features, load = given(dataset, [0, 1])
    with pytest.raises(InputError, match=message):
        unlearn.forget_rows(**{"model": linear, "rows": [0, 1], "features": features, "load_pu": load, **change})


def test_a_model_with_nan_parameters_is_refused(linear, dataset):
    with pytest.raises(InputError, match="parameters: expected finite values, got NaN"):
        forget_rows(linear.with_theta(torch.full_like(linear.theta, torch.nan)), dataset, range(4))


def test_the_model_given_is_untouched(linear, dataset):
    before = {name: tensor.clone() for name, tensor in linear.statistics.to_tensors().items()}
    forget_rows(linear, dataset, range(40))
    for name, tensor in linear.statistics.to_tensors().items():
        assert torch.equal(before[name], tensor)
    assert (linear.weights == 1).all()


def test_a_step_that_the_data_must_decide_keeps_fresh_statistics(linear, dataset, monkeypatch):
    monkeypatch.setattr(steps, "_step_if_accurate", lambda *arguments: None)
    result = unlearn.forget(linear, dataset, range(40), compare_retrained=True)
    assert result.statistics["solver"] == "gram-cholesky"
    assert result.distance_to_retrained <= 1e-10
    assert result.model.statistics.groups[0].total == 940
