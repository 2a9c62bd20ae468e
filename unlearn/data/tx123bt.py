"""TX-123BT: hourly load and climate of a synthetic 123-bus model of the Texas grid.

J. Lu, X. Li, H. Li et al., "A Synthetic Texas Backbone Power System with Climate-Dependent Spatio-Temporal
Correlated Profiles", arXiv 2302.13231; data: Figshare, doi 10.6084/m9.figshare.22144616, CC BY 4.0.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import logging
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, require_distinct
from unlearn.data.dataset import FittedConstant, LoadDataset, dataset_from_frames
from unlearn.data.features import WEATHER_NAMES, least_correlated
from unlearn.data.files import Archive, cache_dir, fetch, foreign_errors, refuse_other_content
from unlearn.data.sources import Tx123bt
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.text_tables import listed, parse_csv
from unlearn.errors import DataError
from unlearn.limits import require_unpackable
from unlearn.records import read_parquet, write_parquet
from unlearn.store import kept

logger = logging.getLogger(__name__)

URL = "https://ndownloader.figshare.com/files/44942761"
MD5 = "60db05d9f7f7699380c8bd023b38ba43"


def read_tx123bt(
    path: str | Path | None = None,
    *,
    year: int = Tx123bt.year,
    n_loads: int = 14,
    buses: Sequence[int] | None = None,
    split: SplitSpec = FAIR,
) -> LoadDataset:
    """Read one year of TX-123BT, from the five-year or the one-year release.

    Expected files, below any root folder (`Data_public_5year/` or `Data_public/`), D days from day 1 on:

    - load: `Load_5y/Load_annual_<year>/load_annual_D<n>.txt` or `load_2019/load_annual_D<n>.txt`; 24 rows
      of 123 numbers in MW, separated by blanks;
    - climate: `Climate_5y/Climate_<year>/climate_<year>_Day<n>.csv` or
      `Climate_2019/climate_2019_Day<n>.csv`; in spite of the suffix an Excel workbook with sheets
      `Hour 1` to `Hour 24` and a row per bus.

    The layout of the five-year climate files is not documented in more detail. Assumed: any file below a folder whose
    name starts with `climate`, whose path names the year and which ends in `Day<n>`, either a workbook as above or
    plain text, separated by commas, with the same columns, 24 blocks of a row per bus and, optionally, a column `hour`.

    Parsing a year of workbooks takes minutes, so the parsed arrays are kept in the cache folder.

    Args:
        path: zip archive or extracted folder. None downloads the five-year release (544 MB).
        year: year to read.
        n_loads: number of buses B, chosen as the least correlated ones on training rows.
        buses: bus numbers, from 1, instead of that choice.
        split: how to divide the hours.

    Returns:
        N = 24 D hours, B loads, F = 10 features: calendar, temperature (K), shortwave and longwave
        radiation (W/m²), zonal, meridional and total wind speed (m/s; titled `Wind Speed` in the release).

    Raises:
        DataError: a missing file, sheet or column, a missing day, something that is not a number, a
            negative load, or buses that are not there; names file, column and row.
        InputError: fewer than `n_loads` buses vary.
        DownloadError: the archive cannot be fetched or has another hash.

    Source: arXiv 2302.13231.
    """
    if path is None:
        path = fetch(URL, cache_dir() / "tx123bt" / "tx123bt-v6.zip", md5=MD5)
    with Archive(path) as archive:
        arrays = _cached_year(archive, year)
    load_mw, weather = arrays[0], arrays[1:]
    hours = pd.date_range(f"{year}-01-01", periods=len(load_mw), freq="h", name="timestamp")
    train = split.rows(len(hours)).train
    fitted: tuple[FittedConstant, ...] = ()
    if buses is None:
        chosen = least_correlated(load_mw[train], n_loads)
        listed = ", ".join(str(bus + 1) for bus in chosen)
        fitted = (FittedConstant("least correlated buses", "train", f"buses {listed}"),)
        logger.info("least correlated buses of %d: %s", year, listed)
    else:
        chosen = _given_buses(str(path), buses, load_mw.shape[1])
    names = pd.Index([f"bus_{bus + 1}" for bus in chosen])

    def frame(values: FloatArray) -> pd.DataFrame:
        return pd.DataFrame(values[:, chosen], index=hours, columns=names)

    tables = {name: frame(values) for name, values in zip(WEATHER_NAMES, weather, strict=True)}
    return dataset_from_frames(frame(load_mw), tables, split=split, name=f"tx123bt-{year}", fitted=fitted)


def _given_buses(where: str, buses: Sequence[int], n_buses: int) -> IntArray:
    unknown = [bus for bus in buses if not 1 <= bus <= n_buses]
    if unknown or len(buses) == 0 or len(set(buses)) != len(buses):
        raise DataError(
            f"{where}: expected distinct bus numbers from 1 to {n_buses}, got {tuple(buses)}. Choose among these."
        )
    return np.asarray(buses, dtype=np.int64) - 1


def _cached_year(archive: Archive, year: int) -> FloatArray:
    """Return load and the six climate variables, shape (7, N, buses), parsed once."""
    load_files = day_files(archive, "load", year)
    climate_files = day_files(archive, "climate", year)
    n_days = _require_all_days(archive, year, load_files, climate_files)
    identity = repr([year, *(archive.stamp(name) for name in (*load_files.values(), *climate_files.values()))])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    cached = cache_dir() / "tx123bt" / f"tx123bt-{year}-{digest}.parquet"

    def make() -> None:
        days = range(1, n_days + 1)
        stacked = np.concatenate(
            [
                _parse_day(archive, load_files[day], climate_files[day])
                for day in tqdm(days, desc=f"TX-123BT {year}", unit="day", disable=n_days < 10)
            ]
        )
        columns = [f"{name}_{i}" for name in ("load_mw", *WEATHER_NAMES) for i in range(stacked.shape[1] // 7)]
        write_parquet(pd.DataFrame(stacked, columns=columns), cached)

    stacked = kept(cached, lambda: read_parquet(cached).to_numpy(np.float64), make)
    return stacked.reshape(len(stacked), 7, -1).transpose(1, 0, 2)


def _parse_day(archive: Archive, load_file: str, climate_file: str) -> FloatArray:
    """Return one day, shape (24, 7 x buses): load first, then the climate variables."""
    load = parse_load(archive, load_file)
    climate = parse_climate(archive, climate_file, load.shape[1])
    return np.concatenate([load[None], climate]).transpose(1, 0, 2).reshape(HOURS, -1)


def _require_all_days(archive: Archive, year: int, load: dict[int, str], climate: dict[int, str]) -> int:
    """Refuse a day without a file; an archive may end before the year does."""
    last = max([*load, *climate], default=0)
    for kind, files in (("load", load), ("climate", climate)):
        if not files:
            raise DataError(
                f"{archive.path}: expected {kind} files of {year}, found none among {len(archive.names)} "
                "files. Choose a year of the release, or fetch the archive again."
            )
        missing = sorted(set(range(1, last + 1)) - set(files))
        if missing:
            example = next(iter(files.values()))
            raise DataError(
                f"{archive.path}: expected a {kind} file for each day from 1 to {last} of {year}, got none "
                f"for {len(missing)} of them, first day {missing[0]} (named like {example}). Extract it "
                "again."
            )
    n_year = 366 if calendar.isleap(year) else 365
    if last > n_year:
        raise DataError(f"{archive.path}: expected at most {n_year} days in {year}, got a file for day {last}.")
    if last < n_year:
        logger.warning("%s holds the first %d of %d days of %d", archive.path, last, n_year, year)
    return last


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
    text.columns = pd.RangeIndex(1, text.shape[1] + 1)
    return _numbers(where, text, "a load of at least 0 MW", first_row=1, least=0.0)


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
            require_unpackable(where, packed.infolist(), len(content))
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
    # Row 1 holds the titles.
    return _numbers(where, table[list(picked.values())], "a number", first_row=2)


def _numbers(where: str, raw: pd.DataFrame, wanted: str, first_row: int, least: float = -np.inf) -> FloatArray:
    values = raw.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = ~np.isfinite(values) | (values < least)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{where}: expected {wanted}, got {raw.iat[row, column]!s} in column {raw.columns[column]} at row "
            f"{row + first_row} ({int(bad.sum())} such values). Fetch the file again."
        )
    return values
