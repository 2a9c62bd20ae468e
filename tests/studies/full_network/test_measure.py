"""The full-network study's measures on refits and predictions whose quality is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.studies.builders import small_problem
from unlearn.errors import InputError
from unlearn.influence import influence_scores
from unlearn.linalg import IhvpOptions, Solution
from unlearn.records import RecordTable
from unlearn.studies.full_network.curvature import (
    Prediction,
    assess,
    chosen_conditions,
    criterion_gradients,
    predict_head,
    predict_hessian,
)
from unlearn.studies.full_network.options import require_conditions
from unlearn.studies.full_network.problem import Group, NetworkProblem, plan_groups
from unlearn.studies.full_network.run import SeedStudy, Truth, measure_seed
from unlearn.unlearning import newton_update
from unlearn.unlearning.steps import Update

N, BLOCKS = 36, 3


@pytest.fixture(scope="module")
def problem() -> NetworkProblem:
    return small_problem()


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    return plan_groups(np.random.default_rng(1).normal(size=N), [0.1, 0.2, 0.3], 2, 3, 8)


def made_up(problem: NetworkProblem, groups: list[Group], seed: int, condition_is_good: float = 1e4) -> SeedStudy:
    """Refits that differ at random; Newton steps that go 70 % of the way at one condition and astray at another."""
    random = torch.Generator().manual_seed(seed)
    shape = problem.judged["test"][1].shape
    original, warm = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(2))
    moved = 0.1 * torch.randn((len(groups), *shape), generator=random, dtype=torch.float64)
    stepped = [i for i, group in enumerate(groups) if group.use in ("group", "choice")]
    predictions = []
    for condition in (1e4, 1e2):
        way = 0.7 if condition == condition_is_good else -1.0
        scores = torch.randn((N, BLOCKS), generator=random, dtype=torch.float64)
        predictions.append(
            Prediction("gauss_newton", condition, 0.5 + seed, scores, stepped, original + way * moved[stepped])
        )
    head = Prediction("head", 0.0, 0.0, scores, stepped, original + moved[stepped])
    n_warm = sum(group.use != "subset" for group in groups)
    truths = {
        "scratch": Truth(original, original + moved),
        "warm": Truth(warm, warm + 2 * moved[:n_warm]),
        "exact": Truth(original, original + moved),
    }
    noise = {"order": original + torch.tensor([[[0.3]], [[-0.3]]], dtype=torch.float64)}
    return SeedStudy(seed, truths, noise, [*predictions, head])


@pytest.fixture(scope="module")
def records(problem: NetworkProblem, groups: list[Group]) -> pd.DataFrame:
    table = RecordTable(experiment="full_network", forecaster="cnn")
    for seed in (0, 1):
        measure_seed(problem, groups, made_up(problem, groups, seed), BLOCKS, table)
    assess(table.to_frame(), table)
    return table.to_frame()


def test_the_distance_left_is_that_of_the_displacements(records: pd.DataFrame) -> None:
    left = records[records["metric"] == "distance_to_refit"].set_index(["method", "truth", "condition"])["value"]
    np.testing.assert_allclose(left.loc[("gauss_newton", "scratch", 1e4)], 0.3, rtol=1e-9)
    np.testing.assert_allclose(left.loc[("gauss_newton", "scratch", 1e2)], 2.0, rtol=1e-9)
    # The warm refit moves twice as far from its own control.
    np.testing.assert_allclose(left.loc[("gauss_newton", "warm", 1e4)], 0.65, rtol=1e-9)
    np.testing.assert_allclose(left.loc[("head", "exact", 0.0)], 0.0, atol=1e-9)


def test_the_condition_is_chosen_on_the_groups_for_choosing(
    problem: NetworkProblem, groups: list[Group], records: pd.DataFrame
) -> None:
    assert chosen_conditions(records) == {"gauss_newton": 1e4, "head": 0.0}
    reported = records["use"].eq("group") & records["metric"].eq("distance_to_refit")
    turned = records.copy()
    turned.loc[reported & records["condition"].eq(1e4), "value"] = 100.0
    assert chosen_conditions(turned)["gauss_newton"] == 1e4
    # A step that does not exist for most groups is no choice, however good it is for the others.
    absent = records[(records["use"] == "choice") & (records["metric"] == "indefinite")].assign(value=1.0)
    absent = pd.concat([absent[absent["condition"] == 1e4]] * 2)
    assert chosen_conditions(pd.concat([records, absent]))["gauss_newton"] == 1e2
    with pytest.raises(InputError, match='of the use "choice", got none'):
        chosen_conditions(records[~records["use"].eq("choice")])


def test_changes_are_those_of_the_test_mse(problem: NetworkProblem, groups: list[Group], records: pd.DataFrame) -> None:
    study = made_up(problem, groups, 0)
    truth = problem.judged["test"][1]
    error = {
        name: (((outputs - truth) * problem.std_pu) ** 2).mean(dim=(-2, -1))
        for name, outputs in {
            "control": study.truths["scratch"].control,
            "refit": study.truths["scratch"].refits,
        }.items()
    }
    mine = records[(records["seed"] == 0) & (records["truth"] == "scratch") & (records["metric"] == "true_change")]
    mine = mine[mine["use"] != "noise"].sort_values("group")["value"]
    np.testing.assert_allclose(mine, error["refit"] - error["control"], rtol=1e-9, atol=1e-15)
    noise = records[(records["use"] == "noise") & (records["metric"] == "refit_distance")]["value"]
    np.testing.assert_allclose(noise, 0.3 * float(problem.std_pu.square().mean().sqrt()), rtol=1e-9)


def test_group_influence_is_the_sum_of_scores_over_blocks_by_their_length(
    problem: NetworkProblem, groups: list[Group], records: pd.DataFrame
) -> None:
    study = made_up(problem, groups, 1)
    own = records[(records["seed"] == 1) & (records["condition"] == 1e4) & (records["predictor"] == "influence")]
    whole = own[own["metric"] == "predicted_change"].sort_values("group")["value"]
    lengths = np.array([len(block) for block in np.array_split(np.arange(60), BLOCKS)])
    scores = study.predictions[0].scores.numpy()
    expected = [scores[group.rows].sum(axis=0) @ lengths / 60 for group in groups]
    np.testing.assert_allclose(whole, expected, rtol=1e-9)


def perfect(records: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The same records with the network's predicted changes set to a multiple of the true ones."""
    keys = ["seed", "group", "block"]
    changed = records[~records["metric"].isin(["spearman", "spearman_low", "spearman_high", "lds"])].copy()
    for true, predicted in (("true_change", "predicted_change"), ("true_block_change", "predicted_block_change")):
        truth = changed[(changed["metric"] == true) & (changed["truth"] == "scratch") & (changed["use"] != "noise")]
        values = truth.set_index(keys)["value"]
        rows = (changed["metric"] == predicted) & (changed["method"] == "gauss_newton")
        changed.loc[rows, "value"] = factor * values.reindex(changed.loc[rows].set_index(keys).index).to_numpy()
    return changed


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_perfect_predictions_rank_perfectly_and_turned_ones_the_other_way(records: pd.DataFrame, sign: float) -> None:
    table = RecordTable()
    assess(perfect(records, 3.0 * sign), table)
    found = table.to_frame()
    own = found[(found["method"] == "gauss_newton") & (found["truth"] == "scratch") & (found["metric"] == "spearman")]
    assert set(own["use"]) == {"single", "group", "choice", "subset"}
    np.testing.assert_allclose(own["value"], sign, rtol=1e-12)
    lds = found[(found["metric"] == "lds") & (found["method"] == "gauss_newton") & (found["over"] == "means")]
    np.testing.assert_allclose(lds["value"], sign, rtol=1e-12)


def test_spearman_and_its_interval_over_means(records: pd.DataFrame) -> None:
    own = records[(records["use"] == "group") & (records["method"] == "gauss_newton") & (records["condition"] == 1e4)]
    own = own[(own["predictor"] == "influence") & ((own["truth"] == "scratch") | own["truth"].isna())]
    found = own[own["over"] == "means"].set_index("metric")["value"]
    assert found["spearman_low"] < found["spearman"] < found["spearman_high"]
    true = records[(records["metric"] == "true_change") & (records["truth"] == "scratch") & (records["use"] == "group")]
    means = pd.DataFrame(
        {
            "true": true.groupby("group")["value"].mean(),
            "predicted": own[own["metric"] == "predicted_change"].groupby("group")["value"].mean(),
        }
    )
    assert found["spearman"] == pytest.approx(float(means.rank().corr().iloc[0, 1]), rel=1e-12)


def test_other_seeds_are_the_ceiling(records: pd.DataFrame) -> None:
    own = records[(records["method"] == "other seeds") & (records["use"] == "group") & (records["truth"] == "scratch")]
    true = records[(records["metric"] == "true_change") & (records["use"] == "group") & (records["truth"] == "scratch")]
    expected = true.pivot(index="group", columns="seed", values="value").rank().corr().iloc[0, 1]
    # Two seeds predict each other.
    np.testing.assert_allclose(own[own["metric"] == "spearman"]["value"], expected, rtol=1e-12)


def test_the_heads_newton_step_is_its_refit() -> None:
    problem = small_problem(120)
    theta = problem.initial([0])[0]
    rows = {0: np.arange(10), 1: np.arange(20, 25)}
    prediction = predict_head(problem, theta, rows, BLOCKS)
    objective, design = problem.head(theta)
    for own, outputs in zip(rows.values(), prediction.outputs, strict=True):
        weights = torch.ones(objective.n_samples, dtype=torch.float64)
        weights[own] = 0.0
        refit = design @ objective.fit(weights).reshape(objective.n_outputs, -1).T
        torch.testing.assert_close(outputs, refit, rtol=0, atol=1e-8)


def test_hessian_steps_are_newton_updates_and_missing_where_there_is_none(
    problem: NetworkProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theta,) = problem.fit(problem.initial([0]), torch.ones((1, N), dtype=torch.bool), [0])
    rows = np.arange(8)
    (found,) = predict_hessian(problem, theta, {3: rows}, [10.0], BLOCKS)
    assert found.stepped == [3]
    tight = IhvpOptions(solver="cg", damping=found.damping, rtol=1e-5)
    exact = newton_update(problem.objective(), theta, rows, options=tight).theta
    before, after = problem.forecasts(torch.stack([theta, exact]))
    # The study's own tolerance is 1e-2.
    assert float((found.outputs[0] - after).norm()) < 0.03 * float((after - before).norm())
    slopes = criterion_gradients(problem, theta, "test", BLOCKS)
    expected = torch.stack([influence_scores(problem.objective(), theta, s, options=tight) for s in slopes], dim=1)
    assert float((found.scores - expected).norm()) < 0.03 * float(expected.norm())

    def lost(objective, theta, rows, options):
        return Update(theta, torch.ones(N), Solution(theta, False, "negative curvature"))

    monkeypatch.setattr("unlearn.studies.full_network.curvature.newton_update", lost)
    (absent,) = predict_hessian(problem, theta, {3: rows}, [10.0], BLOCKS)
    assert absent.outputs.isnan().all()
    assert absent.scores.isfinite().all()


@pytest.mark.parametrize("conditions", [[], [1.0], [1e4, 0.5]])
def test_condition_numbers_that_no_damping_gives_are_refused(conditions: list[float]) -> None:
    with pytest.raises(InputError, match="expected condition numbers above 1"):
        require_conditions("full_network.conditions", conditions)
