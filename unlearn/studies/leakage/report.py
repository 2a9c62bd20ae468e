"""The figure and the page of what releases give away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from unlearn.attacks.base import label_of
from unlearn.reporting.figure import (
    bars,
    line,
    marks,
    note,
    panels,
    per_cent,
    reference,
    rows,
    saver,
    spread_out,
    styled,
)
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import BLUE, FAINT, INK, RED, coloured
from unlearn.reporting.verdict import Spread, over_seeds, seeds_of, select
from unlearn.studies._shared.attributes import COPIED, OTHERS
from unlearn.studies.leakage.verdict import generators_of, headline_leaks, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Several runs can be drawn together.
TOGETHER = True
#: Controls are grey and nearly black: they are the scale, not what is judged.
KNOWN_COLOURS = {COPIED: INK, OTHERS: FAINT}
#: Outliers: name, colour.
OUTLIERS = {
    "seen": ("trained on", RED),
    "unseen": ("not trained on, same kind", BLUE),
    "unseen_other": ("not trained on, other kind", FAINT),
}
LINES = ("-", "--", ":", "-.")
_NO_OUTLIERS = "no generator was fitted with outliers"


def colours_of(records: pd.DataFrame) -> dict[str, str]:
    """A colour for each generator, then those of the controls."""
    known = [name for name in KNOWN_COLOURS if name in set(records["generator"])]
    return coloured([*generators_of(records), *known], KNOWN_COLOURS)


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw every attack of all seeds."""
    colours = colours_of(records)
    names = [
        ["profile", "household", "tpr"],
        ["curve", "curve", "outliers"],
        ["reconstruction", "copies", "attributes"],
    ]
    title = f"What releases give away of the households they were learnt from ({seeds_of(records)})"
    drawn, axes = panels(names, title, (14.5, 11.5), [1.25, 1.1, 0.9], colours)
    for unit in ("profile", "household"):
        draw_attacks(axes[unit], records, colours, "auc", unit)
        axes[unit].set_title(f"did this {'day' if unit == 'profile' else unit} take part?")
    draw_attacks(axes["tpr"], records, colours, "tpr_at_fpr_0.01", "profile")
    axes["tpr"].set_title("days found while 1 % of others are accused")
    draw_compromised(axes["curve"], records)
    draw_outliers(axes["outliers"], records, colours)
    draw_reconstruction(axes["reconstruction"], records, colours)
    draw_copies(axes["copies"], records, colours)
    draw_attributes(axes["attributes"], records, colours)
    return drawn


save = saver(figure)
write_page = page_writer(page)


def draw_attacks(axis: Axes, records: pd.DataFrame, colours: dict[str, str], metric: str, unit: str) -> None:
    """A metric of each membership attack with its 95 % interval, one mark a seed."""
    own = select(records, metric=metric, unit_attacked=unit).dropna(subset=["value"])
    attacks = list(dict.fromkeys(own["attack"]))
    _marked(axis, [select(own, attack=attack) for attack in attacks], colours)
    rows(axis, [label_of(name) for name in attacks])
    reference(axis, 0.5 if metric == "auc" else 0.01, upright=True)
    if metric == "auc":
        axis.set(xlim=(min(0.35, own["low"].min() - 0.02), 1.02), xlabel="AUC (dashed: guessing)")
    else:
        axis.set(xlabel="true positive rate (dashed: guessing)", xlim=(-0.02, 1.02))
        per_cent(axis.xaxis)


def draw_compromised(axis: Axes, records: pd.DataFrame) -> None:
    """Share of outliers with a released day within a radius, by that radius, with its 95 % interval."""
    own = select(records, metric="compromised")
    generators = list(dict.fromkeys(own["generator"]))
    for form, generator in zip(LINES * len(generators), generators, strict=False):
        for kind, (name, colour) in OUTLIERS.items():
            found = select(own, generator=generator, outliers=kind).sort_values("ratio")
            columns = (found[column] for column in ("ratio", "value", "low", "high"))
            points = {ratio: Spread.at(*one) for ratio, *one in zip(*columns, strict=True)}
            line(axis, points, colour, name + (f" ({generator})" if len(generators) > 1 else ""), form)
    axis.set(
        xlabel="radius as a ratio of the outlier's norm", ylabel="share of outliers compromised", ylim=(-0.02, 1.02)
    )
    per_cent(axis.yaxis)
    axis.set_title("implausible households: is a released day that near to one of theirs?")
    if generators:
        axis.legend(loc="upper left")
    else:
        note(axis, _NO_OUTLIERS)


def draw_outliers(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """AUC of telling outliers that were trained on from others."""
    own = select(records, metric="auc", against=...)
    kinds = [
        (attack, against, kind)
        for attack in dict.fromkeys(own["attack"])
        for against, kind in (("unseen", "same kind"), ("unseen_other", "other kind"))
    ]
    _marked(axis, [select(own, attack=attack, against=against) for attack, against, _ in kinds], colours)
    rows(axis, [f"{label_of(attack)},\n{kind}" for attack, _, kind in kinds])
    reference(axis, 0.5, upright=True)
    lowest = own["low"].min() if kinds else 0.5
    axis.set(xlim=(min(0.35, lowest - 0.02), 1.02), xlabel="AUC (dashed: guessing)", title="which outliers took part?")
    if not kinds:
        note(axis, _NO_OUTLIERS)


def draw_reconstruction(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """p-value of each draw: is the release closer to training households than chance would have it?"""
    own = select(records, metric="permutation_p_value")
    names = [name for name in colours if name in set(own["generator"])]
    for place, name in enumerate(names):
        values = select(own, generator=name)["value"]
        axis.plot(values, spread_out(place, len(values)), "o", color=colours[name])
    reference(axis, 0.05, upright=True)
    rows(axis, [name.replace(" ", "\n", 1) for name in names])
    axis.set(xscale="log", xlim=(min(0.003, 0.8 * own["value"].min()), 1.2), title="closer to training households?")
    axis.set_xlabel("p-value of exchanging households (dashed: 5 %)")


def draw_copies(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Share of the release that copies days of training households, and, pale, of other households."""
    own = select(records, metric=["exact_copies", "near_copies"])
    series, looks = {}, {}
    for name, colour in colours.items():
        for against, shade in (("train", ""), ("holdout", "55")):
            found = [select(own, metric=m, generator=name, against=against) for m in ("exact_copies", "near_copies")]
            shares = [over_seeds(rows) for rows in found]
            series[f"{name} {against}"] = [Spread.at(share.mean) if share else None for share in shares]
            looks[f"{name} {against}"] = colour + shade
    bars(axis, ["exact copies", "near copies"], series, looks, written=lambda share: f"{100 * share:.1f}")
    axis.set(ylabel="share of the release", ylim=(0, 1.1), title="copies of training days (pale: of others')")
    per_cent(axis.yaxis)


def draw_attributes(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """What the release adds to guessing an attribute of training households beyond that of others, a mark a seed."""
    own = headline_leaks(records)
    kinds = list(dict.fromkeys(zip(own["attribute"], own["label"], strict=True)))
    _marked(axis, [select(own, attribute=attribute, label=label) for attribute, label in kinds], colours)
    rows(axis, [f"{attribute}\n({label})" for attribute, label in kinds])
    reference(axis, 0, upright=True)
    axis.set(
        xlabel="gain in balanced accuracy beyond that of other households", title="attributes of training households"
    )
    if not kinds:
        note(axis, "too few households of each value")


def _marked(axis: Axes, groups: Sequence[pd.DataFrame], colours: dict[str, str]) -> None:
    """A row of marks for each group, generators in the order of their colours."""
    for place, group in enumerate(groups):
        found = [(name, row) for name in colours for _, row in select(group, generator=name).iterrows()]
        for at, (name, row) in zip(spread_out(place, len(found)), found, strict=True):
            marks(axis, [(at, Spread(row["value"], row["low"], row["high"]))], colours[name], across=True)
