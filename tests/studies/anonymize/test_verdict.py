"""What the page says, from hand-made records alone."""

from pathlib import Path

import pandas as pd
import pytest

from tests.pages import drawn_page, sentences_without_figures
from tests.studies.anonymize.records import made_records
from unlearn.errors import InputError
from unlearn.reporting.verdict import NO, YES
from unlearn.studies.anonymize import report
from unlearn.studies.anonymize.claims import PARTLY, claims
from unlearn.studies.anonymize.rows import (
    differencing_rows,
    label_rows,
    linkage_rows,
    loss_rows,
    network_rows,
    risk_rows,
    step_rows,
    sum_rows,
)
from unlearn.studies.anonymize.table import AnonymizeTable
from unlearn.studies.anonymize.verdict import page, protects, summarise


def answers(**how: float) -> dict[str, str]:
    return {own.subject: own.answer for own in claims(AnonymizeTable(made_records(**how)))}  # type: ignore[arg-type]


def test_a_release_protects_where_neither_a_few_readings_nor_a_day_find_households() -> None:
    table = AnonymizeTable(made_records())
    found = [step for step in table.steps if protects(table, step)]
    assert found == ["weekly", "micro_5", "micro_15", "labels", "suppressed"]
    known = made_records()
    week = known[(known["part"] == "linkage") & (known["known"] == 48)].assign(known=336)
    week.loc[week["step"] == "weekly", ["value", "low", "high"]] = 1.0
    assert not protects(AnonymizeTable(pd.concat([known, week])), "weekly")
    left = AnonymizeTable(made_records(isolating=1))
    assert not protects(left, "suppressed")


def test_the_page_opens_with_the_steps_that_protect_and_their_cost() -> None:
    own = page(made_records())
    assert own.answer.startswith("weekly totals, mean of 5 or more, mean of 15 or more, table of labels and ")
    found = "4 known readings of half an hour find 90 (89 to 91) %"
    for said in (found, "sums with complementary suppression 10.9 % and", "err by 10.5 % (MAPE)"):
        assert said in own.because, own.because


def test_a_name_gives_everybody_away_and_a_sum_holds_no_record() -> None:
    table = AnonymizeTable(made_records())
    assert table.found("raw").mean == 1  # type: ignore[union-attr]
    assert table.found("sums").mean == 0  # type: ignore[union-attr]
    assert table.found("labels") == table.found("labels", 48)
    assert table.added("suppressed").mean == pytest.approx(0.4)  # type: ignore[union-attr]


def test_each_claim_has_an_answer() -> None:
    found = answers()
    assert list(found.values()) == [
        YES, NO, YES, PARTLY, PARTLY, PARTLY, PARTLY, PARTLY, PARTLY, PARTLY, YES, YES, YES, YES,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "claim", "answer"),
    [
        ({"found": 0.01}, "Anonymisation alone", NO),
        ({"found": 0.3}, "Anonymisation alone", PARTLY),
        ({"relinked": 0.02}, "Codes that change", YES),
        ({"relinked": 0.3}, "Codes that change", PARTLY),
        ({"auc": 0.55}, "A sum of 100", YES),
        ({"isolating": 2}, "Aggregation thresholds", NO),
    ],
)
def test_answers_follow_the_numbers(how: dict[str, float], claim: str, answer: str) -> None:
    (own,) = (value for name, value in answers(**how).items() if name.startswith(claim))
    assert own == answer


def test_what_was_not_measured_is_not_claimed() -> None:
    records = made_records()
    few = AnonymizeTable(records[records["part"].isin(["setting", "release"])])
    (only,) = claims(few)
    assert only.subject.startswith("Anonymisation by aggregation preserves")
    assert page(few.records).answer == "none"


def test_tables_hold_what_was_measured() -> None:
    table = AnonymizeTable(made_records())
    steps = step_rows(table)
    assert [row["release"] for row in steps][:2] == ["raw, with names", "pseudonyms"]
    assert steps[1]["found by 4 [%]"] == "90"
    assert steps[-1]["gives away"] == "sums, 20 % withheld"
    assert len(linkage_rows(table)) == 10
    assert sum_rows(table)[-1]["a year"] == "0.90 (0.88 to 0.92)"
    assert [row["that break the rule"] for row in differencing_rows(table)] == ["5", "2", "0"] * 2
    assert risk_rows(table)[-1]["release"] == "control: other households"
    assert loss_rows(table)[1]["lost of years [%]"] == "70"
    assert label_rows(table)[0]["number"] == "90"
    assert network_rows(table)[0]["forecaster"] == "CNN"


@pytest.mark.slow
def test_figures_and_page_are_drawn_from_records_alone(tmp_path: Path) -> None:
    drawn_page(report, made_records(), tmp_path)


@pytest.mark.slow
def test_sentences_need_no_figures() -> None:
    assert "Weekly totals" in sentences_without_figures("anonymize", "records")
    assert len(summarise(made_records())) == 16


def test_records_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="study_anonymize first"):
        AnonymizeTable(made_records().drop(columns="part"))
