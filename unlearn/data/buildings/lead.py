"""Labelled readings in the layout of LEAD (Large-scale Energy Anomaly Detection): a row per building and hour.

`timestamp,building_id,meter_reading,anomaly`: Gulati and Arjunan, LEAD1.0, 2022. Its file is fetched from Kaggle by
hand; any CSV or parquet table with these columns will do.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, FloatArray, IntArray, require_count
from unlearn.data.buildings.series import BuildingSeries
from unlearn.data.tables import open_table, parse_times
from unlearn.errors import DataError

logger = logging.getLogger(__name__)

_HOUR_S = 3600


def read_lead(path: str | Path, *, max_buildings: int | None = None) -> BuildingSeries:
    """Read hourly readings of buildings with a label per hour.

    Args:
        path: CSV or parquet table (suffix `.parquet`) with the columns `timestamp` (hours), `building_id`,
            `meter_reading` (kWh; a blank is a missing reading) and `anomaly` (0 or 1). Without the column `anomaly`, as
            in LEAD's test file, the series has no labels. Rows may stand in any order; an hour without a row is a
            missing reading.
        max_buildings: keep the first so many, by name in the order of the file; None keeps all.

    Returns:
        M buildings over all hours from the first to the last in the file. A missing reading has no label: LEAD marks
        some of them as anomalous, but there is nothing that a detector could look at.

    Raises:
        DataError: a missing file or column, a time that cannot be read or is no full hour, a reading that is no number,
            a label other than 0 and 1, or an hour of a building twice; names file, column and row (the line of a CSV
            file; in parquet the row, from 1).
    """
    path = Path(path)
    raw, first_row = open_table(path)
    missing = [name for name in ("timestamp", "building_id", "meter_reading") if name not in raw.columns]
    if missing or raw.empty:
        raise DataError(
            f"{path}: expected the columns timestamp, building_id, meter_reading, anomaly and rows; "
            f"{'missing ' + ', '.join(missing) if missing else 'got no row'}."
        )
    building, names = _buildings(path, raw["building_id"], first_row)
    if max_buildings is not None:
        names = names[: require_count("max_buildings", max_buildings)]
    seconds = _hours(path, raw["timestamp"], first_row)
    reading = _readings(path, raw["meter_reading"], first_row)
    label = _labels(path, raw["anomaly"], first_row) if "anomaly" in raw.columns else None
    hour = (seconds - seconds.min()) // _HOUR_S
    _refuse_twice(path, raw, building * (hour.max() + 1) + hour, first_row)

    kept = building < len(names)
    shape = (len(names), int(hour.max()) + 1)
    kwh = np.full(shape, np.nan)
    kwh[building[kept], hour[kept]] = reading[kept]
    anomaly = None
    if label is not None:
        anomaly = np.zeros(shape, dtype=bool)
        anomaly[building[kept], hour[kept]] = label[kept] & np.isfinite(reading[kept])
    start = np.datetime64(int(seconds.min()) // _HOUR_S, "h")
    logger.info("%s: %d buildings, %d hours, %d readings", path, *shape, int(np.isfinite(kwh).sum()))
    return BuildingSeries(path.stem, names, start + np.arange(shape[1]), kwh, anomaly)


def _buildings(path: Path, column: pd.Series, first_row: int) -> tuple[IntArray, tuple[str, ...]]:
    """Position of each row's building, and the buildings' names in the order of the file."""
    blank = column.isna().to_numpy()
    if blank.any():
        raise DataError(
            f"{path}: expected a name in column building_id, got a blank at row {int(np.argmax(blank)) + first_row}."
        )
    codes, names = pd.factorize(column)
    # Numbers that stand in a column with a fault elsewhere are read as floats.
    whole = [str(int(n)) if isinstance(n, float) and n.is_integer() else str(n) for n in names]
    return codes.astype(np.int64), tuple(whole)


def _hours(path: Path, column: pd.Series, first_row: int) -> IntArray:
    parsed = parse_times(path, column, first_row)
    seconds = parsed.to_numpy().astype("datetime64[s]").astype(np.int64)
    off = np.flatnonzero(seconds % _HOUR_S)
    if off.size:
        i = int(off[0])
        raise DataError(
            f"{path}: expected full hours in column timestamp, got {parsed[i]} at row {i + first_row}; {off.size} such "
            "rows. Sum the readings of each hour."
        )
    return seconds


def _readings(path: Path, column: pd.Series, first_row: int) -> FloatArray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    bad = (np.isnan(values) & column.notna().to_numpy()) | np.isinf(values)
    if bad.any():
        i = int(np.argmax(bad))
        raise DataError(
            f"{path}: expected a number of kWh or a blank in column meter_reading, got {column.iloc[i]!r} at row "
            f"{i + first_row}; {int(bad.sum())} such values. Mend them or leave them blank."
        )
    return values


def _labels(path: Path, column: pd.Series, first_row: int) -> BoolArray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    bad = (values != 0) & (values != 1)
    if bad.any():
        i = int(np.argmax(bad))
        got = "a blank" if pd.isna(column.iloc[i]) else repr(column.iloc[i])
        raise DataError(
            f"{path}: expected 0 (normal) or 1 (anomalous) in column anomaly, got {got} at row {i + first_row}; "
            f"{int(bad.sum())} such labels. Leave the column out if the readings are not labelled."
        )
    return values == 1


def _refuse_twice(path: Path, raw: pd.DataFrame, key: IntArray, first_row: int) -> None:
    twice = pd.Series(key).duplicated().to_numpy()
    if twice.any():
        i = int(np.argmax(twice))
        raise DataError(
            f"{path}: expected each hour of a building once, got {raw['timestamp'].iloc[i]} of building "
            f"{raw['building_id'].iloc[i]} again at row {i + first_row}; {int(twice.sum())} such rows. Keep one."
        )
