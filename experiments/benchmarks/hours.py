"""Forecast and true hours to price: a linear forecaster's on the configured data, or more of them than data has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import unlearn
from experiments.app import Job
from experiments.loads import build_dataset
from unlearn.data.sources import Synthetic
from unlearn.grid import GridCase, OperatingCost

#: Hours of a streamed chunk.
CHUNK = 8192


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


def stream(hours: Hours, n: int, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of n hours that never repeat: hours of the year, drawn anew and scaled by 0.9 to 1.05 each."""
    random = np.random.default_rng(seed)
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        rows = torch.from_numpy(random.integers(len(hours.load), size=size))
        scale = torch.from_numpy(random.uniform(0.9, 1.05, (size, 1)))
        yield hours.forecast[rows] * scale, hours.load[rows] * scale
