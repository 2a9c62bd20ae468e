"""The figure and the page of what privacy costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from unlearn.reporting.figure import REAL_COLOUR, save_figure, styled
from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.private_training.household_load import MEAN
from unlearn.studies.private_training.table import ASPECTS, TASKS, ForecastTable, PrivateTable, Way, forecast_rows
from unlearn.studies.private_training.verdict import (
    accounting_table,
    mechanism_table,
    summarise_private_training,
    value_table,
)
from unlearn.studies.utility.seeds import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A ratio of fidelity up to which a release passes, as in the figure of fidelity.
_LIMIT = 2.0
_GUESSING = "guessing"


@styled
def private_training_figure(records: pd.DataFrame) -> Figure:
    """Draw a panel for fidelity, the classifier, each task, attacks on households and attacks on outliers."""
    table = PrivateTable(records)
    forecasts = ForecastTable(records)
    panels = ["fidelity", "classifier", *table.tasks, "attacks", *(["outliers"] if len(table.outliers()) else [])]
    panels += ["forecasts"] if forecasts else []
    columns = 4 if len(panels) > 6 else 3
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.7 * columns, 3.7 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, name in zip(axes, panels, strict=False):
        if name == "fidelity":
            draw_fidelity(axis, table)
        elif name == "classifier":
            draw_classifier(axis, table)
        elif name == "attacks":
            draw_attacks(axis, table)
        elif name == "outliers":
            draw_outliers(axis, table)
        elif name == "forecasts":
            _forecasts(axis, forecasts)
        else:
            draw_task(axis, table, name)
    seeds = records["seed"].nunique()
    over = f"{seeds} seed{'s' * (seeds > 1)}; bars: range over seeds, of attacks 95 % intervals"
    figure.suptitle(f"What privacy costs: training at each ε ({over})")
    return figure


def save_private_training(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(private_training_figure(records), stem, records)
    return png


def draw_fidelity(axis: Axes, table: PrivateTable) -> None:
    """Ratio of each metric to its floor."""
    for colour, aspect in zip(RELEASE_COLOURS, ASPECTS, strict=False):
        _line(axis, table.ways, {way: table.headline(way, aspect) for way in table.ways}, colour, aspect)
    _reference(axis, 1.0, "as near as other real households", REAL_COLOUR)
    _reference(axis, _LIMIT, "limit", "0.5")
    axis.set_ylim(bottom=0)
    _finish(axis, table.ways, "fidelity: distance, times the floor (lower is better)")


def draw_classifier(axis: Axes, table: PrivateTable) -> None:
    """AUC of telling released days from real ones."""
    _line(axis, table.ways, {way: table.discriminator(way) for way in table.ways}, RELEASE_COLOURS[4], "classifier")
    _reference(axis, 0.5, "cannot be told from real days", REAL_COLOUR)
    axis.set_ylim(0.45, 1.02)
    _finish(axis, table.ways, "released against real days: AUC (lower is better)")


def draw_task(axis: Axes, table: PrivateTable, task: str) -> None:
    """What stands for a task after training on each release, beside real training."""
    _, title, better = TASKS[task]
    _line(
        axis, table.ways, {way: table.task(task, way) for way in table.ways}, RELEASE_COLOURS[0], "trained on release"
    )
    for colour, (name, found) in zip((REAL_COLOUR, "0.5"), table.beside(task).items(), strict=True):
        if found:
            _reference(axis, found.mean, name, colour)
    _finish(axis, table.ways, f"{title} ({better} is better)")


def draw_attacks(axis: Axes, table: PrivateTable) -> None:
    """AUC of each membership attack on households, with intervals."""
    names = list(dict.fromkeys(name for way in table.ways for name in table.attacks(way).index))
    for i, (colour, name) in enumerate(zip(RELEASE_COLOURS, names, strict=False)):
        found = {way: table.attacks(way).loc[name] for way in table.ways if name in table.attacks(way).index}
        where = [table.ways.index(way) + 0.12 * (i - (len(names) - 1) / 2) for way in found]
        _intervals(axis, where, pd.DataFrame(list(found.values())), colour, name.replace("_", " "))
    _reference(axis, 0.5, _GUESSING, REAL_COLOUR)
    axis.set_ylim(0.2, 1.02)
    _finish(axis, table.ways, "was a household trained on? AUC of attacks")


def draw_outliers(axis: Axes, table: PrivateTable) -> None:
    """AUC of telling outliers that were trained on from others of their kind."""
    found = table.outliers()
    methods = list(found["method"].unique())
    for i, (colour, (name, own)) in enumerate(zip(RELEASE_COLOURS, found.groupby("attack", sort=False), strict=False)):
        where = [methods.index(method) + 0.15 * (i - 0.5) for method in own["method"]]
        _intervals(axis, where, own, colour, str(name).replace("_", " "))
    _reference(axis, 0.5, _GUESSING, REAL_COLOUR)
    epsilon = {method: found.loc[found["method"] == method, "epsilon"].iloc[0] for method in methods}
    told = {"not private": "learnt by heart,\nnot private", "without noise": "trained as privately,\nbut no noise"}
    axis.set_xticks(range(len(methods)), [told.get(m, f"privately,\nε = {epsilon[m]:g}") for m in methods])
    axis.set(xlim=(-0.6, len(methods) - 0.4), ylim=(0.2, 1.02), ylabel="")
    axis.set_title("outliers among few households: AUC of attacks", fontsize=10)
    axis.legend(fontsize=8)


def _line(axis: Axes, ways: list[Way], found: Mapping[Way, Spread | None], colour: str, label: str) -> None:
    """Means with their range; lines join what was trained privately, and what was not stands alone."""
    spreads = [(i, way, spread) for i, way in enumerate(ways) if (spread := found[way])]
    for joined in (True, False):
        own = [(i, spread) for i, way, spread in spreads if (way.method == "private") is joined]
        if own:
            x, kept = zip(*own, strict=True)
            reach = [[s.mean - s.low for s in kept], [s.high - s.mean for s in kept]]
            means = [s.mean for s in kept]
            line = "-" if joined else "none"
            name = label if joined or not any(way.method == "private" for way in ways) else None
            axis.errorbar(
                x, means, yerr=reach, fmt="o", linestyle=line, color=colour, label=name, capsize=2, markersize=4
            )


def _intervals(axis: Axes, where: list[float], found: pd.DataFrame, colour: str, label: str) -> None:
    reach = [found["value"] - found["low"], found["high"] - found["value"]]
    axis.errorbar(where, found["value"], yerr=reach, fmt="o", color=colour, label=label, capsize=2, markersize=4)


def _reference(axis: Axes, value: float, label: str, colour: str) -> None:
    axis.axhline(value, color=colour, linewidth=1.1, linestyle="--", label=label)


def _finish(axis: Axes, ways: list[Way], title: str) -> None:
    axis.set_xticks(range(len(ways)), [way.label for way in ways])
    axis.set(xlabel="ε", xlim=(-0.5, len(ways) - 0.5))
    axis.set_title(title, fontsize=10)
    axis.legend(fontsize=8)


def _forecasts(axis: Axes, table: ForecastTable) -> None:
    """What forecasts of households, summed up to buses, cost at each ε."""
    for colour, kind in zip(RELEASE_COLOURS, table.kinds, strict=False):
        found = [(i, table.value(kind, "cost", epsilon)) for i, epsilon in enumerate(table.epsilons)]
        kept = [(i, spread) for i, spread in found if spread]
        means = [spread.mean for _, spread in kept]
        reach = [[s.mean - s.low for _, s in kept], [s.high - s.mean for _, s in kept]]
        axis.errorbar(
            [i for i, _ in kept], means, yerr=reach, fmt="o-", color=colour, label=kind, capsize=2, markersize=4
        )
    mean = table.value(MEAN, "cost")
    if mean:
        axis.axhline(mean.mean, color=REAL_COLOUR, linewidth=1.1, linestyle="--", label=f"{MEAN}, nothing learnt")
    labels = [f"{epsilon:g}" if np.isfinite(epsilon) else "not\nprivate" for epsilon in table.epsilons]
    axis.set_xticks(range(len(labels)), labels)
    axis.set(xlabel="ε", xlim=(-0.5, len(labels) - 0.5))
    axis.set_title("grid: forecasts of households [money/h] (lower is better)", fontsize=10)
    axis.legend(fontsize=8)


def write_private_training_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: sentences, figure, what the accountants say, every number.

    Args:
        records: of `private_training`.
        figure: PNG file of `save_private_training`.
        path: where the page goes.

    Raises:
        InputError: records of something else.
    """
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=True,
        source=records["data"].iloc[0],
        sentences=summarise_private_training(records),
        accounting=accounting_table(records),
        mechanisms=mechanism_table(records),
        values=value_table(records),
        forecasts=forecast_rows(records),
        png=embedded(figure),
    )
