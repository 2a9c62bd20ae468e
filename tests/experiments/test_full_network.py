"""The full-network study in its tiny mode: what it writes, how it goes on, what it refuses."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.app import Job
from experiments.full_network import build_full_network
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import read_page
from tests.snapshots.take import smaller
from unlearn.errors import InputError
from unlearn.studies.full_network import FullNetworkOptions

#: Three loads instead of fourteen: a network of 4,000 parameters.
TINY = [
    "grid=ieee9",
    "full_network.conditions=[100]",
    "full_network.shares=[0.2]",
    "full_network.subsets=3",
    "full_network.blocks=1",
    "full_network.selection_condition=10",
    "full_network.hessian_conditions=[10]",
    "full_network.training.epochs=1",
]


def job(*overrides: str) -> Job:
    return composed("full_network", *smaller("full_network"), *TINY, *overrides)


@pytest.mark.slow
def test_the_study_runs_goes_on_where_it_stopped_and_tells_what_it_found(run: Runner) -> None:
    folder = run("full_network", *TINY)
    records = records_of(folder)
    assert set(records["metric"]) >= {"true_change", "predicted_change", "distance_to_refit", "spearman", "lds"}
    assert set(records["method"].dropna()) == {"control", "head", "gauss_newton", "hessian", "other seeds"}
    assert set(records["seed"].dropna()) == {0, 1}
    exact = records[(records["metric"] == "distance_to_refit") & (records["truth"] == "exact")]["value"]
    assert exact.max() < 1e-6
    # What the kept networks and groups say is what the page says.
    assert "The head alone: the Newton step is exact" in (folder / "summary.md").read_text()
    page = read_page(folder / "index.html")
    assert "<li>The head alone: the Newton step is exact" in page
    table = [line for line in (folder / "summary.md").read_text().splitlines() if line.startswith("| ")]
    assert page.count("<tr>") == len(table)
    assert page.count("data:image/png;base64,") == 1
    assert (folder / "full_network.png").stat().st_size > 20_000
    assert (folder / "full_network.pdf").stat().st_size > 5_000

    kept = {file: file.stat().st_mtime_ns for file in Path("store/full_network").rglob("*.safetensors")}
    names = {file.parent.name.rpartition("-")[0] for file in kept}
    parts = {"originals", "scores", "scratch-0-0", "warm-1-0", "noise-0-0", "gauss_newton-1-100", "hessian-0-10"}
    assert parts <= names
    (lost,) = (file for file in kept if file.parent.name.startswith("scratch-1-0-"))
    shutil.rmtree(lost.parent)  # as if interrupted
    again = build_full_network(job(f"store={run.folder / 'store'}")).records()
    assert lost.is_file()
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items() if file != lost)
    pd.testing.assert_frame_equal(
        again, records.drop(columns=["config_hash", "tiny"], errors="ignore").assign(config_hash=None)[again.columns]
    )


def test_parts_of_another_setting_are_not_reused(run: Runner) -> None:
    def part(*overrides: str) -> str:
        return build_full_network(job(*overrides)).artefact("originals").key

    changed = ["full_network.training.epochs=3", "full_network.blocks=2", "data.random_state=1", "split.random_state=1"]
    assert len({part(), *(part(change) for change in changed)}) == 1 + len(changed)
    assert part("threads=2", "store=elsewhere", "full_network.conditions=[10,100]") == part()


def test_a_broken_part_is_made_anew(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    study, made = (
        build_full_network(job()),
        {"theta": torch.arange(3.0)},
    )
    assert study.missing("own", 1e4)
    study.part("own", lambda: made, 1e4)
    assert not study.missing("own", 1e4)
    (file,) = study.artefact("own", 1e4).folder.glob("*.safetensors")
    file.write_bytes(b"broken")
    assert study.missing("own", 1e4)
    assert torch.equal(study.part("own", lambda: made, 1e4)["theta"], made["theta"])
    assert str(file) in caplog.text
    assert not study.missing("own", 1e4)


def test_the_configured_run_is_the_librarys_default() -> None:
    assert composed("full_network").full_network == FullNetworkOptions()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("full_network.conditions=[1]", "full_network.conditions: expected condition numbers above 1"),
        ("protocol=published", "expected protocol=fair"),
        ("full_network.rows=100000", "full_network.rows: expected 2 to 420"),
        ("full_network.architecture=tree", "architecture: expected one of cnn, mixer"),
        ("full_network.seeds=[]", "full_network.seeds: expected at least one"),
    ],
)
def test_what_cannot_be_studied_is_refused(run: Runner, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_full_network(job(override))
