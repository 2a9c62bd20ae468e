"""Synthetic feeders: the document's three sizes beside its own times, and how seconds and memory grow with meters."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from tqdm import tqdm

from experiments.app import Job
from experiments.benchmarks.timing import add_runs, add_timing, in_a_process, print_result, repeat
from unlearn.generators.feeder import GeneratorConfig, SyntheticDataPipeline, bus_loads
from unlearn.grid import load_case
from unlearn.records import RecordTable

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
        given = (method, meters, months, job.grid.case, files.resolve())
        runs = []
        for _ in range(job.benchmark.repeats):
            shutil.rmtree(files, ignore_errors=True)
            runs.append(in_a_process("experiments.benchmarks.feeder", *given, threads=job.threads))
        what = f"{meters:,} meters, {months} months"
        add_runs(table, runs, part="feeder", state="own process", method=method, what=what)
    shutil.rmtree(files, ignore_errors=True)


def measure(method: str, meters: int, months: int, grid: str, files: Path) -> dict[str, float]:
    """Write the files of one size, or sum its hours by bus; seconds."""
    case = load_case(grid)
    transformers = min(9_999, max(meters // 50, case.n_loads))
    settings = GeneratorConfig(num_transformers=transformers, num_meters=meters, num_months=months, output_dir=files)
    start = time.perf_counter()
    if method == "files":
        SyntheticDataPipeline(settings).run()
    else:
        bus_loads(settings, case)
    return {"seconds": time.perf_counter() - start}


def _generate_and_save(settings: GeneratorConfig) -> None:
    pipeline = SyntheticDataPipeline(settings)
    pipeline.save_outputs(pipeline.generate_all())


if __name__ == "__main__":
    name, meters, months, grid, files = sys.argv[1:]
    print_result(measure(name, int(meters), int(months), grid, Path(files)))
