"""Tuning of what remains: each method, with critical regions that are known already and with none."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

import unlearn
from experiments.app import Job
from experiments.benchmarks.timing import add_timing, repeat
from experiments.loads import build_dataset
from unlearn.criteria import OperatingCostCriterion, fresh
from unlearn.records import RecordTable
from unlearn.unlearning.tuning import Affine, Head, Quantile, Scale, Weights, problem_of

#: Share of the training rows that is removed, drawn at random.
SHARE = 0.25

#: What is timed: hyper-parameters given, and as many steps as are taken at most.
METHODS = {
    "scale": Scale(),
    "affine, 100 steps": Affine(trust=0.0, steps=100),
    "quantile of the total": Quantile(tau=0.7, variant="total"),
    "quantile of each load": Quantile(tau=0.7, variant="loads"),
    "weights, 40 Frank-Wolfe steps": Weights(l1_budget=0.25, steps=40, gap=0.0),
    "head, 100 L-BFGS steps": Head(trust=0.0, steps=100),
}


def time_tuning(job: Job, table: RecordTable) -> None:
    """Time every method on the linear model of the configured data, after complete unlearning."""
    criterion = OperatingCostCriterion(job.grid.build())
    dataset = build_dataset(job, criterion.grid)
    model = unlearn.fit_linear(dataset)
    train = dataset.split.train
    removed = np.random.default_rng(job.seed).permutation(train)[: int(SHARE * len(train))]
    problem, rows = problem_of(unlearn.forget(model, dataset, removed).model, dataset, criterion)

    def forget_regions() -> None:
        problem.criterion = fresh(criterion)

    columns = {"part": "tuning", "what": f"{len(rows)} remaining rows, {problem.n_columns} columns"}
    for method, options in tqdm(METHODS.items(), desc="tuning", leave=False):
        for state, prepare in (("warm", None), ("cold", forget_regions)):
            timing = repeat(lambda own=options: own.solve(problem), job.benchmark.repeats, prepare)  # type: ignore[misc]
            add_timing(table, timing, method=method, state=state, **columns)
        solved = options.solve(problem)
        table.add("steps", solved.steps, "", method=method, state="warm", **columns)
        table.add("gain", 1 - solved.after / solved.before, "relative", method=method, state="warm", **columns)
