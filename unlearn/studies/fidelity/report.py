"""The figure and the page of how near releases are to real households."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from unlearn.reporting.figure import REAL_COLOUR, save_figure, styled
from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.fidelity.records import REAL
from unlearn.studies.fidelity.verdict import (
    LIMIT,
    METRICS,
    distance_table,
    generators_of,
    headline_table,
    summarise_fidelity,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLUSTERS_A_ROW = 4


def colours_of(records: pd.DataFrame) -> dict[str, str]:
    """A colour for each generator; real households are nearly black."""
    names = generators_of(records)
    return {REAL: REAL_COLOUR} | {name: RELEASE_COLOURS[i % len(RELEASE_COLOURS)] for i, name in enumerate(names)}


@styled
def fidelity_figure(records: pd.DataFrame) -> Figure:
    """Draw every distribution of the first seed, and ratios and classifiers of all seeds."""
    colours = colours_of(records)
    first = records[records["seed"] == records["seed"].min()]
    clusters = sorted(first["cluster"].dropna().astype(int).unique())
    lines = -(-len(clusters) // _CLUSTERS_A_ROW)
    grid = [[f"cluster {i * _CLUSTERS_A_ROW + j}" for j in range(_CLUSTERS_A_ROW)] for i in range(lines)]
    mosaic: list[Any] = [
        ["mean", "p95", "acf", "timing"],
        ["magnitude", "occupancy", "occupancy", "auc"],
        ["ratio"] * 4,
        *grid,
    ]
    figure = Figure(figsize=(14.5, 8.8 + 2.3 * lines), layout="constrained")
    axes = figure.subplot_mosaic(mosaic, height_ratios=[1.1, 1.1, 1.2, *[0.9] * lines])
    draw_distribution(axes["mean"], first, colours, "mean", "mean of a profile")
    draw_distribution(axes["p95"], first, colours, "p95", "95th percentile of a profile")
    draw_distribution(axes["magnitude"], first, colours, "magnitude", "largest steps of a profile")
    draw_acf(axes["acf"], first, colours)
    draw_timing(axes["timing"], first, colours)
    draw_occupancy(axes["occupancy"], first, colours)
    draw_auc(axes["auc"], records, colours)
    draw_ratios(axes["ratio"], records, colours)
    for place in range(lines * _CLUSTERS_A_ROW):
        axis = axes[f"cluster {place}"]
        if place < len(clusters):
            draw_cluster(axis, first, colours, clusters[place])
        else:
            axis.set_axis_off()
    handles = [Line2D([], [], color=colour, linewidth=2.5, label=name) for name, colour in colours.items()]
    seeds = records["seed"].nunique()
    title = f"Fidelity of released daily profiles ({seeds} seed{'s' * (seeds > 1)})"
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), fontsize=10, title=title, title_fontsize=12
    )
    return figure


def save_fidelity(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(fidelity_figure(records), stem, records)
    return png


def _each(
    records: pd.DataFrame, colours: dict[str, str], draw: Callable[[pd.DataFrame, dict[str, Any]], object]
) -> None:
    """Draw the records of each generator, then those of held-out real households on top."""
    for name, colour in [*list(colours.items())[1:], (REAL, REAL_COLOUR)]:
        side = "holdout" if name == REAL else "release"
        own = records[(records["generator"] == name) & (records["side"] == side)]
        draw(own, {"color": colour, "linewidth": 2.0 if name == REAL else 1.4})


@styled
def draw_distribution(axis: Axes, records: pd.DataFrame, colours: dict[str, str], feature: str, label: str) -> None:
    """Distribution function of a feature in kWh on a logarithmic axis."""
    own = records[(records["metric"] == "quantile") & (records["feature"] == feature)]
    _each(own, colours, lambda rows, look: axis.plot(rows["value"], rows["at"], **look))
    real = own[own["generator"] == REAL]
    lowest = real.loc[(real["at"] >= 0.02) & (real["value"] > 0), "value"].min()
    axis.set(xscale="log", xlim=(lowest / 2, 1.3 * own["value"].max()), ylim=(0, 1.02))
    axis.set(
        xlabel=f"{label} [kWh per step]", ylabel="share of profiles" if feature != "magnitude" else "share of steps"
    )
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_title({"mean": "level: mean", "p95": "level: 95th percentile"}.get(feature, "peaks: magnitude"))


@styled
def draw_acf(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Autocorrelation by lag: median over profiles, and the middle 80 % (shaded for real, dotted for releases)."""
    own = records[records["feature"] == "acf"]

    def draw(rows: pd.DataFrame, look: dict[str, Any]) -> None:
        low, middle, high = (rows[rows["metric"] == metric] for metric in ("acf_low", "acf_median", "acf_high"))
        axis.plot(middle["at"], middle["value"], **look)
        if look["color"] == REAL_COLOUR:
            axis.fill_between(low["at"], low["value"], high["value"], color=REAL_COLOUR, alpha=0.12, linewidth=0)
        else:
            for edge in (low, high):
                axis.plot(edge["at"], edge["value"], ":", color=look["color"], linewidth=1)

    _each(own, colours, draw)
    axis.axhline(0, color="0.35", linewidth=0.8)
    axis.set(xlabel="lag [h]", ylabel="coefficient", xticks=range(0, 13, 3))
    axis.set_title("autocorrelation: median, middle 80 %")


@styled
def draw_timing(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Share of the largest steps of profiles that fall on each step of the day."""
    own = records[(records["metric"] == "share") & (records["feature"] == "timing")]
    _each(own, colours, lambda rows, look: axis.step(rows["at"], rows["value"], where="post", **look))
    axis.set(xlabel="hour of the day", ylabel="share of steps", xticks=range(0, 25, 6), ylim=(0, None))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_title("peaks: timing")


@styled
def draw_occupancy(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Share of profiles in each cluster of the mixture."""
    own = records[(records["metric"] == "share") & (records["feature"] == "occupancy")]
    width = 0.8 / len(colours)
    for shift, (name, colour) in enumerate(colours.items()):
        rows = own[(own["generator"] == name) & (own["side"] == ("holdout" if name == REAL else "release"))]
        at = rows["cluster"] + 1 + (shift - (len(colours) - 1) / 2) * width
        axis.bar(at, rows["value"], width, color=colour)
    axis.set(xlabel="cluster of the mixture, by mean energy", ylabel="share of profiles")
    axis.set_xticks(sorted(own["cluster"].unique().astype(int) + 1))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.grid(visible=False, axis="x")
    axis.set_title("clusters: occupancy")


@styled
def draw_auc(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Area under the curve of the classifier with its 95 % interval, one mark a seed."""
    names = list(colours)
    for place, name in enumerate(names):
        own = records[records["generator"] == name].pivot_table(index="seed", columns="metric", values="value")
        for shift, (_, row) in zip(np.linspace(-0.2, 0.2, len(own) + 2)[1:-1], own.iterrows(), strict=True):
            reach = [[row["auc"] - row["auc_low"]], [row["auc_high"] - row["auc"]]]
            axis.errorbar(row["auc"], place + shift, xerr=np.maximum(reach, 0), fmt="o", color=colours[name], capsize=2)
    axis.axvline(0.5, color="0.35", linewidth=0.8, linestyle="--")
    axis.set_yticks([])
    axis.set(xlabel="AUC of telling it from held-out households", xlim=(0.4, 1.02), ylim=(len(names) - 0.5, -0.5))
    axis.set_title("discriminative score")


@styled
def draw_ratios(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Ratio of each metric to its floor: mean and range over seeds; grey, what random real divisions give.

    Diamonds are ratios to the mean floor of all divisions.
    """
    headlines = records[records["metric"] == "headline"]
    own = headlines[headlines["reference"] == "floor"]
    steady = headlines[headlines["reference"] == "mean floor"].groupby(["generator", "aspect", "scope"])["value"].mean()
    names = list(colours)[1:]
    width = 0.8 / len(names)
    # From 1, so that a bar's length is how much further away than real the release is, or how much nearer.
    for place, (aspect, scope, _) in enumerate(METRICS):
        rows = own[(own["aspect"] == aspect) & (own["scope"] == scope)]
        real = rows.loc[rows["generator"] == REAL, "value"].dropna()
        if len(real):
            axis.fill_between([place - 0.45, place + 0.45], real.min(), real.max(), color="0.82", linewidth=0, zorder=0)
        for shift, name in enumerate(names):
            values = rows.loc[rows["generator"] == name, "value"].to_numpy()
            at, mean = place + (shift - (len(names) - 1) / 2) * width, values.mean() if len(values) else np.nan
            if not np.isfinite(mean):
                axis.text(at, 1.05, "∞" if np.isinf(mean) else "n/a", ha="center", color=colours[name])
                continue
            axis.bar(at, mean - 1, 0.92 * width, bottom=1, color=colours[name])
            # The mean of equal ratios may differ from them in the last digit.
            reach = np.maximum([[mean - values.min()], [values.max() - mean]], 0)
            axis.errorbar(at, mean, reach, color="0.2", linewidth=0.9, capsize=2)
            if (name, aspect, scope) in steady:
                axis.plot(at, steady[name, aspect, scope], "D", color="white", markeredgecolor="0.2", markersize=4)
            above = values.max() if mean >= 1 else max(values.max(), 1.0)
            axis.annotate(f"{mean:.1f}", (at, above), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axis.set_yscale("log")
    axis.axhline(1, color=REAL_COLOUR, linewidth=1)
    axis.axhline(LIMIT, color=REAL_COLOUR, linewidth=1, linestyle="--")
    finite = own["value"][np.isfinite(own["value"])]
    axis.set(ylim=(min(0.5, 0.9 * finite.min()), 1.6 * max(finite.max(), 2 * LIMIT)), xlim=(-0.55, len(METRICS) - 0.45))
    ticks = [
        tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if axis.get_ylim()[0] <= tick <= axis.get_ylim()[1]
    ]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axis.minorticks_off()
    axis.set_xticks(range(len(METRICS)), [label for *_, label in METRICS])
    axis.set(ylabel="distance to holdout\nas a multiple of the floor")
    axis.grid(visible=False, axis="x")
    axis.set_title(
        f"ratio to the floor: 1 is as good as real, {LIMIT:g} the limit (dashed); grey: other real divisions; "
        "diamonds: ratio to the mean floor of all divisions"
    )


@styled
def draw_cluster(axis: Axes, records: pd.DataFrame, colours: dict[str, str], cluster: int) -> None:
    """Mean profile of a cluster's members."""
    inside = records[records["cluster"] == cluster]
    mean = inside[inside["metric"] == "cluster_mean"]
    _each(mean, colours, lambda rows, look: axis.plot(rows["at"], rows["value"], **look))
    real = inside[(inside["side"] == "holdout") & (inside["metric"] == "share")]["value"]
    axis.set_title(f"cluster {cluster + 1}: {100 * real.iloc[0]:.1f} % of real profiles")
    axis.set(xticks=range(0, 25, 6), ylim=(0, None), xlabel="hour of the day", ylabel="mean [kWh]")


def write_fidelity_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: sentences, figure, ratios and every distance.

    Args:
        records: of `compare_fidelity`.
        figure: PNG file of `save_fidelity`.
        path: where the page goes.

    Raises:
        InputError: records without fidelity.
    """
    about, *sentences = summarise_fidelity(records)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=True,
        source=records["data"].iloc[0],
        about=about,
        sentences=sentences,
        headlines=headline_table(records),
        distances=distance_table(records, inside=False),
        inside=distance_table(records, inside=True),
        png=embedded(figure),
    )
