"""The figure and the page of a generated feeder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from unlearn.reporting.figure import note, panels, per_cent, reference, rows, saver, styled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import INK, PALETTE, RED, RISK_COLOURS, coloured
from unlearn.reporting.verdict import select
from unlearn.studies.release.feeder_measure import ANOMALOUS, NORMAL
from unlearn.studies.release.feeder_verdict import classes_of, page, require_feeder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

_PANELS = (
    ("map", "map", "meters", "months"),
    ("map", "map", "relative", "relative"),
    ("classes", "classes", "types", "types"),
)


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw what `describe_feeder` recorded of one feeder."""
    require_feeder(records)
    drawn, axes = panels(_PANELS, size=(14.5, 10.5), heights=[1, 1, 0.8])
    points = draw_map(axes["map"], records)
    share = PercentFormatter(1.0, decimals=0)
    drawn.colorbar(points, ax=axes["map"], shrink=0.7, format=share, label="share of anomalous meters")
    draw_meters(axes["meters"], records)
    draw_months(axes["months"], records)
    draw_relative(axes["relative"], records)
    draw_classes(axes["classes"], records)
    draw_types(axes["types"], records)
    return drawn


save = saver(figure)
write_page = page_writer(page)


def draw_map(axis: Axes, records: pd.DataFrame) -> PathCollection:
    """Transformers by place: area by meters, colour by the share of anomalous ones; returns the marks."""
    meters = select(records, metric="transformer_meters")
    share = select(records, metric="transformer_anomalous").set_index("transformer_id")["value"]
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


def draw_meters(axis: Axes, records: pd.DataFrame) -> None:
    """Distribution function of the meters' mean monthly consumption, by class."""
    for name, colour in classes_of(records).items():
        own = select(records, metric="meter_quantile", customer_class=name)
        own = own[own["value"] > 0]
        axis.plot(own["value"], own["probability"], color=colour, label=name)
    axis.set(xscale="log", ylim=(0, 1.02), xlabel="mean of a meter [kWh a month]", ylabel="share of meters")
    per_cent(axis.yaxis)
    axis.legend()
    axis.set_title("consumption by class")


def draw_months(axis: Axes, records: pd.DataFrame) -> None:
    """Mean monthly consumption by class on a logarithmic axis, since classes differ by orders of magnitude."""
    for name, colour in classes_of(records).items():
        own = select(records, metric="monthly_mean", customer_class=name)
        axis.plot(_place(own["month"]), own["value"], "o-", color=colour, markersize=3, label=name)
    axis.set(yscale="log", ylabel="mean [kWh a month]")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    _month_ticks(axis, records)
    axis.set_title("mean consumption by month")


def draw_relative(axis: Axes, records: pd.DataFrame) -> None:
    """Consumption relative to the first month: normal meters, anomalous ones, and each type of anomaly."""
    own = select(records, metric="relative")
    types = [group for group in own["group"].unique() if group not in (NORMAL, ANOMALOUS)]
    types = types if len(types) > 1 else []  # one type is all that is anomalous
    for kind, colour in zip(types, PALETTE[2:] * len(types), strict=False):
        found = select(own, group=kind)
        axis.plot(
            _place(found["month"]), found["value"], "--", color=colour, linewidth=1.1, label=kind.replace("_", " ")
        )
    for group, colour in ((NORMAL, INK), (ANOMALOUS, RED)):
        found = select(own, group=group)
        if found["value"].notna().any():
            axis.plot(
                _place(found["month"]), found["value"], "o-", color=colour, markersize=3, linewidth=2, label=group
            )
    reference(axis, 1, form="-")
    axis.set_ylabel("relative to the first month")
    _month_ticks(axis, records)
    axis.legend(ncols=3)
    axis.set_title("normal and anomalous meters, each meter counted alike")


def draw_classes(axis: Axes, records: pd.DataFrame) -> None:
    """Meters of each class, and how many of them are anomalous."""
    own = select(records, metric="class_meters").pivot(index="customer_class", columns="group", values="value")
    names = list(classes_of(records))
    _stack(axis, own.reindex(names), {NORMAL: "0.7", ANOMALOUS: RED})
    axis.set_xlabel("meters")
    axis.set_title("customer classes")


def draw_types(axis: Axes, records: pd.DataFrame) -> None:
    """Anomalous meters by type and band of risk."""
    own = select(records, metric="anomalies")
    axis.set_title("anomalies by type and risk")
    if own.empty:
        note(axis, "no anomalies")
        axis.set_axis_off()
        return
    table = own.pivot(index="anomaly_type", columns="risk_band", values="value").fillna(0.0)
    found = coloured(map(str, table), RISK_COLOURS)
    _stack(axis, table, {band: found[band] for band in [*RISK_COLOURS, *found] if band in found})
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
    rows(axis, [str(name).replace("_", " ") for name in table.index])
    axis.set(xlim=(0, 1.12 * left.max()), ylim=(max(len(table), 3) - 0.4, -0.6))
    axis.legend(loc="best")


def _place(months: pd.Series) -> list[int]:
    """Months such as 2023-01 as whole numbers, one apart."""
    return [pd.Period(month, freq="M").ordinal for month in months]


def _month_ticks(axis: Axes, records: pd.DataFrame) -> None:
    months = list(dict.fromkeys(select(records, metric="monthly_mean")["month"]))
    shown = months[:: max(1, -(-len(months) // 6))]
    axis.set_xticks(_place(pd.Series(shown)), shown, fontsize=8, rotation=30, ha="right")
