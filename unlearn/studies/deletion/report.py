"""The figure and the page of an audited deletion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from unlearn.criteria import program
from unlearn.reporting.figure import bars, legend_below, marks, panels, reference, saver, styled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import ATTACK_NAMES, BLUE, CRITERION_COLOURS, INK, METHOD_NAMES, ORANGE
from unlearn.reporting.verdict import Spread
from unlearn.studies.deletion.verdict import ALIKE, DECIDING, DeletionTable, Model, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Statistics of the first panel: attack, scope, name, colour.
STATISTICS = (
    ("parameters", "set", "all rows: parameters", INK),
    ("likelihood_ratio", "set", "all rows: likelihood ratio", BLUE),
    ("loss", "set", "all rows: loss", ORANGE),
    ("likelihood_ratio", "row", "one row: likelihood ratio", "#6b9bc3"),
    ("loss", "row", "one row: loss", "#eab38c"),
)
#: Methods whose models are drawn by themselves in the first panel.
METHODS = ("original", "first_order", "unlearnt")


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw the attacks on each model with intervals, and leak, cost and distance over λ₁."""
    table = DeletionTable(records)
    title = (
        f"{table.forecaster}: {100 * table.about['proportion']:.0f} % of the rows removed ({table.about['selection']})"
    )
    drawn, axes = panels([["recognised", "rows", "scores"], ["leak", "cost", "distance"]], title)
    draw_recognised(axes["recognised"], table)
    draw_rows(axes["rows"], table)
    draw_scores(axes["scores"], table)
    draw_leak(axes["leak"], table)
    draw_released(axes["cost"], table, "cost", "operating cost [money/h]", "what the forecasts cost")
    title = "distance to the retrained model"
    draw_released(axes["distance"], table, "distance_to_retrained", "relative distance", title)
    return drawn


save = saver(figure)
write_page = page_writer(page)


def draw_recognised(axis: Axes, table: DeletionTable) -> None:
    """AUC of telling models of each method from models that the rows are out of."""
    for shift, (attack, scope, label, colour) in enumerate(STATISTICS):
        found = [table.attack(method, attack, scope=scope) for method in METHODS]
        marks(axis, [(place + 0.15 * (shift - 2), own) for place, own in enumerate(found)], colour, label)
    reference(axis, 0.5)
    axis.set_xticks(range(len(METHODS)), ["original", "first-order\nupdate", "complete\nunlearning"])
    axis.set(ylim=(-0.03, 1.05), ylabel="AUC", title="rows in, or out?")
    axis.grid(visible=False, axis="x")
    legend_below(axis, 0.24)


def draw_rows(axis: Axes, table: DeletionTable) -> None:
    """Share of training rows found at low false positive rates, no deletion involved; dashes are guessing."""
    series, colours = {}, {}
    for attack, colour in (("likelihood_ratio", BLUE), ("loss", ORANGE)):
        label = f"{ATTACK_NAMES[attack]}: AUC {table.rows(attack, 'auc').text('.3f')}"
        series[label] = [table.rows(attack, f"tpr_at_fpr_{rate:g}").times(100) for rate in table.rates]
        colours[label] = colour
    bars(axis, [f"{100 * rate:g} % false alarms" for rate in table.rates], series, colours)
    for place, rate in enumerate(table.rates):
        axis.plot([place - 0.4, place + 0.4], [100 * rate] * 2, color="0.35", linewidth=1, linestyle="--")
    axis.set(ylabel="training rows found [%]", title="one row of the forecaster (no deletion)")
    legend_below(axis, 0.12, ncols=1)


def draw_scores(axis: Axes, table: DeletionTable) -> None:
    """Score of each released model, in standard deviations of models that the rows are out of."""
    axis.axhspan(-1.96, 1.96, color="0.5", alpha=0.18, linewidth=0, label="95 % of models with the rows out")
    _over_budgets(axis, table, lambda model: table.released(model, "standard_score"))
    for method, form in (("original", "-"), ("first_order", ":"), ("unlearnt", "--")):
        score = table.released(method, "standard_score")
        reference(axis, score, f"{METHOD_NAMES[method]}, {score:.1f}", form)
    axis.set(ylabel="score [standard deviations]", title="released models: like rows in?")
    legend_below(axis, 0.24)


def draw_leak(axis: Axes, table: DeletionTable) -> None:
    """AUC over λ₁: re-weighted models with the rows in against re-weighted and (dotted) plain ones with them out."""
    width = 0.012 * (max(table.budgets, default=0) or 1.0)
    for place, criterion in enumerate(table.criteria):
        colour, models = CRITERION_COLOURS[criterion], table.reweighted(criterion)
        # Side by side, as curves often lie on each other.
        at = [budget + width * (place - (len(table.criteria) - 1) / 2) for budget in table.budgets]
        leak: list[Spread] = [table.attack(model, DECIDING, against=ALIKE) for model in models]
        marks(axis, list(zip(at, leak, strict=True)), colour, program(criterion), "o-", elinewidth=0.9)
        axis.plot(at, [table.attack(model, DECIDING).mean for model in models], ":", color=colour, linewidth=1)
    axis.plot([], [], ":", color="0.35", label="against plain models")
    reference(axis, 0.5)
    axis.set(xlabel="λ₁", ylabel="AUC", ylim=(0.35, 1.03), title="what re-weighting leaks of the rows")
    legend_below(axis, 0.24)


def draw_released(axis: Axes, table: DeletionTable, metric: str, label: str, title: str) -> None:
    """A number of the released models over λ₁, and of the original and the retrained one."""
    _over_budgets(axis, table, lambda model: table.released(model, metric))
    for method, form in (("original", "-"), ("retrained" if metric == "cost" else "first_order", "--")):
        value = table.released(method, metric)
        reference(axis, value, f"{METHOD_NAMES[method]}, {value:.3g}", form)
    axis.set(ylabel=label, title=title)
    legend_below(axis, 0.24)


def _over_budgets(axis: Axes, table: DeletionTable, value: Callable[[Model], float]) -> None:
    for criterion in table.criteria:
        values = [value(model) for model in table.reweighted(criterion)]
        axis.plot(
            table.budgets, values, "o-", color=CRITERION_COLOURS[criterion], label=program(criterion), markersize=3
        )
    axis.set_xlabel("λ₁")
