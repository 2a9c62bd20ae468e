"""Scores, their archive, and records beside scikit-learn and slow sums."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tests.detectors.builders import SMALL, anomalous_series, small_division
from unlearn.detectors.base import WindowScores, fit_candidates
from unlearn.detectors.baselines import Seasonal
from unlearn.detectors.metrics import Ranking, ThresholdRule, choose_threshold
from unlearn.detectors.windows import Windows, divide
from unlearn.errors import DataError, InputError
from unlearn.households.injection import inject
from unlearn.households.io.sources import InjectionOptions
from unlearn.studies.detection.archive import LEVELS, SPLITS, ScoreArchive, load_archive, save_archive, score_division
from unlearn.studies.detection.measure import flagged_at, measure_detector, measure_thresholds
from unlearn.studies.detection.options import ThresholdsOptions


@pytest.fixture(scope="module")
def archive() -> ScoreArchive:
    division = small_division()
    return score_division(fit_candidates("seasonal", division.train), division, "seasonal", 0)[0]


@pytest.fixture(scope="module")
def records(archive: ScoreArchive) -> pd.DataFrame:
    return measure_detector(archive, draws=40).to_frame()


def value(records: pd.DataFrame, **wanted: object) -> pd.Series:
    own = records
    for column, one in wanted.items():
        own = own[own[column].isna()] if one is None else own[own[column] == one]
    assert len(own) == 1, wanted
    return own.iloc[0]


class Told:
    """A detector that is told what to say."""

    def __init__(self, name: str, hours: np.ndarray) -> None:
        self.name, self.hours = name, hours
        self.seen: list[int] = []

    def score(self, windows: Windows) -> WindowScores:
        self.seen.append(len(windows))
        own = self.hours[windows.building[:, None], windows.hours]
        return WindowScores(own[:, 0], own)


def test_validation_chooses_candidate_and_reduction_and_test_is_scored_once() -> None:
    division = small_division()
    labels = division.scaled.series.anomaly
    assert labels is not None
    noise = np.random.default_rng(0).random(labels.shape)
    blind, knowing = Told("blind", noise), Told("knowing", labels + 0.9 * noise)
    found, chosen = score_division([blind, knowing], division, "told", 3)
    assert chosen is knowing
    # The highest hour tells all, the first hour does not.
    assert found.variant == "knowing, max over hours"
    assert blind.seen == [len(division.validation)]
    assert knowing.seen == [len(division.validation), len(division.test)]
    assert found.test_window.ranking().roc_auc() == 1.0


def test_hours_are_means_over_windows_without_filled_ones() -> None:
    series = anomalous_series()
    series.kwh[:, 700:702] = np.nan
    division = divide(series, SMALL)
    (detector,) = Seasonal((24,)).fit(division.train)
    found, _ = score_division([detector], division, "seasonal", 0)
    mean = division.test.mean_by_hour(detector.score(division.test).hour)
    hours = found.test_hour
    np.testing.assert_array_equal(hours.score, mean[hours.building, hours.start])
    assert not np.isin(hours.start, [700, 701]).any()
    assert np.isfinite(mean[division.split.test[0], 700])
    np.testing.assert_array_equal(hours.label, series.anomaly[_original(found)[hours.building], hours.start])  # type: ignore[index]
    assert ((hours.kind >= 0) == hours.label).all()


def _original(found: ScoreArchive) -> np.ndarray:
    return np.array([int(name.removeprefix("b")) for name in found.buildings])


def test_metrics_are_those_of_scikit_learn_at_validation_s_threshold(
    archive: ScoreArchive, records: pd.DataFrame
) -> None:
    for level in LEVELS:
        held, test = archive.of("validation", level), archive.of("test", level)
        threshold = choose_threshold(held.score, held.label, ThresholdRule()).value
        assert value(records, metric="threshold", level=level, rule="best_f1")["value"] == threshold
        for split, own in (("validation", held), ("test", test)):
            flagged = own.score >= threshold
            for metric, expected in (
                ("f1", oracle.f1_score(own.label, flagged)),
                ("precision", oracle.precision_score(own.label, flagged)),
                ("recall", oracle.recall_score(own.label, flagged)),
                ("accuracy", oracle.accuracy_score(own.label, flagged)),
                ("specificity", oracle.recall_score(~own.label, ~flagged)),
            ):
                row = value(records, metric=metric, level=level, split=split, rule="best_f1", kind=None)
                assert row["value"] == pytest.approx(expected)
                assert row["low"] <= row["high"]
            area = value(records, metric="roc_auc", level=level, split=split)
            assert area["value"] == pytest.approx(oracle.roc_auc_score(own.label, own.score))
            area = value(records, metric="pr_auc", level=level, split=split)
            assert area["value"] == pytest.approx(oracle.average_precision_score(own.label, own.score))
        unfair = max(oracle.f1_score(test.label, test.score >= t) for t in np.unique(test.score)[::7])
        assert value(records, metric="f1", level=level, split="test", rule="best F1 on test")["value"] >= unfair


def test_curves_are_those_of_scikit_learn(archive: ScoreArchive, records: pd.DataFrame) -> None:
    test = archive.test_window
    fpr, recall, _ = oracle.roc_curve(test.label, test.score, drop_intermediate=False)
    curve = records[(records["metric"] == "recall_at_fpr") & (records["level"] == "window")].set_index("at")["value"]
    np.testing.assert_allclose(curve, np.interp(curve.index, fpr, recall))
    precision, reached, _ = oracle.precision_recall_curve(test.label, test.score)
    curve = records[(records["metric"] == "precision_at_recall") & (records["level"] == "window")]
    for at, found in zip(curve["at"], curve["value"], strict=True):
        best = precision[:-1][reached[:-1] >= at - 1e-9].max()
        assert found == pytest.approx(best)


def test_intervals_come_from_whole_buildings(archive: ScoreArchive) -> None:
    """With one test building, every redraw is the same: no spread, however many windows it has."""
    test = archive.test_window
    one = test.building == test.building[0]
    single = replace(test, **{name: getattr(test, name)[one] for name in ("score", "label", "building", "start")})
    hours = archive.test_hour
    own = hours.building == test.building[0]
    names = ("score", "label", "building", "start", "kind", "kwh")
    few = replace(hours, **{name: getattr(hours, name)[own] for name in names})
    found = measure_detector(
        replace(archive, test_window=replace(single, kind=test.kind[one], kwh=test.kwh[one]), test_hour=few),
        draws=20,
    ).to_frame()
    row = value(found, metric="roc_auc", level="window", split="test")
    assert row["low"] == row["high"] == pytest.approx(row["value"])


def test_recall_of_each_kind_and_events_are_counted(archive: ScoreArchive, records: pd.DataFrame) -> None:
    hours = archive.test_hour
    threshold = value(records, metric="threshold", level="hour", rule="best_f1")["value"]
    for code, kind in enumerate(archive.kinds):
        own = hours.kind == code
        if own.any():
            row = value(records, metric="recall", level="hour", split="test", kind=kind)
            assert row["value"] == pytest.approx((hours.score[own] >= threshold).mean())
    events = records[(records["metric"] == "events") & (records["level"] == "event")]
    assert events[events["kind"].isna()]["value"].item() == events["value"].sum() / 2
    found = value(records, metric="found_within_24h", level="event", kind=None)
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_an_archive_comes_back_as_it_went(archive: ScoreArchive, tmp_path: Path) -> None:
    path = save_archive(archive, tmp_path / "scores.npz", thresholds={"window": 1.5})
    again = load_archive(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert np.isnan(again.test_hour.kwh).all()
    whole = archive.without_readings()
    for name in ("detector", "variant", "seed", "data", "buildings", "kinds", "first_hour", "length"):
        assert getattr(again, name) == getattr(archive, name), name
    for split in SPLITS:
        for level in LEVELS:
            for name, array in vars(whole.of(split, level)).items():
                np.testing.assert_array_equal(getattr(again.of(split, level), name), array)
    with np.load(path, allow_pickle=False) as file:
        assert float(file["threshold_window"]) == 1.5
    assert str(again.hour(np.array([25]))[0]) == "2013-01-02T01"


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_archive(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"text\.npz: expected a file with one checksum .* Run the experiment again"):
        load_archive(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataError, match="expected a file with one checksum"):
        load_archive(tmp_path / "other.npz")


def test_parts_without_anomalies_are_refused() -> None:
    division = small_division()
    only = replace(division, test=division.test.normal())
    with pytest.raises(InputError, match="normal and anomalous windows of test buildings"):
        score_division(fit_candidates("level", division.train), only, "level", 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_flagged_rows_are_counted_at_any_threshold(rows: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    thresholds = np.array([-1.0, 0.0, 0.5, 3.0, 5.0, 6.0])
    tp, fp = flagged_at(Ranking(labels, scores), thresholds)
    for i, threshold in enumerate(thresholds):
        assert tp[i] == (labels & (scores >= threshold)).sum()
        assert fp[i] == (~labels & (scores >= threshold)).sum()


def test_a_sweep_agrees_with_the_metrics_of_its_rules(archive: ScoreArchive, records: pd.DataFrame) -> None:
    rules = (ThresholdRule(), ThresholdRule("percentile", 95))
    found = measure_thresholds(archive, ThresholdsOptions(rules=rules, draws=10, steps=20)).to_frame()
    for level in LEVELS:
        for rule in map(str, rules):
            threshold = value(found, metric="threshold", level=level, rule=rule)["value"]
            for split in SPLITS:
                for swept, counted in (("flagged_anomalous", "tp"), ("flagged_normal", "fp")):
                    at = value(found, metric=swept, level=level, split=split, at=threshold)["value"]
                    assert at == value(found, metric=counted, level=level, split=split, rule=rule)["value"]
        ends = found[(found["metric"] == "flagged_normal") & (found["level"] == level) & (found["split"] == "test")]
        assert ends.sort_values("at")["value"].iloc[[0, -1]].tolist() == [(~archive.of("test", level).label).sum(), 0]
    fair = value(records, metric="f1", level="window", split="test", rule="best_f1")["value"]
    assert value(found, metric="f1", level="window", split="test", rule="best_f1")["value"] == fair
    for wrong in ((), (ThresholdRule(), ThresholdRule())):
        with pytest.raises(InputError, match=r"thresholds\.rules"):
            ThresholdsOptions(rules=wrong)


def test_labels_without_kinds_are_measured_as_events(archive: ScoreArchive) -> None:
    series = replace(anomalous_series(), kind=None, kinds=())
    division = divide(series, SMALL)
    found, _ = score_division(fit_candidates("level", division.train), division, "level", 0)
    records = measure_detector(found, draws=5).to_frame()
    assert records.reindex(columns=["kind"])["kind"].isna().all()
    assert value(records, metric="events", level="event")["value"] > 0


def test_a_detector_that_is_told_the_labels_finds_all_at_once() -> None:
    series = inject(replace(anomalous_series(), anomaly=None, kind=None), InjectionOptions(0.1, ("spike",)), 4)
    division = divide(series, SMALL)
    labels = division.scaled.series.anomaly
    assert labels is not None
    found, _ = score_division([Told("oracle", labels.astype(float))], division, "oracle", 0)
    records = measure_detector(found, draws=5).to_frame()
    for metric in ("f1", "precision", "recall", "specificity"):
        assert value(records, metric=metric, level="hour", split="test", rule="best_f1", kind=None)["value"] == 1
    assert value(records, metric="found_within_24h", level="event", kind=None)["value"] == 1
    assert value(records, metric="median_delay", level="event", kind=None)["value"] == 0
