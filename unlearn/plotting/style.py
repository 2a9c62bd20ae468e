"""Colours, labels and file output shared by all figures."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearn.records import write_atomically

#: One colour per criterion, as in the paper: red MSE, blue MAPE, green cost.
CRITERION_COLOURS = {"mse": "#c8403f", "mape": "#2b6ca3", "cost": "#2f8f4e"}
CRITERION_NAMES = {"mse": "MSE", "mape": "MAPE", "cost": "Cost"}
METRIC_LABELS = {"mse": "MSE [p.u.²]", "mape": "MAPE [%]", "cost": "Operating cost [money/h]"}
SPLIT_COLOURS = {"remain": "#4c72b0", "unlearn": "#dd8452", "test": "#222222"}
CASE_COLOURS = {True: "#2b6ca3", False: "#dd8452"}
#: Real households are nearly black; releases take a colour each, in their order.
REAL_COLOUR = "#222222"
RELEASE_COLOURS = ("#2b6ca3", "#c8403f", "#2f8f4e", "#dd8452", "#6b4c9a", "#8c6d31", "#4aa5b5")
FORECASTER_NAMES = {"linear": "Linear", "cnn": "CNN", "mixer": "MLP-Mixer"}

_SHEET = Path(__file__).with_name("unlearn.mplstyle")

#: Protocols in the order in which they are shown.
PROTOCOLS = ("published", "fair")

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


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, each all or nothing."""

    def write(file: Path) -> None:
        # Without a creation date, the same records give the same bytes.
        figure.savefig(file, metadata={"CreationDate": None} if file.suffix == ".pdf" else None)
        figure.set_layout_engine("none")  # what was laid out once stays

    with mpl.rc_context(fname=_SHEET):
        return [write_atomically(stem.with_suffix(suffix), write) for suffix in (".png", ".pdf")]
