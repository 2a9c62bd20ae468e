"""Jobs in folders that machines share: which are complete, which are one, and what a job was made of."""

import logging
import shutil
import stat
from functools import wraps
from pathlib import Path

import pandas as pd
import pytest

from experiments.app import CONF
from experiments.collect import write_table
from experiments.jobs import dependencies, gather, is_complete, written_files
from experiments.loads import MODEL, build_dataset, build_model, kept_model
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from unlearn import fit_linear
from unlearn.errors import DataError, InputError
from unlearn.records import RecordTable, read_json, write_json, write_parquet
from unlearn.store import discard


def job(folder: Path, config_hash: str, hour: int, experiment: str = "train", value: float = 1.0) -> Path:
    """Write what a job that ended at `hour` leaves."""
    table = RecordTable(experiment=experiment, config_hash=config_hash)
    table.add("mse", value)
    write_parquet(table.to_frame(), folder / "records.parquet")
    card = {"config_hash": config_hash, "written_utc": f"2026-01-01T{hour:02}:00:00+00:00"}
    write_json({**card, "files": written_files(folder)}, folder / "run.json")
    (folder / ".hydra").mkdir()
    return folder


def test_jobs_of_all_machines_are_found_at_any_depth(tmp_path: Path) -> None:
    jobs = {job(tmp_path / "here" / "deep" / "a", "a", 1), job(tmp_path / "there" / "b", "b", 1)}
    assert set(gather([tmp_path])) == jobs
    assert gather([tmp_path, tmp_path / "there"]) == sorted(jobs)


def test_of_a_repeated_job_the_newest_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job(tmp_path / "z", "a", 1)
    newest = job(tmp_path / "m", "a", 3)
    job(tmp_path / "a", "a", 2)
    other = job(tmp_path / "other", "a", 1, experiment="influence")  # the same configuration, but another experiment
    with caplog.at_level(logging.INFO):
        assert gather([tmp_path]) == [newest, other]
    assert "2 jobs are repeated ones" in caplog.text


@pytest.mark.parametrize(("folder", "mode"), [(0o755, 0o644), (0o700, 0o600)])
def test_a_table_of_what_is_for_the_owner_is_for_the_owner(tmp_path: Path, folder: int, mode: int) -> None:
    job(tmp_path / "a", "a", 1).chmod(0o755)
    job(tmp_path / "b", "b", 1).chmod(folder)
    write_table([tmp_path], tmp_path)
    assert stat.S_IMODE((tmp_path / "table.parquet").stat().st_mode) == mode


@pytest.mark.parametrize("damage", ["killed", "no card"])
def test_a_job_that_is_not_complete_does_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    complete = job(tmp_path / "old", "a", 1)
    broken = job(tmp_path / "new", "a", 2)
    if damage == "killed":
        (broken / "records.parquet").unlink()
    (broken / "run.json").unlink()
    assert gather([tmp_path]) == [complete]
    assert "not complete" in caplog.text
    assert str(broken) in caplog.text
    assert not is_complete(broken, {"config_hash": "a"})
    assert is_complete(complete, {"config_hash": "a"})
    assert not is_complete(complete, {"config_hash": "b"})


@pytest.mark.parametrize("file", ["run.json", "records.parquet"])
def test_no_table_leaves_a_damaged_job_out(tmp_path: Path, file: str) -> None:
    job(tmp_path / "old", "a", 1)
    broken = job(tmp_path / "new", "b", 2)
    (broken / file).write_bytes((broken / file).read_bytes()[:-9])
    with pytest.raises(DataError, match=f"{broken / file}"):
        gather([tmp_path])
    assert not is_complete(broken, {"config_hash": "b"})


@pytest.mark.parametrize("damage", ["emptied", "missing", "of another job", "samples missing"])
def test_a_job_whose_files_are_not_those_of_its_card_is_not_complete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """An emptied table counted as complete for ever, and a missing one was skipped in silence."""
    one, other = job(tmp_path / "one", "a", 1), job(tmp_path / "other", "b", 1, value=2.0)
    write_parquet(pd.DataFrame({"x": [1.0]}), one / "samples.parquet")
    write_json({**read_json(one / "run.json"), "files": written_files(one)}, one / "run.json")
    assert is_complete(one, {"config_hash": "a"})
    table = one / ("samples.parquet" if damage.startswith("samples") else "records.parquet")
    if damage == "emptied":
        write_parquet(pd.read_parquet(table).iloc[:0], table)
    elif damage == "of another job":
        shutil.copyfile(other / "records.parquet", table)
    else:
        table.unlink()
    assert not is_complete(one, {"config_hash": "a"})
    assert str(table) in caplog.text
    with pytest.raises(DataError, match=rf"{table}: .* Run the job of {one} again, or remove that folder\."):
        gather([tmp_path])


def test_a_sweep_makes_damaged_jobs_again_and_ends_with_an_error_where_its_table_cannot_be_gathered(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run.sweep("train", "seed=0,1")
    whole = pd.read_parquet(out / "table.parquet")
    table = min(out.rglob("records.parquet"))
    table.write_bytes(b"")
    run.sweep("train", "seed=0,1")
    assert len(pd.read_parquet(table)) == len(whole) / 2
    table.write_bytes(b"")
    monkeypatch.setattr("experiments.jobs.is_complete", lambda *_: True)
    with pytest.raises(SystemExit) as ended:
        run.sweep("train", "seed=0,1")
    assert ended.value.code == 1


def test_a_folder_without_jobs_is_named(tmp_path: Path) -> None:
    job(tmp_path / "some", "a", 1)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"expected complete jobs \(records.parquet beside run.json\) in .*none, got"):
        gather([tmp_path / "some", tmp_path / "none"])


def test_what_a_job_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = ["data=tables", "data.load_csv=load", "+data.weather.temperature_c=t.csv", "grid.case=my.yaml"]
    grid = (Path(CONF).parent / "grids" / "ieee14.yaml").read_text()
    (tmp_path / "load").mkdir()
    made = []
    for name, text in (
        ("my.yaml", grid),
        ("my.yaml", grid.replace("linear: 3500", "linear: 9000")),
        ("t.csv", "1"),
        ("t.csv", "2"),
        ("load/day1.csv", "1"),
        ("load/day2.csv", "1"),
    ):
        (tmp_path / name).write_text(text)
        made.append(dependencies(composed("train", *own), "experiments.train"))
    monkeypatch.setattr("experiments.jobs.sources", lambda *_: "edited")
    made.append(dependencies(composed("train", *own), "experiments.train"))
    assert len(set(made)) == len(made)


def test_a_job_does_not_depend_on_what_changes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = dependencies(composed("train"), "experiments.train")
    for name in ("results/store/forecaster", "results/paper"):
        (tmp_path / name).mkdir(parents=True)
    other = composed("train", "threads=2", "store=results/store")
    assert dependencies(other, "experiments.train") == found


def test_one_table_of_two_machines(run: Runner) -> None:
    shared = run.folder / "shared"
    for machine in ("one", "two"):
        shutil.move(run("train"), shared / machine)
    shutil.move(run("train", "seed=1"), shared / "three")
    table = pd.read_parquet(run("collect", f"records=[{shared}]") / "table.parquet")
    assert len(table) == 2 * table["metric"].nunique()
    assert sorted(table["seed"].unique()) == [0, 1]


def test_the_model_that_was_saved_first_is_the_one_that_all_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed("train", "variant=tiny", "data.n_hours=300", f"store={tmp_path}")
    dataset = build_dataset(config, config.grid.build())
    first = fit_linear(dataset, l2=1.0)

    @wraps(fit_linear)  # from the same module: the same key
    def overtaken(*arguments: object) -> object:
        """While this job fits, another one saves."""
        monkeypatch.undo()
        monkeypatch.setattr("unlearn.forecasters.linear.fit_linear", wraps(fit)(lambda *_: first))
        build_model(config, dataset)
        return fit(*arguments)

    fit = fit_linear
    build_model(config, dataset)
    folder = kept_model(config, dataset).folder
    discard(folder)
    monkeypatch.setattr("unlearn.forecasters.linear.fit_linear", overtaken)
    model = build_model(config, dataset)
    assert (model.theta == first.theta).all()
    assert list(folder.parent.iterdir()) == [folder]


def test_half_a_model_is_fitted_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = composed("train", "variant=tiny", "data.n_hours=300", f"store={tmp_path}")
    dataset = build_dataset(config, config.grid.build())
    build_model(config, dataset)
    card = kept_model(config, dataset).folder / MODEL / "card.json"
    card.unlink()
    build_model(config, dataset)
    assert card.is_file()
    assert str(card) in caplog.text
