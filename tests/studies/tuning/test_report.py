"""The figures and the page of the study, from made-up records."""

from pathlib import Path

import numpy as np
import pytest

from tests.pages import assert_self_contained, read_page
from tests.studies.tuning.made import RATIOS, made_up
from tests.studies.tuning.test_verdict import SMALL
from unlearn.studies.tuning.report import figure, front_figure, price_figure, save, write_page
from unlearn.studies.tuning.table import TuningTable


def axes_of(drawn: object) -> dict:
    return {axis.get_label(): axis for axis in drawn.axes}  # type: ignore[attr-defined]


def test_costs_are_drawn_by_forecaster_with_their_medians() -> None:
    records = made_up()
    axes, ratio = axes_of(figure(records)), TuningTable(records).ratio
    assert list(axes) == ["linear", "cnn", "mixer"]
    assert [axis.get_title() for axis in axes.values()] == ["Linear", "CNN", "MLP-Mixer"]
    names = [text.get_text() for text in axes["linear"].get_yticklabels()]
    assert names[0] == "original"
    assert names[-1] == "whole network on the cost"
    cnn = ratio[ratio.index.get_level_values("forecaster") == "cnn"]
    place = names.index("one factor")
    lines = axes["cnn"].get_lines()
    marks = [line for line in lines if line.get_marker() in ("o", "s") and set(line.get_ydata()) == {place}]
    drawn = np.sort(np.concatenate([line.get_xdata() for line in marks]))
    np.testing.assert_allclose(drawn, np.sort(cnn["scale"]))
    (bar,) = [line for line in lines if list(line.get_ydata()) == [place - 0.32, place + 0.32]]
    np.testing.assert_allclose(bar.get_xdata(), cnn["scale"].median())
    assert [text.get_text() for text in axes["linear"].texts] == ["not measured"]
    assert len({axis.get_xlim() for axis in axes.values()}) == 1


def test_costs_that_are_far_apart_are_drawn_on_a_logarithmic_axis() -> None:
    axis = axes_of(figure(made_up(**SMALL, ratios={"quantile": 3.0})))["linear"]
    assert axis.get_xscale() == "log"
    assert axis.get_xlim()[0] < 0.76 < 3.0 < axis.get_xlim()[1]


def test_prices_are_drawn_relative_to_complete_unlearning_at_the_same_prices() -> None:
    records = made_up(spread=0.0)
    axes = axes_of(price_figure(records))
    assert list(axes) == ["gefcom2012-2005", "gefcom2012-2007"]
    drawn = {line.get_label(): line for line in axes["gefcom2012-2005"].get_lines()}
    np.testing.assert_allclose(drawn["TAMU"].get_xdata(), RATIOS)
    np.testing.assert_allclose(drawn["TAMU"].get_ydata()[[0, 3, 5]], [1.10, 0.93, 0.93])
    np.testing.assert_allclose(drawn["complete unlearning"].get_ydata(), 1.0)


def test_the_front_is_a_curve_and_methods_are_marks() -> None:
    axis = front_figure(made_up(spread=0.0)).axes[0]
    assert axis.get_title() == "gefcom2012-2005, Linear"
    drawn = {line.get_label(): line.get_xydata() for line in axis.get_lines()}
    np.testing.assert_allclose(drawn["TAMU"], [[10.0, 0.93]])
    front = drawn["head on the cost: front"]
    assert len(front) == 6
    # From cost alone to more weight on MSE.
    np.testing.assert_allclose(front[0, 0], 16.0)
    assert (np.diff(front[:, 0]) < 0).all()
    assert (np.diff(front[:, 1]) > 0).all()


def test_figures_of_parts_that_lack_say_so() -> None:
    records = made_up(**SMALL, parts=("main",))
    for draw, said in ((price_figure, "no price sweep"), (front_figure, "no front")):
        assert said in draw(records).axes[0].texts[0].get_text()


def test_the_page_is_self_contained_and_opens_with_the_answers(tmp_path: Path) -> None:
    records = made_up()
    png = save(records, tmp_path / "tuning")
    assert {path.name for path in tmp_path.iterdir()} == {
        f"tuning{which}.{kind}" for which in ("", "_prices", "_front") for kind in ("png", "pdf")
    }
    page = read_page(write_page(records, png, tmp_path / "index.html"))
    assert_self_contained(page)
    assert page.count("data:image/png;base64,") == 3
    places = [page.index(part) for part in ("forget completely, then", "For researchers", "Of the paper", "<img")]
    assert places == sorted(places)
    assert 'text good">yes</td>' in page
    assert 'text bad">no</td>' in page
    assert "gefcom2012-2007: mean and range over seeds" in page
    assert "nan" not in page.replace("nance", "")


@pytest.mark.parametrize("forecasters", [["linear"], ["mixer", "my_forecaster"]])
def test_records_of_any_forecasters_are_drawn(tmp_path: Path, forecasters: list[str], monkeypatch) -> None:
    monkeypatch.setitem(__import__("tests.studies.tuning.made", fromlist=["BUDGETS"]).BUDGETS, "my_forecaster", 0.1)
    records = made_up(sources={"mine": "ieee9"}, forecasters=forecasters, seeds=[0])
    assert write_page(records, save(records, tmp_path / "t"), tmp_path / "p.html").is_file()
