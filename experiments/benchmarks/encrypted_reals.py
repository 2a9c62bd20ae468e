"""Encrypted real numbers: forecasts, means and variances, and limits, each in a process of its own.

`python -m experiments.benchmarks.encrypted_reals forecast` prints one JSON line; so does `clients 100`, for a server
that answers so many clients one after another.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.benchmarks.encrypted_peers import FEATURES, HOURS, OUTPUTS
from experiments.benchmarks.timing import in_a_process, print_result
from unlearn.privacy.encrypted.ckks import RealEncryptor, new_real_keys
from unlearn.privacy.encrypted.envelope import new_run
from unlearn.privacy.encrypted.forecast import ForecastClient, ForecastServer, forecast_task
from unlearn.privacy.encrypted.limits import LimitTask, above_limits, encrypt_loads, new_limit_keys, open_above, plan_of
from unlearn.privacy.encrypted.moments import RunningMoments, hour, moments_task, open_moments
from unlearn.privacy.federated.channel import LocalChannel
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.party import Party
from unlearn.records import RecordTable

FEEDERS = 20
#: Loads within 0..100, told apart from limits at 2 % of that.
LIMITS = LimitTask(100.0, 2.0)


def add_reals(table: RecordTable) -> None:
    """Times, bytes, errors and peak memory of each."""
    whats = {
        "forecast": f"forecast {FEATURES} to {OUTPUTS}, {HOURS} hours",
        "moments": f"mean and variance of {FEEDERS} feeders, {HOURS} hours",
        "limits": f"{plan_of(LIMITS).degree // 2:,} loads above limits, band 2 %",
    }
    for name, what in whats.items():
        columns = {"part": "encrypted", "what": what, "method": "CKKS with a bound"}
        for metric, value in in_a_process(__name__, name, threads=1).items():
            if metric in ("make keys", "encrypt", "compute", "decrypt"):
                table.add("seconds", value, "s", step=metric, **columns)
            else:
                table.add(metric, value, {"bytes": "bytes", "peak_memory": "MB"}.get(metric, metric), **columns)


def forecast() -> dict[str, float]:
    """Seconds of the client (encrypt, decrypt) and of the server (compute), bytes both ways and the largest error."""
    own, roster = _members("client")
    rng = np.random.default_rng(0)
    x, weights, intercept = _model(rng, FEATURES, OUTPUTS, HOURS)
    task = forecast_task(FEATURES, float(np.ceil(np.abs(weights).sum(axis=1).max())) + 1.0, 10.0, 1e-5)
    server = ForecastServer("server", own["server"], roster, weights, intercept, task, HOURS)
    channel = LocalChannel([Party("server", server.handlers)])
    start = time.perf_counter()
    client = ForecastClient("client", own["client"], roster, channel, "server", task)
    made = time.perf_counter()
    found = client.forecast(x)
    seconds, computed = time.perf_counter() - made, channel.seconds["server"]
    error = float(np.abs(found.values - (x @ weights.T + intercept)).max())
    return {
        "make keys": made - start,
        "encrypt": seconds - computed,
        "compute": computed,
        "bytes": channel.traffic.n_bytes(),
        "error": error,
        "bound": found.error,
    }


def moments() -> dict[str, float]:
    """Mean and variance of loads of 0 to 10."""
    own, roster = _members("client")
    x, run = np.random.default_rng(0).uniform(0.0, 10.0, (HOURS, FEEDERS)), new_run()
    start = time.perf_counter()
    keys = new_real_keys(moments_task(HOURS, 10.0, 1e-5))
    made = time.perf_counter()
    encryptor = RealEncryptor(keys.public)
    sent = [encryptor.encrypt([row], run, "client", hour(i)).signed(own["client"]).payload() for i, row in enumerate(x)]
    encrypted = time.perf_counter()
    sums = RunningMoments(keys.public, run, roster)
    for payload in sent:
        sums.add(payload, "client")
    total = sums.total("server").signed(own["server"])
    computed = time.perf_counter()
    found = open_moments(keys, total.payload(), run, roster, "server", FEEDERS)
    decrypted = time.perf_counter() - computed
    return {
        "make keys": made - start,
        "encrypt": encrypted - made,
        "compute": computed - encrypted,
        "decrypt": decrypted,
        "bytes": sum(array.nbytes for payload in sent for array in payload.values()) + total.n_bytes,
        "error": float(np.abs(found.variance - x.var(axis=0)).max()),
        "bound": found.variance_error,
    }


def limits() -> dict[str, float]:
    """Loads of all slots; the error is the share of wrong indicators outside of the band."""
    own, roster = _members("client")
    n, run = plan_of(LIMITS).degree // 2, new_run()
    loads, bounds = np.random.default_rng(0).uniform(0.0, LIMITS.largest, (2, n))
    start = time.perf_counter()
    keys = new_limit_keys(LIMITS)
    made = time.perf_counter()
    sent = encrypt_loads(keys.public, loads, run, "client").signed(own["client"])
    encrypted = time.perf_counter()
    total = above_limits(keys.public, sent.payload(), run, roster, "client", bounds, "server").signed(own["server"])
    computed = time.perf_counter()
    found = open_above(keys, total.payload(), run, roster, "server", n)
    decrypted = time.perf_counter() - computed
    clear = np.abs(loads - bounds) >= LIMITS.band
    return {
        "make keys": made - start,
        "encrypt": encrypted - made,
        "compute": computed - encrypted,
        "decrypt": decrypted,
        "bytes": sent.n_bytes + total.n_bytes,
        "error": float((found != (loads > bounds))[clear].mean()),
        "key_bytes": keys.public.n_bytes,
    }


def clients(n: int) -> dict[str, float]:
    """Memory after a tenth of n clients and after all, each of whom asks a server once with keys of its own."""
    names = [f"client_{i}" for i in range(n)]
    own, roster = _members(*names)
    x, weights, intercept = _model(np.random.default_rng(0), 16, 2, 4)
    task = forecast_task(16, 100.0, 10.0, 1e-5)
    server = ForecastServer("server", own["server"], roster, weights, intercept, task)
    party, found = Party("server", server.handlers), {}
    for i, name in enumerate(names, 1):
        client = ForecastClient(name, own[name], roster, LocalChannel([party]), "server", task)
        client.forecast(x)
        if i in (max(1, n // 10), n):
            found["first" if i < n else "all"] = _memory_mb()
    return found


def _model(rng: np.random.Generator, features: int, outputs: int, hours: int) -> tuple[np.ndarray, ...]:
    """Features (hours, F), weights (B, F) and intercept (B,)."""
    return rng.uniform(-1, 1, (hours, features)), rng.normal(size=(outputs, features)), rng.normal(size=outputs)


def _members(*names: str) -> tuple[dict[str, Identity], Roster]:
    own = {name: Identity.new() for name in ("server", *names)}
    return own, Roster({name: one.public for name, one in own.items()})


def _memory_mb() -> float:
    """What this process holds now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


MEASURED: dict[str, Callable[..., dict[str, float]]] = {
    "forecast": forecast, "moments": moments, "limits": limits, "clients": clients,
}  # fmt: skip

if __name__ == "__main__":
    print_result(MEASURED[sys.argv[1]](*map(int, sys.argv[2:])))
