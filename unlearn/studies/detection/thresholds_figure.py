"""F1 along all thresholds, on validation and on test, with what each rule chose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.style import save_figure, styled
from unlearn.studies.detection.seeds import named, rule_named
from unlearn.studies.detection.thresholds_table import Sweep, ThresholdTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Shares of normal rows below this are drawn as this: the axis is logarithmic.
_LEAST = 1e-4


@styled
def thresholds_figure(records: pd.DataFrame) -> Figure:
    """Draw a panel for each detector: windows, all seeds."""
    table = ThresholdTable(records)
    columns = min(len(table.detectors), 3)
    rows = -(-len(table.detectors) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.4, 3.4 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(table.detectors) :]:
        axis.set_axis_off()
    for axis, name in zip(axes, table.detectors, strict=False):
        for sweep in table.sweeps(name, "window"):
            _draw(axis, sweep, table.rules)
        axis.set(xscale="log", xlim=(_LEAST, 1), ylim=(0, 1), xlabel="normal rows flagged (share)", ylabel="F1")
        axis.set_title(named(name))
    handles, labels = axes[0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=min(len(once), 6))
    figure.suptitle(f"F1 of windows of {records['data'].iloc[0]} along all thresholds, a line per seed")
    return figure


def save_thresholds(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(thresholds_figure(records), stem, records)
    return png


def _draw(axis: Axes, sweep: Sweep, rules: list[str]) -> None:
    for split, line, colour in (("validation", "--", "0.6"), ("test", "-", "0.2")):
        own = sweep.splits[split]
        axis.plot(np.maximum(own.fp / own.normal, _LEAST), own.f1, line, color=colour, linewidth=1, label=split)
    test = sweep.splits["test"]
    for i, rule in enumerate(rules):
        at = int(np.searchsorted(sweep.thresholds, sweep.chosen[rule]))
        share = max(test.fp[at] / test.normal, _LEAST)
        colour = RELEASE_COLOURS[i % len(RELEASE_COLOURS)]
        axis.plot(share, test.f1[at], "o", color=colour, markersize=5, label=f"{rule_named(rule)}: on test")
