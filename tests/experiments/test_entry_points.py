"""Every entry point runs in a tiny mode and leaves records, a card and what it promises."""

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.loads import build_study
from experiments.paper_jobs import parts_of
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.pages import read_page
from unlearn.data import make_synthetic
from unlearn.errors import InputError
from unlearn.forecasters import load_forecaster
from unlearn.grid import load_case
from unlearn.records import COLUMNS, read_json
from unlearn.store import Store
from unlearn.studies._shared.study import Study
from unlearn.studies.paper import PaperOptions
from unlearn.studies.paper.run import stage_depends

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = ROOT / "experiments"


def records_of(folder: Path) -> pd.DataFrame:
    records = pd.read_parquet(folder / "records.parquet")
    assert list(records.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert np.isfinite(records["value"]).all()
    card = read_json(folder / "run.json")
    assert set(records["config_hash"]) == {card["config_hash"]}
    assert card["versions"]["torch"]
    return records


def test_entry_points_are_thin() -> None:
    names = ["train", "influence", "unlearn", "tradeoff", "sensitivity", "paper", "figures", "collect", "benchmark"]
    names += ["fidelity", "utility", "leakage", "private_training", "deletion", "poisoning"]
    names += ["full_network", "tuning", "dp_release", "federated", "comparison"]
    lengths = {name: len((ENTRY_POINTS / f"{name}.py").read_text().splitlines()) for name in names}
    assert max(lengths.values()) < 70, lengths


def test_train_saves_a_model_and_its_metrics(run: Runner) -> None:
    folder = run("train", "forecaster=cnn")
    records = records_of(folder)
    assert {"mse", "mape", "cost"} <= set(records["metric"])
    assert (folder / "model" / "model.safetensors").is_file()
    assert read_json(folder / "model" / "card.json")["kind"] == "cnn"


def test_influence_scores_every_training_row(run: Runner) -> None:
    folder = run("influence", "criterion=mse")
    scores = pd.read_parquet(folder / "influence.parquet")
    assert list(scores.columns) == ["row", "time", "influence"]
    assert len(scores) == 420
    records_of(folder)


def test_influence_without_a_criterion_says_what_to_pass(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    composed("unlearn", "criterion=none")  # where there is such a choice
    with pytest.raises(SystemExit):
        run("influence", "criterion=none")
    said = capsys.readouterr()
    assert "criterion: expected one of cost, mape, mse; got 'none'" in said.out + said.err


def test_unlearn_completely_equals_retraining(run: Runner) -> None:
    records = records_of(run("unlearn", "criterion=none")).set_index("metric")
    assert records.loc["distance_to_retrained", "value"] <= 1e-8


def test_unlearn_declares_what_still_depends_on_the_rows(run: Runner) -> None:
    folder = run("unlearn", "criterion=mse", "tuning=none")
    limitations = read_json(folder / "forgotten.json")["limitations"]
    assert any("not complete forgetting" in sentence for sentence in limitations)


def test_lags_are_forgotten_as_asked_for(run):
    month = (
        "criterion=none",
        "unlearning.selection=time_range",
        "unlearning.start=2019-01-08",
        "unlearning.end=2019-01-10",
    )
    complete = {}
    for rule in ("null", "impute", "drop"):
        records = records_of(run("unlearn", *month, "lags.hours=[24]", f"unlearning.lagged={rule}"))
        own = records.set_index(["method", "metric"])
        complete[rule] = bool(own.loc[("unlearnt", "distance_to_retrained"), "complete"])
        assert own.loc[("unlearnt", "distance_to_retrained"), "value"] <= 1e-9
        assert own.loc[("unlearnt", "cost"), "value"] > 0
    assert complete == {"null": False, "impute": True, "drop": True}


def test_unlearn_tunes_what_remains_and_stays_complete(run: Runner) -> None:
    folder = run("unlearn", "criterion=cost")
    said = read_json(folder / "forgotten.json")
    assert said["complete"]
    assert any("tuned with the remaining rows alone" in sentence for sentence in said["limitations"])
    model = load_forecaster(folder / "model")
    assert model.card.tuned["method"]["name"] == "scale"
    records = records_of(folder)
    assert set(records["tuning"]) == {"scale"}
    own = records.set_index(["method", "metric"])["value"]
    untuned = records_of(run("unlearn", "criterion=none")).set_index(["method", "metric"])["value"]
    assert own["unlearnt", "cost"] != untuned["unlearnt", "cost"]
    assert own["original", "cost"] == untuned["original", "cost"]


def test_the_evidence_of_a_deletion_can_be_checked(run: Runner) -> None:
    week = ["unlearning.selection=time_range", "unlearning.start=2019-01-07", "unlearning.end=2019-01-14"]
    for kind in ("linear", "cnn"):
        folder = run("unlearn", "criterion=none", f"forecaster={kind}", *week)
        said = read_json(folder / "forgotten.json")
        asked = [*said["hours"], *said["not_forgotten"]]
        hours = sorted(hour for first, last in asked for hour in pd.date_range(first, last, freq="h"))
        assert hours == list(pd.date_range("2019-01-07", "2019-01-13 23:00", freq="h"))
        assert said["complete"] == (not said["not_forgotten"]) == (kind == "linear")
        assert said["distance_to_retrained"] <= 1e-8
        assert pd.Timestamp(said["when"]).tz is not None
        for model in (said["model_before"], said["model_after"]):
            for name, digest in model["sha256"].items():
                assert hashlib.sha256((Path(model["folder"]) / name).read_bytes()).hexdigest() == digest
        assert said["model_before"]["sha256"] != said["model_after"]["sha256"]
        assert any(f"still lies in {said['model_before']['folder']}" in sentence for sentence in said["limitations"])


WEEK = ["criterion=none", "unlearning.selection=time_range", "unlearning.start=2019-01-07", "unlearning.end=2019-01-14"]


def test_the_model_before_is_deleted_where_asked_for(run: Runner) -> None:
    said = read_json(run("unlearn", *WEEK) / "forgotten.json")
    old = Path(said["model_before"]["folder"])
    assert said["destroyed"] == []
    held = {one["where"] for one in said["still_held"]}
    assert {str(old), "data=synthetic", "unknown"} <= held
    assert said["model_after"]["folder"] not in held

    # What a kill left of a model that was being written counts, too; a generator does not.
    for kept in (Path("results/paper"), Path("store/deletion")):  # by others, earlier
        kept.mkdir(parents=True)
    left = old.with_name(f".{old.name}.killed")
    left.mkdir()
    shutil.copy(old / "model.safetensors", left)
    said = read_json(run("unlearn", *WEEK, "unlearning.destroy_old=true") / "forgotten.json")
    assert not old.exists()
    assert said["destroyed"] == [said["model_before"]]
    assert any("was deleted. Copies and backups" in sentence for sentence in said["limitations"])
    held = {one["where"] for one in said["still_held"]}
    assert str(old) not in held
    assert {str(left), str(Path("results/paper").resolve()), str(Path("store/deletion").resolve())} <= held
    assert (Path(said["model_after"]["folder"]) / "model.safetensors").is_file()


@pytest.mark.parametrize("why", ["file", "link", "changed"])
def test_a_folder_that_is_not_the_model_alone_is_never_deleted(
    run: Runner, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    old = Path(read_json(run("unlearn", *WEEK) / "forgotten.json")["model_before"]["folder"])
    if why == "file":
        (old / "notes.txt").write_text("mine")
    elif why == "link":
        old.rename(old.with_name("elsewhere"))
        old.symlink_to(old.with_name("elsewhere"))
    else:
        measure = Study.measure

        def changing(*args: Any) -> Any:
            (old / "card.json").write_text((old / "card.json").read_text() + " ")
            return measure(*args)

        monkeypatch.setattr(Study, "measure", changing)
    before = {file.name for file in old.iterdir()}
    with pytest.raises(SystemExit):
        run("unlearn", *WEEK, "unlearning.destroy_old=true")
    assert {file.name for file in old.iterdir()} == before


def test_a_sweep_deletes_no_model(run: Runner) -> None:
    with pytest.raises((SystemExit, InputError)):
        run.sweep("unlearn", *WEEK, "unlearning.destroy_old=true")


def test_unlearn_a_time_range_and_a_mask(run: Runner) -> None:
    time_range = ["unlearning.selection=time_range", "unlearning.start=2019-01-02", "unlearning.end=2019-01-04"]
    records = records_of(run("unlearn", "criterion=mape", "tuning=none", *time_range))
    assert records["proportion"].iloc[0] == pytest.approx(48 / 420)
    mask = pd.DataFrame({"poisoned": np.arange(600) < 42})
    mask.to_parquet("mask.parquet")
    records = records_of(
        run("unlearn", "criterion=mape", "tuning=none", "unlearning.selection=mask", "unlearning.mask=mask.parquet")
    )
    assert records["proportion"].iloc[0] == pytest.approx(0.1)


@pytest.mark.parametrize("columns", [["a", "b"], None])
def test_a_mask_file_that_cannot_be_used_is_named(
    run: Runner, capsys: pytest.CaptureFixture[str], columns: list[str] | None
) -> None:
    if columns:
        pd.DataFrame({name: [True] for name in columns}).to_parquet("mask.parquet")
    with pytest.raises(SystemExit):
        run("unlearn", "unlearning.selection=mask", "unlearning.mask=mask.parquet")
    said = capsys.readouterr().out
    assert "mask.parquet" in said
    assert "one boolean column" in said


def test_tradeoff_writes_every_budget_and_criterion(run: Runner) -> None:
    records = records_of(run("tradeoff", "protocol=published"))
    curves = records[(records["method"] == "reweighted") & (records["metric"] == "cost")]
    assert len(curves) == 9
    assert set(records["protocol"]) == {"published"}


def test_sensitivity_covers_the_forecasters_of_the_paper(run: Runner) -> None:
    folder = run("sensitivity")
    assert set(pd.read_parquet(folder / "records.parquet")["forecaster"]) == {"linear", "cnn", "mixer"}
    for kind in ("linear", "cnn", "mixer"):
        samples = pd.read_parquet(folder / f"samples-{kind}.parquet")
        assert {"mse", "mape", "cost", "over_generated", "drawn"} <= set(samples.columns)


def test_the_paper_runs_resumes_and_its_figures_come_from_records(run: Runner) -> None:
    small = ["paper.folder=paper", "forecaster=[linear,cnn]", "paper.protocols=[published]"]
    run("paper", *small)
    names = {"records.parquet", "samples.parquet", "run.json", "index.html"}
    assert names <= {path.name for path in Path("paper").iterdir()}
    for figure in ("fig4", "fig5", "fig6", "fig7", "fig8"):
        assert Path("paper/figures", f"{figure}_published.png").stat().st_size > 10_000
        assert Path("paper/figures", f"{figure}_published.pdf").stat().st_size > 5_000
    first = pd.read_parquet("paper/records.parquet")

    (stage,) = Path("store/paper").rglob("tradeoff-linear-*")
    (kept,) = Path("store/paper").rglob("completeness-linear-*")
    before = kept.stat().st_mtime_ns
    shutil.rmtree(stage)  # as if interrupted
    run("paper", *small)
    assert stage.is_dir()
    assert kept.stat().st_mtime_ns == before
    assert {own["stage"] for own in read_json("paper/run.json")["stages"]} >= {"train", "tradeoff", "sensitivity"}
    second = pd.read_parquet("paper/records.parquet")
    pd.testing.assert_frame_equal(first, second)

    for machine in ("one", "two"):  # the same run, found twice, counts once
        shutil.copytree("paper", Path("shared", machine, "paper"))
    folder = run("figures", "records=[shared]")
    again = (folder / "figures" / "fig6_published.pdf").read_bytes()
    assert again == Path("paper/figures/fig6_published.pdf").read_bytes()


def test_figures_without_records_say_what_to_run(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("figures", "records=[nowhere]")
    assert "figures draw what paper, fidelity, utility and leakage write" in capsys.readouterr().out


def test_stages_depend_on_what_makes_them_and_on_no_list_of_what_else_is_run(tmp_path: Path) -> None:
    def key(*overrides: str, seed: int = 0) -> str:
        job = composed("paper", "variant=tiny", f"store={tmp_path}", "forecaster=[linear]", *overrides)
        own = dataclasses.replace(job, forecaster=job.forecaster["linear"])
        study = build_study(own, job.grid.build(), make_synthetic(n_hours=300, random_state=seed))
        return Store(tmp_path).artefact(**stage_depends(study, job.paper, "tradeoff")).key

    assert key("paper.jobs=2", "threads=2", "paper.folder=elsewhere", "paper.shares=[0.3]") == key()
    assert key("paper.seeds=[0,1]", "forecaster=[linear,cnn]", "paper.protocols=[fair]") == key()
    others = ["seed=1", "grid.bounds=shed_at_most_load", "paper.share=0.2", "paper.l1_budgets=[0]"]
    assert len({key(), key(seed=1), *map(key, others)}) == 6


def test_the_configured_paper_is_the_librarys_default() -> None:
    assert composed("paper").paper == PaperOptions()


def test_a_changed_grid_file_is_not_mistaken_for_the_old_one(tmp_path: Path) -> None:
    text = (ROOT / "grids" / "ieee14.yaml").read_text()
    prices = {}
    for shedding in ("3500", "9000"):
        (tmp_path / "my.yaml").write_text(text.replace("linear: 3500", f"linear: {shedding}"))
        prices[shedding] = load_case(tmp_path / "my.yaml").fingerprint
    assert prices["3500"] != prices["9000"]


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("train", ["protocol=fairr"], "protocol: expected one of fair, published"),
        (
            "unlearn",
            ["unlearning.selection=time_range", "unlearning.start=null", "unlearning.end=null"],
            "unlearning.start",
        ),
        ("unlearn", ["unlearning.loads=[load_1]", "tuning=none"], "unlearning.loads, .form and .lagged"),
        ("unlearn", ["unlearning.l1_budget=0.1"], "tuning=weights tuning.l1_budget=0.1"),
        (
            "paper",
            ["unlearning.selection=mask", "unlearning.mask=m.parquet", "paper.folder=p"],
            "paper sweeps over shares",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_a_model_is_fitted(
    run: Runner, capsys: pytest.CaptureFixture[str], name: str, overrides: list[str], said: str
) -> None:
    with pytest.raises(SystemExit):
        run(name, *overrides)
    assert said in capsys.readouterr().out
    assert not Path(run.folder, "store").exists()


def test_records_say_which_rows_were_forgotten_and_how(run: Runner) -> None:
    time_range = ["unlearning.selection=time_range", "unlearning.start=2019-01-02", "unlearning.end=2019-01-04"]
    records = records_of(run("unlearn", "criterion=none", "unlearning.l1_budget=0", *time_range, "seed=3"))
    assert set(records["selection"]) == {"time_range 2019-01-02 to 2019-01-04"}
    assert set(records["seed"]) == {3}
    assert records["complete"].all()
    records = records_of(run("tradeoff", *time_range, "unlearning.l1_budgets=[0,0.1]"))
    assert records["proportion"].dropna().unique() == pytest.approx([48 / 420])


def test_a_paper_run_over_seeds_is_drawn_with_bands(run: Runner) -> None:
    run("paper", "paper.folder=paper", "forecaster=[linear]", "paper.protocols=[fair]", "paper.seeds=[0,1]")
    records = pd.read_parquet(run.folder / "paper" / "records.parquet")
    assert set(records["seed"]) == {0, 1}
    assert (run.folder / "paper" / "figures" / "spread_linear_fair.png").is_file()
    page = read_page(run.folder / "paper" / "index.html")
    assert "in 2 of 2 runs" in page
    assert "Published numbers" not in page


def test_years_are_refused_where_the_data_has_none(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("paper", "paper.folder=paper", "paper.years=[2004,2005]")
    assert "paper.years: data=synthetic has no years" in capsys.readouterr().out


def test_a_job_keeps_the_seed_of_the_split_unless_the_run_is_over_seeds() -> None:
    linear = ["forecaster=[linear]", "paper.protocols=[fair]", "split.random_state=5"]
    job = composed("paper", *linear, "seed=2")
    (single,) = parts_of(job)
    own = single.of(job)
    assert (own.seed, own.split.random_state) == (2, 5)
    over_seeds = composed("paper", *linear, "paper.seeds=[3,4]")
    seeds = [(own.seed, own.split.random_state) for own in (part.of(over_seeds) for part in parts_of(over_seeds))]
    assert seeds == [(3, 3), (4, 4)]
