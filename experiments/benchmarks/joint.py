"""Joint computations among processes over TLS: seconds, bytes that a party sends, and the error beside plain data."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.app import Job
from unlearn.checks import require_count
from unlearn.privacy.federated import Payload
from unlearn.privacy.mpc import Outcome, compute
from unlearn.privacy.mpc.programs.billing import Tariff, split_readings, tariff_public
from unlearn.privacy.mpc.programs.kept import kept_input, receipt_of
from unlearn.privacy.mpc.programs.least_squares import own_coefficients
from unlearn.records import RecordTable

_PROGRAMS = "unlearn.privacy.mpc.programs"
#: How many parties compute, the largest reading in Wh, and what is fitted: loads, columns, customers of a party.
PARTIES, LARGEST, LOADS, COLUMNS, CUSTOMERS = (3, 5), 20_000, 14, 20, 84


def time_joint(job: Job, table: RecordTable) -> None:
    """Run each program once among so many parties as are named; nothing where MPyC is not installed."""
    if importlib.util.find_spec("mpyc") is None:
        return
    n = require_count("benchmark.joint_intervals", job.benchmark.joint_intervals)
    for parties in tqdm(PARTIES, desc="joint computations", leave=False):
        _time_readings(job.seed, n, parties, table)
        _time_fit(job.seed, n, parties, table)


def _time_readings(seed: int, n: int, parties: int, table: RecordTable) -> None:
    """Programs on series of whole Wh; who has none computes."""
    readings = np.random.default_rng(seed).integers(0, LARGEST, (parties, n))
    names = [f"party {at}" for at in range(parties)]

    def given(*arrays: Mapping[str, NDArray]) -> dict[str, Payload]:
        return {name: dict(own) for name, own in zip(names, (*arrays, *[{}] * parties), strict=False)}

    def run(what: str, program: str, inputs: Mapping[str, Payload], public: Mapping[str, Any], error: _Error) -> None:
        _add(table, what, parties, compute(f"{_PROGRAMS}.{program}", inputs, public), error)

    run("total", "totals:total", given(*({"values": row} for row in readings)), {"largest": LARGEST},
        lambda out: float(np.abs(out["total"] - readings.sum(axis=0)).max()))  # fmt: skip
    run("whose average was higher", "comparison:highest_average",
        given(*({"energy_wh": row} for row in readings[:2])), {"largest": LARGEST},
        lambda out: float(np.any(out["winner"] != readings[:2].mean(axis=1).argmax())))  # fmt: skip
    one = np.ones((1, 1), dtype=int)
    run("total if enough take part", "threshold:guarded_total",
        given(*({"taking_part": one, "values": row[None, None]} for row in readings)),
        {"minimum": 3, "largest": LARGEST},
        lambda out: float(np.abs(out["total"][0] - readings.sum(axis=0)).max()))  # fmt: skip
    first, second = readings[:2].astype(float)
    run("correlation", "correlation:correlation", given({"first": first}, {"second": second}), {},
        lambda out: float(np.abs(out["r"] - np.corrcoef(first, second)[0, 1]).max()))  # fmt: skip
    members = given(*({"baseline_wh": row, "actual_wh": row // 2} for row in readings))
    joint, halved = readings.sum(axis=0), (readings // 2).sum(axis=0)
    run("what an event saved", "coalition:event_reduction", members, {"event": list(range(n)), "largest": LARGEST},
        lambda out: float(np.abs(out["reduction"] - (joint - halved).sum()).max()))  # fmt: skip
    run("how far a peak fell", "coalition:peak_reduction", members, {"largest": LARGEST},
        lambda out: float(np.abs(out["reduction"] - (joint.max() - halved.max())).max()))  # fmt: skip
    tariff = Tariff(tuple(20 + 10 * (at % 48 > 32) for at in range(n)))
    shares = split_readings(readings[:1], names)
    _add(table, "a customer's bill", parties,
         compute(f"{_PROGRAMS}.billing:bill", {**shares, "utility": {}}, tariff_public(tariff, "utility")),
         lambda out: float(np.abs(out["bills"] - tariff.bills(readings[:1])).max()), at="utility")  # fmt: skip


def _time_fit(seed: int, n: int, parties: int, table: RecordTable) -> None:
    """A forecaster of public columns fitted, and one customer forgotten."""
    random = np.random.default_rng(seed)
    rows = np.column_stack([random.uniform(-1, 1, (n, COLUMNS - 1)), np.ones(n)])
    series = random.uniform(0, 3, (3, CUSTOMERS, n))
    names = [f"party {at}" for at in range(parties)]
    customers = {name: [f"{name} {at}" for at in range(CUSTOMERS)] for name in names[:3]}
    loads = [at % LOADS for at in range(CUSTOMERS)]
    inputs: dict[str, Payload] = {name: {} for name in names}
    for name, own in zip(names, series, strict=False):
        inputs[name] = {"parts": own_coefficients(rows, own)}
    told = {"run": secrets.token_hex(16), "customers": customers, "loads": dict.fromkeys(customers, loads)}

    def error(left: NDArray) -> _Error:
        pooled = np.stack([left[:, at::LOADS].sum(axis=(0, 1)) for at in range(LOADS)], axis=1)
        plain = np.linalg.lstsq(rows, pooled, rcond=None)[0].T
        return lambda out: float(np.abs(out["theta"] - plain).max())

    first = compute(f"{_PROGRAMS}.least_squares:fit", inputs, told)
    _add(table, f"{LOADS} loads, {COLUMNS} public columns", parties, first, error(series))
    kept = {name: kept_input(first.results[name]) for name in names}
    asked = {
        "run": secrets.token_hex(16), "receipt": receipt_of(first.results[names[0]]), "customers": [f"{names[0]} 0"],
    }  # fmt: skip
    second = compute(f"{_PROGRAMS}.least_squares:remove", kept, asked)
    without = series.copy()
    without[0, 0] = 0
    _add(table, "the same without a customer", parties, second, error(without))


_Error = Callable[[Payload], float]


def _add(table: RecordTable, what: str, parties: int, outcome: Outcome, error: _Error, at: str = "") -> None:
    columns = {"part": "joint", "what": what, "method": f"{parties} parties"}
    learned = outcome.results[at or next(iter(outcome.results))]
    table.add("online_seconds", outcome.seconds, "s", **columns)
    table.add("seconds", outcome.seconds_in_all, "s", **columns)
    table.add("party_kilobytes", max(outcome.n_bytes.values()) / 1e3, "kB", **columns)
    table.add("error", error(learned), "", **columns)
