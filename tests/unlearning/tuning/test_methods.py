"""Each method against an oracle: a closed form, a search, a linear program, or an independent minimiser."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

import unlearn
from tests.unlearning.tuning.problems import Shifted, made
from unlearn.criteria import OperatingCostCriterion, Weighted
from unlearn.unlearning import Reweighting
from unlearn.unlearning.tuning import Affine, Head, Quantile, Scale, Weights
from unlearn.unlearning.tuning.quantile import fractile, pinball

COST = OperatingCostCriterion("ieee9")


@given(seed=st.integers(0, 10**6))
def test_the_factor_of_squared_error_is_its_closed_form(seed: int) -> None:
    problem = made(Shifted(0.2), seed, n_rows=100)
    forecast, wanted = problem.left_out, problem.target + 0.2
    best = float((forecast * wanted).sum() / forecast.square().sum())
    solved = Scale().solve(problem)
    assert solved.parameters["k"] == pytest.approx(best, rel=1e-5)
    torch.testing.assert_close(solved.head, solved.parameters["k"] * problem.least_squares)
    assert solved.after <= solved.before


def test_the_factor_of_the_cost_is_the_best_of_many() -> None:
    problem = made(COST)
    solved = Scale().solve(problem)
    tried = [problem.mean_criterion(k * problem.left_out) for k in np.linspace(0.9, 1.3, 401)]
    assert solved.after <= min(tried) * (1 + 1e-6)
    assert solved.parameters["k"] > 1  # shedding costs five times storing


def test_factors_and_constants_of_squared_error_are_regressions_on_the_forecast() -> None:
    problem = made(Shifted(0.2))
    solved = Affine(trust=0.0, steps=500).solve(problem)
    for b in range(3):
        slope, constant = np.polyfit(problem.left_out[:, b], problem.target[:, b] + 0.2, 1)
        assert solved.parameters["k"][b] == pytest.approx(slope, abs=1e-3)
        assert solved.parameters["a_pu"][b] == pytest.approx(constant, abs=1e-3)
        expected = slope * problem.least_squares[b]
        expected[-1] += constant
        torch.testing.assert_close(solved.head[b], expected, rtol=0, atol=2e-3)


def test_an_affine_tuning_that_is_held_back_is_the_best_factor() -> None:
    problem = made(COST)
    held, scaled = Affine(trust=1e12).solve(problem), Scale().solve(problem)
    torch.testing.assert_close(held.head, scaled.head, rtol=0, atol=1e-4)
    assert Affine(trust=0.0).solve(problem).after <= scaled.after


@given(seed=st.integers(0, 10**6), tau=st.floats(0.05, 0.95))
@settings(max_examples=25)
def test_a_quantile_head_is_that_of_a_linear_program(seed: int, tau: float) -> None:
    problem = made(unlearn.MSE(), seed, n_rows=150, n_columns=5)
    design, target = problem.design.numpy(), problem.target[:, 0].numpy()
    # min τ 1'u + (1 − τ) 1'v over Φw + u − v = y, u, v >= 0.
    n, d = design.shape
    cost = np.concatenate([np.zeros(d), np.full(n, tau), np.full(n, 1 - tau)])
    equations = np.hstack([design, np.eye(n), -np.eye(n)])
    program = linprog(cost, A_eq=equations, b_eq=target, bounds=[(None, None)] * d + [(0, None)] * (2 * n))
    head, loss, gap, _ = pinball(problem.design, problem.target[:, 0], tau, problem.least_squares[0])
    assert loss == pytest.approx(program.fun, rel=1e-8)
    assert 0 <= gap <= 1e-9
    residual = target - design @ head.numpy()
    assert (residual < -1e-6).mean() <= tau + 1e-9 <= (residual <= 1e-6).mean() + 2e-9


def test_the_total_variant_moves_the_total_to_its_quantile() -> None:
    problem = made(COST)
    solved = Quantile(tau=0.8, variant="total").solve(problem)
    below = (problem.target.sum(dim=1) <= (problem.design @ solved.head.T).sum(dim=1) + 1e-9).double().mean()
    assert float(below) == pytest.approx(0.8, abs=0.02)
    moved = (solved.head - problem.least_squares) / problem.target.mean(dim=0)[:, None]
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-6, atol=1e-9)


def test_the_median_of_symmetric_errors_is_searched_up_to_the_fractile() -> None:
    problem = made(COST)
    top = fractile(problem)
    case = COST.grid.case
    shed, store = case.shedding_cost[1], case.storage_cost[1]
    assert 0.5 < top < shed / (shed + store)
    taus = [own.tau for own in Quantile(variant="total", n_taus=4).candidates(problem)]
    np.testing.assert_allclose(taus, np.linspace(0.5, top, 4))
    assert [own.variant for own in Quantile(tau=0.6).candidates(problem)] == ["loads", "total"]


@pytest.mark.parametrize("l1_budget", [0.05, 0.25, 0.6])
@pytest.mark.parametrize("linf_budget", [0.5, 1.0])
def test_frank_wolfe_keeps_both_budgets_and_beats_the_single_step(l1_budget: float, linf_budget: float) -> None:
    problem = made(COST)
    program = Reweighting(l1_budget, linf_budget)
    ones = torch.ones(400, dtype=torch.float64)
    fit = problem.weighted_fit(ones)
    slope = fit.weight_gradient(problem.value_and_gradient(fit.head)[1])
    single = problem.value(problem.weighted_fit(torch.from_numpy(program.weights(slope.numpy()))).head)
    before = problem.value(fit.head)
    for steps in (1, 3, 40):
        solved = Weights(l1_budget, linf_budget, steps=steps, gap=0.0).solve(problem)
        change = (solved.weights - 1).abs()
        assert float(change.max()) <= linf_budget + 1e-12
        assert float(change.mean()) <= l1_budget * (1 + 1e-12)
        assert solved.after <= min(single, before) * (1 + 1e-9)
        before = solved.after * (1 + 1e-9)  # more steps are never worse


def test_the_gap_is_that_of_the_linear_program() -> None:
    problem = made(COST)
    solved = Weights(0.1, steps=5, gap=0.0).solve(problem)
    fit = problem.weighted_fit(solved.weights)
    slope = fit.weight_gradient(problem.value_and_gradient(fit.head)[1]).numpy()
    # ε = 1 + u − v with u + v <= 1 each and 1'(u + v) <= λ₁ n.
    cost = np.concatenate([slope, -slope])
    rows = np.vstack([np.hstack([np.eye(400), np.eye(400)]), np.ones(800)])
    program = linprog(cost, A_ub=rows, b_ub=np.append(np.ones(400), 0.1 * 400))
    gap = float(slope @ (solved.weights.numpy() - 1)) - program.fun
    assert solved.stationarity["frank_wolfe_gap"] == pytest.approx(gap, rel=1e-5, abs=1e-7)


def test_a_quadratic_criterion_is_taken_to_a_small_gap() -> None:
    problem = made(Shifted(0.02), n_rows=200)
    solved = Weights(0.5, steps=300, gap=1e-5).solve(problem)
    assert solved.stationarity["frank_wolfe_gap"] <= 1e-5 * solved.after
    assert solved.after < solved.before


def test_without_a_budget_the_weights_stay() -> None:
    problem = made(COST)
    for method in (Weights(0.0), Weights(0.2, linf_budget=0.0)):
        solved = method.solve(problem)
        assert (solved.weights == 1).all()
        assert solved.steps == 0
        torch.testing.assert_close(solved.head, problem.least_squares)


def test_of_rows_that_score_alike_the_lower_ones_are_moved() -> None:
    problem = made(COST)
    for part in (problem.design, problem.target):
        part[200:] = part[:200]
    slope = np.tile(np.random.default_rng(0).standard_normal(200), 2)
    weights = Reweighting(0.1).weights(slope)
    moved = np.flatnonzero(weights != 1)
    assert len(moved) == 40
    assert set(moved[moved >= 200] - 200) <= set(moved[moved < 200])


@given(seed=st.integers(0, 10**6), trust=st.sampled_from([0.0, 0.1, 5.0]), l2=st.sampled_from([0.0, 0.2]))
@settings(max_examples=20)
def test_the_head_of_a_quadratic_criterion_is_its_closed_form(seed: int, trust: float, l2: float) -> None:
    problem = made(Shifted(0.3), seed, n_rows=150, l2=l2)
    solved = Head(trust, steps=500).solve(problem)
    # (2/B)(W − W_c) Φ'Φ/n + μ (W − W_U) (Φ'Φ + ridge)/n = 0, W_c the least-squares head of shifted loads.
    gram = problem.design.T @ problem.design / 150
    trusted = gram + problem.ridge / 150 * torch.eye(6, dtype=torch.float64)
    shifted = torch.linalg.solve(gram, problem.design.T @ (problem.target + 0.3) / 150)
    left = 2 / 3 * gram + trust * trusted
    expected = torch.linalg.solve(left, 2 / 3 * gram @ shifted + trust * trusted @ problem.least_squares.T).T
    torch.testing.assert_close(solved.head, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_head_that_is_trusted_stays_and_one_that_is_not_gains() -> None:
    problem = made(COST)
    held, free = (Head(trust, steps=200).solve(problem) for trust in (1e12, 0.0))
    torch.testing.assert_close(held.head, problem.least_squares, rtol=0, atol=1e-5)
    assert free.after < Scale().solve(problem).after < free.before
    other = minimize(
        lambda x: problem.value(torch.from_numpy(x).reshape(3, 6)),
        free.head.numpy().reshape(-1),
        method="Nelder-Mead",
        options={"maxfev": 2000, "initial_simplex": None},
    )
    assert free.after <= other.fun * (1 + 1e-3)


@pytest.mark.parametrize("method", [Affine, Head])
def test_the_trust_is_chosen_among_values_in_units_of_the_criterion(method: type[Head]) -> None:
    problem = made(COST)
    trusts = [own.trust for own in method().candidates(problem)]
    error = float((problem.left_out - problem.target).square().sum(dim=1).mean())
    unit = problem.mean_criterion(problem.left_out) / error
    np.testing.assert_allclose(trusts, unit * np.array([1.0, 0.3, 0.1, 0.03, 0.01, 0.0]))


def test_weighted_criteria_walk_from_cost_to_squared_error() -> None:
    costs, errors = [], []
    for weight in (0.0, 1e3, 1e5, 1e7):
        parts = {COST: 1.0} | ({unlearn.MSE(): weight} if weight else {})
        problem = made(Weighted(parts))
        head = Head(0.0, steps=300).solve(problem).head
        costs.append(float(COST(problem.design @ head.T, problem.target).mean()))
        errors.append(float(unlearn.MSE()(problem.design @ head.T, problem.target).mean()))
    assert costs == sorted(costs)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Scale(1.2, 1.1), "low below high"),
        (lambda: Scale(0.0), "low: expected a"),
        (lambda: Quantile(tau=1.5), "tau"),
        (lambda: Quantile(variant="buses"), "loads, total"),
        (lambda: Weights(-0.1), "l1_budget"),
        (lambda: Weights(0.1, linf_budget=1.2), "expected at most 1"),
        (lambda: Weights(0.1, steps=0), "steps"),
        (lambda: Head(-1.0), "trust"),
    ],
)
def test_options_out_of_range_are_refused(make, said: str) -> None:
    with pytest.raises(unlearn.errors.InputError, match=said):
        make()
