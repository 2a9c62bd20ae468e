"""How time grows: hours from 1e3 to 1e6 in bounded memory, grids from 9 to 118 buses."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from experiments.app import Job
from experiments.benchmarks.dispatch import Hours, forecast_hours, gradient
from experiments.benchmarks.timing import add_runs, add_timing, in_a_process, print_result, repeat
from unlearn.grid import OperatingCost, load_case
from unlearn.records import RecordTable

#: Hours of a streamed chunk.
CHUNK = 8192

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
        given = ("experiments.benchmarks.scaling", job.grid.case, saved.resolve(), n)
        runs = [in_a_process(*given, threads=job.threads) for _ in range(job.benchmark.repeats)]
        columns = {"grid": case.name, "method": "batched", "state": "streamed", "hours": n}
        seconds.append(add_runs(table, runs, what="forward + backward", **columns).median)
        table.add("regions", runs[0]["regions"], "", **columns)
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


def stream(hours: Hours, n: int, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of n hours that never repeat: hours of the year, drawn anew and scaled by 0.9 to 1.05 each."""
    random = np.random.default_rng(seed)
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        rows = torch.from_numpy(random.integers(len(hours.load), size=size))
        scale = torch.from_numpy(random.uniform(0.9, 1.05, (size, 1)))
        yield hours.forecast[rows] * scale, hours.load[rows] * scale


def stream_once(case: str, saved: Path, n: int) -> dict[str, float]:
    """Price n streamed hours with gradients; seconds and regions found."""
    year = load_file(saved)
    nothing = torch.zeros(0, dtype=torch.int64)
    hours = Hours(year["forecast"], year["load"], nothing, nothing)
    cost = OperatingCost(case)
    # Other hours first, so that what is timed is pricing and not the search for regions.
    for forecast, load in stream(hours, LEARNT, seed=1):
        gradient(cost, forecast, load)
    start = time.perf_counter()
    for forecast, load in stream(hours, n):
        gradient(cost, forecast, load)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "regions": sum(program.regions for program in cost.statistics.values())}


if __name__ == "__main__":
    print_result(stream_once(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
