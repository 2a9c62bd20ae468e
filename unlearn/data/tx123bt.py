"""TX-123BT: hourly load and climate of a synthetic 123-bus model of the Texas grid.

J. Lu, X. Li, H. Li et al., "A Synthetic Texas Backbone Power System with Climate-Dependent Spatio-Temporal
Correlated Profiles", arXiv 2302.13231; data: Figshare, doi 10.6084/m9.figshare.22144616, CC BY 4.0.
"""

from __future__ import annotations

import calendar
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.data.dataset import FittedConstant, LoadDataset, dataset_from_frames
from unlearn.data.download import cache_dir, fetch
from unlearn.data.features import WEATHER_NAMES
from unlearn.data.files import Archive
from unlearn.data.sources import Tx123bt
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.stations import least_correlated
from unlearn.data.tx123bt_files import HOURS, day_files, parse_climate, parse_load
from unlearn.errors import DataError
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

    The layout of the five-year climate files is not documented in more detail. Assumed: any file
    below a folder whose name starts with `climate`, whose path names the year and which ends in
    `Day<n>`, either a workbook as above or plain text, separated by commas, with the same columns,
    24 blocks of a row per bus and, optionally, a column `hour`.

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
            negative load, or too few buses; names file, column and row.
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
        chosen = _least_correlated_buses(str(path), load_mw[train], n_loads)
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


def _least_correlated_buses(where: str, load_mw: FloatArray, n_loads: int) -> IntArray:
    varying = int((load_mw.max(axis=0) > load_mw.min(axis=0)).sum())
    if not 1 <= n_loads <= varying:
        raise DataError(
            f"{where}: expected n_loads from 1 to {varying}, the buses whose load varies, got {n_loads}. "
            "Choose fewer loads."
        )
    return least_correlated(load_mw, n_loads)


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
