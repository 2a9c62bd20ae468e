"""The figure and the page of a generated feeder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from unlearn.reporting.figure import REAL_COLOUR, save_figure, styled
from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.release.feeder_measure import ANOMALOUS, NORMAL
from unlearn.studies.release.feeder_verdict import (
    BAND_COLOURS,
    anomaly_table,
    class_table,
    classes_of,
    month_table,
    require_feeder,
    summarise_feeder,
)
from unlearn.studies.release.report import settings_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection


@styled
def feeder_figure(records: pd.DataFrame) -> Figure:
    """Draw what `describe_feeder` recorded of one feeder.

    Raises:
        InputError: records of something else, or of several feeders.
    """
    require_feeder(records)
    figure = Figure(figsize=(14.5, 10.5), layout="constrained")
    axes = figure.subplot_mosaic(
        [
            ["map", "map", "meters", "months"],
            ["map", "map", "relative", "relative"],
            ["classes", "classes", "types", "types"],
        ],
        height_ratios=[1, 1, 0.8],
    )
    points = draw_map(axes["map"], records)
    share = PercentFormatter(1.0, decimals=0)
    figure.colorbar(points, ax=axes["map"], shrink=0.7, format=share, label="share of anomalous meters")
    draw_meters(axes["meters"], records)
    draw_months(axes["months"], records)
    draw_relative(axes["relative"], records)
    draw_classes(axes["classes"], records)
    draw_types(axes["types"], records)
    return figure


def save_feeder(records: pd.DataFrame, stem: Path) -> Path:
    """Save the figure as PNG and PDF; return the PNG."""
    png, _ = save_figure(feeder_figure(records), stem, records)
    return png


@styled
def draw_map(axis: Axes, records: pd.DataFrame) -> PathCollection:
    """Transformers by place: area by meters, colour by the share of anomalous ones; returns the marks."""
    meters = records[records["metric"] == "transformer_meters"]
    share = records[records["metric"] == "transformer_anomalous"].set_index("transformer_id")["value"]
    colour = meters["transformer_id"].map(share).fillna(0.0)
    # Many transformers get smaller marks.
    area = 90 * meters["value"] / meters["value"].mean() / max(1.0, len(meters) / 150)
    points = axis.scatter(
        meters["lon"], meters["lat"], s=area, c=colour, cmap="viridis_r", vmin=0, linewidths=0.3, edgecolors="0.3"
    )
    # Degrees of longitude are shorter than those of latitude.
    axis.set_aspect(1 / np.cos(np.deg2rad(meters["lat"].mean())), adjustable="datalim")
    axis.set(xlabel="longitude [°]", ylabel="latitude [°]")
    axis.ticklabel_format(useOffset=False)
    axis.locator_params(axis="x", nbins=5)
    axis.set_title("transformers: area by number of meters")
    return points


@styled
def draw_meters(axis: Axes, records: pd.DataFrame) -> None:
    """Distribution function of the meters' mean monthly consumption, by class."""
    for name, colour in classes_of(records).items():
        own = records[(records["metric"] == "meter_quantile") & (records["customer_class"] == name)]
        own = own[own["value"] > 0]
        axis.plot(own["value"], own["probability"], color=colour, label=name)
    axis.set(xscale="log", ylim=(0, 1.02), xlabel="mean of a meter [kWh a month]", ylabel="share of meters")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.legend()
    axis.set_title("consumption by class")


@styled
def draw_months(axis: Axes, records: pd.DataFrame) -> None:
    """Mean monthly consumption by class on a logarithmic axis, since classes differ by orders of magnitude."""
    for name, colour in classes_of(records).items():
        own = records[(records["metric"] == "monthly_mean") & (records["customer_class"] == name)]
        axis.plot(_place(own["month"]), own["value"], "o-", color=colour, markersize=3, label=name)
    axis.set(yscale="log", ylabel="mean [kWh a month]")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    _month_ticks(axis, records)
    axis.set_title("mean consumption by month")


@styled
def draw_relative(axis: Axes, records: pd.DataFrame) -> None:
    """Consumption relative to the first month: normal meters, anomalous ones, and each type of anomaly."""
    own = records[records["metric"] == "relative"]
    types = [group for group in own["group"].unique() if group not in (NORMAL, ANOMALOUS)]
    types = types if len(types) > 1 else []  # one type is all that is anomalous
    colours = {kind: RELEASE_COLOURS[2 + i % (len(RELEASE_COLOURS) - 2)] for i, kind in enumerate(types)}
    for kind, colour in colours.items():
        rows = own[own["group"] == kind]
        axis.plot(_place(rows["month"]), rows["value"], "--", color=colour, linewidth=1.1, label=kind.replace("_", " "))
    for group, colour in ((NORMAL, REAL_COLOUR), (ANOMALOUS, RELEASE_COLOURS[1])):
        rows = own[own["group"] == group]
        if rows["value"].notna().any():
            axis.plot(_place(rows["month"]), rows["value"], "o-", color=colour, markersize=3, linewidth=2, label=group)
    axis.axhline(1, color="0.5", linewidth=0.8)
    axis.set_ylabel("relative to the first month")
    _month_ticks(axis, records)
    axis.legend(ncols=3)
    axis.set_title("normal and anomalous meters, each meter counted alike")


@styled
def draw_classes(axis: Axes, records: pd.DataFrame) -> None:
    """Meters of each class, and how many of them are anomalous."""
    own = records[records["metric"] == "class_meters"].pivot(index="customer_class", columns="group", values="value")
    names = list(classes_of(records))
    _stack(axis, own.reindex(names), {NORMAL: "0.7", ANOMALOUS: RELEASE_COLOURS[1]})
    axis.set_xlabel("meters")
    axis.set_title("customer classes")


@styled
def draw_types(axis: Axes, records: pd.DataFrame) -> None:
    """Anomalous meters by type and band of risk."""
    own = records[records["metric"] == "anomalies"]
    axis.set_title("anomalies by type and risk")
    if own.empty:
        axis.text(0.5, 0.5, "no anomalies", ha="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    table = own.pivot(index="anomaly_type", columns="risk_band", values="value").fillna(0.0)
    others = [str(band) for band in table if band not in BAND_COLOURS]
    colours = BAND_COLOURS | {band: RELEASE_COLOURS[i % len(RELEASE_COLOURS)] for i, band in enumerate(others)}
    _stack(axis, table, {band: colour for band, colour in colours.items() if band in table})
    axis.set_xlabel("meters")


def _stack(axis: Axes, table: pd.DataFrame, colours: dict[str, str]) -> None:
    """Horizontal bars, a row each, parts beside each other, the sum at the end."""
    left = np.zeros(len(table))
    for column, colour in colours.items():
        width = table[column].to_numpy(np.float64)
        axis.barh(range(len(table)), width, 0.7, left=left, color=colour, label=column)
        left = left + width
    for place, total in enumerate(left):
        axis.annotate(f"{total:,.0f}", (total, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set_yticks(range(len(table)), [str(name).replace("_", " ") for name in table.index])
    axis.set(xlim=(0, 1.12 * left.max()), ylim=(max(len(table), 3) - 0.4, -0.6))
    axis.grid(visible=False, axis="y")
    axis.legend(loc="best")


def _place(months: pd.Series) -> list[int]:
    """Months such as 2023-01 as whole numbers, one apart."""
    return [pd.Period(month, freq="M").ordinal for month in months]


def _month_ticks(axis: Axes, records: pd.DataFrame) -> None:
    months = list(dict.fromkeys(records.loc[records["metric"] == "monthly_mean", "month"]))
    shown = months[:: max(1, -(-len(months) // 6))]
    axis.set_xticks(_place(pd.Series(shown)), shown, fontsize=8, rotation=30, ha="right")


def write_feeder_page(records: pd.DataFrame, figure: Path, path: Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write the page: sentences, figure, tables, and the generator's settings.

    Args:
        records: of `describe_feeder`, one feeder.
        figure: PNG file of `save_feeder`.
        path: where the page goes.
        card: settings of the generator.

    Raises:
        InputError: records of something else, or of several feeders.
    """
    about, *sentences = summarise_feeder(records)
    return write_page(
        Path(__file__).with_name("feeder.html"),
        path,
        records,
        about=about,
        sentences=sentences,
        classes=class_table(records),
        anomalies=anomaly_table(records),
        months=month_table(records),
        settings=settings_rows(card or {}),
        png=embedded(figure),
    )
