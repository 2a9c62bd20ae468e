"""Removal, scores and per-sample gradients: structured ways beside the general ones."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import unlearn
from experiments.app import Job
from experiments.benchmarks.timing import Timing, add_timing, add_ways
from experiments.loads import build_dataset
from unlearn.data import LoadDataset
from unlearn.forecasters import Forecaster, HeadObjective
from unlearn.grid import OperatingCost, load_case
from unlearn.influence import ModuleObjective, influence_scores
from unlearn.linalg import (
    IhvpOptions,
    SufficientStatistics,
    dense_matrix,
    inverse_hvp,
    solve_cg,
)
from unlearn.records import RecordTable
from unlearn.unlearning import relative_distance, retrain

#: Share of the training rows that is removed, rows of a step in a sequence, and rows of each timed removal size.
SHARE, STEP, SIZES = 0.25, 3, (1, 10, 100, 1000)


def time_curvature(job: Job, table: RecordTable) -> None:
    """Time every way on the linear model of the configured data, under the published split."""
    own = replace(job, protocol="published")
    dataset = build_dataset(own, OperatingCost(load_case(job.grid.case)))
    model = unlearn.fit_linear(dataset)
    objective = model.objective(dataset)
    random = np.random.default_rng(job.seed)
    shuffled = torch.from_numpy(random.permutation(objective.n_samples))
    repeats = job.benchmark.repeats
    _removal(table, model, dataset, objective, shuffled, repeats)
    _sequence(table, objective, shuffled, job.benchmark.sequential_steps)
    _sizes(table, objective, shuffled, repeats)
    _scores(table, model, objective, random, repeats)


def _removal(
    table: RecordTable,
    model: Forecaster,
    dataset: LoadDataset,
    objective: HeadObjective,
    shuffled: Tensor,
    repeats: int,
) -> None:
    """One removal of 25 %, by statistics, by structured solve, by CG and by a dense Hessian."""
    rows = torch.sort(shuffled[: int(SHARE * len(shuffled))]).values
    refit = retrain(objective, rows.numpy())
    remain = torch.ones(objective.n_samples, dtype=torch.float64)
    remain[rows] = 0.0
    theta = model.theta
    slope = objective.gradient(theta, 1.0 - remain, regularised=False)
    statistics = SufficientStatistics.of(objective.design, objective.target)
    where = model.training_rows(dataset)[rows.numpy()]
    plain, blocks = (IhvpOptions("cg", rtol=1e-10, preconditioner=name) for name in ("none", "block"))

    def newton(options: IhvpOptions) -> Tensor:
        return theta + inverse_hvp(objective, theta, remain, slope, options).value

    def hvp_cg() -> Tensor:
        module = _as_module(model, objective)
        return theta + solve_cg(module.hessian(module.theta, remain), slope, plain).value

    def dense() -> Tensor:
        module = _as_module(model, objective)
        return theta + torch.linalg.solve(dense_matrix(module.hessian(module.theta, remain)), slope)

    structured = "structured solve from the remaining data"
    ways = {
        "kept statistics: downdate, one Cholesky": lambda: _without(statistics, objective, rows).solve().value,
        structured: lambda: newton(IhvpOptions()),
        "CG on the Gram operator": lambda: newton(plain),
        "CG with block preconditioner": lambda: newton(blocks),
        "HVP + CG by autograd": hvp_cg,
        "dense Hessian by autograd": dense,
    }
    columns = {"part": "curvature", "what": f"removal of {100 * SHARE:.0f} % of {objective.n_samples} rows"}
    add_ways(table, ways, repeats, refit, **columns)
    condition = inverse_hvp(objective, theta, remain, slope, IhvpOptions()).statistics["condition"]
    table.add("condition", float(condition), "", method=structured, **columns)
    ways = {
        "forget_rows, limitations and new model included": lambda: unlearn.forget_rows(
            model, where, dataset.features[where], dataset.load_pu[where]
        ),
        "retraining (SVD)": lambda: retrain(objective, rows.numpy()),
    }
    add_ways(table, ways, repeats, **columns)


def _without(statistics: SufficientStatistics, objective: HeadObjective, rows: Tensor) -> SufficientStatistics:
    return statistics.remove(objective.design[rows], objective.target[rows])


def _sequence(table: RecordTable, objective: HeadObjective, shuffled: Tensor, steps: int) -> None:
    """Many small removals in a row, each with its solve, and how far they end from retraining."""
    statistics = SufficientStatistics.of(objective.design, objective.target)
    steps = min(steps, len(shuffled) // (2 * STEP))
    parts = shuffled[: steps * STEP].reshape(steps, STEP)
    seconds = []
    for rows in tqdm(parts, desc="sequential removals", leave=False):
        start = time.perf_counter()
        statistics = _without(statistics, objective, rows)
        found = statistics.solve().value
        seconds.append(time.perf_counter() - start)
    refit = retrain(objective, torch.sort(parts.reshape(-1)).values.numpy())
    columns = {"part": "curvature", "what": f"{steps} removals of {STEP} rows in sequence, each"}
    add_timing(table, Timing(np.array(seconds)), method="kept statistics: downdates", **columns)
    table.add("error", relative_distance(found, refit), "relative", method="kept statistics: downdates", **columns)


def _sizes(table: RecordTable, objective: HeadObjective, shuffled: Tensor, repeats: int) -> None:
    statistics = SufficientStatistics.of(objective.design, objective.target)
    for size in (size for size in SIZES if size <= len(shuffled) // 2):
        ways = {
            "kept statistics: downdate, one Cholesky": lambda rows=shuffled[:size]: _without(
                statistics, objective, rows
            ).solve()
        }
        add_ways(table, ways, repeats, part="curvature", what=f"removal of {size} rows")


def _scores(
    table: RecordTable, model: Forecaster, objective: HeadObjective, random: np.random.Generator, repeats: int
) -> None:
    """Influence scores of all samples, and per-sample gradients, beside a loop of backward passes."""
    slope = torch.from_numpy(random.normal(size=objective.n_parameters))
    theta = model.theta
    solved = inverse_hvp(objective, theta, torch.ones(objective.n_samples, dtype=torch.float64), slope, IhvpOptions())
    ways = {
        "one solve, one matrix product": lambda: influence_scores(objective, theta, slope),
        "one backward pass per sample": lambda: _looped_gradients(model, objective) @ solved.value,
    }
    what = f"{objective.n_samples} samples"
    exact = influence_scores(objective, theta, slope)
    add_ways(table, ways, repeats, exact, part="curvature", what=f"scores of {what}")
    module = _as_module(model, objective)
    ways = {
        "closed form": lambda: objective.per_sample_gradients(theta),
        "vmap over grad": lambda: module.per_sample_gradients(theta),
        "one backward pass each": lambda: _looped_gradients(model, objective),
    }
    add_ways(table, ways, repeats, part="curvature", what=f"gradients of {what}")


def _as_module(model: Forecaster, objective: HeadObjective) -> ModuleObjective:
    """The head as any PyTorch module, which is how a general implementation sees it."""
    linear = nn.Linear(objective.n_columns, objective.n_outputs, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(model.head)
    return ModuleObjective(linear, objective.design, objective.target)


def _looped_gradients(model: Forecaster, objective: HeadObjective) -> Tensor:
    head = model.head.clone().requires_grad_()
    gradients = torch.empty((objective.n_samples, objective.n_parameters), dtype=torch.float64)
    for i in range(objective.n_samples):
        loss = (head @ objective.design[i] - objective.target[i]).square().mean()
        (slope,) = torch.autograd.grad(loss, head)
        gradients[i] = slope.reshape(-1)
    return gradients
