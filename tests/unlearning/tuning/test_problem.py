"""What tunings are computed from: leaving blocks out, weighted heads, and the gradient in the weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unlearn
from tests.unlearning.tuning.problems import made
from unlearn.criteria import OperatingCostCriterion
from unlearn.forecasters import HeadObjective
from unlearn.unlearning.tuning import Affine, Head, Quantile, Weights
from unlearn.unlearning.tuning.problem import folds_of, least_norm

CRITERIA = {"mse": unlearn.MSE(), "mape": unlearn.MAPE(), "cost": OperatingCostCriterion("ieee9")}


def _some_lost(n_rows: int = 400) -> torch.Tensor:
    kept = torch.ones((n_rows, 3), dtype=torch.bool)
    kept[10:60, 1] = False
    kept[50:90] = False
    return kept


@given(seed=st.integers(0, 10**6), l2=st.sampled_from([0.0, 0.3]))
def test_leaving_a_block_out_in_closed_form_is_a_refit_without_it(seed: int, l2: float) -> None:
    problem = made(unlearn.MSE(), seed, n_rows=120, kept=_some_lost(120) if seed % 2 else None, l2=l2)
    found = torch.full_like(problem.target, torch.nan)
    found[problem.evaluated] = problem.left_out
    for block in np.unique(problem.block):
        own = torch.from_numpy(problem.block == block)
        for output in range(3):
            rows = (problem.kept[:, output] & ~own).double()
            refit = HeadObjective(problem.design, problem.target, l2).fit(rows).reshape(3, -1)[output]
            here = own & problem.evaluated
            np.testing.assert_allclose(found[here, output], problem.design[here] @ refit, rtol=1e-9, atol=1e-10)


def test_a_feature_that_one_block_alone_shows_is_left_at_zero_there() -> None:
    problem = made(unlearn.MSE())
    problem.design[:, 0] = 0.0
    problem.design[:20, 0] = torch.linspace(1, 2, 20, dtype=torch.float64)
    without = HeadObjective(problem.design[:, 1:], problem.target).fit((torch.arange(400) >= 20).double())
    expected = problem.design[:20, 1:] @ without.reshape(3, -1).T
    np.testing.assert_allclose(problem.left_out[:20], expected, rtol=1e-8, atol=1e-9)


@given(seed=st.integers(0, 10**6))
def test_least_squares_and_weighted_heads_are_refits(seed: int) -> None:
    problem = made(unlearn.MSE(), seed, kept=_some_lost(), l2=0.1)
    weights = torch.from_numpy(np.random.default_rng(seed).uniform(0, 2, 400))
    objective = HeadObjective(problem.design, problem.target, 0.1)
    for given_weights, found in (
        (torch.ones(400, dtype=torch.float64), problem.least_squares),
        (weights, problem.weighted_fit(weights).head),
        (weights, problem.weighted_fit(weights, problem.moments(weights)).head),
    ):
        for output in range(3):
            refit = objective.fit(given_weights * problem.kept[:, output]).reshape(3, -1)[output]
            np.testing.assert_allclose(found[output], refit, rtol=1e-9, atol=1e-11)


def test_moments_are_linear_in_the_weights() -> None:
    problem = made(unlearn.MSE(), kept=_some_lost())
    first, second = (torch.from_numpy(np.random.default_rng(s).uniform(-1, 2, 400)) for s in (0, 1))
    together = problem.moments(first + 0.3 * second)
    for whole, one, other in zip(together, problem.moments(first), problem.moments(second), strict=True):
        torch.testing.assert_close(whole, one + 0.3 * other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("lost", [False, True])
def test_the_gradient_in_the_weights_is_that_of_finite_differences(name: str, lost: bool) -> None:
    problem = made(CRITERIA[name], kept=_some_lost() if lost else None)
    random = np.random.default_rng(3)
    weights = torch.from_numpy(random.uniform(0.2, 1.8, 400))

    def value(moved: torch.Tensor) -> float:
        return problem.value(problem.weighted_fit(moved).head)

    fit = problem.weighted_fit(weights)
    _, gradient = problem.value_and_gradient(fit.head)
    exact = fit.weight_gradient(gradient)
    for _ in range(5):
        direction = torch.from_numpy(random.standard_normal(400))
        # Kinks of the cost and of absolute errors lie closer than a larger step.
        step = 1e-6
        difference = (value(weights + step * direction) - value(weights - step * direction)) / (2 * step)
        assert float(exact @ direction) == pytest.approx(difference, rel=1e-5, abs=1e-7 * float(exact.norm()))


def test_weights_that_do_not_determine_the_head_are_refused_by_name() -> None:
    problem = made(unlearn.MSE())
    problem.names = [f"feature {i}" for i in range(6)]
    weights = torch.zeros(400, dtype=torch.float64)
    weights[:4] = 1.0
    with pytest.raises(unlearn.errors.SingularHessianError, match=r"rank 4 of 6; dependent features: feature"):
        problem.weighted_fit(weights)


def test_a_load_without_a_row_left_forecasts_zero_and_counts_as_zero() -> None:
    kept = torch.ones((400, 3), dtype=torch.bool)
    kept[:, 2] = False
    problem = made(CRITERIA["cost"], kept=kept)
    assert not problem.target[:, 2].any()
    assert not problem.least_squares[2].any()
    assert not problem.value_and_gradient(problem.least_squares)[1][2].any()
    assert problem.evaluated.all()


def test_folds_deal_out_whole_blocks() -> None:
    block = np.repeat([5, 9, 7, 30, 31], [3, 1, 4, 2, 2])
    folds = folds_of(block, 2)
    assert np.sum(folds, axis=0).tolist() == [1] * 12
    for fold in folds:
        assert not set(block[fold]) & set(block[~fold])
    with pytest.raises(unlearn.errors.InputError, match=r"at least 6 weeks.*got 12 rows in 5 weeks.*fewer folds"):
        folds_of(block, 6)


@given(seed=st.integers(0, 10**6), rank=st.integers(1, 5))
def test_the_solution_of_least_norm_is_that_of_the_pseudo_inverse(seed: int, rank: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = random.standard_normal((rank, 5)), random.standard_normal((rank, 2))
    found = rows @ least_norm(torch.from_numpy(rows.T @ rows), torch.from_numpy(rows.T @ columns)).numpy()
    np.testing.assert_allclose(found, columns, atol=1e-5)


def test_a_feature_that_one_fold_alone_shows_gets_no_weight_in_the_others() -> None:
    problem = made(CRITERIA["cost"])
    problem.design[:, 0] = 0.0
    problem.design[:20, 0] = torch.linspace(1, 2, 20, dtype=torch.float64)
    part = problem.without(np.arange(400) < 20)
    without = HeadObjective(problem.design[20:, 1:], problem.target[20:]).fit().reshape(3, -1)
    np.testing.assert_allclose(part.least_squares[:, 1:], without, rtol=1e-8, atol=1e-9)
    assert not part.least_squares[:, 0].any()
    for method in (Weights(0.1), Head(1.0), Quantile(tau=0.7, variant="loads"), Affine(1.0)):
        head = method.solve(part).head
        assert bool(head.isfinite().all())
