"""Figures and the page of detectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.dates import MO, WeekdayLocator
from matplotlib.figure import Figure

from unlearn.detectors.base import label_of
from unlearn.detectors.metrics import confusion
from unlearn.reporting.figure import REAL_COLOUR, save_figure, styled
from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.page import embedded, write_page
from unlearn.store import write
from unlearn.studies.detection.archive import LEVELS, ScoreArchive
from unlearn.studies.detection.verdict import (
    GAN,
    UNFAIR,
    AnomalyTable,
    Number,
    detector_table,
    event_table,
    summarise_anomaly,
)

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
        axis.plot(curve.index, curve, color=_colour(table, name), linewidth=width, label=label_of(name))
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
    axis.set_yticks(range(len(table.detectors)), [label_of(name) for name in table.detectors])
    axis.grid(visible=False)
    axis.set_title("events found within a day [%], threshold of hours")


def _places(axis: Axes, table: AnomalyTable) -> list[tuple[int, str]]:
    """One row for each detector, the first on top."""
    axis.set_yticks(range(len(table.detectors)), [label_of(name) for name in table.detectors])
    axis.set_ylim(len(table.detectors) - 0.5, -0.5)
    return list(enumerate(table.detectors))


def _point(axis: Axes, place: float, found: Number, colour: str, marker: str = "o") -> None:
    reach = [[max(found.mean - found.low, 0)], [max(found.high - found.mean, 0)]]
    axis.errorbar(found.mean, place, xerr=reach, fmt=marker, color=colour, capsize=2, markersize=5)


def _colour(table: AnomalyTable, name: str) -> str:
    if name == GAN:
        return REAL_COLOUR
    return _COLOURS[[other for other in table.detectors if other != GAN].index(name) % len(_COLOURS)]


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
    figure.suptitle(f"{label_of(archive.detector)}, seed {archive.seed}")
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
    axis.set_title(f"{label_of(archive.detector)}, seed {archive.seed}; dots: validation's threshold")
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
        f"{label_of(archive.detector)}, seed {archive.seed}: test buildings with the most anomalous hours, four weeks "
        "each"
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


def write_anomaly_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: sentences, figure, every number.

    Args:
        records: of `anomaly`.
        figure: PNG file of `save_anomaly`.
        path: where the page goes.

    Raises:
        InputError: records of something else.
    """
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        source=records["data"].iloc[0],
        sentences=summarise_anomaly(records),
        windows=detector_table(records, "window"),
        hours=detector_table(records, "hour"),
        events=event_table(records),
        png=embedded(figure),
    )
