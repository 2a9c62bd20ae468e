"""Everything of one's own in the library's programs, and a study of one's own as a program: named, not registered."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.experiments.conftest import Runner
from unlearn.records import read_json

HERE = "tests.outside"
HOUSEHOLDS = ["households.n_households=24", "households.n_days=60", "synthesis.seeds=[0]", "synthesis.profiles=300"]

STUDY = """
from dataclasses import dataclass

from experiments.app import experiment
from experiments.endings import Ending, number
from experiments.loads import FORECASTER, build_study


@dataclass(frozen=True)
class PeakOptions:
    share: float = 0.1


@experiment(**FORECASTER, peaks=PeakOptions)
def main(job, folder):
    from experiments.app import write_records

    study = build_study(job)
    hours = study.dataset.load_pu[study.dataset.split.test].sum(axis=1)
    table = study.records("my_peaks")
    table.add("peak", float(sorted(hours)[-int(job.peaks.share * len(hours))]), "pu")
    records = write_records(job, table.to_frame(), folder)
    return Ending([number("Peak", records, metric="peak")] * 3, folder)
"""
CONF = """
defaults:
  - app
  - my_peaks_schema
  - data: synthetic
  - grid: ieee9
  - forecaster: linear
  - _self_

tiny: true
data: {n_hours: 400}
evaluation: {hours: 12}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(tmp_path, monkeypatch)


def records(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "records.parquet")


def test_a_forecaster_is_trained_kept_and_forgets(run: Runner) -> None:
    own = ["forecaster=cnn", f"forecaster._target_={HERE}.test_forecaster.Perceptron", "forecaster.l2=1e-6"]
    folder = run("train", *own)
    assert read_json(folder / "model" / "card.json")["kind"] == "perceptron"
    found = records(run("unlearn", *own, "criterion=none"))
    assert found.set_index("metric")["value"]["distance_to_retrained"] <= 1e-8


def test_a_criterion_scores_rows(run: Runner) -> None:
    folder = run("influence", "criterion=mse", f"criterion._target_={HERE}.test_criterion.Shortfall")
    assert set(records(folder)["criterion"].dropna()) == {"shortfall"}
    assert np.isfinite(pd.read_parquet(folder / "influence.parquet")["influence"]).all()


def test_a_generator_of_a_file_of_ones_own_is_measured(run: Runner) -> None:
    (run.folder / "generator").mkdir()
    (run.folder / "generator" / "blurred.yaml").write_text(
        f"_target_: {HERE}.test_generator.Blurred\nname: softly\nspread: 0.1\n"
    )
    own = [f"hydra.searchpath=[file://{run.folder}]", "generator=blurred", "fidelity.baselines=[]"]
    assert "softly" in set(records(run("fidelity", *own, *HOUSEHOLDS, "fidelity.n_clusters=2"))["generator"])


def test_a_detector_is_compared_with_others(run: Runner) -> None:
    own = ["detector=[level]", "+detector.mine._target_=tests.studies.detection.test_own_detector.Jumps"]
    found = records(run("detection", *own, "households.n_households=16", "households.n_days=50"))
    assert set(found["detector"]) == {"level", "jumps"}


def test_an_attack_is_made_beside_others(run: Runner) -> None:
    own = ["generator=resampled", "attack=[distance]", "leakage.classifiers=[nearest]"]
    own.append("+attack.mine._target_=tests.studies.leakage.test_own_attack.Energy")
    assert {"distance", "energy"} <= set(records(run("leakage", *own, *HOUSEHOLDS))["attack"])


def test_a_study_is_a_program(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings are checked, its run ends with numbers, and its records are gathered, as the library's are."""
    (run.folder / "conf").mkdir()
    (run.folder / "my_peaks.py").write_text(STUDY)
    (run.folder / "conf" / "my_peaks.yaml").write_text(CONF)
    monkeypatch.syspath_prepend(run.folder)
    program = importlib.import_module("my_peaks")
    for out, override in (("one", "peaks.share=0.1"), ("other", "peaks.share=0.5")):
        monkeypatch.setattr(sys, "argv", ["my_peaks", f"hydra.run.dir=out/{out}", override])
        program.main()
    monkeypatch.setattr(sys, "argv", ["my_peaks", "peaks.shore=0.1"])
    with pytest.raises(SystemExit):
        program.main()
    table = pd.read_parquet(run("collect", "records=[out]") / "table.parquet")
    assert set(table["experiment"]) == {"my_peaks"}
    assert table["value"].nunique() == 2
