"""Figures: one style, one way to write them, and what panels are made of: lines with bands, bars, marks, references."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from unlearn.checks import require_package
from unlearn.reporting.style import GREY, NOT_A_RESULT, is_tiny
from unlearn.reporting.verdict import Spread
from unlearn.store import write

require_package("unlearn.reporting", "matplotlib", '"unlearn[experiments]"')

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NO_RESULT_COLOUR = "#b3372f"
_SHEET = Path(__file__).with_name("unlearn.mplstyle")
#: Decorator under which a study's figure is drawn: lines, legends and fonts in the project's style.
styled = mpl.rc_context(fname=_SHEET)


def panels(
    names: Sequence[Sequence[str]],
    title: str = "",
    size: tuple[float, float] | None = None,
    heights: Sequence[float] | None = None,
    legend: Mapping[str, str] | None = None,
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with named panels, without touching pyplot's state.

    Args:
        names: of the panels, row by row; a name that stands in several places covers them, "." leaves a place empty.
            Rows of different lengths divide their width on their own.
        title: of the figure.
        size: width and height in inches; by default 3.4 by 2.7 a panel.
        heights: of the rows, relative to each other.
        legend: colour of each name; one legend for all panels, with the title above it.

    Returns:
        The figure, and its axes by name, which is also their label.
    """
    width = max(map(len, names))
    size = size or (3.4 * width + (1.1 if width > 1 else 0.6), 2.7 * len(names) + 0.4)
    title = textwrap.fill(title, int(12 * size[0]))
    figure = Figure(figsize=size, layout="constrained")
    if len(set(map(len, names))) == 1:
        axes = figure.subplot_mosaic([list(row) for row in names], height_ratios=heights)
    else:
        parts = figure.subfigures(len(names), 1, squeeze=False, height_ratios=heights)[:, 0]
        drawn = [part.subplot_mosaic([list(row)]) for part, row in zip(parts, names, strict=True)]
        axes = {name: axis for own in drawn for name, axis in own.items()}
    if legend is None:
        figure.suptitle(title, fontsize=11)
        return figure, axes
    handles = [Line2D([], [], color=colour, linewidth=2.5, label=name) for name, colour in legend.items()]
    columns = min(len(handles), 7) or 1
    figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, fontsize=10, title=title, title_fontsize=12
    )
    return figure, axes


def tiled(names: Sequence[str], columns: int) -> list[list[str]]:
    """Names of panels in rows of at most so many; the last row is filled with empty places."""
    columns = min(columns, len(names)) or 1
    rows = [list(names[start : start + columns]) for start in range(0, len(names), columns)]
    return [row + ["."] * (columns - len(row)) for row in rows]


def saver(
    draw: Callable[[pd.DataFrame], Figure],
    single: Callable[[pd.DataFrame, str], Figure] | None = None,
    names: Iterable[str] = (),
) -> Callable[[pd.DataFrame, Path], Path]:
    """Make a study's `save(records, stem)`, which draws its figure, writes PNG and PDF, and returns the PNG.

    Args:
        draw: the figure of some records.
        single: a figure of the page by its name, saved beside it as `STEM_NAME`; see `beside`.
        names: of those figures.
    """

    def save(records: pd.DataFrame, stem: Path) -> Path:
        """Save the figures of some records as PNG and PDF; return the PNG of the first."""
        file = save_figure(draw(records), stem, records)
        if single is not None:
            for name in names:
                save_figure(single(records, name), stem.with_name(f"{stem.name}_{name}"), records)
        return file

    return save


def beside(png: Path, names: Iterable[str]) -> dict[str, Path]:
    """The PNG of each figure that `saver` wrote beside the first one, by its name."""
    return {name: png.with_name(f"{png.stem}_{name}{png.suffix}") for name in names}


@styled
def save_figure(figure: Figure, stem: Path, records: pd.DataFrame) -> Path:
    """Write a figure of some records as PNG and PDF, each all or nothing; it says so if they are no result."""
    if is_tiny(records):
        said = textwrap.fill(NOT_A_RESULT, int(15 * figure.get_figwidth()))
        figure.supxlabel(said, fontsize=9, color=_NO_RESULT_COLOUR)

    def draw(file: Path) -> None:
        # Without a creation date, the same records give the same bytes.
        figure.savefig(file, metadata={"CreationDate": None} if file.suffix == ".pdf" else None)
        figure.set_layout_engine("none")  # what was laid out once stays

    for suffix in (".png", ".pdf"):
        write(stem.with_suffix(suffix), draw)
    return stem.with_suffix(".png")


def line(
    axis: Axes, points: Mapping[float, Spread], colour: str, label: str = "", form: str = "o-", **look: Any
) -> None:
    """Means by their place, joined, with a band from low to high."""
    found = list(points.values())
    axis.plot(list(points), [own.mean for own in found], form, color=colour, label=label or None, **look)
    if any(own.high > own.low for own in found):
        ends = [own.low for own in found], [own.high for own in found]
        axis.fill_between(list(points), *ends, color=colour, alpha=0.14, linewidth=0)


def marks(
    axis: Axes,
    points: Sequence[tuple[float, Spread]],
    colour: str,
    label: str = "",
    form: str = "o",
    across: bool = False,
    **look: Any,
) -> None:
    """Means at their places with bars from low to high, upright; `across` puts places on the vertical axis."""
    if not points:
        return
    places, found = zip(*points, strict=True)
    means = np.array([own.mean for own in found])
    reach = np.array([[own.mean - own.low for own in found], [own.high - own.mean for own in found]])
    reach = np.maximum(np.nan_to_num(reach), 0)
    ends = {"x": means, "y": places, "xerr": reach} if across else {"x": places, "y": means, "yerr": reach}
    axis.errorbar(**ends, fmt=form, color=colour, label=label or None, capsize=2, markersize=4, **look)


def bars(
    axis: Axes,
    ticks: Sequence[str],
    series: Mapping[str, Sequence[Spread | None]],
    colours: Mapping[str, str],
    base: float = 0.0,
    written: Callable[[float], str] | None = None,
    **look: Any,
) -> None:
    """Groups of bars with their ranges.

    Args:
        axis: to draw on.
        ticks: names of the groups.
        series: of each bar in a group, its number in every group; None where there is none.
        colours: of each bar.
        base: where bars begin.
        written: how a number is written above its bar; by default it is not.
        look: of the bars.
    """
    width = 0.8 / max(len(series), 1)
    for shift, (name, found) in enumerate(series.items()):
        at = np.arange(len(ticks)) + (shift - (len(series) - 1) / 2) * width
        own = [(place, spread) for place, spread in zip(at, found, strict=True) if spread]
        places, means = [place for place, _ in own], [spread.mean - base for _, spread in own]
        axis.bar(places, means, 0.92 * width, bottom=base, color=colours[name], label=name, **look)
        ranged = [(place, spread) for place, spread in own if spread.high > spread.low]
        marks(axis, ranged, "0.3", form="none", elinewidth=0.9)
        for place, spread in own if written else ():
            top = (place, max(spread.high, base))
            axis.annotate(written(spread.mean), top, (0, 3), textcoords="offset points", ha="center", fontsize=7)  # type: ignore[misc]
    axis.set_xticks(range(len(ticks)), ticks)
    axis.grid(visible=False, axis="x")


def rows(axis: Axes, names: Sequence[str]) -> None:
    """A row for each name, the first on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")


def spread_out(place: float, n: int) -> list[float]:
    """Places of several marks in one row."""
    return [place + shift for shift in np.linspace(-0.36, 0.36, n + 2)[1:-1]]


def reference(
    axis: Axes, value: float, label: str = "", form: str = "--", colour: str = GREY, upright: bool = False
) -> None:
    """A line at a value that marks are read against, such as guessing."""
    draw = axis.axvline if upright else axis.axhline
    draw(value, color=colour, linewidth=1.0, linestyle=form, label=label or None)


def per_cent(*axes: Any) -> None:
    """Write shares as percentages, on axes such as `axis.yaxis`."""
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1.0))


def legend_beside(axis: Axes, **options: Any) -> None:
    """Put the legend to the right of a panel, where it covers no curve."""
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), **options)


def legend_below(axis: Axes, distance: float = 0.2, **options: Any) -> None:
    """Put the legend below a panel."""
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -distance), **{"ncols": 2, **options})


def note(axis: Axes, text: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
    """Write on a panel why it is empty, or what to make of it."""
    axis.text(*at, text, ha="center", va="center", transform=axis.transAxes, color=GREY)
