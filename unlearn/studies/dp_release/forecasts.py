"""What forecasts cost that learnt from feeders published with noise, beside true loads and noise at each meter."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release.base import LEVELS
from unlearn.privacy.release.consistent import non_negative
from unlearn.privacy.release.local import local_sum
from unlearn.privacy.release.mechanisms import MECHANISMS
from unlearn.records import RecordTable
from unlearn.studies._shared.bus_loads import NOTHING, load_scale
from unlearn.studies._shared.feeders import measure_published
from unlearn.studies._shared.study import METRICS
from unlearn.studies.dp_release.load_curves import best_mechanism, project
from unlearn.studies.dp_release.options import PURE
from unlearn.studies.dp_release.setting import ALL, PLACES, Setting
from unlearn.studies.dp_release.table import CONSISTENT, LOCAL, PUBLISHED, TRUE


@dataclass(frozen=True)
class Source:
    """What forecasters learn from.

    Attributes:
        method: how it was published.
        level: what is protected; None of true loads.
        epsilon: ε of all hours and feeders.
        mechanism: of the noise.
    """

    method: str
    level: str | None = None
    epsilon: float | None = None
    mechanism: str | None = None


def measure_utility(setting: Setting, seed: int, table: RecordTable) -> None:
    """Add MAPE and cost of forecasts by what they learnt from, of feeders as they are and larger ones."""
    own = setting.options
    for larger in own.larger:
        feeders = setting.feeders
        kwh = larger * feeders.kwh
        at = replace(feeders, kwh=kwh, factor=load_scale(feeders.plan, kwh, feeders.cost))
        found = {source: (released, spent) for source, released, spent in _published(setting, larger)}
        for source, (released, spent) in found.items() if larger == 1 else ():
            columns = {"part": "release", "level": source.level, "epsilon": source.epsilon, "method": source.method}
            table.add("seconds", spent, "s", **columns, mechanism=source.mechanism)
            table.add("bytes", _size(setting, released), "bytes", **columns, mechanism=source.mechanism)
        named = {str(k): source for k, source in enumerate(found)}
        published = {name: feeders.by_day(found[source][0]) for name, source in named.items()}
        rows = measure_published(at, published, own.forecasters, own.training, own.hours, seed)
        for name, kind, metric, value in rows:
            source = Source(kind) if name == NOTHING else named[name]
            columns = {"method": source.method, "level": source.level, "epsilon": source.epsilon}
            columns |= {"mechanism": source.mechanism, "larger": float(larger)}
            columns |= {"forecaster": None if name == NOTHING else kind}
            table.add(metric, value, METRICS[metric], part="utility", **columns)


def _published(setting: Setting, larger: int) -> Iterator[tuple[Source, FloatArray, float]]:
    """Curves of feeders by what was done to them, shape (B, H), and the seconds that it took."""
    own = setting.options
    true = larger * setting.feeders.kwh.transpose(1, 0, 2).reshape(len(setting.feeders.names), -1)
    yield Source(TRUE), true, 0.0
    for level in LEVELS:
        bounded = larger * setting.bounded_kwh(level)
        sensitivity = setting.sensitivity(level, ALL)
        for epsilon in own.epsilons:
            mechanism = best_mechanism(setting, level, epsilon)
            amount = setting.amount(mechanism, epsilon)
            start = time.perf_counter()
            noisy = bounded + setting.drawn(mechanism, sensitivity, amount, bounded.shape).values
            released = non_negative(noisy)
            yield Source(PUBLISHED, level, epsilon, mechanism), released, time.perf_counter() - start
            if larger == 1:
                start = time.perf_counter()
                places = {place: setting.at(place, bounded) for place in PLACES}
                share = amount / len(PLACES)
                noisy_places = {
                    place: kwh + setting.drawn(mechanism, sensitivity, share, kwh.shape).values
                    for place, kwh in places.items()
                }
                released = project(setting, noisy_places, non_negative=True)[PLACES[0]]
                yield Source(CONSISTENT, level, epsilon, mechanism), released, time.perf_counter() - start
    if larger == 1:
        yield from _local(setting)


def _local(setting: Setting) -> Iterator[tuple[Source, FloatArray, float]]:
    """Curves of feeders where each meter adds all of the noise for one reading."""
    steps, feeder = setting.steps("event"), setting.feeders.feeder_of
    sensitivity = setting.sensitivity("event", "hour")
    for epsilon in setting.options.epsilons:
        scale = MECHANISMS[PURE].scale_for(sensitivity, epsilon)
        start = time.perf_counter()
        noisy = [local_sum(steps[feeder == b], scale, setting.source) for b in range(len(setting.feeders.names))]
        released = non_negative(np.stack(noisy) * RESOLUTION_KWH)
        yield Source(LOCAL, "event", epsilon, PURE), released, time.perf_counter() - start


def _size(setting: Setting, kwh: FloatArray) -> int:
    """Bytes of curves as a parquet table, in whole Wh."""
    buffer = io.BytesIO()
    frame = pd.DataFrame(np.rint(1000 * kwh.T).astype(np.int64), setting.meters.hours, list(setting.feeders.names))
    frame.to_parquet(buffer)
    return len(buffer.getvalue())
