"""The figure and the page of a release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from unlearn.reporting.figure import bars, panels, per_cent, reference, saver, styled
from unlearn.reporting.page import fill
from unlearn.reporting.style import BLUE, INK, PALETTE
from unlearn.reporting.verdict import Spread, select
from unlearn.studies._shared.utility import SEASONS
from unlearn.studies.release.measure import BAND, EXAMPLE_PROBABILITIES
from unlearn.studies.release.verdict import MOST_SEGMENTS, REFERENCES, page, release_of, segments_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_A_ROW = 4
_LABELS = ("month", "day_of_week", "segment")


def colours_of(records: pd.DataFrame) -> dict[str, str]:
    """Colours of what the records hold, the reference last so that it is drawn on top."""
    colours = {release_of(records): BLUE} | dict.fromkeys(REFERENCES, INK)
    return {name: colour for name, colour in colours.items() if name in set(records["generator"])}


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw what `describe_release` recorded of one release."""
    colours = colours_of(records)
    segments = segments_of(records)[:MOST_SEGMENTS]
    n_rows = -(-len(segments) // _PANELS_A_ROW)
    across = -(-len(segments) // n_rows)
    places = [f"segment {i}" for i in range(n_rows * across)]
    sides = [name for name in colours if len(select(records, generator=name, metric="example"))]
    numbers = range(len(EXAMPLE_PROBABILITIES))
    names: list[list[str]] = [
        *(places[start : start + across] for start in range(0, len(places), across)),
        list(SEASONS),
        ["band", "day"],
        [f"share {label}" for label in _LABELS for _ in range({"month": 5, "day_of_week": 3, "segment": 4}[label])],
        *([f"example {name} {i}" for i in numbers] for name in sides),
    ]
    size = 14.5, 2.4 * (n_rows + 3) + 1.9 * len(sides) + 0.8
    drawn, axes = panels(names, "Released daily profiles", size, [1.0] * (n_rows + 3) + [0.8] * len(sides), colours)
    for place in places[len(segments) :]:
        axes[place].set_axis_off()
    for place, segment in zip(places, segments, strict=False):
        draw_means(axes[place], records, colours, {"-": ("segment", segment)}, segment)
    for season in SEASONS:
        lines = {"-": ("season and day", f"{season} weekday"), ":": ("season and day", f"{season} weekend")}
        draw_means(axes[season], records, colours, lines, f"{season}: weekday, weekend dotted")
    for group in (places[: len(segments)], SEASONS):
        top = max(axes[place].get_ylim()[1] for place in group)
        for place in group:
            axes[place].set_ylim(0, top)
    draw_band(axes["band"], records, colours)
    draw_day(axes["day"], records, colours)
    for label in _LABELS:
        draw_shares(axes[f"share {label}"], records, colours, label)
    top = select(records, generator=sides, metric="example")["value"].max()
    for name in sides:
        for number in numbers:
            draw_example(axes[f"example {name} {number}"], records, name, number, top)
    return drawn


save = saver(figure)


def write_page(
    records: pd.DataFrame, png: Path, path: Path, card: Mapping[str, Any] | None = None, comparison: str | None = None
) -> Path:
    """Write the page; what it takes is described at `unlearn.studies.release.verdict.page`."""
    return fill(page(records, card, comparison, training_figure(card or {})), records, png, path)


def draw_means(
    axis: Axes, records: pd.DataFrame, colours: dict[str, str], lines: dict[str, tuple[str, str]], title: str
) -> None:
    """Mean profile of some values of labels, a line style each."""
    for name, colour in colours.items():
        own = select(records, generator=name, metric="mean_profile")
        for style, (label, value) in lines.items():
            curve = select(own, label=label, of=value)
            axis.plot(curve["at"], curve["value"], style, color=colour, linewidth=1.8 if name in REFERENCES else 1.4)
    axis.set(xticks=range(0, 25, 6), ylim=(0, None), xlabel="hour of the day", ylabel="mean [kWh]")
    axis.set_title(title)


def draw_band(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Median and the middle 90 % of each step; shaded for the release, dotted for what stands beside it."""
    low, middle, high = BAND
    beside = [name for name in colours if name in REFERENCES]
    for name, colour in colours.items():
        own = select(records, generator=name, metric="quantile")
        curves = {probability: select(own, probability=probability) for probability in BAND}
        axis.plot(curves[middle]["at"], curves[middle]["value"], color=colour)
        if name in REFERENCES:
            for probability in (low, high):
                axis.plot(curves[probability]["at"], curves[probability]["value"], ":", color=colour, linewidth=1.2)
        else:
            edges = (curves[low]["value"], curves[high]["value"])
            axis.fill_between(curves[low]["at"], *edges, color=colour, alpha=0.2, linewidth=0)
    axis.set(xticks=range(0, 25, 3), ylim=(0, None), xlabel="hour of the day", ylabel="energy of a step [kWh]")
    axis.set_title("median and middle 90 % of each step" + "".join(f" ({name}: dotted)" for name in beside))


def draw_day(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Distribution function of the energy of a day, up to the 99th percentile."""
    tops = []
    for name, colour in colours.items():
        own = select(records, generator=name, metric="day_quantile")
        axis.plot(own["value"], own["probability"], color=colour, linewidth=1.8 if name in REFERENCES else 1.4)
        if len(own):  # of few real households no quantile is described
            tops.append(np.interp(0.99, own["probability"], own["value"]))
    axis.set(xlim=(0, max(tops) or 1.0), ylim=(0, 1.02), xlabel="energy of a day [kWh]", ylabel="share of profiles")
    per_cent(axis.yaxis)
    axis.set_title("energy of a day")


def draw_shares(axis: Axes, records: pd.DataFrame, colours: dict[str, str], label: str) -> None:
    """Share of profiles with each value of a label."""
    values = list(dict.fromkeys(select(records, label=label)["of"]))
    if label == "segment":
        values = [*segments_of(records), *(value for value in values if value not in segments_of(records))]
    shares = select(records, metric="share", label=label).pivot(index="of", columns="generator", values="value")
    shares = shares.reindex(index=values, columns=list(colours))
    series = {name: [None if np.isnan(share) else Spread.at(share) for share in shares[name]] for name in colours}
    bars(axis, values, series, colours)
    crowded = label == "segment" and len(values) > 4
    axis.set_xticks(range(len(values)), values, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    per_cent(axis.yaxis)
    axis.set(ylabel="share of profiles", title=label.replace("_", " "))


def draw_example(axis: Axes, records: pd.DataFrame, name: str, number: int, top: float) -> None:
    """One whole profile on an axis up to `top` kWh."""
    own = select(records, generator=name, metric="example")
    kwh = select(own, number=number)
    ends = [*kwh["at"], 24.0], [*kwh["value"], kwh["value"].iloc[-1]]
    axis.step(*ends, where="post", color=INK if name in REFERENCES else BLUE, linewidth=1.2)
    axis.set(xticks=range(0, 25, 6), xlim=(0, 24), ylim=(0, 1.05 * top or 1.0))
    axis.set_ylabel(f"{name} [kWh]" if number == 0 else "")
    axis.set_title(f"{100 * kwh['probability'].iloc[0]:.0f} %: {kwh['of'].iloc[0]}", fontsize=8)


@styled
def training_figure(card: Mapping[str, Any]) -> Figure | None:
    """Loss per epoch (`training`) and log posterior per pass of EM (`mixture`), as far as the card has them."""
    losses = {name: card.get("training", {}).get(name) for name in ("train", "validation")}
    posterior = card.get("mixture", {}).get("log_posterior")
    if not any(losses.values()) and not posterior:
        return None
    drawn, axes = panels(
        [[name for name, there in (("network", any(losses.values())), ("mixture", posterior)) if there]]
    )
    if "network" in axes:
        draw_losses(axes["network"], losses, card["training"].get("best_epoch"))
    if "mixture" in axes:
        draw_posterior(axes["mixture"], posterior)
    return drawn


def draw_losses(axis: Axes, losses: Mapping[str, list[float] | None], best_epoch: int | None) -> None:
    """Loss on training and watched profiles by epoch; a line where validation was best."""
    for (name, values), colour in zip(losses.items(), PALETTE, strict=False):
        if values:
            axis.plot(range(1, len(values) + 1), values, color=colour, label=name)
    if best_epoch is not None:
        reference(axis, best_epoch + 1, "kept", ":", upright=True)
    axis.set(xlabel="epoch", ylabel="loss")
    axis.legend()
    axis.set_title("network")


def draw_posterior(axis: Axes, values: list[float]) -> None:
    """Mean log posterior of the mixture by pass over the profiles."""
    axis.plot(range(1, len(values) + 1), values, "o-", color=BLUE, markersize=3)
    axis.set(xlabel="pass of EM", ylabel="log posterior per profile")
    axis.set_title("mixture")
