"""Detectors and thresholds in the tiny mode: files, what is kept, what is refused."""

import inspect
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import thresholds
from experiments.detection import build_detection
from tests.detectors.builders import anomalous_series
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.pages import read_page
from unlearn.detectors import load_detector, make_detector
from unlearn.errors import InputError
from unlearn.households.buildings import BuildingSeries
from unlearn.households.io.sources import InjectionOptions
from unlearn.studies.detection.options import DetectionOptions, ThresholdsOptions
from unlearn.studies.detection.run import DetectionStudy

QUICK = ["variant=tiny", "households.n_households=16", "households.n_days=50"]


def test_detectors_are_compared_and_their_thresholds_tried_without_fitting(
    run: Runner, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*QUICK, f"detection.folder={run.folder / 'kept'}"]
    folder = run("detection", *settings)
    assert "Best F1 of windows" in capsys.readouterr().out
    records = pd.read_parquet(folder / "records.parquet")
    assert set(records["detector"]) == {"level", "gan"}
    assert set(records["level"].dropna()) == {"window", "hour", "event"}
    page = read_page(folder / "index.html")
    assert "data:image/png;base64," in page
    own = folder / "gan" / "seed_0"
    names = {str(file.relative_to(own)) for file in own.rglob("*") if file.is_file()}
    assert names == {
        "training_history.csv",
        "anomaly_detection_results.csv",
        "performance_metrics.csv",
        "anomaly_scores.npz",
        "models/generator.safetensors",
        "models/discriminator.safetensors",
        "models/card.json",
        "images/confusion_matrix.png",
        "images/roc_curve.png",
        "images/time_series.png",
    }
    assert load_detector(own / "models").name == "gan"
    assert len(pd.read_csv(own / "training_history.csv")) == 2
    results = pd.read_csv(own / "anomaly_detection_results.csv")
    assert list(results.columns) == ["building", "start", "score", "prediction", "label"]
    with np.load(own / "anomaly_scores.npz", allow_pickle=False) as file:
        threshold = float(file["threshold_window"])
        np.testing.assert_array_equal(file["test_window_label"], results["label"] == 1)
    np.testing.assert_array_equal(results["prediction"], (results["score"] >= threshold).astype(int))
    f1 = records.query("detector == 'gan' and metric == 'f1' and level == 'window' and split == 'test'")
    hits = 2 * (results["prediction"] * results["label"]).sum()
    expected = hits / (results["prediction"].sum() + results["label"].sum())
    assert f1.set_index("rule")["value"]["best_f1"] == pytest.approx(expected)

    monkeypatch.setattr(DetectionStudy, "_fit", None)  # nothing is fitted from here on
    tried = run("thresholds", f"thresholds.run={folder}")
    swept = pd.read_parquet(tried / "records.parquet")
    again = swept.query("detector == 'gan' and metric == 'f1' and level == 'window' and split == 'test'")
    assert again.set_index("rule")["value"]["best_f1"] == pytest.approx(expected)
    assert set(swept["rule"].dropna()) == {"percentile 90", "percentile 95", "percentile 99", "best_f1"}
    assert 'type="range"' in (tried / "index.html").read_text()

    repeated = pd.concat([judged.records for judged in build_detection(composed("detection", *settings)).judged()])
    one, other = (
        table.drop(columns=["config_hash", "tiny"], errors="ignore").reset_index(drop=True)
        for table in (repeated, records)
    )
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_an_interrupted_run_goes_on_with_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed("detection", *QUICK, "detector=[level,ecod]", f"detection.folder={tmp_path}")
    first = next(build_detection(config).judged())  # stopped after the first detector
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    level, ecod = build_detection(config).judged()
    pd.testing.assert_frame_equal(first.records, level.records)
    assert all(file.stat().st_mtime_ns == then for file, then in before.items())
    assert ecod.archive.detector == "ecod"
    assert json.loads((ecod.folder / "models" / "card.json").read_text())["kind"] == "ecod"


def test_a_training_that_went_on_has_no_time_as_part_of_it_is_not_known(tmp_path: Path) -> None:
    config = composed("detection", *QUICK, "detector=[gan]", f"detection.folder={tmp_path}")
    (whole,) = build_detection(config).judged()
    assert "fit_seconds" in set(whole.records["metric"])
    for kept in ("detectors", "records"):  # as if interrupted after training, before the scores were written
        shutil.rmtree(tmp_path / kept)
    (again,) = build_detection(config).judged()
    assert {"score_seconds", "f1"} <= set(again.records["metric"])
    assert "fit_seconds" not in set(again.records["metric"])
    np.testing.assert_array_equal(again.archive.test_window.score, whole.archive.test_window.score)


def test_readings_of_another_name_are_scored_anew(tmp_path: Path) -> None:
    frame = lead_frame(anomalous_series(8, 30))
    settings = ["variant=tiny", "buildings=lead", f"detection.folder={tmp_path / 'kept'}", "detector=[level]"]
    for name in ("first", "second"):
        frame.to_parquet(tmp_path / f"{name}.parquet")
        (judged,) = build_detection(
            composed("detection", *settings, f"buildings.path={tmp_path / name}.parquet")
        ).judged()
        assert judged.archive.data == name
        assert set(judged.records["data"]) == {name}


def test_scores_of_another_pyod_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = build_detection(composed("detection", *QUICK, f"detection.folder={tmp_path}"))
    found = []
    for installed in ("2.0", "3.0"):
        monkeypatch.setattr(
            "unlearn.store.artefacts.metadata.version", lambda name, own=installed: own if name == "pyod" else "1"
        )
        found.append([run.store.artefact(**run.depends(make_detector(name), 0)).key for name in ("lof", "level")])
    assert found[0][0] != found[1][0]
    assert found[0][1] == found[1][1]


def lead_frame(series: BuildingSeries) -> pd.DataFrame:
    assert series.anomaly is not None
    return pd.DataFrame(
        {
            "timestamp": np.tile(series.hours.astype("datetime64[s]"), len(series)),
            "building_id": np.repeat(np.arange(len(series)), series.n_hours),
            "meter_reading": series.kwh.ravel(),
            "anomaly": series.anomaly.ravel().astype(int),
        }
    )


def test_labelled_buildings_are_read_and_unlabelled_ones_refused(tmp_path: Path) -> None:
    frame = lead_frame(anomalous_series(8, 30))
    frame.to_parquet(tmp_path / "lead.parquet")
    settings = ["variant=tiny", "buildings=lead", f"detection.folder={tmp_path / 'kept'}", "detector=[level]"]
    (judged,) = build_detection(
        composed("detection", *settings, f"buildings.path={tmp_path / 'lead.parquet'}")
    ).judged()
    assert judged.archive.kinds == ()
    assert judged.archive.data == "lead"
    frame.drop(columns="anomaly").to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(InputError, match="expected labelled readings"):
        build_detection(composed("detection", *settings, f"buildings.path={tmp_path / 'bare.parquet'}"))


def test_configured_options_are_those_of_the_library() -> None:
    job = composed("detection")
    options = build_detection(job).options
    names = tuple(detector.name for detector in options.detectors)  # type: ignore[union-attr]
    assert replace(options, detectors=names) == DetectionOptions()
    assert options.detectors == tuple(map(make_detector, names))
    assert composed("thresholds").thresholds == ThresholdsOptions()
    assert job.buildings.injection == InjectionOptions()
    assert not any(detector.needs for detector in map(make_detector, names))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("detector=[]", "at least one, each name once"),
        ("detection.draws=0", r"detection\.draws"),
        ("detection.seeds=[1,1]", r"detection\.seeds"),
        ("detection.rule.kind=magic", r"threshold\.rule"),
        ("detection.division.length=0", r"division\.length"),
        ("detector.gan.inversion.max_iter=0", "max_iter"),
        ("buildings.injection.kinds=[poetry]", r"injection\.kinds"),
    ],
)
def test_a_run_that_cannot_succeed_is_refused_before_anything_is_fitted(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_detection(composed("detection", *QUICK, override))


def test_a_detector_without_its_package_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(InputError, match=r'pip install "unlearn\[anomaly\]"'):
        build_detection(composed("detection", *QUICK, "detector=[level,lof]"))


def test_thresholds_need_a_finished_run(tmp_path: Path) -> None:
    task = inspect.unwrap(thresholds.main)  # without Hydra
    for settings in ([], [f"thresholds.run={tmp_path}"]):
        with pytest.raises(InputError, match="expected the folder of a finished run of detection"):
            task(composed("thresholds", *settings), tmp_path)
