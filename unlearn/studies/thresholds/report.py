"""The figure and the page of thresholds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from unlearn.detectors.base import label_of
from unlearn.reporting.figure import panels, saver, styled, tiled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import coloured, rule_named
from unlearn.reporting.verdict import Page
from unlearn.studies.thresholds.verdict import Sweep, ThresholdTable, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Shares of normal rows below this are drawn as this: the axis is logarithmic.
_LEAST = 1e-4


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw a panel for each detector: windows, all seeds."""
    table = ThresholdTable(records)
    names = tiled(table.detectors, 3)
    size = 4.6 * len(names[0]) + 0.4, 3.4 * len(names) + 0.8
    title = f"F1 of windows of {records['data'].iloc[0]} along all thresholds, a line per seed"
    drawn, axes = panels(names, title, size)
    for name, axis in axes.items():
        for sweep in table.sweeps(name, "window"):
            _draw(axis, sweep, table.rules)
        axis.set(xscale="log", xlim=(_LEAST, 1), ylim=(0, 1), xlabel="normal rows flagged (share)", ylabel="F1")
        axis.set_title(label_of(name))
    handles, labels = axes[table.detectors[0]].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    drawn.legend(once.values(), once.keys(), loc="outside lower center", ncols=min(len(once), 6))
    return drawn


def _draw(axis: Axes, sweep: Sweep, rules: list[str]) -> None:
    for split, line, colour in (("validation", "--", "0.6"), ("test", "-", "0.2")):
        own = sweep.splits[split]
        axis.plot(np.maximum(own.fp / own.normal, _LEAST), own.f1, line, color=colour, linewidth=1, label=split)
    test = sweep.splits["test"]
    for rule, colour in coloured(rules).items():
        at = int(np.searchsorted(sweep.thresholds, sweep.chosen[rule]))
        share = max(test.fp[at] / test.normal, _LEAST)
        axis.plot(share, test.f1[at], "o", color=colour, markersize=5, label=f"{rule_named(rule)}: on test")


def _with_slider(records: pd.DataFrame) -> Page:
    table = ThresholdTable(records)
    sweeps = [s for level in ("window", "hour") for name in table.detectors for s in table.sweeps(name, level)]
    return replace(page(records), data=[_plain(sweep) for sweep in sweeps])


save = saver(figure)
write_page = page_writer(_with_slider, Path(__file__).with_name("slider.html"))


def _plain(sweep: Sweep) -> dict[str, Any]:
    """A sweep as it stands in the page; thresholds are not rounded, so that each flags exactly what is counted."""
    splits = {
        split: {"tp": own.tp.astype(int).tolist(), "fp": own.fp.astype(int).tolist()}
        | {"anomalous": int(own.anomalous), "normal": int(own.normal)}
        for split, own in sweep.splits.items()
    }
    place = {float(value): i for i, value in enumerate(sweep.thresholds)}
    return {
        "detector": label_of(sweep.detector),
        "seed": sweep.seed,
        "level": sweep.level,
        "thresholds": sweep.thresholds.tolist(),
        "chosen": {rule_named(rule): place[value] for rule, value in sweep.chosen.items()},
        **splits,
    }
