"""The figure and the page of poisoned training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from unlearn.reporting.figure import new_figure, save_figure, styled
from unlearn.reporting.labels import FORECASTER_NAMES, METRIC_LABELS, RELEASE_COLOURS
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.poisoning.table import ASKED, COMPLETE, Attack, PoisoningTable, named
from unlearn.studies.poisoning.verdict import cost_table, detection_table, summarise_poisoning, verdicts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POISONED, _CLEAN = "#222222", "0.55"
_COLOURS = {"truth": "#2f8f4e", "residual": "#2b6ca3", "influence_mse": "#dd8452", "influence_cost": "#c8403f"}
_REMEDY_COLOURS = ("#2b6ca3", "#c8403f", "#2f8f4e", "#6b4c9a", "#8c6d31")
#: Recovered shares beyond these are drawn at the edge of the panel.
_EDGES = (-0.6, 2.0)


def poisoning_figure(records: pd.DataFrame) -> Figure:
    """Draw a column per attack: cost by detector, cost by remedy, and the damage recovered at one share.

    Args:
        records: of `PoisonedStudy` over attacks, shares and seeds; bands are ranges over seeds.

    Raises:
        InputError: records of something else.
    """
    table = PoisoningTable(records)
    kind = str(table.about["forecaster"])
    seeds = len(table.seeds)
    title = (
        f"{FORECASTER_NAMES.get(kind, kind)} forecaster on {table.about['data']}: poisoned training hours, found and "
        f"unlearnt (mean and range over {seeds} seed{'s' * (seeds > 1)})"
    )
    figure, axes = new_figure(3, len(table.attacks), title)
    shown = shown_detector(table)
    for column, attack in enumerate(table.attacks):
        draw_detectors(axes[0][column], table, attack)
        draw_remedies(axes[1][column], table, attack, shown)
        draw_recovered(axes[2][column], table, attack)
    for row in axes:
        for axis in row[1:]:
            axis.set_ylabel("")
    for row in axes:
        handles, labels = row[0].get_legend_handles_labels()
        _legend(row[-1], handles, labels)
    return figure


def save_poisoning(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(poisoning_figure(records), stem, records)
    return png


def shown_detector(table: PoisoningTable) -> str:
    """The detector whose remedies are drawn: the first that does not know the truth, or the truth."""
    return table.blind[0] if table.blind else table.detectors[0]


@styled
def draw_detectors(axis: Axes, table: PoisoningTable, attack: Attack) -> None:
    """Operating cost over the poisoned share: clean, poisoned, and complete unlearning by each detector."""
    _draw_models(axis, table, attack)
    for detector in table.detectors:
        if detector != "none":
            curves = {share: table.mended(attack, share, detector) for share in table.asked(attack, detector)}
            _band(axis, curves, detector_colour(table, detector), named(detector))
    axis.set_title(f"{attack.name}\nunlearnt: what was flagged by ...", fontsize=9)


@styled
def draw_remedies(axis: Axes, table: PoisoningTable, attack: Attack, detector: str) -> None:
    """Operating cost over the poisoned share: each remedy of one detector's flags, dotted without any detector."""
    _draw_models(axis, table, attack)
    for colour, remedy in zip(_REMEDY_COLOURS, table.remedies, strict=False):
        curves = {share: table.mended(attack, share, detector, remedy) for share in table.asked(attack, detector)}
        _band(axis, curves, colour, remedy.name)
        if remedy != COMPLETE and "none" in table.detectors:
            shares = table.asked(attack, "none")
            alone = [table.mended(attack, share, "none", remedy).mean() for share in shares]
            label = f"{remedy.name}, nothing flagged"
            axis.plot([100 * share for share in shares], alone, ":", color=colour, linewidth=1.1, label=label)
    flags = named(detector)
    axis.set_title(f"{attack.name}\nflagged by the {flags}, then ...", fontsize=9)


@styled
def draw_recovered(axis: Axes, table: PoisoningTable, attack: Attack) -> None:
    """Share of the damage that each remedy recovers by each detector, at the reported share; lines at half and all."""
    remedies, width = table.remedies, 0.8 / len(table.remedies)
    for place, detector in enumerate(table.detectors):
        for shift, (colour, remedy) in enumerate(zip(_REMEDY_COLOURS, remedies, strict=False)):
            found = table.recovered(attack, table.share, detector, remedy)
            label = remedy.name if not place else None
            if found is None:
                axis.plot([], [], "s", color=colour, label=label)
                continue
            mean, low, high = (min(max(v, _EDGES[0]), _EDGES[1]) for v in (found.mean, found.low, found.high))
            at = place + width * (shift - (len(remedies) - 1) / 2)
            axis.bar(at, 100 * mean, 0.9 * width, color=colour, label=label)
            reach = [[100 * (mean - low)], [100 * (high - mean)]]
            axis.errorbar(at, 100 * mean, reach, color="0.2", linewidth=0.9, capsize=1.5)
    axis.set_xticks(range(len(table.detectors)), [named(name) for name in table.detectors])
    for tick in axis.get_xticklabels():
        tick.set(rotation=35, ha="right")
    axis.grid(visible=False, axis="x")
    axis.set(ylabel="damage recovered [%]", ylim=(100 * _EDGES[0], 100 * _EDGES[1]))
    axis.axhline(100, color=_CLEAN, linewidth=1.1, linestyle="--", label="all: as if never poisoned")
    axis.axhline(100 * ASKED, color=_CLEAN, linewidth=0.9, linestyle=":", label="half")
    axis.set_title(f"{attack.name}\ndamage recovered at {100 * table.share:.0f} % poisoned", fontsize=9)
    direction = table.direction(attack, table.share)
    if direction != 1:
        why = "the poison makes operation\ncheaper:" if direction == -1 else "no clear damage:\n"
        says = f"{why} nothing to recover"
        axis.text(0.5, 0.72, says, transform=axis.transAxes, ha="center", va="center", color="0.3")


@styled
def _legend(axis: Axes, handles: list[Any], labels: list[str]) -> None:
    """Beside the last panel, for its whole row."""
    axis.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0))


def detector_colour(table: PoisoningTable, detector: str) -> str:
    """One colour per detector in all panels."""
    others = [name for name in table.detectors if name not in _COLOURS]
    return _COLOURS.get(detector) or RELEASE_COLOURS[4:][others.index(detector) % 3]


def _draw_models(axis: Axes, table: PoisoningTable, attack: Attack) -> None:
    for method, colour, line in (("clean", _CLEAN, "--"), ("poisoned", _POISONED, "-")):
        _band(axis, {share: table.model(attack, share, method) for share in table.shares}, colour, method, line)
    axis.set(xlabel="poisoned training hours [%]", ylabel=METRIC_LABELS["cost"])


def _band(axis: Axes, curves: dict[float, pd.Series], colour: str, label: str, line: str = "-") -> None:
    x = [100 * share for share in curves]
    axis.plot(x, [values.mean() for values in curves.values()], line, marker="o", color=colour, label=label)
    low, high = ([getattr(values, end)() for values in curves.values()] for end in ("min", "max"))
    axis.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)


ANSWERS = {"yes": "Yes", "no": "No", "unclear": "Unclear", "harmless": "Nothing to recover"}


def write_poisoning_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: what was poisoned, whether it was found, what unlearning recovers, and what is not claimed.

    Args:
        records: of `PoisonedStudy` over attacks, shares and seeds.
        figure: PNG file of `save_poisoning`.
        path: where the page goes.

    Raises:
        InputError: records of something else.
    """
    table = PoisoningTable(records)
    lead, *sentences = summarise_poisoning(records)
    costs = cost_table(table)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        about=lead,
        grid=str(table.about["grid"]),
        share=f"{100 * table.share:g} %",
        verdicts=verdicts(table),
        answers=ANSWERS,
        sentences=sentences,
        network=str(table.about["forecaster"]) != "linear",
        costs=[row for row in costs if row["share"] == f"{100 * table.share:g} %"],
        all_costs=costs,
        detections=detection_table(table),
        png=embedded(figure),
    )
