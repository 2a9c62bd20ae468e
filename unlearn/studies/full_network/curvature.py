"""Predictions by the curvature of a whole network and of its head, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata, spearmanr
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.errors import InputError
from unlearn.influence import ModuleObjective, influence_scores
from unlearn.linalg import GaussNewtonOperator, IhvpOptions, damping_of, lanczos_extremes
from unlearn.records import RecordTable
from unlearn.studies.full_network.problem import NetworkProblem, block_bounds
from unlearn.studies.full_network.tangent import SETTLED, STEPS, TangentKernel
from unlearn.unlearning import newton_update

#: Relative residual of conjugate gradients: its error is small against the distances that are measured.
RTOL = 1e-2
#: Lanczos steps for the largest curvature alone, which stands far from the others.
FEW_STEPS = 20


@short_repr
@dataclass(frozen=True, eq=False)
class Prediction:
    """What one curvature with one damping says.

    Attributes:
        method: "gauss_newton", "hessian" or "head".
        condition: condition number κ that the damping was set for; 0 where there is none.
        damping: λ, of the Hessian of the sum.
        scores: influence of each row on the MSE of each block of test hours, in p.u.², shape (n, blocks).
        stepped: positions of the groups whose Newton step was taken.
        outputs: standardised forecasts of the test hours after each of these steps, shape (stepped, hours, B);
            NaN where the damped Hessian over the remaining rows is not positive definite.
    """

    method: str
    condition: float
    damping: float
    scores: Tensor
    stepped: list[int]
    outputs: Tensor


class GaussNewtonObjective(ModuleObjective):
    """A module's training problem whose curvature is the Gauss-Newton matrix, for conjugate gradients."""

    def hessian(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> GaussNewtonOperator:
        return self.gauss_newton(theta, weights, damping)


def criterion_gradients(problem: NetworkProblem, theta: Tensor, split: str, n_blocks: int) -> Tensor:
    """Gradients of the mean MSE in p.u.² over each block of hours, shape (blocks, P)."""
    inputs, _ = problem.judged[split]
    return _block_gradients(problem, lambda point: problem.outputs(point, inputs), theta, split, n_blocks)


def selection_scores(problem: NetworkProblem, theta: Tensor, condition: float) -> FloatArray:
    """Influence of each trained row on the validation MSE, by which groups are picked; shape (n,)."""
    objective = GaussNewtonObjective(
        problem.network(0), problem.inputs[: problem.n_trained], problem.targets[: problem.n_trained]
    )
    ones = torch.ones(problem.n_trained, dtype=torch.float64)
    largest = lanczos_extremes(objective.gauss_newton(theta, ones), FEW_STEPS).largest
    options = IhvpOptions(solver="cg", damping=damping_of(largest, 0.0, condition), rtol=RTOL)
    (gradient,) = criterion_gradients(problem, theta, "validation", 1)
    return influence_scores(objective, theta, gradient, options=options).numpy()


def predict_gauss_newton(
    problem: NetworkProblem, theta: Tensor, groups: Mapping[int, IntArray], conditions: Sequence[float], n_blocks: int
) -> Iterator[Prediction]:
    """Predictions of the Gauss-Newton matrix of the whole network, one per condition number."""
    kernel = TangentKernel(problem, theta)
    gradients = criterion_gradients(problem, theta, "test", n_blocks)
    largest = kernel.largest_curvature()
    for condition in conditions:
        damping = damping_of(largest, 0.0, condition)
        damped = kernel.damped(damping)
        outputs = problem.forecasts(theta + damped.steps(list(groups.values())))
        scores = damped.influence(gradients)
        yield Prediction("gauss_newton", condition, damping, scores, list(groups), outputs)


def predict_hessian(
    problem: NetworkProblem, theta: Tensor, groups: Mapping[int, IntArray], conditions: Sequence[float], n_blocks: int
) -> Iterator[Prediction]:
    """Predictions of the Hessian of the whole network, damped until it is positive definite."""
    objective = problem.objective()
    hessian = objective.hessian(theta, torch.ones(problem.n_trained, dtype=torch.float64))
    ends = lanczos_extremes(hessian, STEPS, tolerance=SETTLED)
    # The residuals bound how far the eigenvalues are from what was found.
    largest, smallest = ends.largest + ends.largest_residual, ends.smallest - ends.smallest_residual
    gradients = criterion_gradients(problem, theta, "test", n_blocks)
    for condition in conditions:
        damping = damping_of(largest, smallest, condition)
        options = IhvpOptions(solver="cg", damping=damping, rtol=RTOL, on_failure="report")
        scores = [
            influence_scores(objective, theta, gradient, options=replace(options, on_failure="raise"))
            for gradient in gradients
        ]
        outputs = []
        for rows in tqdm(groups.values(), desc="Hessian steps", leave=False):
            update = newton_update(objective, theta, rows, options=options)
            # Damped for T, the Hessian over R may still be indefinite: then there is no such step.
            reached = update.theta if update.solution.converged else torch.full_like(theta, torch.nan)
            outputs.append(problem.forecasts(reached[None])[0])
        stacked = torch.stack(outputs)
        yield Prediction("hessian", condition, damping, torch.stack(scores, dim=1), list(groups), stacked)


def predict_head(problem: NetworkProblem, theta: Tensor, groups: Mapping[int, IntArray], n_blocks: int) -> Prediction:
    """Predictions for the analytic head on the network's frozen features."""
    objective, design = problem.head(theta)
    fitted = objective.fit()

    def forecasts(head: Tensor) -> Tensor:
        return design @ head.reshape(objective.n_outputs, -1).T

    slopes = _block_gradients(problem, forecasts, fitted, "test", n_blocks)
    scores = [influence_scores(objective, fitted, slope) for slope in slopes]
    outputs = [forecasts(newton_update(objective, fitted, rows).theta) for rows in groups.values()]
    return Prediction("head", 0.0, 0.0, torch.stack(scores, dim=1), list(groups), torch.stack(outputs))


def refit_head(problem: NetworkProblem, theta: Tensor, keep: Tensor) -> Tensor:
    """Test forecasts of heads fitted by least squares on kept rows (M, n_trained), shape (M, hours, B)."""
    objective, design = problem.head(theta)
    heads = [objective.fit(own.double()).reshape(objective.n_outputs, -1) for own in keep]
    return torch.stack([design @ head.T for head in heads])


def _block_gradients(
    problem: NetworkProblem, forecasts: Callable[[Tensor], Tensor], theta: Tensor, split: str, n_blocks: int
) -> Tensor:
    point = theta.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        hourly = problem.hourly_mse(forecasts(point), split)
        means = [hourly[first:last].mean() for first, last in block_bounds(len(hourly), n_blocks)]
        slopes = [torch.autograd.grad(mean, point, retain_graph=True)[0] for mean in means]
    return torch.stack(slopes)


#: Resamples of groups behind a bootstrap interval, and its coverage.
RESAMPLES, COVERAGE = 1000, 0.95
#: The truths that each method predicts.
TRUTHS = {"gauss_newton": ("scratch", "warm"), "hessian": ("scratch", "warm"), "head": ("exact",)}


def assess(records: pd.DataFrame, table: RecordTable) -> None:
    """Add Spearman correlations, linear datamodelling scores and the chosen condition of every method.

    `spearman` compares predicted and true changes of the test MSE over the groups of one use: of each seed, and
    of the means over seeds (`over` says which) with a bootstrap interval over groups. `lds` is the linear
    datamodelling score (Park et al., ICML 2023): Spearman over random halves between the sum of scores and
    refits averaged over seeds, mean over blocks of test hours. The method "other seeds" predicts a seed's refits
    by the mean of the others' refits: as well as can be done without knowing the network of that seed.
    """
    for method, condition in chosen_conditions(records).items():
        table.add("chosen_condition", condition, "", method=method)
    _add_spearman(records, table)
    _add_lds(records, table)


def chosen_conditions(records: pd.DataFrame) -> dict[str, float]:
    """Condition of each method with the smallest median distance to refits from scratch, over groups for choosing."""
    own = records[(records["use"] == "choice") & (records["predictor"] == "newton")]
    distance = own[(own["metric"] == "distance_to_refit") & (own["truth"] != "warm")]
    absent = own[(own["metric"] == "indefinite") & (own["value"] == 1)].assign(value=np.inf)
    if distance.empty:
        raise InputError('full network: expected records of "distance_to_refit" of the use "choice", got none.')
    both = pd.concat([distance, absent], ignore_index=True)
    chosen = {}
    for method, of_method in both.groupby("method"):
        medians = of_method.groupby("condition")["value"].median().sort_index(ascending=False)
        chosen[str(method)] = float(medians.index[int(medians.to_numpy().argmin())])
    return chosen


def _add_spearman(records: pd.DataFrame, table: RecordTable) -> None:
    keys = ["use", "seed", "group"]
    predicted = records[records["metric"] == "predicted_change"]
    true = records[(records["metric"] == "true_change") & (records["use"] != "noise")]
    for truth, own in true.groupby("truth"):
        changes = own.set_index(keys)["value"]
        if truth != "exact":
            _compare_seeds(changes, str(truth), table)
        for named, values in _by_settings(predicted, str(truth)):
            both = pd.DataFrame({"predicted": values.set_index(keys)["value"], "true": changes}).dropna()
            for use, pairs in both.groupby(level="use"):
                columns = {**named, "truth": truth, "use": use}
                for seed, one in pairs.groupby(level="seed"):
                    table.add("spearman", _rank(one), "", seed=seed, over="seed", **columns)
                means = pairs.groupby(level="group").mean()
                low, high = _interval(means)
                table.add("spearman", _rank(means), "", over="means", **columns)
                table.add("spearman_low", low, "", over="means", **columns)
                table.add("spearman_high", high, "", over="means", **columns)


def _by_settings(predicted: pd.DataFrame, truth: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Predictions of each method that has this truth, by condition and predictor; damping differs between seeds."""
    for method in (method for method, truths in TRUTHS.items() if truth in truths):
        own = predicted[predicted["method"] == method]
        for condition in sorted(own["condition"].unique()):
            for predictor in ("influence", "newton"):
                rows = own[(own["condition"] == condition) & (own["predictor"] == predictor)]
                if len(rows):
                    yield {"method": method, "condition": condition, "predictor": predictor}, rows


def _compare_seeds(changes: pd.Series, truth: str, table: RecordTable) -> None:
    for use, own in changes.groupby(level="use"):
        by_seed = own.droplevel("use").unstack("seed").dropna()
        for seed in by_seed.columns if by_seed.shape[1] > 1 else []:
            pairs = pd.DataFrame({"predicted": by_seed.drop(columns=seed).mean(axis=1), "true": by_seed[seed]})
            columns = {"seed": seed, "over": "seed", "truth": truth, "use": use}
            table.add("spearman", _rank(pairs), "", method="other seeds", predictor="refit", **columns)


def _add_lds(records: pd.DataFrame, table: RecordTable) -> None:
    keys = ["block", "group"]
    true = records[records["metric"] == "true_block_change"]
    predicted = records[records["metric"] == "predicted_block_change"]
    for truth, own in true.groupby("truth"):
        by_seed = own.set_index(["seed", *keys])["value"].unstack("seed")
        average = by_seed.mean(axis=1)
        for seed in by_seed.columns if truth != "exact" and by_seed.shape[1] > 1 else []:
            score = _lds(by_seed[seed], by_seed.drop(columns=seed).mean(axis=1))
            columns = {"seed": seed, "over": "seed", "truth": truth, "use": "subset"}
            table.add("lds", score, "", method="other seeds", predictor="refit", **columns)
        for named, values in _by_settings(predicted, str(truth)):
            scores = values.set_index(["seed", *keys])["value"].unstack("seed")
            columns = {**named, "truth": truth, "use": "subset"}
            # A head's refits belong to the features of one seed; a network's are averaged over seeds.
            for seed in scores.columns:
                against = by_seed[seed] if truth == "exact" else average
                table.add("lds", _lds(scores[seed], against), "", seed=seed, over="seed", **columns)
            table.add("lds", _lds(scores.mean(axis=1), average), "", over="means", **columns)


def _lds(predicted: pd.Series, true: pd.Series) -> float:
    pairs = pd.DataFrame({"predicted": predicted, "true": true})
    return float(np.mean([_rank(own) for _, own in pairs.groupby(level="block")]))


def _rank(pairs: pd.DataFrame) -> float:
    """Spearman correlation; 0 where one side does not vary, which tells nothing of the other."""
    if len(pairs) < 2 or (pairs.nunique() < 2).any():
        return 0.0
    return float(spearmanr(pairs["predicted"], pairs["true"]).statistic)


def _interval(pairs: pd.DataFrame) -> tuple[float, float]:
    """Bootstrap interval of the Spearman correlation over resampled groups."""
    rows = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
    predicted, true = (rankdata(pairs[name].to_numpy()[rows], axis=1) for name in ("predicted", "true"))
    predicted -= predicted.mean(axis=1, keepdims=True)
    true -= true.mean(axis=1, keepdims=True)
    scale = np.sqrt((predicted**2).sum(axis=1) * (true**2).sum(axis=1))
    products = (predicted * true).sum(axis=1)
    ranks = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    low, high = np.quantile(ranks, [0.5 - COVERAGE / 2, 0.5 + COVERAGE / 2])
    return float(low), float(high)
