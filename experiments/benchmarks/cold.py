"""Cold start: from a fresh interpreter to the first result."""

from __future__ import annotations

import numpy as np

from experiments.app import Job
from experiments.benchmarks.timing import Timing, add_timing, run_python
from unlearn.records import RecordTable

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
        command = ["-c", program.replace("{case}", job.grid.case)]
        seconds = [float(run_python(command).split()[-1]) for _ in range(job.benchmark.repeats)]
        add_timing(table, Timing(np.array(seconds)), what=what, method="unlearn", state="cold start")
