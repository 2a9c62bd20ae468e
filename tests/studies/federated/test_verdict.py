"""What the page says, from hand-made records alone."""

from pathlib import Path

import pandas as pd
import pytest

from tests.pages import drawn_page, sentences_without_figures
from tests.studies.federated.made import made_records
from unlearn.errors import InputError
from unlearn.reporting.verdict import NO, UNCLEAR, YES
from unlearn.studies.federated import report
from unlearn.studies.federated.claims import PARTLY, claims
from unlearn.studies.federated.rows import (
    averaging_rows,
    difference_rows,
    exact_rows,
    inversion_rows,
    pilot_rows,
    spent_rows,
    traffic_rows,
    unlearning_rows,
    wrong_rows,
)
from unlearn.studies.federated.table import FederatedTable
from unlearn.studies.federated.verdict import page, summarise


def answers(**how: float) -> dict[str, str]:
    return {own.subject: own.answer for own in claims(FederatedTable(made_records(**how)))}  # type: ignore[arg-type]


def test_the_page_opens_with_its_answer_and_the_three_numbers() -> None:
    own = page(made_records())
    assert own.answer == YES
    for said in (
        "pooled model to 1e-12",
        "never-joined model to 1e-12",
        "against pooled training: MSE +0 %",
        "0.1 times the error",
    ):
        assert said in own.because, own.because
    assert page(made_records(distance=1e-6)).answer == NO


def test_each_claim_has_an_answer() -> None:
    assert list(answers().values()) == [
        YES, YES, YES, YES, NO, YES, YES, YES, YES, PARTLY, YES, NO, YES, PARTLY, YES,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "claim", "answer"),
    [
        ({"distance": 1e-7}, "The parties train together", NO),
        ({"distance": 1e-7}, "Exact subtraction", NO),
        ({"together": 1.0}, "A single model", NO),
        ({"averaged": 1.2}, "Averaged weights", NO),
        ({"single": 0.5}, "Because each update", PARTLY),
        ({"summed": 0.2}, "The coordinator only sees", NO),
        ({"noisy": 0.3}, "Noise limits", NO),
        ({"right": 3.5}, "Client-side noise", NO),
        ({"scaled": 1.0}, "A malicious client", NO),
        ({"robust": 2.0}, "Robust aggregation", NO),
        ({"alone_customer": 0.92}, "Leakage of the global model", YES),
        ({"rolled": 0.5}, "Rolling back", NO),
        ({"seen": 1}, "Nobody's sums", NO),
    ],
)
def test_answers_follow_the_numbers(how: dict[str, float], claim: str, answer: str) -> None:
    (own,) = (value for name, value in answers(**how).items() if name.startswith(claim))
    assert own == answer


def test_what_was_not_measured_is_not_claimed() -> None:
    records = made_records()
    few = records[records["part"] == "setting"]
    assert claims(FederatedTable(few)) == []
    assert page(few).answer == UNCLEAR


def test_numbers_are_compared_seed_by_seed() -> None:
    table = FederatedTable(made_records(averaged=1.1))
    gap = table.to_pooled("mse")
    assert gap is not None
    assert gap.mean == pytest.approx(10)
    found = table.under("scaled", "mean")
    assert found is not None
    assert found.mean == pytest.approx(5)
    assert table.spent("naive", 3) == 4
    assert table.exact_distance == 1e-12


def test_tables_hold_what_was_measured() -> None:
    table = FederatedTable(made_records())
    assert [row["fitted"] for row in exact_rows(table)][:2] == ["federated, one secure sum", "pooled"]
    assert exact_rows(table)[0]["sent"] == "2 MB"
    assert len(unlearning_rows(table)) == 24
    assert [row["trained"] for row in averaging_rows(table)][-1] == "linear, one secure sum"
    assert wrong_rows(table)[0]["MSE, a scaled update [times]"] == "5"
    assert [row["members left in each round"] for row in spent_rows(table)] == ["5", "4", "3"]
    assert {row["classifier"] for row in pilot_rows(table)} >= {"private gradient descent, ε = 1", "pooled"}
    assert inversion_rows(table)[-1]["seen"] == "with noise, 0.1 of the norm"
    assert traffic_rows(table)[0]["received"] == "2 MB"
    assert difference_rows(table)[0]["customers that leave together"] == "1"


@pytest.mark.slow
def test_figures_and_page_are_drawn_from_records_alone(tmp_path: Path) -> None:
    drawn_page(report, made_records(), tmp_path)


@pytest.mark.slow
def test_sentences_need_no_figures() -> None:
    assert "250 households of made" in sentences_without_figures("federated", "made")
    assert len(summarise(made_records())) == 17


def test_records_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="study_federated first"):
        FederatedTable(made_records().drop(columns="part"))
    records = made_records()
    with pytest.raises(InputError, match="utilities"):
        FederatedTable(records[records["part"] != "setting"])


def test_a_page_of_records_with_empty_columns_stands() -> None:
    records = made_records()
    own = pd.concat([records[records["part"].isin(["setting", "exact"])]])
    assert page(own).answer == YES
