"""Coarser time and energy, against pandas."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError
from unlearn.households import HouseholdProfiles, hourly_meters, simulate_households
from unlearn.privacy.anonymize import coarser, daily_extremes, rounded
from unlearn.privacy.anonymize.coarsening import PERIODS


def resampled(table: pd.DataFrame, every: str, n_steps: dict[str, int]) -> pd.DataFrame:
    """Sums by pandas over whole periods; NaN where a step is missing."""
    grouper = pd.Grouper(freq={"W": "W-MON"}.get(every, every), closed="left", label="left")
    sums = table.groupby(grouper).sum(min_count=1)
    counts = table.groupby(grouper).count()
    sizes = table.groupby(grouper).size()
    wanted = [n_steps.get(every) or own.days_in_month * n_steps["D"] for own in sums.index]
    return sums.where(counts.eq(sizes, axis=0))[sizes.to_numpy() == np.array(wanted)]


@given(
    st.sampled_from(PERIODS),
    st.integers(0, 24 * 40),
    st.integers(24 * 62, 24 * 75),
    st.integers(0, 100),
)
def test_sums_of_meters_are_those_of_pandas(every: str, skipped: int, n_hours: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    hours = pd.date_range("2012-12-20", periods=24 * 40 + n_hours, freq="h")[skipped : skipped + n_hours]
    table = pd.DataFrame(random.integers(0, 2**22, (n_hours, 4)) * 2.0**-20, hours, list("abcd"))
    table.iloc[: int(random.integers(1, n_hours)), 0] = np.nan
    table.iloc[int(random.integers(1, n_hours)) :, 1] = np.nan
    found = coarser(hourly_meters(table), every)
    wanted = resampled(table, every, {"h": 1, "6h": 6, "D": 24, "W": 168})
    pd.testing.assert_index_equal(found.starts, wanted.index, check_names=False, exact=False, check_freq=False)
    assert np.array_equal(found.kwh, wanted.to_numpy().T, equal_nan=True)
    per = {"h": 1, "6h": 6, "D": 24, "W": 168}
    days = 24 * sum(own.days_in_month for own in wanted.index) if every == "MS" else per[every] * len(wanted)
    assert found.steps_left_out == n_hours - days


def test_profiles_with_missing_days() -> None:
    profiles = simulate_households(5, n_days=45, random_state=2)
    some = profiles.take(np.delete(np.arange(len(profiles)), [3, 47, 100]))
    table = some.to_frame().set_index(["household_id", "date"]).filter(like="kwh_").astype(np.float64)
    daily = table.sum(axis=1).unstack()
    found = coarser(some, "D")
    assert found.customer_ids == tuple(some.households["household_id"])
    wanted = daily.reindex(index=list(found.customer_ids), columns=found.starts)
    np.testing.assert_allclose(found.kwh, wanted, rtol=1e-12, equal_nan=True)
    assert np.isnan(found.kwh).sum() == 3
    assert found.to_frame().shape == (45, 5)
    extremes = daily_extremes(some)
    for own, wanted in ((extremes.low_kwh, table.min(axis=1)), (extremes.high_kwh, table.max(axis=1))):
        shown = wanted.unstack().reindex(index=list(extremes.customer_ids), columns=extremes.days)
        assert np.array_equal(own, shown, equal_nan=True)
    assert extremes.steps_per_day == 48
    assert extremes.steps_left_out == 0


def test_finer_sums_add_up_to_coarser_ones() -> None:
    profiles = simulate_households(6, n_days=59, random_state=3)
    total = [coarser(profiles, every).kwh.sum(axis=1) for every in ("h", "6h", "D", "MS")]
    assert len(total[-1]) == 6
    for own in total[1:]:
        np.testing.assert_allclose(own, total[0], rtol=1e-12)


def test_extremes_of_meters_leave_out_days_that_are_not_whole() -> None:
    hours = pd.date_range("2013-01-01 05:00", periods=60, freq="h")
    table = pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60.0)}, hours)
    table.iloc[30:, 1] = np.nan
    found = daily_extremes(hourly_meters(table))
    assert found.days.tolist() == [pd.Timestamp("2013-01-02")]
    assert found.low_kwh.tolist()[0] == [19.0]
    assert found.high_kwh.tolist()[0] == [42.0]
    assert np.isnan(found.low_kwh[1, 0])
    assert found.steps_left_out == 36


@given(st.lists(st.integers(0, 10**6), min_size=1), st.sampled_from([0.1, 0.01, 0.5, 1.0, 0.3, 5.0]))
def test_rounding_is_the_nearest_multiple(watts: list[int], to_kwh: float) -> None:
    kwh = np.array(watts) / 1000
    found = rounded(kwh, to_kwh)
    assert (np.abs(found - kwh) <= to_kwh / 2 * (1 + 1e-9) + 1e-12).all()
    np.testing.assert_allclose(found / to_kwh, np.rint(found / to_kwh), atol=1e-9, rtol=1e-12)
    assert np.array_equal(rounded(found, to_kwh), found)


def test_rounding_to_tenths_is_that_of_decimals_and_keeps_nan() -> None:
    assert rounded([0.26, 0.31, 2.449, np.nan])[:3].tolist() == [0.3, 0.3, 2.4]
    assert np.isnan(rounded([np.nan])).all()


def test_refusals() -> None:
    profiles = simulate_households(2, n_days=5)
    with pytest.raises(InputError, match="every: expected one of"):
        coarser(profiles, "2h")
    with pytest.raises(InputError, match="at least one whole period of 'MS'"):
        coarser(profiles, "MS")
    with pytest.raises(InputError, match="expected Meters or HouseholdProfiles, got ndarray"):
        coarser(np.zeros((2, 24)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one day, got none"):
        daily_extremes(profiles.take(np.zeros(0, dtype=np.int64)))
    with pytest.raises(InputError, match="to_kwh: expected a number above 0"):
        rounded([1.0], 0.0)
    with pytest.raises(InputError, match="1 infinite values"):
        rounded([1.0, np.inf])
    assert isinstance(profiles, HouseholdProfiles)
