"""Tables with a row per place and day and 24 hour columns, the layout of GEFCom2012."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from unlearn.data.archive import Archive
from unlearn.errors import DataError

HOUR_COLUMNS = tuple(f"h{hour}" for hour in range(1, 25))


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
    # Blank lines are kept while rows are numbered, so that numbers agree with a text editor.
    raw = pd.read_csv(io.BytesIO(archive.read(name)), dtype=str, skip_blank_lines=False)
    raw.columns = raw.columns.str.strip()
    date_columns = ["year", "month", "day"]
    missing = [column for column in (key, *date_columns, *HOUR_COLUMNS) if column not in raw.columns]
    if missing:
        raise DataError(
            f"{file}: expected columns {key}, year, month, day, h1 to h24; missing {', '.join(missing)} "
            f"in row 1. Name the columns so."
        )
    raw["row"] = np.arange(2, len(raw) + 2)
    raw = raw[raw[[key, *date_columns]].notna().any(axis=1)].reset_index(drop=True)
    table = pd.DataFrame({key: _integers(raw, key, file)})
    date_parts = pd.DataFrame({column: _integers(raw, column, file) for column in date_columns})
    table["date"] = pd.to_datetime(date_parts, errors="coerce")
    if table["date"].isna().any():
        i = int(np.flatnonzero(table["date"].isna())[0])
        got = "-".join(map(str, date_parts.iloc[i]))
        raise DataError(f"{file}: expected a date in columns year, month, day, got {got} at row {raw['row'][i]}.")
    hours = pd.DataFrame({column: _numbers(raw, column, file) for column in HOUR_COLUMNS})
    table = pd.concat([table, hours, raw["row"]], axis=1)
    _require_unique(table, key, file)
    return DailyTable(file, key, table.sort_values([key, "date"], ignore_index=True))


def _numbers(raw: pd.DataFrame, column: str, file: str) -> pd.Series:
    """Parse a column of numbers; blanks become NaN, everything else must be a number."""
    text = raw[column].str.strip().str.replace(",", "")
    values = pd.to_numeric(text, errors="coerce").astype(np.float64)
    wrong = np.flatnonzero(text.notna() & (text != "") & ~np.isfinite(values))
    if wrong.size:
        i = int(wrong[0])
        raise DataError(f"{file}: expected a number, got {raw[column][i]!r} in column {column} at row {raw['row'][i]}.")
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
