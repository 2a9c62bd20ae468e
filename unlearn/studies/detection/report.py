"""Figures and the page of detectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.dates import MO, WeekdayLocator

from unlearn.detectors.base import label_of
from unlearn.detectors.metrics import confusion
from unlearn.reporting.figure import legend_below, marks, panels, reference, rows, saver, styled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import BLUE, GAN, GREEN, INK, ORANGE, RED, coloured
from unlearn.reporting.verdict import counted
from unlearn.store import write
from unlearn.studies.detection.archive import LEVELS, ScoreArchive
from unlearn.studies.detection.verdict import UNFAIR, AnomalyTable, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Panels of curves: metric, axes, title.
_CURVES = {
    "recall_at_fpr": ("false positive rate", "recall", "windows: ROC"),
    "precision_at_recall": ("recall", "precision", "windows: precision and recall"),
}


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw F1 of windows and hours, curves of windows, area under curves, and events found by kind."""
    table = AnomalyTable(records)
    title = (
        f"Anomalies in {records['data'].iloc[0]}: test buildings after training time "
        f"({counted(table.n_seeds, 'seed')}; bars: 95 % intervals over buildings, outermost of the seeds)"
    )
    drawn, axes = panels([["f1 window", "f1 hour", "kinds"], ["areas", *_CURVES]], title, (14.5, 8.2))
    colours = coloured(table.detectors, {GAN: INK})
    for level in LEVELS:
        draw_f1(axes[f"f1 {level}"], table, level, colours)
    draw_kinds(axes["kinds"], table)
    draw_areas(axes["areas"], table, colours)
    for metric in _CURVES:
        draw_curves(axes[metric], table, metric, colours)
    return drawn


save = saver(figure)
write_page = page_writer(page)


def draw_f1(axis: Axes, table: AnomalyTable, level: str, colours: Mapping[str, str]) -> None:
    """F1 at the threshold of validation, and the highest that any threshold had on test."""
    for place, (name, colour) in enumerate(colours.items()):
        fair, unfair = table.fair(name, "f1", level), table.number(name, "f1", level, rule=UNFAIR)
        if fair:
            marks(axis, [(place, fair)], colour, across=True)
        if unfair:
            axis.plot(unfair.mean, place, "o", markerfacecolor="none", color="0.55", markersize=6)
    rows(axis, [label_of(name) for name in table.detectors])
    axis.plot([], [], "o", color="0.2", label="threshold from validation")
    axis.plot([], [], "o", markerfacecolor="none", color="0.55", label="best threshold on test (no result)")
    reference(axis, table.everything(level), "everything flagged", upright=True)
    axis.set(xlim=(0, 1), title=f"F1 of {level}s (higher is better)")
    legend_below(axis, 0.08, fontsize=7)


def draw_areas(axis: Axes, table: AnomalyTable, colours: Mapping[str, str]) -> None:
    """Area under the precision-recall curve of windows, and of hours."""
    for shift, level, marker in ((-0.13, "window", "o"), (0.13, "hour", "s")):
        for place, (name, colour) in enumerate(colours.items()):
            found = table.number(name, "pr_auc", level)
            if found:
                marks(axis, [(place + shift, found)], colour, form=marker, across=True)
        guess = table.number(table.detectors[0], "prevalence", level)
        chance = f" (guessing {guess.mean:.2f})" if guess else ""
        axis.plot([], [], marker, color="0.2", linestyle="none", label=f"{level}s{chance}")
    rows(axis, [label_of(name) for name in table.detectors])
    axis.set_xlim(0, 1)
    axis.set_title("area under precision-recall curve, any threshold (higher is better)", fontsize=9)
    legend_below(axis, 0.08, fontsize=7)


def draw_curves(axis: Axes, table: AnomalyTable, metric: str, colours: Mapping[str, str]) -> None:
    """ROC or precision-recall curves of windows."""
    for name, colour in colours.items():
        curve = table.curve(name, metric, "window")
        axis.plot(curve.index, curve, color=colour, linewidth=2.4 if name == GAN else 1.3, label=label_of(name))
    x, y, title = _CURVES[metric]
    axis.set(xlabel=x, ylabel=y, title=title, xlim=(0, 1), ylim=(0, 1.02))
    if metric == "recall_at_fpr":
        axis.plot([0, 1], [0, 1], ":", color="0.5")
        axis.legend(fontsize=7, loc="lower right")


def draw_kinds(axis: Axes, table: AnomalyTable) -> None:
    """Share of events found within a day, by detector and kind; of all events where kinds are not known."""
    found = [
        [table.fair(name, "found_within_24h", "event", kind) for kind in (None, *table.kinds)]
        for name in table.detectors
    ]
    shares = np.array([[np.nan if own is None else own.mean for own in row] for row in found])
    _shaded(axis, shares, [["" if np.isnan(share) else f"{100 * share:.0f}" for share in row] for row in shares])
    axis.set_xticks(range(shares.shape[1]), ["all", *(kind.replace("_", "\n") for kind in table.kinds)], fontsize=7)
    axis.set_yticks(range(len(table.detectors)), [label_of(name) for name in table.detectors])
    axis.set_title("events found within a day [%], threshold of hours")


def _shaded(axis: Axes, shares: np.ndarray, texts: list[list[str]]) -> None:
    """Squares by their share, with a text each."""
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        axis.text(j, i, texts[i][j], ha="center", va="center", color="white" if share > 0.6 else "black")
    axis.grid(visible=False)


#: Buildings whose readings are drawn, those with the most anomalous hours, and hours of each.
_BUILDINGS, _HOURS = 3, 24 * 28


def save_detector_images(archive: ScoreArchive, thresholds: Mapping[str, float], folder: Path) -> list[Path]:
    """Write confusion_matrix.png, roc_curve.png and time_series.png, of test buildings.

    Args:
        archive: scores.
        thresholds: of windows and hours.
        folder: where they go.
    """
    figures = {
        "confusion_matrix": confusion_figure(archive, thresholds),
        "roc_curve": roc_figure(archive, thresholds),
        "time_series": series_figure(archive, thresholds["hour"]),
    }
    for name, own in figures.items():
        write(folder / f"{name}.png", lambda file, own=own: own.savefig(file, dpi=110))  # type: ignore[misc]
    return [folder / f"{name}.png" for name in figures]


@styled
def confusion_figure(archive: ScoreArchive, thresholds: Mapping[str, float]) -> Figure:
    """Counts of test windows and hours, flagged or not."""
    drawn, axes = panels([LEVELS], f"{label_of(archive.detector)}, seed {archive.seed}", (7.6, 3.6))
    for level, axis in axes.items():
        own = archive.of("test", level)
        found = confusion(own.label, own.score >= thresholds[level])
        counts = np.array([[found.tn, found.fp], [found.fn, found.tp]])
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        texts = [
            [f"{count:,.0f}\n{100 * share:.1f} %" for count, share in zip(*pair, strict=True)]
            for pair in zip(counts, shares, strict=True)
        ]
        _shaded(axis, shares, texts)
        axis.set_xticks([0, 1], ["not flagged", "flagged"])
        axis.set_yticks([0, 1], ["normal", "anomalous"])
        axis.set_title(f"test {level}s at threshold {thresholds[level]:.4g}")
    return drawn


@styled
def roc_figure(archive: ScoreArchive, thresholds: Mapping[str, float]) -> Figure:
    """ROC curves of test windows and hours, with the thresholds that validation chose."""
    drawn, axes = panels([["roc"]], f"{label_of(archive.detector)}, seed {archive.seed}", (4.4, 4.2))
    axis = axes["roc"]
    for level, colour in zip(LEVELS, (BLUE, RED), strict=True):
        own = archive.of("test", level)
        ranking = own.ranking()
        tp, fp = ranking.counts()
        label = f"{level}s, AUC {ranking.roc_auc():.3f}"
        axis.plot(np.append(0, fp / fp[-1]), np.append(0, tp / tp[-1]), color=colour, label=label)
        at = confusion(own.label, own.score >= thresholds[level])
        axis.plot(1 - at.specificity, at.recall, "o", color=colour)
    axis.plot([0, 1], [0, 1], ":", color="0.5")
    axis.set(xlabel="false positive rate", ylabel="recall", xlim=(0, 1), ylim=(0, 1.02))
    axis.set_title("dots: validation's threshold")
    axis.legend(loc="lower right")
    return drawn


@styled
def series_figure(archive: ScoreArchive, threshold: float) -> Figure:
    """Readings of a few test buildings over four weeks, with anomalous and flagged hours."""
    own = archive.test_hour
    anomalous = np.bincount(own.building[own.label], minlength=len(archive.buildings))
    chosen = [int(m) for m in np.argsort(-anomalous, kind="stable")[:_BUILDINGS] if anomalous[m]]
    names = [[archive.buildings[building]] for building in chosen] or [["none"]]
    title = (
        f"{label_of(archive.detector)}, seed {archive.seed}: test buildings with most anomalous hours, four weeks each"
    )
    drawn, axes = panels(names, title, (11, 2.3 * len(names) + 0.4))
    for axis, building in zip(axes.values(), chosen, strict=False):
        _draw_building(axis, archive, building, threshold)
    if chosen:
        next(iter(axes.values())).legend(loc="upper right", ncols=3, fontsize=7)
    return drawn


def _draw_building(axis: Axes, archive: ScoreArchive, building: int, threshold: float) -> None:
    own = archive.test_hour
    rows = np.flatnonzero(own.building == building)
    # The four weeks with the most anomalous hours.
    hour, label = own.start[rows], own.label[rows]
    inside = np.searchsorted(hour, hour + _HOURS)
    total = np.append(0, label.cumsum())
    first = int(np.argmax(total[inside] - total[: len(hour)]))
    rows = rows[first : inside[first]]
    time = archive.hour(own.start[rows]).astype("datetime64[s]").astype(object)
    kwh, label, flagged = own.kwh[rows], own.label[rows], own.score[rows] >= threshold
    axis.plot(time, kwh, color="0.35", linewidth=0.8)
    top = float(kwh.max()) or 1.0
    axis.fill_between(time, 0, top, where=label, step="mid", color=ORANGE, alpha=0.35, linewidth=0, label="anomalous")
    hit, wrong = flagged & label, flagged & ~label
    axis.plot(np.array(time)[hit], kwh[hit], "o", color=GREEN, markersize=3, label="flagged, anomalous")
    axis.plot(np.array(time)[wrong], kwh[wrong], "x", color=RED, markersize=4, label="flagged, normal")
    axis.xaxis.set_major_locator(WeekdayLocator(byweekday=MO))
    axis.set_ylabel("kWh")
    axis.set_title(archive.buildings[building], loc="left", fontsize=8)
