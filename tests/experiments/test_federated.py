"""The study of federated learning in its tiny mode: what is written, kept, reused."""

from pathlib import Path

import pandas as pd
import pytest

from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import assert_self_contained, read_page
from unlearn.studies.federated import FederatedOptions


@pytest.mark.slow
def test_it_says_whether_utilities_can_leave_again(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["grid=ieee9"]
    folder = run("federated", *quick)
    said = capsys.readouterr().out
    assert "Exact subtraction gives the model that never had the leaver" in said
    assert "Largest distance to never-joined after an exact withdrawal" in said
    records = records_of(folder)
    exact = records[(records["metric"] == "distance") & records["method"].isin(["exact", "federated"])]
    assert len(exact) == 8
    assert (exact["value"] < 1e-9).all()
    assert (records[records["metric"] == "sums_seen"]["value"] == 0).all()
    for name in ("federated", "federated_unlearning", "federated_averaging", "federated_inversion"):
        assert (folder / f"{name}.png").stat().st_size > 20_000
    page = read_page(folder / "index.html")
    assert "Who leaves, and what is left" in page
    assert_self_contained(page)

    before = {file: file.stat().st_mtime_ns for file in Path("store/federated").rglob("*.parquet")}
    lost = next(file for file in before if file.parent.name.startswith("inversion"))
    lost.unlink()  # as if interrupted
    again = records_of(run("federated", *quick))
    timed = records["metric"] == "seconds"
    pd.testing.assert_frame_equal(again[~timed], records[~timed])
    after = {file: file.stat().st_mtime_ns for file in Path("store/federated").rglob("*.parquet")}
    assert {file: time for file, time in before.items() if file != lost}.items() <= after.items()


def test_the_configured_study_is_the_librarys_default() -> None:
    assert composed("federated").federated == FederatedOptions()
