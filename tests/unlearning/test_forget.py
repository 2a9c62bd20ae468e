"""`forget`, the one call: what it does, what it says, and everything it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import unlearn
from unlearn.criteria import MSE
from unlearn.data import PUBLISHED
from unlearn.errors import InputError, MismatchError, SingularHessianError
from unlearn.grid import price_hours
from unlearn.linalg import IhvpOptions
from unlearn.unlearning import evaluation_rows, relative_distance, select

ROWS = range(100)


def head_rows(model, dataset):
    """A hundred rows of the data set that any head was fitted on."""
    return model.training_rows(dataset)[:100]


def test_complete_unlearning_is_the_default(model, dataset):
    rows = head_rows(model, dataset)
    result = unlearn.forget(model, dataset, rows, compare_retrained=True)
    assert result.unlearn_rows.tolist() == rows.tolist()
    assert result.complete
    assert result.criterion is None
    assert result.distance_to_retrained <= 1e-8
    assert result.distance_to_original == pytest.approx(relative_distance(result.model.theta, model.theta))
    assert (result.weights[:100] == 0).all()
    assert (result.weights[100:] == 1).all()
    assert set(result.seconds) == {"prepare", "unlearn", "compare"}
    assert result.statistics["relative_residual"] < 1e-10
    assert type(result.model) is type(model)


def test_the_original_model_is_untouched(linear, dataset):
    before = linear.theta
    unlearn.forget(linear, dataset, ROWS)
    assert torch.equal(linear.theta, before)


def test_masks_lists_and_arrays_mean_the_same_rows(linear, dataset):
    mask = np.zeros(len(dataset.timestamps), dtype=bool)
    mask[[2, 5, 700]] = True
    thetas = [unlearn.forget(linear, dataset, rows).model.theta for rows in (mask, [700, 2, 5], np.array([5, 700, 2]))]
    assert torch.equal(thetas[0], thetas[1])
    assert torch.equal(thetas[0], thetas[2])


def test_the_forgotten_rows_no_longer_matter(linear, dataset):
    """Other loads in the rows to forget, then forgotten: the same model, up to rounding."""
    load = dataset.load_mw.copy()
    load[:100] *= np.random.default_rng(0).uniform(0.5, 1.5, (100, 14))
    changed = replace(dataset, load_mw=load)
    other = unlearn.forget(unlearn.fit_linear(changed), changed, ROWS).model.theta
    assert relative_distance(other, unlearn.forget(linear, dataset, ROWS).model.theta) <= 1e-8


@pytest.mark.parametrize("criterion", ["mse", "mape"])
def test_pamu_lowers_its_criterion_on_the_rows_it_looks_at(linear, dataset, criterion):
    complete = unlearn.forget(linear, dataset, ROWS)
    pamu = unlearn.reweight(linear, dataset, ROWS, criterion, l1_budget=0.1)
    seen = dataset.split.validation
    judge = unlearn.make_criterion(criterion)

    def value(model):
        forecast = torch.from_numpy(model.forecast(dataset.features[seen]))
        return float(judge(forecast, torch.from_numpy(dataset.load_pu[seen])).mean())

    assert value(pamu.model) < value(complete.model)
    assert (pamu.criterion, pamu.complete) == (criterion, False)


def test_tamu_lowers_the_operating_cost_on_validation(linear, dataset, cost):
    seen = dataset.split.validation
    rows = select.by_influence(linear, dataset, "mse", 0.25)
    complete = unlearn.forget(linear, dataset, rows)
    tamu = unlearn.reweight(linear, dataset, rows, "cost", l1_budget=0.1, grid=cost)

    def price(model):
        forecast = torch.from_numpy(model.forecast(dataset.features[seen]))
        return float(price_hours(cost, forecast, torch.from_numpy(dataset.load_pu[seen])).total.mean())

    assert price(tamu.model) < price(complete.model)


def test_a_criterion_of_ones_own_may_be_given(linear, dataset):
    class Own(MSE):
        name = "own"

    one = unlearn.reweight(linear, dataset, ROWS, Own(), l1_budget=0.1)
    assert one.criterion == "own"
    assert torch.equal(one.model.theta, unlearn.reweight(linear, dataset, ROWS, "mse", l1_budget=0.1).model.theta)


@pytest.mark.parametrize("budgets", [{"l1_budget": 0.0}, {"l1_budget": 0.1, "linf_budget": 0.0}])
def test_a_criterion_without_a_budget_is_complete_unlearning_and_says_so(linear, dataset, budgets):
    result = unlearn.reweight(linear, dataset, ROWS, "mse", **budgets, compare_retrained=True)
    assert result.complete
    assert result.distance_to_retrained <= 1e-8
    assert not any("not complete" in sentence for sentence in result.limitations)


def test_what_is_kept_is_a_limitation(linear, cnn, dataset):
    said = unlearn.forget(linear, dataset, ROWS).limitations
    scale = next(sentence for sentence in said if sentence.startswith("load scale is kept: "))
    assert scale.endswith("fitted on rows: train.")
    assert any(sentence.startswith("feature scaler") for sentence in said)
    of_network = unlearn.forget(cnn, dataset, head_rows(cnn, dataset)).limitations
    assert any(sentence.startswith("load scale") for sentence in of_network)
    assert any(
        "core (294 training rows" in sentence and "none of them is forgotten" in sentence for sentence in of_network
    )


def test_a_regulariser_is_a_limitation(dataset):
    model = unlearn.fit_linear(dataset, l2=0.5)
    assert "The head is regularised with l2 = 0.5, kept as it was." in unlearn.forget(model, dataset, ROWS).limitations


def test_reweighting_is_a_limitation_with_every_row_that_moved(linear, dataset):
    result = unlearn.reweight(linear, dataset, ROWS, "mse", l1_budget=0.1)
    moved = int((result.weights[100:] != 1).sum())
    assert (result.weights[100:] == 0).any(), "some rows were switched off"
    assert any(f"not complete forgetting: {moved} remaining rows were re-weighted" in s for s in result.limitations)


@pytest.mark.parametrize(
    "options", [{"form": "first_order"}, {"ihvp": IhvpOptions(damping=1.0)}], ids=["first order", "damped"]
)
def test_an_incomplete_update_is_a_limitation(linear, dataset, options):
    result = unlearn.forget(linear, dataset, ROWS, compare_retrained=True, **options)
    assert not result.complete
    assert result.distance_to_retrained > 1e-6
    assert any("not complete forgetting" in sentence for sentence in result.limitations)


def test_forgetting_single_loads_changes_only_their_outputs(model, dataset):
    rows = head_rows(model, dataset)
    result = unlearn.forget(model, dataset, rows, loads=["load_3", "load_7"], compare_retrained=True)
    changed = (result.model.head != model.head).any(dim=1)
    assert torch.nonzero(changed).flatten().tolist() == [2, 6]
    objective = model.objective(dataset)
    weights = torch.ones(objective.n_samples, dtype=torch.float64)
    weights[:100] = 0
    refit = objective.fit(weights).reshape(model.head.shape)[[2, 6]]
    assert relative_distance(result.model.head[[2, 6]], refit) <= 1e-8
    assert result.distance_to_retrained <= 1e-8


def test_conjugate_gradients_agree_with_the_direct_solve(model, dataset):
    rows = head_rows(model, dataset)
    direct = unlearn.forget(model, dataset, rows)
    cg = unlearn.forget(model, dataset, rows, ihvp=IhvpOptions("cg", rtol=1e-10))
    assert relative_distance(cg.model.theta, direct.model.theta) <= 1e-6
    assert cg.statistics["solver"] == "cg"
    assert cg.statistics["relative_residual"] <= 1e-10


def test_evaluation_rows_may_be_named_or_given(dataset):
    assert (evaluation_rows(dataset, "validation") == dataset.split.validation).all()
    assert (evaluation_rows(dataset, "test") == dataset.split.test).all()
    assert evaluation_rows(dataset, [7, 3]).tolist() == [3, 7]


def test_where_the_gradient_is_taken_matters(linear, dataset):
    thetas = [
        unlearn.reweight(linear, dataset, ROWS, "mse", l1_budget=0.1, evaluate_on=where).model.theta
        for where in ("validation", "test", [1100, 1101, 1102])
    ]
    assert not torch.equal(thetas[0], thetas[1])
    assert not torch.equal(thetas[1], thetas[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": []}, "rows to unlearn: expected at least one, got none; nothing to forget"),
        ({"rows": range(980)}, "got all 980 training rows; nothing would remain.*Keep some rows, or discard"),
        ({"rows": [980]}, "fitted on none of the 1 asked for .they are validation or test rows"),
        ({"rows": [1400]}, "expected rows from 0 to 1399, got 1 outside, first 1400"),
        ({"rows": [-1]}, "expected rows from 0 to 1399, got 1 outside, first -1"),
        ({"rows": [4, 4]}, r"got 1 duplicated, first 4. Pass numpy.unique\(rows\)"),
        ({"rows": [True] * 5}, r"boolean mask\): expected shape \(1400\), got \(5,\)"),
        ({"form": "half"}, "form: expected one of first_order"),
        ({"loads": np.array(["load_98"])}, "loads: expected some of load_1, .*; got load_98"),
        ({"loads": ["load_99"]}, "loads: expected some of load_1, .*; got load_99"),
        ({"loads": []}, "loads: expected some of load_1, .*; got none"),
        ({"loads": "load_1"}, r"loads: expected a list of names, got 'load_1'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_unusable_requests_are_refused_with_a_reason(linear, dataset, arguments, message):
    with pytest.raises(InputError, match=message):
        unlearn.forget(**{"model": linear, "dataset": dataset, "rows": ROWS, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": []}, "rows to unlearn: expected at least one, got none; nothing to forget"),
        ({"l1_budget": -0.1}, "l1_budget: expected a number of at least 0, got -0.1"),
        ({"l1_budget": None}, "l1_budget: expected a number of at least 0, got None"),
        ({"linf_budget": -0.1}, "linf_budget: expected a number of at least 0"),
        ({"linf_budget": 1.1}, "linf_budget: expected at most 1, got 1.1"),
        ({"criterion": "cost"}, 'criterion "cost" needs a grid'),
        ({"criterion": "rmse"}, "criterion: expected one of mse, mape, cost"),
        ({"criterion": None}, "criterion: expected a name .mse, mape, cost. or an object"),
        ({"evaluate_on": "train"}, 'evaluate_on: expected "validation", "test" or row numbers'),
        ({"evaluate_on": [5000]}, "evaluate_on: expected rows from 0 to 1399"),
        ({"evaluate_on": []}, "expected evaluation samples, got none"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_unusable_re_weightings_are_refused_with_a_reason(linear, dataset, arguments, message):
    with pytest.raises(InputError, match=message):
        unlearn.reweight(linear, dataset, **{"rows": ROWS, "criterion": "mse", "l1_budget": 0.1, **arguments})


@pytest.mark.parametrize("step", [unlearn.forget, lambda *given: unlearn.reweight(*given, "mse", 0.0)])
def test_a_model_with_nan_parameters_is_refused(linear, dataset, step):
    theta = linear.theta
    theta[3] = torch.nan
    with pytest.raises(InputError, match=r"parameters: expected finite values, got NaN .*was the model trained"):
        step(linear.with_theta(theta), dataset, ROWS)


def test_a_singular_hessian_names_the_features_and_how_to_damp(linear, dataset):
    """Forget every hour but nights: the sun no longer varies, and its columns depend on each other."""
    sun = dataset.features[dataset.split.train][:, :, dataset.feature_names.index("shortwave_w_m2")]
    day = np.flatnonzero((sun > 0).any(axis=1))
    with pytest.raises(SingularHessianError, match=r"dependent features: .*shortwave_w_m2.*pass IhvpOptions\(damping="):
        unlearn.forget(linear, dataset, day)


def test_a_data_set_that_is_not_the_models_is_refused(linear, grid):
    other = unlearn.load_dataset("synthetic", n_hours=1400, nominal_mw=grid.nominal_load_mw, random_state=1)
    with pytest.raises(MismatchError, match="model and data set do not match"):
        unlearn.forget(linear, other, ROWS)


def test_a_split_without_validation_rows_is_refused_with_a_remedy():
    data = unlearn.load_dataset("synthetic", n_hours=900, n_loads=2, split=PUBLISHED)
    model = unlearn.fit_linear(data)
    with pytest.raises(InputError, match=r'this split has no validation rows; .* pass evaluate_on="test"'):
        unlearn.reweight(model, data, ROWS, "mse", l1_budget=0.1)
    assert unlearn.reweight(model, data, ROWS, "mse", l1_budget=0.1, evaluate_on="test").model.theta.isfinite().all()


def test_what_is_printed_is_short(linear, dataset):
    result = unlearn.forget(linear, dataset, [3, 4])
    assert repr(result) == "Forgotten(LinearForecaster, rows removed: 2, complete)"
    tuned = unlearn.reweight(linear, dataset, [3, 4], "mse", l1_budget=0.1)
    assert repr(tuned) == "Forgotten(LinearForecaster, rows removed: 2, not complete, re-weighted by mse)"
    gradient = unlearn.criterion_gradient(linear, unlearn.MSE(), dataset.features[:9], dataset.load_pu[:9])
    assert repr(gradient) == "CriterionGradient(criterion='mse')"
