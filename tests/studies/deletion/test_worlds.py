"""The two worlds against training histories that are run one by one, and attackers against known distributions."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from unlearn.attacks import likelihood_ratio_scores, measure_attack, residuals_of
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.influence import criterion_gradient
from unlearn.studies._shared.study import Study
from unlearn.studies.deletion.attackers import ATTACKS, Attacker, cross_fitted
from unlearn.studies.deletion.released import rank_p_value
from unlearn.studies.deletion.worlds import Worlds
from unlearn.unlearning import Reweighting, newton_update


@pytest.fixture(scope="module")
def study(linear: Forecaster, dataset: LoadDataset, cost: OperatingCost) -> Study:
    return Study(linear, dataset, cost, hours=40, selection="random")


@pytest.fixture(scope="module")
def worlds(study: Study) -> Worlds:
    return Worlds(study, study.rows_to_unlearn(0.2), 16, 0.6, 0)


def refitted(worlds: Worlds, weights: np.ndarray) -> np.ndarray:
    return worlds.study.objective.fit(torch.from_numpy(weights)).reshape(worlds.seen[0].shape).numpy()


def far(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def test_no_training_set_of_a_world_holds_a_removed_row(worlds: Worlds) -> None:
    assert not worlds.subsets[:, worlds.rows].any()
    assert set(worlds.subsets.sum(axis=1)) == {round(0.6 * 784)}
    assert worlds.with_unlearn[:, worlds.rows].all()


def test_heads_of_both_worlds_equal_refits(worlds: Worlds) -> None:
    for k in (0, 15):
        assert far(worlds.seen[k], refitted(worlds, worlds.with_unlearn[k])) <= 1e-9
        assert far(worlds.never[k], refitted(worlds, worlds.subsets[k].astype(float))) <= 1e-9


def test_complete_unlearning_gives_what_the_other_world_has(worlds: Worlds) -> None:
    assert worlds.newton("unlearn_gradient").distance <= 1e-9
    assert worlds.newton("first_order").distance > 1e-3
    assert worlds.original().distance > 1e-2


@pytest.mark.parametrize("criterion", ["mse", "cost"])
def test_without_a_budget_both_worlds_release_the_same_parameters(worlds: Worlds, criterion: str) -> None:
    pair = worlds.reweighted(criterion, 0.0)
    assert pair.weights_differ == 0
    np.testing.assert_array_equal(pair.seen, pair.never)
    assert far(pair.seen, worlds.never) <= 1e-9


@pytest.mark.parametrize("budget", [0.0, 0.1])
def test_a_world_is_what_the_published_steps_give(worlds: Worlds, budget: float) -> None:
    study, k = worlds.study, 3
    theta = torch.from_numpy(worlds.seen[k].reshape(-1))
    rows = study.dataset.split.validation[np.linspace(0, 139, 40).round().astype(int)]
    slope = criterion_gradient(
        study.model.with_theta(theta), study.criteria["mse"], study.dataset.features[rows], study.dataset.load_pu[rows]
    ).gradient
    # Of all training rows, those that are not in this world count as forgotten before.
    forgotten = torch.from_numpy(worlds.with_unlearn[k] == 0)
    update = Reweighting(budget).update(study.objective, theta, worlds.rows, slope, forgotten=forgotten)
    pair = worlds.reweighted("mse", budget)
    assert far(pair.seen[k].reshape(-1), update.theta.numpy()) <= 1e-9
    if budget:
        assert pair.weights_differ > 0
        assert pair.distance > 1e-3


def test_the_first_order_update_is_the_published_one(worlds: Worlds) -> None:
    theta, weights = torch.from_numpy(worlds.seen[2].reshape(-1)), torch.from_numpy(worlds.with_unlearn[2])
    update = newton_update(worlds.study.objective, theta, worlds.rows, "first_order", weights=weights)
    assert far(worlds.newton("first_order").seen[2].reshape(-1), update.theta.numpy()) <= 1e-12


def gaussian_heads(shift: float, k: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Attacker]:
    """Heads whose outputs correlate, spread by the population's Gram matrix, shifted where the rows were seen."""
    random = np.random.default_rng(seed)
    design, target = random.normal(size=(30, 5)), random.normal(size=(30, 2))
    root = np.linalg.cholesky(design.T @ design)
    noise = random.normal(size=(2, k, 2, 5)) * np.array([1.0, 3.0])[:, None]
    noise[0, :, 0] += shift / np.sqrt(5)
    heads = noise @ np.linalg.inv(root)
    return heads[0], heads[1], Attacker(design, target, np.arange(10), design.T @ design)


def test_the_discriminant_reaches_the_best_possible_auc() -> None:
    seen, never, attacker = gaussian_heads(1.5)
    auc = measure_attack(*cross_fitted(attacker, "parameters", seen, never, 0), unit="model", fprs=()).auc
    # Two normal distributions whose means are 1.5 standard deviations apart.
    assert auc.value == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.03)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attackers_find_nothing_where_nothing_is(attack: str) -> None:
    seen, never, attacker = gaussian_heads(0.0)
    auc = measure_attack(*cross_fitted(attacker, attack, seen, never, 0), unit="model", fprs=()).auc
    assert auc.low < 0.5 < auc.high
    assert auc.value == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("attack", ATTACKS)
def test_models_that_differ_by_rounding_tie(attack: str) -> None:
    seen, _, attacker = gaussian_heads(0.0, k=40)
    members, others = cross_fitted(attacker, attack, seen, seen * (1 + 1e-14), 0)
    np.testing.assert_array_equal(members, others)
    members, others = cross_fitted(attacker, attack, seen, seen * (1 + 1e-7), 0)
    assert (members != others).any()


def test_scores_of_rows_are_likelihood_ratios_of_their_residuals() -> None:
    seen, never, attacker = gaussian_heads(1.0, k=20)
    found = attacker.row_scores("likelihood_ratio", seen[4:], never[4:], seen[:2])
    rows = slice(10)
    known = residuals_of(np.concatenate([seen[4:], never[4:]]), attacker.design[rows], attacker.target[rows])
    member = np.repeat([[True], [False]], 16, axis=0) & np.ones((1, 10), dtype=bool)
    for j in range(2):
        observed = residuals_of(seen[j : j + 1], attacker.design[rows], attacker.target[rows])[0]
        np.testing.assert_allclose(found[j], likelihood_ratio_scores(observed, known, member))
    total = attacker.scores("likelihood_ratio", seen[4:], never[4:], seen[:2])
    np.testing.assert_allclose(total, found.sum(axis=1))


def test_an_unknown_attack_is_refused() -> None:
    seen, never, attacker = gaussian_heads(0.0, k=20)
    with pytest.raises(InputError, match="attack: expected one of loss, likelihood_ratio, parameters; got 'luck'"):
        attacker.scores("luck", seen, never, seen)
    with pytest.raises(InputError, match="got 'parameters'"):
        attacker.row_scores("parameters", seen, never, seen)


def test_p_values_are_ranks() -> None:
    null = np.arange(9.0)
    assert rank_p_value(100.0, null) == pytest.approx(0.1)
    assert rank_p_value(4.0, null) == pytest.approx(0.6)
    assert rank_p_value(-1.0, null) == 1
