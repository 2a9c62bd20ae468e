"""Verdicts on leakage, from records that were made up so that the answers are known; figure and page."""

from pathlib import Path

import pandas as pd
import pytest

from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.studies._shared.attributes import COPIED, OTHERS
from unlearn.studies.leakage.report import figure, save, write_page
from unlearn.studies.leakage.verdict import attack_table, calibration, findings, headline_attack, page, summarise

AUC = {COPIED: {"distance": 0.995, "density": 0.6}, OTHERS: {"distance": 0.5, "density": 0.5}}


def records(
    auc: dict[str, float], other: float = 0.5, p_value: float = 0.5, passed: bool = True, leak_low: float = -0.1
) -> pd.DataFrame:
    """Two seeds of a generator `ours` with these AUCs, beside the releases whose leakage is known."""
    table = RecordTable(experiment="attack", data="made up")
    every = {"ours": auc, COPIED: AUC[COPIED], OTHERS: {"distance": other, "density": 0.5}}
    for seed in (0, 1):
        for name, values in every.items():
            own = {"generator": name, "seed": seed}
            for attack, value in values.items():
                for unit in ("profile", "household"):
                    columns = {"attack": attack, "unit_attacked": unit, "n": 50, "n_others": 50, **own}
                    table.add("auc", value, "1", low=value - 0.03, high=value + 0.03, **columns)
                    table.add("tpr_at_fpr_0.01", 0.02, "1", low=0.0, high=0.1, **columns)
                    table.add("tpr_at_fpr_0.001", float("nan"), "1", note="too few", **columns)
            for draw in range(2):
                table.add("permutation_p_value", p_value, "1", draw=draw, attack="reconstruction", **own)
                table.add("closer", 0.5, "1", draw=draw, attack="reconstruction", **own)
            for against in ("train", "holdout"):
                for metric in ("exact_copies", "near_copies"):
                    table.add(metric, 0.0, "1", against=against, attack="similarity", **own)
            note = "" if passed else "Copies."
            table.add("passed", float(passed), "1", attack="similarity", note=note, **own)
            columns = {"attribute": "segment", "label": "released", "classifier": "trees", **own}
            table.add("leak", 0.1, "1", low=leak_low, high=0.3, attacked="train", **columns)
            table.add("gain", 0.1, "1", low=-0.1, high=0.3, attacked="train", **columns)
            table.add("gain", 0.0, "1", low=-0.1, high=0.1, attacked="holdout", **columns)
    outliers = {"generator": "ours", "seed": 0, "unit_attacked": "outlier household"}
    for against, value in (("unseen", 0.9), ("unseen_other", 0.95)):
        table.add(
            "auc", value, "1", low=0.8, high=1.0, attack="distance", against=against, n=20, n_others=20, **outliers
        )
    for name in ("seen", "unseen", "unseen_other"):
        for ratio in (0.0, 0.5, 1.0):
            table.add("compromised", ratio, "1", low=ratio, high=ratio, outliers=name, ratio=ratio, n=20, **outliers)
    return table.to_frame()


def answers(table: pd.DataFrame) -> list[str]:
    return [found.answer for found in findings(table)]


def test_the_headline_attack_is_the_one_that_finds_copies() -> None:
    assert headline_attack(records({"distance": 0.5, "density": 0.9})) == "distance"
    said = calibration(records({"distance": 0.5, "density": 0.5}))
    assert said.startswith("The attacks work: of the two, distance")
    assert "0.500 in the mean (a mean within 0.45 to 0.55 and no interval without 0.5 count as working" in said
    misled = calibration(records({"distance": 0.5, "density": 0.5}, other=0.58))
    assert "not shown to work" in misled
    assert "0.580 in the mean (a mean within 0.45 to 0.55" in misled
    alone = records({"distance": 0.5, "density": 0.5})
    assert "No releases whose leakage is known" in calibration(alone[alone["generator"] == "ours"])


def test_answers_follow_intervals() -> None:
    assert answers(records({"distance": 0.5, "density": 0.5})) == ["no", "no", "no", "yes", "no"]
    assert answers(records({"distance": 0.6, "density": 0.5}))[0] == "yes"
    assert answers(records({"distance": 0.5, "density": 0.5}, leak_low=0.05))[4] == "yes"
    # What another attack finds is told, and changes no verdict.
    other = findings(records({"distance": 0.5, "density": 0.6}))[0]
    assert other.answer == "no"
    assert "Of the other attacks 4 of 4 do" in other.reason
    leaking = records({"distance": 0.6, "density": 0.5}, p_value=0.01, passed=False)
    assert answers(leaking)[:3] == ["yes", "yes", "yes"]
    # One seed of two: not clear.
    one = records({"distance": 0.6, "density": 0.5})
    chosen = (one["generator"] == "ours") & (one["seed"] == 1) & (one["unit_attacked"].isin(["profile", "household"]))
    one.loc[chosen, "low"] = 0.4
    assert answers(one)[0] == "not clear"


def test_figure_and_page_come_from_records_alone(tmp_path: Path) -> None:
    table = records({"distance": 0.6, "density": 0.5})
    written = read_page(write_page(table, save(table, tmp_path / "leakage"), tmp_path / "index.html"))
    assert_self_contained(written)
    assert page(table).answer == "yes"
    assert '<span class="bad">Yes</span>' in written  # a leak is bad news
    axes = {axis.get_label(): axis for axis in figure(table).axes}
    assert [text.get_text() for text in axes["profile"].get_yticklabels()] == ["distance", "density"]
    assert len(axes["profile"].containers) == 2 * 2 * 3  # attacks, seeds, releases
    assert axes["curve"].get_legend().get_texts()[0].get_text() == "trained on"
    for sentence in summarise(table)[1:]:
        assert sentence.startswith("ours: ")
    rows = attack_table(table)
    assert rows[0]["AUC"] == "0.600 [0.570, 0.630]"
    assert rows[0]["TPR at 0.1 % FPR"] == "too few"
    # A generator that was not fitted with outliers, such as a feeder's, has none.
    without = table[table["unit_attacked"] != "outlier household"].dropna(axis=1, how="all")
    assert len(findings(without)) == 4
    notes = {text.get_text() for axis in figure(without).axes for text in axis.texts}
    assert "no generator was fitted with outliers" in notes


def test_records_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="leakage: expected records with the metric auc"):
        summarise(RecordTable(generator="x").to_frame())
