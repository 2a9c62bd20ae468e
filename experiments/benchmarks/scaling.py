"""How time grows: hours from 1e3 to 1e6 in bounded memory, grids from 9 to 118 buses."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from experiments.app import Job
from experiments.benchmarks.dispatch import gradient
from experiments.benchmarks.hours import Hours, forecast_hours, stream
from experiments.benchmarks.timing import add_timing, repeat
from unlearn.errors import SolverError
from unlearn.grid import OperatingCost, load_case
from unlearn.records import RecordTable

_ROOT = Path(__file__).resolve().parents[2]

#: Hours that a process prices before it is timed.
LEARNT = 100_000


def scale_hours(job: Job, table: RecordTable, folder: Path) -> None:
    """Price more and more hours with their gradients, each number in a process of its own to see its memory."""
    case = load_case(job.grid.case)
    hours = forecast_hours(job, case)
    saved = folder / "hours.safetensors"
    save_file({"forecast": hours.forecast.contiguous(), "load": hours.load.contiguous()}, saved)
    seconds = []
    for n in tqdm(job.benchmark.stream_hours, desc="hours", leave=False):
        runs = [_stream_in_a_process(job.grid.case, saved, n, job.threads) for _ in range(job.benchmark.repeats)]
        columns = {"grid": case.name, "method": "batched", "state": "streamed", "hours": n}
        for metric, pick in (("median", np.median), ("min", np.min), ("max", np.max)):
            value = float(pick([run["seconds"] for run in runs]))
            table.add(f"time_{metric}", value, "s", what="forward + backward", repeats=len(runs), **columns)
        table.add("peak_memory", max(run["peak_mb"] for run in runs), "MB", **columns)
        table.add("regions", runs[0]["regions"], "", **columns)
        seconds.append(np.median([run["seconds"] for run in runs]))
    saved.unlink()
    add_exponent(table, job.benchmark.stream_hours, seconds, what="hours", grid=case.name)


def scale_grids(job: Job, table: RecordTable) -> None:
    """Warm pricing with gradients on every bundled grid, by its number of buses."""
    buses, medians = [], []
    for name in tqdm(job.benchmark.scaling_grids, desc="grids", leave=False):
        case = load_case(name)
        hours = forecast_hours(job, case)
        cost = OperatingCost(case)
        forecast, load = hours.forecast[hours.test], hours.load[hours.test]
        timing = repeat(lambda cost=cost, f=forecast, t=load: gradient(cost, f, t), job.benchmark.repeats)
        columns = {"grid": name, "method": "batched", "state": "warm", "buses": case.n_buses}
        add_timing(table, timing, len(load), "us/h", 1e6, what="grids", **columns)
        table.add("regions", sum(program.regions for program in cost.statistics.values()), "", what="grids", **columns)
        buses.append(case.n_buses)
        medians.append(timing.median / len(load))
    add_exponent(table, buses, medians, what="grids")


def add_exponent(table: RecordTable, sizes: list[int], seconds: list[float], **columns: object) -> None:
    """Slope of log time over log size, by least squares."""
    if len(sizes) > 1:
        slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
        table.add("exponent", slope, "", method="batched", **columns)


def _stream_in_a_process(case: str, saved: Path, n: int, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "experiments.benchmarks.scaling", case, str(saved.resolve()), str(n)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SolverError(f"pricing {n} hours in a process of its own failed: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def stream_once(case: str, saved: Path, n: int) -> dict[str, float]:
    """Price n streamed hours with gradients; seconds, peak memory of this process, regions found."""
    year = load_file(saved)
    nothing = torch.zeros(0, dtype=torch.int64)
    hours = Hours(year["forecast"], year["load"], nothing, nothing)
    cost = OperatingCost(case)
    # Other hours first, so that what is timed is pricing and not the search for regions.
    for forecast, load in stream(hours, LEARNT, seed=1):
        gradient(cost, forecast, load)
    start = time.perf_counter()
    money, steepest = 0.0, 0.0
    for forecast, load in stream(hours, n):
        total, slope = gradient(cost, forecast, load)
        money += float(total.sum())
        steepest = max(steepest, float(slope.abs().max()))
    return {
        "seconds": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "regions": sum(program.regions for program in cost.statistics.values()),
        "mean_cost": money / n,
        "steepest": steepest,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(stream_once(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
