"""Synthetic feeders: the document's three sizes beside its own times, and how seconds and memory grow with meters."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.app import Job
from experiments.benchmarks.timing import Timing, add_timing, repeat
from unlearn.errors import SolverError
from unlearn.generators.feeder import GeneratorConfig, SyntheticDataPipeline, bus_loads
from unlearn.grid import load_case
from unlearn.records import RecordTable

_ROOT = Path(__file__).resolve().parents[2]

#: Transformers, meters, months, and the seconds that the GhostLoad Mapper document states (Intel i7, 16 GB).
DOCUMENTED = ((50, 2_000, 12, 3.0), (100, 5_000, 12, 8.0), (200, 10_000, 24, 25.0))


def time_feeder(job: Job, table: RecordTable, folder: Path) -> None:
    """Time the documented sizes in this process, and larger ones each in a process of its own to see its memory."""
    files = folder / "feeder"
    for transformers, meters, months, stated in DOCUMENTED:
        settings = GeneratorConfig(
            num_transformers=transformers, num_meters=meters, num_months=months, output_dir=files
        )
        timing = repeat(
            lambda settings=settings: _generate_and_save(settings),
            job.benchmark.repeats,
            lambda: shutil.rmtree(files, ignore_errors=True),
        )
        columns = {"part": "feeder", "what": f"{transformers} transformers, {meters:,} meters, {months} months"}
        add_timing(table, timing, method="generate_all + save_outputs", **columns)
        table.add("time_stated", stated, "s", method="GhostLoad Mapper document", **columns)
    sizes = [("files", n, 24) for n in job.benchmark.feeder_meters]
    sizes += [("bus loads", n, 12) for n in job.benchmark.feeder_hourly_meters]
    for method, meters, months in tqdm(sizes, desc="feeder", leave=False):
        runs = [_in_a_process(job, method, meters, months, files) for _ in range(job.benchmark.repeats)]
        columns = {
            "part": "feeder",
            "state": "own process",
            "method": method,
            "what": f"{meters:,} meters, {months} months",
        }
        add_timing(table, Timing(np.array([run["seconds"] for run in runs])), **columns)
        table.add("peak_memory", max(run["peak_mb"] for run in runs), "MB", **columns)
    shutil.rmtree(files, ignore_errors=True)


def measure(method: str, meters: int, months: int, grid: str, files: Path) -> dict[str, float]:
    """Write the files of one size, or sum its hours by bus; seconds and the peak memory of this process."""
    case = load_case(grid)
    transformers = min(9_999, max(meters // 50, case.n_loads))
    settings = GeneratorConfig(num_transformers=transformers, num_meters=meters, num_months=months, output_dir=files)
    start = time.perf_counter()
    if method == "files":
        SyntheticDataPipeline(settings).run()
    else:
        bus_loads(settings, case)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _generate_and_save(settings: GeneratorConfig) -> None:
    pipeline = SyntheticDataPipeline(settings)
    pipeline.save_outputs(pipeline.generate_all())


def _in_a_process(job: Job, method: str, meters: int, months: int, files: Path) -> dict[str, float]:
    shutil.rmtree(files, ignore_errors=True)
    given = [method, str(meters), str(months), job.grid.case, str(files.resolve())]
    command = [sys.executable, "-m", "experiments.benchmarks.feeder", *given]
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads)}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SolverError(f"generating {meters} meters in a process of its own failed: {done.stderr[-500:]}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], Path(sys.argv[5])))
    )
