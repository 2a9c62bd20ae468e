"""Every part of the benchmark by its name, and what it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from experiments.app import Job
from experiments.benchmarks.anomaly import time_anomaly
from experiments.benchmarks.any_model import time_influence
from experiments.benchmarks.certified import time_certified
from experiments.benchmarks.cold import time_cold_start
from experiments.benchmarks.curvature import time_curvature
from experiments.benchmarks.customers import time_customers
from experiments.benchmarks.dispatch import time_dispatch
from experiments.benchmarks.encrypted import time_encrypted
from experiments.benchmarks.feeder import time_feeder
from experiments.benchmarks.joint import time_joint
from experiments.benchmarks.private_sums import time_private_sums
from experiments.benchmarks.requests import time_requests
from experiments.benchmarks.scaling import scale_grids, scale_hours
from experiments.benchmarks.tuning import time_tuning
from unlearn.records import RecordTable


def run_parts(job: Job, table: RecordTable, folder: Path) -> None:
    """Run the parts that are asked for, in this order; each adds its records."""
    parts: dict[str, list[Callable[[], None]]] = {
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
        "joint": [lambda: time_joint(job, table)],
        "encrypted": [lambda: time_encrypted(job, table)],
    }
    for name, own in parts.items():
        for time in own if name in job.benchmark.parts else ():
            time()
