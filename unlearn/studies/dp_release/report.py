"""The figures and the page of differentially private statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from unlearn.reporting.figure import beside, legend_below, line, note, panels, reference, rows, saver, styled
from unlearn.reporting.page import fill
from unlearn.reporting.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED, named
from unlearn.reporting.verdict import Spread
from unlearn.studies._shared.bus_loads import PERFECT, WEEK_BEFORE
from unlearn.studies.dp_release.claims import rounded
from unlearn.studies.dp_release.table import (
    CONSISTENT,
    LEVEL_NAMES,
    LOCAL,
    MECHANISM_NAMES,
    PUBLISHED,
    SPAN_NAMES,
    TRUE,
    DpReleaseTable,
)
from unlearn.studies.dp_release.verdict import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL_COLOURS = {"event": GREEN, "day": BLUE, "household": RED}
SPAN_FORMS = {"hour": ":", "day": "-.", "week": "--", "year": "-"}


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw all panels in one figure."""
    table = DpReleaseTable(records)
    title = f"Differential privacy of {table.setting('customers'):.0f} homes of {table.about['data']}"
    drawn, axes = panels([["homes", "audit"], ["mape", "cost"]], title, (12.4, 10.4))
    for name, draw in PANELS.items():
        draw(axes[name], table)
    return drawn


@styled
def single(records: pd.DataFrame, name: str) -> Figure:
    """Panels of one figure of the page."""
    shown = FIGURES[name]
    table = DpReleaseTable(records)
    size = (10.8 if len(shown) > 1 else 8.4, 1.6 + 0.2 * len(_audits(table)) if name == "audit" else 4.6)
    drawn, axes = panels([list(shown)], "", size)
    for own in shown:
        PANELS[own](axes[own], table)
    return drawn


def write_page(records: pd.DataFrame, png: Path, path: Path) -> Path:
    """Write the page of some records and the figures that `save` wrote, all or nothing."""
    return fill(page(records, beside(png, FIGURES)), records, None, path)


def draw_homes(axis: Axes, table: DpReleaseTable) -> None:
    """Homes that an error of 1 % takes over ε, by level and span; a span that takes no more is not drawn again."""
    drawn: list[list[float]] = []
    for span in table.spans:
        for level in table.levels:
            homes = [table.homes(level, span, epsilon) for epsilon in table.epsilons]
            if not np.isfinite(homes).all() or any(np.allclose(homes, own, rtol=0.02) for own in drawn):
                continue
            drawn.append(homes)
            alone = span == table.spans[0]
            label = f"{SPAN_NAMES[span]}, any level" if alone else f"{SPAN_NAMES[span]}, {LEVEL_NAMES[level]}"
            colour = INK if alone else LEVEL_COLOURS[level]
            axis.plot(table.epsilons, homes, SPAN_FORMS[span], marker="o", markersize=3.5, color=colour, label=label)
    if not drawn:
        note(axis, "not measured")
        return
    axis.set(xscale="log", yscale="log", xlabel="ε", ylabel="homes", title="Homes that noise of 1 % takes")
    axis.set_xticks(table.epsilons, [f"{own:g}" for own in table.epsilons])
    axis.minorticks_off()
    for what in ("homes_per_feeder", "customers"):
        here = table.setting(what)
        reference(axis, here, "", "-", FAINT)
        said = "a feeder here" if what == "homes_per_feeder" else "all homes here"
        axis.annotate(f"{said}, {rounded(here)}", (table.epsilons[0], here), (0, 2), textcoords="offset points",
                      fontsize=7.5, color="0.35")  # fmt: skip
    legend_below(axis, 0.16, handlelength=3.2)


def draw_audit(axis: Axes, table: DpReleaseTable) -> None:
    """Lower bounds on ε over the promise, a row for each release."""
    found = _audits(table)
    if not found:
        note(axis, "not measured")
        return
    for place, (_, own) in enumerate(found.items()):
        for row in own:
            over = row["value"] > row["epsilon"]
            axis.plot(
                row["value"] / row["epsilon"], place, "X" if over else "o", color=RED if over else BLUE, markersize=6
            )
    rows(axis, list(found))
    reference(axis, 1.0, upright=True, colour=INK)
    most = max(row["value"] / row["epsilon"] for own in found.values() for row in own)
    axis.set_xlim(-0.05, max(1.2, 1.05 * most))
    axis.plot([], [], "o", color=BLUE, label="within the promise")
    axis.plot([], [], "X", color=RED, label="beyond it")
    axis.set(xlabel="lower bound on ε over the promised ε", title="Audits: beyond 1 a promise is broken")
    legend_below(axis, 0.14)


def _audits(table: DpReleaseTable) -> dict[str, list[dict]]:
    """Audited releases by how they are called, intact ones first."""
    found: dict[str, list[dict]] = {}
    for part, broken in ((table.intact, False), (table.broken, True)):
        for row in part.to_dict("records"):
            query = str(row["query"]).replace("_", " ")
            name = f"broken: {row['method']}" if broken else f"{query}, {named(row['mechanism'], MECHANISM_NAMES)}"
            found.setdefault(name, []).append(row)
    return found


def draw_forecasts(metric: str, axis: Axes, table: DpReleaseTable) -> None:
    """MAPE or cost over ε, by level; solid of the feeders as they are, dashed of larger ones."""
    epsilons = sorted(table.rows("utility", metric)["epsilon"].dropna().unique().tolist())
    if not epsilons:
        note(axis, "not measured")
        return
    for larger, form in zip(table.larger, ("o-", "s--", "^:"), strict=False):
        for level, colour in LEVEL_COLOURS.items():
            points: dict[float, Spread] = {}
            for epsilon in epsilons:
                ways = [table.forecast(way, metric, level, epsilon, larger) for way in (PUBLISHED, CONSISTENT)]
                if known := [own for own in ways if own]:
                    points[epsilon] = min(known, key=lambda own: own.mean)
            if points:
                line(axis, points, colour, LEVEL_NAMES[level] if larger == table.larger[0] else "", form, markersize=4)
        if larger > 1:
            axis.plot([], [], form, color="0.4", markersize=4, label=f"feeders {larger} times as large")
    local = {epsilon: own for epsilon in epsilons if (own := table.forecast(LOCAL, metric, "event", epsilon))}
    if local:
        line(axis, local, ORANGE, "a reading, noise at each meter", "v-", markersize=4)
    lines = [(TRUE, "true loads", "--", INK), (WEEK_BEFORE, "load of a week before", ":", PURPLE)]
    lines += [(PERFECT, "perfect forecast", "-", FAINT)] if metric == "cost" else []
    for method, label, style, colour in lines:
        if own := table.forecast(method, metric):
            reference(axis, own.mean, label, style, colour)
    axis.set(
        xscale="log", yscale="log", xlabel="ε", title=f"Forecasts: {_METRICS[metric][0]}", ylabel=_METRICS[metric][1]
    )
    axis.set_xticks(epsilons, [f"{own:g}" for own in epsilons])
    axis.xaxis.set_minor_locator(_no_ticks())
    axis.yaxis.set_major_formatter(_plain())
    axis.yaxis.set_minor_formatter(_plain(few=True))
    legend_below(axis, 0.16, fontsize=7.5, handlelength=3.2)


_METRICS = {"mape": ("MAPE", "MAPE [%]"), "cost": ("operating cost", "money/h")}


def _no_ticks():  # type: ignore[no-untyped-def]
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _plain(few: bool = False):  # type: ignore[no-untyped-def]
    """Numbers as they are; `few` writes only those that begin with 2 or 5."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda own, _: f"{own:,.0f}" if not few or f"{own:e}"[0] in "25" else "")


def draw_mape(axis: Axes, table: DpReleaseTable) -> None:
    """MAPE over ε."""
    draw_forecasts("mape", axis, table)


def draw_cost(axis: Axes, table: DpReleaseTable) -> None:
    """Cost over ε."""
    draw_forecasts("cost", axis, table)


#: Panels by name.
PANELS: dict[str, Callable[[Axes, DpReleaseTable], None]] = {
    "homes": draw_homes,
    "audit": draw_audit,
    "mape": draw_mape,
    "cost": draw_cost,
}
#: Figures of the page: their panels.
FIGURES = {"homes": ("homes",), "utility": ("mape", "cost"), "audit": ("audit",)}

save = saver(figure, single, FIGURES)
