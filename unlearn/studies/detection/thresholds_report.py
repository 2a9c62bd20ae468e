"""The figure and the page of thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from unlearn.detectors.base import label_of
from unlearn.reporting.figure import save_figure, styled
from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.detection.thresholds_verdict import Sweep, ThresholdTable, rule_table, summarise_thresholds
from unlearn.studies.detection.verdict import rule_named

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
        axis.set_title(label_of(name))
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


def write_thresholds_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: slider, sentences, figure, every rule.

    Args:
        records: of `thresholds`.
        figure: PNG file of `save_thresholds`.
        path: where the page goes.

    Raises:
        InputError: records of something else.
    """
    table = ThresholdTable(records)
    sweeps = [s for level in ("window", "hour") for name in table.detectors for s in table.sweeps(name, level)]
    return write_page(
        Path(__file__).with_name("thresholds.html"),
        path,
        records,
        source=records["data"].iloc[0],
        sentences=summarise_thresholds(records),
        rules=rule_table(records),
        sweeps=[_plain(sweep) for sweep in sweeps],
        png=embedded(figure),
    )


def _plain(sweep: Sweep) -> dict[str, Any]:
    """A sweep as it stands in the page; thresholds are not rounded, so that each flags exactly what is counted."""
    splits = {
        split: {
            "tp": [int(count) for count in own.tp],
            "fp": [int(count) for count in own.fp],
            "anomalous": int(own.anomalous),
            "normal": int(own.normal),
        }
        for split, own in sweep.splits.items()
    }
    place = {float(value): i for i, value in enumerate(sweep.thresholds)}
    return {
        "detector": label_of(sweep.detector),
        "seed": sweep.seed,
        "level": sweep.level,
        "thresholds": [float(value) for value in sweep.thresholds],
        "chosen": {rule_named(rule): place[value] for rule, value in sweep.chosen.items()},
        **splits,
    }
