"""Single queries with their intervals, what several answers cost, and the peak within a share of it."""

from __future__ import annotations

import io
import time

import numpy as np
import pandas as pd

from unlearn.attacks.outcome import clopper_pearson
from unlearn.checks import FloatArray, IntArray
from unlearn.dp import Noise, SimulatedNoise
from unlearn.dp.composition import Loss, advanced, basic, zcdp
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release.base import Answer, Contribution, Query, View
from unlearn.privacy.release.bounding import bounded_steps
from unlearn.privacy.release.budget import Budget
from unlearn.privacy.release.queries import Count, Histogram, LoadCurve, Mean, Peak, Sum, by_day
from unlearn.privacy.release.selections import Quantile
from unlearn.privacy.release.session import PrivateRelease
from unlearn.records import RecordTable
from unlearn.studies.dp_release.audit import asked_often
from unlearn.studies.dp_release.options import PURE
from unlearn.studies.dp_release.setting import SEED, Setting

#: Public edges of a day's energy, and public candidates of its quantiles.
_EDGES = tuple(float(own) for own in range(1, 50))
_CANDIDATES = tuple(float(own) for own in np.arange(0.5, 50.5, 0.5))
#: Energy of a day above which a home is counted, and ε that all of these queries share.
_ABOVE, _BUDGET = 20.0, 1000.0
#: Samples of homes whose peak is looked at, and draws of its noise.
_PEAKS, _DRAWS = 40, 25


def _queries() -> dict[Query, str]:
    """Queries, with the level that each protects."""
    return {
        Sum(): "household",
        LoadCurve(): "event",
        LoadCurve("D"): "day",
        Mean("day"): "household",
        Count("day", _ABOVE): "household",
        Count("mean_day", _ABOVE): "household",
        Histogram(_EDGES, "mean_day"): "household",
        Quantile(_CANDIDATES, 0.5): "household",
        Quantile(_CANDIDATES, 0.9): "household",
        Peak(): "household",
    }


def measure_queries(setting: Setting, table: RecordTable) -> None:
    """Add value, interval, truth, coverage, time and bytes of each query, over all homes as one group."""
    own = setting.options
    end = setting.meters.hours[0] + pd.Timedelta(days=own.query_days)
    some = setting.meters.between(setting.meters.hours[0], min(end, setting.meters.hours[-1]))
    view, kwh = View(some.hours, ("all",)), some.series(np.arange(len(some)))
    group = np.zeros(len(some), dtype=np.int64)
    noise: Noise = "os" if setting.source.kind == "os" else SimulatedNoise(SEED)
    for query, level in _queries().items():
        contribution = setting.contribution(level)
        release = PrivateRelease(some, contribution, Budget(_BUDGET), noise=noise, confidence=own.confidence)
        start = time.perf_counter()
        answer = release.answer(query, epsilon=own.answer_epsilon)
        seconds = time.perf_counter() - start
        totals = query.summed(bounded_steps(kwh, contribution, view), group, view)
        exact = exact_values(query, totals, bounded_steps(kwh, contribution, view), view)
        unbounded = Contribution(level, 1000.0)
        truth = exact_values(query, *_with_totals(query, bounded_steps(kwh, unbounded, view), group, view), view)
        asking = setting.asking(level, PURE, own.answer_epsilon, view)
        runs = asked_often(query, totals, asking, own.query_runs)
        columns = {"part": "queries", "query": _name(query), "level": level, "epsilon": own.answer_epsilon}
        columns |= {"mechanism": answer.noise}
        _add_answer(table, answer, exact, truth, columns)
        held = (runs.low - 1e-9 <= exact) & (exact <= runs.high + 1e-9)
        low, high = _share(held, own.query_runs)
        table.add("coverage", held.mean(), "share", **columns, low=low, high=high)
        table.add("absolute_error", np.abs(runs.values - exact).mean(), answer.unit, **columns)
        table.add("relative_error", np.abs(runs.values - exact).mean() / np.abs(exact).mean(), "share", **columns)
        table.add("seconds", seconds, "s", **columns)
        if isinstance(query, Histogram):
            empty = exact == 0
            filled = (runs.values[:, empty] > 0).mean() if empty.any() else 0.0
            table.add("empty_bins_filled", float(filled), "share", **columns)


def _add_answer(
    table: RecordTable, answer: Answer, exact: FloatArray, truth: FloatArray, columns: dict[str, object]
) -> None:
    ends = {"low": float(answer.low.mean()), "high": float(answer.high.mean())}
    table.add("value", float(answer.values.mean()), answer.unit, **columns, **ends)
    table.add("truth", float(truth.mean()), answer.unit, **columns)
    table.add("truth_bounded", float(exact.mean()), answer.unit, **columns)
    table.add("values", len(answer.values), "", **columns)
    buffer = io.BytesIO()
    answer.to_frame().to_parquet(buffer)
    table.add("bytes", len(buffer.getvalue()), "bytes", **columns)


def exact_values(query: Query, totals: IntArray, steps: IntArray, view: View) -> FloatArray:
    """What an answer would be without noise, of one group, shape (K,)."""
    if isinstance(query, Mean):
        return np.array([totals[0] * RESOLUTION_KWH / max(1, totals[1])])
    if isinstance(query, Peak):
        return np.array([totals.max() * RESOLUTION_KWH])
    if isinstance(query, Quantile):
        days = by_day(steps, view)
        there = np.maximum((days > 0).sum(axis=1), 1)
        return np.array([np.quantile(days.sum(axis=1) // there, query.q, method="inverted_cdf") * RESOLUTION_KWH])
    return totals.astype(np.float64) * query.step


def _with_totals(query: Query, steps: IntArray, group: IntArray, view: View) -> tuple[IntArray, IntArray]:
    return query.summed(steps, group, view), steps


def _name(query: Query) -> str:
    more = {"LoadCurve": "every", "Count": "of", "Quantile": "q"}.get(type(query).__name__)
    if more is None:
        return query.name
    said = getattr(query, more)
    return f"{query.name}, {said:g}" if isinstance(said, float) else f"{query.name}, {said}"


def _share(held: np.ndarray, n_runs: int) -> tuple[float, float]:
    """99.9 % interval of the share of releases; values of one release go together, as if they were one."""
    low, high = clopper_pearson(np.floor(held.mean() * n_runs), n_runs, 0.0005)
    return float(low), float(high)


def measure_composition(setting: Setting, table: RecordTable) -> None:
    """Add what several answers cost, added up, by advanced and by concentrated composition."""
    own = setting.options
    for n in own.answers:
        losses, delta = [Loss.pure(own.answer_epsilon)] * n, own.composition_delta
        found = {"basic": basic(losses)[0], "advanced": advanced(losses, delta), "zcdp": zcdp(losses, delta)}
        for rule, epsilon in found.items():
            columns = {"composition": rule, "answers": float(n), "epsilon_each": own.answer_epsilon, "delta": delta}
            table.add("epsilon", epsilon, "", part="composition", **columns)


def measure_peak(setting: Setting, table: RecordTable) -> None:
    """Add ε for a share of the peak by number of homes, the share by ε, and whether noise keeps within."""
    own, level = setting.options, "household"
    kwh = setting.steps(level).astype(np.float64) * RESOLUTION_KWH
    random = np.random.default_rng(SEED)
    noise: Noise = "os" if setting.source.kind == "os" else SimulatedNoise(SEED)
    release = PrivateRelease(setting.meters, setting.contribution(level), Budget(_BUDGET), noise=noise)
    for homes in own.peak_homes:
        drawn = random.multinomial(homes, np.full(len(kwh), 1 / len(kwh)), size=_PEAKS)
        peaks = (drawn @ kwh).max(axis=1)
        columns = {"part": "peak", "homes": float(homes), "level": level, "mechanism": PURE}
        table.add("peak", peaks.mean(), "kwh", **columns)
        of_kwh = float(peaks.mean())
        table.add("error", release.error_for(Peak(), own.main_epsilon) / of_kwh, "share", **columns)
        for within in own.peak_within:
            epsilon = release.epsilon_for(Peak(), within, of_kwh=of_kwh)
            table.add("epsilon", epsilon, "", **columns, within=within)
            sensitivity = Peak().sensitivity(setting.contribution(level), setting.view)
            found = np.abs(setting.drawn(PURE, sensitivity, epsilon, (_PEAKS * _DRAWS,)).values)
            inside = found <= within * of_kwh * (1 + 1e-9)
            low, high = _share(inside, len(inside))
            table.add("coverage", inside.mean(), "share", **columns, within=within, low=low, high=high)
