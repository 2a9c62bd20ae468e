"""Sweeps: launchers give one table, and the same one; a killed sweep goes on where it stopped."""

from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from tests.experiments.conftest import Runner
from tests.experiments.sweeps import FOUR, MANY, assert_same, cards, kill_after, start, sweep, table
from tests.experiments.test_config import by_hydra
from unlearn.errors import InputError
from unlearn.records import read_json


@pytest.mark.slow
def test_6_jobs_on_all_cores_give_the_table_of_one_process(tmp_path: Path) -> None:
    sweep(tmp_path, "one", *MANY)
    sweep(tmp_path, "all", *MANY, "hydra/launcher=joblib", "store=others")
    expected = table(tmp_path / "one")
    assert len(expected) == 6 * 22
    assert expected["config_hash"].nunique() == len(cards(tmp_path / "all")) == 6
    assert_same(table(tmp_path / "all"), expected)


@pytest.mark.slow
def test_a_killed_sweep_started_again_runs_only_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    kill_after(start(tmp_path, "out", *FOUR), out, 1)
    complete = cards(out)
    assert 1 <= len(complete) < 4
    assert not (out / "table.parquet").exists()
    said = sweep(tmp_path, "out", *FOUR)
    assert said.count("complete already") == len(complete)
    first, again = table(out), cards(out)
    assert len(again) == 4
    assert complete.items() <= again.items()

    lost = min(again)
    lost.unlink()
    said = sweep(tmp_path, "out", *FOUR, "hydra/launcher=joblib")
    assert said.count("complete already") == 3
    last = cards(out)
    assert {card for card in last if last[card] != again[card]} == {lost}
    assert_same(table(out), first)


def test_a_job_that_fails_does_not_stop_the_others(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    # Hydra turns the error into an exit, but not where a tracer is set, as coverage sets one.
    with pytest.raises((SystemExit, InputError)):
        run.sweep("train", "protocol=fairr,fair")
    said = capsys.readouterr()
    assert "expected one of fair, published; got 'fairr'" in said.out + said.err
    (card,) = cards(run.folder / "out")
    assert read_json(card)["config"]["protocol"] == "fair"


def test_a_job_runs_again_when_a_file_it_reads_has_changed(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    mask = ["unlearning.selection=mask", "unlearning.mask=mask.parquet", "criterion=mse", "tuning=none"]
    for n_rows, skipped in ((40, 0), (40, 1), (30, 0)):
        pd.DataFrame({"poisoned": [True] * n_rows + [False] * (600 - n_rows)}).to_parquet("mask.parquet")
        out = run.sweep("unlearn", *mask)
        assert capsys.readouterr().out.count("complete already") == skipped
        assert table(out).index.unique("proportion").tolist() == pytest.approx([n_rows / 420])


def test_sweeps_that_start_in_the_same_second_have_folders_of_their_own() -> None:
    raws = [by_hydra.__wrapped__("train", "hydra.job.name=train", hydra=True) for _ in range(5)]
    for part in ("run", "sweep"):
        folders = [raw.hydra[part].dir for raw in raws]
        assert len(set(folders)) == len(folders)
        assert [raw.hydra[part].dir for raw in raws] == folders  # one sweep has one folder
        assert all(Path(folder).is_absolute() for folder in folders)


def job_folder(program: str, *overrides: str) -> str:
    return by_hydra(program, f"hydra.job.name={program}", *overrides, hydra=True).hydra.sweep.subdir


def test_a_jobs_folder_is_its_experiment_and_configuration() -> None:
    train = job_folder("train")
    assert train.startswith("train-")
    neutral = ["threads=2", "store=elsewhere", "hydra/launcher=joblib", "hydra.sweep.dir=x"]
    assert job_folder("train", *neutral) == train
    assert job_folder("train", "seed=1") != train
    assert job_folder("tradeoff").startswith("tradeoff-")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("shares", {"unlearning.share": "0.05,0.1,0.15,0.2,0.25,0.3"}),
        ("forecasters", {"forecaster": "linear,cnn,mixer"}),
        ("tunings", {"tuning": "scale,affine,quantile,weights,head"}),
        ("seeds", {"seed": "0,1,2", "split.random_state": "${seed}"}),
    ],
)
def test_named_sweeps_turn_multirun_on(name: str, params: dict[str, str]) -> None:
    raw = by_hydra("unlearn", f"sweep={name}", hydra=True)
    assert raw.hydra.mode.name == "MULTIRUN"
    assert OmegaConf.to_container(raw.hydra.sweeper.params, resolve=False) == params
