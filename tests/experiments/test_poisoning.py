"""Poisoned training data in its tiny mode: what is written, kept, reused, refused."""

import re
from pathlib import Path

import pandas as pd
import pytest

from experiments.groups import identity
from experiments.poisoning import measured
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.snapshots.take import smaller
from unlearn.detectors.base import Detector
from unlearn.errors import InputError
from unlearn.studies.poisoning.measure import PoisonedStudy
from unlearn.studies.poisoning.options import PoisoningOptions
from unlearn.studies.poisoning.verdict import page

QUICK = ["poisoning.shares=[0.1]"]


def test_a_run_writes_its_records_figure_and_page_and_goes_on_where_it_stopped(
    run: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run("poisoning", *QUICK)
    said = capsys.readouterr().out
    assert "Linear forecaster on synthetic: 10 % of the hours" in said
    assert "Scaling by −50 %: forecasts cost" in said
    records = records_of(folder)
    assert {"clean", "poisoned", "unlearnt", "reweighted", "detection"} == set(records["method"])
    asked = {"residual", "influence_mse", "influence_cost", "truth", "none", "median", "gan"}
    assert asked | {"clean"} == set(records["detector"].dropna())
    assert (folder / "poisoning.png").stat().st_size > 20_000
    assert f"<h1>{page(records).question}</h1>" in (folder / "index.html").read_text()

    before = {file: file.stat().st_mtime_ns for file in Path("store/poisoning").rglob("*.parquet")}
    assert len(before) == 2 * 8  # attacks, parts
    lost = next(file for file in before if file.parent.name.startswith("residual"))
    lost.unlink()  # as if interrupted
    again = measured(composed("poisoning", *smaller("poisoning"), f"store={run.folder / 'store'}", *QUICK))
    pd.testing.assert_frame_equal(
        *(table.drop(columns=["config_hash", "tiny"], errors="ignore") for table in (again, records))
    )
    after = {file: file.stat().st_mtime_ns for file in Path("store/poisoning").rglob("*.parquet")}
    assert {file: time for file, time in before.items() if file != lost}.items() <= after.items()


def test_parts_of_other_settings_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def detected(_: PoisonedStudy, detector: str | Detector) -> pd.DataFrame:
        name = detector if isinstance(detector, str) else detector.name
        asked.append(name)
        return pd.DataFrame({"metric": [name], "value": [0.0]})

    monkeypatch.setattr(PoisonedStudy, "detected", detected)
    monkeypatch.setattr(PoisonedStudy, "models", lambda _: pd.DataFrame({"metric": ["none"], "value": [0.0]}))
    common = ["variant=tiny", "data.n_hours=600", f"store={tmp_path}"]
    common += ["poisoning.detectors=[residual]", "poisoning.shares=[0.1,0.2]"]
    common += ["poisoning.attacks=[{kind: ramp, strength: -0.5}]"]
    for changed in ([], [], ["poisoning.gan.epochs=2"], ["poisoning.rounds=1"]):
        measured(composed("poisoning", *common, *changed))
    once = ["residual", "median", "gan", "residual", "median"]  # the slow detector at one share
    assert asked == [*once, "gan", *once]


def test_the_configured_options_are_the_librarys_default() -> None:
    assert composed("poisoning").poisoning == PoisoningOptions()


def test_a_gan_that_no_share_asks_for_is_said_to_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PoisonedStudy, "detected", lambda *_: pd.DataFrame({"metric": ["none"], "value": [0.0]}))
    monkeypatch.setattr(PoisonedStudy, "models", lambda _: pd.DataFrame({"metric": ["none"], "value": [0.0]}))
    common = [*smaller("poisoning"), f"store={tmp_path}", "poisoning.seeds=[0]"]
    measured(composed("poisoning", *common, "poisoning.shares=[0.2]", "poisoning.gan.shares=[0.1]"))
    assert "the GAN is left out: none of poisoning.shares is among poisoning.gan.shares [0.1]" in caplog.text
    caplog.clear()
    measured(composed("poisoning", *common, "poisoning.shares=[0.1]", "poisoning.gan.shares=[0.1]"))
    assert "left out" not in caplog.text


def test_where_parts_are_kept_changes_no_result() -> None:
    assert identity(composed("poisoning")) == identity(composed("poisoning", "store=elsewhere"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol=published", "poisoning needs fair"),
        ("poisoning.seeds=[]", "poisoning.seeds: expected at least one"),
        ("poisoning.shares=[0.1,0.1]", "poisoning.shares: expected at least one, each once"),
        ("poisoning.detectors=[tarot]", "poisoning.detectors: expected one of"),
        ("poisoning.anomalies=[tarot]", "detector: expected one of level"),
        ("poisoning.detectors=[truth,truth]", "poisoning.detectors: expected each once"),
        ("poisoning.anomalies=[gan,gan]", "poisoning.anomalies: expected each once"),
        ("poisoning.criteria=[mse,mse]", "poisoning.criteria: expected each once"),
        ("poisoning.l1_budgets=[0.1,0.1]", "poisoning.l1_budgets: expected each once"),
        ("poisoning.tails=[]", "tails: expected at least one"),
        ("poisoning.shares=[1.5]", "poison: share"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path: Path, override: str, message: str) -> None:
    own = [f"store={tmp_path}", "poisoning.shares=[0.1]", override]
    with pytest.raises(InputError, match=re.escape(message)):
        measured(composed("poisoning", *smaller("poisoning"), *own))
    assert not (tmp_path / "poisoning").exists()
