"""What every study's page and figure share: colours, numbers, titles, the way about a page."""

import re
from pathlib import Path

import pandas as pd
import pytest

from unlearn.reporting.figure import panels
from unlearn.reporting.page import fill
from unlearn.reporting.style import BLUE, PALETTE, RED, coloured
from unlearn.reporting.verdict import Block, Page, write


def test_no_name_takes_the_colour_that_another_one_is_known_by() -> None:
    fixed = {"residual": BLUE, "cost": RED}
    given = coloured(["median", "residual", "gan", "cost"], fixed)
    assert {name: given[name] for name in fixed} == fixed
    assert len(set(given.values())) == len(given)
    assert set(given.values()) <= set(PALETTE)


def test_colours_come_again_only_where_there_are_more_names_than_colours() -> None:
    many = [str(number) for number in range(len(PALETTE) + 2)]
    assert set(coloured(many).values()) == set(PALETTE)


@pytest.mark.parametrize(
    ("value", "form", "said"),
    [(-0.4, ".0f", "0"), (-0.04, ".1f", "0.0"), (-0.0, ".0%", "0 %"), (-1.0, ".0f", "-1"), (-12.5, ".1f", "-12.5")],
)
def test_what_rounds_to_nothing_has_no_sign(value: float, form: str, said: str) -> None:
    assert write(value, form) == said


def test_a_long_title_stays_within_its_figure() -> None:
    figure, _ = panels([["a", "b"]], "a title of many words " * 10)
    figure.draw_without_rendering()
    title = figure._suptitle  # type: ignore[attr-defined]
    inside = title.get_window_extent()
    assert inside.x0 >= 0
    assert inside.x1 <= figure.bbox.width


def test_a_page_of_many_parts_says_where_they_are(tmp_path: Path) -> None:
    blocks = [Block(title, points=["said"]) for title in ("one", "two", "three", "four")]
    page = Page("Is it?", "yes", "it is.", "About.", "a figure", blocks)
    path = fill(page, pd.DataFrame({"metric": ["a"], "value": [1.0]}), None, tmp_path / "index.html")
    written = path.read_text()
    links = re.findall(r'<a href="#([\w-]+)">', written)
    assert links == re.findall(r'<h2 id="([\w-]+)">', written)
    assert len(links) == 4
