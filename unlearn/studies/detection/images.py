"""Images of one detector and seed, drawn from its scores: confusion, ROC curve, readings with flagged hours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.dates import MO, WeekdayLocator
from matplotlib.figure import Figure

from unlearn.detectors.metrics import confusion
from unlearn.reporting.style import styled
from unlearn.store import write
from unlearn.studies.detection.archive import LEVELS, ScoreArchive
from unlearn.studies.detection.seeds import named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    return [_save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def _save(figure: Figure, path: Path) -> Path:
    write(path, lambda file: figure.savefig(file, dpi=110))
    return path


@styled
def confusion_figure(archive: ScoreArchive, thresholds: Mapping[str, float]) -> Figure:
    """Counts of test windows and hours, flagged or not."""
    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    for axis, level in zip(figure.subplots(1, 2), LEVELS, strict=True):
        own = archive.of("test", level)
        found = confusion(own.label, own.score >= thresholds[level])
        counts = np.array([[found.tn, found.fp], [found.fn, found.tp]])
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        for (i, j), count in np.ndenumerate(counts):
            colour = "white" if shares[i, j] > 0.6 else "black"
            axis.text(j, i, f"{count:,.0f}\n{100 * shares[i, j]:.1f} %", ha="center", va="center", color=colour)
        axis.set_xticks([0, 1], ["not flagged", "flagged"])
        axis.set_yticks([0, 1], ["normal", "anomalous"])
        axis.grid(visible=False)
        axis.set_title(f"test {level}s at threshold {thresholds[level]:.4g}")
    figure.suptitle(f"{named(archive.detector)}, seed {archive.seed}")
    return figure


@styled
def roc_figure(archive: ScoreArchive, thresholds: Mapping[str, float]) -> Figure:
    """ROC curves of test windows and hours, with the thresholds that validation chose."""
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for level, colour in zip(LEVELS, ("#2b6ca3", "#c8403f"), strict=True):
        own = archive.of("test", level)
        ranking = own.ranking()
        tp, fp = ranking.counts()
        label = f"{level}s, AUC {ranking.roc_auc():.3f}"
        axis.plot(np.append(0, fp / fp[-1]), np.append(0, tp / tp[-1]), color=colour, label=label)
        at = confusion(own.label, own.score >= thresholds[level])
        axis.plot(1 - at.specificity, at.recall, "o", color=colour)
    axis.plot([0, 1], [0, 1], ":", color="0.5")
    axis.set(xlabel="false positive rate", ylabel="recall", xlim=(0, 1), ylim=(0, 1.02))
    axis.set_title(f"{named(archive.detector)}, seed {archive.seed}; dots: validation's threshold")
    axis.legend(loc="lower right")
    return figure


@styled
def series_figure(archive: ScoreArchive, threshold: float) -> Figure:
    """Readings of a few test buildings over four weeks, with anomalous and flagged hours."""
    own = archive.test_hour
    anomalous = np.bincount(own.building[own.label], minlength=len(archive.buildings))
    chosen = [int(m) for m in np.argsort(-anomalous, kind="stable")[:_BUILDINGS] if anomalous[m]]
    figure = Figure(figsize=(11, 2.3 * max(len(chosen), 1) + 0.4), layout="constrained")
    axes = figure.subplots(max(len(chosen), 1), 1, squeeze=False)[:, 0]
    for axis, building in zip(axes, chosen, strict=False):
        _draw_building(axis, archive, building, threshold)
    if chosen:
        axes[0].legend(loc="upper right", ncols=3, fontsize=7)
    figure.suptitle(
        f"{named(archive.detector)}, seed {archive.seed}: test buildings with the most anomalous hours, four weeks each"
    )
    return figure


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
    axis.fill_between(
        time, 0, top, where=label, step="mid", color="#dd8452", alpha=0.35, linewidth=0, label="anomalous"
    )
    hit, wrong = flagged & label, flagged & ~label
    axis.plot(np.array(time)[hit], kwh[hit], "o", color="#2f8f4e", markersize=3, label="flagged, anomalous")
    axis.plot(np.array(time)[wrong], kwh[wrong], "x", color="#c8403f", markersize=4, label="flagged, normal")
    axis.xaxis.set_major_locator(WeekdayLocator(byweekday=MO))
    axis.set_ylabel("kWh")
    axis.set_title(archive.buildings[building], loc="left", fontsize=8)
