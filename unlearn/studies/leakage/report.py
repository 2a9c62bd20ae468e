"""The figure and the page of what releases give away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from unlearn.reporting.figure import save_figure, styled
from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.leakage.samples import COPIED, OTHERS
from unlearn.studies.leakage.verdict import (
    ATTACK_NAMES,
    attack_table,
    calibration,
    findings,
    generators_of,
    headline_leaks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Releases whose leakage is known are grey and nearly black: they are the scale, not what is judged.
KNOWN_COLOURS = {COPIED: "#222222", OTHERS: "#9a9a9a"}
OUTLIER_COLOURS = {"seen": "#c8403f", "unseen": "#2b6ca3", "unseen_other": "#9a9a9a"}
OUTLIER_NAMES = {
    "seen": "trained on",
    "unseen": "not trained on, same kind",
    "unseen_other": "not trained on, other kind",
}
LINES = ("-", "--", ":", "-.")


def colours_of(records: pd.DataFrame) -> dict[str, str]:
    """A colour for each generator, then those of the releases whose leakage is known."""
    names = generators_of(records)
    known = {name: colour for name, colour in KNOWN_COLOURS.items() if name in set(records["generator"])}
    return {name: RELEASE_COLOURS[i % len(RELEASE_COLOURS)] for i, name in enumerate(names)} | known


@styled
def leakage_figure(records: pd.DataFrame) -> Figure:
    """Draw every attack of all seeds."""
    colours = colours_of(records)
    figure = Figure(figsize=(14.5, 11.5), layout="constrained")
    axes = figure.subplot_mosaic(
        [["profile", "household", "tpr"], ["curve", "curve", "outliers"], ["reconstruction", "copies", "attributes"]],
        height_ratios=[1.25, 1.1, 0.9],
    )
    draw_attacks(axes["profile"], records, colours, "auc", "profile")
    axes["profile"].set_title("did this day take part?")
    draw_attacks(axes["household"], records, colours, "auc", "household")
    axes["household"].set_title("did this household take part?")
    draw_attacks(axes["tpr"], records, colours, "tpr_at_fpr_0.01", "profile")
    axes["tpr"].set_title("days found while 1 % of others are accused")
    draw_compromised(axes["curve"], records)
    draw_outliers(axes["outliers"], records, colours)
    draw_reconstruction(axes["reconstruction"], records, colours)
    draw_copies(axes["copies"], records, colours)
    draw_attributes(axes["attributes"], records, colours)
    handles = [Line2D([], [], color=colour, marker="o", linestyle="", label=name) for name, colour in colours.items()]
    seeds = records["seed"].nunique()
    title = f"What releases give away of the households they were learnt from ({seeds} seed{'s' * (seeds > 1)})"
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), fontsize=10, title=title, title_fontsize=12
    )
    return figure


def save_leakage(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(leakage_figure(records), stem, records)
    return png


@styled
def draw_attacks(axis: Axes, records: pd.DataFrame, colours: dict[str, str], metric: str, unit: str) -> None:
    """A metric of each membership attack with its 95 % interval, one mark a seed."""
    own = records[(records["metric"] == metric) & (records["unit_attacked"] == unit)].dropna(subset=["value"])
    attacks = [name for name in ATTACK_NAMES if name in set(own["attack"])]
    for place, attack in enumerate(attacks):
        rows = own[own["attack"] == attack]
        marks = [(name, row) for name in colours for _, row in rows[rows["generator"] == name].iterrows()]
        for shift, (name, row) in zip(_places(len(marks)), marks, strict=True):
            _mark(axis, row, place + shift, colours[name])
    axis.set_yticks(range(len(attacks)), [ATTACK_NAMES[name] for name in attacks])
    axis.set_ylim(max(len(attacks), 1) - 0.5, -0.5)
    chance = 0.5 if metric == "auc" else 0.01
    axis.axvline(chance, color="0.35", linewidth=0.8, linestyle="--")
    axis.grid(visible=False, axis="y")
    if metric == "auc":
        axis.set(xlim=(min(0.35, own["low"].min() - 0.02), 1.02), xlabel="AUC (dashed: guessing)")
    else:
        axis.set(xlabel="true positive rate (dashed: guessing)", xlim=(-0.02, 1.02))
        axis.xaxis.set_major_formatter(PercentFormatter(1.0))


@styled
def draw_compromised(axis: Axes, records: pd.DataFrame) -> None:
    """Share of outliers with a released day within a radius, by that radius, with its 95 % interval."""
    own = records[records["metric"] == "compromised"] if "ratio" in records else records.head(0)
    generators = list(dict.fromkeys(own["generator"]))
    for line, generator in zip(LINES * len(generators), generators, strict=False):
        for name, colour in OUTLIER_COLOURS.items():
            rows = own[(own["generator"] == generator) & (own["outliers"] == name)].sort_values("ratio")
            label = OUTLIER_NAMES[name] + (f" ({generator})" if len(generators) > 1 else "")
            axis.plot(rows["ratio"], rows["value"], line, color=colour, label=label)
            axis.fill_between(rows["ratio"], rows["low"], rows["high"], color=colour, alpha=0.13, linewidth=0)
    axis.set(
        xlabel="radius as a ratio of the outlier's norm", ylabel="share of outliers compromised", ylim=(-0.02, 1.02)
    )
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_title("implausible households: is a released day that near to one of theirs?")
    _legend_or_note(axis, bool(generators), "no generator was fitted with outliers")


@styled
def draw_outliers(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """AUC of telling outliers that were trained on from others."""
    own = records[records["metric"] == "auc"]
    own = own[own["against"].notna()] if "against" in own else own.head(0)
    kinds = [(a, b) for a in dict.fromkeys(own["attack"]) for b in ("unseen", "unseen_other")]
    for place, (attack, against) in enumerate(kinds):
        rows = own[(own["attack"] == attack) & (own["against"] == against)]
        for shift, (_, row) in zip(_places(len(rows)), rows.iterrows(), strict=True):
            _mark(axis, row, place + shift, colours[row["generator"]])
    words = {"unseen": "same kind", "unseen_other": "other kind"}
    axis.set_yticks(range(len(kinds)), [f"{ATTACK_NAMES[a]},\n{words[b]}" for a, b in kinds])
    axis.set_ylim(max(len(kinds), 1) - 0.5, -0.5)
    axis.axvline(0.5, color="0.35", linewidth=0.8, linestyle="--")
    axis.grid(visible=False, axis="y")
    lowest = own["low"].min() if kinds else 0.5
    axis.set(xlim=(min(0.35, lowest - 0.02), 1.02), xlabel="AUC (dashed: guessing)")
    axis.set_title("which outliers took part?")
    _legend_or_note(axis, bool(kinds), "no generator was fitted with outliers", legend=False)


@styled
def draw_reconstruction(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """p-value of each draw: is the release closer to training households than chance would have it?"""
    own = records[records["metric"] == "permutation_p_value"]
    names = [name for name in colours if name in set(own["generator"])]
    for place, name in enumerate(names):
        values = own.loc[own["generator"] == name, "value"].to_numpy()
        axis.plot(values, place + _places(len(values)), "o", color=colours[name])
    axis.axvline(0.05, color="0.35", linewidth=0.8, linestyle="--")
    axis.set_yticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names], fontsize=8)
    axis.set(xscale="log", xlim=(min(0.003, 0.8 * own["value"].min()), 1.2), ylim=(len(names) - 0.5, -0.5))
    axis.set(xlabel="p-value of exchanging households (dashed: 5 %)")
    axis.grid(visible=False, axis="y")
    axis.set_title("closer to training households?")


@styled
def draw_copies(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Share of the release that copies days of training households, and, hollow, of other households."""
    own = records[records["metric"].isin(["exact_copies", "near_copies"])]
    labels = {"exact_copies": "exact copies", "near_copies": "near copies"}
    width = 0.8 / (2 * len(colours))
    for place, metric in enumerate(labels):
        for i, (name, colour) in enumerate(colours.items()):
            for j, against in enumerate(("train", "holdout")):
                rows = own[(own["metric"] == metric) & (own["generator"] == name) & (own["against"] == against)]
                at = place + (2 * i + j - len(colours) + 0.5) * width
                look: dict[str, Any] = {"color": colour} if j == 0 else {"fill": False, "edgecolor": colour}
                axis.bar(at, rows["value"].mean(), 0.9 * width, **look)
                axis.annotate(
                    f"{100 * rows['value'].mean():.1f}",
                    (at, rows["value"].mean()),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                )
    axis.set_xticks(range(len(labels)), list(labels.values()))
    axis.set(ylabel="share of the release", ylim=(0, 1.1))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.grid(visible=False, axis="x")
    axis.set_title("copies of training days (hollow: of others')")


@styled
def draw_attributes(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """What the release adds to guessing an attribute of training households beyond that of others, a mark a seed."""
    own = headline_leaks(records)
    kinds = list(dict.fromkeys(zip(own["attribute"], own["label"], strict=True)))
    names = [f"{attribute}\n({label})" for attribute, label in kinds]
    for place, (attribute, label) in enumerate(kinds):
        rows = own[(own["attribute"] == attribute) & (own["label"] == label)]
        marks = [(name, row) for name in colours for _, row in rows[rows["generator"] == name].iterrows()]
        for shift, (name, row) in zip(_places(len(marks)), marks, strict=True):
            _mark(axis, row, place + shift, colours[name])
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axis.axvline(0, color="0.35", linewidth=0.8, linestyle="--")
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="gain in balanced accuracy beyond that of other households")
    axis.set_title("attributes of training households")
    _legend_or_note(axis, bool(names), "too few households of each value", legend=False)


def _mark(axis: Axes, row: pd.Series, at: float, colour: str) -> None:
    reach = np.maximum([[row["value"] - row["low"]], [row["high"] - row["value"]]], 0)
    axis.errorbar(row["value"], at, xerr=reach, fmt="o", color=colour, markersize=4.5, capsize=2)


def _places(n: int) -> np.ndarray:
    return np.linspace(-0.36, 0.36, n + 2)[1:-1]


def _legend_or_note(axis: Axes, drawn: bool, note: str, legend: bool = True) -> None:
    if not drawn:
        axis.text(0.5, 0.5, note, ha="center", va="center", transform=axis.transAxes, color="0.35")
    elif legend:
        axis.legend(loc="upper left")


def write_leakage_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: verdicts, figure and every membership attack.

    Args:
        records: of `measure_leakage` and `pool_outliers`.
        figure: PNG file of `save_leakage`.
        path: where the page goes.

    Raises:
        InputError: records without attacks.
    """
    answered = findings(records)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=True,
        source=records["data"].iloc[0],
        seeds=records["seed"].nunique(),
        calibration=calibration(records),
        findings=answered,
        attacks=attack_table(records),
        png=embedded(figure),
    )
