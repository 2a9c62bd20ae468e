"""What is measured: who bears a change, refusals, worth against true removals, and the audit's controls."""

import numpy as np
import pandas as pd
import pytest

from tests.studies.customers.made import OPTIONS, other_options, setting
from tests.studies.households import made_households
from unlearn.errors import InputError
from unlearn.grid import OperatingCost
from unlearn.households import hourly_meters
from unlearn.records import RecordTable
from unlearn.reporting.verdict import select
from unlearn.store import Store
from unlearn.studies.customers import Population, study_customers
from unlearn.studies.customers.audit import MATCHED, NEGATIVE, POSITIVE, measure_audit
from unlearn.studies.customers.bearing import burden, contributions
from unlearn.studies.customers.cells import measure_cells, measure_original
from unlearn.studies.customers.removals import removals
from unlearn.studies.customers.setting import by_weeks, with_joined_classes
from unlearn.studies.customers.worth import measure_worth


def records(measure: object, *arguments: object) -> pd.DataFrame:
    table = RecordTable(seed=0)
    measure(setting(), *arguments, table)  # type: ignore[operator]
    return table.to_frame()


def test_contributions_sum_to_the_change_and_are_of_whoever_changed() -> None:
    own = setting()
    load = own.dataset.load_pu[own.test]
    forecast = own.linear.forecast(own.dataset.features[own.test])
    less, lighter = forecast.copy(), load.copy()
    less[:, 1] *= 0.9
    found = contributions(own.cost, (forecast, load), (less, load))
    assert found.gap < 0.01
    assert found.change > 0
    assert found.total[[0, 2]] == pytest.approx([0, 0], abs=1e-12)
    lighter[:, 2] *= 0.8
    both = contributions(own.cost, (forecast, load), (less, lighter))
    assert both.total.sum() == pytest.approx(both.change, rel=0.01)
    assert both.load[:2] == pytest.approx([0, 0], abs=1e-12)
    assert both.load[2] < 0


def test_the_burden_of_a_bus_is_on_whoever_still_takes_energy_there() -> None:
    dataset = setting().dataset
    by_bus = np.array([1.0, 2.0, -1.0])
    removed = np.zeros(len(dataset.meters), dtype=bool)
    removed[:10] = True
    stays, leaves = (burden(dataset, by_bus, removed, leave) for leave in (False, True))
    for found in (stays, leaves):
        own = np.bincount(dataset.roster.load_of, found.per_customer)
        assert own == pytest.approx(8760 * by_bus)
    assert leaves.per_customer[:10] == pytest.approx(np.zeros(10))
    assert leaves.share_of_removed == 0
    assert stays.share_of_removed != 0


def test_larger_shares_hold_smaller_ones_and_segments_are_capped() -> None:
    found = {(own.choice, own.share): own for own in removals(setting(), OPTIONS.choices, (0.05, 0.5, 0.9))}
    assert len(found["random", 0.05].customers) == 3
    assert set(found["random", 0.05].customers) < set(found["random", 0.5].customers)
    assert set(found["most valuable", 0.05].customers).isdisjoint(found["least valuable", 0.05].customers)
    assert len(found["segment: poor", 0.5].customers) == 30
    assert "30 customers" in found["segment: poor", 0.9].reason


def test_cells_measure_what_they_forget_and_record_what_is_refused() -> None:
    cells = records(measure_cells, "linear", "class_mean")
    refused = select(cells, metric="refused")
    assert {"segment: poor", "segment: rich"} <= set(refused["selection"])
    assert refused["why"].str.contains("expected at least 15 members").any()
    done = select(cells, part="cell")
    assert (select(done, metric="complete")["value"] == 1).all()
    assert select(done, metric="distance_to_retrained")["value"].max() < 1e-9
    assert select(cells, metric="attribution_gap")["value"].max() < 0.01
    assert {"forgotten", "forgotten_tuned", "perfect"} == set(select(done, selection="random")["method"])
    assert cells["value"].notna().all()


def test_the_load_falls_where_customers_leave_and_stays_where_they_object() -> None:
    before = select(records(measure_original, "linear"), metric="load", part="original")["value"].item()
    for case, stays in (("objects", True), ("leaves", False)):
        found = records(measure_cells, "linear", case)
        load = select(found, metric="load", selection="random", proportion=0.5)["value"].item()
        assert (load == pytest.approx(before)) == stays
        assert ("stale" in set(found["method"])) != stays


def test_worth_agrees_with_true_removals() -> None:
    found = records(measure_worth, 4)
    assert set(select(found, part="worth", metric="worth")["criterion"]) == {"cost", "mape", "mse"}
    slope = select(found, metric="calibration", criterion="mse")["value"].item()
    assert slope == pytest.approx(1, abs=1e-6)
    assert len(select(found, method="removed", case="rescale", criterion="cost")) == 4


def test_the_audit_tells_a_model_with_a_customer_and_not_one_that_forgot() -> None:
    found = records(measure_audit)
    auc = {name: select(found, method=name, metric="mean_auc")["value"].item() for name in (MATCHED, POSITIVE)}
    assert auc[MATCHED] == 0.5
    assert auc[POSITIVE] > 0.7
    own = select(found, method=NEGATIVE, metric="auc")
    assert ((own["low"] <= 0.5) & (own["high"] >= 0.5)).all()
    assert select(found, metric="largest_difference")["value"].item() < 1e-9


def test_small_classes_are_joined_with_the_next_smallest() -> None:
    meters = hourly_meters(made_households(10, 3))
    joined = with_joined_classes(meters, 6)
    assert joined.segments == ("rich and poor",) or joined.segments == ("poor and rich",)
    assert set(joined.segment) == {0}
    assert with_joined_classes(meters, 5).segments == meters.segments


def test_weeks_are_whole_and_no_hour_is_in_two_parts() -> None:
    hours = pd.date_range("2013-01-01", periods=24 * 120, freq="h")
    split = by_weeks(hours, 5)
    parts = [split.train, split.validation, split.test]
    assert sorted(np.concatenate(parts)) == list(range(len(hours)))
    assert set(np.unique(hours[split.test].isocalendar().week)).isdisjoint(hours[split.train].isocalendar().week)
    with pytest.raises(InputError, match="expected weeks to train"):
        by_weeks(hours[:100], 5)


def test_finished_parts_are_kept(tmp_path) -> None:  # type: ignore[no-untyped-def]
    options = other_options(choices=("random",), cases=("objects",), tuning_hours=0, targets=1, pairs=2, removals=3)
    store = Store(tmp_path, confidential=True)
    first = study_customers(Population(made_households(60, 91)), OperatingCost("ieee9"), options, store=store)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    assert len(files) == 5
    again = study_customers(Population(made_households(60, 91)), OperatingCost("ieee9"), options, store=store)
    pd.testing.assert_frame_equal(first, again)
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"main_share": 0.3}, "main_share: expected one of the shares"),
        ({"forecasters": ("cnn",)}, "expected linear among them"),
        ({"test_every": 3}, "at least 4"),
        ({"seeds": ()}, "at least one seed"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        other_options(**changes)
