"""The figures and the page of forgetting customers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from unlearn.reporting.figure import beside, legend_below, line, note, panels, reference, saver, styled
from unlearn.reporting.page import fill
from unlearn.reporting.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED
from unlearn.reporting.verdict import Spread
from unlearn.studies.customers.options import LEAST, MOST, RANDOM
from unlearn.studies.customers.table import CASE_NAMES, CustomersTable
from unlearn.studies.customers.verdict import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CASE_COLOURS = {"objects": RED, "class_mean": BLUE, "rescale": GREEN, "leaves": INK}
CHOICE_COLOURS = {MOST: ORANGE, LEAST: PURPLE}
#: Linear below so many percent, logarithmic above.
LINEAR_BELOW = 20.0


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw all panels in one figure."""
    table = CustomersTable(records)
    about = table.about
    title = f"Forgetting customers: {int(about['n_customers'])} of {about['data']} on {about['grid']}"
    drawn, axes = panels([["share", "choice"], ["bus", "worth"]], title, (9.6, 7.6))
    for name, draw in {**FIGURES, "choice": draw_choices}.items():
        draw(axes[name], table)
    return drawn


@styled
def single(records: pd.DataFrame, name: str) -> Figure:
    """One panel alone, which is read on a narrow screen, too."""
    drawn, axes = panels([[name]], "", (5.2, 4.0))
    FIGURES[name](axes[name], CustomersTable(records))
    return drawn


def write_page(records: pd.DataFrame, png: Path, path: Path) -> Path:
    """Write the page of some records and the figures that `save` wrote, all or nothing."""
    return fill(page(records, beside(png, FIGURES)), records, None, path)


def draw_shares(axis: Axes, table: CustomersTable) -> None:
    """Change of the cost of forecast errors over the share removed, drawn at random, by request."""
    for case in table.cases:
        _draw_over_shares(axis, table, case, RANDOM, CASE_COLOURS[case], CASE_NAMES[case])
        points = _points(table, case, RANDOM, method="forgotten_tuned", against="original_tuned")
        axis.plot(list(points), [own.mean for own in points.values()], ":", color=CASE_COLOURS[case], linewidth=1.1)
    axis.plot([], [], ":", color="0.35", label="dotted: tuned before and after")
    _over_shares(axis, table, "Customers drawn at random: what fills the gap")


def draw_choices(axis: Axes, table: CustomersTable) -> None:
    """The same by who is removed, where the gap is filled."""
    case = "class_mean" if "class_mean" in table.cases else table.cases[-1]
    segments = [own for own in table.choices if own not in (RANDOM, *CHOICE_COLOURS)]
    colours = {RANDOM: CASE_COLOURS[case], **CHOICE_COLOURS}
    for k, choice in enumerate(table.choices):
        colour = colours.get(choice, str(0.25 + 0.2 * (segments.index(choice) if choice in segments else k)))
        _draw_over_shares(axis, table, case, choice, colour, choice, "s--" if choice in segments else "o-")
    _over_shares(axis, table, f"Who is removed ({CASE_NAMES[case]})")


def _points(
    table: CustomersTable, case: str, choice: str, method: str = "forgotten", against: str = "original"
) -> dict[float, Spread]:
    found = {float(k): table.added(case, choice, share, method, against) for k, share in enumerate(table.shares)}
    return {k: own for k, own in found.items() if own}


def _draw_over_shares(
    axis: Axes, table: CustomersTable, case: str, choice: str, colour: str, label: str, form: str = "o-"
) -> None:
    points = _points(table, case, choice)
    if points:
        line(axis, points, colour, label, form)


def _over_shares(axis: Axes, table: CustomersTable, title: str) -> None:
    axis.set_yscale("symlog", linthresh=LINEAR_BELOW)
    low, high = axis.get_ylim()
    ticks = [t for t in (-100, -50, -20, -10, 0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if low <= t <= high]
    axis.set_yticks(ticks, [f"{t:+,d}" if t else "0" for t in ticks])
    axis.minorticks_off()
    reference(axis, 0.0)
    axis.set_xticks(range(len(table.shares)), [f"{100 * share:g} %" for share in table.shares])
    axis.set(xlabel="customers removed", ylabel="cost of forecast errors, change [%]", title=title)
    legend_below(axis, 0.18)


def draw_buses(axis: Axes, table: CustomersTable) -> None:
    """Change of the operating cost by bus, means and ranges over seeds."""
    shown = [case for case in ("objects", "class_mean") if len(table.by_bus(case))]
    if not shown:
        note(axis, "not measured")
        return
    buses = list(table.by_bus(shown[0]).index)
    for shift, case in enumerate(shown):
        found = table.by_bus(case).loc[buses].to_numpy()
        at = np.arange(len(buses)) + 0.4 * (shift - (len(shown) - 1) / 2)
        mean = found.mean(axis=1)
        axis.bar(at, mean, 0.36, color=CASE_COLOURS[case], label=CASE_NAMES[case])
        reach = np.stack([mean - found.min(axis=1), found.max(axis=1) - mean])
        axis.errorbar(at, mean, reach, fmt="none", color="0.35", elinewidth=0.8)
    reference(axis, 0.0)
    axis.set_xticks(range(len(buses)), [str(bus).removeprefix("bus_") for bus in buses])
    axis.grid(visible=False, axis="x")
    title = f"Who pays: {100 * table.main:g} % at random, mean and range over seeds"
    axis.set(xlabel="bus", ylabel="change of cost [money/h]", title=title)
    legend_below(axis, 0.18)


def draw_worth(axis: Axes, table: CustomersTable) -> None:
    """Histogram of the worth of each customer's data."""
    gap = table.worth("cost", term="model")["value"].to_numpy()
    if not len(gap):
        note(axis, "not measured")
        return
    filled = table.worth("cost", case="class_mean")["value"].to_numpy()
    both = np.concatenate([gap, filled])
    low, high = np.quantile(both, [0.005, 0.985])
    edges = np.linspace(min(low, 0.0), max(high, 1e-9), 36)
    for values, colour, label in ((gap, RED, "gap left"), (filled, BLUE, "class mean fills")):
        if len(values):
            share = np.full(len(values), 100 / len(values))
            inside = values.clip(edges[0], edges[-1])
            label = f"{label}, median {np.median(values):.3g}"
            axis.hist(inside, edges.tolist(), weights=share, color=colour, alpha=0.55, label=label)
    reference(axis, 0.0, colour=FAINT)
    axis.set(xlabel="worth of a customer's data [money/h]", ylabel="customers [%]", title="Worth: below 0 it harms")
    legend_below(axis, 0.18)


#: Panels that the page shows, by name.
FIGURES: dict[str, Callable[[Axes, CustomersTable], None]] = {
    "share": draw_shares,
    "bus": draw_buses,
    "worth": draw_worth,
}

save = saver(figure, single, FIGURES)
