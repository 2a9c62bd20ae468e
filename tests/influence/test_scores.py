"""Criterion gradients, and influence scores against what they claim: refits without the sample."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from unlearn.criteria import MAPE, MSE, OperatingCostCriterion
from unlearn.errors import InputError
from unlearn.forecasters import HeadObjective
from unlearn.grid import price_hours
from unlearn.influence import criterion_gradient, influence_scores
from unlearn.linalg import IhvpOptions


@pytest.fixture(scope="module")
def slice_(dataset):
    """A few validation hours: features and loads."""
    rows = dataset.split.validation[:40]
    return dataset.features[rows], dataset.load_pu[rows]


@pytest.mark.parametrize("criterion", [MSE(), MAPE()], ids=["mse", "mape"])
def test_gradient_equals_autograd_through_the_whole_model(model, slice_, criterion):
    features, load = slice_
    found = criterion_gradient(model, criterion, features, load)
    head = torch.nn.Parameter(model.head.clone())
    values = criterion(model.design(torch.from_numpy(features)) @ head.T, torch.from_numpy(load))
    values.mean().backward()
    torch.testing.assert_close(found.gradient, head.grad.reshape(-1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.values, values.detach(), rtol=1e-12, atol=0)
    assert found.criterion == criterion.name


def test_cost_gradient_equals_finite_differences_in_directions_of_the_head(linear, slice_, cost):
    features, load = slice_
    found = criterion_gradient(linear, OperatingCostCriterion(cost), features, load)
    random = torch.Generator().manual_seed(0)
    for _ in range(4):
        direction = torch.randn(linear.theta.shape, generator=random, dtype=torch.float64)
        step = 1e-5 / float((linear.with_theta(direction)(torch.from_numpy(features))).abs().max())
        mean = [
            float(price_hours(cost, linear.with_theta(linear.theta + s * direction)(torch.from_numpy(features)),
                              torch.from_numpy(load)).total.mean())
            for s in (step, -step)
        ]  # fmt: skip
        # 1e-3: the project's measure for cost gradients; 40 hours meet few kinks within the step.
        assert float(found.gradient @ direction) == pytest.approx((mean[0] - mean[1]) / (2 * step), rel=1e-3)


@pytest.mark.parametrize("name", ["mse", "cost"])
def test_gradient_does_not_depend_on_the_chunk(linear, slice_, cost, name):
    criterion = MSE() if name == "mse" else OperatingCostCriterion(cost)
    whole = criterion_gradient(linear, criterion, *slice_)
    split = criterion_gradient(linear, criterion, *slice_, chunk=9)
    # The layer's solutions are exact to its KKT tolerance of 1e-5 only.
    tolerance = 1e-12 if name == "mse" else 1e-5
    largest = float(whole.gradient.abs().max())
    torch.testing.assert_close(split.gradient, whole.gradient, rtol=tolerance, atol=tolerance * largest)
    torch.testing.assert_close(split.values, whole.values, rtol=tolerance, atol=0)


def test_gradient_may_be_asked_for_where_autograd_is_off(linear, slice_):
    with torch.no_grad():
        found = criterion_gradient(linear, MSE(), *slice_)
    torch.testing.assert_close(found.gradient, criterion_gradient(linear, MSE(), *slice_).gradient)


def test_gradient_needs_samples_and_a_trained_model(linear, slice_):
    features, load = slice_
    with pytest.raises(InputError, match="mse gradient: expected evaluation samples, got none"):
        criterion_gradient(linear, MSE(), features[:0], load[:0])
    untrained = linear.with_theta(torch.full_like(linear.theta, torch.nan))
    with pytest.raises(InputError, match=r"parameters: expected finite values.*was the model trained"):
        criterion_gradient(untrained, MSE(), features, load)


def evaluate(model, theta, slice_) -> float:
    features, load = slice_
    return float(MSE()(model.with_theta(theta)(torch.from_numpy(features)), torch.from_numpy(load)).mean())


@pytest.mark.parametrize("name", ["linear", "mixer"])
def test_influence_equals_true_leave_one_out_refits(request, dataset, slice_, name):
    model = request.getfixturevalue(name)
    objective, theta = model.objective(dataset), model.theta
    slope = criterion_gradient(model, MSE(), *slice_).gradient
    scores = influence_scores(objective, theta, slope)
    base = evaluate(model, theta, slice_)
    rows = np.random.default_rng(0).choice(objective.n_samples, 40, replace=False)
    true = []
    for row in rows:
        weights = torch.ones(objective.n_samples, dtype=torch.float64)
        weights[row] = 0
        true.append(evaluate(model, objective.fit(weights), slice_) - base)
    predicted = scores[rows].numpy()
    assert np.corrcoef(predicted, true)[0, 1] > 0.99
    # First order in the weight: the refit also has one row less in its Hessian, a leverage of about P/n.
    assert np.polyfit(predicted, true, 1)[0] == pytest.approx(1.0, abs=0.25)
    strong = np.abs(predicted) > np.median(np.abs(predicted))
    assert (np.sign(predicted[strong]) == np.sign(np.array(true)[strong])).all()


def test_influence_of_a_group_adds_up_to_its_refit(linear, dataset, slice_):
    objective, theta = linear.objective(dataset), linear.theta
    slope = criterion_gradient(linear, MSE(), *slice_).gradient
    scores = influence_scores(objective, theta, slope)
    base = evaluate(linear, theta, slice_)
    predicted, true = [], []
    random = np.random.default_rng(1)
    for _ in range(25):
        rows = torch.from_numpy(random.choice(objective.n_samples, 10, replace=False))
        weights = torch.ones(objective.n_samples, dtype=torch.float64)
        weights[rows] = 0
        predicted.append(float(scores[rows].sum()))
        true.append(evaluate(linear, objective.fit(weights), slice_) - base)
    assert np.corrcoef(predicted, true)[0, 1] > 0.95


def test_removing_the_most_helpful_rows_makes_it_worse_and_the_most_harmful_better(linear, dataset, slice_):
    objective, theta = linear.objective(dataset), linear.theta
    scores = influence_scores(objective, theta, criterion_gradient(linear, MSE(), *slice_).gradient)
    base = evaluate(linear, theta, slice_)
    order = scores.argsort()
    for rows, worse in ((order[-20:], True), (order[:20], False)):
        weights = torch.ones(objective.n_samples, dtype=torch.float64)
        weights[rows] = 0
        assert (evaluate(linear, objective.fit(weights), slice_) > base) == worse


def test_weights_choose_the_hessian_and_all_rows_are_scored(linear, dataset, slice_):
    objective, theta = linear.objective(dataset), linear.theta
    slope = criterion_gradient(linear, MSE(), *slice_).gradient
    weights = torch.ones(objective.n_samples, dtype=torch.float64)
    weights[:300] = 0
    scores = influence_scores(objective, theta, slope, weights)
    solved = objective.hessian(theta, weights).solve(slope).value
    torch.testing.assert_close(scores, objective.per_sample_gradients(theta) @ solved, rtol=1e-8, atol=1e-12)
    assert (scores[:300] != 0).any()
    damped = influence_scores(objective, theta, slope, options=IhvpOptions(damping=10.0))
    assert damped.norm() < influence_scores(objective, theta, slope).norm()


def test_scores_of_all_samples_are_matrix_products(linear, dataset):
    """As many operations for all samples as for ten: nothing loops over samples."""

    class Counter(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.calls += 1
            return function(*args, **(kwargs or {}))

    whole = linear.objective(dataset)
    ten = HeadObjective(whole.design[:10], whole.target[:10])
    vector = torch.ones_like(linear.theta)
    calls = []
    for objective in (whole, ten):
        with Counter() as counter:
            scores = objective.gradient_products(linear.theta, vector)
        calls.append(counter.calls)
        assert len(scores) == objective.n_samples
    assert calls[0] == calls[1] < 20
    gradients = whole.per_sample_gradients(linear.theta)
    torch.testing.assert_close(whole.gradient_products(linear.theta, vector), gradients @ vector, rtol=1e-9, atol=1e-9)
