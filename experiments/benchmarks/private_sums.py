"""Sums of meters in shares, and encrypted: seconds of meters, of aggregators and of opening, and bytes."""

from __future__ import annotations

import importlib.util
import time

import numpy as np

from experiments.app import Job
from unlearn.checks import require_count
from unlearn.privacy.federated import LocalChannel
from unlearn.privacy.mpc import SumRun, seal_readings, sum_meters, trial_meters
from unlearn.privacy.mpc.aggregator import AGREE, COLLECT, OPEN
from unlearn.records import RecordTable

#: One of so many meters is billed for a month.
BILLED = 100

#: Hours of each meter, meters of a group, and the largest reading drawn, in Wh.
HOURS, GROUP, LARGEST = 24, 50, 5000


def time_private_sums(job: Job, table: RecordTable) -> None:
    """Sum a day of simulated meters by group and in all, in one process, which works for all parties in turn."""
    n = require_count("benchmark.private_sum_meters", job.benchmark.private_sum_meters)
    trial = trial_meters([f"feeder-{meter // GROUP:04d}" for meter in range(n)])
    readings = np.random.default_rng(job.seed).integers(0, LARGEST + 1, (n, HOURS))
    run = SumRun.new(trial.directory, "day", HOURS)
    start = time.perf_counter()
    sealed = seal_readings(trial.directory, run, range(n), trial.keys, readings)
    meters = time.perf_counter() - start
    channel = LocalChannel(trial.parties())
    result = sum_meters(channel, trial.directory, run, sealed)
    columns = {
        "part": "private_sums",
        "what": f"{n:,} meters, {HOURS} hours, {GROUP} a group",
        "method": f"Shamir, {len(channel.members)} aggregators, threshold {trial.directory.rules.threshold}",
    }
    table.add("meters_seconds", meters, "s", **columns)
    table.add("aggregator_seconds", result.seconds[COLLECT] / len(channel.members), "s", **columns)
    opening = result.seconds[AGREE] + result.seconds[OPEN] + result.seconds["decode"]
    table.add("opening_seconds", opening, "s", **columns)
    sent = sum(one.boxes[0].nbytes for one in sealed.values())
    table.add("meter_bytes", float(sent), "B", **columns)
    table.add("bytes", float(channel.traffic.n_bytes()), "B", **columns)
    table.add("error", float(np.abs(result.region - readings.sum(axis=0)).max()), "Wh", **columns)
    if importlib.util.find_spec("tenseal"):
        from experiments.benchmarks.encrypted_sums import time_encrypted_bills, time_encrypted_sums

        time_encrypted_sums(readings, LARGEST, f"{n:,} meters, {HOURS} hours", table)
        time_encrypted_bills(max(1, n // BILLED), job.seed, table)
