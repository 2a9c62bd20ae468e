"""Colours, labels and file output shared by all figures."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearn.store import write

#: One colour per criterion, as in the paper: red MSE, blue MAPE, green cost.
CRITERION_COLOURS = {"mse": "#c8403f", "mape": "#2b6ca3", "cost": "#2f8f4e"}
CRITERION_NAMES = {"mse": "MSE", "mape": "MAPE", "cost": "Cost"}
METRIC_LABELS = {"mse": "MSE [p.u.²]", "mape": "MAPE [%]", "cost": "Operating cost [money/h]"}
SPLIT_COLOURS = {"remain": "#4c72b0", "unlearn": "#dd8452", "test": "#222222"}
CASE_COLOURS = {True: "#2b6ca3", False: "#dd8452"}
#: Real households are nearly black; releases take a colour each, in their order.
REAL_COLOUR = "#222222"
NO_RESULT_COLOUR = "#b3372f"
RELEASE_COLOURS = ("#2b6ca3", "#c8403f", "#2f8f4e", "#dd8452", "#6b4c9a", "#8c6d31", "#4aa5b5")
FORECASTER_NAMES = {"linear": "Linear", "cnn": "CNN", "mixer": "MLP-Mixer"}

_SHEET = Path(__file__).with_name("unlearn.mplstyle")

#: Protocols in the order in which they are shown.
PROTOCOLS = ("published", "fair")

#: Column of records that says whether their run was too small to be a result, and what is then said of it.
TINY = "tiny"
NOT_A_RESULT = (
    "Not a result: a tiny run, with too little data and training to mean anything. It shows that everything runs."
)

#: Decorator under which panels are drawn: lines, legends and fonts in the project's style.
styled = mpl.rc_context(fname=_SHEET)


def new_figure(rows: int, columns: int, title: str) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a grid of axes in the project's style, without touching pyplot's state."""
    with mpl.rc_context(fname=_SHEET):
        figure = Figure(figsize=(3.4 * columns + (1.1 if columns > 1 else 0.6), 2.7 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        figure.suptitle(title, fontsize=11)
    return figure, axes.tolist()


def protocols_of(records: pd.DataFrame) -> list[str]:
    """Protocols that the records hold, the published one first."""
    return [protocol for protocol in PROTOCOLS if protocol in set(records["protocol"])]


def is_tiny(records: pd.DataFrame) -> bool:
    """Whether any of the records comes from a run that was too small to be a result."""
    return TINY in records and bool(records[TINY].eq(True).any())


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
