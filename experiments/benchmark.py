"""Peers and ours side by side: `python -m experiments.benchmark`, or parts of it: `'benchmark.parts=[curvature]'`."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.app import Job, experiment, write_records
from experiments.benchmarks.options import BenchmarkOptions
from experiments.endings import Ending, number
from experiments.groups import Group
from experiments.loads import DATA
from unlearn.detectors.options import Gan


@experiment(**DATA, seed=0, households=Group("households"), gan=Gan, benchmark=BenchmarkOptions)
def main(job: Job, folder: Path) -> Ending:
    """Time every part, write the records and the tables, and print the tables."""
    from experiments.benchmarks.parts import run_parts
    from experiments.benchmarks.tables import PUBLISHED, as_text
    from unlearn.records import RecordTable
    from unlearn.store import write

    table = RecordTable(experiment="benchmark", seed=job.seed)
    run_parts(job, table, folder)
    records = write_records(job, table.to_frame(), folder)
    text = as_text(records, job.tiny)
    write(folder / "benchmark.md", text.encode())
    sys.stdout.write(text)
    own = {"metric": "time_median", "what": "forward + backward", "unit": "us/h"}
    numbers = [
        number("Cost of an hour with its gradient, known regions", records, method="batched", state="warm", **own),
        number("Cost of an hour with its gradient, new regions", records, method="batched", state="cold", **own),
        number("Cost of an hour with its gradient, as published", records, method=PUBLISHED, **own),
    ]
    return Ending(numbers, folder / "benchmark.md")


if __name__ == "__main__":
    main()
