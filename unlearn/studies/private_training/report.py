"""The figure and the page of what privacy costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from unlearn.reporting.figure import marks, panels, reference, saver, styled, tiled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import INK, PALETTE
from unlearn.reporting.verdict import Spread, seeds_of
from unlearn.studies.private_training.household_load import MEAN
from unlearn.studies.private_training.table import ASPECTS, TASKS, ForecastTable, PrivateTable, Way
from unlearn.studies.private_training.verdict import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A ratio of fidelity up to which a release passes, as in the figure of fidelity.
_LIMIT = 2.0


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw a panel for fidelity, the classifier, each task, attacks on households and attacks on outliers."""
    table, forecasts = PrivateTable(records), ForecastTable(records)
    draw: dict[str, Callable[[Axes, PrivateTable], None]] = {"fidelity": draw_fidelity, "classifier": draw_classifier}
    draw |= {task: partial(draw_task, task=task) for task in table.tasks} | {"attacks": draw_attacks}
    draw |= {"outliers": draw_outliers} if len(table.outliers()) else {}
    draw |= {"forecasts": lambda axis, _: draw_forecasts(axis, forecasts)} if forecasts else {}
    names = tiled(list(draw), 4 if len(draw) > 6 else 3)
    over = f"{seeds_of(records)}; bars: range over seeds, of attacks 95 % intervals"
    size = 4.7 * len(names[0]), 3.7 * len(names) + 0.5
    drawn, axes = panels(names, f"What privacy costs: training at each ε ({over})", size)
    for name, axis in axes.items():
        draw[name](axis, table)
    return drawn


save = saver(figure)
write_page = page_writer(page)


def draw_fidelity(axis: Axes, table: PrivateTable) -> None:
    """Ratio of each metric to its floor."""
    for colour, aspect in zip(PALETTE, ASPECTS, strict=False):
        _line(axis, table.ways, [table.headline(way, aspect) for way in table.ways], colour, aspect)
    reference(axis, 1.0, "as near as other real households", colour=INK)
    reference(axis, _LIMIT, "limit", colour="0.5")
    axis.set_ylim(bottom=0)
    _finish(axis, table.ways, "fidelity: distance, times the floor (lower is better)")


def draw_classifier(axis: Axes, table: PrivateTable) -> None:
    """AUC of telling released days from real ones."""
    _line(axis, table.ways, [table.discriminator(way) for way in table.ways], PALETTE[4], "classifier")
    reference(axis, 0.5, "cannot be told from real days", colour=INK)
    axis.set_ylim(0.45, 1.02)
    _finish(axis, table.ways, "released against real days: AUC (lower is better)")


def draw_task(axis: Axes, table: PrivateTable, task: str) -> None:
    """What stands for a task after training on each release, and after real training."""
    _, title, better = TASKS[task]
    _line(axis, table.ways, [table.task(task, way) for way in table.ways], PALETTE[0], "trained on release")
    for colour, (name, found) in zip((INK, "0.5"), table.baselines(task).items(), strict=True):
        if found:
            reference(axis, found.mean, name, colour=colour)
    _finish(axis, table.ways, f"{title} ({better} is better)")


def draw_attacks(axis: Axes, table: PrivateTable) -> None:
    """AUC of each membership attack on households, with intervals."""
    attacks = [table.attacks(way) for way in table.ways]
    names = list(dict.fromkeys(name for own in attacks for name in own))
    for i, (colour, name) in enumerate(zip(PALETTE, names, strict=False)):
        shift = 0.12 * (i - (len(names) - 1) / 2)
        points = [(place + shift, own[name]) for place, own in enumerate(attacks) if name in own]
        marks(axis, points, colour, name.replace("_", " "))
    reference(axis, 0.5, "guessing", colour=INK)
    axis.set_ylim(0.2, 1.02)
    _finish(axis, table.ways, "was a household trained on? AUC of attacks")


def draw_outliers(axis: Axes, table: PrivateTable) -> None:
    """AUC of telling outliers that were trained on from others of their kind."""
    found = table.outliers()
    epsilon = found.groupby("method", sort=False)["epsilon"].first()
    methods = list(epsilon.index)
    for i, (colour, (name, own)) in enumerate(zip(PALETTE, found.groupby("attack", sort=False), strict=False)):
        columns = (own[column] for column in ("method", "value", "low", "high"))
        points = [(methods.index(m) + 0.15 * (i - 0.5), Spread.at(*one)) for m, *one in zip(*columns, strict=True)]
        marks(axis, points, colour, str(name).replace("_", " "))
    reference(axis, 0.5, "guessing", colour=INK)
    told = {"not private": "overfit,\nnot private", "without noise": "trained as privately,\nbut no noise"}
    axis.set_xticks(range(len(methods)), [told.get(m, f"privately,\nε = {epsilon[m]:g}") for m in methods])
    axis.set(xlim=(-0.6, len(methods) - 0.4), ylim=(0.2, 1.02), title="outliers among few households: AUC of attacks")
    axis.legend()


def draw_forecasts(axis: Axes, table: ForecastTable) -> None:
    """What forecasts of households, summed up to buses, cost at each ε."""
    for colour, kind in zip(PALETTE, table.kinds, strict=False):
        found = [table.value(kind, "cost", epsilon) for epsilon in table.epsilons]
        marks(axis, _there(found), colour, kind, "o-")
    mean = table.value(MEAN, "cost")
    if mean:
        reference(axis, mean.mean, f"{MEAN}, nothing learnt", colour=INK)
    labels = [f"{epsilon:g}" if np.isfinite(epsilon) else "not\nprivate" for epsilon in table.epsilons]
    _ticks(axis, labels, "grid: forecasts of households [money/h] (lower is better)")


def _there(found: Iterable[Spread | None]) -> list[tuple[float, Spread]]:
    return [(float(place), spread) for place, spread in enumerate(found) if spread]


def _line(axis: Axes, ways: Sequence[Way], found: Sequence[Spread | None], colour: str, label: str) -> None:
    """Means with their range; lines join what was trained privately, and what was not stands alone."""
    private = [way.method == "private" for way in ways]
    joined = _there([spread if own else None for spread, own in zip(found, private, strict=True)])
    marks(axis, joined, colour, label, "o-")
    alone = _there([None if own else spread for spread, own in zip(found, private, strict=True)])
    marks(axis, alone, colour, "" if any(private) else label)


def _finish(axis: Axes, ways: Sequence[Way], title: str) -> None:
    _ticks(axis, [way.label for way in ways], title)


def _ticks(axis: Axes, labels: Sequence[str], title: str) -> None:
    axis.set_xticks(range(len(labels)), labels)
    axis.set(xlabel="ε", xlim=(-0.5, len(labels) - 0.5), title=title)
    axis.legend()
