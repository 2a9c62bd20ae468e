"""Tables with a row per place and day and 24 hour columns, the layout of GEFCom2012."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from unlearn.checks import short_repr
from unlearn.data.files import Archive
from unlearn.data.text_tables import number_fault, parse_csv
from unlearn.errors import DataError

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
