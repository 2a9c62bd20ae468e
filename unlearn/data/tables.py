"""One's own data as wide tables: a column of times and a column per load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.data.dataset import LoadDataset, dataset_from_frames
from unlearn.data.sources import Tables
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.temperature import implausible, temperature_unit, with_temperature_features
from unlearn.data.text_tables import Table, listed, open_table
from unlearn.data.times import HOUR_S, check_hours, common_step, length_of, read_times, seconds_of
from unlearn.errors import DataError, InputError

_UNITS = {"f": "°F", "c": "°C", "k": "K"}
_OTHER_UNIT = (
    "If its unit is another, name the variable by it (temperature_f, temperature_c, temperature_k); if it stands for a "
    "missing reading, mend it."
)


def read_tables(
    load_csv: str | Path,
    weather: Mapping[str, str | Path],
    *,
    split: SplitSpec = FAIR,
    timestamp: str = Tables.timestamp,
    date_format: str | None = None,
    temperature_features: bool = Tables.temperature_features,
) -> LoadDataset:
    """Read loads and weather from CSV or parquet tables (suffix `.parquet`).

    A linear forecaster cannot bend: from the temperature alone it learns that warmth lowers the load, or that it raises
    it. So each temperature brings five features more: degrees of heating and of cooling, lags, and the mean of a day.

    Args:
        load_csv: table of hourly loads in MW: a column of times and a column per load, whose title is its name.
        weather: table of each weather variable, by the name that the feature gets (with its unit,
            such as `wind_m_s`): the same times, and either the columns of the load table or a
            single column that serves all loads. A variable called `temperature_f`, `temperature_c` or `temperature_k`,
            or that ends so, as `airport_temperature_c`, is a temperature.
        split: how to divide the hours.
        timestamp: name of the column of times, the starts of the hours. Times with an offset keep their wall clock.
        date_format: format of the times in all tables, such as `%d/%m/%Y %H:%M`; None: they are ISO 8601.
        temperature_features: add to each temperature five features in °F, see `unlearn.data.temperature_features`;
            the first 24 hours take what earlier hours there are.

    Returns:
        N hours, B loads and F = 4 + number of weather variables features; 5 more for each temperature.

    Raises:
        InputError: no path of the load table, no mapping of weather tables, or two temperatures of one place.
        DataError: a missing file or column, a title twice, a time of another format or a value that cannot be
            read, a negative load, a temperature that no place on earth has, an unsorted, duplicated or missing hour,
            or tables of different hours; names file, column and row (the line of a CSV file; in parquet the row,
            from 1).
    """
    if not isinstance(weather, Mapping):
        raise InputError(
            f"weather: expected a table by the name of each variable, got {weather!r}. Pass {{}} for loads without "
            "weather."
        )
    load_mw = _read(open_table(load_csv, "load_csv"), timestamp, date_format, negative=False)
    tables = {}
    for variable, path in weather.items():
        opened = open_table(path, f"weather.{variable}")
        table = _read(opened, timestamp, date_format)
        unit = temperature_unit(variable) if temperature_features else None
        if unit is not None:
            opened.refuse(
                implausible(table.to_numpy(), unit),
                list(table.columns),
                f"a temperature in {_UNITS[unit]}",
                _OTHER_UNIT,
            )
        if not table.index.equals(load_mw.index):
            raise DataError(
                f"{path}: expected in column {timestamp} the hours of the load table, {load_mw.index[0]} to "
                f"{load_mw.index[-1]}, got {table.index[0]} to {table.index[-1]}. Cut both to the same hours."
            )
        missing = [name for name in load_mw.columns if name not in table.columns]
        if missing and table.shape[1] != 1:
            raise DataError(
                f"{path}: expected the columns of {load_csv} or a single one, missing {listed(missing)}. Titles must "
                "be alike to the letter."
            )
        tables[variable] = table
    if temperature_features:
        tables = with_temperature_features(tables)
    return dataset_from_frames(load_mw, tables, split=split, name=Path(load_csv).stem)


def _read(table: Table, timestamp: str, date_format: str | None, negative: bool = True) -> pd.DataFrame:
    table.require([timestamp], "Name the column of times in the argument timestamp.")
    columns = [title for title in table.titles if title.strip() != timestamp.strip()]
    if not columns:
        raise DataError(f"{table.where}: expected a column per load beside {timestamp}, got none.")
    if not len(table):
        raise DataError(f"{table.where}: expected a row per hour, got none.")
    hours = read_times(table, timestamp, date_format=date_format)
    _require_hours(table, timestamp, hours)
    values = table.numbers(columns, "a number")
    table.refuse(~np.isfinite(values), columns, "a number", "Mend it or leave the column out.", hours)
    if not negative:
        table.refuse(values < 0, columns, "a load of at least 0", "Mend it or leave the column out.", hours)
    return pd.DataFrame(values, index=hours, columns=pd.Index(columns))


def _require_hours(table: Table, timestamp: str, hours: pd.DatetimeIndex) -> None:
    seconds = seconds_of(hours)
    step = common_step(seconds)
    if step not in (0, HOUR_S):
        mend = "Average the readings of each hour" if step < HOUR_S else "Give a row for each hour"
        raise DataError(
            f"{table.where}: expected hours in column {timestamp}, got steps of {length_of(step)} (row {table.row(0)} "
            f"is {hours[0]}). {mend}."
        )
    phase = seconds % HOUR_S
    stray = phase != np.bincount(phase).argmax()
    table.refuse(stray, [timestamp], "consecutive hours", "It lies between two hours: drop such rows.")
    check_hours(f"{table.where} column {timestamp}", hours, table.row)
