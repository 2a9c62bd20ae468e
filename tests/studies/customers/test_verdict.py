"""What the page says, from hand-made records alone."""

from pathlib import Path

import pytest

from tests.pages import drawn_page, sentences_without_figures
from tests.studies.customers.records import made_records
from unlearn.errors import InputError
from unlearn.reporting.verdict import NO, UNCLEAR, YES
from unlearn.studies.customers import report
from unlearn.studies.customers.rows import (
    choice_rows,
    cost_rows,
    forecaster_rows,
    refusal_rows,
    segment_rows,
    worth_rows,
)
from unlearn.studies.customers.table import CustomersTable
from unlearn.studies.customers.verdict import forgotten_wholly, page, privacy_answers, summarise


def test_numbers_are_of_the_same_seed() -> None:
    table = CustomersTable(made_records())
    added = table.added("objects", relative=False)
    assert added is not None
    assert (added.mean, added.sd, added.n) == (60, 0, 2)
    relative = table.added("objects")
    assert relative is not None
    assert relative.mean == pytest.approx((60 + 100 * 60 / 110) / 2)
    stale = table.added("leaves", against="stale", relative=False)
    assert stale is not None
    assert stale.mean == 10
    assert table.added("rescale") is None
    assert table.always_worst("class_mean") == 3
    worst = table.worst_share("class_mean")
    assert worst is not None
    assert worst.mean == pytest.approx(0.95)


def test_the_page_opens_with_an_answer_in_numbers() -> None:
    own = page(made_records())
    assert own.answer == YES
    for said in ("2 of 40 customers (5 %)", "+57.3 ± 3.9 %", "+9.55 ± 0.64 %", "3 of 4 buses pay 95", "10.5 money/h",
                 "4.5 money/h"):  # fmt: skip
        assert said in own.because, own.because


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        ({}, YES),
        ({"complete": 0.0}, NO),
        ({"told": 0.7}, NO),
        ({"audited": False}, UNCLEAR),
    ],
)
def test_wholly_is_what_was_shown_and_attacked(how: dict[str, float], answer: str) -> None:
    table = CustomersTable(made_records(**how))  # type: ignore[arg-type]
    assert forgotten_wholly(table).answer == answer
    assert page(table.records).answer == answer


def test_an_attack_that_finds_nobody_anywhere_shows_nothing() -> None:
    answers = {own.subject: own.answer for own in privacy_answers(CustomersTable(made_records(control=0.52)))}
    assert answers["Can an attacker tell that a forgotten customer was there?"] == UNCLEAR


def test_a_privacy_officer_learns_of_attacks_groups_and_what_remains() -> None:
    records = made_records()
    found = {own.subject: own for own in privacy_answers(CustomersTable(records))}
    assert found["Can an attacker tell that a forgotten customer was there?"].answer == NO
    assert found["Does every bus meet the 15/15 rule?"].answer == NO
    assert "The readings still lie there." in str([list(block.points) for block in page(records).blocks])
    (refused,) = refusal_rows(CustomersTable(records))
    assert refused["why"] == "expected at least 15 members"


def test_tables_hold_what_was_measured() -> None:
    table = CustomersTable(made_records())
    assert [row["request"] for row in cost_rows(table)][:2] == ["leaves, 5 %", "leaves, 50 %"]
    (objects, filled) = segment_rows(table)
    assert objects["largest / mean"] == "1.5"
    assert filled["objectors pay [%]"].startswith("20")
    assert {row["removed"] for row in choice_rows(table)} == {"random"}
    (linear,) = forecaster_rows(table)
    assert (linear["forecaster"], linear["complete"]) == ("Linear", "12 of 12")
    assert "within 0.1 %" in str([block.note for block in page(table.records).blocks])
    model = worth_rows(table)[0]
    assert (model["median"], model["negative"], model["Spearman with load"]) == ("10.5", "0 %", "1.00")


def test_figures_and_page_are_drawn_from_records_alone(tmp_path: Path) -> None:
    written = drawn_page(report, made_records(), tmp_path)
    assert written.count('alt="Change of the cost of forecast errors over the share') == 1


def test_sentences_need_no_figures() -> None:
    assert "Yes: 2 of 40 customers" in sentences_without_figures("customers", "records")
    assert summarise(made_records())[1].startswith("Yes: ")


def test_records_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="study_customers first"):
        CustomersTable(made_records().drop(columns="part"))
