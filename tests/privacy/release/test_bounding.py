"""Bounds hold exactly, leave alone what is within them, and see one household at a time."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release import Contribution, LoadCurve, View, bounded_steps
from unlearn.privacy.release.base import LEVELS
from unlearn.privacy.release.bounding import counted_days, energy_sensitivity, root_above


def view_of(n_hours: int = 60, start: str = "2013-03-30 07:00", groups: tuple[str, ...] = ("all",)) -> View:
    return View(pd.date_range(start, periods=n_hours, freq="h"), groups)


@st.composite
def contributions(draw: st.DrawFn) -> Contribution:
    per_hour = draw(st.floats(1e-6, 30.0))
    per_day = draw(st.none() | st.floats(1e-6, 300.0))
    return Contribution(draw(st.sampled_from(LEVELS)), per_hour, per_day, draw(st.none() | st.integers(1, 4)))


def readings(seed: int, k: int = 4, n_hours: int = 60) -> np.ndarray:
    random = np.random.default_rng(seed)
    kwh = random.exponential(2.0, (k, n_hours)) * (random.random((k, n_hours)) < random.random((k, 1)))
    return np.rint(kwh / RESOLUTION_KWH).astype(np.int64) * RESOLUTION_KWH


@given(st.integers(0, 10_000), contributions())
def test_bounds_hold_exactly_and_once_is_enough(seed: int, bounds: Contribution) -> None:
    view, kwh = view_of(), readings(seed)
    steps = bounded_steps(kwh, bounds, view)
    days = np.stack([np.where(view.day == day, steps, 0).sum(axis=1) for day in range(view.n_days)], axis=1)
    assert steps.dtype == np.int64
    assert steps.min() >= 0
    assert steps.max() <= bounds.steps_per_hour
    assert days.max() <= bounds.steps_per_day
    if bounds.level == "household" and bounds.days is not None:
        assert ((days > 0).sum(axis=1) <= bounds.days).all()
    np.testing.assert_array_equal(bounded_steps(steps * RESOLUTION_KWH, bounds, view), steps)
    assert (steps <= np.rint(kwh / RESOLUTION_KWH)).all()


@given(st.integers(0, 10_000), contributions())
def test_each_household_is_bounded_by_itself(seed: int, bounds: Contribution) -> None:
    view, kwh = view_of(), readings(seed)
    together = bounded_steps(kwh, bounds, view)
    for i in range(len(kwh)):
        np.testing.assert_array_equal(bounded_steps(kwh[i : i + 1], bounds, view)[0], together[i])


@given(st.integers(0, 10_000), st.sampled_from(LEVELS))
def test_what_is_within_the_bounds_stays(seed: int, level: str) -> None:
    view, kwh = view_of(), readings(seed)
    bounds = Contribution(level, kwh_per_hour=100.0, kwh_per_day=2000.0, days=4)
    np.testing.assert_array_equal(bounded_steps(kwh, bounds, view) * RESOLUTION_KWH, kwh)


@given(st.integers(0, 10_000), st.floats(0.5, 40.0))
def test_days_keep_their_shape(seed: int, per_day: float) -> None:
    view, kwh = view_of(48, "2013-01-01"), readings(seed, n_hours=48)
    bounds = Contribution("day", 50.0, per_day)
    steps, whole = bounded_steps(kwh, bounds, view), np.rint(kwh / RESOLUTION_KWH).astype(int)
    for day in (slice(0, 24), slice(24, 48)):
        for own, was in zip(steps[:, day], whole[:, day], strict=True):
            total = int(was.sum())
            wanted = [int(x) * min(total, bounds.steps_per_day) // max(total, 1) for x in was]
            # A fraction of a power of 2 stands for the share: at most one step less.
            assert all(0 <= want - got <= 1 for want, got in zip(wanted, own.tolist(), strict=True))


def test_the_first_days_with_readings_count() -> None:
    view = view_of(96, "2013-01-01")
    kwh = np.ones((1, 96))
    kwh[0, :24] = 0  # not there on the first day
    steps = bounded_steps(kwh, Contribution("household", 2.0, days=2), view)
    assert (steps[0].reshape(4, 24) > 0).all(axis=1).tolist() == [False, True, True, False]
    # Where one day less would let another one in, days are not counted.
    assert (bounded_steps(kwh, Contribution("day", 2.0, days=2), view)[0, 24:] > 0).all()


def test_readings_that_are_no_numbers_are_clipped() -> None:
    view = view_of(4)
    steps = bounded_steps(np.array([[np.nan, np.inf, -1.0, 0.4 * RESOLUTION_KWH]]), Contribution("event", 1.0), view)
    assert (steps * RESOLUTION_KWH).tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_refusals() -> None:
    with pytest.raises(InputError, match="expected shape"):
        bounded_steps(np.ones((2, 3)), Contribution("day", 1.0), view_of(4))
    with pytest.raises(InputError, match="resolution"):
        Contribution("day", 1.0, kwh_per_day=1e-9)
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InputError, match="kwh_per_hour"):
            Contribution("day", bad)
    with pytest.raises(InputError, match="64 bits"):
        energy_sensitivity(Contribution("household", 1e6), view_of(), None)


@pytest.mark.parametrize("every", [None, "D", "h"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("per_day", [None, 0.7, 5.0, 7.5])
@pytest.mark.parametrize("days", [None, 2])
def test_energy_sensitivities_are_attained(
    every: str | None, level: str, per_day: float | None, days: int | None
) -> None:
    bounds, view = Contribution(level, 1.5, per_day, days), view_of()
    # Full hours first, then what is left of the day, on the longest days that count.
    hour, kwh = min(bounds.steps_per_hour, bounds.steps_per_day), np.zeros(len(view.hours), dtype=np.int64)
    lengths = np.bincount(view.day)
    for day in np.argsort(-lengths, kind="stable")[: counted_days(bounds, view)]:
        places = np.flatnonzero(view.day == day)
        left = np.maximum(bounds.steps_per_day - hour * np.arange(len(places)), 0)
        kwh[places] = np.minimum(hour, left)
    if level == "event":
        kwh[np.arange(len(kwh)) != kwh.argmax()] = 0
    one = bounded_steps(kwh[None] * RESOLUTION_KWH, bounds, view)
    np.testing.assert_array_equal(one[0], kwh)
    moved = one.sum(keepdims=True) if every is None else LoadCurve(every).summed(one, np.zeros(1, dtype=int), view)
    found = energy_sensitivity(bounds, view, every)
    exact = [int(x) for x in moved.reshape(-1)]
    assert found.l1 == sum(exact)
    assert found.l2 == root_above(sum(x * x for x in exact))
    assert found.linf == max(exact)


def test_levels_are_ordered() -> None:
    bounds, view = Contribution("event", 2.0, 20.0), view_of()
    sizes = [energy_sensitivity(replace(bounds, level=level), view, "h") for level in LEVELS]
    assert sizes[0].l1 < sizes[1].l1 < sizes[2].l1
    assert sizes[0].l2 < sizes[1].l2 < sizes[2].l2
