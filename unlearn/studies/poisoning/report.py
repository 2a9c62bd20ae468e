"""The figure and the page of poisoned training data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from unlearn.reporting.figure import bars, legend_beside, line, note, panels, reference, saver, styled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import (
    INK,
    METRIC_LABELS,
    PALETTE,
    POISON_DETECTOR_COLOURS,
    coloured,
)
from unlearn.reporting.verdict import Spread, counted
from unlearn.studies.poisoning.table import ASKED, COMPLETE, Attack, PoisoningTable, named
from unlearn.studies.poisoning.verdict import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLEAN = "0.55"
#: Recovered shares beyond these are drawn at the edge of the panel.
_EDGES = (-0.6, 2.0)


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw a column per attack: cost by detector, cost by mitigation, and the damage recovered at one share."""
    table = PoisoningTable(records)
    title = (
        f"{table.forecaster} forecaster on {table.about['data']}: poisoned "
        f"training hours, found and unlearnt (mean and range over {counted(len(table.seeds), 'seed')})"
    )
    names = [
        [f"{part} {attack.name}" for attack in table.attacks] for part in ("detectors", "mitigations", "recovered")
    ]
    drawn, axes = panels(names, title)
    shown = shown_detector(table)
    for attack in table.attacks:
        draw_detectors(axes[f"detectors {attack.name}"], table, attack)
        draw_mitigations(axes[f"mitigations {attack.name}"], table, attack, shown)
        draw_recovered(axes[f"recovered {attack.name}"], table, attack)
    for row in names:
        first, *others = (axes[name] for name in row)
        for axis in others:
            axis.set_ylabel("")
        handles, labels = first.get_legend_handles_labels()
        legend_beside(axes[row[-1]], handles=handles, labels=labels)
    return drawn


save = saver(figure)
write_page = page_writer(page)


def shown_detector(table: PoisoningTable) -> str:
    """The detector whose mitigations are drawn: the first that does not know the truth, or the truth."""
    return table.blind[0] if table.blind else table.detectors[0]


def draw_detectors(axis: Axes, table: PoisoningTable, attack: Attack) -> None:
    """Operating cost over the poisoned share: clean, poisoned, and complete unlearning by each detector."""
    _draw_models(axis, table, attack)
    for detector, colour in coloured(table.detectors, POISON_DETECTOR_COLOURS).items():
        if detector != "none":
            curves = {share: table.mitigated(attack, share, detector) for share in table.asked(attack, detector)}
            _band(axis, curves, colour, named(detector))
    axis.set_title(f"{attack.name}\nunlearnt: what was flagged by ...", fontsize=9)


def draw_mitigations(axis: Axes, table: PoisoningTable, attack: Attack, detector: str) -> None:
    """Operating cost over the poisoned share: each mitigation of one detector's flags, dotted without any detector."""
    _draw_models(axis, table, attack)
    for colour, mitigation in zip(PALETTE, table.mitigations, strict=False):
        shares = table.asked(attack, detector)
        curves = {share: table.mitigated(attack, share, detector, mitigation) for share in shares}
        _band(axis, curves, colour, mitigation.name)
        if mitigation != COMPLETE and "none" in table.detectors:
            shares = table.asked(attack, "none")
            alone = [table.mitigated(attack, share, "none", mitigation).mean() for share in shares]
            label = f"{mitigation.name}, nothing flagged"
            axis.plot([100 * share for share in shares], alone, ":", color=colour, linewidth=1.1, label=label)
    flags = named(detector)
    axis.set_title(f"{attack.name}\nflagged by the {flags},\nthen ...", fontsize=9)


def draw_recovered(axis: Axes, table: PoisoningTable, attack: Attack) -> None:
    """Share of the damage that each mitigation recovers by each detector, at one share; lines at half and at all."""
    series = {
        mitigation.name: [_clipped(table.recovered(attack, table.share, name, mitigation)) for name in table.detectors]
        for mitigation in table.mitigations
    }
    colours = dict(zip(series, PALETTE, strict=False))
    bars(axis, [named(name) for name in table.detectors], series, colours)
    for tick in axis.get_xticklabels():
        tick.set(rotation=35, ha="right")
    axis.set(ylabel="damage recovered [%]", ylim=(100 * _EDGES[0], 100 * _EDGES[1]))
    reference(axis, 100, "all: as if never poisoned", colour=_CLEAN)
    reference(axis, 100 * ASKED, "half", ":", _CLEAN)
    axis.set_title(f"{attack.name}\ndamage recovered at {100 * table.share:.0f} % poisoned", fontsize=9)
    direction = table.direction(attack, table.share)
    if direction != 1:
        why = "the poison makes operation\ncheaper:" if direction == -1 else "no clear damage:\n"
        note(axis, f"{why} nothing to recover", (0.5, 0.72))


def _clipped(found: Spread | None) -> Spread | None:
    """A share in percent, at most as far as the panel reaches."""
    ends = () if found is None else (found.mean, found.low, found.high)
    return Spread.at(*(100 * min(max(end, _EDGES[0]), _EDGES[1]) for end in ends)) if ends else None


def _draw_models(axis: Axes, table: PoisoningTable, attack: Attack) -> None:
    for method, colour, form in (("clean", _CLEAN, "--"), ("poisoned", INK, "-")):
        _band(axis, {share: table.model(attack, share, method) for share in table.shares}, colour, method, form)
    axis.set(xlabel="poisoned training hours [%]", ylabel=METRIC_LABELS["cost"])


def _band(axis: Axes, curves: dict[float, pd.Series], colour: str, label: str, form: str = "-") -> None:
    points = {100 * share: Spread.of(values) for share, values in curves.items()}
    line(axis, points, colour, label, form, marker="o")
