"""What the records of a generated feeder say: sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.style import RISK_COLOURS, coloured
from unlearn.reporting.verdict import NO, Block, Page, counted, require_columns, select, write
from unlearn.studies.release.feeder_measure import ANOMALOUS, NORMAL
from unlearn.studies.release.verdict import settings_rows


def page(records: pd.DataFrame, card: Mapping[str, Any] | None = None) -> Page:
    """The page's contents.

    Args:
        records: of `describe_feeder`, one feeder.
        card: settings of the generator.
    """
    about, *sentences = summarise(records)
    settings = settings_rows(card or {})
    return Page(
        "Is any customer of this generated feeder real?",
        NO,
        "all of it is synthetic: no place, customer or meter is real.",
        about,
        "Map of transformers, consumption by class and month, anomalous meters",
        [
            Block("What was generated", points=sentences),
            Block("Customer classes", rows=class_table(records), note="Quantiles are of the meters' mean consumption."),
            Block("Anomalous meters", rows=anomaly_table(records)),
            Block("By month", rows=month_table(records)),
            Block("The generator", rows=settings, texts=2, folded=f"Settings ({len(settings)})"),
        ],
        measured=[
            "Relative: every meter is divided by its own mean over the months, then the means of normal and of "
            "anomalous meters by that of the first month, so that large customers count no more than small ones."
        ],
        limits=["No number was compared with a real feeder."],
    )


def summarise(records: pd.DataFrame) -> list[str]:
    """Say how large the feeder is, what classes use, how many meters are anomalous and how that changes their use.

    Args:
        records: of `describe_feeder`.

    Raises:
        InputError: records of something else, or of several feeders.
    """
    require_feeder(records)
    names = ("transformers", "feeders", "barangays", "capacity_kva", "meters", "anomalous")
    value = select(records, metric=names).set_index("metric")["value"].astype(float).to_dict()
    months = _months(records)
    at = f"{counted(value['transformers'], 'transformer')} of {value['capacity_kva']:,.0f} kVA in all"
    where = f"{counted(value['feeders'], 'feeder')} in {counted(value['barangays'], 'barangay')}"
    when = f"{counted(len(months), 'month')}, {months[0]} to {months[-1]}"
    about = f"{counted(value['meters'], 'meter')} at {at}, on {where}; {when}."
    uses = [
        f"{row['class']} {row['mean [kWh a month]']} kWh a month ({row['share of meters']} of meters)"
        for row in class_table(records)
    ]
    n = value["anomalous"]
    if not n:
        return [about, f"Mean consumption: {', '.join(uses)}.", "No meter is anomalous."]
    relative = select(records, metric="relative")
    ends = {group: float(select(relative, group=group)["value"].iloc[-1]) for group in (NORMAL, ANOMALOUS)}
    share = 100 * n / value["meters"]
    return [
        about,
        f"Mean consumption: {', '.join(uses)}.",
        f"{counted(n, 'anomalous meter')} ({share:.2f} % of all). In the last month they use {ends[ANOMALOUS]:.2f} "
        f"times as much as in the first, normal meters {ends[NORMAL]:.2f} times.",
    ]


def _months(records: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(select(records, metric="monthly_mean")["month"]))


def class_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Meters, anomalous ones and mean monthly consumption of each class."""
    meters = select(records, metric="class_meters").pivot(index="customer_class", columns="group", values="value")
    mean = select(records, metric="monthly_mean").groupby("customer_class")["value"].mean()
    quantile = select(records, metric="meter_quantile").pivot(
        index="customer_class", columns="probability", values="value"
    )
    total = meters.to_numpy().sum()
    rows = []
    for name in classes_of(records):
        n = meters.loc[name].sum()
        rows.append(
            {
                "class": name,
                "meters": f"{n:,.0f}",
                "share of meters": f"{100 * n / total:.1f} %",
                "anomalous": f"{meters[ANOMALOUS][name]:,.0f}",
                "mean [kWh a month]": f"{mean[name]:,.0f}",
                **{f"{100 * p:g} % quantile": f"{quantile[p][name]:,.0f}" for p in (0.05, 0.5, 0.95)},
            }
        )
    return rows


def month_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Mean consumption of each class by month, and that of normal and anomalous meters relative to the first."""
    mean = select(records, metric="monthly_mean").pivot(index="month", columns="customer_class", values="value")
    relative = select(records, metric="relative").pivot(index="month", columns="group", values="value")
    return [
        {"month": month}
        | {f"{name} [kWh]": f"{mean[name][month]:,.1f}" for name in classes_of(records)}
        | {f"{group}, relative": write(relative[group][month], ".3f") for group in (NORMAL, ANOMALOUS)}
        for month in _months(records)
    ]


def anomaly_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Anomalous meters by type and band of risk; no rows without anomalies."""
    own = select(records, metric="anomalies")
    if own.empty:
        return []
    table = own.pivot(index="anomaly_type", columns="risk_band", values="value").fillna(0.0)
    found = list(map(str, table.columns))
    bands = [band for band in RISK_COLOURS if band in found] + [band for band in found if band not in RISK_COLOURS]
    return [
        {"type": str(kind).replace("_", " ")}
        | {f"{band} risk": f"{row[band]:,.0f}" for band in bands}
        | {"all": f"{row.sum():,.0f}"}
        for kind, row in table.iterrows()
    ]


def require_feeder(records: pd.DataFrame) -> None:
    """Refuse records of something else.

    Raises:
        InputError: records that `describe_feeder` did not make, or of several feeders.
    """
    require_columns("feeder", records, "transformer_id", metric="transformer_meters", run="describe_feeder")
    if (records["metric"] == "meters").sum() != 1:
        raise InputError("feeder: expected records of one feeder, described once.")


def classes_of(records: pd.DataFrame) -> dict[str, str]:
    """A colour for each customer class, the most frequent first."""
    names = select(records, metric="class_meters")["customer_class"].unique()
    return coloured(map(str, names))
