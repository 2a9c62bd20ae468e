"""Colours, labels and file output shared by all figures."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearn.records import write_atomically

#: One colour per criterion, as in the paper: red MSE, blue MAPE, green cost.
CRITERION_COLOURS = {"mse": "#c8403f", "mape": "#2b6ca3", "cost": "#2f8f4e"}
CRITERION_NAMES = {"mse": "MSE", "mape": "MAPE", "cost": "Cost"}
METRIC_LABELS = {"mse": "MSE [p.u.²]", "mape": "MAPE [%]", "cost": "Operating cost [money/h]"}
SPLIT_COLOURS = {"remain": "#4c72b0", "unlearn": "#dd8452", "test": "#222222"}
CASE_COLOURS = {True: "#2b6ca3", False: "#dd8452"}
FORECASTER_NAMES = {"linear": "Linear", "cnn": "CNN", "mixer": "MLP-Mixer"}

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 150,
    "savefig.dpi": 200,
}


def new_figure(rows: int, columns: int, title: str) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a grid of axes in the project's style, without touching pyplot's state."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.6 * columns, 2.9 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        figure.suptitle(title, fontsize=11)
    return figure, axes.tolist()


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, each all or nothing."""
    with mpl.rc_context(_STYLE):
        # Without a creation date, the same records give the same bytes.
        metadata = {".png": {}, ".pdf": {"CreationDate": None}}
        return [
            write_atomically(
                stem.with_suffix(suffix), lambda file, extra=extra: figure.savefig(file, metadata=extra)
            )
            for suffix, extra in metadata.items()
        ]
