"""What is said of hand-made records."""

import pandas as pd
import pytest

from tests.pages import drawn_page
from unlearn.errors import InputError
from unlearn.records import RecordTable, joined
from unlearn.studies.comparison import report
from unlearn.studies.comparison.claims import claims
from unlearn.studies.comparison.options import (
    DP,
    FEDERATED,
    FORECAST,
    HE,
    MPC,
    NONE,
    PSEUDONYMS,
    SECURE,
    SUMS,
    TOTALS,
    WEEK,
)
from unlearn.studies.comparison.table import ComparisonTable, Row
from unlearn.studies.comparison.verdict import attack_rows, decisions, page, summarise, technique_rows


def made_records(*, shared_mape: float = 0.0, linked: float = 0.99) -> pd.DataFrame:
    """Records of 250 homes and two seeds; encrypted sums are missing."""
    parts = []
    for seed in (0, 1):
        table = RecordTable(experiment="comparison", data="made", grid="four", protocol="fair", split="test", seed=seed)
        for name, value in {"homes": 250, "feeders": 14, "hours": 8760, "main_epsilon": 1, "known": 4,
                            "class_size": 15, "retailers": 5}.items():  # fmt: skip
            table.add(name, value, part="setting")
        mapes = {(NONE, None): 0.0, (SUMS, None): 0.0, (PSEUDONYMS, None): 0.0, (SECURE, None): 0.0,
                 (MPC, None): shared_mape, (DP, 0.1): 450.0, (DP, 1.0): 68.0}  # fmt: skip
        for (technique, epsilon), mape in mapes.items():
            own = {"technique": technique, "epsilon": epsilon}
            for task in (TOTALS, FORECAST):
                table.add("mape", mape + 10 + seed, part="utility", task=task, **own)
                table.add("cost", 10 * mape + 500 + seed, part="utility", task=task, **own)
            for name, value in {"seconds": 1.0, "bytes": 1e7, "bytes_each": 1e5}.items():
                table.add(name, value, part="spent", **own)
        table.add("cost", 600.0, part="utility", task=FORECAST, technique=WEEK)
        table.add("linked", linked, part="attack", technique=PSEUDONYMS)
        table.add("difference", 0.0, part="attack", technique=SUMS)
        table.add("difference", 20.0, part="attack", technique=DP, epsilon=1.0)
        table.add("refused", 1.0, part="attack", technique=MPC)
        table.add("missing", 1.0, part="spent", technique=HE)
        parts.append(table.to_frame())
    return pd.concat(parts, ignore_index=True)


def test_claims_follow_the_numbers() -> None:
    found = {own.subject: own for own in claims(ComparisonTable(made_records()))}
    assert found["Exact results, no added noise (secure sum)"].answer == "yes"
    assert "450 points at ε = 0.1, 68 points at ε = 1" in found["Accuracy loss at low ε"].reason
    assert found["Anonymisation by itself is weak"].answer == "yes"
    single = found["No single technique is sufficient for all needs"]
    assert (single.answer, "MPC: shares of meters" in single.reason) == ("partly", True)
    few = {own.subject: own.answer for own in claims(ComparisonTable(made_records(linked=0.1)))}
    assert few["Anonymisation by itself is weak"] == "no"
    other = {own.subject: own.answer for own in claims(ComparisonTable(made_records(shared_mape=5.0)))}
    assert other["No single technique is sufficient for all needs"] == "yes"
    assert other["They give strong privacy and accuracy but are limited to specific computations"] == "no"


def test_a_technique_whose_package_is_missing_says_so_in_its_row() -> None:
    table = ComparisonTable(made_records())
    for rows in (attack_rows(table), technique_rows(table)):
        row = next(own for own in rows if own["technique"] == "HE: encrypted sums")
        assert "not installed" in row.values()
    shared = next(own for own in attack_rows(table) if own["technique"] == "MPC: shares of meters")
    assert shared["error of a curve"] == "refused"
    assert "HE: encrypted sums" in [own["technique"] for own in technique_rows(table)]


def test_what_was_not_asked_for_is_not_measured_rather_than_missing() -> None:
    said = "\n".join(decisions(ComparisonTable(made_records())))
    assert "HE: forecast of encrypted loads (not measured)" in said
    assert "not installed" not in said


@pytest.mark.parametrize(("cost", "beaten"), [(599.0, False), (601.0, True)])
def test_a_model_that_the_week_before_beats_is_not_named_without_it(cost: float, beaten: bool) -> None:
    table = RecordTable(experiment="comparison", data="made", grid="four", protocol="fair", split="test", seed=0)
    table.add("cost", cost, part="utility", task=FORECAST, technique=FEDERATED)
    said = decisions(ComparisonTable(joined([made_records(), table.to_frame()])))[2]
    assert "federated, exact least squares" in said
    assert ("more than by the load of a week before" in said) == beaten


def test_losses_are_those_of_the_same_seed() -> None:
    table = ComparisonTable(made_records())
    lost = table.lost(Row(DP, 1.0), TOTALS, "mape")
    assert lost is not None
    assert (lost.low, lost.high) == (68, 68)
    assert technique_rows(table)[0]["technique"] == "no protection"
    assert [row.name for row in table.week_wins] == [
        "DP of a reading, ε = 0.1",
        "DP of a reading, ε = 1",
    ]


def test_the_page_opens_with_its_answer(tmp_path) -> None:  # type: ignore[no-untyped-def]
    records = made_records()
    assert page(records).said.startswith("It depends on who may see what: totals that nobody may see")
    assert "Which one do I take?" in drawn_page(report, records, tmp_path)
    assert len(summarise(records)) > 8


def test_records_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="run study_comparison first"):
        ComparisonTable(pd.DataFrame({"part": ["x"]}))
