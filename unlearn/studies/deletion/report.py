"""The figure and the page of an audited deletion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from unlearn.reporting.figure import CRITERION_COLOURS, new_figure, save_figure, styled
from unlearn.reporting.labels import CRITERION_NAMES, FORECASTER_NAMES
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.deletion.verdict import (
    ALIKE,
    ANSWERS,
    ATTACK_NAMES,
    DECIDING,
    METHOD_NAMES,
    PLAIN,
    DeletionTable,
    Model,
    answer_list,
    attack_table,
    model_table,
    summarise_deletion,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Statistics of the first panel: attack, scope, name, colour.
STATISTICS = (
    ("parameters", "set", "all rows: parameters", "#222222"),
    ("likelihood_ratio", "set", "all rows: likelihood ratio", "#2b6ca3"),
    ("loss", "set", "all rows: loss", "#dd8452"),
    ("likelihood_ratio", "row", "one row: likelihood ratio", "#6b9bc3"),
    ("loss", "row", "one row: loss", "#eab38c"),
)
#: Methods whose models are drawn by themselves in the first panel.
METHODS = ("original", "first_order", "unlearnt")


def deletion_figure(records: pd.DataFrame) -> Figure:
    """Draw the attacks on each model with intervals, and leak, cost and distance over λ₁.

    Args:
        records: of `Audit`, one deletion.

    Raises:
        InputError: records of something else, or of several deletions.
    """
    table = DeletionTable(records)
    about = table.about
    name = FORECASTER_NAMES.get(str(about["forecaster"]), str(about["forecaster"]))
    title = f"{name}: {100 * about['proportion']:.0f} % of the rows removed ({about['selection']})"
    figure, axes = new_figure(2, 3, title)
    draw_recognised(axes[0][0], table)
    draw_rows(axes[0][1], table)
    draw_scores(axes[0][2], table)
    draw_leak(axes[1][0], table)
    draw_released(axes[1][1], table, "cost", "operating cost [money/h]", "what the forecasts cost")
    draw_released(axes[1][2], table, "distance_to_retrained", "relative distance", "distance to the retrained model")
    return figure


def save_deletion(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(deletion_figure(records), stem, records)
    return png


@styled
def draw_recognised(axis: Axes, table: DeletionTable) -> None:
    """AUC of telling models of each method from models that never saw the rows."""
    for shift, (attack, scope, label, colour) in enumerate(STATISTICS):
        for place, method in enumerate(METHODS):
            found = table.attack(Model(method), attack, scope=scope)
            at = place + 0.15 * (shift - 2)
            reach = [[found.value - found.low], [found.high - found.value]]
            name = label if not place else None
            axis.errorbar(at, found.value, reach, fmt="o", color=colour, markersize=4, capsize=2, label=name)
    axis.axhline(0.5, color="0.35", linewidth=0.8, linestyle="--")
    names = ["original", "first-order\nupdate", "complete\nunlearning"]
    axis.set_xticks(range(len(METHODS)), names)
    axis.set(ylim=(-0.03, 1.05), ylabel="AUC", title="saw the rows, or never did?")
    axis.grid(visible=False, axis="x")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)


@styled
def draw_rows(axis: Axes, table: DeletionTable) -> None:
    """Share of training rows found at low false positive rates, no deletion involved; dashes are guessing."""
    own = table.records[table.records["scope"] == "forecaster"]
    rates = sorted({float(m.removeprefix("tpr_at_fpr_")) for m in own["metric"] if m.startswith("tpr_at_fpr_")})
    for shift, (attack, colour) in enumerate((("likelihood_ratio", "#2b6ca3"), ("loss", "#dd8452"))):
        auc = table.forecaster(attack, "auc")
        label = f"{ATTACK_NAMES[attack]}: AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})"
        for place, rate in enumerate(rates):
            found = table.forecaster(attack, f"tpr_at_fpr_{rate:g}")
            reach = [[100 * (found.value - found.low)], [100 * (found.high - found.value)]]
            at = place + 0.3 * (shift - 0.5)
            axis.bar(at, 100 * found.value, 0.28, color=colour, label=label if not place else None)
            axis.errorbar(at, 100 * found.value, reach, color="0.2", linewidth=0.9, capsize=2)
    for place, rate in enumerate(rates):
        axis.plot([place - 0.4, place + 0.4], [100 * rate] * 2, color="0.35", linewidth=1, linestyle="--")
    axis.set_xticks(range(len(rates)), [f"{100 * rate:g} % false alarms" for rate in rates])
    axis.set(ylabel="training rows found [%]", title="one row of the forecaster (no deletion)")
    axis.grid(visible=False, axis="x")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12))


@styled
def draw_scores(axis: Axes, table: DeletionTable) -> None:
    """Score of each released model, in standard deviations of models that never saw the rows."""
    axis.axhspan(-1.96, 1.96, color="0.5", alpha=0.18, linewidth=0, label="95 % of models that never saw them")
    _over_budgets(axis, table, lambda model: table.released(model, "standard_score"))
    for method, style in (("original", "-"), ("first_order", ":"), ("unlearnt", "--")):
        score = table.released(Model(method), "standard_score")
        axis.axhline(score, color="0.25", linestyle=style, linewidth=1.1, label=f"{METHOD_NAMES[method]}, {score:.1f}")
    axis.set(ylabel="score [standard deviations]", title="released models: as if they had seen them?")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)


@styled
def draw_leak(axis: Axes, table: DeletionTable) -> None:
    """AUC over λ₁: re-weighted models that saw the rows against re-weighted and (dashed) plain ones that did not."""
    width = 0.012 * (max(table.budgets) or 1.0)
    for place, criterion in enumerate(table.criteria):
        models = [Model("reweighted", criterion, budget) for budget in table.budgets]
        leak = [table.attack(model, DECIDING, against=ALIKE) for model in models]
        colour = CRITERION_COLOURS[criterion]
        # Side by side, as curves often lie on each other.
        at = [budget + width * (place - (len(table.criteria) - 1) / 2) for budget in table.budgets]
        reach = [[f.value - f.low for f in leak], [f.high - f.value for f in leak]]
        look: dict[str, Any] = {"color": colour, "markersize": 3.5, "capsize": 2, "elinewidth": 0.9}
        axis.errorbar(at, [f.value for f in leak], reach, fmt="o-", label=_program(criterion), **look)
        plain = [table.attack(model, DECIDING, against=PLAIN).value for model in models]
        axis.plot(at, plain, ":", color=colour, linewidth=1)
    axis.plot([], [], ":", color="0.35", label="beside plain models")
    axis.axhline(0.5, color="0.35", linewidth=0.8, linestyle="--")
    axis.set(xlabel="λ₁", ylabel="AUC", ylim=(0.35, 1.03))
    axis.set_title("what re-weighting leaks of the rows")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)


@styled
def draw_released(axis: Axes, table: DeletionTable, metric: str, label: str, title: str) -> None:
    """A number of the released models over λ₁, beside the original and the retrained one."""
    _over_budgets(axis, table, lambda model: table.released(model, metric))
    methods = ("original", "retrained") if metric == "cost" else ("original", "first_order")
    for method, style in zip(methods, ("-", "--"), strict=True):
        value = table.released(Model(method), metric)
        axis.axhline(value, color="0.25", linestyle=style, linewidth=1.1, label=f"{METHOD_NAMES[method]}, {value:.3g}")
    axis.set(ylabel=label, title=title)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)


def _over_budgets(axis: Axes, table: DeletionTable, value: Callable[[Model], float]) -> None:
    for criterion in table.criteria:
        values = [value(Model("reweighted", criterion, budget)) for budget in table.budgets]
        colour = CRITERION_COLOURS[criterion]
        axis.plot(table.budgets, values, "o-", color=colour, label=_program(criterion), markersize=3)
    axis.set_xlabel("λ₁")


def _program(criterion: str) -> str:
    return "TAMU" if criterion == "cost" else f"PAMU {CRITERION_NAMES[criterion]}"


def write_deletion_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: the answer for each model, the test, figure, numbers, and what is not claimed.

    Args:
        records: of `Audit`, one deletion.
        figure: PNG file of `save_deletion`.
        path: where the page goes.

    Raises:
        InputError: records of something else, or of several deletions.
    """
    table = DeletionTable(records)
    lead, *sentences = summarise_deletion(records)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        grid=str(records["grid"].iloc[0]),
        about=lead,
        verdicts=answer_list(table),
        answers=ANSWERS,
        sentences=sentences,
        network=str(table.about["forecaster"]) != "linear",
        models=model_table(table),
        attacks=attack_table(table),
        png=embedded(figure),
    )
