"""Shadow models against training histories that are run one by one."""

import numpy as np
import pytest
import torch

from unlearn.data import LoadDataset
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.influence import criterion_gradient
from unlearn.studies._shared.study import Study
from unlearn.studies.deletion.attackers import ShadowModels
from unlearn.studies.deletion.measure import rank_p_value
from unlearn.unlearning import Reweighting, newton_update


@pytest.fixture(scope="module")
def study(linear: Forecaster, dataset: LoadDataset, cost: OperatingCost) -> Study:
    return Study(linear, dataset, cost, hours=40, selection="random")


@pytest.fixture(scope="module")
def shadows(study: Study) -> ShadowModels:
    return ShadowModels(study, study.rows_to_unlearn(0.2), 16, 0.6, 0)


def refitted(shadows: ShadowModels, weights: np.ndarray) -> np.ndarray:
    return shadows.study.objective.fit(torch.from_numpy(weights)).reshape(shadows.inside[0].shape).numpy()


def far(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def test_no_training_set_holds_a_removed_row(shadows: ShadowModels) -> None:
    assert not shadows.subsets[:, shadows.rows].any()
    assert set(shadows.subsets.sum(axis=1)) == {round(0.6 * 784)}
    assert shadows.with_unlearn[:, shadows.rows].all()


def test_heads_of_both_models_equal_refits(shadows: ShadowModels) -> None:
    for k in (0, 15):
        assert far(shadows.inside[k], refitted(shadows, shadows.with_unlearn[k])) <= 1e-9
        assert far(shadows.outside[k], refitted(shadows, shadows.subsets[k].astype(float))) <= 1e-9


def test_complete_unlearning_gives_what_the_other_model_is(shadows: ShadowModels) -> None:
    assert shadows.newton("unlearn_gradient").distance <= 1e-9
    assert shadows.newton("first_order").distance > 1e-3
    assert shadows.original().distance > 1e-2


@pytest.mark.parametrize("criterion", ["mse", "cost"])
def test_without_a_budget_both_models_release_the_same_parameters(shadows: ShadowModels, criterion: str) -> None:
    pair = shadows.reweighted(criterion, 0.0)
    assert pair.weights_differ == 0
    np.testing.assert_array_equal(pair.inside, pair.outside)
    assert far(pair.inside, shadows.outside) <= 1e-9


@pytest.mark.parametrize("budget", [0.0, 0.1])
def test_a_shadow_model_is_what_the_published_steps_give(shadows: ShadowModels, budget: float) -> None:
    study, k = shadows.study, 3
    theta = torch.from_numpy(shadows.inside[k].reshape(-1))
    rows = study.dataset.split.validation[np.linspace(0, 139, 40).round().astype(int)]
    slope = criterion_gradient(
        study.model.with_theta(theta), study.criteria["mse"], study.dataset.features[rows], study.dataset.load_pu[rows]
    ).gradient
    # Of all training rows, those that are not in this one count as forgotten before.
    forgotten = torch.from_numpy(shadows.with_unlearn[k] == 0)
    update = Reweighting(budget).update(study.objective, theta, shadows.rows, slope, forgotten=forgotten)
    pair = shadows.reweighted("mse", budget)
    assert far(pair.inside[k].reshape(-1), update.theta.numpy()) <= 1e-9
    if budget:
        assert pair.weights_differ > 0
        assert pair.distance > 1e-3


def test_the_first_order_update_is_the_published_one(shadows: ShadowModels) -> None:
    theta, weights = torch.from_numpy(shadows.inside[2].reshape(-1)), torch.from_numpy(shadows.with_unlearn[2])
    update = newton_update(shadows.study.objective, theta, shadows.rows, "first_order", weights=weights)
    assert far(shadows.newton("first_order").inside[2].reshape(-1), update.theta.numpy()) <= 1e-12


def test_p_values_are_ranks() -> None:
    null = np.arange(9.0)
    assert rank_p_value(100.0, null) == pytest.approx(0.1)
    assert rank_p_value(4.0, null) == pytest.approx(0.6)
    assert rank_p_value(-1.0, null) == 1
