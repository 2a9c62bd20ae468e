"""Attacks on releases in the tiny mode: what is written, kept, drawn together, refused."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from experiments.releases import build_releases
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.generators import FaradayGenerator
from unlearn.studies._shared.attributes import COPIED, OTHERS
from unlearn.studies.leakage import study_leakage

#: Few households, and a cheap attack.
QUICK = [
    "households.n_households=24",
    "households.n_days=40",
    "synthesis.profiles=600",
    "synthesis.folder=kept",
    "leakage.max_profiles=200",
    "attack=[relative_distance]",
    "synthesis.seeds=[0]",
    "leakage.max_released=500",
    "leakage.classifiers=[nearest]",
]


@pytest.mark.slow
def test_attack_runs_goes_on_where_it_stopped_and_says_who_can_tell(
    run: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    faraday = ["generator.vae.epochs=2", "generator.vae.hidden=16", "generator.mixture.n_components=5"]
    faraday += ["leakage.attributes=[segment,ev]", "households.ev_share=0.5"]
    folder = run("leakage", *QUICK, *faraday)
    said = capsys.readouterr().out
    assert "relative distance tells days that were copied" in said
    assert "faraday: Can anybody tell from the release that a household took part?" in said
    assert "faraday: Can anybody tell which implausible households it was trained on?" in said
    records = pd.read_parquet(folder / "records.parquet")
    assert set(records["generator"]) == {"faraday", COPIED, OTHERS}
    assert set(records["experiment"]) == {"leakage"}
    assert records.loc[records["value"].isna(), "note"].notna().all()
    leaks = records[(records["metric"] == "leak") & (records["generator"] == "faraday")]
    assert set(zip(leaks["attribute"], leaks["label"], strict=True)) == {
        ("segment", "released"),
        ("ev", "guessed"),
        ("ev", "released"),
    }
    auc = records[(records["metric"] == "auc") & (records["generator"] == COPIED)]
    assert (auc["value"] >= 0.99).all()
    assert (folder / "leakage.png").stat().st_size > 20_000
    page = read_page(folder / "index.html")
    assert_self_contained(page)

    kept = {file: file.stat().st_mtime_ns for file in Path("kept").rglob("*.parquet")}
    lost = min(Path("kept/leakage").glob("outliers-*"))
    shutil.rmtree(lost)  # as if interrupted
    again = run("leakage", *QUICK, *faraday)
    pd.testing.assert_frame_equal(pd.read_parquet(again / "records.parquet"), records)
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items() if lost not in file.parents)


@pytest.mark.slow
def test_a_sweep_over_generators_is_drawn_together(run: Runner) -> None:
    folder = run.sweep("leakage", *QUICK, "generator=resampled,simulator")
    drawn = run("figures", f"records=[{folder}]")
    page = read_page(drawn / "leakage.html")
    assert "resampled" in page
    assert "simulator" in page
    assert (drawn / "leakage.png").stat().st_size > 20_000


def test_the_overfitting_faraday_never_stops_early_and_has_a_name_of_its_own() -> None:
    generator = composed("leakage", "generator=faraday_overfit").generator
    assert isinstance(generator, FaradayGenerator)
    assert generator.name == "faraday_overfit"
    assert generator.vae.patience == generator.vae.epochs
    assert generator.vae.hidden == 256


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("leakage.third=0", r"leakage\.third"),
        ("leakage.attributes=[shoes]", r"attribute: expected a column of the households"),
        ("leakage.outliers.days=0", r"outliers\.days"),
    ],
)
def test_what_cannot_be_attacked_is_refused_before_anything_is_fitted(override: str, message: str) -> None:
    def attacked() -> None:
        job = composed("leakage", "variant=tiny", override)
        study_leakage(build_releases(job), job.generator, job.leakage)

    with pytest.raises(InputError, match=message):
        attacked()


def test_the_tiny_mode_has_days_for_every_component_of_the_generator() -> None:
    job = composed("leakage", "variant=tiny")
    assert job.leakage.households * job.leakage.days >= job.generator.mixture.n_components
