"""The daily files of TX-123BT: where they lie and how they are parsed."""

from __future__ import annotations

import io
import re
import zipfile

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.data.features import WEATHER_NAMES
from unlearn.data.files import Archive, foreign_errors, refuse_other_content
from unlearn.data.identifiers import require_distinct
from unlearn.data.text_tables import listed, parse_csv
from unlearn.errors import DataError
from unlearn.limits import require_unpackable

HOURS = 24

_WORKBOOK_MAGIC = b"PK"

#: Which titles are of each climate variable, once blanks and punctuation are gone. The release calls the total wind
#: speed just `Wind Speed (m/s)`, beside the zonal and the meridional one.
_TITLES = dict(
    zip(
        WEATHER_NAMES,
        ("temperature", "shortwave", "longwave", "zonal", "meridional", "^(?!.*(zonal|meridional)).*wind"),
        strict=True,
    )
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
    content = archive.read(name)
    wanted = "24 rows of numbers of one length"
    refuse_other_content(where, content, wanted)
    with foreign_errors(where, wanted, "Fetch the file again."):
        text = pd.read_csv(io.BytesIO(content), sep=r"\s+", header=None, dtype=str, encoding="utf-8-sig")
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
    with foreign_errors(where, "an Excel workbook", "Fetch the file again."):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            require_unpackable(where, packed.infolist(), len(content), DataError)
        book = pd.read_excel(io.BytesIO(content), sheet_name=None, header=None, dtype=object, engine="openpyxl")
    require_distinct(where, list(book), "sheet")
    by_hour = {title.strip().lower(): table for title, table in book.items()}
    wanted = [f"Hour {hour}" for hour in range(1, HOURS + 1)]
    missing = [title for title in wanted if title.lower() not in by_hour]
    if missing:
        raise DataError(
            f"{where}: expected sheets Hour 1 to Hour 24, missing {', '.join(missing)}. Fetch the file again."
        )
    return {f"{where}, sheet {title}": _titled(f"{where}, sheet {title}", by_hour[title.lower()]) for title in wanted}


def _titled(where: str, sheet: pd.DataFrame) -> pd.DataFrame:
    """Take the first row of a sheet as titles, as they are written."""
    if sheet.empty:
        raise DataError(f"{where}: expected a row per bus, got an empty sheet. Fetch the file again.")
    titles = ["" if pd.isna(title) else str(title) for title in sheet.iloc[0]]
    require_distinct(where, [title for title in titles if title.strip()])
    return sheet.iloc[1:].set_axis(pd.Index(titles), axis=1).reset_index(drop=True)


def _plain_table(where: str, content: bytes) -> pd.DataFrame:
    """Return plain text as a table in the order of hours."""
    table = parse_csv(where, content, "a workbook or a table with commas")
    raw = pd.DataFrame({title: table.column(title).to_pylist() for title in table.titles})
    hour = next((title for title in table.titles if title.strip().lower() == "hour"), None)
    if hour is None:
        return raw
    return raw.iloc[np.argsort(table.numbers([hour], "an hour")[:, 0], kind="stable")].reset_index(drop=True)


def _climate_columns(where: str, table: pd.DataFrame) -> FloatArray:
    """Pick the six variables by their titles, shape (rows, 6)."""
    plain = {column: re.sub(r"[^a-z]", "", str(column).lower()) for column in table.columns}
    picked = {}
    for variable, title in _TITLES.items():
        found = [column for column, text in plain.items() if re.search(title, text)]
        if len(found) != 1:
            raise DataError(
                f"{where}: expected one column of {variable}, got {' and '.join(map(repr, found)) or 'none'} among "
                f"{listed(list(map(str, table.columns)))}. Name it as the release does, such as Wind Speed (m/s)."
            )
        picked[variable] = found[0]
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
