"""The figure and the page of the comparison."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from unlearn.reporting.figure import beside, legend_below, marks, note, panels, reference, rows, saver, styled
from unlearn.reporting.page import fill
from unlearn.reporting.style import BLUE, INK, ORANGE
from unlearn.studies.comparison.options import FORECAST, TOTALS, WEEK
from unlearn.studies.comparison.table import ComparisonTable, Row
from unlearn.studies.comparison.verdict import page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Figures of the page.
FIGURES = ("cost",)
_TICKS = (-10_000, -1000, -100, 0, 100, 1000, 10_000)
_TASKS = {TOTALS: ("totals", BLUE, -0.15), FORECAST: ("forecast", ORANGE, 0.15)}


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw cost lost by technique, a row each."""
    table = ComparisonTable(records)
    shown = [*table.rows[1:], Row(WEEK, None)]
    drawn, axes = panels([["cost"]], "", (4.8, 1.8 + 0.42 * len(shown)))
    axis = axes["cost"]
    if not table.rows:
        note(axis, "not measured")
        return drawn
    values = [0.0]
    for task, (label, colour, shift) in _TASKS.items():
        points = [
            (place + shift, own)
            for place, row in enumerate(shown)
            if (own := table.lost(row, task, "cost")) is not None
        ]
        values += [end for _, own in points for end in (own.low, own.high)]
        marks(axis, points, colour, label, across=True)
    # An ε stays on the line of its value.
    rows(axis, [textwrap.fill(row.name.replace("ε = ", "ε\u00a0=\u00a0"), 24) for row in shown])
    reference(axis, 0.0, upright=True, colour=INK)
    axis.set_xscale("symlog", linthresh=100)
    axis.set_xticks(list(_TICKS), [f"{own:,}".replace("-", "−") for own in _TICKS])
    axis.set_xlim(min(-150.0, 1.5 * min(values)), max(1500.0, 1.5 * max(values)))
    axis.set(xlabel="cost lost [money/h]")
    legend_below(axis, 0.08)
    return drawn


def single(records: pd.DataFrame, name: str) -> Figure:
    """The figure of the page."""
    return figure(records)


def write_page(records: pd.DataFrame, png: Path, path: Path) -> Path:
    """Write the page of some records and the figure that `save` wrote, all or nothing."""
    return fill(page(records, beside(png, FIGURES)), records, None, path)


save = saver(figure, single, FIGURES)
