"""The audit end to end on a small data set: who is recognised, who is not, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.studies._shared.study import Study
from unlearn.studies.deletion.measure import Audit
from unlearn.studies.deletion.options import AuditOptions

OPTIONS = AuditOptions(
    pairs=16,
    pair_share=0.6,
    shadows=80,
    attacked_rows=10,
    targets=2,
    l1_budgets=(0.0, 0.2),
    criteria=("mse",),
    fprs=(0.1,),
    row_fprs=(0.01,),
)


@pytest.fixture(scope="module")
def study(linear: Forecaster, dataset: LoadDataset, cost: OperatingCost) -> Study:
    return Study(linear, dataset, cost, hours=40)


@pytest.fixture(scope="module")
def audit(study: Study) -> Audit:
    return Audit(study, 0.25, OPTIONS)


@pytest.fixture(scope="module")
def released(audit: Audit) -> pd.DataFrame:
    return audit.records("released")


@pytest.fixture(scope="module")
def pairs(audit: Audit) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearn.attacks.outcome.N_BOOTSTRAP", 100)  # of dozens of attacks
        return audit.records("pairs")


def of(records: pd.DataFrame, **wanted: object) -> pd.Series:
    chosen = records
    for column, value in wanted.items():
        chosen = chosen[chosen[column] == value]
    assert len(chosen) == 1, wanted
    return chosen.iloc[0]


def test_complete_unlearning_looks_exactly_like_retraining(released: pd.DataFrame) -> None:
    assert of(released, method="unlearnt", metric="distance_to_retrained")["value"] <= 1e-9
    for metric in ("standard_score", "p_value", "mse", "cost"):
        ours, theirs = (of(released, method=m, metric=metric)["value"] for m in ("unlearnt", "retrained"))
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)
    assert of(released, method="retrained", metric="p_value")["value"] > 0.1


def test_original_and_first_order_are_caught(released: pd.DataFrame, pairs: pd.DataFrame) -> None:
    for method in ("original", "first_order"):
        # The smallest p-value that 40 shadow models can give.
        assert of(released, method=method, metric="p_value")["value"] == pytest.approx(1 / 41)
        assert of(pairs, method=method, metric="auc", attack="parameters")["low"] > 0.5


def test_the_game_finds_nothing_after_complete_unlearning(pairs: pd.DataFrame) -> None:
    aucs = pairs[(pairs["method"] == "unlearnt") & (pairs["metric"] == "auc")]
    assert set(aucs["scope"]) == {"set", "row"}
    np.testing.assert_array_equal(aucs["value"], 0.5)
    without = pairs[(pairs["l1_budget"] == 0) & (pairs["metric"] == "auc")]
    np.testing.assert_array_equal(without["value"], 0.5)


def test_weights_computed_at_a_model_that_saw_the_rows_leak_them(pairs: pd.DataFrame) -> None:
    leak = {"l1_budget": 0.2, "against": "out, re-weighted"}
    assert of(pairs, **leak, metric="auc", attack="parameters")["low"] > 0.6
    assert of(pairs, **leak, metric="weights_differ")["value"] > 0.01
    assert of(pairs, **leak, metric="distance_in_out")["value"] > 0.01


def test_one_row_says_less_than_all(pairs: pd.DataFrame) -> None:
    one, every = (
        of(pairs, method="original", metric="auc", attack="likelihood_ratio", scope=scope)["value"]
        for scope in ("row", "set")
    )
    assert 0.5 < one < every


def test_a_forecaster_gives_away_few_rows_and_the_ratio_finds_more_than_the_loss(audit: Audit) -> None:
    records = audit.records("forecaster")
    loss, ratio = (of(records, metric="auc", attack=attack) for attack in ("loss", "likelihood_ratio"))
    assert 0.5 < loss["value"] < ratio["low"]
    assert ratio["n_members"] == ratio["n_others"] == 980


def test_every_record_says_how_much_was_removed(released: pd.DataFrame, audit: Audit) -> None:
    assert set(released["proportion"]) == {len(audit.rows) / 980} == {0.25}
    assert of(released, metric="unlearnt_rows")["value"] == 245


def test_a_network_is_audited_by_its_head(cnn: Forecaster, dataset: LoadDataset, cost: OperatingCost) -> None:
    network = Study(cnn, dataset, cost, hours=40, selection="random")
    records = Audit(network, 0.2, replace(OPTIONS, shadows=16, row_fprs=(0.1,))).records("released")
    assert of(records, method="unlearnt", metric="distance_to_retrained")["value"] <= 1e-9
    assert of(records, method="original", metric="p_value")["value"] == pytest.approx(1 / 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": 15}, "pairs: expected at least 16, half of them to fit the attack on, got 15"),
        ({"shadows": 8}, "shadows: expected at least 16"),
        ({"targets": 0}, "targets: expected a whole number"),
        ({"fprs": (0.01,)}, "at least 100 records that are no members"),
        ({"pair_share": 1.0}, "pair_share"),
        ({"l1_budgets": ()}, "l1_budgets: expected at least one value"),
        ({"l1_budgets": (-0.1,)}, "l1_budgets: expected a number of at least 0"),
        ({"criteria": ("rmse",)}, "criteria: expected one of cost, mape, mse"),
    ],
)
def test_unusable_options_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(OPTIONS, **change)


def test_worlds_with_too_few_rows_are_refused_before_anything_is_fitted(study: Study) -> None:
    with pytest.raises(InputError, match=r"shadow models of at least \d+ rows.*got 59"):
        Audit(study, 0.9, OPTIONS)
    with pytest.raises(InputError, match="re-weighting may empty"):
        Audit(study, 0.5, replace(OPTIONS, l1_budgets=(0.9,)))


def test_too_few_rows_for_a_rate_are_refused(study: Study) -> None:
    with pytest.raises(InputError, match="at least 10000 records that are no members"):
        Audit(study, 0.25, replace(OPTIONS, row_fprs=(1e-4,)))


def test_a_model_that_has_forgotten_before_is_refused(study: Study) -> None:
    weights = study.model.weights.clone()
    weights[0] = 0
    with pytest.raises(InputError, match="forgotten nothing"):
        replace(study, model=study.model.with_theta(study.model.theta, weights))
