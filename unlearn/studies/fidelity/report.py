"""The figure and the page of how near releases are to real households."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from unlearn.reporting.figure import bars, marks, panels, per_cent, reference, rows, saver, spread_out, styled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import INK, coloured
from unlearn.reporting.verdict import Spread, seeds_of, select, write
from unlearn.studies._shared.fidelity.measure import REAL
from unlearn.studies.fidelity.verdict import LIMIT, METRICS, generators_of, headlines, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Several runs can be drawn together.
TOGETHER = True
_CLUSTERS_A_ROW = 4


def colours_of(records: pd.DataFrame) -> dict[str, str]:
    """A colour for each generator; real households are nearly black."""
    return coloured([REAL, *generators_of(records)], {REAL: INK})


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw every distribution of the first seed, and ratios and classifiers of all seeds."""
    colours = colours_of(records)
    first = select(records, seed=records["seed"].min())
    clusters = sorted(first["cluster"].dropna().astype(int).unique())
    lines = -(-len(clusters) // _CLUSTERS_A_ROW)
    grid = [[f"cluster {i * _CLUSTERS_A_ROW + j}" for j in range(_CLUSTERS_A_ROW)] for i in range(lines)]
    names = [["mean", "p95", "acf", "timing"], ["magnitude", "occupancy", "occupancy", "auc"], ["ratio"] * 4, *grid]
    title = f"Fidelity of released daily profiles ({seeds_of(records)})"
    drawn, axes = panels(names, title, (14.5, 8.8 + 2.3 * lines), [1.1, 1.1, 1.2, *[0.9] * lines], colours)
    draw_distribution(axes["mean"], first, colours, "mean", "mean of a profile", "level: mean")
    draw_distribution(axes["p95"], first, colours, "p95", "95th percentile of a profile", "level: 95th percentile")
    draw_distribution(axes["magnitude"], first, colours, "magnitude", "largest steps of a profile", "peaks: magnitude")
    draw_acf(axes["acf"], first, colours)
    draw_timing(axes["timing"], first, colours)
    draw_occupancy(axes["occupancy"], first, colours)
    draw_auc(axes["auc"], records, colours)
    draw_ratios(axes["ratio"], records, colours)
    for place in range(lines * _CLUSTERS_A_ROW):
        if place < len(clusters):
            draw_cluster(axes[f"cluster {place}"], first, colours, clusters[place])
        else:
            axes[f"cluster {place}"].set_axis_off()
    return drawn


save = saver(figure)
write_page = page_writer(page)


def _each(
    records: pd.DataFrame, colours: dict[str, str], draw: Callable[[pd.DataFrame, dict[str, Any]], object]
) -> None:
    """Draw the records of each generator, then those of held-out real households on top."""
    for name in [*list(colours)[1:], REAL]:
        look = {"color": colours[name], "linewidth": 2.0 if name == REAL else 1.4}
        draw(select(records, generator=name, side="holdout" if name == REAL else "release"), look)


def draw_distribution(
    axis: Axes, records: pd.DataFrame, colours: dict[str, str], feature: str, label: str, title: str
) -> None:
    """Distribution function of a feature in kWh on a logarithmic axis."""
    own = select(records, metric="quantile", feature=feature)
    _each(own, colours, lambda found, look: axis.plot(found["value"], found["at"], **look))
    real = select(own, generator=REAL)
    lowest = real.loc[(real["at"] >= 0.02) & (real["value"] > 0), "value"].min()
    axis.set(xscale="log", xlim=(lowest / 2, 1.3 * own["value"].max()), ylim=(0, 1.02), title=title)
    axis.set(xlabel=f"{label} [kWh per step]", ylabel=f"share of {'steps' if feature == 'magnitude' else 'profiles'}")
    per_cent(axis.yaxis)


def draw_acf(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Autocorrelation by lag: median over profiles, and the middle 80 % (shaded for real, dotted for releases)."""

    def draw(found: pd.DataFrame, look: dict[str, Any]) -> None:
        low, middle, high = (select(found, metric=f"acf_{part}") for part in ("low", "median", "high"))
        axis.plot(middle["at"], middle["value"], **look)
        if look["color"] == INK:
            axis.fill_between(low["at"], low["value"], high["value"], color=INK, alpha=0.12, linewidth=0)
        else:
            for edge in (low, high):
                axis.plot(edge["at"], edge["value"], ":", color=look["color"], linewidth=1)

    _each(select(records, feature="acf"), colours, draw)
    reference(axis, 0, form="-")
    axis.set(
        xlabel="lag [h]", ylabel="coefficient", xticks=range(0, 13, 3), title="autocorrelation: median, middle 80 %"
    )


def draw_timing(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Share of the largest steps of profiles that fall on each step of the day."""
    own = select(records, metric="share", feature="timing")
    _each(own, colours, lambda found, look: axis.step(found["at"], found["value"], where="post", **look))
    axis.set(xlabel="hour of the day", ylabel="share of steps", xticks=range(0, 25, 6), ylim=(0, None))
    axis.set_title("peaks: timing")
    per_cent(axis.yaxis)


def draw_occupancy(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Share of profiles in each cluster of the mixture."""
    own = select(records, metric="share", feature="occupancy")
    clusters = sorted(own["cluster"].unique().astype(int))
    series = {}
    for name in colours:
        found = select(own, generator=name, side="holdout" if name == REAL else "release")
        shares = dict(zip(found["cluster"].astype(int), found["value"], strict=True))
        series[name] = [Spread.at(shares[c]) if c in shares else None for c in clusters]
    bars(axis, [str(cluster + 1) for cluster in clusters], series, colours)
    axis.set(xlabel="cluster of the mixture, by mean energy", ylabel="share of profiles", title="clusters: occupancy")
    per_cent(axis.yaxis)


def draw_auc(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Area under the curve of the classifier with its 95 % interval, one mark a seed."""
    for place, (name, colour) in enumerate(colours.items()):
        own = select(records, generator=name).pivot_table(index="seed", columns="metric", values="value")
        found = [Spread.at(*one) for one in own[["auc", "auc_low", "auc_high"]].itertuples(index=False)]
        marks(axis, list(zip(spread_out(place, len(found)), found, strict=True)), colour, across=True)
    rows(axis, [""] * len(colours))
    reference(axis, 0.5, upright=True)
    axis.set(xlabel="AUC of telling it from held-out households", xlim=(0.4, 1.02), title="discriminative score")


def draw_ratios(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Ratio of each metric to its floor: mean and range over seeds; grey, what random real divisions give.

    Bars begin at 1, so that their length is how much further away than real the release is, or how much nearer.
    Diamonds are ratios to the mean floor of all divisions.
    """
    names = list(colours)[1:]
    tables = {name: headlines(records, name) for name in names}
    for place, (aspect, scope, _) in enumerate(METRICS):
        real = select(records, metric="headline", reference="floor", generator=REAL, aspect=aspect, scope=scope)[
            "value"
        ]
        if real.notna().any():
            axis.fill_between([place - 0.45, place + 0.45], real.min(), real.max(), color="0.82", linewidth=0, zorder=0)
    finite = {
        name: [own if np.isfinite(own.mean) else None for own in table["spread"]] for name, table in tables.items()
    }
    axis.set_yscale("log")
    bars(axis, [label for *_, label in METRICS], finite, colours, base=1, written=lambda mean: f"{mean:.1f}")
    width = 0.8 / len(names)
    for shift, name in enumerate(names):
        steady = headlines(records, name, "mean floor")["mean"]
        for place, (mean, over_all) in enumerate(zip(tables[name]["mean"], steady, strict=True)):
            at = place + (shift - (len(names) - 1) / 2) * width
            if not np.isfinite(mean):
                axis.text(at, 1.05, write(mean).replace("–", "n/a"), ha="center", color=colours[name])
            elif np.isfinite(over_all):
                axis.plot(at, over_all, "D", color="white", markeredgecolor="0.2", markersize=4)
    reference(axis, 1, form="-", colour=INK)
    reference(axis, LIMIT, colour=INK)
    ends = [value for table in tables.values() for value in table[["low", "high"]].to_numpy().ravel()]
    ends = [*(value for value in ends if np.isfinite(value)), 0.55, 2 * LIMIT]
    axis.set(ylim=(0.9 * min(ends), 1.6 * max(ends)), xlim=(-0.55, len(METRICS) - 0.45))
    ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if min(ends) <= tick <= 1.6 * max(ends)]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axis.minorticks_off()
    axis.set(ylabel="distance to holdout\nas a multiple of the floor")
    axis.set_title(
        f"ratio to the floor: 1 is as good as real, {LIMIT:g} the limit (dashed); grey: other real divisions; "
        "diamonds: ratio to the mean floor of all divisions"
    )


def draw_cluster(axis: Axes, records: pd.DataFrame, colours: dict[str, str], cluster: int) -> None:
    """Mean profile of a cluster's members."""
    inside = select(records, cluster=int(cluster))
    mean = select(inside, metric="cluster_mean")
    _each(mean, colours, lambda found, look: axis.plot(found["at"], found["value"], **look))
    real = select(inside, side="holdout", metric="share")["value"].iloc[0]
    axis.set(xticks=range(0, 25, 6), ylim=(0, None), xlabel="hour of the day", ylabel="mean [kWh]")
    axis.set_title(f"cluster {cluster + 1}: {100 * real:.1f} % of real profiles")
