"""Labelled readings in the layout of LEAD (Large-scale Energy Anomaly Detection): a row per building and hour.

`timestamp,building_id,meter_reading,anomaly`: Gulati and Arjunan, LEAD1.0, 2022. Its file is fetched from Kaggle by
hand; any CSV or parquet table with these columns will do."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, FloatArray, IntArray, require_count
from unlearn.data.hours import refuse_registers
from unlearn.data.text_tables import Table, open_table
from unlearn.data.times import HOUR_S, off_the_step, read_times, repeated_hour, seconds_of
from unlearn.errors import DataError
from unlearn.households.buildings import BuildingSeries

logger = logging.getLogger(__name__)


def read_lead(path: str | Path, *, max_buildings: int | None = None, date_format: str | None = None) -> BuildingSeries:
    """Read hourly readings of buildings with a label per hour.

    Args:
        path: CSV or parquet table (suffix `.parquet`) with the columns `timestamp` (hours), `building_id`,
            `meter_reading` (kWh; a blank is a missing reading) and `anomaly` (0 or 1). Without the column `anomaly`, as
            in LEAD's test file, the series has no labels. Names of buildings are text, as written. Rows may stand in
            any order; an hour without a row is a missing reading.
        max_buildings: keep the first so many, by name in the order of the file; None keeps all.
        date_format: format of the times, such as `%d/%m/%Y %H:%M`; None: they are ISO 8601.

    Returns:
        M buildings over all hours from the first to the last in the file. A missing reading has no label: LEAD marks
        some of them as anomalous, but there is nothing that a detector could look at.

    Raises:
        DataError: a missing file or column, a title twice, a time that cannot be read or is no full hour, a reading
            that is no number or comes from a register, a label other than 0 and 1, or an hour of a building twice;
            names file, column and row (the line of a CSV file; in parquet the row, from 1).
    """
    table = open_table(path)
    table.require(["timestamp", "building_id", "meter_reading"], "Name the columns so; anomaly may be left out.")
    if not len(table):
        raise DataError(f"{path}: expected a row per building and hour, got no row.")
    building, names = _buildings(table)
    if max_buildings is not None:
        names = names[: require_count("max_buildings", max_buildings)]
    times = _hours(table, date_format)
    seconds = seconds_of(times)
    reading = _readings(table)
    label = _labels(table) if table.has("anomaly") else None
    hour = (seconds - seconds.min()) // HOUR_S
    _refuse_twice(table, times, building * (hour.max() + 1) + hour)

    kept = building < len(names)
    shape = (len(names), int(hour.max()) + 1)
    kwh = np.full(shape, np.nan)
    kwh[building[kept], hour[kept]] = reading[kept]
    anomaly = None
    if label is not None:
        anomaly = np.zeros(shape, dtype=bool)
        anomaly[building[kept], hour[kept]] = label[kept] & np.isfinite(reading[kept])
    start = np.datetime64(int(seconds.min()) // HOUR_S, "h")
    refuse_registers(str(path), names, kwh)
    logger.info("%s: %d buildings, %d hours, %d readings", path, *shape, int(np.isfinite(kwh).sum()))
    return BuildingSeries(Path(path).stem, names, start + np.arange(shape[1]), kwh, anomaly)


def _buildings(table: Table) -> tuple[IntArray, tuple[str, ...]]:
    """Position of each row's building, and the buildings' names in the order of the file."""
    codes, names = pd.factorize(np.array(table.identifiers("building_id"), dtype=object))
    return codes.astype(np.int64), tuple(map(str, names))


def _hours(table: Table, date_format: str | None) -> pd.DatetimeIndex:
    times = read_times(table, "timestamp", date_format=date_format)
    off = np.flatnonzero(off_the_step(seconds_of(times), HOUR_S))
    if off.size:
        i = int(off[0])
        raise DataError(
            f"{table.where}: expected full hours in column timestamp, got {times[i]} at row {table.row(i)}; "
            f"{off.size} such rows. Sum the readings of each hour, or drop a stray row."
        )
    return times


def _readings(table: Table) -> FloatArray:
    wanted = "a number of kWh or a blank"
    values = table.numbers(["meter_reading"], wanted)
    table.refuse(np.isinf(values), ["meter_reading"], wanted, "Mend them or leave them blank.")
    return values[:, 0]


def _labels(table: Table) -> BoolArray:
    flags = table.labels("anomaly")
    if all(isinstance(flag, bool) for flag in flags):
        return np.array(flags, dtype=bool)
    wanted = "0 (normal) or 1 (anomalous)"
    values = table.numbers(["anomaly"], wanted)
    bad = (values != 0) & (values != 1)
    if bad.any():
        i = int(np.argmax(bad))
        raise DataError(
            f"{table.where}: expected {wanted} in column anomaly, got {table.cell(i, 'anomaly')} at row "
            f"{table.row(i)}; {int(bad.sum())} such labels. Leave the column out if the readings are not labelled."
        )
    return values[:, 0] == 1


def _refuse_twice(table: Table, times: pd.DatetimeIndex, key: IntArray) -> None:
    twice = pd.Series(key).duplicated().to_numpy()
    if twice.any():
        i = int(np.argmax(twice))
        raise DataError(
            f"{table.where}: expected each hour of a building once, got {times[i]} of building "
            f"{table.column('building_id')[i]} again at row {table.row(i)}; {int(twice.sum())} such rows. Keep one."
            f"{repeated_hour(times[twice])}"
        )
