"""What the records of a generated feeder say: sentences and tables."""

from __future__ import annotations

import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.studies.release.feeder_measure import ANOMALOUS, NORMAL

#: Bands of risk from the least severe; others come after them.
BAND_COLOURS = {"Low": "#f2c572", "Medium": "#dd8452", "High": "#a8322f"}


def summarise_feeder(records: pd.DataFrame) -> list[str]:
    """Say how large the feeder is, what classes use, how many meters are anomalous and how that changes their use.

    Args:
        records: of `describe_feeder`.

    Raises:
        InputError: records of something else, or of several feeders.
    """
    require_feeder(records)
    value = _values(records)
    months = _months(records)
    at = f"{_counted(value['transformers'], 'transformer')} of {value['capacity_kva']:,.0f} kVA in all"
    where = f"{_counted(value['feeders'], 'feeder')} in {_counted(value['barangays'], 'barangay')}"
    when = f"{_counted(len(months), 'month')}, {months[0]} to {months[-1]}"
    about = f"{_counted(value['meters'], 'meter')} at {at}, on {where}; {when}."
    uses = [
        f"{row['class']} {row['mean [kWh a month]']} kWh a month ({row['share of meters']} of meters)"
        for row in class_table(records)
    ]
    n = value["anomalous"]
    if not n:
        return [about, f"Mean consumption: {', '.join(uses)}.", "No meter is anomalous."]
    ends = {group: _last(records, group) for group in (NORMAL, ANOMALOUS)}
    share = 100 * n / value["meters"]
    return [
        about,
        f"Mean consumption: {', '.join(uses)}.",
        f"{_counted(n, 'anomalous meter')} ({share:.2f} % of all). In the last month they use {ends[ANOMALOUS]:.2f} "
        f"times as much as in the first, normal meters {ends[NORMAL]:.2f} times.",
    ]


def _values(records: pd.DataFrame) -> dict[str, float]:
    """Numbers of the whole feeder, by metric."""
    names = ("transformers", "feeders", "barangays", "capacity_kva", "meters", "anomalous")
    own = records[records["metric"].isin(names)]
    return {str(metric): float(value) for metric, value in zip(own["metric"], own["value"], strict=True)}


def _months(records: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(records.loc[records["metric"] == "monthly_mean", "month"]))


def _last(records: pd.DataFrame, group: str) -> float:
    own = records[(records["metric"] == "relative") & (records["group"] == group)]
    return float(own["value"].iloc[-1])


def _counted(n: float, what: str) -> str:
    return f"{n:,.0f} {what}{'s' * (n != 1)}"


def class_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Meters, anomalous ones and mean monthly consumption of each class."""
    meters = records[records["metric"] == "class_meters"].pivot(index="customer_class", columns="group", values="value")
    mean = records[records["metric"] == "monthly_mean"].groupby("customer_class")["value"].mean()
    quantile = records[records["metric"] == "meter_quantile"].pivot(
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
    mean = records[records["metric"] == "monthly_mean"].pivot(index="month", columns="customer_class", values="value")
    relative = records[records["metric"] == "relative"].pivot(index="month", columns="group", values="value")
    return [
        {"month": month}
        | {f"{name} [kWh]": f"{mean[name][month]:,.1f}" for name in classes_of(records)}
        | {f"{group}, relative": _ratio(relative[group][month]) for group in (NORMAL, ANOMALOUS)}
        for month in _months(records)
    ]


def _ratio(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def anomaly_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Anomalous meters by type and band of risk; no rows without anomalies."""
    own = records[records["metric"] == "anomalies"]
    if own.empty:
        return []
    table = own.pivot(index="anomaly_type", columns="risk_band", values="value").fillna(0.0)
    found = list(map(str, table.columns))
    bands = [band for band in BAND_COLOURS if band in found] + [band for band in found if band not in BAND_COLOURS]
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
    if "transformer_id" not in records or "transformer_meters" not in set(records["metric"]):
        raise InputError("feeder: expected records with the metric transformer_meters; run describe_feeder first.")
    if (records["metric"] == "meters").sum() != 1:
        raise InputError("feeder: expected records of one feeder, described once.")


def classes_of(records: pd.DataFrame) -> dict[str, str]:
    """A colour for each customer class, the most frequent first."""
    names = records.loc[records["metric"] == "class_meters", "customer_class"].unique()
    return {str(name): RELEASE_COLOURS[i % len(RELEASE_COLOURS)] for i, name in enumerate(names)}
