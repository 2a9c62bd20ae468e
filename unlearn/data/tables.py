"""One's own data as wide tables: a column of times and a column per load.

Tables with a row per place and day and 24 hour columns, the layout of GEFCom2012.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.checks import short_repr
from unlearn.data.dataset import LoadDataset, check_hours, dataset_from_frames
from unlearn.data.files import Archive
from unlearn.data.sources import Tables
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.text_tables import Table, listed, number_fault, open_table, parse_csv
from unlearn.data.times import HOUR_S, common_step, length_of, read_times, seconds_of
from unlearn.errors import DataError, InputError


def read_tables(
    load_csv: str | Path,
    weather: Mapping[str, str | Path],
    *,
    split: SplitSpec = FAIR,
    timestamp: str = Tables.timestamp,
    date_format: str | None = None,
) -> LoadDataset:
    """Read loads and weather from CSV or parquet tables (suffix `.parquet`).

    Args:
        load_csv: table of hourly loads in MW: a column of times and a column per load, whose
            title is its name.
        weather: table of each weather variable, by the name that the feature gets (with its unit,
            such as `temperature_f`): the same times, and either the columns of the load table or a
            single column that serves all loads.
        split: how to divide the hours.
        timestamp: name of the column of times, the starts of the hours. Times with an offset keep
            their wall clock.
        date_format: format of the times in all tables, such as `%d/%m/%Y %H:%M`; None: they are ISO 8601.

    Returns:
        N hours, B loads and F = 4 + number of weather variables features.

    Raises:
        InputError: no path of the load table, or no mapping of weather tables.
        DataError: a missing file or column, a title twice, a time of another format or a value that cannot be
            read, a negative load, an unsorted, duplicated or missing hour, or tables of different hours;
            names file, column and row (the line of a CSV file; in parquet the row, from 1).
    """
    if not isinstance(weather, Mapping):
        raise InputError(
            f"weather: expected a table by the name of each variable, got {weather!r}. Pass {{}} for loads without "
            "weather."
        )
    load_mw = _read(open_table(load_csv, "load_csv"), timestamp, date_format, negative=False)
    tables = {}
    for variable, path in weather.items():
        table = _read(open_table(path, f"weather.{variable}"), timestamp, date_format)
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
    return dataset_from_frames(load_mw, tables, split=split, name=Path(load_csv).stem)


def _read(table: Table, timestamp: str, date_format: str | None, negative: bool = True) -> pd.DataFrame:
    """Read one table: float64 columns, indexed by time."""
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
    """Refuse all but consecutive hours."""
    seconds = seconds_of(hours)
    step = common_step(seconds)
    if step not in (0, HOUR_S):
        mend = "Average the readings of each hour" if step < HOUR_S else "Give a row for each hour"
        raise DataError(
            f"{table.where}: expected hours in column {timestamp}, got steps of {length_of(step)} (row {table.row(0)} "
            f"is {hours[0]}). {mend}."
        )
    phase = seconds % HOUR_S
    stray = np.flatnonzero(phase != np.bincount(phase).argmax())
    if stray.size:
        i = int(stray[0])
        raise DataError(
            f"{table.where}: expected consecutive hours in column {timestamp}, got {hours[i]} at row {table.row(i)}, "
            f"which lies between two hours; {stray.size} such rows. Drop them."
        )
    check_hours(f"{table.where} column {timestamp}", hours, table.row)


#: Commas that part thousands; in 1,5 one would be a decimal comma.
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")

HOUR_COLUMNS = tuple(f"h{hour}" for hour in range(1, 25))


@short_repr
@dataclass(frozen=True)
class DailyTable:
    """Hourly values of several places, one row per place and day.

    Attributes:
        file: file name, for messages.
        key: name of the column that numbers the places.
        rows: columns `key`, `date`, `h1` to `h24` (NaN where blank) and `row`, the line of the file
            with the header as line 1; each place and day at most once.
    """

    file: str
    key: str
    rows: pd.DataFrame

    def keys(self) -> list[int]:
        """Return the numbers of the places, sorted."""
        return sorted(int(place) for place in self.rows[self.key].unique())

    def filled_from(self, other: DailyTable) -> DailyTable:
        """Fill blank hours with those that another table has for the same place and day."""
        index = [self.key, "date"]
        filled = self.rows.set_index(index)
        hours = list(HOUR_COLUMNS)
        filled[hours] = filled[hours].fillna(other.rows.set_index(index)[hours].reindex(filled.index))
        return replace(self, rows=filled.reset_index())

    def hourly(
        self,
        places: Sequence[int],
        first: pd.Timestamp,
        last: pd.Timestamp,
        negative: bool = True,
    ) -> pd.DataFrame:
        """Return the hours of some places from one day to another, all of them present.

        Args:
            places: numbers of the places, all known.
            first: first day.
            last: last day.
            negative: accept values below zero.

        Returns:
            A row per hour, indexed by its start (`h1` starts at 0:00); a column per place.

        Raises:
            DataError: a missing day, or a blank or negative value; names column and row.
        """
        days = pd.date_range(first, last, freq="D")
        wanted = pd.MultiIndex.from_product([places, days], names=[self.key, "date"])
        rows = self.rows.set_index([self.key, "date"]).reindex(wanted)
        self._require_days(rows)
        self._require_values(rows, negative)
        values = rows[list(HOUR_COLUMNS)].to_numpy(np.float64).reshape(len(places), -1).T
        return pd.DataFrame(values, index=_hours_of(days), columns=list(places))

    def day_before(self, places: Sequence[int], first: pd.Timestamp) -> pd.DataFrame:
        """Return the 24 hours before a day, NaN where the table has none."""
        days = pd.DatetimeIndex([first - pd.Timedelta(days=1)])
        wanted = pd.MultiIndex.from_product([places, days], names=[self.key, "date"])
        rows = self.rows.set_index([self.key, "date"]).reindex(wanted)
        values = rows[list(HOUR_COLUMNS)].to_numpy(np.float64).T
        return pd.DataFrame(values, index=_hours_of(days), columns=list(places))

    def _require_days(self, rows: pd.DataFrame) -> None:
        missing = rows.index[rows["row"].isna()]
        if missing.empty:
            return
        place, day = missing[0]
        of_place = self.rows[self.rows[self.key] == place]
        earlier = of_place[of_place["date"] < day]
        after = f"the row before it is row {earlier['row'].iloc[-1]}" if len(earlier) else "no row is earlier"
        raise DataError(
            f"{self.file}: expected every day of {day.year} for {self.key} {place}, got no row for "
            f"{day.date()} ({after}; {len(missing)} missing days). Add the rows, or choose a "
            "year that is complete."
        )

    def _require_values(self, rows: pd.DataFrame, negative: bool) -> None:
        values = rows[list(HOUR_COLUMNS)].to_numpy(np.float64)
        bad, fault = np.isnan(values), "a number"
        if not bad.any() and not negative:
            bad, fault = values < 0, "a load of at least 0"
        if bad.any():
            i, hour = (int(k) for k in np.argwhere(bad)[0])
            place, day = rows.index[i]
            got = "a blank" if np.isnan(values[i, hour]) else f"{values[i, hour]:g}"
            raise DataError(
                f"{self.file}: expected {fault}, got {got} in column {HOUR_COLUMNS[hour]} at "
                f"row {int(rows['row'].iloc[i])} ({self.key} {place}, {day.date()}; {int(bad.sum())} such "
                "values). Fill it in, leave this place out, or choose another year."
            )


def parse_daily(archive: Archive, file: str, key: str) -> DailyTable:
    """Parse a CSV file with columns `key, year, month, day, h1, ..., h24`.

    Numbers may carry thousands separators, hours may be blank, further columns are ignored.

    Args:
        archive: where the file is.
        file: its name, in whatever subfolder.
        key: name of the column that numbers the places.

    Raises:
        DataError: no such file, a missing column, something that is not a number or a date, or a
            place and day that occurs twice; names column and row.
    """
    name = archive.find(file)
    if name is None:
        raise DataError(f"{archive.path}: expected a file {file}, found none among {len(archive.names)} files.")
    table = parse_csv(f"{archive.path}/{name}", archive.read(name), "a CSV table")
    date_columns = ["year", "month", "day"]
    table.require([key, *date_columns, *HOUR_COLUMNS], "Name the columns so.")
    raw = pd.DataFrame({column: table.column(column).to_pylist() for column in (key, *date_columns, *HOUR_COLUMNS)})
    raw["row"] = [table.row(i) for i in range(len(raw))]
    raw = raw.replace(r"^\s*$", None, regex=True)
    raw = raw[raw[[key, *date_columns]].notna().any(axis=1)].reset_index(drop=True)
    parsed = pd.DataFrame({key: _integers(raw, key, file)})
    date_parts = pd.DataFrame({column: _integers(raw, column, file) for column in date_columns})
    parsed["date"] = pd.to_datetime(date_parts, errors="coerce")
    if parsed["date"].isna().any():
        i = int(np.flatnonzero(parsed["date"].isna())[0])
        got = "-".join(map(str, date_parts.iloc[i]))
        raise DataError(f"{file}: expected a date in columns year, month, day, got {got} at row {raw['row'][i]}.")
    hours = pd.DataFrame({column: _numbers(raw, column, file) for column in HOUR_COLUMNS})
    rows = pd.concat([parsed, hours, raw["row"]], axis=1)
    _require_unique(rows, key, file)
    return DailyTable(file, key, rows.sort_values([key, "date"], ignore_index=True))


def _numbers(raw: pd.DataFrame, column: str, file: str) -> pd.Series:
    """Parse a column of numbers; blanks become NaN, everything else must be a number, commas only between thousands."""
    text = raw[column].astype("str").str.strip()
    plain = text.mask(text.str.fullmatch(_THOUSANDS.pattern), text.str.replace(",", ""))
    values = pd.to_numeric(plain, errors="coerce").astype(np.float64)
    wrong = np.flatnonzero(text.notna() & ~np.isfinite(values))
    if wrong.size:
        i = int(wrong[0])
        raise DataError(
            f"{file}: expected a number, got {raw[column][i]!r} in column {column} at row {raw['row'][i]}. "
            f"{number_fault(text[i])}"
        )
    return values


def _integers(raw: pd.DataFrame, column: str, file: str) -> pd.Series:
    """Parse a column of whole numbers without blanks."""
    values = _numbers(raw, column, file)
    wrong = np.flatnonzero(values.isna() | (values % 1 != 0))
    if wrong.size:
        i = int(wrong[0])
        got = "a blank" if pd.isna(raw[column][i]) else repr(raw[column][i])
        raise DataError(f"{file}: expected a whole number, got {got} in column {column} at row {raw['row'][i]}.")
    return values.astype(np.int64)


def _require_unique(table: pd.DataFrame, key: str, file: str) -> None:
    repeated = table.duplicated([key, "date"])
    if repeated.any():
        second = table[repeated].iloc[0]
        place, day = second[key], second["date"]
        first_row = table["row"][(table[key] == place) & (table["date"] == day)].iloc[0]
        raise DataError(
            f"{file}: expected each {key} and day once, got {key} {place} on {day.date()} at rows "
            f"{first_row} and {second['row']} ({int(repeated.sum())} repeats). Drop the repeats."
        )


def _hours_of(days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Return the starts of the 24 hours of each consecutive day."""
    return pd.date_range(days[0], periods=24 * len(days), freq="h", name="timestamp")
