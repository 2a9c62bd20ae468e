"""Releases, their fidelity and their utility in the tiny mode: what is written, kept, reused, refused."""

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import unlearn
from experiments.jobs import RECORDS, gather
from experiments.releases import build_releases
from experiments.together import draw_together
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.generators import GENERATORS, load_faraday
from unlearn.households import HouseholdProfiles, load_profiles
from unlearn.records import write_parquet
from unlearn.studies._shared.options import SynthesisOptions
from unlearn.studies.fidelity import FidelityStudyOptions
from unlearn.studies.leakage import LeakageStudyOptions
from unlearn.studies.utility import UtilityStudyOptions

#: A generator that is fitted in a second, and few households.
QUICK = [
    "generator.vae.epochs=2",
    "generator.vae.hidden=16",
    "generator.mixture.n_components=5",
    "households.n_households=20",
    "households.n_days=100",
    "synthesis.profiles=600",
    "synthesis.folder=kept",
]


#: Feeders stand beside generators of half-hours in one figure only if all are compared in hours.
IN_HOURS = ["fidelity.baselines=[resampled,shuffled_hours]", "fidelity.hourly=true"]


def kept_files() -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in Path("kept").rglob("*") if file.is_file()}


def test_a_release_is_written_with_its_generator_and_page(run: Runner) -> None:
    folder = run("release", *QUICK)
    release = load_profiles(folder / "profiles.parquet")
    assert len(release) == 600
    assert not isinstance(release, HouseholdProfiles)
    assert set(pd.read_parquet(folder / "profiles.parquet").columns) >= {"month", "day_of_week", "segment", "kwh_00"}
    again = load_faraday(folder / "model").sample(600, 0)
    assert again.fingerprint == release.fingerprint
    records = records_of(folder)
    assert set(records["generator"]) >= {"faraday"}
    page = read_page(folder / "index.html")
    assert_self_contained(page)
    card = json.loads((folder / "run.json").read_text())
    assert card["config"]["generator"]["_target_"].endswith(".FaradayGenerator")
    # What compares it with real households stands beside it, for their owner.
    internal = folder.with_name("release-internal")
    assert stat.S_IMODE(internal.stat().st_mode) == 0o700
    assert internal.name in page
    assert "real" not in set(records["generator"])
    assert "real" in set(pd.read_parquet(internal / "comparison.parquet")["generator"])
    assert {file.name for file in internal.glob("*.log")} == {"release.log"}
    assert not list(folder.rglob("*.log"))


@pytest.mark.slow
def test_a_feeder_writes_its_documented_files(run: Runner) -> None:
    feeder = ["generator=feeder", "generator.num_meters=200", "generator.num_transformers=15", "generator.grid=ieee14"]
    folder = run("release", *[q for q in QUICK if not q.startswith("generator")], *feeder)
    names = {file.name for file in (folder / "feeder").iterdir()}
    assert names >= {"transformers.csv", "meter_consumption.csv", "anomaly_labels.csv", "transformers.geojson"}
    assert len(pd.read_csv(folder / "feeder" / "meter_consumption.csv")) == 200
    release = load_profiles(folder / "profiles.parquet")
    assert release.n_steps == 24
    assert np.asarray(release.segments)[np.unique(release.segment)].tolist() == ["residential"]
    assert "data:image/png;base64," in (folder / "feeder_page" / "index.html").read_text()


@pytest.mark.slow
def test_fidelity_runs_goes_on_where_it_stopped_and_says_which_is_how_near(
    run: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run("fidelity", *QUICK, *IN_HOURS)
    said = capsys.readouterr().out
    assert "resampled: every metric is within 2 x the floor" in said
    assert "shuffled_hours: " in said
    records = pd.read_parquet(folder / "records.parquet")
    assert records.loc[~np.isfinite(records["value"]), "note"].notna().all()
    assert set(records["generator"]) >= {"faraday", "resampled", "shuffled_hours"}
    assert set(records["seed"]) == {0, 1}
    assert set(records["n_steps"]) == {24}
    assert set(records["config_hash"]) == {json.loads((folder / "run.json").read_text())["config_hash"]}
    assert (folder / "fidelity.png").stat().st_size > 20_000
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700, "it holds exact numbers of real households"
    assert "for the owner of that data only" in read_page(folder / "index.html")

    before = kept_files()
    assert len(list(Path("kept/release").iterdir())) == 6
    lost = min(Path("kept/fidelity").iterdir())
    shutil.rmtree(lost)  # as if interrupted
    again = run("fidelity", *QUICK, *IN_HOURS)
    pd.testing.assert_frame_equal(pd.read_parquet(again / "records.parquet"), records)
    after = kept_files()
    assert lost.is_dir()
    assert all(after[file] == then for file, then in before.items() if lost not in file.parents)


@pytest.mark.slow
def test_utility_measures_the_release_beside_real_data(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["grid=ieee9", "utility.forecasters=[linear]", "utility.hours=12", "synthesis.seeds=[0]"]
    folder = run("utility", *QUICK, *settings)
    records = records_of(folder)
    assert set(records["task"]) == {"season", "next_step", "load"}
    assert set(records["generator"]) == {"real", "real redrawn", "faraday", "independent_gaussian", "nothing"}
    assert "faraday" in capsys.readouterr().out
    assert (folder / "utility.png").stat().st_size > 20_000
    assert "data:image/png;base64," in (folder / "index.html").read_text()


def test_a_changed_grid_file_is_measured_anew(run: Runner) -> None:
    settings = ["generator=resampled", "utility.tasks=[load]", "utility.baselines=[]", "utility.forecasters=[linear]"]
    settings += [q for q in QUICK if not q.startswith("generator")]
    settings += ["grid=ieee9", "grid.case=own.yaml", "utility.hours=6", "synthesis.seeds=[0]"]
    case = (Path(unlearn.__file__).parents[1] / "grids" / "ieee9.yaml").read_text()
    cost = []
    for text in (case, case.replace("linear: 25000", "linear: 50000")):
        Path("own.yaml").write_text(text)
        records = records_of(run("utility", *settings))
        cost.append(records[records["metric"] == "shedding_cost"]["value"].max())
    assert 1.2 * cost[0] < cost[1]


def test_simulated_releases_are_of_other_people_than_the_real_ones() -> None:
    releases = build_releases(
        composed("release", "variant=tiny", *QUICK[3:], "generator=simulator", "synthesis.folder=unused")
    )
    assert releases.households.n_households == 20
    division = releases.divide(0)
    ids = [set(part.households["household_id"]) for part in (division.whole_train, division.whole_holdout)]
    assert not ids[0] & ids[1]
    assert len(division.train) < len(division.whole_train)
    # The same days in both: only whole weeks are left out.
    assert set(division.train.days) == set(division.holdout.days)


def test_releases_of_simulated_people_copy_none_of_the_real_ones(tmp_path: Path) -> None:
    config = composed("release", "variant=tiny", *QUICK[3:], "generator=simulator", f"synthesis.folder={tmp_path}")
    releases = build_releases(config)
    release = releases.release(config.generator, releases.divide(0), 0)
    real = {row.tobytes() for row in releases.households.kwh if row.any()}
    assert not real & {row.tobytes() for row in release.kwh}


def test_a_release_depends_on_what_it_was_made_of() -> None:
    def folder(*overrides: str) -> Path:
        config = composed("release", "variant=tiny", *QUICK, *overrides)
        releases = build_releases(config)
        return releases.folder_of(config.generator, releases.divide(0), 0)

    assert folder() == folder("generator.name=another")
    others = ["generator.vae.latent=3", "synthesis.profiles=601", "synthesis.holdout=0.4", "households.random_state=5"]
    assert len({folder(), *(folder(other) for other in others)}) == 5


def test_configured_generators_and_studies_are_the_librarys_defaults() -> None:
    for name in GENERATORS:
        assert composed("release", f"generator={name}").generator == GENERATORS[name]()
    assert composed("fidelity").synthesis == SynthesisOptions()
    assert composed("fidelity").fidelity == FidelityStudyOptions()
    assert composed("utility").utility == UtilityStudyOptions()
    job = composed("leakage")
    assert replace(job.leakage, attacks=tuple(job.attack)) == LeakageStudyOptions()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("synthesis.seeds=[]", "expected at least one seed"),
        ("synthesis.seeds=[1,1]", "each once"),
        ("synthesis.profiles=0", r"synthesis\.profiles"),
        (
            "fidelity.baselines=[poetry]",
            r"fidelity\.baselines: expected one of .*resampled.*; got 'poetry'",
        ),
        ("households.n_households=1", "households"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_fitted(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_releases(composed("fidelity", "variant=tiny", override))


def test_a_file_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"no/meters\.npz"):
        build_releases(composed("release", "households=npz", "households.path=no/meters.npz"))


def test_too_few_profiles_for_the_mixture_are_told(run: Runner) -> None:
    with pytest.raises((SystemExit, InputError)):
        run(
            "fidelity",
            *QUICK[:4],
            "households.n_days=40",
            "households.n_households=2",
            "generator.mixture.n_components=500",
        )


@pytest.mark.slow
def test_a_sweep_over_generators_gives_one_table_and_a_page_for_each_length_of_steps(run: Runner) -> None:
    settings = [q for q in QUICK if not q.startswith("generator")]
    settings += ["fidelity.baselines=[shuffled_hours]", "synthesis.seeds=[0]"]
    folder = run.sweep("fidelity", *settings, "generator=resampled,feeder")
    assert {"resampled", "feeder", "shuffled_hours"} <= set(pd.read_parquet(folder / "table.parquet")["generator"])
    drawn = run("figures", f"records=[{folder}]")
    pages = {file.name: read_page(file) for file in drawn.glob("*.html")}
    assert set(pages) == {"fidelity.html", "fidelity_24_steps.html"}
    assert "feeder" in pages["fidelity_24_steps.html"]
    assert "feeder" not in pages["fidelity.html"]
    assert (drawn / "fidelity.png").stat().st_size > 20_000

    # What several runs measured alike must be alike.
    job = gather([folder])[0]
    records = pd.read_parquet(job / RECORDS)
    records.loc[records["generator"] == "shuffled_hours", "value"] += 0.1
    other = run.folder / "other"
    other.mkdir()
    write_parquet(records, other / RECORDS)
    with pytest.raises(InputError, match=r"with the same households and settings.*of shuffled_hours for seed 0"):
        draw_together([job, other], run.folder)
