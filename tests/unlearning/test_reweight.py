"""The re-weighting program: its closed form, and the weighted refit that follows."""

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from unlearn.criteria import MSE
from unlearn.errors import InputError
from unlearn.influence import criterion_gradient
from unlearn.unlearning import Reweighting, newton_update, relative_distance

scores_of = st.builds(
    lambda seed, size, zeros: np.where(
        np.random.default_rng(seed).random(size) < zeros, 0.0, np.random.default_rng(seed + 1).normal(size=size)
    ),
    st.integers(0, 10_000),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.3, 1.0]),
)
budgets = st.one_of(st.sampled_from([0.0, 0.25, 1.0, 2.0]), st.floats(0.0, 1.5))
caps = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 1.0))


@given(scores=scores_of, l1=budgets, linf=caps)
def test_closed_form_keeps_both_budgets_and_never_turns_negative(scores, l1, linf):
    weights = Reweighting(l1, linf).weights(scores)
    assert weights.shape == scores.shape
    # Rounding of a sum of up to 60 numbers.
    assert np.abs(weights - 1).sum() <= l1 * len(scores) + 1e-12
    assert np.abs(weights - 1).max() <= linf + 1e-15
    assert weights.min() >= 0
    assert (weights[scores == 0] == 1).all()


def by_cvxpy(scores, l1, linf):
    epsilon = cp.Variable(len(scores))
    budgets = [cp.norm1(epsilon - 1) <= l1 * len(scores), cp.norm_inf(epsilon - 1) <= linf]
    # The scale of the scores does not matter to ε, but it does to the solver's tolerances.
    problem = cp.Problem(cp.Minimize((scores / (np.abs(scores).max() or 1.0)) @ epsilon), budgets)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert problem.status == cp.OPTIMAL
    return np.maximum(epsilon.value, 0.0)


@given(scores=scores_of, l1=budgets, linf=caps)
def test_closed_form_equals_the_objective_of_cvxpy(scores, l1, linf):
    closed = Reweighting(l1, linf).weights(scores) @ scores
    solved = by_cvxpy(scores, l1, linf) @ scores
    assert abs(closed - solved) <= 1e-8 * max(np.abs(scores).sum(), 1e-300)


@given(scores=scores_of, l1=budgets, linf=caps, seed=st.integers(0, 100))
def test_no_other_feasible_weights_are_better(scores, l1, linf, seed):
    random = np.random.default_rng(seed)
    move = np.clip(random.normal(size=scores.shape), -linf, linf)
    total = np.abs(move).sum()
    move *= min(1.0, l1 * len(scores) / total) if total else 0.0
    best = Reweighting(l1, linf).weights(scores) @ scores
    assert best <= (1 + move) @ scores + 1e-12


def test_the_largest_scores_move_first_and_the_next_gets_what_is_left():
    scores = np.array([0.1, -5.0, 3.0, 0.0, -2.0])
    # The budget is 0.5 * 5 = 2.5: two full moves of 1 and half a move for the third.
    np.testing.assert_allclose(Reweighting(0.5).weights(scores), [1.0, 2.0, 0.0, 1.0, 1.5])
    # 0.4 each: six moves could be paid, so all rows but the zero one move fully.
    np.testing.assert_allclose(Reweighting(0.5, 0.4).weights(scores), [0.6, 1.4, 0.6, 1.0, 1.4])


@pytest.mark.parametrize(("l1", "linf"), [(0.0, 1.0), (0.5, 0.0)])
def test_without_a_budget_no_weight_moves(l1, linf):
    assert (Reweighting(l1, linf).weights(np.array([1.0, -2.0])) == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1,), "l1_budget: expected a number of at least 0, got -0.1"),
        ((0.1, -1.0), "linf_budget: expected a number of at least 0, got -1"),
        ((0.1, 1.5), "linf_budget: expected at most 1, got 1.5: weights would turn negative"),
        ((float("nan"),), "l1_budget: expected a number of at least 0"),
    ],
)
def test_unusable_budgets_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Reweighting(*arguments)


def test_unusable_scores_are_refused():
    with pytest.raises(InputError, match="scores: expected finite values"):
        Reweighting(0.1).weights(np.array([1.0, np.nan]))
    with pytest.raises(InputError, match="scores: expected 1 axes, got 2"):
        Reweighting(0.1).weights(np.ones((2, 2)))


@pytest.fixture
def problem(model, dataset):
    """Objective, θ*, ∇MSE on validation rows, and a fifth of the rows to unlearn."""
    objective = model.objective(dataset)
    seen = dataset.split.validation
    slope = criterion_gradient(model, MSE(), dataset.features[seen], dataset.load_pu[seen]).gradient
    rows = np.random.default_rng(0).permutation(objective.n_samples)[: objective.n_samples // 5]
    return objective, model.theta, slope, rows


@pytest.mark.parametrize("l1", [0.05, 0.15, 0.25])
def test_theta_equals_weighted_least_squares_of_scikit_learn(problem, l1):
    objective, theta, slope, rows = problem
    update = Reweighting(l1).update(objective, theta, rows, slope)
    fitted = LinearRegression(fit_intercept=False).fit(
        objective.design.numpy(), objective.target.numpy(), sample_weight=update.weights.numpy()
    )
    assert relative_distance(update.theta, torch.from_numpy(fitted.coef_.reshape(-1))) <= 1e-8
    assert relative_distance(update.theta, objective.fit(update.weights)) <= 1e-8
    assert (update.weights[torch.from_numpy(rows)] == 0).all()


def test_without_a_budget_it_is_complete_unlearning(problem):
    objective, theta, slope, rows = problem
    update = Reweighting(0.0).update(objective, theta, rows, slope)
    complete = newton_update(objective, theta, rows, "remain_gradient")
    assert torch.equal(update.theta, complete.theta)
    assert torch.equal(update.weights, complete.weights)


def test_more_weight_on_a_row_of_negative_score_lowers_the_criterion(linear, dataset):
    objective, theta = linear.objective(dataset), linear.theta
    features, load = (torch.from_numpy(a[dataset.split.validation]) for a in (dataset.features, dataset.load_pu))
    slope = criterion_gradient(linear, MSE(), features.numpy(), load.numpy()).gradient
    ones = torch.ones(objective.n_samples, dtype=torch.float64)
    scores = -objective.gradient_products(theta, objective.hessian(theta, ones).solve(slope).value)

    def criterion(weights):
        return float(MSE()(linear.with_theta(objective.fit(weights))(features), load).mean())

    for row in (int(scores.argmin()), int(scores.argmax())):
        step = torch.zeros_like(ones)
        step[row] = 0.01
        change = (criterion(ones + step) - criterion(ones - step)) / 0.02
        assert change == pytest.approx(float(scores[row]), rel=1e-3)
    assert scores.min() < 0 < scores.max()


@pytest.mark.parametrize("model", ["linear"], indirect=True)
def test_the_criterion_falls_as_the_budget_grows(linear, dataset, problem):
    objective, theta, slope, rows = problem
    features, load = (torch.from_numpy(a[dataset.split.validation]) for a in (dataset.features, dataset.load_pu))
    curve = []
    # Scores are first order in the weights; 784 rows for 89 columns carry them to about 5 %.
    for l1 in (0.0, 0.01, 0.02, 0.03, 0.05):
        found = Reweighting(l1).update(objective, theta, rows, slope).theta
        curve.append(float(MSE()(linear.with_theta(found)(features), load).mean()))
    assert (np.diff(curve) < 0).all()
