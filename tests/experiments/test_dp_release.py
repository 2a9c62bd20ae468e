"""The study of differentially private statistics in its tiny mode: what is written, kept, reused."""

import builtins
from pathlib import Path

import pandas as pd
import pytest

from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import assert_self_contained, read_page
from unlearn.studies.dp_release import DpReleaseOptions


@pytest.mark.extras
def test_it_says_what_can_be_published_and_goes_on_where_it_stopped(
    run: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["grid=ieee9", "households.n_households=12", "dp_release.audit_runs=100", "dp_release.epsilons=[1]"]
    folder = run("dp_release", *quick)
    said = capsys.readouterr().out
    assert "at ε = 1 the noise of one hourly total" in said
    assert "The guarantee is immune to post-processing. " in said
    records = records_of(folder)
    own = records[records["part"] == "noise"].pivot_table("value", ["mechanism", "level", "query"], "metric")
    assert (own["scale_measured"] / own["scale_formula"] - 1).abs().max() < 1e-9
    assert (own["p_value"] > 1e-8).all()
    audited = records[(records["part"] == "audit") & (records["method"] == "intact")]
    assert (audited["value"] <= audited["epsilon"]).all()
    for name in ("dp_release", "dp_release_homes", "dp_release_utility", "dp_release_audit"):
        assert (folder / f"{name}.png").stat().st_size > 20_000
    page = read_page(folder / "index.html")
    assert "What the literature says" in page
    assert_self_contained(page)

    again = records_of(run("dp_release", *quick))  # noise would be other noise
    pd.testing.assert_frame_equal(again, records)


def test_without_opendp_it_says_so_before_households_are_read(
    run: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = builtins.__import__

    def absent(name: str, *args: object, **more: object) -> object:
        if name.partition(".")[0] == "opendp":
            raise ImportError("No module named 'opendp'")
        return whole(name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(SystemExit):
        run("dp_release", "households=npz", "households.path=nowhere.npz", "households.n_households=1")
    assert "nowhere" not in capsys.readouterr().out


def test_the_configured_study_is_the_librarys_default() -> None:
    assert composed("dp_release").dp_release == DpReleaseOptions()


@pytest.mark.slow
def test_noise_that_repeats_gives_the_same_records(run: Runner, tmp_path: Path) -> None:
    parts = ["dp_release.parts=[error,queries,single]", "dp_release.noise=simulated", "grid=ieee9"]
    first = records_of(run("dp_release", *parts))
    again = records_of(run("dp_release", *parts, f"store={tmp_path / 'other'}"))
    timed = first["metric"] == "seconds"
    pd.testing.assert_frame_equal(first[~timed], again[~timed])
