"""Certified removal: how far the bound is above what a Newton step leaves, how long the budget lasts, what it costs."""

from __future__ import annotations

import time

import numpy as np
from tqdm import tqdm

from experiments.app import Job
from experiments.benchmarks.timing import Timing, add_timing
from experiments.loads import build_dataset
from unlearn.checks import IntArray
from unlearn.records import RecordTable
from unlearn.services.evidence.numbers import errors
from unlearn.unlearning import CertifiedForecaster, PseudoHuber, SmoothPinball, fit_certified

#: Losses of forecasts of the load; widths are in units of each load's largest training load.
LOSSES = {"pseudo-Huber, width 0.3": PseudoHuber(), "pinball 0.6, width 0.2": SmoothPinball(tau=0.6, width=0.2)}
#: Standard deviations of the noise; with 0 nothing can be removed.
SIGMAS = (0.0, 0.03, 0.1, 0.3)
#: Single rows that are removed, each from the head as it was fitted.
REMOVED = 10


def time_certified(job: Job, table: RecordTable) -> None:
    """Measure on the configured data, for each loss and noise."""
    dataset = build_dataset(job, job.grid.build())
    rows = np.random.default_rng(job.seed).permutation(len(dataset.split.train))[:REMOVED]
    what = f"{len(dataset.split.train)} rows, {dataset.n_loads} loads"
    for name, loss in LOSSES.items():
        for sigma in tqdm(SIGMAS, desc=name, leave=False):
            start = time.perf_counter()
            model = fit_certified(dataset, loss, sigma=sigma)
            fitted = time.perf_counter() - start
            columns = {"part": "certified", "what": what, "method": name, "sigma": sigma}
            test = errors(model, dataset, dataset.split.test, None)
            table.add("mape", float(test["mape_percent"] or np.nan), "percent", **columns)
            _steps(model, rows, table, columns, fitted)


def _steps(
    model: CertifiedForecaster, rows: IntArray, table: RecordTable, columns: dict[str, object], fitted: float
) -> None:
    """Single Newton steps beside refits with the same noise."""
    head, seconds, found = model.head, [], []
    for row in rows.tolist():
        start = time.perf_counter()
        after = head.stepped([row])
        seconds.append(time.perf_counter() - start)
        bound = after.spent - head.spent
        left = float(np.linalg.norm(after.gradient()))
        apart = float(np.linalg.norm(after.weights - after.retrained().weights))
        found.append((bound, left / bound, apart * head.l2 / bound))
    bounds, residual, distance = np.array(found).T
    table.add("residual_of_bound", float(np.median(residual)), "", **columns)
    table.add("largest_residual_of_bound", float(residual.max()), "", **columns)
    table.add("distance_of_bound", float(np.median(distance)), "", **columns)
    table.add("removals", head.budget / bounds.mean(), "rows", **columns)
    add_timing(table, Timing(np.array(seconds)), step="Newton step", **columns)
    add_timing(table, Timing(np.array([fitted])), step="fit", **columns)
