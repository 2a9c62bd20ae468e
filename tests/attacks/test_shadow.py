"""The loss attack against a loop, likelihood ratios against SciPy, and batched heads against one fit at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from unlearn.attacks import (
    bootstrap_weights,
    fit_heads,
    likelihood_ratio_scores,
    loss_scores,
    measure_attack,
    random_subsets,
    residuals_of,
)
from unlearn.attacks.shadow import CONDITION, ROWS
from unlearn.errors import InputError, SingularHessianError
from unlearn.forecasters import HeadObjective


def test_scores_are_minus_the_mean_squared_error_of_each_record() -> None:
    residuals = np.random.default_rng(0).normal(size=(3, 5, 2))
    scores = loss_scores(residuals)
    for model in range(3):
        for row in range(5):
            assert scores[model, row] == pytest.approx(-sum(e * e for e in residuals[model, row]) / 2)
    np.testing.assert_array_equal(loss_scores(residuals[1]), scores[1])


@pytest.mark.parametrize("residuals", [np.zeros(4), np.zeros((2, 0)), np.zeros((1, 2, 3, 4))])
def test_other_shapes_are_refused(residuals: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected shape \(n, B\) or \(k, n, B\)"):
        loss_scores(residuals)


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="residuals: expected finite"):
        loss_scores([[np.nan]])


def test_scores_are_log_likelihood_ratios() -> None:
    random = np.random.default_rng(0)
    member = random.random((40, 5)) < 0.5
    shadow = random.normal(size=(40, 5, 3)) - member[..., None]
    observed = random.normal(size=(5, 3))
    scores = likelihood_ratio_scores(observed, shadow, member)
    for record in range(5):
        truth = 0.0
        for column in range(3):
            inside, outside = (shadow[chosen, record, column] for chosen in (member[:, record], ~member[:, record]))
            at = observed[record, column]
            truth += norm.logpdf(at, inside.mean(), inside.std()) - norm.logpdf(at, outside.mean(), outside.std())
        assert scores[record] == pytest.approx(truth)


def test_records_of_different_difficulty_are_told_better_than_by_loss() -> None:
    random = np.random.default_rng(1)
    difficulty = random.normal(scale=10, size=400)
    member = random.random((200, 400)) < 0.5
    shadow = difficulty - member + random.normal(size=(200, 400))
    truth = random.random(400) < 0.5
    observed = difficulty - truth + random.normal(size=400)
    scores = likelihood_ratio_scores(observed, shadow, member)
    by_ratio = measure_attack(scores[truth], scores[~truth], unit="row").auc.value
    by_loss = measure_attack(-observed[truth], -observed[~truth], unit="row").auc.value
    assert by_ratio == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.05)
    assert by_loss < 0.6


def test_statistics_that_never_move_say_nothing() -> None:
    member = np.tile([[True], [False]], (8, 3))
    assert likelihood_ratio_scores(np.ones(3), np.ones((16, 3)), member) == pytest.approx(0)


def test_unusable_statistics_are_refused() -> None:
    member = np.tile([[True], [False]], (8, 3))
    with pytest.raises(InputError, match="at least 8 shadow models"):
        likelihood_ratio_scores(np.ones(3), np.ones((4, 3)), member[:4])
    with pytest.raises(InputError, match="shadow: expected shape"):
        likelihood_ratio_scores(np.ones(4), np.ones((16, 3)), member)
    with pytest.raises(InputError, match="observed: expected finite"):
        likelihood_ratio_scores([np.nan, 1, 1], np.ones((16, 3)), member)


def problem(n: int = ROWS + 40, d: int = 6, b: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    design = np.column_stack([random.normal(size=(n, d - 1)), np.ones(n)])
    return design, design @ random.normal(size=(d, b)) + random.normal(size=(n, b))


def fitted_one_by_one(design: np.ndarray, target: np.ndarray, weights: np.ndarray, l2: float) -> np.ndarray:
    objective = HeadObjective(torch.from_numpy(design), torch.from_numpy(target), l2)
    heads = [objective.fit(torch.from_numpy(own)).reshape(target.shape[1], -1) for own in weights]
    return torch.stack(heads).numpy()


def distance(heads: np.ndarray, truth: np.ndarray) -> float:
    apart = np.linalg.norm(heads - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))
    return float(apart.max())


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 20.0]))
def test_heads_equal_least_squares_with_any_weights(seed: int, l2: float) -> None:
    design, target = problem(n=60, seed=seed)
    weights = np.random.default_rng(seed).choice([0.0, 0.4, 1.0, 2.0], size=(5, 60))
    assert distance(fit_heads(design, target, weights, l2), fitted_one_by_one(design, target, weights, l2)) <= 1e-12


def test_rows_and_models_are_cut_into_chunks_without_changing_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    design, target = problem()
    weights = random_subsets(len(design), 7, 0.5, 0).astype(float)
    monkeypatch.setattr("unlearn.attacks.shadow.ENTRIES", 2 * 36)
    heads = fit_heads(design, target, weights)
    assert distance(heads, fitted_one_by_one(design, target, weights, 0.0)) <= 1e-12


@pytest.mark.parametrize("apart", [1e-1, 1e-2, 1e-3, 3e-4, 1e-6])
def test_ill_conditioned_designs_are_as_accurate(apart: float) -> None:
    design, target = problem()
    design[:, 1] = design[:, 0] + apart * design[:, 1]
    weights = random_subsets(len(design), 4, 0.5, 0).astype(float)
    # Up to the bound of the condition by Cholesky, above by the same SVD: 1e-9 is what is promised.
    assert distance(fit_heads(design, target, weights), fitted_one_by_one(design, target, weights, 0.0)) <= 1e-9
    assert CONDITION * 2.0**-53 < 2e-10


def test_a_world_whose_rows_do_not_determine_the_head_is_named() -> None:
    design, target = problem()
    weights = np.ones((2, len(design)))
    weights[1, 4:] = 0
    with pytest.raises(SingularHessianError, match="4 samples remain for 6 features"):
        fit_heads(design, target, weights)
    design[:, 2] = design[:, 3]
    with pytest.raises(SingularHessianError, match="column 2, column 3"):
        fit_heads(design, target, weights[:1])


def test_residuals_are_forecast_minus_truth() -> None:
    design, target = problem(n=9)
    heads = np.random.default_rng(2).normal(size=(4, 3, 6))
    found = residuals_of(heads, design, target)
    for k in range(4):
        np.testing.assert_allclose(found[k], design @ heads[k].T - target)


def test_subsets_have_one_size_and_every_row_equally_often() -> None:
    subsets = random_subsets(101, 4000, 0.4, 3)
    assert set(subsets.sum(axis=1)) == {40}
    # Five standard deviations of 4,000 draws.
    assert np.abs(subsets.mean(axis=0) - 40 / 101).max() < 5 * np.sqrt(0.24 / 4000)
    np.testing.assert_array_equal(subsets, random_subsets(101, 4000, 0.4, 3))


def test_bootstraps_hold_as_many_rows_as_there_are() -> None:
    weights = bootstrap_weights(50, 2000, 0)
    assert set(weights.sum(axis=1)) == {50.0}
    # A row is left out with probability (1 - 1/n)^n.
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": -np.ones((1, 20))}, "weights: expected numbers of at least 0"),
        ({"weights": np.ones((1, 19))}, r"weights: expected shape \(any, 20\)"),
        ({"target": np.ones((19, 3))}, r"target: expected shape \(20, any\)"),
        ({"design": np.full((20, 6), np.nan)}, "design: expected finite"),
        ({"l2": -1.0}, "l2: expected a number of at least 0"),
    ],
)
def test_unusable_rows_are_refused(change: dict, message: str) -> None:
    design, target = problem(n=20)
    with pytest.raises(InputError, match=message):
        fit_heads(**{"design": design, "target": target, "weights": np.ones((1, 20)), **change})


def test_a_subset_of_no_row_is_refused() -> None:
    with pytest.raises(InputError, match="at least one of 3 rows"):
        random_subsets(3, 2, 0.1, 0)
    with pytest.raises(InputError, match="share"):
        random_subsets(3, 2, 1.0, 0)
