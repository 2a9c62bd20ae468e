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
    from experiments.benchmarks.anomaly import time_anomaly
    from experiments.benchmarks.any_model import time_influence
    from experiments.benchmarks.certified import time_certified
    from experiments.benchmarks.cold import time_cold_start
    from experiments.benchmarks.curvature import time_curvature
    from experiments.benchmarks.customers import time_customers
    from experiments.benchmarks.dispatch import time_dispatch
    from experiments.benchmarks.encrypted import time_encrypted
    from experiments.benchmarks.feeder import time_feeder
    from experiments.benchmarks.private_sums import time_private_sums
    from experiments.benchmarks.requests import time_requests
    from experiments.benchmarks.scaling import scale_grids, scale_hours
    from experiments.benchmarks.tables import PUBLISHED, as_text
    from experiments.benchmarks.tuning import time_tuning
    from unlearn.records import RecordTable
    from unlearn.store import write

    table = RecordTable(experiment="benchmark", seed=job.seed)
    parts = {
        "dispatch": [lambda: time_dispatch(job, table)],
        "curvature": [lambda: time_curvature(job, table)],
        "influence": [lambda: time_influence(job, table)],
        "scaling": [lambda: scale_hours(job, table, folder), lambda: scale_grids(job, table)],
        "cold_start": [lambda: time_cold_start(job, table)],
        "feeder": [lambda: time_feeder(job, table, folder)],
        "anomaly": [lambda: time_anomaly(job, table)],
        "tuning": [lambda: time_tuning(job, table)],
        "customers": [lambda: time_customers(job, table, folder)],
        "requests": [lambda: time_requests(job, table, folder)],
        "certified": [lambda: time_certified(job, table)],
        "private_sums": [lambda: time_private_sums(job, table)],
        "encrypted": [lambda: time_encrypted(job, table)],
    }
    for part in parts:
        for time in parts[part] if part in job.benchmark.parts else ():
            time()
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
