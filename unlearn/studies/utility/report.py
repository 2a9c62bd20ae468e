"""The figure and the page of what releases are good for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from unlearn.reporting.figure import REAL_COLOUR, save_figure, styled
from unlearn.reporting.labels import FORECASTER_NAMES, RELEASE_COLOURS
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.utility.bus_forecasts import NOTHING, PERFECT, WEEK_BEFORE
from unlearn.studies.utility.measure import REAL, REDRAWN
from unlearn.studies.utility.seeds import UtilityTable, short
from unlearn.studies.utility.verdict import (
    ANSWERS,
    CHANCE,
    COST_LIMIT,
    summarise_utility,
    utility_table,
    verdict_text,
    verdicts,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REDRAWN_COLOUR = "#8a9299"
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
    colours = {REAL: REAL_COLOUR, REDRAWN: REDRAWN_COLOUR}
    releases = 0
    for name in generators:
        if name not in colours:
            colours[name] = RELEASE_COLOURS[releases % len(RELEASE_COLOURS)]
            releases += 1
    return {name: colours[name] for name in generators}


@styled
def utility_figure(records: pd.DataFrame) -> Figure:
    """Draw means over seeds with their range, in a panel for each metric that the records hold.

    Args:
        records: of `measure_utility`, any number of seeds.

    Raises:
        InputError: records without utility.
    """
    table = UtilityTable(records)
    rows = [[panel for panel in row if table.forecasters(panel.task, panel.metric)] for row in PANELS]
    rows = [row for row in rows if row]
    n_columns = lcm(*map(len, rows))
    mosaic: list[Any] = [[f"{p.task} {p.metric}" for p in row for _ in range(n_columns // len(row))] for row in rows]
    widest = max(map(len, rows))
    figure = Figure(figsize=(2.0 + 3.8 * widest, 1.2 + 3.4 * len(rows)), layout="constrained")
    axes = figure.subplot_mosaic(mosaic)
    colours = colours_of(table.generators)
    for row in rows:
        for panel in row:
            draw_panel(axes[f"{panel.task} {panel.metric}"], table, panel, colours)
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    seeds = f"mean and range over {table.n_seeds} seeds" if table.n_seeds > 1 else "1 seed"
    title = f"Utility: trained on a set, tested on other real households in other weeks ({seeds}); trained on"
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(len(handles), 7),
        fontsize=10,
        title=title,
        title_fontsize=11,
    )
    return figure


def save_utility(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(utility_figure(records), stem, records)
    return png


@styled
def draw_panel(axis: Axes, table: UtilityTable, panel: Panel, colours: dict[str, str]) -> None:
    """Bars by forecaster, a colour for each training set, and lines for what needs no training."""
    task, metric = panel.task, panel.metric
    kinds = table.forecasters(task, metric)
    base = _base(table, panel)
    names = [name for name in colours if any(table.value(task, metric, (name, kind)) for kind in kinds)]
    width = 0.8 / len(names)
    ends = [base]
    for place, kind in enumerate(kinds):
        for shift, name in enumerate(names):
            found = table.value(task, metric, (name, kind))
            if found is None:
                continue
            at = place + (shift - (len(names) - 1) / 2) * width
            axis.bar(at, found.mean - base, 0.92 * width, bottom=base, color=colours[name])
            if found.n > 1:
                reach = [[found.mean - found.low], [found.high - found.mean]]
                axis.errorbar(at, found.mean, reach, color="0.55", linewidth=1, capsize=2)
            top = max(found.high, base)
            text = axis.annotate(
                short(found.mean), (at, top), (0, 3), textcoords="offset points", ha="center", fontsize=7, zorder=4
            )
            text.set_path_effects([withStroke(linewidth=2, foreground="white")])
            ends += [found.low, found.high]
    ends += _draw_lines(axis, table, panel)
    low, high = min(ends), max(ends)
    room = 0.12 * (high - low)
    axis.set(ylim=(low - room if base > 0 else 0.0, high + room or 1.0), xlim=(-0.55, len(kinds) - 0.45))
    axis.set_xticks(range(len(kinds)), [FORECASTER_NAMES.get(kind, kind) for kind in kinds])
    axis.set_ylabel(panel.label)
    axis.grid(visible=False, axis="x")
    axis.set_title(panel.title)


def _base(table: UtilityTable, panel: Panel) -> float:
    if isinstance(panel.base, str):
        found = table.value(panel.task, panel.metric, (NOTHING, panel.base))
        return found.mean if found else 0.0
    return panel.base


def _draw_lines(axis: Axes, table: UtilityTable, panel: Panel) -> list[float]:
    """Draw what needs no training and return where; a perfect forecast has no error worth a line."""
    handles = []
    if panel.task == "season":
        handles.append(axis.axhline(CHANCE, color="0.25", linewidth=1.2, linestyle=":", label=f"chance, {CHANCE:g}"))
    drawn = []
    for kind in table.forecasters(panel.task, panel.metric, untrained=True):
        found = table.value(panel.task, panel.metric, (NOTHING, kind))
        if found is None or found.mean == 0:
            continue
        style, name = LINES.get(kind, ("-.", kind))
        label = f"{name}, {short(found.mean)}"
        handles.append(axis.axhline(found.mean, color="0.25", linewidth=1.2, linestyle=style, label=label))
        drawn.append(found.mean)
    if handles:
        axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    return drawn


def write_utility_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: the answer, sentences, figure, every number, and what was trained on what.

    Args:
        records: of `measure_utility`, any number of seeds.
        figure: PNG file of `save_utility`.
        path: where the page goes.

    Raises:
        InputError: records without utility, or numbers that occur twice for a seed.
    """
    table = UtilityTable(records)
    answered = verdicts(table)
    about, *sentences = summarise_utility(records)
    said = set(map(verdict_text, answered))
    grids = [str(name) for name in records["grid"].dropna().unique()]
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=True,
        source=records["data"].iloc[0],
        grid=", ".join(grids),
        about=about,
        tasks=table.tasks,
        verdicts=answered,
        answers=ANSWERS,
        limit=COST_LIMIT,
        sentences=[sentence for sentence in sentences if sentence not in said],
        rows=utility_table(records),
        parts=utility_table(records, main=False),
        png=embedded(figure),
    )
