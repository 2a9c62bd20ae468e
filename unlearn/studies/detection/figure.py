"""Which detector finds anomalies, in one figure: F1, curves, and what kinds are found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.style import REAL_COLOUR, save_figure, styled
from unlearn.studies.detection.seeds import GAN, UNFAIR, AnomalyTable, Number, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of the detectors in their order; the GAN is nearly black.
_COLOURS = (*RELEASE_COLOURS, "#9a9a9a", "#d98fb5")


@styled
def anomaly_figure(records: pd.DataFrame) -> Figure:
    """Draw F1 of windows and hours, curves of windows, area under curves, and events found by kind."""
    table = AnomalyTable(records)
    figure = Figure(figsize=(14.5, 8.2), layout="constrained")
    axes = figure.subplots(2, 3)
    draw_f1(axes[0, 0], table, "window")
    draw_f1(axes[0, 1], table, "hour")
    draw_kinds(axes[0, 2], table)
    draw_areas(axes[1, 0], table)
    draw_curves(axes[1, 1], table, "recall_at_fpr")
    draw_curves(axes[1, 2], table, "precision_at_recall")
    seeds = f"{table.n_seeds} seed{'s' * (table.n_seeds > 1)}"
    figure.suptitle(
        f"Anomalies in {records['data'].iloc[0]}: test buildings after training time ({seeds}; bars: 95 % intervals "
        "over buildings, outermost of the seeds)"
    )
    return figure


def save_anomaly(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(anomaly_figure(records), stem, records)
    return png


def draw_f1(axis: Axes, table: AnomalyTable, level: str) -> None:
    """F1 at the threshold of validation, and the highest that any threshold had on test."""
    places = _places(axis, table)
    for place, name in places:
        fair = table.fair(name, "f1", level)
        if fair:
            _point(axis, place, fair, _colour(table, name))
        unfair = table.number(name, "f1", level, rule=UNFAIR)
        if unfair:
            axis.plot(unfair.mean, place, "o", markerfacecolor="none", color="0.55", markersize=6)
    axis.plot([], [], "o", color="0.2", label="threshold from validation")
    axis.plot([], [], "o", markerfacecolor="none", color="0.55", label="best threshold on test (no result)")
    axis.axvline(table.everything(level), color="0.4", linestyle="--", linewidth=1, label="everything flagged")
    axis.set_xlim(0, 1)
    axis.set_title(f"F1 of {level}s (higher is better)")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), fontsize=7, ncols=2)


def draw_areas(axis: Axes, table: AnomalyTable) -> None:
    """Area under the precision-recall curve of windows, and of hours."""
    for place, name in _places(axis, table):
        for shift, level, marker in ((-0.13, "window", "o"), (0.13, "hour", "s")):
            found = table.number(name, "pr_auc", level)
            if found:
                _point(axis, place + shift, found, _colour(table, name), marker)
    for level, marker in (("window", "o"), ("hour", "s")):
        guess = table.number(table.detectors[0], "prevalence", level)
        chance = "" if guess is None else f" (guessing {guess.mean:.2f})"
        axis.plot([], [], marker, color="0.2", linestyle="none", label=f"{level}s{chance}")
    axis.set_xlim(0, 1)
    axis.set_title("area under precision-recall curve, any threshold (higher is better)", fontsize=9)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), fontsize=7, ncols=2)


def draw_curves(axis: Axes, table: AnomalyTable, metric: str) -> None:
    """ROC or precision-recall curves of windows."""
    for name in table.detectors:
        curve = table.curve(name, metric, "window")
        width = 2.4 if name == GAN else 1.3
        axis.plot(curve.index, curve, color=_colour(table, name), linewidth=width, label=named(name))
    if metric == "recall_at_fpr":
        axis.plot([0, 1], [0, 1], ":", color="0.5")
        axis.set(xlabel="false positive rate", ylabel="recall", title="windows: ROC")
        axis.legend(fontsize=7, loc="lower right")
    else:
        axis.set(xlabel="recall", ylabel="precision", title="windows: precision and recall")
    axis.set(xlim=(0, 1), ylim=(0, 1.02))


def draw_kinds(axis: Axes, table: AnomalyTable) -> None:
    """Share of events found within a day, by detector and kind; of all events where kinds are not known."""
    columns: list[str | None] = [None, *table.kinds]
    shares = np.full((len(table.detectors), len(columns)), np.nan)
    for i, name in enumerate(table.detectors):
        for j, kind in enumerate(columns):
            found = table.fair(name, "found_within_24h", "event", kind)
            shares[i, j] = np.nan if found is None else found.mean
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        if np.isfinite(share):
            axis.text(j, i, f"{100 * share:.0f}", ha="center", va="center", color="white" if share > 0.6 else "black")
    titles = ["all", *(str(kind).replace("_", "\n") for kind in table.kinds)]
    axis.set_xticks(range(len(columns)), titles, fontsize=7)
    axis.set_yticks(range(len(table.detectors)), [named(name) for name in table.detectors])
    axis.grid(visible=False)
    axis.set_title("events found within a day [%], threshold of hours")


def _places(axis: Axes, table: AnomalyTable) -> list[tuple[int, str]]:
    """One row for each detector, the first on top."""
    axis.set_yticks(range(len(table.detectors)), [named(name) for name in table.detectors])
    axis.set_ylim(len(table.detectors) - 0.5, -0.5)
    return list(enumerate(table.detectors))


def _point(axis: Axes, place: float, found: Number, colour: str, marker: str = "o") -> None:
    reach = [[max(found.mean - found.low, 0)], [max(found.high - found.mean, 0)]]
    axis.errorbar(found.mean, place, xerr=reach, fmt=marker, color=colour, capsize=2, markersize=5)


def _colour(table: AnomalyTable, name: str) -> str:
    if name == GAN:
        return REAL_COLOUR
    return _COLOURS[[other for other in table.detectors if other != GAN].index(name) % len(_COLOURS)]
