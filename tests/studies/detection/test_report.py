"""What figure, page and sentences say of detectors and thresholds, from records alone."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.studies.detection.report import figure, save, write_page
from unlearn.studies.detection.verdict import detector_table, event_table, page, summarise
from unlearn.studies.thresholds import report as thresholds_report
from unlearn.studies.thresholds.verdict import page as thresholds_page
from unlearn.studies.thresholds.verdict import summarise as summarise_thresholds

RULE = "best_f1"


def records_of(f1: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    """Records with these F1 of windows and hours, a value per seed; other numbers do not matter."""
    table = RecordTable(experiment="detection", data="made up")
    for name, values in f1.items():
        for seed, value in enumerate(values):
            own = {"detector": name, "variant": name, "seed": seed}
            for level in ("window", "hour"):
                at = {**own, "level": level, "split": "test"}
                for metric in ("f1", "precision", "recall", "accuracy", "specificity"):
                    table.add(metric, value, "1", rule=RULE, low=value - 0.05, high=value + 0.05, **at)
                table.add("buildings", 7, "buildings", rule=RULE, **at)
                table.add("f1", value + 0.1, "1", rule="best F1 on test", **at)
                table.add("roc_auc", value, "1", low=value, high=value, **at)
                table.add("pr_auc", value, "1", low=value, high=value, **at)
                table.add("prevalence", 0.25, "1", **at)
                for step in range(5):
                    table.add("recall_at_fpr", step / 4, "1", at=step / 4, level=level, split="test", **own)
                    table.add("precision_at_recall", 1 - step / 5, "1", at=step / 4, level=level, split="test", **own)
            for kind in (None, "spike", "theft"):
                rare = 0.1 if kind == "theft" else value
                event = {**own, "level": "event", "split": "test", "rule": RULE, "kind": kind}
                for metric in ("found_within_24h", "found", "events", "median_delay"):
                    table.add(metric, rare, "1", **event)
                table.add("recall", rare, "1", **{**event, "level": "hour" if kind else "any"})
            for metric in ("fit_seconds", "score_seconds", "few_readings", "constant"):
                table.add(metric, 2.0, "s", **own)
    return table.to_frame()


BEATEN = {"level": (0.7, 0.5, 0.6), "linear": (0.3, 0.3, 0.3), "gan": (0.4, 0.55, 0.4)}
AHEAD = {"level": (0.5, 0.5, 0.5), "gan": (0.7, 0.6, 0.45)}


def test_a_baseline_that_beats_the_gan_is_named() -> None:
    said = "\n".join(summarise(records_of(BEATEN)))
    assert (
        "A baseline beats the GAN-LSTM in F1 of windows, 0.450 in the mean: level (0.600; ahead in 2 of 3 seeds)"
        in said
    )
    assert "judged on 7 buildings that no detector was fitted to" in said  # their scales are their own
    assert "Best F1 of windows: level, 0.600 (0.450 to 0.750)" in said
    # 2 p / (1 + p) with p = 0.25
    assert "No better than flagging every window (F1 0.400): linear forecast." in said
    assert "an F1 higher by 0.100 in the mean" in said
    assert "Kinds of which no detector flags 20 % of the hours: theft (at most 10 %)." in said
    # Quantiles are compared: a few other readings may be among them.
    assert "Left out: 2 buildings with too few readings in training time, 2 of nearly one value only." in said


def test_a_gan_that_is_ahead_is_said_to_be_with_its_seeds() -> None:
    said = "\n".join(summarise(records_of(AHEAD)))
    assert "No baseline beats the GAN-LSTM in F1 of windows, 0.583 in the mean: the next, level" in said
    assert "behind in 2 of 3 seeds" in said
    assert "beats the GAN" not in "\n".join(summarise(records_of({"level": (0.5,)})))


def test_who_flags_everything_is_not_praised_for_finding_events() -> None:
    records = records_of(BEATEN)
    blind = (records["detector"] == "linear") & (records["metric"] == "found_within_24h")
    said = "\n".join(summarise(records.assign(value=records["value"].mask(blind, 0.99))))
    assert "Most events found within a day of their start: level, 0.600" in said


def test_tables_hold_every_detector_and_kind() -> None:
    records = records_of(BEATEN)
    rows = detector_table(records, "window")
    assert [row["detector"] for row in rows] == ["level", "linear forecast", "GAN-LSTM"]
    assert rows[0]["F1"] == "0.600 (0.450 to 0.750)"
    assert {row["kind"] for row in event_table(records)} == {"all", "spike", "theft"}


def test_figure_and_page_are_drawn_from_records(tmp_path: Path) -> None:
    records = records_of(BEATEN)
    written = read_page(write_page(records, save(records, tmp_path / "detection"), tmp_path / "index.html"))
    assert_self_contained(written)
    assert page(records).answer == "yes"
    assert "level, has F1 0.600" in page(records).because
    axes = {axis.get_label(): axis for axis in figure(records).axes}
    assert [text.get_text() for text in axes["f1 window"].get_yticklabels()] == ["level", "linear forecast", "GAN-LSTM"]
    lines = {line.get_label(): line for line in axes["recall_at_fpr"].get_lines()}
    assert list(lines["GAN-LSTM"].get_xdata()) == [0, 0.25, 0.5, 0.75, 1]
    assert axes["kinds"].images[0].get_array().shape == (3, 3)  # detectors; all kinds and each


def threshold_records() -> pd.DataFrame:
    table = RecordTable(experiment="thresholds", data="made up", detector="level", variant="level", seed=0)
    for level in ("window", "hour"):
        for rule, at in (("best_f1", 2.0), ("percentile 90", 1.0)):
            table.add("threshold", at, level=level, rule=rule)
            for split in ("validation", "test"):
                for metric in ("f1", "precision", "recall", "specificity"):
                    table.add(metric, at / 4, "1", level=level, split=split, rule=rule)
        for split in ("validation", "test"):
            own = {"level": level, "split": split}
            table.add("anomalous", 10, "rows", **own)
            table.add("normal", 90, "rows", **own)
            for i, at in enumerate((1 / 3, 1.0, 2.0, 3.0)):
                table.add("flagged_anomalous", (10, 9, 8, 0)[i], "rows", at=at, **own)
                table.add("flagged_normal", (90, 30, 4, 0)[i], "rows", at=at, **own)
    return table.to_frame()


def test_the_slider_has_counts_and_marks_what_validation_chose(tmp_path: Path) -> None:
    records = threshold_records()
    png = thresholds_report.save(records, tmp_path / "t")
    written = read_page(thresholds_report.write_page(records, png, tmp_path / "i.html"))
    found = re.search(r'id="sweeps">(.*?)</script>', written, re.S)
    assert found is not None
    sweeps = json.loads(found.group(1))
    assert [sweep["level"] for sweep in sweeps] == ["window", "hour"]
    assert sweeps[0]["chosen"] == {"best F1 on validation": 2, "percentile 90": 1}
    assert sweeps[0]["test"] == {"tp": [10, 9, 8, 0], "fp": [90, 30, 4, 0], "anomalous": 10, "normal": 90}
    # As they are: at a rounded threshold other rows would be flagged than the page counts.
    assert sweeps[0]["thresholds"] == [1 / 3, 1.0, 2.0, 3.0]
    assert "no result" in written
    assert_self_contained(written)
    assert thresholds_page(records).answer == "no"  # 0.500 on test, and 0.727 at the best threshold there


def test_thresholds_say_what_test_would_pretend() -> None:
    said = summarise_thresholds(threshold_records())
    # 2 · 8 / (8 + 4 + 10)
    assert "level, windows: validation prefers best F1 on validation (F1 0.500), with 0.500 on test" in said[1]
    assert "would pretend 0.727" in said[1]


def test_seeds_may_stand_in_any_order() -> None:
    records = records_of(BEATEN)
    gan = records["detector"] == "gan"
    turned = pd.concat([records[~gan], records[gan][::-1]], ignore_index=True)
    assert summarise(turned) == summarise(records)


def test_records_of_several_settings_are_refused_instead_of_mixed() -> None:
    records, swept = records_of(AHEAD), threshold_records()
    with pytest.raises(InputError, match=r"each number once for every seed, got f1 of level twice"):
        summarise(pd.concat([records, records.assign(value=0.1)]))
    with pytest.raises(InputError, match=r"each number once for every seed, got threshold of level twice"):
        summarise_thresholds(pd.concat([swept, swept.assign(value=0.1)]))
    lost = records.drop(records.index[(records["detector"] == "gan") & (records["seed"] == 1)])
    with pytest.raises(InputError, match=r"same seeds of every detector, got \[0, 2\] of gan and \[0, 1, 2\] of level"):
        summarise(lost)
    for told, table in ((summarise, records), (summarise_thresholds, swept)):
        other = table.assign(data="others", seed=table["seed"] + 5)
        with pytest.raises(InputError, match="one data set, got made up, others"):
            told(pd.concat([table, other]))


def test_records_of_something_else_are_refused() -> None:
    other = pd.DataFrame({"metric": ["mse"], "value": [1.0]})
    with pytest.raises(InputError, match="run detection first"):
        summarise(other)
    with pytest.raises(InputError, match="run thresholds first"):
        summarise_thresholds(other)
