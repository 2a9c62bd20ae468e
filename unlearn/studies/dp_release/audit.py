"""Lower bounds on ε from many releases of two neighbouring data sets, as they are made and broken on purpose."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.attacks.epsilon import audit_epsilon
from unlearn.checks import FloatArray, IntArray
from unlearn.dp import Noise, SimulatedNoise
from unlearn.households import hourly_meters
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release.base import Contribution, Noisy, Query, Sensitivity, View
from unlearn.privacy.release.bounding import bounded_steps
from unlearn.privacy.release.budget import Budget
from unlearn.privacy.release.consistent import non_negative
from unlearn.privacy.release.mechanisms import MECHANISMS, Asking
from unlearn.privacy.release.queries import Count, Histogram, LoadCurve, Mean, Peak, Sum
from unlearn.privacy.release.selections import Quantile
from unlearn.privacy.release.session import PrivateRelease
from unlearn.records import RecordTable
from unlearn.studies.dp_release.options import PURE, ZCDP
from unlearn.studies.dp_release.setting import Setting
from unlearn.studies.dp_release.table import INTACT

#: Hours of the small data sets, and the readings of their homes: three ordinary ones, and one beyond all bounds.
_HOURS, _ORDINARY, _EXTREME = 48, (0.3, 0.5, 1.0), 20.0
#: Bounds on all audits together hold with this chance.
_CONFIDENCE = 0.95
#: What scales are divided by to break a promise: δ and concentrated composition leave Gaussian noise more room.
_NARROWER = {PURE: 2, ZCDP: 4}
_EDGES = (2.0, 5.0, 10.0, 20.0, 40.0)


class Many(NamedTuple):
    """A question that is asked n times at once: what `Asking` is, but values of shape (n, K).

    Attributes:
        once: the question.
        n: how often it is asked.
    """

    once: Asking
    n: int

    @property
    def contribution(self) -> Contribution:
        return self.once.contribution

    @property
    def view(self) -> View:
        return self.once.view

    @property
    def confidence(self) -> float:
        return self.once.confidence

    def noisy(
        self,
        totals: IntArray,
        sensitivity: Sensitivity,
        step: float,
        share: float = 1.0,
        confidence: float | None = None,
    ) -> Noisy:
        """Noise of its own on each of n copies."""
        found = self.once.noisy(np.tile(totals, self.n), sensitivity, step, share, confidence)
        values, low, high = (own.reshape(self.n, len(totals)) for own in found[:3])
        return Noisy(values, low, high, found.noise, found.scale)

    def selected(self, scores: IntArray, linf: int, share: float) -> int:
        """As the one question: choices are made one after the other."""
        return self.once.selected(scores, linf, share)

    def selection_scale(self, linf: int, share: float) -> float:
        """As of the one question."""
        return self.once.selection_scale(linf, share)


def asked_often(query: Query, totals: IntArray, asking: Asking, n: int) -> Noisy:
    """n answers of a query to the same sums, each as a release makes it, shape (n, K)."""
    if hasattr(query, "scores"):  # choices come one by one
        found = [query.answered(totals, asking) for _ in tqdm(range(n), desc=query.name, delay=2, leave=False)]
        values, low, high = (np.stack([own[k] for own in found]) for k in range(3))
        return Noisy(values, low, high, found[0].noise, found[0].scale)
    return query.answered(totals, Many(asking, n))


@dataclass(frozen=True)
class Audited:
    """A release that is audited.

    Attributes:
        query: its name in records.
        method: `INTACT`, or how it is broken.
        mechanism: of its noise.
        level: that it promises.
        epsilon: that it promises.
        run: outputs of n releases with and without the contributor, shape (n,) or (n, k).
    """

    query: str
    method: str
    mechanism: str
    level: str
    epsilon: float
    run: Callable[[bool, int], FloatArray]


def measure_audit(setting: Setting, table: RecordTable) -> None:
    """Add lower bounds on ε of each query and mechanism, and of releases that are broken on purpose."""
    audits = list(_audits(setting))
    confidence = 1 - (1 - _CONFIDENCE) / len(audits)
    for k, own in enumerate(tqdm(audits, desc="audits", delay=2, leave=False)):
        delta = 0.0 if MECHANISMS[own.mechanism].promise == "epsilon" else setting.delta
        found = audit_epsilon(
            lambda n, run=own.run: run(False, n),  # type: ignore[misc]
            lambda n, run=own.run: run(True, n),  # type: ignore[misc]
            setting.options.audit_runs,
            delta,
            confidence,
            seed=k,
        )
        columns: dict[str, str | float] = {
            "method": own.method,
            "mechanism": own.mechanism,
            "level": own.level,
            "query": own.query,
        }
        columns |= {"epsilon": own.epsilon, "delta": delta, "runs": float(setting.options.audit_runs)}
        table.add("epsilon_low", found.low, "", part="audit", **columns)


def _audits(setting: Setting) -> Iterator[Audited]:
    epsilons = setting.options.audit_epsilons
    for epsilon in epsilons:
        for mechanism in MECHANISMS.names():
            yield _of(setting, Sum(), mechanism, "household", epsilon)
        for level in ("event", "day"):
            yield _of(setting, Sum(), PURE, level, epsilon)
        for query in (LoadCurve(), Peak(), Mean(), Count("mean_day", 20.0), Histogram(_EDGES, "day")):
            yield _of(setting, query, PURE, "household", epsilon)
        for level in ("event", "household"):
            yield _of(setting, LoadCurve(), ZCDP, level, epsilon)
        yield _processed(setting, epsilon)
        for mechanism in (PURE, ZCDP):
            yield from _broken(setting, mechanism, epsilon)
    # One release after the other, which takes its time.
    yield _of(setting, Quantile(_EDGES), PURE, "household", max(epsilons))
    yield _whole(setting, max(epsilons))


def _of(setting: Setting, query: Query, mechanism: str, level: str, epsilon: float) -> Audited:
    asking = _asking(setting, level, mechanism, epsilon)

    def run(extreme: bool, n: int) -> FloatArray:
        return asked_often(query, _totals(query, _readings(extreme, level), asking), asking, n).values

    return Audited(query.name, INTACT, mechanism, level, epsilon, run)


def _processed(setting: Setting, epsilon: float) -> Audited:
    own = _of(setting, Sum(), PURE, "household", epsilon)

    def run(extreme: bool, n: int) -> FloatArray:
        """Nothing below 0, in whole kWh."""
        return np.rint(non_negative(own.run(extreme, n)))

    return Audited("processed", INTACT, PURE, "household", epsilon, run)


def _broken(setting: Setting, mechanism: str, epsilon: float) -> Iterator[Audited]:
    query, level = Sum(), "household"
    asking = _asking(setting, level, mechanism, epsilon)

    def narrower(extreme: bool, n: int) -> FloatArray:
        totals = _totals(query, _readings(extreme, level), asking)
        exact = totals * RESOLUTION_KWH
        return exact + (asked_often(query, totals, asking, n).values - exact) / _NARROWER[mechanism]

    def unclipped(extreme: bool, n: int) -> FloatArray:
        steps = np.rint(_readings(extreme, level) / RESOLUTION_KWH).astype(np.int64)
        totals = query.summed(steps, np.zeros(len(steps), dtype=np.int64), asking.view)
        return asked_often(query, totals, asking, n).values

    def for_one_reading(extreme: bool, n: int) -> FloatArray:
        totals = _totals(query, _readings(extreme, level), asking)
        narrow = query.sensitivity(setting.contribution("event"), asking.view)
        return Many(asking, n).noisy(totals, narrow, query.step).values

    for method, run in (
        (f"scale divided by {_NARROWER[mechanism]}", narrower),
        ("readings not clipped", unclipped),
        ("noise for one reading", for_one_reading),
    ):
        yield Audited(query.name, method, mechanism, level, epsilon, run)


def _whole(setting: Setting, epsilon: float) -> Audited:
    """Each release from meters on: bounds, budget, charge, noise."""
    noise: Noise = "os" if setting.source.kind == "os" else SimulatedNoise(0)
    contribution = setting.contribution("household")

    def run(extreme: bool, n: int) -> FloatArray:
        readings = _readings(extreme, "household").T
        if isinstance(noise, SimulatedNoise):  # a seed would give all releases the same noise
            return _of(setting, Sum(), PURE, "household", epsilon).run(extreme, n)
        meters = hourly_meters(pd.DataFrame(readings, _hours(), [f"c{i}" for i in range(readings.shape[1])]))
        with _quiet(PrivateRelease.__module__):
            return np.array(
                [
                    PrivateRelease(meters, contribution, Budget(epsilon)).answer(Sum(), epsilon=epsilon).values[0]
                    for _ in tqdm(range(n), desc="releases", delay=2, leave=False)
                ]
            )

    return Audited("sum, whole release", INTACT, PURE, "household", epsilon, run)


@contextmanager
def _quiet(module: str) -> Iterator[None]:
    """Thousands of releases do not log each answer."""
    logger = logging.getLogger(module)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _asking(setting: Setting, level: str, mechanism: str, epsilon: float) -> Asking:
    view = View(_hours(), ("all",))
    return setting.asking(level, mechanism, setting.amount(mechanism, epsilon), view)


def _totals(query: Query, kwh: FloatArray, asking: Asking) -> IntArray:
    """Exact sums of bounded readings, as a release makes them."""
    steps = bounded_steps(kwh, asking.contribution, asking.view)
    return query.summed(steps, np.zeros(len(steps), dtype=np.int64), asking.view)


def _readings(extreme: bool, level: str) -> FloatArray:
    """Readings of ordinary homes and of one that is extreme where it is there, shape (4, T)."""
    kwh = np.zeros((len(_ORDINARY) + 1, _HOURS))
    kwh[:-1] = np.array(_ORDINARY)[:, None]
    there = {"event": 1, "day": 24, "household": _HOURS}[level]
    kwh[-1, :there] = _EXTREME * extreme
    return kwh


def _hours() -> pd.DatetimeIndex:
    return pd.date_range("2013-01-01", periods=_HOURS, freq="h")
