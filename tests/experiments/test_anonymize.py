"""The study of de-identification in its tiny mode: what is written, kept, reused."""

from pathlib import Path

import pandas as pd
import pytest

from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import assert_self_contained, read_page
from unlearn.studies.anonymize import AnonymizeOptions


@pytest.mark.slow
def test_it_says_which_steps_protect_and_what_they_cost(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["grid=ieee9", "anonymize.seeds=[0]"]
    folder = run("anonymize", *quick)
    said = capsys.readouterr().out
    assert "Codes that change over time prevent long-term linkability" in said
    assert "Households behind pseudonyms that 4 known readings find" in said
    records = records_of(folder)
    assert (records[(records["metric"] == "breaking") & (records["step"] == "suppressed")]["value"] == 0).all()
    for name in ("anonymize", "anonymize_trade", "anonymize_linkage", "anonymize_sums"):
        assert (folder / f"{name}.png").stat().st_size > 20_000
    page = read_page(folder / "index.html")
    assert "Each step" in page
    assert_self_contained(page)

    before = {file: file.stat().st_mtime_ns for file in Path("store/anonymize").rglob("*.parquet")}
    lost = next(file for file in before if file.parent.name.startswith("membership"))
    lost.unlink()  # as if interrupted
    again = records_of(run("anonymize", *quick))
    timed = records["metric"] == "seconds"
    pd.testing.assert_frame_equal(again[~timed], records[~timed])
    after = {file: file.stat().st_mtime_ns for file in Path("store/anonymize").rglob("*.parquet")}
    assert {file: time for file, time in before.items() if file != lost}.items() <= after.items()


def test_the_configured_study_is_the_librarys_default() -> None:
    assert composed("anonymize").anonymize == AnonymizeOptions()
