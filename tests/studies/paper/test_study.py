"""Studies and their records against what the parts say one by one."""

import numpy as np
import pandas as pd
import pytest
import torch

import unlearn
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.studies._shared.study import METRICS, Study, measure, sample_hours
from unlearn.studies.paper.run import completeness, sensitivity, tradeoff

SHARE = 0.25


@pytest.fixture(scope="module")
def study(linear: Forecaster, dataset: LoadDataset, cost: OperatingCost) -> Study:
    return Study(linear, dataset, cost, protocol="fair", hours=60, labels={"config_hash": "abc"})


@pytest.fixture(scope="module")
def curves(study: Study) -> pd.DataFrame:
    return tradeoff(study, SHARE, [0, 0.1, 0.2])


def value(records: pd.DataFrame, **wanted: object) -> float:
    chosen = records
    for column, want in wanted.items():
        chosen = chosen[chosen[column] == want]
    assert len(chosen) == 1, wanted
    return float(chosen["value"].iloc[0])


def test_measure_equals_the_criteria_hour_by_hour(linear, dataset, cost) -> None:
    rows = dataset.split.test[:30]
    hourly = measure(linear, dataset, rows, cost)
    forecast, load = linear.forecast(dataset.features[rows]), dataset.load_pu[rows]
    np.testing.assert_allclose(hourly.values["mse"], ((forecast - load) ** 2).mean(axis=1))
    np.testing.assert_allclose(hourly.values["mape"], 100 * np.abs((forecast - load) / load).mean(axis=1))
    priced = cost(torch.tensor(forecast), torch.tensor(load))
    np.testing.assert_allclose(hourly.values["cost"], priced.total)
    parts = sum(hourly.values[f"{part}_cost"] for part in ("generation", "shedding", "storage"))
    np.testing.assert_allclose(hourly.values["cost"], parts)
    assert hourly.means(rows[:10])["mse"] == pytest.approx(hourly.values["mse"][:10].mean())
    assert set(hourly.values) == set(METRICS)


def test_sampled_hours_are_evenly_spaced_and_the_same_for_all() -> None:
    rows = np.arange(100, 200)
    np.testing.assert_array_equal(sample_hours(rows, 3), [100, 150, 199])
    assert sample_hours(rows, None) is rows
    assert sample_hours(rows, 500) is rows
    with pytest.raises(InputError, match=r"evaluation\.hours"):
        sample_hours(rows, 0)


def test_the_fair_protocol_never_differentiates_on_test_rows(study: Study, dataset: LoadDataset) -> None:
    seen = study.gradient("mse").values
    validation = sample_hours(dataset.split.validation, 60)
    expected = measure(study.model, dataset, validation, study.cost).values["mse"]
    np.testing.assert_allclose(seen.numpy(), expected)


def test_the_published_protocol_differentiates_on_the_reported_rows(linear, dataset, cost) -> None:
    published = Study(linear, dataset, cost, protocol="published", hours=60)
    seen = published.gradient("mse").values
    np.testing.assert_allclose(seen.numpy().mean(), published.original.means(published.priced_test_rows)["mse"])


def test_completeness_is_exact_and_measures_three_splits(study: Study) -> None:
    records = completeness(study, [0.1, 0.3])
    for share in (0.1, 0.3):
        for form in ("unlearn_gradient", "remain_gradient"):
            distance = value(records, metric="distance_to_retrained", method=form, proportion=share)
            assert distance <= 1e-8
        assert value(records, metric="distance_to_retrained", method="first_order", proportion=share) > 1e-3
        unlearnt = value(records, metric="cost", method="unlearnt", split="test", proportion=share)
        retrained = value(records, metric="cost", method="retrained", split="test", proportion=share)
        assert unlearnt == pytest.approx(retrained, rel=1e-6)  # twice the accuracy of one priced hour
        # What was fitted without the helpful rows fits the others better.
        for split, better in (("remain", True), ("unlearn", False)):
            before = value(records, metric="mse", method="original", split=split, proportion=share)
            after = value(records, metric="mse", method="unlearnt", split=split, proportion=share)
            assert (after < before) == better
    assert set(records["config_hash"]) == {"abc"}
    assert set(records["selection"]) == {"helpful/mse"}


def test_every_tradeoff_curve_starts_at_complete_unlearning(curves: pd.DataFrame) -> None:
    for metric in ("mse", "mape", "cost"):
        complete = value(curves, method="retrained", metric=metric)
        for criterion in ("mse", "mape", "cost"):
            start = value(curves, method="reweighted", metric=metric, criterion=criterion, l1_budget=0)
            assert start == pytest.approx(complete, rel=1e-6)  # twice the accuracy of one priced hour


def test_distance_to_the_retrained_model_grows_with_the_budget(curves: pd.DataFrame) -> None:
    for criterion in ("mse", "mape", "cost"):
        chosen = curves[(curves["criterion"] == criterion) & (curves["metric"] == "distance_to_retrained")]
        distances = chosen.sort_values("l1_budget")["value"].to_numpy()
        assert distances[0] <= 1e-8
        assert (np.diff(distances) > 0).all()


def test_pamu_lowers_its_own_criterion_where_the_gradient_was_taken(linear, dataset, cost) -> None:
    published = Study(linear, dataset, cost, protocol="published")
    curve = tradeoff(published, 0.1, [0, 0.05, 0.1, 0.15], criteria=["mse"])
    curve = curve[(curve["method"] == "reweighted") & (curve["metric"] == "mse")].sort_values("l1_budget")
    assert (np.diff(curve["value"]) < 0).all()


def test_sensitivity_scores_all_that_remain(study: Study) -> None:
    records, samples = sensitivity(study, SHARE, draw=40)
    n_remain = len(study.training_rows) - len(study.rows_to_unlearn(SHARE))
    assert len(samples) == n_remain
    assert samples["drawn"].sum() == 40
    assert samples.loc[samples["drawn"], "over_generated"].sum() == 20
    expected = np.corrcoef(samples["mse"], samples["mape"])[0, 1]
    assert value(records, metric="pearson_mse_mape", split="remain") == pytest.approx(expected)
    removed = study.training_rows[study.rows_to_unlearn(SHARE)]
    assert not set(samples["row"]) & set(removed)


def test_selections(linear, dataset, cost) -> None:
    kinds = {
        s: Study(linear, dataset, cost, selection=s).rows_to_unlearn(0.1) for s in ("helpful", "harmful", "random")
    }
    influence = Study(linear, dataset, cost).influence("mse")
    assert influence[kinds["helpful"]].min() > influence[kinds["harmful"]].max()
    assert len({tuple(rows) for rows in kinds.values()}) == 3


@pytest.mark.parametrize(("field", "bad"), [("protocol", "best"), ("selection", "all"), ("select_by", "rmse")])
def test_unknown_choices_are_refused(linear, dataset, cost, field: str, bad: str) -> None:
    with pytest.raises(InputError, match=field):
        Study(linear, dataset, cost, **{field: bad})


def test_a_study_of_another_data_set_is_refused(linear, cost, grid) -> None:
    other = unlearn.load_dataset("synthetic", n_hours=1400, random_state=5, nominal_mw=grid.nominal_load_mw)
    with pytest.raises(InputError, match="do not match"):
        _ = Study(linear, other, cost).objective
