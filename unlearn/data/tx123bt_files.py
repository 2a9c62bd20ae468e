"""The daily files of TX-123BT: where they lie and how they are parsed."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.data.archive import Archive
from unlearn.data.features import WEATHER_NAMES
from unlearn.errors import DataError

HOURS = 24

_WORKBOOK_MAGIC = b"PK"

#: What the column title of each climate variable contains, once blanks and punctuation are gone.
_TITLES = dict(
    zip(WEATHER_NAMES, ("temperature", "shortwave", "longwave", "zonal", "meridional", "total"), strict=True)
)


def day_files(archive: Archive, kind: str, year: int) -> dict[int, str]:
    """Find the daily files of a year.

    Args:
        archive: archive or folder of either release.
        kind: "load" or "climate".
        year: year that a folder or file name must hold.

    Returns:
        File name by day of the year, from 1.
    """
    last_part = r"D(\d+)\.txt" if kind == "load" else r"Day_?(\d+)\.(?:csv|xlsx|txt)"
    pattern = re.compile(rf"(?:^|/)({kind}[^/]*/(?:[^/]*/)*[^/]*{last_part})$", re.IGNORECASE)
    found = {}
    for name in archive.names:
        match = pattern.search(name)
        # Archives packed on a Mac carry shadow files with the names of the true ones.
        if match and str(year) in match[1] and not name.rpartition("/")[2].startswith("._"):
            found[int(match[2])] = name
    return dict(sorted(found.items()))


def parse_load(archive: Archive, name: str) -> FloatArray:
    """Parse a load file, 24 rows of a number in MW per bus, separated by blanks.

    Returns:
        Load in MW, shape (24, buses).

    Raises:
        DataError: another number of rows, rows of differing length, something that is not a number,
            or a negative load; names file, column and row.
    """
    where = f"{archive.path}/{name}"
    try:
        text = pd.read_csv(io.BytesIO(archive.read(name)), sep=r"\s+", header=None, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        message = str(error).strip()
        raise DataError(f"{where}: expected 24 rows of numbers of one length, got: {message}.") from error
    if len(text) != HOURS:
        raise DataError(f"{where}: expected 24 rows, one per hour, got {len(text)}. Fetch the file again.")
    load = text.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = ~np.isfinite(load) | (load < 0)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{where}: expected a load of at least 0 MW, got {text.iat[row, column]!s} in column "
            f"{column + 1} at row {row + 1} ({int(bad.sum())} such values). Fetch the file again."
        )
    return load


def parse_climate(archive: Archive, name: str, n_buses: int) -> FloatArray:
    """Parse a climate file: a workbook with a sheet per hour, or plain text in blocks by hour.

    Args:
        archive: archive or folder.
        name: file in it; the suffix is not trusted, the first bytes decide.
        n_buses: rows per hour.

    Returns:
        The six variables of `WEATHER_NAMES`, shape (6, 24, buses).

    Raises:
        DataError: a missing sheet or column, another number of rows, or something that is not a
            number; names file, column and row.
    """
    where = f"{archive.path}/{name}"
    content = archive.read(name)
    if content.startswith(_WORKBOOK_MAGIC):
        sheets = _workbook_sheets(where, content)
    else:
        sheets = {where: _plain_table(where, content)}
    tables = [_climate_columns(place, table) for place, table in sheets.items()]
    rows = HOURS * n_buses // len(tables)
    for place, table in zip(sheets, tables, strict=True):
        if len(table) != rows:
            raise DataError(
                f"{place}: expected {rows} rows (the load file has {n_buses} buses), got {len(table)}. "
                "Fetch the file again."
            )
    return np.concatenate(tables).reshape(HOURS, n_buses, -1).transpose(2, 0, 1)


def _workbook_sheets(where: str, content: bytes) -> dict[str, pd.DataFrame]:
    """Return the 24 sheets in the order of hours, by place for messages."""
    try:
        book = pd.read_excel(io.BytesIO(content), sheet_name=None, engine="openpyxl")
    except Exception as error:  # openpyxl lets errors of zip, XML and its own escape
        raise DataError(f"{where}: expected an Excel workbook, got {error}. Fetch the file again.") from error
    by_hour = {title.strip().lower(): table for title, table in book.items()}
    wanted = [f"Hour {hour}" for hour in range(1, HOURS + 1)]
    missing = [title for title in wanted if title.lower() not in by_hour]
    if missing:
        raise DataError(
            f"{where}: expected sheets Hour 1 to Hour 24, missing {', '.join(missing)}. Fetch the file again."
        )
    return {f"{where}, sheet {title}": by_hour[title.lower()] for title in wanted}


def _plain_table(where: str, content: bytes) -> pd.DataFrame:
    """Return plain text as a table in the order of hours."""
    try:
        table = pd.read_csv(io.BytesIO(content))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: expected a workbook or a table with commas, got: {error}.") from error
    hour = next((column for column in table.columns if str(column).strip().lower() == "hour"), None)
    return table if hour is None else table.sort_values(hour, kind="stable", ignore_index=True)


def _climate_columns(where: str, table: pd.DataFrame) -> FloatArray:
    """Pick the six variables by their titles, shape (rows, 6)."""
    plain = {re.sub(r"[^a-z]", "", str(column).lower()): column for column in table.columns}
    picked = {}
    for variable, title in _TITLES.items():
        column = next((original for text, original in plain.items() if title in text), None)
        if column is None:
            raise DataError(
                f"{where}: expected a column whose title holds '{title}', got "
                f"{', '.join(map(str, table.columns))}. Rename it so."
            )
        picked[variable] = column
    raw = table[list(picked.values())]
    values = raw.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        row, position = (int(i) for i in np.argwhere(bad)[0])
        # Row 1 holds the titles.
        raise DataError(
            f"{where}: expected a number, got {raw.iat[row, position]!s} in column {raw.columns[position]} "
            f"at row {row + 2} ({int(bad.sum())} such values). Fetch the file again."
        )
    return values
