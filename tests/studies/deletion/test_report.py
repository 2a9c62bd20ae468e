"""Verdicts, sentences, figure and page of an audited deletion, from records that are written by hand."""

from pathlib import Path

import pandas as pd
import pytest

from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.studies.deletion.report import figure, save, write_page
from unlearn.studies.deletion.verdict import (
    ALIKE,
    PLAIN,
    DeletionTable,
    Model,
    answers,
    model_table,
    page,
    summarise,
)

BUDGETS = (0.0, 0.1, 0.2)


def audited(leak: float = 0.8, original: float = 0.99, forecaster: str = "linear", **common: object) -> pd.DataFrame:
    """Records of an audit in which re-weighting leaks more as λ₁ grows."""
    about = {"experiment": "deletion", "data": "synthetic", "grid": "ieee14", "forecaster": forecaster}
    about |= {"protocol": "fair", "selection": "random", "proportion": 0.25, "seed": 0}
    table = RecordTable(**{**about, **common})
    for metric, value in (("unlearnt_rows", 250), ("remaining_rows", 750), ("columns", 50)):
        table.add(metric, value, "rows")

    def attacked(auc: float, attack: str, **columns: object) -> None:
        for metric in ("auc", "advantage", "precision", "recall", "tpr_at_fpr_0.01"):
            value = auc if metric == "auc" else 0.1
            table.add(metric, value, low=value - 0.05, high=min(value + 0.05, 1.0), attack=attack, **columns)

    aucs = {"original": original, "first_order": 0.7, "unlearnt": 0.5, "retrained": 0.5}
    models = [({"method": method}, auc, 0.0 if auc == 0.5 else 0.1) for method, auc in aucs.items()]
    for criterion in ("mse", "mape", "cost"):
        for budget in BUDGETS:
            columns = {"method": "reweighted", "criterion": criterion, "l1_budget": budget}
            models.append((columns, 0.5 + (leak - 0.5) * budget / 0.2, budget))
    for columns, auc, distance in models:
        for metric in ("mse", "mape", "cost", "p_value", "standard_score", "distance_to_original"):
            table.add(metric, 100 * distance + 1, **columns)
        table.add("distance_to_retrained", distance, **columns)
        if columns["method"] == "retrained":
            continue
        for against in (PLAIN, ALIKE) if columns["method"] == "reweighted" else (PLAIN,):
            for attack in ("loss", "likelihood_ratio", "parameters"):
                attacked(auc, attack, scope="set", against=against, **columns)
            table.add("distance_in_out", distance, against=against, **columns)
            table.add("weights_differ", distance / 10, against=against, **columns)
        if columns["method"] != "reweighted":
            for attack in ("loss", "likelihood_ratio"):
                attacked(0.5 + (auc - 0.5) / 5, attack, scope="row", against=PLAIN, **columns)
    for attack in ("loss", "likelihood_ratio"):
        attacked(0.55, attack, scope="forecaster", method="original")
    attacked(0.9, "parameters", scope="set", method="shadow")
    return table.to_frame()


def answer(records: pd.DataFrame, *model: object) -> str:
    return DeletionTable(records).verdict(Model(*model)).answer  # type: ignore[arg-type]


def test_equal_parameters_are_forgotten_and_traces_are_not() -> None:
    records = audited()
    assert answer(records, "unlearnt") == "yes"
    assert answer(records, "reweighted", "cost", 0.0) == "yes"
    assert answer(records, "first_order") == "no"
    assert answer(records, "reweighted", "cost", 0.2) == "no"


def test_an_attack_that_finds_no_trace_is_not_taken_for_proof() -> None:
    verdict = DeletionTable(audited(leak=0.52)).verdict(Model("reweighted", "mse", 0.2))
    assert verdict.answer == "not clear"
    assert "finds no trace" in verdict.reason


def test_an_attack_that_misses_the_original_says_nothing() -> None:
    records = audited(leak=0.52, original=0.53)
    verdict = DeletionTable(records).verdict(Model("reweighted", "mse", 0.2))
    assert verdict.answer == "not clear"
    assert "not even recognise the original" in verdict.reason
    assert any("no power" in sentence for sentence in summarise(records))


def test_sentences_say_from_where_on_re_weighting_leaks() -> None:
    sentences = summarise(audited())
    assert sentences[0].startswith("Linear forecaster on synthetic: 250 of 1,000 training rows removed (25 %, random;")
    assert any(sentence.startswith("TAMU: leaks from λ₁ = 0.1 on (AUC 0.65 (0.60 to 0.70)") for sentence in sentences)
    quiet = summarise(audited(leak=0.5))
    assert any(sentence.startswith("PAMU MAPE: no leak was measured up to λ₁ = 0.2") for sentence in quiet)


def test_budgets_with_one_answer_are_one_entry() -> None:
    entries = [(entry.subject, entry.answer) for entry in answers(DeletionTable(audited()))]
    assert entries[:2] == [("complete unlearning", "yes"), ("first-order update", "no")]
    assert entries[-2:] == [("TAMU, λ₁ = 0", "yes"), ("TAMU, λ₁ = 0.1 to 0.2", "no")]


def test_every_model_has_a_row() -> None:
    rows = model_table(DeletionTable(audited()))
    assert [row["model"] for row in rows[:4]] == ["original", "first-order update", "complete unlearning", "retrained"]
    assert len(rows) == 4 + 3 * len(BUDGETS)
    assert rows[3]["answer"] == "the rows are out"
    assert rows[0]["answer"] == "Not forgotten"


def test_the_figure_draws_the_records() -> None:
    axes = {axis.get_label(): axis for axis in figure(audited()).axes}
    assert list(axes) == ["recognised", "rows", "scores", "leak", "cost", "distance"]
    assert axes["leak"].get_xlabel() == "λ₁"
    curves = {container.get_label(): container[0].get_ydata() for container in axes["leak"].containers}
    assert curves["TAMU"] == pytest.approx([0.5, 0.65, 0.8])
    drawn = {line.get_label(): line.get_ydata() for line in axes["distance"].get_lines()}
    assert list(drawn["PAMU MSE"]) == list(BUDGETS)
    assert any(label.startswith("first-order update") for label in drawn)


def test_the_page_opens_with_the_answer(tmp_path: Path) -> None:
    records = audited()
    assert page(records).answer == "yes"
    written = read_page(write_page(records, save(records, tmp_path / "deletion"), tmp_path / "index.html"))
    assert_self_contained(written)
    assert written.index(page(records).because) < written.index("<img")
    # Only a network has an extractor, whose training rows no audit covers.
    about = [" ".join(page(audited(forecaster=kind)).limits) for kind in ("linear", "cnn")]
    assert ["extractor" in text for text in about] == [False, True]


def test_records_of_something_else_or_of_two_deletions_are_refused() -> None:
    with pytest.raises(InputError, match="records of one audit, got 2"):
        DeletionTable(pd.concat([audited(), audited(seed=1)]))
    with pytest.raises(InputError, match="records of deletion"):
        DeletionTable(audited(experiment="tradeoff"))
    with pytest.raises(InputError, match="each number once"):
        summarise(pd.concat([audited(), audited()]))
