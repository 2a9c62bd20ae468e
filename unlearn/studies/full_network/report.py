"""The figure and the page of the full-network study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from unlearn.reporting.figure import new_figure, save_figure, styled
from unlearn.reporting.labels import FORECASTER_NAMES
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.full_network.verdict import (
    METHOD_NAMES,
    NOTE,
    TITLE,
    at_chosen_condition,
    conditions_table,
    noise_share,
    sentences_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHOD_COLOURS = {"head": "#2f8f4e", "gauss_newton": "#2b6ca3", "hessian": "#6b4c9a", "other seeds": "0.6"}
#: Bars: metric, use, truth of the network, label.
SCORES = (
    ("spearman", "single", "scratch", "single\nrows"),
    ("spearman", "group", "scratch", "groups"),
    ("spearman", "group", "warm", "groups,\nwarm"),
    ("lds", "subset", "scratch", "halves\n(LDS)"),
)
#: Shares of the distance below this are drawn here: they are 0 but for rounding.
SMALLEST_SHARE = 0.05
#: Curves that end above this share stand apart and are labelled with their condition.
FAR = 1.2


def full_network_figure(records: pd.DataFrame) -> Figure:
    """Draw predicted against true changes, their correlations, and the distance that Newton steps leave."""
    own = at_chosen_condition(records)
    name = FORECASTER_NAMES[str(own["forecaster"].iloc[0])]
    seeds = own["seed"].nunique()
    figure, axes = new_figure(
        2, 2, f"Leaving rows out of a whole {name} and of its head alone ({seeds} seed{'s' * (seeds > 1)})"
    )
    draw_changes(axes[0][0], own, "head", "exact")
    draw_changes(axes[0][1], own, "gauss_newton", "scratch")
    draw_scores(axes[1][0], own)
    draw_left(axes[1][1], records)
    return figure


def save_full_network(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(full_network_figure(records), stem, records)
    return png


@styled
def draw_changes(axis: Axes, records: pd.DataFrame, method: str, truth: str) -> None:
    """Predicted change of the test MSE of each group against the true one; the band is the noise floor."""
    keys = ["seed", "group"]
    groups = records[records["use"] == "group"]
    true = groups[(groups["metric"] == "true_change") & (groups["truth"] == truth)].set_index(keys)["value"]
    predicted = groups[(groups["metric"] == "predicted_change") & (groups["method"] == method)]
    for predictor, marker in (("influence", "o"), ("newton", "x")):
        values = predicted[predicted["predictor"] == predictor].set_index(keys)["value"]
        both = pd.concat({"true": true, "predicted": values}, axis=1).dropna()
        axis.scatter(
            1e3 * both["true"],
            1e3 * both["predicted"],
            s=12,
            marker=marker,
            linewidths=0.8,
            alpha=0.7,
            color=METHOD_COLOURS[method] if marker == "x" else "#dd8452",
            label={"influence": "influence", "newton": "Newton step"}[predictor],
        )
    ends = 1e3 * np.array([min(true.min(), 0.0), max(true.max(), 0.0)])
    axis.plot(ends, ends, color="0.35", linewidth=0.8, linestyle="--", label="exact")
    axis.legend(loc="upper left")
    noise = records[
        (records["use"] == "noise") & (records["selection"] == "order") & (records["metric"] == "true_change")
    ]
    if truth == "scratch" and len(noise):
        spread = 1e3 * float(np.sqrt((noise["value"] ** 2).mean()))
        band = axis.axvspan(-spread, spread, color="0.5", alpha=0.15, linewidth=0, label="another batch order")
        # The other marks mean the same as in the panel beside.
        axis.legend(handles=[band], loc="upper left")
    unit = "[10$^{-3}$ p.u.$^2$]"
    axis.set(xlabel=f"true change of the test MSE {unit}", ylabel=f"predicted {unit}")
    axis.set_title("head alone" if method == "head" else f"whole network, {METHOD_NAMES[method]}")


@styled
def draw_scores(axis: Axes, records: pd.DataFrame) -> None:
    """Correlation of influence with refits: mean over seeds, and the range over seeds."""
    width = 0.2
    for shift, method in enumerate(METHOD_NAMES):
        for place, (metric, use, truth, _) in enumerate(SCORES):
            own = records[(records["metric"] == metric) & (records["use"] == use) & (records["over"] == "seed")]
            own = own[(own["method"] == method) & (own["truth"] == ("exact" if method == "head" else truth))]
            values = own[own["predictor"].isin(["influence", "refit"])]["value"]
            if values.empty:
                continue
            at, mean = place + (shift - 1.5) * width, values.mean()
            reach = [[mean - values.min()], [values.max() - mean]]
            label = METHOD_NAMES[method] if place == 0 else None
            axis.bar(at, mean, width, color=METHOD_COLOURS[method], label=label)
            axis.errorbar(at, mean, reach, color="0.2", linewidth=0.9, capsize=2)
    axis.axhline(0, color="0.35", linewidth=0.8)
    axis.set_xticks(range(len(SCORES)), [label for *_, label in SCORES])
    axis.set(ylabel="rank correlation of\ninfluence with refits", ylim=(None, 1.05))
    axis.grid(visible=False, axis="x")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


@styled
def draw_left(axis: Axes, records: pd.DataFrame) -> None:
    """Share of the distance to the refit that a Newton step leaves, by the share of rows: median and quartiles.

    Chosen conditions are solid (refits from scratch) and dashed (warm ones), the others dotted.
    """
    chosen = at_chosen_condition(records)
    other = records.drop(chosen.index)
    for method, truth, line in (
        ("head", "exact", "o-"),
        ("gauss_newton", "scratch", "o-"),
        ("hessian", "scratch", "o-"),
    ):
        low, middle, high = (_left(chosen, method, truth).quantile(q) for q in (0.25, 0.5, 0.75))
        label = METHOD_NAMES[method]
        if (middle < SMALLEST_SHARE).all():
            label += f": {middle.max():.0e}"
        at = 100 * np.asarray(middle.index, dtype=float)
        drawn = [np.maximum(curve, SMALLEST_SHARE) for curve in (low, middle, high)]
        axis.plot(at, drawn[1], line, color=METHOD_COLOURS[method], label=label, markersize=3)
        axis.fill_between(at, drawn[0], drawn[2], color=METHOD_COLOURS[method], alpha=0.15, linewidth=0)
    for method in ("gauss_newton", "hessian"):
        warm = _left(chosen, method, "warm").median()
        label = f"{METHOD_NAMES[method]}, warm"
        axis.plot(100 * warm.index, warm, "s--", color=METHOD_COLOURS[method], label=label, markersize=3)
        for number, condition in enumerate(sorted(other.loc[other["method"] == method, "condition"].dropna().unique())):
            middle = _left(other[other["condition"] == condition], method, "scratch").median()
            name = f"{METHOD_NAMES[method]}, other $\\kappa$" if not number else None
            axis.plot(100 * middle.index, middle, ":", color=METHOD_COLOURS[method], label=name, linewidth=1)
            if middle.iloc[-1] > FAR:
                axis.text(100 * middle.index[-1], middle.iloc[-1], f" $10^{{{np.log10(condition):.0f}}}$", va="center")
    floor = noise_share(records)
    axis.plot(100 * floor.index, floor, "-", color="0.6", label="another batch order", linewidth=1)
    axis.axhline(1, color="0.35", linewidth=0.8)
    axis.set(
        xlabel="share of rows left out [%]", ylabel="share of the distance to the\nrefit that is left", yscale="log"
    )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def _left(records: pd.DataFrame, method: str, truth: str) -> Any:
    """Shares that are left, grouped by the share of rows."""
    own = records[(records["metric"] == "distance_to_refit") & (records["use"] == "group")]
    return own[(own["method"] == method) & (own["truth"] == truth)].groupby("proportion")["value"]


def write_full_network_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page.

    Args:
        records: of the study.
        figure: its PNG file.
        path: where the page goes.
    """
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        title=TITLE,
        note=NOTE,
        source=records["data"].iloc[0],
        sentences=sentences_of(records),
        rows=conditions_table(records),
        png=embedded(figure),
    )
