"""Figures: one style, one way to write them, and panels that several studies draw."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from unlearn.checks import require_package
from unlearn.errors import InputError
from unlearn.reporting.labels import CRITERION_NAMES, METRIC_LABELS, NOT_A_RESULT, is_tiny
from unlearn.store import write

require_package("unlearn.reporting", "matplotlib", '"unlearn[experiments]"')

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: One colour per criterion, as in the paper: red MSE, blue MAPE, green cost.
CRITERION_COLOURS = {"mse": "#c8403f", "mape": "#2b6ca3", "cost": "#2f8f4e"}
SPLIT_COLOURS = {"remain": "#4c72b0", "unlearn": "#dd8452", "test": "#222222"}
CASE_COLOURS = {True: "#2b6ca3", False: "#dd8452"}
#: Real households are nearly black; releases have `RELEASE_COLOURS`.
REAL_COLOUR = "#222222"
NO_RESULT_COLOUR = "#b3372f"
_SHEET = Path(__file__).with_name("unlearn.mplstyle")
#: Decorator under which panels are drawn: lines, legends and fonts in the project's style.
styled = mpl.rc_context(fname=_SHEET)


def new_figure(rows: int, columns: int, title: str) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a grid of axes in the project's style, without touching pyplot's state."""
    with mpl.rc_context(fname=_SHEET):
        figure = Figure(figsize=(3.4 * columns + (1.1 if columns > 1 else 0.6), 2.7 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        figure.suptitle(title, fontsize=11)
    return figure, axes.tolist()


def save_figure(figure: Figure, stem: Path, records: pd.DataFrame) -> list[Path]:
    """Write a figure of some records as PNG and PDF, each all or nothing; it says so if they are no result."""
    if is_tiny(records):
        said = textwrap.fill(NOT_A_RESULT, int(15 * figure.get_figwidth()))
        figure.supxlabel(said, fontsize=9, color=NO_RESULT_COLOUR)

    def draw(file: Path) -> None:
        # Without a creation date, the same records give the same bytes.
        figure.savefig(file, metadata={"CreationDate": None} if file.suffix == ".pdf" else None)
        figure.set_layout_engine("none")  # what was laid out once stays

    with mpl.rc_context(fname=_SHEET):
        paths = [stem.with_suffix(suffix) for suffix in (".png", ".pdf")]
        for path in paths:
            write(path, draw)
    return paths


CRITERIA = ("mse", "mape", "cost")


@styled
def draw_completeness(axes: Sequence[Axes], records: pd.DataFrame) -> None:
    """Each criterion against the share that is forgotten: original dotted, unlearnt solid, per split."""
    chosen = _select(records, experiment="completeness")
    for axis, metric in zip(axes, CRITERIA, strict=True):
        for split, colour in SPLIT_COLOURS.items():
            for method, line in (("original", ":"), ("unlearnt", "-")):
                curve = chosen.query("metric == @metric and split == @split and method == @method")
                curve = curve.sort_values("proportion")
                marker = "o" if method == "unlearnt" else None
                axis.plot(100 * curve["proportion"], curve["value"], line, color=colour, marker=marker, label=split)
        axis.set(xlabel="share unlearnt [%]", ylabel=METRIC_LABELS[metric])
    handles = [line for line in axes[-1].get_lines() if line.get_marker() == "o"]
    _legend_beside(axes[-1], handles=handles, title="unlearnt\n(dotted: original)", title_fontsize=8)


@styled
def draw_sensitivity(axes: Sequence[Axes], records: pd.DataFrame, samples: pd.DataFrame) -> None:
    """Influence of each drawn remaining sample on one criterion against another, with Pearson's r."""
    correlations = _select(records, experiment="sensitivity", split="drawn").set_index("metric")["value"]
    drawn = samples[samples["drawn"]]
    for axis, (first, second) in zip(axes, combinations(CRITERIA, 2), strict=True):
        for over, label in ((False, "under-generation"), (True, "over-generation")):
            group = drawn[drawn["over_generated"] == over]
            axis.scatter(
                group[first], group[second], s=6, alpha=0.5, linewidths=0, color=CASE_COLOURS[over], label=label
            )
        axis.axhline(0, color="0.6", linewidth=0.6)
        axis.axvline(0, color="0.6", linewidth=0.6)
        axis.set(xlabel=_influence_label(first), ylabel=_influence_label(second))
        axis.set_title(f"r = {correlations[f'pearson_{first}_{second}']:.3f}")
        axis.ticklabel_format(scilimits=(-2, 3))
    _legend_beside(axes[-1], markerscale=2)


@styled
def draw_tradeoff(axes: Sequence[Axes], records: pd.DataFrame) -> None:
    """Each criterion on the test rows against λ₁, a curve per criterion that was balanced."""
    chosen = _select(records, experiment="tradeoff", split="test")
    for axis, metric in zip(axes, CRITERIA, strict=True):
        here = chosen[chosen["metric"] == metric]
        for criterion, colour in CRITERION_COLOURS.items():
            curve = here[here["criterion"] == criterion].sort_values("l1_budget")
            name = f"{'TAMU' if criterion == 'cost' else 'PAMU'} ({CRITERION_NAMES[criterion]})"
            axis.plot(curve["l1_budget"], curve["value"], "o-", color=colour, label=name)
        for method, line in (("original", ":"), ("retrained", "--")):
            level = float(here.loc[here["method"] == method, "value"].iloc[0])
            axis.axhline(level, linestyle=line, color="0.35", linewidth=1, label=method)
        axis.set(xlabel="$\\lambda_1$", ylabel=METRIC_LABELS[metric])
    _legend_beside(axes[-1])


@styled
def draw_distance(axis: Axes, records: pd.DataFrame) -> None:
    """Distance of TAMU's parameters to the retrained ones, and the operating cost, against λ₁."""
    tamu = _select(records, experiment="tradeoff", criterion="cost")
    distance = tamu[tamu["metric"] == "distance_to_retrained_2norm"].sort_values("l1_budget")
    cost = tamu[tamu["metric"] == "cost"].sort_values("l1_budget")
    axis.plot(distance["l1_budget"], distance["value"], "s-", color="#6b4c9a", label="parameter distance")
    axis.set(xlabel="$\\lambda_1$", ylabel="2-norm distance to retrained")
    right = axis.twinx()
    right.spines["right"].set_visible(True)
    right.grid(visible=False)
    right.plot(cost["l1_budget"], cost["value"], "o-", color=CRITERION_COLOURS["cost"], label="operating cost")
    right.set_ylabel(METRIC_LABELS["cost"])
    lines = [*axis.get_lines(), *right.get_lines()]
    axis.legend(lines, [str(line.get_label()) for line in lines], loc="upper center")


@styled
def draw_derivative(axis: Axes, records: pd.DataFrame) -> None:
    """Operating cost against λ₁ when TAMU follows the exact gradient and when it follows the published code's."""
    cost = records[(records["metric"] == "cost") & (records["criterion"] == "cost")]
    for experiment, line, name in (("tradeoff", "o-", "exact"), ("derivative", "s--", "cvxpylayers' default")):
        curve = _select(cost, experiment=experiment).sort_values("l1_budget")
        colour = CRITERION_COLOURS["cost"] if experiment == "tradeoff" else "0.45"
        axis.plot(curve["l1_budget"], curve["value"], line, color=colour, label=name)
    axis.set(xlabel="$\\lambda_1$", ylabel=METRIC_LABELS["cost"])


def _influence_label(criterion: str) -> str:
    return f"influence on {METRIC_LABELS[criterion].replace('Operating', 'operating')}"


def _legend_beside(axis: Axes, **options: Any) -> None:
    """Put the legend to the right of the last panel, where it covers no curve."""
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), **options)


def _select(records: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    chosen = records
    for column, value in wanted.items():
        chosen = chosen[chosen[column] == value]
    if chosen.empty:
        raise InputError(f"figure: no records with {wanted}; run that experiment first.")
    return chosen
