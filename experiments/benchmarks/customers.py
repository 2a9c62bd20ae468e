"""Customers: meters written to a file, summed up to loads, scored all at once, forgotten one and many at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import unlearn
from experiments.app import Job
from experiments.benchmarks.timing import Timing, add_timing, in_a_process, print_result
from unlearn.checks import require_count
from unlearn.households import hourly_meters, load_meters, london_weather, simulate_households, spread
from unlearn.records import RecordTable
from unlearn.store import temporary_folder

#: Share of the customers that is forgotten at once.
SHARE = 0.05


def time_customers(job: Job, table: RecordTable, folder: Path) -> None:
    """Time and measure in processes of their own: one writes the meters, the others never hold them all."""
    options = job.benchmark
    n, days = (
        require_count("benchmark.customers", options.customers),
        require_count("benchmark.customer_days", options.customer_days),
    )
    columns = {"part": "customers", "what": f"{n} meters, {days} days"}
    module = "experiments.benchmarks.customers"
    with temporary_folder(folder / "meters", confidential=True) as place:
        path = place / "meters.parquet"
        written = in_a_process(module, "write", path, n, days, threads=2)
        runs = [in_a_process(module, "use", path, job.grid.case, job.seed, threads=2) for _ in range(options.repeats)]
    runs = [{**run, **{name: written[name] for name in ("simulate", "write")}} for run in runs]
    table.add("peak_memory", written["peak_memory"], "MB", method="simulate and write", **columns)
    table.add("peak_memory", max(run["peak_memory"] for run in runs), "MB", method="sum up, score, forget", **columns)
    for method in (name for name in runs[0] if name != "peak_memory"):
        add_timing(table, Timing(np.array([run[method] for run in runs])), method=method, **columns)


def _write(path: str, n: int, days: int) -> dict[str, float]:
    made = _timed(lambda: simulate_households(n, n_days=days))
    return {"simulate": made[1], "write": _timed(lambda: hourly_meters(made[0], path))[1]}


def _use(path: str, case: str, seed: int) -> dict[str, float]:
    grid = unlearn.OperatingCost(case)
    opened, found = {}, {}
    meters, opened["open the file"] = _timed(lambda: load_meters(path))
    weather = london_weather(str(meters.hours[0].date()), len(meters.hours) // 24, seed)["temperature_c"]
    temperature = weather.resample("1h").mean()
    place = spread(meters.customer_ids, grid.case.n_loads, seed)
    data, found["sum up"] = _timed(lambda: unlearn.customer_loads(meters, place, {"temperature_c": temperature}))
    data = data.scaled_to(grid.case.nominal_load_mw, base_mva=grid.case.base_mva)
    model, found["fit"] = _timed(lambda: unlearn.fit_linear(data))
    for criterion in ("mse", "mape", "cost"):
        _, found[f"score all, {criterion}"] = _timed(
            lambda own=criterion: unlearn.customer_influence(model, data, own, grid=grid)  # type: ignore[misc]
        )
    some = np.random.default_rng(seed).permutation(len(meters))
    ids = [meters.customer_ids[i] for i in some]
    unlearn.forget_customers(model, data, ids[1:2])
    _, found["forget 1"] = _timed(lambda: unlearn.forget_customers(model, data, ids[:1]))
    many = ids[: max(1, round(SHARE * len(ids)))]
    done, found["forget 5 %"] = _timed(lambda: unlearn.forget_customers(model, data, many))
    _, found["sum up and fit without 5 %"] = _timed(lambda: _anew(data, many, place, temperature))
    assert done.complete
    return opened | found


def _anew(
    data: unlearn.CustomerLoads, gone: list[str], place: dict[str, str], temperature: object
) -> unlearn.Forecaster:
    """What retraining takes: the others summed up again, and a model fitted."""
    left = data.meters.take(np.setdiff1d(np.arange(len(data.meters)), data.meters.positions("gone", gone)))
    kept = {own: place[own] for own in left.customer_ids}
    again = unlearn.customer_loads(left, kept, {"temperature_c": temperature}, load_names=data.load_names)  # type: ignore[dict-item]
    return unlearn.fit_linear(again)


def _timed(call: Callable[[], object]) -> tuple:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


if __name__ == "__main__":
    if sys.argv[1] == "write":
        print_result(_write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        print_result(_use(sys.argv[2], sys.argv[3], int(sys.argv[4])))
