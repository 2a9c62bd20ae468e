"""Cold start: from a fresh interpreter to the first result; and where the time of a paper run went."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from experiments.app import Job
from experiments.benchmarks.timing import Timing, add_timing
from unlearn.errors import SolverError
from unlearn.records import RecordTable, read_json

#: What a fresh process runs; each prints the seconds since its own start.
_STARTS = {
    "import unlearn": "import unlearn",
    "first price": (
        "import torch, unlearn\n"
        "case = unlearn.load_case('{case}')\n"
        "load = torch.from_numpy(case.nominal_load_mw[None] / case.base_mva)\n"
        "unlearn.OperatingCost(case)(0.95 * load, load)"
    ),
    "first fitted forecaster": (
        "import unlearn\n"
        "case = unlearn.load_case('{case}')\n"
        "data = unlearn.load_dataset('synthetic', nominal_mw=case.nominal_load_mw, base_mva=case.base_mva)\n"
        "unlearn.fit_linear(data)"
    ),
}


def time_cold_start(job: Job, table: RecordTable) -> None:
    """Time fresh processes."""
    for what, code in _STARTS.items():
        program = f"import time; start = time.perf_counter()\n{code}\nprint(time.perf_counter() - start)"
        command = [sys.executable, "-c", program.replace("{case}", job.grid.case)]
        seconds = [_run(command) for _ in range(job.benchmark.repeats)]
        add_timing(table, Timing(np.array(seconds)), what=what, method="unlearn", state="cold start")


def add_paper_stages(job: Job, table: RecordTable) -> None:
    """Wall time of a finished paper run, and the seconds of each of its stages over all jobs."""
    card = Path(job.benchmark.paper) / "run.json"
    if not card.is_file():
        return
    run = read_json(card)
    table.add(
        "wall_time", run["seconds"], "s", what="make paper", method="unlearn", jobs=run["config"]["paper"]["jobs"]
    )
    for stage in run["stages"]:
        columns = {name: stage[name] for name in ("stage", "protocol", "forecaster")}
        table.add("stage_time", stage["seconds"], "s", what="make paper", method="unlearn", **columns)


def _run(command: list[str]) -> float:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SolverError(f"a fresh process failed: {done.stderr[-500:]}")
    return float(done.stdout.split()[-1])
