"""Runs end with three numbers, a path, and a banner where they are no result."""

import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from experiments.endings import Ending, Number, number, tell
from tests.experiments.conftest import Runner
from unlearn.records import RecordTable
from unlearn.reporting.figure import save_figure
from unlearn.reporting.page import fill
from unlearn.reporting.style import NOT_A_RESULT, TINY
from unlearn.reporting.verdict import Page


def table() -> pd.DataFrame:
    records = RecordTable(experiment="train")
    for seed, cost in ((0, 800.0), (1, 1200.0)):
        records.add("cost", cost, "money/h", method="original", seed=seed)
    records.add("cost", 900.0, "money/h", method="unlearnt", criterion="mse")
    return records.to_frame()


def test_a_number_is_the_mean_of_the_records_that_it_names() -> None:
    assert number("Cost", table(), metric="cost", method="original") == Number("Cost", 1000.0, "money/h")
    assert number("Cost", table(), metric="cost", criterion=None, seed=1).value == 1200.0
    absent = number("Cost", table(), metric="cost", nowhere="x")
    assert math.isnan(absent.value)
    assert str(absent) == "Cost: not measured"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Number("Cost", 1234.56, "money/h"), "Cost: 1,235 money/h"),
        (Number("MAPE", 9.69812, "percent"), "MAPE: 9.698 %"),
        (Number("MSE", 0.0033721, "pu2"), "MSE: 0.003372 p.u.²"),
        (Number("Helpful", 0.5123, "share"), "Helpful: 51.2 %"),
        (Number("Left", 3.2e-12, "relative"), "Left: 3.2e-12"),
        (Number("Ratio", math.inf, "1"), "Ratio: ∞"),
    ],
)
def test_numbers_are_said_with_units(found: Number, said: str) -> None:
    assert str(found) == said


@given(st.floats(), st.sampled_from(["", "share", "percent", "us/h", "days"]))
def test_no_number_shows_its_type(value: float, unit: str) -> None:
    said = str(Number("N", value, unit))
    assert said.startswith("N: ")
    assert "float" not in said
    assert "nan" not in said


@pytest.mark.parametrize("tiny", [True, False])
def test_the_last_lines_are_numbers_the_page_and_the_banner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: bool
) -> None:
    tell(Ending([Number("A", 1.0), Number("B", 2.0), Number("C", 3.0)], tmp_path / "index.html"), tmp_path, tiny)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["A: 1", "B: 2", "C: 3", f"See {tmp_path / 'index.html'}", *([NOT_A_RESULT] if tiny else [])]


def test_a_tiny_run_says_so_in_its_last_line_and_its_records(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("train")
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == NOT_A_RESULT
    assert said[-2] == f"See {folder}"
    assert said[-5].startswith("Operating cost on test hours: ")
    assert pd.read_parquet(folder / "records.parquet")[TINY].all()
    folder = run("train", "tiny=false", "hydra.run.dir=other")
    assert capsys.readouterr().out.splitlines()[-1] == f"See {run.folder / 'other'}"
    assert not pd.read_parquet(run.folder / "other" / "records.parquet")[TINY].any()


@pytest.mark.parametrize("marks", [[True, None], [False, False], None])
def test_figures_and_pages_say_it_wherever_a_record_does(tmp_path: Path, marks: list[bool | None] | None) -> None:
    records = pd.DataFrame({"value": [1.0, 2.0]} | ({TINY: marks} if marks else {}))
    figure = Figure()
    figure.subplots()
    save_figure(figure, tmp_path / "figure", records)
    drawn = [" ".join(text.get_text().split()) for text in figure.findobj() if hasattr(text, "get_text")]
    written = fill(Page("Why?", "yes", "so."), records, None, tmp_path / "page.html").read_text()
    tiny = bool(marks and marks[0])
    assert (NOT_A_RESULT in drawn, NOT_A_RESULT in written) == (tiny, tiny)
