"""Colours, labels and file output shared by all figures."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pandas as pd

from unlearn.checks import require_package
from unlearn.reporting.labels import NOT_A_RESULT, is_tiny
from unlearn.store import write

require_package("unlearn.reporting", "matplotlib", '"unlearn[experiments]"')

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: One colour per criterion, as in the paper: red MSE, blue MAPE, green cost.
CRITERION_COLOURS = {"mse": "#c8403f", "mape": "#2b6ca3", "cost": "#2f8f4e"}
SPLIT_COLOURS = {"remain": "#4c72b0", "unlearn": "#dd8452", "test": "#222222"}
CASE_COLOURS = {True: "#2b6ca3", False: "#dd8452"}
#: Real households are nearly black; releases have `RELEASE_COLOURS`.
REAL_COLOUR = "#222222"
NO_RESULT_COLOUR = "#b3372f"

_SHEET = Path(__file__).with_name("unlearn.mplstyle")


#: Decorator under which panels are drawn: lines, legends and fonts in the project's style.
styled = mpl.rc_context(fname=_SHEET)


def new_figure(rows: int, columns: int, title: str) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a grid of axes in the project's style, without touching pyplot's state."""
    with mpl.rc_context(fname=_SHEET):
        figure = Figure(figsize=(3.4 * columns + (1.1 if columns > 1 else 0.6), 2.7 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        figure.suptitle(title, fontsize=11)
    return figure, axes.tolist()


def save_figure(figure: Figure, stem: Path, records: pd.DataFrame) -> list[Path]:
    """Write a figure of some records as PNG and PDF, each all or nothing; it says so if they are no result."""
    if is_tiny(records):
        said = textwrap.fill(NOT_A_RESULT, int(15 * figure.get_figwidth()))
        figure.supxlabel(said, fontsize=9, color=NO_RESULT_COLOUR)

    def draw(file: Path) -> None:
        # Without a creation date, the same records give the same bytes.
        figure.savefig(file, metadata={"CreationDate": None} if file.suffix == ".pdf" else None)
        figure.set_layout_engine("none")  # what was laid out once stays

    with mpl.rc_context(fname=_SHEET):
        paths = [stem.with_suffix(suffix) for suffix in (".png", ".pdf")]
        for path in paths:
            write(path, draw)
    return paths
