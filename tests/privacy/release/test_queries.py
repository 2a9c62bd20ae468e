"""Queries give what pandas gives, and one contributor moves them by no more than they say."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tests.privacy.release.test_bounding import readings, view_of
from unlearn.errors import InputError
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release import (
    Contribution,
    Count,
    Histogram,
    LoadCurve,
    Mean,
    Peak,
    Quantile,
    Query,
    Sensitivity,
    Sum,
    View,
    bounded_steps,
)
from unlearn.privacy.release.base import LEVELS, Noisy

GROUPS = ("east", "north", "west")
EDGES = (0.5, 1.0, 3.0, 20.0)
QUERIES = [
    Sum(),
    LoadCurve(),
    LoadCurve("D"),
    Peak(),
    Peak("D"),
    Count(),
    Count("mean_day", 12.0),
    Count("peak", 4.0),
    Count("day", 12.0),
    *(Histogram(EDGES, of) for of in ("reading", "day", "total", "mean_day", "peak")),
    Mean(),
    Mean("household"),
    *(Quantile(EDGES, q, of) for q, of in ((0.5, "mean_day"), (0.9, "total"), (0.13, "peak"))),
]


@dataclass
class Recorder:
    """Takes the place of noise: keeps what noise would be added to, and for which sensitivity."""

    contribution: Contribution
    view: View
    confidence: float = 0.95
    seen: list[tuple[np.ndarray, Sensitivity]] = field(default_factory=list)

    def noisy(
        self, totals: np.ndarray, sensitivity: Sensitivity, step: float, share: float = 1.0, confidence: object = None
    ) -> Noisy:
        self.seen.append((np.asarray(totals), sensitivity))
        return Noisy(totals * step, totals * step, totals * step, "none", 1.0)

    def selected(self, scores: np.ndarray, linf: int, share: float) -> int:
        self.seen.append((np.asarray(scores), Sensitivity(10**18, 10**18, linf)))
        return int(np.argmax(scores))

    def selection_scale(self, linf: int, share: float) -> float:
        return 2.0 * linf


def recorded(query: Query, kwh: np.ndarray, bounds: Contribution, view: View) -> Recorder:
    group = np.arange(len(kwh)) % len(view.groups)
    own = Recorder(bounds, view)
    query.answered(query.summed(bounded_steps(kwh, bounds, view), group, view), own)
    return own


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Contribution, np.ndarray, np.ndarray]:
    """Bounds, readings, and the same without one reading, day or household."""
    level = draw(st.sampled_from(LEVELS))
    per_day, days = draw(st.none() | st.sampled_from([1.0, 7.5, 30.0])), draw(st.none() | st.integers(1, 3))
    bounds = Contribution(level, draw(st.sampled_from([0.4, 2.0, 9.0])), per_day, days)
    kwh = readings(draw(st.integers(0, 10_000)), k=5) * draw(st.sampled_from([0.1, 1.0, 5.0]))
    less, view = kwh.copy(), view_of()
    who, when = draw(st.integers(0, 4)), draw(st.integers(0, 59))
    gone = {"event": np.arange(60) == when, "day": view.day == view.day[when], "household": np.ones(60, dtype=bool)}
    less[who, gone[level]] = 0
    return bounds, kwh, less


@pytest.mark.parametrize(
    "query", QUERIES, ids=lambda own: f"{own.name}-{getattr(own, 'of', getattr(own, 'every', ''))}"
)
@given(neighbours())
def test_neighbours_are_no_further_apart_than_the_sensitivity(
    query: Query, drawn: tuple[Contribution, np.ndarray, np.ndarray]
) -> None:
    bounds, kwh, less = drawn
    view = view_of(groups=GROUPS)
    pairs = zip(recorded(query, kwh, bounds, view).seen, recorded(query, less, bounds, view).seen, strict=True)
    for (first, sensitivity), (second, same) in pairs:
        assert sensitivity == same
        moved = [abs(int(x)) for x in (first - second).reshape(-1)]
        assert sum(moved) <= sensitivity.l1
        assert sum(x * x for x in moved) <= sensitivity.l2**2
        assert max(moved) <= sensitivity.linf


def frame_of(kwh: np.ndarray, bounds: Contribution, view: View) -> pd.DataFrame:
    """Bounded readings, a row each, by household, group, hour and day."""
    steps = bounded_steps(kwh, bounds, view)
    k, n = steps.shape
    who = np.repeat(np.arange(k), n)
    hours = view.hours[np.tile(np.arange(n), k)]
    group = np.array(view.groups, dtype=object)[who % len(view.groups)]
    return pd.DataFrame({"who": who, "group": group, "time": hours, "day": hours.normalize(), "steps": steps.ravel()})


@given(st.integers(0, 10_000), st.sampled_from(LEVELS))
def test_energy_is_what_pandas_adds_up(seed: int, level: str) -> None:
    bounds, view, kwh = Contribution(level, 3.0, 20.0), view_of(groups=GROUPS), readings(seed, k=7)
    table, group = frame_of(kwh, bounds, view), np.arange(7) % 3
    steps = bounded_steps(kwh, bounds, view)
    assert_array_equal(Sum().summed(steps, group, view), table.groupby("group")["steps"].sum())
    for every, by in (("h", "time"), ("D", "day")):
        curve = table.groupby(["group", by])["steps"].sum()
        assert_array_equal(LoadCurve(every).summed(steps, group, view), curve)
        cells = LoadCurve(every).cells(view)
        assert cells["group"].tolist() == curve.index.get_level_values(0).tolist()
        assert cells["time"].tolist() == curve.index.get_level_values(1).tolist()
        assert_array_equal(recorded(Peak(every), kwh, bounds, view).seen[0][0], curve.groupby("group").max())


@given(st.integers(0, 10_000))
def test_counts_and_histograms_are_what_pandas_counts(seed: int) -> None:
    bounds, view, kwh = Contribution("household", 3.0, 20.0), view_of(groups=GROUPS), readings(seed, k=7)
    table, group, steps = frame_of(kwh, bounds, view), np.arange(7) % 3, bounded_steps(kwh, bounds, view)
    table = table[table["steps"] > 0]
    days = table.groupby(["group", "who", "day"])["steps"].sum().reset_index()
    of_household = days.groupby(["group", "who"])["steps"]
    measures = {
        "total": of_household.sum(),
        "mean_day": of_household.sum() // of_household.count(),
        "peak": table.groupby(["group", "who"])["steps"].max(),
    }
    for of, values in measures.items():
        for above in (0.0, 1.0, 9.0):
            wanted = (values * RESOLUTION_KWH > above).groupby("group").sum().reindex(GROUPS, fill_value=0)
            assert_array_equal(Count(of, above).summed(steps, group, view), wanted)
    above = days[days["steps"] * RESOLUTION_KWH > 9.0].groupby(["group", "day"]).size()
    cells = Count("day", 9.0).cells(view)
    wanted = above.reindex(pd.MultiIndex.from_frame(cells), fill_value=0)
    assert_array_equal(Count("day", 9.0).summed(steps, group, view), wanted)
    single = {"reading": table.set_index("group")["steps"], "day": days.set_index("group")["steps"], **measures}
    for of, values in single.items():
        found = Histogram(EDGES, of).summed(steps, group, view).reshape(3, -1)
        for name, counts in zip(GROUPS, found, strict=True):
            own = values[values.index.get_level_values(0) == name] * RESOLUTION_KWH
            wanted = np.histogram(own, [0, *EDGES, np.inf])[0]
            assert_array_equal(counts, wanted)
        assert len(Histogram(EDGES, of).cells(view)) == found.size


def test_means_divide_energy_by_households_or_days_within_public_ends() -> None:
    bounds, view = Contribution("household", 3.0, 20.0), view_of(72, "2013-01-01", GROUPS)
    kwh = np.zeros((4, 72))
    kwh[0, :24], kwh[3, 24:60], kwh[1, 0] = 0.5, 0.5, 2.0  # customers 0 and 3 are in the first group
    for per, wanted in (("household", [15.0, 2.0, 0.0]), ("day", [10.0, 2.0, 0.0])):
        group = np.array([0, 1, 2, 0])
        totals = Mean(per).summed(bounded_steps(kwh, bounds, view), group, view)
        found = Mean(per).answered(totals, Recorder(bounds, view))
        np.testing.assert_allclose(found.values, wanted, atol=1e-5)

    class Wide(Recorder):
        def noisy(self, totals: np.ndarray, sensitivity: Sensitivity, step: float, *more: object) -> Noisy:
            return Noisy(totals * step + 1e4, totals * step - 1e6, totals * step + 1e6, "none", 1.0)

    found = Mean().answered(totals, Wide(bounds, view))
    assert (found.low == 0).all()
    assert (found.high == 20.0).all()
    assert ((found.low <= found.values) & (found.values <= found.high)).all()


def test_answers_by_blocks_add_up() -> None:
    bounds, view, kwh = Contribution("day", 3.0), view_of(groups=GROUPS), readings(3, k=9)
    steps, group = bounded_steps(kwh, bounds, view), np.arange(9) % 2  # nobody is in the third group
    for query in QUERIES:
        whole = query.summed(steps, group, view)
        parts = [query.summed(steps[rows], group[rows], view) for rows in (slice(0, 4), slice(4, 4), slice(4, 9))]
        assert_array_equal(np.sum(parts, axis=0), whole)


def test_refusals() -> None:
    for bad in ((), (2.0, 1.0), (1.0, 1.0), (-1.0, 2.0), (1.0, np.inf), (1.0, np.nan), 3.0, "ab", None):
        with pytest.raises(InputError, match="edges_kwh"):
            Histogram(bad)
        with pytest.raises(InputError, match="candidates_kwh"):
            Quantile(bad)
    for wrong in (
        lambda: LoadCurve("W"),
        lambda: Peak("m"),
        lambda: Count("reading"),
        lambda: Count("total", -1.0),
        lambda: Count("total", np.inf),
        lambda: Histogram((1.0,), "week"),
        lambda: Mean("hour"),
        lambda: Quantile((1.0,), 1.0),
        lambda: Quantile((1.0,), 0.5, "day"),
    ):
        with pytest.raises(InputError, match="expected"):
            wrong()


@pytest.mark.parametrize("level", LEVELS)
def test_counting_sensitivities_are_attained(level: str) -> None:
    view = view_of(48, "2013-01-01")
    bounds = Contribution(level, 5.0)
    kwh = np.zeros((1, 48))
    kwh[0, : {"event": 1, "day": 24, "household": 48}[level]] = 2.0
    for query in (Histogram(EDGES), Count("day", 1.0), Count()):
        moved = query.summed(bounded_steps(kwh, bounds, view), np.zeros(1, dtype=int), view)
        found = query.sensitivity(bounds, view)
        assert moved.sum() == found.l1
        assert moved.max() == found.linf
    assert Histogram(EDGES, "day").sensitivity(replace(bounds, level="event"), view) == (2, 2, 1)
