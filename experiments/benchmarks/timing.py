"""Timing by repetition: medians with minimum and maximum, of whatever is called, in this process or in fresh ones."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import FloatArray
from unlearn.errors import SolverError
from unlearn.records import RecordTable
from unlearn.unlearning import relative_distance

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Timing:
    """Seconds of each repetition."""

    seconds: FloatArray

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


def repeat(call: Callable[[], object], repeats: int, prepare: Callable[[], object] | None = None) -> Timing:
    """Call it once to warm up and then `repeats` times; `prepare` runs untimed before each call."""
    seconds = np.empty(repeats + 1)
    for k in range(repeats + 1):
        if prepare is not None:
            prepare()
        start = time.perf_counter()
        call()
        seconds[k] = time.perf_counter() - start
    return Timing(seconds[1:])


def add_timing(
    table: RecordTable, timing: Timing, per: int = 1, unit: str = "s", scale: float = 1.0, **columns
) -> None:
    """Add median, min and max as records: seconds, or `scale` times that, for each of `per` items."""
    seconds = timing.seconds * scale / per
    for metric, value in (("median", np.median(seconds)), ("min", seconds.min()), ("max", seconds.max())):
        table.add(f"time_{metric}", float(value), unit, repeats=len(seconds), **columns)


def add_ways(
    table: RecordTable,
    ways: Mapping[str, Callable[[], Any]],
    repeats: int,
    exact: Tensor | None = None,
    prepare: Callable[[], object] | None = None,
    **columns,
) -> None:
    """Time several ways to the same result, each by its name; where it is given, add how far each is from it."""
    for method, way in tqdm(ways.items(), desc=columns["what"], leave=False):
        add_timing(table, repeat(way, repeats, prepare), method=method, **columns)
        if exact is not None:
            table.add("error", relative_distance(way(), exact), "relative", method=method, **columns)


def in_a_process(module: str, *arguments: object, threads: int) -> dict[str, Any]:
    """What a module prints with `print_result` in a process of its own, which shows how much memory it takes."""
    return json.loads(run_python(["-m", module, *map(str, arguments)], OMP_NUM_THREADS=str(threads)))


def run_python(arguments: Sequence[str], **environment: str) -> str:
    """What a fresh interpreter prints.

    Raises:
        SolverError: it failed.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=_ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SolverError(f"a process of its own failed, {' '.join(arguments[:4])}: {done.stderr[-500:]}")
    return done.stdout


def print_result(result: Mapping[str, object]) -> None:
    """Hand a result to the process that waits for it, with the peak memory of this one in MB."""
    sys.stdout.write(json.dumps({**result, "peak_memory": peak_memory_mb()}))


def peak_memory_mb() -> float:
    """The most memory that this process has held.

    Linux hands the figure of `getrusage` down from the process that started this one, so a small run that a
    large one started would look large. The kernel's own record of the process begins anew with it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def add_runs(table: RecordTable, runs: Sequence[Mapping[str, float]], **columns) -> Timing:
    """Add time and peak memory of runs in processes of their own; return the time."""
    timing = Timing(np.array([run["seconds"] for run in runs]))
    add_timing(table, timing, **columns)
    table.add("peak_memory", max(run["peak_memory"] for run in runs), "MB", **columns)
    return timing
