"""What the page says, from hand-made records alone."""

from pathlib import Path

import pytest

from tests.pages import drawn_page, sentences_without_figures
from tests.studies.dp_release.made import made_records
from unlearn.errors import InputError
from unlearn.records import joined
from unlearn.reporting.verdict import NO, UNCLEAR, YES
from unlearn.studies.dp_release import report
from unlearn.studies.dp_release.claims import CLAIMS, PARTLY, claims, rounded
from unlearn.studies.dp_release.rows import audit_rows, composition_rows, homes_rows, utility_rows
from unlearn.studies.dp_release.table import DpReleaseTable
from unlearn.studies.dp_release.verdict import CURVES, NOTHING, TOTALS, page, publishable, summarise


def test_every_claim_is_answered_with_a_number() -> None:
    found = claims(DpReleaseTable(made_records()))
    assert [own.subject for own in found] == list(CLAIMS)
    assert all(any(letter.isdigit() for letter in own.reason) for own in found)
    by = {own.subject.split()[0]: own for own in found}
    assert by["Noise"].answer == PARTLY  # the last of both, of the total load
    answers = {own.subject: (own.answer, own.reason) for own in found}
    for said, answer, reason in (
        ("standard deviation of about 10", NO, "14.1 kWh"),
        ("within ±10 kWh", PARTLY, "63 %"),
        ("24 hourly totals", YES, "12 added up, 12 by advanced and 15 by concentrated"),
        ("below 1 %", PARTLY, "300,000 homes where a home is protected"),
        ("many aggregate patterns", PARTLY, "500 % where a home is protected"),
        ("futile", YES, "1,200 %"),
        ("Local differential privacy", YES, "15.8 times"),
        ("post-processing", YES, "300 % to 250 % of the mean, 150 %"),
        ("fictitious", PARTLY, "30 %"),
        ("count of homes", YES, "73 %"),
        ("peak", PARTLY, "1,000 homes ε = 0.33. In runs 95.0 to 95.0 %"),
        ("rigorous", YES, "3 of 3 releases"),
    ):
        (own,) = [value for claim, value in answers.items() if said in claim]
        assert own[0] == answer, (said, own)
        assert reason in own[1], own


@pytest.mark.parametrize(
    ("how", "answer", "rigorous"),
    [
        ({}, TOTALS, YES),
        ({"feeder_error": 1e-6}, CURVES, YES),
        ({"audited": 1.1}, NOTHING, NO),
        ({"caught": 0.5}, TOTALS, UNCLEAR),
    ],
)
def test_the_answer_follows_errors_and_audits(how: dict[str, float], answer: str, rigorous: str) -> None:
    records = made_records(**how)
    assert publishable(DpReleaseTable(records)) == answer
    assert claims(DpReleaseTable(records))[-1].answer == rigorous


def test_the_page_opens_with_numbers() -> None:
    own = page(made_records())
    assert own.answer == TOTALS
    for said in ("1 % of 1,200 homes", "60 % of a feeder of 18", "300,000 where a home",
                 "worse than the load of a week", "3 of 3 broken releases are caught"):  # fmt: skip
        assert said in own.because, own.because


def test_the_mechanism_that_takes_fewer_homes_counts() -> None:
    table = DpReleaseTable(made_records())
    assert table.mechanism("household", "year", 1.0) == "discrete_laplace"
    assert table.homes("household", "year", 1.0) == 300_000
    assert table.main_homes("hour") == 1200
    assert table.largest_share == 0.9


def test_tables_hold_what_was_measured() -> None:
    table = DpReleaseTable(made_records())
    assert homes_rows(table)[-1]["1 %, pure ε"] == "300,000 (900,000)"
    assert homes_rows(table)[-1]["measured"] == "1.01 %"
    assert [row["promise broken"] for row in audit_rows(table)] == ["no"] * 6 + ["yes"] * 3
    assert composition_rows(table)[0] == {"answers": "24", "added up": "12", "advanced": "12", "concentrated": "15"}
    first = utility_rows(table, 1.0)[0]
    assert (first["learnt from"], first["MAPE [%]"], first["against true loads"]) == ("true loads", "15.7", "+0.0 %")
    assert len(utility_rows(table, 1.0)) == 12
    assert rounded(1193) == "1,200"
    assert rounded(float("nan")) == "–"


@pytest.mark.slow
def test_figures_and_page_are_drawn_from_records_alone(tmp_path: Path) -> None:
    drawn_page(report, made_records(), tmp_path)


def test_parts_that_were_not_measured_are_left_out() -> None:
    records = made_records()
    few = joined([records[records["part"].isin(["setting", "composition"])]])
    assert [own.subject[:2] for own in claims(DpReleaseTable(few))] == ["24"]
    assert [block.title for block in page(few).blocks if block] == ["What the literature says", "Several answers"]


@pytest.mark.slow
def test_sentences_need_no_figures() -> None:
    assert "Totals of many homes" in sentences_without_figures("dp_release", "made")
    assert summarise(made_records())[0].startswith("250 homes of made")


def test_records_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="study_dp_release first"):
        DpReleaseTable(made_records().drop(columns="part"))
    with pytest.raises(InputError, match="metric main_epsilon"):
        DpReleaseTable(made_records().query("part != 'setting'"))
