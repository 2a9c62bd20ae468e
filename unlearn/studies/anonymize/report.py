"""The figures and the page of de-identification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from unlearn.reporting.figure import beside, legend_below, marks, note, panels, per_cent, reference, saver, styled
from unlearn.reporting.page import fill
from unlearn.reporting.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED
from unlearn.reporting.verdict import Spread
from unlearn.studies._shared.bus_loads import PERFECT, WEEK_BEFORE
from unlearn.studies.anonymize.options import LABELS, OF_SUMS, RAW
from unlearn.studies.anonymize.rows import NAMES
from unlearn.studies.anonymize.table import AnonymizeTable, named_step
from unlearn.studies.anonymize.verdict import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import FillStyleType

COLOURS = {
    "raw": INK,
    "pseudonyms": RED,
    "rotated": "#e58b8a",
    "rounded": ORANGE,
    "hourly": "#8c6d31",
    "six_hourly": "#b59a5b",
    "daily": PURPLE,
    "weekly": "#a68fc9",
    "extremes": "#4aa5b5",
    "micro_5": BLUE,
    "micro_15": "#86aed3",
    "labels": "0.55",
    "sums": "#a9cf9f",
    "sums_15_15": "#62b376",
    "suppressed": GREEN,
}
SPAN_COLOURS = {"day": GREEN, "week": ORANGE, "year": RED}


@styled
def figure(records: pd.DataFrame) -> Figure:
    """All panels in one figure."""
    table = AnonymizeTable(records)
    about = table.about
    title = f"De-identification: {int(about['households'])} households of {about['data']} on {about['grid']}"
    drawn, axes = panels([["trade", "trade_cost"], ["linkage", "sums"]], title, (11.0, 9.6))
    draw_trade(axes["trade"], table, "mape", legend=False)
    draw_trade(axes["trade_cost"], table, "cost")
    draw_linkage(axes["linkage"], table)
    draw_sums(axes["sums"], table)
    return drawn


@styled
def single(records: pd.DataFrame, name: str) -> Figure:
    """One figure of the page."""
    table = AnonymizeTable(records)
    if name == "trade":
        drawn, axes = panels([["mape", "cost"]], "", (9.6, 5.0))
        draw_trade(axes["mape"], table, "mape", legend=False)
        draw_trade(axes["cost"], table, "cost")
        return drawn
    drawn, axes = panels([[name]], "", (6.6, 5.0))
    FIGURES[name](axes[name], table)
    return drawn


def write_page(records: pd.DataFrame, png: Path, path: Path) -> Path:
    """Write the page of some records and the figures that `save` wrote, all or nothing."""
    return fill(page(records, beside(png, FIGURES)), records, None, path)


def draw_trade(axis: Axes, table: AnonymizeTable, metric: str, legend: bool = True) -> None:
    """A mark for each release: who is found, over the error or the cost of forecasts."""
    drawn = False
    for step in table.steps:
        found, used = table.found(step), table.utility(step, metric)
        if not found or not used:
            continue
        low, high = found.mean - found.low, found.high - found.mean
        reach = [[max(low, 0.0)], [max(high, 0.0)]]
        form = "s" if step in OF_SUMS else "o"
        axis.errorbar([used.mean], [found.mean], reach, fmt="none", color=COLOURS[step], capsize=2)
        breaking = table.breaking(step)
        fill: FillStyleType = "none" if breaking and breaking.high > 0 else "full"
        axis.plot([used.mean], [found.mean], form, color=COLOURS[step], label=named_step(step), markersize=7,
                  fillstyle=fill, markeredgewidth=1.6)  # fmt: skip
        drawn = True
    if not drawn:
        note(axis, "not measured")
        return
    for kind, form in ((WEEK_BEFORE, ":"), (PERFECT, "--")):
        value = table.untrained(kind, metric)
        if value and value.mean > 0:
            reference(axis, value.mean, kind, form, GREY, upright=True)
    per_cent(axis.yaxis)
    label = "MAPE [%]" if metric == "mape" else "operating cost [money/h]"
    axis.set(xlabel=label, ylabel=f"households found by {table.main} known readings", ylim=(-0.04, 1.06))
    axis.set_title("Error of forecasts" if metric == "mape" else "Cost of forecasts")
    if legend:
        axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=8)


def draw_linkage(axis: Axes, table: AnonymizeTable) -> None:
    """Share found over the number of known readings, a line for each release of records."""
    places = {known: float(i) for i, known in enumerate(table.known)}
    steps = [step for step in table.steps if step not in (RAW, LABELS, *OF_SUMS)]
    shift = np.linspace(-0.18, 0.18, max(len(steps), 2))
    for step, aside in zip(steps, shift, strict=False):
        points = {places[known] + aside: own for known in table.known if (own := table.found(step, known))}
        if points:
            _line(axis, points, COLOURS[step], named_step(step))
    axis.set_xticks(list(places.values()), [NAMES.get(known, str(known)) for known in places])
    per_cent(axis.yaxis)
    axis.set(xlabel="half-hourly readings known", ylabel="households found", ylim=(-0.04, 1.06))
    axis.set_title("Who is found")
    legend_below(axis, 0.14, fontsize=8)


def draw_sums(axis: Axes, table: AnonymizeTable) -> None:
    """AUC of being in a sum over its size."""
    sizes = table.group_sizes
    if not sizes:
        note(axis, "not measured")
        return
    for span in table.spans:
        for target, form in (("all", "o-"), ("largest", "s:")):
            points = {float(i): own for i, size in enumerate(sizes) if (own := table.auc(size, span, target))}
            if points:
                label = f"a {span} is known" + (", largest households" if target == "largest" else "")
                _line(axis, points, SPAN_COLOURS[span], label, form)
    reference(axis, 0.5, "guessing")
    axis.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axis.set(xlabel="households in the sum", ylabel="AUC", ylim=(0.4, 1.03), title="Who is in a sum")
    legend_below(axis, 0.14, fontsize=8)


def _line(axis: Axes, points: dict[float, Spread], colour: str, label: str, form: str = "o-") -> None:
    axis.plot(list(points), [own.mean for own in points.values()], form[1:], color=colour, linewidth=1.0)
    marks(axis, list(points.items()), colour, label, form[0])


#: Figures that the page shows, by name; the first one has two panels.
FIGURES: dict[str, Callable[[Axes, AnonymizeTable], None]] = {
    "trade": lambda axis, table: draw_trade(axis, table, "mape"),
    "linkage": draw_linkage,
    "sums": draw_sums,
}

save = saver(figure, single, FIGURES)
