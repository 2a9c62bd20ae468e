"""Records that figures of fidelity are drawn from: quantiles, autocorrelation, timing of peaks, clusters."""

from __future__ import annotations

import numpy as np

from unlearn.records import RecordTable
from unlearn.studies.fidelity.features import HOURS
from unlearn.studies.fidelity.samples import Sample

#: Probabilities at which distributions of level and peaks are recorded.
PROBABILITIES = np.linspace(0.0, 1.0, 101)

#: Band of the autocorrelation at each lag, over profiles.
BAND = {"acf_low": 0.1, "acf_median": 0.5, "acf_high": 0.9}


def add_curves(table: RecordTable, sample: Sample, generator: str, side: str) -> None:
    """Record the distributions of one sample.

    Metrics: `quantile` of `mean`, `p95` and `magnitude` at probabilities; `acf_low`, `acf_median`, `acf_high` at
    lags in hours; `share` of peaks at each step's beginning in hours, of profiles that are constant, and of profiles
    in each cluster; `cluster_mean`, the mean energy of a cluster's members at each step's beginning.

    Args:
        table: where to.
        sample: of profiles.
        generator: where they come from.
        side: "release", "train" or "holdout".
    """
    own = {"generator": generator, "side": side}
    features = sample.features
    for name, aspect in (("mean", "level"), ("p95", "level"), ("magnitude", "peaks")):
        for at, value in zip(PROBABILITIES, np.quantile(features.columns(name), PROBABILITIES), strict=True):
            table.add("quantile", value, "kWh", aspect=aspect, feature=name, at=at, **own)
    table.add("share", features.constant_share, "1", aspect="autocorrelation", feature="constant", **own)
    hours = HOURS / sample.kwh.shape[1]
    acf = features.columns("acf")
    for metric, probability in BAND.items() if len(acf) else ():
        for lag, value in enumerate(np.quantile(acf, probability, axis=0), start=1):
            table.add(metric, value, "1", aspect="autocorrelation", feature="acf", at=lag * hours, **own)
    weight = features.timing.sum(axis=0)
    for step, value in enumerate(weight / weight.sum() if weight.any() else ()):
        table.add("share", value, "1", aspect="peaks", feature="timing", at=step * hours, **own)
    for cluster, members in enumerate(sample.members):
        where = {"aspect": "clusters", "cluster": cluster, **own}
        table.add("members", members, "profiles", **where)
        table.add("share", members / len(sample.kwh), "1", feature="occupancy", **where)
        if members:
            for step, value in enumerate(sample.kwh[sample.cluster == cluster].mean(axis=0)):
                table.add("cluster_mean", value, "kWh", at=step * hours, **where)
