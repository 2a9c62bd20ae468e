"""A deletion's records against forecasts that are priced by hand, closed forms and the studies of the paper."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import unlearn
from unlearn.criteria import CRITERIA
from unlearn.data import LoadDataset
from unlearn.errors import InputError, SingularHessianError
from unlearn.forecasters import Forecaster
from unlearn.forecasters.specs import Linear, TrainingOptions
from unlearn.grid import OperatingCost, price_hours
from unlearn.store import Store
from unlearn.studies._shared.study import METRICS, Study, sample_hours
from unlearn.studies.paper.run import tradeoff
from unlearn.studies.tuning.audit_options import TuningAuditOptions
from unlearn.studies.tuning.cells import Cell
from unlearn.studies.tuning.measure import Deletion, month_rows, with_chosen
from unlearn.studies.tuning.options import TuningOptions
from unlearn.studies.tuning.run import CELL, costs_of, measure_cell, study_of, with_ratio

SHARE, BUDGET, HOURS = 0.25, 0.1, 48


@pytest.fixture(scope="module")
def cost() -> OperatingCost:
    """Three loads, whose regions are few."""
    return OperatingCost("ieee9")


@pytest.fixture(scope="module")
def dataset(cost: OperatingCost) -> LoadDataset:
    own = {"start": "2019-01-15", "nominal_mw": cost.case.nominal_load_mw}
    return unlearn.load_dataset("synthetic", n_hours=1000, **own)


@pytest.fixture(scope="module")
def linear(dataset: LoadDataset) -> Forecaster:
    return unlearn.fit_linear(dataset)


@pytest.fixture(scope="module")
def study(linear: Forecaster, dataset: LoadDataset, cost: OperatingCost) -> Study:
    return Study(linear, dataset, cost, hours=HOURS)


@pytest.fixture(scope="module")
def deletion(study: Study) -> Deletion:
    return Deletion(study, SHARE)


@pytest.fixture(scope="module")
def published(deletion: Deletion) -> pd.DataFrame:
    return deletion.published(BUDGET)


@pytest.fixture(scope="module")
def scaled(deletion: Deletion) -> pd.DataFrame:
    return deletion.tuned("scale", folds=3)


def value(records: pd.DataFrame, **wanted: object) -> float:
    for column, want in wanted.items():
        records = records[records[column].isna() if want is None else records[column] == want]
    assert len(records) == 1, wanted
    return float(records["value"].iloc[0])


def test_published_methods_are_those_of_the_trade_off(published: pd.DataFrame, study: Study) -> None:
    expected = tradeoff(study, SHARE, [BUDGET])
    for method, criterion in [("original", None), ("retrained", None), *(("reweighted", name) for name in CRITERIA)]:
        for metric in METRICS:
            own = {"method": method, "criterion": criterion, "metric": metric, "split": "test"}
            # Twice the accuracy of one priced hour; shares of hours agree to the hour.
            assert value(published, **own) == pytest.approx(value(expected, **own), rel=1e-6, abs=1e-9), own
    assert set(published["proportion"]) == {len(study.positions(SHARE)) / len(study.training_rows)}
    assert set(published["selection"]) == {"helpful/mse"}


def test_tamu_is_what_reweight_gives(published: pd.DataFrame, deletion: Deletion) -> None:
    study, data = deletion.study, deletion.study.dataset
    own = {"grid": study.cost, "evaluate_on": sample_hours(data.split.validation, HOURS)}
    model = unlearn.reweight(study.model, data, deletion.rows, "cost", BUDGET, **own).model
    rows = sample_hours(data.split.test, HOURS)
    expected = price_hours(study.cost, model.forecast(data.features[rows]), data.load_pu[rows]).total.mean()
    tamu = value(published, method="reweighted", criterion="cost", metric="cost", split="test")
    assert tamu == pytest.approx(float(expected), rel=1e-6)


def test_the_unlearnt_model_is_the_retrained_one(published: pd.DataFrame) -> None:
    distance = published[published["metric"] == "distance_to_retrained"]
    assert value(distance, method="retrained") <= 1e-8
    assert (distance[distance["method"] != "retrained"]["value"] > 1e-4).all()


def test_a_tuning_is_measured_on_test_rows_and_chosen_by_validation_rows(
    scaled: pd.DataFrame, deletion: Deletion, dataset: LoadDataset, cost: OperatingCost
) -> None:
    remaining = np.setdiff1d(deletion.study.training_rows, deletion.rows)
    assert np.array_equal(deletion.remaining, remaining)
    model = unlearn.forget(deletion.study.model, dataset, deletion.rows).model
    factor = value(scaled, metric="k", split="remaining")
    assert factor == pytest.approx(unlearn.tune(model, dataset, "cost", grid=cost, folds=3).parameters["k"], rel=1e-6)
    for split, rows in (("test", dataset.split.test), ("validation", dataset.split.validation)):
        rows = sample_hours(rows, HOURS)
        forecast = factor * model.forecast(dataset.features[rows])
        priced = price_hours(cost, forecast, dataset.load_pu[rows])
        assert value(scaled, metric="cost", split=split) == pytest.approx(float(priced.total.mean()), rel=1e-6)
        if split == "test":
            error = forecast - dataset.load_pu[rows]
            assert value(scaled, metric="bias") == pytest.approx(error.sum(axis=1).mean(), rel=1e-6)
            assert value(scaled, metric="mse") == pytest.approx(np.square(error).mean(), rel=1e-6)
            sheds = (priced.shedding > 1e-2).double().mean()  # a load of 3 W on 100 MVA; rounding leaves far less
            assert value(scaled, metric="sheds") == pytest.approx(float(sheds), abs=1.5 / HOURS)
    # All loads by one factor: the distance is the same of every parameter.
    assert value(scaled, metric="distance_to_retrained") == pytest.approx(abs(factor - 1), rel=1e-6)
    assert value(scaled, metric="left_out_after") <= value(scaled, metric="left_out_before")


def test_test_rows_change_nothing_that_is_chosen(deletion: Deletion, scaled: pd.DataFrame, grid: object) -> None:
    data = deletion.study.dataset
    loads = data.load_mw.copy()
    loads[data.split.test] *= 1.2
    other = replace(data, load_mw=loads)
    study = replace(deletion.study, model=unlearn.fit_linear(other), dataset=other)
    found = Deletion(study, SHARE).tuned("scale", folds=3)
    for split in ("validation", "remaining"):
        for metric in scaled[scaled["split"] == split]["metric"]:
            own = {"split": split, "metric": metric}
            assert value(found, **own) == pytest.approx(value(scaled, **own), rel=1e-9)
    assert value(found, metric="bias") < value(scaled, metric="bias")


def test_what_a_method_found_is_recorded(deletion: Deletion) -> None:
    asked = {
        "quantile": {"tau", "variant_total", "duality_gap"},
        "weights": {"l1_budget_chosen", "frank_wolfe_gap"},
        "head": {"mu", "gradient_norm"},
    }
    for method, wanted in asked.items():
        found = deletion.tuned(method, folds=2)
        remaining = set(found[found["split"] == "remaining"]["metric"])
        assert remaining == wanted | {"steps", "before", "after", "left_out_before", "left_out_after"}
        assert np.isfinite(found["value"]).all()


def test_the_front_begins_with_the_cost_alone_and_ends_with_least_squares(
    deletion: Deletion, scaled: pd.DataFrame
) -> None:
    alone = deletion.weighed("scale", 0.0, folds=3)
    assert value(alone, metric="k") == pytest.approx(value(scaled, metric="k"), rel=1e-6)
    errors = []
    for weight in (0.0, 1.0, 1e6):
        records = deletion.weighed("head", weight, folds=2)
        assert set(records["mse_weight"]) == {weight}
        assert set(records["criterion"]) == {"cost+mse"}
        errors.append(value(records, metric="distance_to_retrained"))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3  # the cost is a millionth of the criterion


def test_a_unit_of_the_mse_is_as_large_as_the_cost(
    deletion: Deletion, dataset: LoadDataset, cost: OperatingCost
) -> None:
    records = deletion.weighed("scale", 1.0, folds=2)
    model, rows = deletion.unlearnt.model, deletion.remaining
    forecast, load = model.forecast(dataset.features[rows]), dataset.load_pu[rows]
    expected = float(price_hours(cost, forecast, load).total.mean()) / np.square(forecast - load).mean()
    assert value(records, metric="mse_weight_unit") == pytest.approx(expected, rel=1e-6)


def test_many_steps_are_never_worse_than_one(deletion: Deletion) -> None:
    for budget in (0.05, 0.2):
        cost = deletion.stepped(budget)
        cost = cost[cost["metric"] == "cost"].set_index("method")["value"]
        assert cost["weights"] <= cost["single_step"] * (1 + 1e-6)  # twice the accuracy of one priced hour
        assert cost["weights"] < cost["retrained"]


def test_without_a_budget_every_step_is_complete_unlearning(deletion: Deletion) -> None:
    cost = deletion.stepped(0.0)
    cost = cost[cost["metric"] == "cost"]
    assert len(cost) == 4
    np.testing.assert_allclose(cost["value"], value(cost, method="retrained"), rtol=1e-6)


def test_the_leaking_step_is_the_published_one(deletion: Deletion, study: Study) -> None:
    records = deletion.stepped(BUDGET)
    gradient_rows = sample_hours(study.dataset.split.validation, study.hours)
    own = {"evaluate_on": gradient_rows, "grid": study.cost}
    model = unlearn.reweight(study.model, study.dataset, deletion.rows, "cost", BUDGET, **own).model
    rows = deletion.remaining
    priced = price_hours(study.cost, model.forecast(study.dataset.features[rows]), study.dataset.load_pu[rows])
    expected = float(priced.total.mean())
    assert value(records, method="reweighted", metric="cost") == pytest.approx(expected, rel=1e-6)


def test_a_network_that_is_trained_anew_never_sees_what_is_forgotten(
    dataset: LoadDataset, cost: OperatingCost, one_thread: None
) -> None:
    quick = TrainingOptions(epochs=2, learning_rate=3e-3)
    data = dataset
    model = unlearn.fit_network(data, "cnn", quick, seed=3)
    rows = model.training_rows(data)[::4]
    given = {"selection": "given", "given_rows": rows, "hours": HOURS, "seed": 3}
    found = Deletion(Study(model, data, cost, **given), SHARE).whole_network(quick)
    assert set(found["method"]) == {"whole_network"}
    assert not (found["metric"] == "distance_to_retrained").any()

    kept = np.setdiff1d(data.split.train, rows)
    anew = unlearn.fit_network(data, "cnn", quick, seed=3, loss="cost", grid=cost.fresh(), rows=kept)
    tested = sample_hours(data.split.test, HOURS)
    expected = price_hours(cost, anew.forecast(data.features[tested]), data.load_pu[tested]).total.mean()
    assert value(found, metric="cost", split="test") == pytest.approx(float(expected), rel=1e-6)

    loads = data.load_mw.copy()
    loads[rows] *= 0.5
    other = replace(data, load_mw=loads)
    study = Study(unlearn.fit_network(other, "cnn", quick, seed=3), other, cost, **given)
    again = Deletion(study, SHARE).whole_network(quick)
    assert value(again, metric="mape", split="test") == value(found, metric="mape", split="test")


def test_a_method_that_finds_nothing_fails_alone(
    deletion: Deletion, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def singular(*_: object, **__: object) -> None:
        raise SingularHessianError("too few rows.")

    monkeypatch.setattr("unlearn.studies.tuning.measure.tune", singular)
    monkeypatch.setattr("unlearn.studies.tuning.measure.fit_network", singular)
    monkeypatch.setattr("unlearn.studies.tuning.measure.Reweighting.update", singular)
    failed = [deletion.tuned("head"), deletion.stepped(BUDGET), deletion.whole_network(TrainingOptions())]
    for records in failed:
        assert value(records, metric="failed", split="remaining") == 1
        assert len(records) == 1
    assert caplog.messages[0] == "head found nothing: too few rows."
    published = deletion.published(BUDGET)
    assert (published[published["method"] == "reweighted"]["metric"] == "failed").all()
    assert value(published, method="retrained", metric="cost", split="test") > 0
    both = with_chosen(pd.concat([failed[0], deletion.published(BUDGET)]), ["head"])
    assert "chosen" not in set(both["method"])


def test_the_tuning_that_is_cheapest_on_validation_rows_is_chosen() -> None:
    rows = [
        {"method": method, "criterion": "cost", "split": split, "metric": "cost", "value": cost, "unit": "money/h"}
        for method, costs in {"scale": (3, 1), "head": (2, 5), "retrained": (1, 9)}.items()
        for split, cost in zip(("validation", "test"), costs, strict=True)
    ]
    records = with_chosen(pd.DataFrame(rows), ["scale", "weights", "head"])
    assert value(records, metric="chosen", method="head") == 1
    assert value(records, metric="chosen", method="scale") == 0
    assert value(records, metric="cost", method="chosen", split="test") == 5
    assert len(records) == 6 + 2 + 2
    pd.testing.assert_frame_equal(with_chosen(pd.DataFrame(rows), ["affine"]), pd.DataFrame(rows))


def test_another_ratio_of_prices_changes_what_storing_costs(cost: OperatingCost) -> None:
    case = cost.case
    assert with_ratio(cost, None) is cost
    assert with_ratio(cost, 5.0) is cost
    dear = with_ratio(cost, 1.0)
    assert dear.case.storage_cost == case.shedding_cost == dear.case.shedding_cost
    assert dear.fingerprint != cost.fingerprint
    load = torch.full((1, case.n_loads), 0.3, dtype=torch.float64)
    for forecast, grows in ((load + 0.01, True), (load - 0.01, False)):
        ours, theirs = (own(forecast, load) for own in (cost, dear))
        assert float(ours.shedding) == pytest.approx(float(theirs.shedding), rel=1e-6, abs=1e-9)
        # A grid may store and shed at once: it does so less where storing is dear.
        assert (float(theirs.total) > float(ours.total) + 1) == grows


def test_a_month_is_removed_as_given_rows(study: Study, dataset: LoadDataset) -> None:
    cell = Cell("other", 0, None, "linear", "month", SHARE, 0)
    own = study_of(cell, study, TuningOptions(month=2))
    rows = Deletion(own, SHARE).rows
    assert set(dataset.timestamps[rows].month) == {2}
    assert np.array_equal(rows, [r for r in dataset.split.train if dataset.timestamps[r].month == 2])
    assert own.selection_label == "month"
    for month, found in ((7, 0), (1, 5)):
        with pytest.raises(InputError, match=rf"tuning\.month: .* got {month} with {found} of 5 rows"):
            month_rows(dataset, dataset.split.train[:5], month)


def test_what_was_measured_is_not_measured_again(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = TuningOptions(methods=["scale"], folds=2, l1_budgets=[0, BUDGET])
    store = Store(tmp_path)
    cell = Cell("main", 0, None, "linear", "helpful", SHARE, 0)
    first = measure_cell(cell, study, options, store, Linear())
    assert set(first["method"]) == {"original", "retrained", "reweighted", "scale", "chosen"}
    assert set(first["l1_budget"].dropna()) == {BUDGET}
    assert set(first["price_ratio"]) == {5.0}
    assert set(first["part"]) == {"main"}
    for name in ("published", "tuned"):

        def never(self: Deletion, **_: object) -> None:
            raise AssertionError("measured twice")

        never.__name__ = name
        monkeypatch.setattr(Deletion, name, never)
    pd.testing.assert_frame_equal(measure_cell(cell, study, options, store, Linear()), first)
    # The grid's own prices are not measured twice either; other prices, rows, folds and budgets are.
    same = measure_cell(replace(cell, part="prices", price_ratio=5.0), study, options, store, Linear())
    pd.testing.assert_frame_equal(same.drop(columns="part"), first.drop(columns="part"))
    others = [
        (replace(cell, part="prices", price_ratio=2.0), options),
        (replace(cell, selection="random"), options),
        (replace(cell, share=0.1), options),
        (cell, replace(options, l1_budgets=[0.2])),
    ]
    for other, asked in others:
        with pytest.raises(AssertionError, match="measured twice"):
            measure_cell(other, study, asked, store, Linear())


def test_an_audit_is_kept_by_its_own_settings(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def audited(study: Study, share: float, options: TuningAuditOptions) -> pd.DataFrame:
        asked.append((study.selection_label, share, options.pairs))
        return pd.DataFrame({"method": ["scale"], "metric": ["auc"], "value": [0.5]})

    monkeypatch.setattr("unlearn.studies.tuning.audit.audit_records", audited)
    cell = Cell("audit", 0, None, "linear", "random", SHARE, 0)
    for pairs in (40, 40, 50):
        options = TuningOptions(audit=TuningAuditOptions(pairs=pairs), folds=pairs)
        records = measure_cell(cell, study, options, Store(tmp_path), Linear())
        assert value(records, part="audit", metric="auc") == 0.5
    assert asked == [("random", SHARE, 40), ("random", SHARE, 50)]


def test_the_costs_of_a_run_are_a_row_a_cell(study: Study, tmp_path: Path) -> None:
    options = TuningOptions(methods=["scale"], folds=2, l1_budgets=[BUDGET])
    cells = [Cell("main", 0, None, "linear", "random", SHARE, seed) for seed in (0, 1)]
    tables = [measure_cell(cell, study, options, Store(tmp_path), Linear()) for cell in cells]
    costs = costs_of(pd.concat(tables))
    assert list(costs.index.names) == list(CELL)
    assert len(costs) == 2
    assert set(costs) == {"original", "retrained", "PAMU-MSE", "PAMU-MAPE", "TAMU", "scale", "chosen"}
    assert (costs["scale"] == costs["chosen"]).all()


def test_data_without_validation_rows_is_refused(grid: object, cost: OperatingCost) -> None:
    spec = unlearn.PUBLISHED
    data = unlearn.load_dataset("synthetic", n_hours=300, split=spec, nominal_mw=cost.case.nominal_load_mw)
    study = Study(unlearn.fit_linear(data, l2=1.0), data, cost, protocol="published", hours=HOURS)
    with pytest.raises(InputError, match=r"expected validation rows in synthetic.*Take protocol=fair"):
        Deletion(study, SHARE)
