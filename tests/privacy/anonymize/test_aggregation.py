"""Sums over groups against pandas, the rule in every interval, and the attack on what is released."""

import numpy as np
import pandas as pd
import pytest

from unlearn.attacks.differencing import find_differences
from unlearn.errors import InputError
from unlearn.households import hourly_meters
from unlearn.households.meters import RESOLUTION_KWH, Meters
from unlearn.privacy.anonymize.aggregation import Aggregated, aggregate
from unlearn.privacy.anonymize.suppression import COMPLEMENTARY, DOMINATED, PUBLISHED, TOO_FEW, AggregationRule

N, HOURS = 150, 24 * 62
FEEDER = {f"c{i}": f"feeder {min(i // 18, 8)}" for i in range(N)}  # the last one has 6 customers
PARENTS = {f"feeder {k}": f"substation {k % 2}" for k in range(9)} | {"substation 0": "area", "substation 1": "area"}
CLASS = {f"c{i}": ("flat", "house", None)[i % 3] for i in range(N)}


@pytest.fixture(scope="module")
def kwh() -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = np.rint(random.gamma(2.0, 0.3, (HOURS, N)) / RESOLUTION_KWH) * RESOLUTION_KWH
    table[:, 40] *= 8  # dominates feeder 2
    table[:500, 100:104] = np.nan  # come later: feeder 5 has 14 customers before
    return pd.DataFrame(table, pd.date_range("2013-01-01 05:00", periods=HOURS, freq="h"), [f"c{i}" for i in range(N)])


@pytest.fixture(scope="module")
def meters(kwh: pd.DataFrame) -> Meters:
    return hourly_meters(kwh)


@pytest.fixture(scope="module")
def found(meters: Meters) -> Aggregated:
    return aggregate(meters, FEEDER, parents=PARENTS)


@pytest.mark.parametrize("every", ["h", "6h", "D", "W", "MS"])
def test_sums_are_exact_and_of_whole_intervals(meters: Meters, kwh: pd.DataFrame, every: str) -> None:
    every_sum = AggregationRule(least_customers=1, largest_share=1.0, complementary=False)
    found = aggregate(meters, FEEDER, every, every_sum, parents=PARENTS)
    resampled = kwh.fillna(0.0).T.groupby(FEEDER).sum().T.resample(every, closed="left", label="left")
    expected, hours = resampled.sum(), resampled.count().iloc[:, 0]
    whole = hours.to_numpy() == hours.max() if every != "MS" else hours.index == pd.Timestamp("2013-02-01")
    assert found.times.equals(pd.DatetimeIndex(expected.index[whole]))
    for name in expected:
        assert np.array_equal(found.kwh[found.groups.index(name)], expected[name].to_numpy()[whole])
    area = found.kwh[found.groups.index("area")]
    assert np.array_equal(area, sum(found.kwh[found.groups.index(f"feeder {k}")] for k in range(9)))
    assert not found.withheld_kwh.any()


def reasons_of(found: Aggregated, name: str) -> np.ndarray:
    return found.reasons[found.groups.index(name)]


def test_the_rule_hour_by_hour(found: Aggregated) -> None:
    assert (reasons_of(found, "feeder 8") == TOO_FEW).all()
    assert (reasons_of(found, "feeder 2") == DOMINATED).all()
    assert (reasons_of(found, "feeder 5")[:500] == TOO_FEW).all()
    assert (reasons_of(found, "feeder 5")[500:] != TOO_FEW).all()
    assert (found.reasons == COMPLEMENTARY).any(axis=0).all()
    assert np.array_equal(np.isnan(found.kwh), found.reasons != PUBLISHED)


def test_what_is_released_withstands_differencing(meters: Meters, found: Aggregated) -> None:
    after = find_differences(found.member, names=found.groups, values=found.kwh, present=found.present)
    assert after.complete
    assert not after.findings
    rule = AggregationRule(complementary=False)
    open_ = aggregate(meters, FEEDER, rule=rule, parents=PARENTS)
    readings = meters.series(np.arange(N))
    before = find_differences(
        open_.member, names=open_.groups, values=open_.kwh, present=open_.present, readings=readings
    ).frame()
    assert len(before)
    assert (before["largest_error"] == 0).all()


def test_several_ways_to_group_are_checked_together(meters: Meters) -> None:
    groups = pd.DataFrame({"feeder": FEEDER, "class": CLASS})
    found = aggregate(meters, groups, "D", AggregationRule(largest_share=1.0), parents=PARENTS, keep=["area"])
    assert set(found.groups) >= {"flat", "house", "feeder 0", "area"}
    assert found.customers[found.groups.index("flat")] == 50
    assert (reasons_of(found, "area") == PUBLISHED).all()
    assert not find_differences(found.member, values=found.kwh, present=found.present).findings


def test_dominance_in_each_interval(meters: Meters, kwh: pd.DataFrame) -> None:
    rule = AggregationRule(dominance="interval", complementary=False)
    found = aggregate(meters, FEEDER, "D", rule)
    daily = kwh.fillna(0.0).resample("D").sum().loc[found.times]
    for name in ("feeder 0", "feeder 2", "feeder 7"):
        own = daily[[c for c, label in FEEDER.items() if label == name]]
        dominated = own.max(axis=1) > 0.15 * own.sum(axis=1)
        assert np.array_equal(reasons_of(found, name) == DOMINATED, dominated.to_numpy())
    both = aggregate(meters, FEEDER, "W", AggregationRule(dominance="interval"), parents=PARENTS)
    weekly = kwh.fillna(0.0).resample("W", closed="left", label="left").sum().loc[both.times].to_numpy()
    for t, energy in enumerate(weekly):
        shown, there = both.reasons[:, t] == PUBLISHED, both.present[:, t]
        assert not find_differences(both.member[np.ix_(shown, there)], energy=energy[there]).findings


def test_what_is_released_has_no_more_than_it_may(found: Aggregated) -> None:
    released = found.released()
    assert list(released.columns) == ["time", "group", "kwh"]
    assert len(released) == (found.reasons == PUBLISHED).sum()
    assert released["kwh"].notna().all()
    assert "feeder 8" not in set(released["group"])
    own = found.withheld().set_index("group")
    assert own.loc["feeder 8", "too few"] == 1
    assert own.loc["feeder 8", "customers"] == 6
    assert own[["published", "too few", "dominated", "complementary"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert "c0" not in repr(found)


def test_from_a_file(meters: Meters, kwh: pd.DataFrame, found: Aggregated, tmp_path: object) -> None:
    kept = hourly_meters(kwh, f"{tmp_path}/meters.parquet")
    again = aggregate(kept, FEEDER, parents=PARENTS)
    assert np.array_equal(again.kwh, found.kwh, equal_nan=True)
    assert np.array_equal(again.reasons, found.reasons)


def test_refusals(meters: Meters) -> None:
    with pytest.raises(InputError, match="groups: expected the group of each customer, by name, got list"):
        aggregate(meters, ["feeder"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="groups: expected a group for each of the 150 customers"):
        aggregate(meters, {"c0": "a"})
    with pytest.raises(InputError, match="groups: expected customers of meters"):
        aggregate(meters, FEEDER | {"x": "a"})
    with pytest.raises(InputError, match="groups: expected other names in each column"):
        aggregate(meters, pd.DataFrame({"a": FEEDER, "b": FEEDER}))
    with pytest.raises(InputError, match="groups: expected at least one group, got none"):
        aggregate(meters, dict.fromkeys(FEEDER))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="parents: expected groups that are not part of themselves"):
        aggregate(meters, FEEDER, parents={"feeder 0": "a", "a": "feeder 0"})
    with pytest.raises(InputError, match="parents: expected groups such as"):
        aggregate(meters, FEEDER, parents={"feeder 99": "a"})
    with pytest.raises(InputError, match="every: expected a length such as"):
        aggregate(meters, FEEDER, "fortnight")
    with pytest.raises(InputError, match="every: expected whole hours"):
        aggregate(meters, FEEDER, "30min")
    with pytest.raises(InputError, match="every: expected an interval with all of its hours"):
        aggregate(meters, FEEDER, "YS")
    with pytest.raises(InputError, match="keep: expected names of groups"):
        aggregate(meters, FEEDER, keep=["x"])
    with pytest.raises(InputError, match=r"keep: expected sums that satisfy the rule themselves.*feeder 8"):
        aggregate(meters, FEEDER, keep=["feeder 8"])
    every = [f"feeder {k}" for k in (0, 2, 4, 6)] + ["substation 0"]  # whose difference is feeder 8
    with pytest.raises(InputError, match="keep: expected sums that can be published together"):
        aggregate(meters, FEEDER, parents=PARENTS, keep=every, rule=AggregationRule(largest_share=0.5))
