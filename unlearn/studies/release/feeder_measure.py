"""What generated transformers, meters and anomalies look like."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.errors import DataError, InputError, MismatchError
from unlearn.records import RecordTable

#: Probabilities at which the mean monthly consumption of meters is recorded.
PROBABILITIES = np.arange(101) / 100

NORMAL, ANOMALOUS = "normal", "anomalous"

_COLUMNS = {
    "transformers_df": ("transformer_id", "feeder_id", "barangay", "lat", "lon", "capacity_kVA"),
    "meters_df": ("meter_id", "transformer_id", "customer_class"),
    "anomaly_labels_df": ("meter_id", "anomaly_flag", "risk_band", "anomaly_type"),
}
_MONTH = re.compile(r"monthly_consumption_(\d{4})(\d{2})")


def describe_feeder(outputs: Mapping[str, pd.DataFrame], labels: Mapping[str, object] | None = None) -> RecordTable:
    """Describe what the feeder generator put out.

    Args:
        outputs: `transformers_df`, `meters_df` with a column `monthly_consumption_YYYYMM` in kWh for each month, and
            `anomaly_labels_df`, whose meters with `anomaly_flag` 1 are anomalous; all other meters are normal.
        labels: further columns of every record.

    Returns:
        Records with `metric`:

        - `transformers`, `feeders`, `barangays`, `meters`, `anomalous`, `capacity_kva`: of the whole feeder.
        - `transformer_meters`, `transformer_anomalous`: meters of each transformer and the share of anomalous ones,
          with `transformer_id`, `lat`, `lon`.
        - `class_meters`: by `customer_class` and `group` (normal or anomalous).
        - `anomalies`: by `anomaly_type` and `risk_band`.
        - `meter_quantile`: of the meters' mean monthly consumption, by `customer_class`, at `probability`.
        - `monthly_mean`: mean consumption by `customer_class` and `month` (YYYY-MM).
        - `relative`: consumption by `month` as a multiple of the first month's, by `group` (normal, anomalous, or a
          type of anomaly). Every meter counts alike: each is divided by its own mean over the months first.

    Raises:
        InputError: a table is missing, or there are no meters.
        DataError: a column is missing, a meter or transformer occurs twice, or consumption is negative or no number.
        MismatchError: a meter without transformer, or an anomaly without meter.
    """
    transformers, meters, found = (_require(outputs, name) for name in _COLUMNS)
    months = sorted(column for column in map(str, meters.columns) if _MONTH.fullmatch(column))
    _check(transformers, meters, found, months)
    names = [_MONTH.sub(r"\1-\2", month) for month in months]
    kwh = meters[months].to_numpy(np.float64)
    anomalies = found[found["anomaly_flag"] == 1]
    kind = meters["meter_id"].map(anomalies.set_index("meter_id")["anomaly_type"])
    anomalous = kind.notna().to_numpy()

    table = RecordTable(experiment="feeder", **(labels or {}))
    table.add("transformers", len(transformers), "transformers")
    table.add("feeders", transformers["feeder_id"].nunique(), "feeders")
    table.add("barangays", transformers["barangay"].nunique(), "barangays")
    table.add("capacity_kva", transformers["capacity_kVA"].sum(), "kVA")
    table.add("meters", len(meters), "meters")
    table.add("anomalous", anomalous.sum(), "meters")
    own = pd.Series(anomalous).groupby(meters["transformer_id"].to_numpy()).agg(["size", "mean"])
    known = transformers[["transformer_id", "lat", "lon"]].join(own, on="transformer_id")
    for name, lat, lon, n, share in known.itertuples(index=False, name=None):
        where = {"transformer_id": name, "lat": lat, "lon": lon}
        table.add("transformer_meters", 0 if np.isnan(n) else n, "meters", **where)
        if n > 0:
            table.add("transformer_anomalous", share, "1", **where)
    counts = anomalies.groupby(["anomaly_type", "risk_band"]).size().reset_index(name="n")
    for anomaly, band, n in counts.itertuples(index=False, name=None):
        table.add("anomalies", n, "meters", anomaly_type=anomaly, risk_band=band)
    for name, rows in _by(meters["customer_class"]):
        for group, chosen in ((NORMAL, ~anomalous), (ANOMALOUS, anomalous)):
            table.add("class_meters", (rows & chosen).sum(), "meters", customer_class=name, group=group)
        for probability, value in zip(PROBABILITIES, np.quantile(kwh[rows].mean(axis=1), PROBABILITIES), strict=True):
            table.add("meter_quantile", value, "kWh", customer_class=name, probability=probability)
        for month, value in zip(names, kwh[rows].mean(axis=0), strict=True):
            table.add("monthly_mean", value, "kWh", customer_class=name, month=month)
    for group, rows in ((NORMAL, ~anomalous), (ANOMALOUS, anomalous), *_by(kind)):
        for month, value in zip(names, _relative(kwh[rows]), strict=True):
            table.add("relative", value, "1", group=group, month=month)
    return table


def _require(outputs: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
    if name not in outputs:
        raise InputError(f"feeder: expected the tables {', '.join(_COLUMNS)}; missing {name}, got {list(outputs)}.")
    missing = [column for column in _COLUMNS[name] if column not in outputs[name]]
    if missing:
        raise DataError(f"feeder {name}: expected the columns {', '.join(_COLUMNS[name])}; missing {missing}.")
    return outputs[name]


def _check(transformers: pd.DataFrame, meters: pd.DataFrame, anomalies: pd.DataFrame, months: list[str]) -> None:
    if not len(meters):
        raise InputError("feeder meters_df: expected at least one meter, got none.")
    if not months:
        raise DataError("feeder meters_df: expected columns monthly_consumption_YYYYMM, got none.")
    for name, table, key in (
        ("transformers_df", transformers, "transformer_id"),
        ("meters_df", meters, "meter_id"),
        ("anomaly_labels_df", anomalies, "meter_id"),
    ):
        twice = table.loc[table[key].duplicated(), key]
        if len(twice):
            raise DataError(f"feeder {name}: expected each {key} once, got {twice.iloc[0]} again.")
    for name, table, key, known in (
        ("meters_df", meters, "transformer_id", transformers),
        ("anomaly_labels_df", anomalies, "meter_id", meters),
    ):
        unknown = table.loc[~table[key].isin(known[key]), key]
        if len(unknown):
            raise MismatchError(f"feeder {name}: {len(unknown)} rows name an unknown {key}, first {unknown.iloc[0]}.")
    kwh = meters[months].to_numpy(np.float64)
    bad = ~np.isfinite(kwh) | (kwh < 0)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"feeder meters_df: expected finite consumption of at least 0 kWh, got {kwh[row, column]} of "
            f"{meters['meter_id'].iloc[row]} in {months[column]}; {int(bad.sum())} such values."
        )


def _by(column: pd.Series) -> list[tuple[str, np.ndarray]]:
    """Each value that occurs, the most frequent first, and its rows."""
    return [(str(name), (column == name).to_numpy()) for name in column.value_counts(sort=True).index]


def _relative(kwh: FloatArray) -> FloatArray:
    """Mean of meters that count alike, as a multiple of its first month; NaN where nothing is used."""
    level = kwh.mean(axis=1, keepdims=True)
    used = level[:, 0] > 0
    if not used.any():
        return np.full(kwh.shape[1], np.nan)
    mean = (kwh[used] / level[used]).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean[0] > 0, mean / mean[0], np.nan)
