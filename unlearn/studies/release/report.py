"""The figure and the page of a release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from unlearn.reporting.figure import REAL_COLOUR, new_figure, save_figure, styled
from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.page import drawn, embedded, write_page
from unlearn.studies.release.measure import BAND, EXAMPLE_PROBABILITIES, MIN_HOUSEHOLDS, PUBLIC
from unlearn.studies.release.verdict import (
    LABEL_NAMES,
    REFERENCES,
    label_table,
    reference_of,
    release_of,
    summarise_release,
    whole_table,
)
from unlearn.studies.utility.measure import REAL
from unlearn.studies.utility.profile_tasks import SEASONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RELEASE_COLOUR = RELEASE_COLOURS[0]
#: Segments beyond these have no panel of their own.
MOST_SEGMENTS = 8
_PANELS_A_ROW = 4


def colours_of(records: pd.DataFrame) -> dict[str, str]:
    """Colours of what the records hold, the reference last so that it is drawn on top."""
    colours = {release_of(records): RELEASE_COLOUR} | dict.fromkeys(REFERENCES, REAL_COLOUR)
    return {name: colour for name, colour in colours.items() if name in set(records["generator"])}


def segments_of(records: pd.DataFrame) -> list[str]:
    """Segments of the release, the most frequent first."""
    own = records[(records["label"] == "segment") & (records["metric"] == "profiles") & (records["value"] > 0)]
    own = own[own["generator"] == release_of(records)].sort_values("value", ascending=False, kind="stable")
    return [str(name) for name in own["of"]]


@styled
def release_figure(records: pd.DataFrame) -> Figure:
    """Draw what `describe_release` recorded of one release.

    Raises:
        InputError: records of something else, or of several releases.
    """
    colours = colours_of(records)
    segments = segments_of(records)[:MOST_SEGMENTS]
    n_rows = -(-len(segments) // _PANELS_A_ROW)
    across = -(-len(segments) // n_rows)
    places = [f"segment {i}" for i in range(n_rows * across)]
    sides = [name for name in colours if len(_rows(records, name, "example"))]
    numbers = range(len(EXAMPLE_PROBABILITIES))
    rows = [
        *(places[start : start + across] for start in range(0, len(places), across)),
        list(SEASONS),
        ["band", "day"],
        ["share month", "share day_of_week", "share segment"],
        *([f"example {name} {i}" for i in numbers] for name in sides),
    ]
    figure = Figure(figsize=(14.5, 2.4 * (n_rows + 3) + 1.9 * len(sides) + 0.8), layout="constrained")
    heights = [1.0] * (n_rows + 3) + [0.8] * len(sides)
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    # A figure a row, since rows divide their width differently.
    axes: dict[str, Axes] = {}
    for part, row in zip(parts, rows, strict=True):
        ratios = [5, 3, 4] if "share month" in row else None
        axes |= dict(zip(row, part.subplots(1, len(row), squeeze=False, width_ratios=ratios)[0], strict=True))
    for name, axis in axes.items():
        axis.set_label(name)
    for place in places[len(segments) :]:
        axes[place].set_axis_off()
    shared = {"segment": places[: len(segments)], "season": list(SEASONS)}
    for place, segment in zip(places, segments, strict=False):
        draw_means(axes[place], records, colours, {"-": ("segment", segment)}, segment)
    for season in SEASONS:
        lines = {"-": ("season and day", f"{season} weekday"), ":": ("season and day", f"{season} weekend")}
        draw_means(axes[season], records, colours, lines, f"{season}: weekday, weekend dotted")
    for group in shared.values():
        top = max(axes[place].get_ylim()[1] for place in group)
        for place in group:
            axes[place].set_ylim(0, top)
    draw_band(axes["band"], records, colours)
    draw_day(axes["day"], records, colours)
    for label in ("month", "day_of_week", "segment"):
        draw_shares(axes[f"share {label}"], records, colours, label)
    top = max(_rows(records, name, "example")["value"].max() for name in sides)
    for name in sides:
        for number in numbers:
            draw_example(axes[f"example {name} {number}"], records, name, number, top)
    handles = [Line2D([], [], color=colour, linewidth=2.5, label=name) for name, colour in colours.items()]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles),
        fontsize=10,
        title="Released daily profiles",
        title_fontsize=12,
    )
    return figure


def save_release(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(release_figure(records), stem, records)
    return png


def _rows(records: pd.DataFrame, name: str, metric: str) -> pd.DataFrame:
    return records[(records["generator"] == name) & (records["metric"] == metric)]


@styled
def draw_means(
    axis: Axes, records: pd.DataFrame, colours: dict[str, str], lines: dict[str, tuple[str, str]], title: str
) -> None:
    """Mean profile of some values of labels, a line style each."""
    for name, colour in colours.items():
        own = _rows(records, name, "mean_profile")
        for style, (label, value) in lines.items():
            curve = own[(own["label"] == label) & (own["of"] == value)]
            axis.plot(curve["at"], curve["value"], style, color=colour, linewidth=1.8 if name in REFERENCES else 1.4)
    axis.set(xticks=range(0, 25, 6), ylim=(0, None), xlabel="hour of the day", ylabel="mean [kWh]")
    axis.set_title(title)


@styled
def draw_band(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Median and the middle 90 % of each step; shaded for the release, dotted for what stands beside it."""
    low, middle, high = BAND
    beside = [name for name in colours if name in REFERENCES]
    for name, colour in colours.items():
        own = _rows(records, name, "quantile")
        curves = {probability: own[own["probability"] == probability] for probability in BAND}
        axis.plot(curves[middle]["at"], curves[middle]["value"], color=colour)
        if name in REFERENCES:
            for probability in (low, high):
                axis.plot(curves[probability]["at"], curves[probability]["value"], ":", color=colour, linewidth=1.2)
        else:
            edges = (curves[low]["value"], curves[high]["value"])
            axis.fill_between(curves[low]["at"], *edges, color=colour, alpha=0.2, linewidth=0)
    axis.set(xticks=range(0, 25, 3), ylim=(0, None), xlabel="hour of the day", ylabel="energy of a step [kWh]")
    axis.set_title("median and middle 90 % of each step" + "".join(f" ({name}: dotted)" for name in beside))


@styled
def draw_day(axis: Axes, records: pd.DataFrame, colours: dict[str, str]) -> None:
    """Distribution function of the energy of a day, up to the 99th percentile."""
    tops = []
    for name, colour in colours.items():
        own = _rows(records, name, "day_quantile")
        axis.plot(own["value"], own["probability"], color=colour, linewidth=1.8 if name in REFERENCES else 1.4)
        if len(own):  # of few real households no quantile is described
            tops.append(np.interp(0.99, own["probability"], own["value"]))
    axis.set(xlim=(0, max(tops) or 1.0), ylim=(0, 1.02), xlabel="energy of a day [kWh]", ylabel="share of profiles")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_title("energy of a day")


@styled
def draw_shares(axis: Axes, records: pd.DataFrame, colours: dict[str, str], label: str) -> None:
    """Share of profiles with each value of a label."""
    values = list(dict.fromkeys(records.loc[records["label"] == label, "of"]))
    if label == "segment":
        values = [*segments_of(records), *(value for value in values if value not in segments_of(records))]
    width = 0.8 / len(colours)
    for shift, (name, colour) in enumerate(colours.items()):
        own = _rows(records, name, "share")
        share = own[own["label"] == label].set_index("of")["value"].reindex(values)
        at = np.arange(len(values)) + (shift - (len(colours) - 1) / 2) * width
        axis.bar(at, share, 0.95 * width, color=colour)
    crowded = label == "segment" and len(values) > 4
    axis.set_xticks(range(len(values)), values, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.grid(visible=False, axis="x")
    axis.set_ylabel("share of profiles")
    axis.set_title(label.replace("_", " "))


@styled
def draw_example(axis: Axes, records: pd.DataFrame, name: str, number: int, top: float) -> None:
    """One whole profile on an axis up to `top` kWh."""
    own = _rows(records, name, "example")
    kwh = own[own["number"] == number]
    ends = [*kwh["at"], 24.0], [*kwh["value"], kwh["value"].iloc[-1]]
    axis.step(*ends, where="post", color=REAL_COLOUR if name in REFERENCES else RELEASE_COLOUR, linewidth=1.2)
    axis.set(xticks=range(0, 25, 6), xlim=(0, 24), ylim=(0, 1.05 * top or 1.0))
    axis.set_ylabel(f"{name} [kWh]" if number == 0 else "")
    axis.set_title(f"{100 * kwh['probability'].iloc[0]:.0f} %: {kwh['of'].iloc[0]}", fontsize=8)


#: Entries of a card that a figure shows, and long ones that say nothing to a reader.
_CURVES = ("train", "validation", "log_posterior")


def settings_rows(card: Mapping[str, Any], prefix: str = "") -> list[dict[str, str]]:
    """Settings by their path, such as `options.vae.latent`; curves are left to the figure."""
    rows = []
    for name, value in card.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            rows += settings_rows(value, f"{path}.")
        elif name not in _CURVES or not isinstance(value, list):
            rows.append({"setting": path, "value": _said(value)})
    return rows


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)


def training_figure(card: Mapping[str, Any]) -> Figure | None:
    """Loss per epoch (`training`) and log posterior per pass of EM (`mixture`), as far as the card has them."""
    losses = {name: card.get("training", {}).get(name) for name in ("train", "validation")}
    posterior = card.get("mixture", {}).get("log_posterior")
    n_panels = any(losses.values()) + bool(posterior)
    if not n_panels:
        return None
    figure, [axes] = new_figure(1, n_panels, "")
    if any(losses.values()):
        draw_losses(axes[0], losses, card["training"].get("best_epoch"))
    if posterior:
        draw_posterior(axes[-1], posterior)
    return figure


@styled
def draw_losses(axis: Axes, losses: Mapping[str, list[float] | None], best_epoch: int | None) -> None:
    """Loss on training and watched profiles by epoch; a line where validation was best."""
    for (name, values), colour in zip(losses.items(), RELEASE_COLOURS, strict=False):
        if values:
            axis.plot(range(1, len(values) + 1), values, color=colour, label=name)
    if best_epoch is not None:
        axis.axvline(best_epoch + 1, color="0.4", linewidth=1, linestyle=":", label="kept")
    axis.set(xlabel="epoch", ylabel="loss")
    axis.legend()
    axis.set_title("network")


@styled
def draw_posterior(axis: Axes, values: list[float]) -> None:
    """Mean log posterior of the mixture by pass over the profiles."""
    axis.plot(range(1, len(values) + 1), values, "o-", color=RELEASE_COLOURS[0], markersize=3)
    axis.set(xlabel="pass of EM", ylabel="log posterior per profile")
    axis.set_title("mixture")


#: What the page says of what stands beside the release, and of what does not.
_BESIDE = {
    None: "Every number of profiles on this page is of the released ones; none was measured on the real ones.",
    PUBLIC: "Beside the release stands its public start, which was known before any household was looked at. No number "
    "of profiles on this page was measured on real ones.",
    REAL: f"Of real households is left out: groups of fewer than {MIN_HOUSEHOLDS} households, and further ones where a "
    f"difference would give them away; quantiles that fewer than {MIN_HOUSEHOLDS} households lie below or above; the "
    "smallest and the largest values; days of single households.",
}


def write_release_page(
    records: pd.DataFrame,
    figure: Path,
    path: Path,
    card: Mapping[str, Any] | None = None,
    comparison: str | None = None,
) -> Path:
    """Write the page: sentences, figure, numbers by label, and the generator's card.

    Args:
        records: of `describe_release`, one release.
        figure: PNG file of `save_release`.
        path: where the page goes.
        card: of the generator: any settings; losses per epoch under `training`, log posterior per pass under
            `mixture`.
        comparison: name of the folder, for the owner only, that compares the release with real households.

    Raises:
        InputError: records of something else, or of several releases.
    """
    about, *sentences = summarise_release(records)
    training, beside = training_figure(card or {}), reference_of(records)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=beside == REAL,
        source=records["data"].iloc[0],
        beside=_BESIDE[beside],
        comparison=comparison,
        least=MIN_HOUSEHOLDS,
        about=about,
        sentences=sentences,
        whole=whole_table(records),
        tables={text: label_table(records, label) for label, text in LABEL_NAMES.items()},
        n_segments=len(segments_of(records)),
        most_segments=MOST_SEGMENTS,
        settings=settings_rows(card or {}),
        training=drawn(training) if training else None,
        png=embedded(figure),
    )
