"""Deletion requests: one customer out of a registry of encrypted data and models, beside fitting everything by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import unlearn
from experiments.app import Job
from experiments.benchmarks.timing import Timing, add_timing
from unlearn import services
from unlearn.checks import require_count
from unlearn.households import hourly_meters, simulate_households, spread
from unlearn.records import RecordTable
from unlearn.store import temporary_folder


def time_requests(job: Job, table: RecordTable, folder: Path) -> None:
    """Time each step, from registration to verification, on simulated customers."""
    options = job.benchmark
    n = require_count("benchmark.request_customers", options.request_customers)
    meters = hourly_meters(simulate_households(n, n_days=options.customer_days))
    place = spread(meters.customer_ids, unlearn.load_case(job.grid.case).n_loads, job.seed)
    data = unlearn.customer_loads(meters, place)
    columns = {"part": "requests", "what": f"{n} customers, {options.customer_days} days"}
    runs = []
    for _ in range(options.repeats):
        with temporary_folder(folder / "requests", confidential=True) as own:
            runs.append(_run(own, data, place, job.grid.case))
    for method in runs[0]:
        add_timing(table, Timing(np.array([run[method] for run in runs])), method=method, **columns)


def _run(folder: Path, data: unlearn.CustomerLoads, place: dict[str, str], case: str) -> dict[str, float]:
    found: dict[str, float] = {}

    def timed(method: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = call()
        found[method] = time.perf_counter() - start
        return made

    registry = services.create_registry(folder / "deletions", folder / "key", retention_days=0)
    kept = services.KeptData.scaled(data, case)
    timed("register the data", lambda: registry.add_data("data", kept))
    timed("train", lambda: registry.train("load", services.ForecastLearner()))
    first, second = (services.DeletionRequest(customers=(own,)) for own in data.customer_ids[:2])
    timed("forget 1, without evidence", lambda: services.forget(registry, first, measure=False))
    done = timed("forget 1, with evidence", lambda: services.forget(registry, second))
    timed("certify", lambda: services.certify(registry, done.id, folder / "certificate"))
    checked = timed(
        "verify, numbers computed again", lambda: services.verify(folder / "certificate", registry=registry)
    )
    assert checked.valid
    model = timed("by hand: sum up and fit anew", lambda: _by_hand(data, place, data.customer_ids[:2], case))
    assert np.allclose(model.theta, registry.load("load").theta, rtol=1e-8, atol=1e-10)
    return found


def _by_hand(
    data: unlearn.CustomerLoads, place: dict[str, str], gone: tuple[str, ...], case: str
) -> unlearn.Forecaster:
    """A model of the others, without registry, encryption or evidence."""
    left = data.meters.take(np.setdiff1d(np.arange(len(data.meters)), data.meters.positions("gone", gone)))
    again = unlearn.customer_loads(left, {own: place[own] for own in left.customer_ids}, load_names=data.load_names)
    grid = unlearn.load_case(case)
    return unlearn.fit_linear(again.scaled_to(grid.nominal_load_mw, base_mva=grid.base_mva))
