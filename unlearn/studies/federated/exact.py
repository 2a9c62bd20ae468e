"""Exact least squares of one secure sum beside pooled training and beside each utility alone."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from unlearn.checks import FloatArray
from unlearn.data import LoadDataset
from unlearn.privacy.federated.designs import NetworkDesign
from unlearn.privacy.federated.least_squares import fit_federated
from unlearn.privacy.federated.model import FederatedModel
from unlearn.records import RecordTable
from unlearn.studies.federated.members import exact_channel
from unlearn.studies.federated.options import ALONE, FEDERATED, HEAD, LINEAR, POOLED
from unlearn.studies.federated.pooled import LeastSquares, NetworkHead, fit_pooled, fit_pooled_head, relative_distance
from unlearn.studies.federated.setting import Forecast, Setting

#: Forecasters that are summed up exactly.
EXACT_KINDS = (LINEAR, HEAD)


def measure_exact(setting: Setting, table: RecordTable) -> None:
    """Add distances, errors, costs, times and bytes of each forecaster."""
    for kind in EXACT_KINDS:
        own = {"part": "exact", "forecaster": kind}
        channel, _ = exact_channel(setting.datasets)
        start = time.perf_counter()
        model = fit_federated(channel, design_of(setting, kind))
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        pooled = oracle(setting, kind, setting.datasets)
        pooled_seconds = time.perf_counter() - start
        alone = {name: oracle(setting, kind, {name: one}) for name, one in setting.datasets.items()}
        table.add("seconds", seconds, "s", **own, method=FEDERATED)
        table.add("seconds", pooled_seconds, "s", **own, method=POOLED)
        table.add("bytes", channel.traffic.n_bytes(), "B", **own, method=FEDERATED)
        add_distances(table, model, pooled, setting.datasets, **own, method=FEDERATED)
        for method, forecasts in (
            (FEDERATED, dict.fromkeys(setting.names, model.forecast)),
            (POOLED, dict.fromkeys(setting.names, pooled.forecast)),
            (ALONE, {name: one.forecast for name, one in alone.items()}),
        ):
            setting.add_forecasts(table, setting.datasets, forecasts, **own, method=method)


def design_of(setting: Setting, kind: str) -> str | NetworkDesign:
    """What members compute of their rows: columns, or an extractor that has seen nobody's customers."""
    return LINEAR if kind == LINEAR else setting.extractor


def oracle(setting: Setting, kind: str, datasets: Mapping[str, LoadDataset]) -> LeastSquares | NetworkHead:
    """The forecaster on the stacked rows of some data sets, by another solver."""
    if kind == LINEAR:
        return fit_pooled(datasets.values())
    return fit_pooled_head(datasets.values(), setting.extractor)


def add_distances(
    table: RecordTable,
    model: FederatedModel,
    other: LeastSquares | NetworkHead,
    datasets: Mapping[str, LoadDataset],
    **columns: str,
) -> None:
    """Add how far forecasts of all test hours, and parameters, are from those of another fit."""
    table.add("distance", forecast_distance(model.forecast, other.forecast, datasets), "relative", **columns)
    own, their = model.head, other.head_like(model)
    table.add("distance_parameters", relative_distance(own, their), "relative", **columns)


def forecast_distance(one: Forecast, other: Forecast, datasets: Mapping[str, LoadDataset]) -> float:
    """Relative distance of forecasts of all test hours."""
    features: FloatArray = np.concatenate([own.features[own.split.test] for own in datasets.values()])
    return relative_distance(one(features), other(features))
