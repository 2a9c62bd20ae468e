"""The figures and the page of federated learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from unlearn.reporting.figure import beside, legend_below, line, marks, note, panels, reference, rows, saver, styled
from unlearn.reporting.page import fill
from unlearn.reporting.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from unlearn.reporting.verdict import Spread
from unlearn.studies.federated.options import (
    ALONE,
    AVERAGED,
    EXACT,
    FEDERATED,
    HALF_BACK,
    HEAD,
    KEPT,
    LINEAR,
    MIXER,
    NOTHING_WRONG,
    OTHER_SEED,
    POOLED,
    RETRAINED,
    ROLLED_BACK,
    SECURE,
    WEIGHTED_MEAN,
)
from unlearn.studies.federated.table import (
    AGGREGATE_NAMES,
    CASE_NAMES,
    METHOD_NAMES,
    VIEW_NAMES,
    WRONG_NAMES,
    FederatedTable,
)
from unlearn.studies.federated.verdict import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WAY_COLOURS = {EXACT: GREEN, RETRAINED: BLUE, ROLLED_BACK: PURPLE, HALF_BACK: ORANGE, OTHER_SEED: GREY, KEPT: RED}
WAY_FORMS = {LINEAR: "o", HEAD: "s", MIXER: "D"}
#: Distances below are drawn at it: the last bits of double precision.
LEAST = 1e-17


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw all panels in one figure."""
    table = FederatedTable(records)
    title = (
        f"Federated learning: {table.setting('utilities'):.0f} utilities, {table.setting('households'):.0f} households "
        f"of {table.about['data']} on {table.about['grid']}"
    )
    drawn, axes = panels([["unlearning", "averaging"], ["inversion", "privacy"]], title, (12.4, 10.4))
    for name, draw in FIGURES.items():
        draw(axes[name], table)
    return drawn


@styled
def single(records: pd.DataFrame, name: str) -> Figure:
    """One figure of the page."""
    drawn, axes = panels([[name]], "", (7.6, 5.0))
    FIGURES[name](axes[name], FederatedTable(records))
    return drawn


def write_page(records: pd.DataFrame, png: Path, path: Path) -> Path:
    """Write the page of some records and the figures that `save` wrote, all or nothing."""
    return fill(page(records, beside(png, FIGURES)), records, None, path)


def draw_unlearning(axis: Axes, table: FederatedTable) -> None:
    """Distance to the never-joined model by who leaves, a mark for each way and model."""
    ways = [(way, kind) for way in WAY_COLOURS for kind in WAY_FORMS]
    found = {
        pair: own for pair in ways
        if (own := [(i, d) for i, case in enumerate(table.cases) if (d := _distance(table, case, *pair))])
    }  # fmt: skip
    if not found:
        note(axis, "not measured")
        return
    aside = np.linspace(-0.3, 0.3, max(len(found), 2))
    for (way, kind), shift in zip(found, aside, strict=False):
        name = {LINEAR: "linear", HEAD: "Mixer, exact head", MIXER: "averaged Mixer"}[kind]
        points = [(i + shift, own) for i, own in found[way, kind]]
        marks(axis, points, WAY_COLOURS[way], f"{METHOD_NAMES[way]}: {name}", WAY_FORMS[kind], across=True)
    rows(axis, [CASE_NAMES[case] for case in table.cases])
    reference(axis, 1e-9, "", ":", GREY, upright=True)
    axis.set(xscale="log", xlabel="distance of forecasts to never joined; 0 at the left", title="Who leaves")
    legend_below(axis, 0.16, fontsize=7)


def _distance(table: FederatedTable, case: str, way: str, kind: str) -> Spread | None:
    own = table.unlearnt(case, way, forecaster=kind)
    return Spread(max(own.mean, LEAST), max(own.low, LEAST), max(own.high, LEAST)) if own else None


def draw_averaging(axis: Axes, table: FederatedTable) -> None:
    """MSE of the Mixer over the pooled one's, a row for each way to train it and each thing that goes wrong."""
    right = {"wrong": NOTHING_WRONG, "aggregate": WEIGHTED_MEAN}
    wanted: dict[str, tuple[dict[str, str], str]] = {
        "each utility alone": ({"method": ALONE}, GREY),
        "linear, one secure sum": ({"method": FEDERATED}, GREEN),
        METHOD_NAMES[AVERAGED]: ({"method": AVERAGED, **right}, BLUE),
        METHOD_NAMES[SECURE]: ({"method": SECURE, **right}, BLUE),
    }
    found = [
        (name, Spread(1 + gap.mean / 100, 1 + gap.low / 100, 1 + gap.high / 100), colour)
        for name, (own, colour) in wanted.items()
        if (gap := table.gap("averaging", "mse", own, {"method": POOLED}))
    ]
    for wrong in (own for own in table.wrongs if own != NOTHING_WRONG):
        for aggregate in table.aggregates:
            if ratio := table.under(wrong, aggregate):
                colour = RED if aggregate == WEIGHTED_MEAN else ORANGE
                found.append((f"{WRONG_NAMES[wrong]}: {AGGREGATE_NAMES[aggregate]}", ratio, colour))
    if not found:
        note(axis, "not measured")
        return
    for place, (_, own, colour) in enumerate(found):
        marks(axis, [(float(place), own)], colour, "", "o", across=True)
    rows(axis, [name for name, _, _ in found])
    axis.tick_params(axis="y", labelsize=7.5)
    reference(axis, 1.0, "", "--", GREY, upright=True)
    if max(own.high for _, own, _ in found) > 5:
        axis.set_xscale("log")
        most = max(own.high for _, own, _ in found)
        ticks = [own for own in (1, 2, 5, 10, 20, 50, 100, 1000) if own <= most]
        axis.set_xticks(ticks, [f"{own:g}" for own in ticks])
        axis.minorticks_off()
    axis.set(xlabel="MSE over pooled training, or over no attack", title="Averaging of the Mixer")


def draw_inversion(axis: Axes, table: FederatedTable) -> None:
    """Error of reconstructed windows over guessing, a row for each kind of update."""
    found = [
        (view, batch, noise, own)
        for view, batch, noise in table.attacked
        if (own := table.inversion(view, batch, noise))
    ]
    if not found:
        note(axis, "not measured")
        return
    colours = dict(zip(VIEW_NAMES, (RED, ORANGE, BLUE, GREEN), strict=True))
    for place, (view, _, _, own) in enumerate(found):
        marks(axis, [(float(place), own)], colours[view], "", "o", across=True)
    names = [
        f"{VIEW_NAMES[view]}, {batch:g} window{'s' * (batch != 1)}" + ("" if np.isnan(noise) else f", {noise:g}")
        for view, batch, noise, _ in found
    ]
    rows(axis, names)
    axis.tick_params(axis="y", labelsize=7.5)
    reference(axis, 1.0, "", "--", GREY, upright=True)
    axis.set(xlabel="error over that of guessing the mean", title="Load windows from updates")
    axis.set_xlim(left=-0.05)


def draw_privacy(axis: Axes, table: FederatedTable) -> None:
    """ε over the members that are left."""
    counts = table.survivors
    if not counts:
        note(axis, "not measured")
        return
    looks = {"promised": ("promised", "--", GREY), "right": ("of what was released", "o-", GREEN),
             "naive": ("shares of noise sized for all", "s-", RED)}  # fmt: skip
    for way, (name, form, colour) in looks.items():
        points = {n: Spread.at(own) for n in counts if np.isfinite(own := table.spent(way, n))}
        line(axis, points, colour, name, form)
    axis.set_xticks(counts, [f"{own:g}" for own in counts])
    axis.set(xlabel="members left in each round", ylabel="ε", title="ε when members drop out")
    axis.set_ylim(bottom=0)
    legend_below(axis, 0.16)


#: Figures of the page, and panels of the one of all.
FIGURES: dict[str, Callable[[Axes, FederatedTable], None]] = {
    "unlearning": draw_unlearning,
    "averaging": draw_averaging,
    "inversion": draw_inversion,
    "privacy": draw_privacy,
}

save = saver(figure, single, FIGURES)
