"""The comparison of techniques in its tiny mode: what is written."""

import pytest

from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import assert_self_contained, read_page
from unlearn.studies.comparison import ComparisonOptions


@pytest.mark.slow
def test_it_says_which_technique_to_take(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("comparison", "grid=ieee9", "comparison.noise=simulated")
    assert "Is the result published" in capsys.readouterr().out
    assert {"utility", "spent", "attack"} <= set(records_of(folder)["part"])
    page = read_page(folder / "index.html")
    assert "Which one do I take?" in page
    assert_self_contained(page)


def test_the_configured_study_is_the_librarys_default() -> None:
    assert composed("comparison").comparison == ComparisonOptions()
