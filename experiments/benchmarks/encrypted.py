"""Encrypted sums and forecasts: TenSEAL, Paillier and numbers in the clear; OpenFHE where it can be imported."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.app import Job
from experiments.benchmarks import encrypted_peers
from experiments.benchmarks.encrypted_peers import FEATURES, HOURS, LARGEST, LIBRARIES, MODULUS, OUTPUTS, SLOTS
from experiments.benchmarks.encrypted_reals import add_reals
from unlearn.checks import require_count
from unlearn.errors import InputError, SolverError
from unlearn.privacy.encrypted.envelope import new_run
from unlearn.privacy.encrypted.paillier import Paillier, PaillierSum, decrypt_total, make_paillier_keys
from unlearn.privacy.encrypted.paillier_packing import Packing
from unlearn.privacy.encrypted.paillier_split import Holder, Policy, combined, make_split_keys
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.records import RecordTable

#: Lengths of Paillier's keys.
BITS = (2048, 3072)

_STEPS = {"add": "compute", "forecast": "compute"}


def time_encrypted(job: Job, table: RecordTable) -> None:
    """Time sums over meters, forecasts, variances and limits, and find the worst errors."""
    n, most = require_count("benchmark.encrypted_meters", job.benchmark.encrypted_meters), (MODULUS - 1) // LARGEST
    if not 2 <= n <= most:
        raise InputError(
            f"benchmark.encrypted_meters: expected 2 to {most:,}, got {n:,}: sums are modulo {MODULUS:,}, and one "
            "meter is no sum. benchmark.private_sum_meters times more."
        )
    paillier = max(2, require_count("benchmark.paillier_meters", job.benchmark.paillier_meters))
    _plain(n, table)
    for name, library in LIBRARIES.items():
        python = job.benchmark.openfhe_python if name == "openfhe" and job.benchmark.openfhe_python else sys.executable
        if python != sys.executable or importlib.util.find_spec(library.package):
            _add_library(name, _measured(python, name, n), n, table)
    if importlib.util.find_spec("tenseal"):
        add_reals(table)
    if importlib.util.find_spec("phe"):
        for bits in tqdm(BITS, desc="Paillier", leave=False):
            for slots in (SLOTS, 1):
                _paillier(bits, slots, min(n, paillier), n, table)
            _split_key(bits, min(n, paillier), n, table)


def _measured(python: str, name: str, n: int) -> dict[str, dict[str, float]]:
    """What a library does in a process of its own."""
    command = [python, str(Path(encrypted_peers.__file__)), name, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SolverError(f"{name}: a process of its own failed: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def _add_library(name: str, found: Mapping[str, Mapping[str, float]], n: int, table: RecordTable) -> None:
    whats = {"sum": _what(n), "forecast": f"forecast {FEATURES} to {OUTPUTS}, {HOURS} hours"}
    for task, what in whats.items():
        for step, value in found[task].items():
            columns = {"part": "encrypted", "what": what, "method": name}
            if step == "exact":
                table.add("error", 1 - value, "share", **columns)
            elif step in ("bytes", "error"):
                table.add(step, value, step, **columns)
            else:
                table.add("seconds", value, "s", step=_STEPS.get(step, step), **columns)
    for pattern, error in found["precision"].items():
        table.add("error", error, "relative", part="encrypted", what=f"CKKS, {pattern}", method=name)
    if found["shared"]:
        columns = {"part": "encrypted", "what": "sum, two holders of the key", "method": name}
        table.add("seconds", found["shared"]["shared keys"], "s", step="make keys", **columns)
        table.add("seconds", found["shared"]["shared decryption"], "s", step="decrypt", **columns)
        table.add("error", 1 - found["shared"]["shared exact"], "share", **columns)
    for metric, value in found["package"].items():
        table.add(metric, value, "MB", part="encrypted", what="package", method=name)


def _plain(n: int, table: RecordTable) -> None:
    readings = _readings(n)
    start = time.perf_counter()
    readings.sum(axis=0)
    seconds = time.perf_counter() - start
    columns = {"part": "encrypted", "what": _what(n), "method": "in the clear"}
    table.add("seconds", seconds, "s", step="compute", **columns)
    table.add("bytes", SLOTS * 8, "bytes", **columns)


def _paillier(bits: int, slots: int, measured: int, n: int, table: RecordTable) -> None:
    """Times of some meters, for all: each does the same work."""
    columns = {
        "part": "encrypted",
        "what": _what(n),
        "method": f"Paillier, {bits} bits, {slots} hour{'s' if slots > 1 else ''} in a ciphertext",
    }
    rows = SLOTS // slots
    # A day without packing is 24 times the work; fewer meters show it as well.
    measured = max(2, measured // rows)
    start = time.perf_counter()
    keys = make_paillier_keys(bits)
    table.add("seconds", time.perf_counter() - start, "s", step="make keys", **columns)
    readings = _readings(measured).reshape(measured, rows, slots)
    packing = Packing(0, LARGEST, n, slots)
    scheme, run = Paillier(keys.public, packing), new_run()
    own, roster = _members(measured)
    start = time.perf_counter()
    sent = [scheme.encrypt(one, run, "day", name, own[name]).payload() for one, name in zip(readings, own, strict=True)]
    encrypted = time.perf_counter()
    total = PaillierSum(scheme, run, "day", roster, rows)
    for payload in sent:
        total.add(payload)
    added = time.perf_counter()
    answer = total.total(2, "meter_0", own["meter_0"])
    passed = time.perf_counter()
    found = decrypt_total(keys, packing, answer, 2)
    decrypted = time.perf_counter() - passed
    scale = n / measured
    table.add("seconds", (encrypted - start) * scale, "s", step="encrypt", **columns)
    table.add("seconds", (added - encrypted) * scale + passed - added, "s", step="compute", **columns)
    table.add("seconds", decrypted, "s", step="decrypt", **columns)
    table.add("bytes", answer.n_bytes, "bytes", **columns)
    table.add("error", float((found != readings.sum(axis=0)).mean()), "share", **columns)
    if slots > 1:
        numbers, product = scheme.numbers(answer, rows), [1] * rows
        start = time.perf_counter()
        for _ in range(1000):
            product = scheme.multiplied(product, numbers)
        seconds = time.perf_counter() - start
        what = "1,000 products alone, nothing checked"
        table.add("seconds", seconds, "s", step="compute", **columns | {"what": what})


def _split_key(bits: int, measured: int, n: int, table: RecordTable) -> None:
    """Two of three holders, each of whom checks and multiplies what the meters signed."""
    columns = {"part": "encrypted", "what": "sum, two holders of the key", "method": f"Paillier, {bits} bits"}
    names, step = ("first", "second", "third"), "day"
    start = time.perf_counter()
    shares = make_split_keys(names, 2, bits)
    table.add("seconds", time.perf_counter() - start, "s", step="make keys", **columns)
    packing = Packing(0, LARGEST, n, SLOTS)
    scheme, run = Paillier(shares["first"].public, packing), new_run()
    own, roster = _members(measured)
    readings = _readings(measured)[:, None]
    sent = [scheme.encrypt(one, run, step, name, own[name]).payload() for one, name in zip(readings, own, strict=True)]
    quorum, partials = names[:2], {}
    start = time.perf_counter()
    for name in quorum:
        holder = Holder(name, Identity.new(), shares[name], packing, roster, Policy(2), run, step)
        partials[name] = holder.partial(sent, quorum, 1)
    found = combined(scheme, partials, 1, measured)
    table.add("seconds", time.perf_counter() - start, "s", step="decrypt", **columns)
    table.add("error", float((found[0] != readings.sum(axis=0)[0]).mean()), "share", **columns)


def _members(n: int) -> tuple[dict[str, Identity], Roster]:
    own = {f"meter_{i}": Identity.new() for i in range(n)}
    return own, Roster({name: one.public for name, one in own.items()})


def _readings(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, LARGEST + 1, (n, SLOTS))


def _what(n: int) -> str:
    return f"sum of {n} meters, {SLOTS} hours"
