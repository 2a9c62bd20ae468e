"""The figure and the page of what releases are good for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from unlearn.reporting.figure import bars, legend_below, panels, reference, saver, styled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import FORECASTER_NAMES, INK, coloured, named
from unlearn.reporting.verdict import write
from unlearn.studies._shared.bus_loads import NOTHING, PERFECT, WEEK_BEFORE
from unlearn.studies._shared.utility import REAL, REDRAWN
from unlearn.studies.utility.measure import UtilityTable
from unlearn.studies.utility.verdict import CHANCE, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Several runs can be drawn together.
TOGETHER = True
#: Lines of what needs no training: forecaster, line style, name.
LINES = {
    WEEK_BEFORE: (":", "load of a week before"),
    PERFECT: ("--", "perfect forecast"),
    "persistence": (":", "persistence"),
}


@dataclass(frozen=True)
class Panel:
    """One metric of one task; bars begin at the value of `base`, a forecaster, or at a number."""

    task: str
    metric: str
    title: str
    label: str
    base: str | float = 0.0

    @property
    def name(self) -> str:
        """As its axes are labelled."""
        return f"{self.task} {self.metric}"


#: Panels in rows.
PANELS = (
    (
        Panel("season", "balanced_accuracy", "season of a profile (more is better)", "balanced accuracy", CHANCE),
        Panel("next_step", "rmse", "next step: RMSE", "RMSE [kWh]"),
        Panel("next_step", "mae", "next step: MAE", "MAE [kWh]"),
    ),
    (
        Panel("load", "mape", "bus loads: MAPE", "MAPE [%]"),
        Panel("load", "cost", "bus loads: operating cost, bars begin at a perfect forecast's", "money/h", PERFECT),
    ),
)


def colours_of(generators: Iterable[str]) -> dict[str, str]:
    """A colour for each training set; real households are nearly black, redrawn ones grey."""
    return coloured(generators, {REAL: INK, REDRAWN: "#8a9299"})


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw means over seeds with their range, in a panel for each metric that the records hold."""
    table = UtilityTable(records)
    shown = [[panel for panel in row if table.forecasters(panel.task, panel.metric)] for row in PANELS]
    shown = [row for row in shown if row]
    names, widest = [[panel.name for panel in row] for row in shown], max(map(len, shown))
    seeds = f"mean and range over {table.n_seeds} seeds" if table.n_seeds > 1 else "1 seed"
    title = f"Utility: trained on a set, tested on other real households in other weeks ({seeds}); trained on"
    colours = colours_of(table.generators)
    drawn, axes = panels(names, title, (2.0 + 3.8 * widest, 1.2 + 3.4 * len(shown)), legend=colours)
    for panel in (panel for row in shown for panel in row):
        draw_panel(axes[panel.name], table, panel, colours)
    return drawn


save = saver(figure)
write_page = page_writer(page)


def draw_panel(axis: Axes, table: UtilityTable, panel: Panel, colours: dict[str, str]) -> None:
    """Bars by forecaster, a colour for each training set, and lines for what needs no training."""
    task, metric = panel.task, panel.metric
    kinds, base = table.forecasters(task, metric), panel.base
    if isinstance(base, str):
        found = table.value(task, metric, (NOTHING, base))
        base = found.mean if found else 0.0
    series = {name: [table.value(task, metric, (name, kind)) for kind in kinds] for name in colours}
    series = {name: own for name, own in series.items() if any(own)}
    bars(
        axis,
        [named(kind, FORECASTER_NAMES) for kind in kinds],
        series,
        colours,
        base,
        lambda mean: write(mean, "short"),
    )
    ends = [base, *(end for each in series.values() for own in each if own for end in (own.low, own.high))]
    ends += _draw_lines(axis, table, panel)
    low, high = min(ends), max(ends)
    room = 0.12 * (high - low)
    axis.set(ylim=(low - room if base > 0 else 0.0, high + room or 1.0), xlim=(-0.55, len(kinds) - 0.45))
    axis.set(ylabel=panel.label, title=panel.title)


def _draw_lines(axis: Axes, table: UtilityTable, panel: Panel) -> list[float]:
    """Draw what needs no training and return where; a perfect forecast has no error worth a line."""
    lines = [(CHANCE, f"chance, {CHANCE:g}", ":")] if panel.task == "season" else []
    for kind in table.forecasters(panel.task, panel.metric, untrained=True):
        found = table.value(panel.task, panel.metric, (NOTHING, kind))
        if found and found.mean:
            form, name = LINES.get(kind, ("-.", kind))
            lines.append((found.mean, f"{name}, {write(found.mean, 'short')}", form))
    for value, label, form in lines:
        reference(axis, value, label, form, "0.25")
    if lines:
        handles = [handle for handle in axis.get_lines() if not str(handle.get_label()).startswith("_")]
        legend_below(axis, 0.1, handles=handles)
    return [value for value, *_ in lines]
