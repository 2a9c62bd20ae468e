"""The three figures and the page of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from unlearn.reporting.figure import (
    legend_beside,
    line,
    note,
    panels,
    reference,
    rows,
    save_figure,
    styled,
    tiled,
)
from unlearn.reporting.page import fill
from unlearn.reporting.style import (
    BLUE,
    FORECASTER_NAMES,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    named,
)
from unlearn.reporting.verdict import Spread, select
from unlearn.studies.tuning.table import (
    CHOSEN,
    COMPLETE,
    NETWORK,
    ORIGINAL,
    PAPER_RATIO,
    QUANTILE,
    SCALE,
    SETTING,
    TAMU,
    WEIGHTS,
    TuningTable,
    column,
    label,
)
from unlearn.studies.tuning.verdict import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Kinds of methods, with a colour each.
KINDS = {"no tuning": INK, "published: saw removed rows": RED, "from remaining rows alone": BLUE}
KINDS |= {"network trained anew": PURPLE}
#: Colour and marker of each method, where several stand in one panel.
LOOKS = {
    ORIGINAL: ("0.55", "X"),
    COMPLETE: (INK, "*"),
    "reweighted/mse": ("#ecb7b4", "v"),
    "reweighted/mape": ("#c98b88", "^"),
    TAMU: (RED, "D"),
    SCALE: (BLUE, "o"),
    "affine": ("#4aa5b5", "s"),
    QUANTILE: (GREEN, "P"),
    WEIGHTS: (ORANGE, "p"),
    "head": (PURPLE, "h"),
    CHOSEN: ("#8c6d31", "<"),
    NETWORK: ("#c05a9c", ">"),
}
#: Suffix of a figure's file, and its caption.
CAPTIONS = {
    "": "Cost by method on the test rows, relative to complete unlearning in the same setting (dashed). A mark is a "
    "setting: a dot where helpful rows were removed, a square otherwise. Bars are medians, lines ranges.",
    "_prices": "Cost against the ratio of shedding's to storing's prices, relative to complete unlearning at the same "
    "prices: mean over selections and seeds, with their range. Below 1 is better than complete unlearning.",
    "_front": "MAPE against cost relative to complete unlearning. Marks are methods; curves are tunings for a weighted "
    "sum of cost and MSE, from cost alone to more and more weight on MSE. Lower and further left is better.",
}
#: Relative costs above this are drawn on a logarithmic axis, whose ticks are these.
FAR = 2.0
TICKS = (0.1, 0.2, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw cost by method relative to complete unlearning, a panel per forecaster."""
    table = TuningTable(records)
    kinds = table.forecasters
    names = [name for name in table.names if name != COMPLETE]
    shown = [kind for kind in KINDS if kind in {kind_of(name) for name in names}]
    size = (max(2.4 + 2.9 * len(kinds), 8.5), 1.5 + 0.29 * len(names))  # the legend needs as much
    drawn, axes = panels([kinds], "Cost by method", size, legend={kind: KINDS[kind] for kind in shown})
    ends = float(table.ratio[names].min().min()), float(table.ratio[names].max().max())
    for kind in kinds:
        draw_costs(axes[kind], table, kind, names)
        if kind != kinds[0]:
            axes[kind].tick_params(labelleft=False)
    if np.isfinite(ends).all():
        low, high = min(ends[0], 1.0), max(ends[1], 1.0)
        room = min(0.04 * (high - low) + 0.01, 0.5 * low)
        for axis in axes.values():  # one scale, so that panels compare
            if high > FAR:
                places = [place for place in TICKS if low <= place <= high]
                axis.set_xscale("log")
                axis.set_xticks(places, [f"{place:g}" for place in places])
                axis.minorticks_off()
            axis.set_xlim(low - room, high + room)
    return drawn


@styled
def price_figure(records: pd.DataFrame) -> Figure:
    """Draw cost against the ratio of prices, a panel per data set."""
    table = TuningTable(records)
    swept = table.prices
    sources = list(dict.fromkeys(swept.index.get_level_values("data"))) if len(swept) else [""]
    grid = tiled(sources, 2)
    size = (2.6 + 3.9 * len(grid[0]), 0.6 + 3.3 * len(grid))
    drawn, axes = panels(grid, "Cost against the price of shedding", size)
    for source in sources:
        if not source:
            note(axes[source], "no price sweep in these records")
            continue
        draw_prices(axes[source], swept[swept.index.get_level_values("data") == source])
        axes[source].set_title(source)
    if sources != [""]:
        legend_beside(axes[grid[0][-1]])
    return drawn


@styled
def front_figure(records: pd.DataFrame) -> Figure:
    """Draw MAPE against cost, a panel per forecaster and data set whose front was walked."""
    table = TuningTable(records)
    fronts = fronts_of(table)
    names = list(fronts) or [""]
    grid = tiled(names, 3)
    drawn, axes = panels(grid, "MAPE against cost", (2.6 + 3.7 * len(grid[0]), 0.6 + 3.3 * len(grid)))
    for name in names:
        if not name:
            note(axes[name], "no front in these records")
            continue
        draw_front(axes[name], table, *fronts[name])
        axes[name].set_title(name)
    if names != [""]:
        legend_beside(axes[grid[0][-1]])
    return drawn


def save(records: pd.DataFrame, stem: Path) -> Path:
    """Save the three figures as PNG and PDF; return the PNG of cost by method."""
    drawings = {"": figure, "_prices": price_figure, "_front": front_figure}
    files = [
        save_figure(draw(records), stem.with_name(stem.name + suffix), records) for suffix, draw in drawings.items()
    ]
    return files[0]


def write_page(records: pd.DataFrame, png: Path, path: Path) -> Path:
    """Write the page of some records and the figures that `save` wrote, all or nothing."""
    figures = [(caption, png.with_name(png.stem + suffix + png.suffix)) for suffix, caption in CAPTIONS.items()]
    return fill(page(records, figures), records, None, path)


def kind_of(name: str) -> str:
    """The kind of a method, which its colour shows."""
    if name == NETWORK:
        return list(KINDS)[3]
    if name.startswith("reweighted/"):
        return list(KINDS)[1]
    return list(KINDS)[0 if name in (ORIGINAL, COMPLETE) else 2]


def draw_costs(axis: Axes, table: TuningTable, forecaster: str, names: Sequence[str]) -> None:
    """A row per method: a dot for each setting, their range, and their median."""
    for place, name in enumerate(names):
        own = column(table.ratio, name)
        values = own[own.index.get_level_values("forecaster") == forecaster].dropna()
        if values.empty:
            axis.text(0.02, place, "not measured", va="center", color=GREY, transform=axis.get_yaxis_transform())
            continue
        colour = KINDS[kind_of(name)]
        axis.plot([values.min(), values.max()], [place, place], color=colour, linewidth=1.0, alpha=0.6)
        for kind, form in (("helpful", "o"), ("", "s")):
            chosen = values.index.get_level_values("selection").str.startswith("helpful") == bool(kind)
            axis.plot(
                values[chosen], [place] * int(chosen.sum()), form, color=colour, alpha=0.45, markersize=3.5,
                markeredgewidth=0,
            )  # fmt: skip
        middle = float(values.median())
        axis.plot([middle, middle], [place - 0.32, place + 0.32], color=colour, linewidth=2.6)
    reference(axis, 1.0, upright=True)
    rows(axis, [label(name) for name in names])
    axis.set(xlabel="cost / complete unlearning", title=named(forecaster, FORECASTER_NAMES))


def draw_prices(axis: Axes, swept: pd.DataFrame) -> None:
    """A line per method over price ratios, relative to complete unlearning; the paper's ratio is marked."""
    for name in TuningTable.ordered(swept):
        if name == COMPLETE or swept[name].isna().all():
            continue
        colour, marker = looks_of(name)
        points = {float(str(ratio)): Spread.of(own.dropna()) for ratio, own in swept[name].groupby("price_ratio")}
        line(axis, points, colour, label(name), f"{marker}-", markersize=4.5, linewidth=1.2)
    reference(axis, 1.0, label(COMPLETE), "-", INK)
    reference(axis, PAPER_RATIO, "the paper's prices", ":", upright=True)
    places = sorted(set(swept.index.get_level_values("price_ratio")))
    axis.set(xlabel="price of shedding / price of storing", ylabel="cost / complete unlearning", xscale="log")
    axis.set_xticks(places, [f"{place:g}" for place in places])
    axis.minorticks_off()


#: Points of a panel: of methods, and of each walked front in its order.
Front = tuple[dict[str, tuple[float, float]], dict[str, list[tuple[float, float]]]]


def fronts_of(table: TuningTable) -> dict[str, Front]:
    """MAPE and relative cost of methods and of walked fronts, by the title of their panel; seeds are averaged.

    Settings of one data set and forecaster whose front was walked are averaged, too.
    """
    own = select(table.records, part="front", split="test", metric=["cost", "mape"])
    if own.empty or "mse_weight" not in own:
        return {}
    walked = own.pivot_table("value", [*SETTING, "name", "mse_weight"], "metric", "mean", sort=False)
    found: dict[str, Front] = {}
    for (data, kind), rows_of in walked.groupby(level=["data", "forecaster"], sort=False):
        settings = [key for key in {key[: len(SETTING)]: None for key in rows_of.index} if key in table.cost.index]
        if not settings:
            continue
        level = column(table.cost, COMPLETE)
        base = pd.Series([level[key[: len(SETTING)]] for key in rows_of.index], index=rows_of.index)
        curves = {
            str(name): [
                (float(part["mape"].mean()), float(part["ratio"].mean()))
                for _, part in curve.groupby(level="mse_weight")
            ]
            for name, curve in rows_of.assign(ratio=rows_of["cost"] / base).groupby(level="name", sort=False)
        }
        points = {
            name: (float(column(table.mape, name)[settings].mean()), float(column(table.ratio, name)[settings].mean()))
            for name in table.names
        }
        known = {name: point for name, point in points.items() if np.isfinite(point).all()}
        found[f"{data}, {named(str(kind), FORECASTER_NAMES)}"] = known, curves
    return found


def draw_front(
    axis: Axes, table: TuningTable, points: Mapping[str, tuple[float, float]], curves: Mapping[str, list]
) -> None:
    """Methods as marks, walked fronts as curves."""
    for name in table.names:
        if name in points:
            colour, marker = looks_of(name)
            size = 10 if name == COMPLETE else 6.5
            axis.plot(*points[name], marker, color=colour, label=label(name), markersize=size, linestyle="none")
    for name, curve in curves.items():
        colour, said = looks_of(name)[0], f"{label(name)}: front"
        axis.plot(*zip(*curve, strict=True), ".-", color=colour, label=said, linewidth=1.2)
    reference(axis, 1.0)
    axis.set(xlabel="MAPE [%]", ylabel="cost / complete unlearning")


def looks_of(name: str) -> tuple[str, str]:
    """Colour and marker of a method."""
    return LOOKS.get(name, (GREY, "o"))
