"""Dispatch and redispatch, forward and backward: every backend and form on the same hours."""

from __future__ import annotations

import copy
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import unlearn
from experiments.app import Job
from experiments.benchmarks.timing import add_timing, repeat
from experiments.loads import build_dataset
from unlearn.data.sources import Synthetic
from unlearn.errors import SolverError
from unlearn.grid import GridCase, OperatingCost, load_case
from unlearn.records import RecordTable

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Peers: what they are called, and how `OperatingCost` is told to be one.
PEERS = {
    "cvxpylayers default, angle (published)": {"backend": "cvxpylayers", "derivative": "lsqr", "form": "angle"},
    "cvxpylayers default, PTDF": {"backend": "cvxpylayers", "derivative": "lsqr", "form": "ptdf"},
    "cvxpylayers dense, angle": {"backend": "cvxpylayers", "derivative": "dense", "form": "angle"},
    "cvxpylayers dense, PTDF": {"backend": "cvxpylayers", "derivative": "dense", "form": "ptdf"},
    "moreau, PTDF": {"backend": "moreau"},
}

#: Hours that a peer gets at once: cvxpylayers' dense derivative of IEEE 118 takes half a gigabyte an hour.
PEER_BATCH = 10

#: A row of a gradient counts as off if it differs by more than this share of its largest entry.
OFF = 1e-3


@dataclass(frozen=True)
class Hours:
    """Forecasts and true loads in p.u., (n, B), and which rows are training and test rows."""

    forecast: Tensor
    load: Tensor
    train: Tensor
    test: Tensor


def forecast_hours(job: Job, case: GridCase) -> Hours:
    """A year of forecasts: the configured data on the configured grid, synthetic data on any other."""
    own = replace(job, protocol="published")
    if case.name != unlearn.load_case(job.grid.case).name:
        size = getattr(job.data, "n_hours", Synthetic.n_hours)
        own = replace(own, data=Synthetic(n_hours=size), grid=replace(job.grid, case=case.name))
    dataset = build_dataset(own, OperatingCost(case))
    forecast = unlearn.fit_linear(dataset).forecast(dataset.features)
    return Hours(
        torch.from_numpy(np.maximum(forecast, 0.0)),
        torch.from_numpy(dataset.load_pu),
        torch.from_numpy(dataset.split.train),
        torch.from_numpy(dataset.split.test),
    )


def time_dispatch(job: Job, table: RecordTable) -> None:
    """Time every backend on every grid and number of hours; record agreement with the batched one."""
    for grid in job.benchmark.grids:
        case = load_case(grid)
        hours = forecast_hours(job, case)
        for n in job.benchmark.hours:
            rows = hours.test[:n] if n <= len(hours.test) else torch.arange(min(n, len(hours.load)))
            _time_batched(table, case, hours, rows, job.benchmark.repeats)
        _time_peers(job, table, case, hours)


def _time_batched(table: RecordTable, case: GridCase, hours: Hours, rows: Tensor, repeats: int) -> None:
    """Ours in three states: no region known, those of the training hours known, all known."""
    forecast, load = hours.forecast[rows], hours.load[rows]
    learnt = OperatingCost(case)
    gradient(learnt, hours.forecast[hours.train], hours.load[hours.train])
    costs: list[OperatingCost] = []
    states = {
        "cold": lambda: costs.append(OperatingCost(case)),
        "first pass": lambda: costs.append(copy.deepcopy(learnt)),
        "warm": None,
    }
    for state, prepare in states.items():
        columns = {"grid": case.name, "method": "batched", "state": state, "hours": len(rows)}
        for what, call in TIMED.items():
            timing = repeat(lambda call=call: call(costs[-1], forecast, load), repeats, prepare)
            add_timing(table, timing, len(rows), "us/h", 1e6, what=what, **columns)
        if prepare is not None:
            prepare()
        before = copy.deepcopy(costs[-1].statistics)
        gradient(costs[-1], forecast, load)
        for program, after in costs[-1].statistics.items():
            hits = (after.hits - before[program].hits) / (after.hours - before[program].hours)
            table.add("regions", after.regions, "", program=program, **columns)
            table.add("hit_rate", hits, "share", program=program, **columns)
            table.add("kkt_residual", after.kkt_residual, "", program=program, **columns)


def _time_peers(job: Job, table: RecordTable, case: GridCase, hours: Hours) -> None:
    n = job.benchmark.sample_hours
    rows = hours.test[torch.linspace(0, len(hours.test) - 1, n).round().long()]
    forecast, load = hours.forecast[rows], hours.load[rows]
    truth, slope = gradient(OperatingCost(case), forecast, load)
    for name, options in tqdm(PEERS.items(), desc=f"{case.name}: peers", leave=False):
        if options["backend"] == "moreau" and importlib.util.find_spec("moreau") is None:
            log.warning("moreau is not installed, so it is left out: pip install 'unlearn[moreau]'")
            continue
        peer = OperatingCost(case, **options)
        columns = {"grid": case.name, "method": name, "state": "", "hours": n}
        try:
            parts = _batched(gradient, peer, forecast, load)
        except SolverError as error:
            log.warning("%s, %s: %s", case.name, name, error)
            table.add("failed", 1.0, "", **columns)
            continue
        for what, call in TIMED.items():
            timing = repeat(lambda call=call, peer=peer: _batched(call, peer, forecast, load), job.benchmark.repeats)
            add_timing(table, timing, n, "us/h", 1e6, what=what, **columns)
        found, own_slope = (torch.cat(own) for own in zip(*parts, strict=True))
        scale = slope.abs().amax(dim=1)
        off = (own_slope - slope).abs().amax(dim=1) / torch.where(scale > 0, scale, 1.0)
        table.add("cost_difference", float(((found - truth).abs() / truth.abs()).max()), "relative", **columns)
        table.add("gradients_off", float((off > OFF).double().mean()), "share", **columns)
        table.add("gradient_error", float(off.median()), "relative", **columns)


def price(cost: OperatingCost, forecast: Tensor, load: Tensor) -> Tensor:
    """Cost of every hour, without a gradient."""
    with torch.no_grad():
        return cost(forecast, load).total


def price_for_gradient(cost: OperatingCost, forecast: Tensor, load: Tensor) -> Tensor:
    """Cost of every hour, ready for a backward pass that does not come."""
    return cost(forecast.clone().requires_grad_(), load).total


def _batched(call: Callable[..., T], cost: OperatingCost, *hours: Tensor) -> list[T]:
    return [call(cost, *chunk) for chunk in zip(*(part.split(PEER_BATCH) for part in hours), strict=True)]


def gradient(cost: OperatingCost, forecast: Tensor, load: Tensor) -> tuple[Tensor, Tensor]:
    """Cost of every hour, (n,), and its gradient in the forecast, (n, B)."""
    asked = forecast.clone().requires_grad_()
    total = cost(asked, load).total
    total.sum().backward()
    if asked.grad is None:
        raise RuntimeError("autograd left no gradient")
    return total.detach(), asked.grad


#: What is timed. cvxpylayers prepares the derivative in its forward pass if one may be asked for, as in training.
TIMED: dict[str, Callable[[OperatingCost, Tensor, Tensor], object]] = {
    "forward + backward": gradient,
    "forward, ready for backward": price_for_gradient,
    "forward": price,
}
