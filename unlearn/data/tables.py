"""One's own data as wide tables: a column of times and a column per load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.data.dataset import LoadDataset, dataset_from_frames
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.errors import DataError


def read_tables(
    load_csv: str | Path,
    weather: Mapping[str, str | Path],
    *,
    split: SplitSpec = FAIR,
    timestamp: str = "timestamp",
) -> LoadDataset:
    """Read loads and weather from CSV or parquet tables (suffix `.parquet`).

    Args:
        load_csv: table of hourly loads in MW: a column of times and a column per load.
        weather: table of each weather variable, by the name that the feature gets (with its unit,
            such as `temperature_f`): the same times, and either the columns of the load table or a
            single column that serves all loads.
        split: how to divide the hours.
        timestamp: name of the column of times, the starts of the hours. Times with an offset keep
            their wall clock.

    Returns:
        N hours, B loads and F = 4 + number of weather variables features.

    Raises:
        DataError: a missing file or column, a time or value that cannot be read, a negative load, an
            unsorted, duplicated or missing hour, or tables of different hours; names file, column and
            row (the line of a CSV file; in parquet the row, from 1).
    """
    load_mw = _read(Path(load_csv), timestamp, negative=False)
    tables = {}
    for variable, path in weather.items():
        table = _read(Path(path), timestamp)
        _require_same_hours(Path(path), table, load_mw, timestamp)
        missing = [str(name) for name in load_mw.columns if name not in table.columns]
        if missing and table.shape[1] != 1:
            raise DataError(
                f"{path}: expected the columns of {load_csv} or a single one, missing {', '.join(missing)}."
            )
        tables[variable] = table
    return dataset_from_frames(load_mw, tables, split=split, name=Path(load_csv).stem)


def _read(path: Path, timestamp: str, negative: bool = True) -> pd.DataFrame:
    """Read one table: float64 columns, indexed by time."""
    raw, first_row = open_table(path)
    if timestamp not in raw.columns:
        raise DataError(
            f"{path}: expected a column {timestamp} with the times, got {', '.join(map(str, raw.columns))}. "
            "Name it in the argument timestamp."
        )
    columns = [name for name in raw.columns if name != timestamp]
    if not columns:
        raise DataError(f"{path}: expected a column per load beside {timestamp}, got none.")
    if raw.empty:
        raise DataError(f"{path}: expected a row per hour, got none.")
    hours = _hours(path, raw[timestamp], first_row)
    values = raw[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad, wanted = ~np.isfinite(values), "a number"
    if not bad.any() and not negative:
        bad, wanted = values < 0, "a load of at least 0"
    if bad.any():
        i, c = (int(k) for k in np.argwhere(bad)[0])
        cell = raw[columns[c]].iloc[i]
        got = "a blank" if pd.isna(cell) else repr(cell)
        raise DataError(
            f"{path}: expected {wanted}, got {got} in column {columns[c]} at row {i + first_row} "
            f"({hours[i]}; {int(bad.sum())} such values). Mend it or leave the column out."
        )
    return pd.DataFrame(values, index=hours, columns=pd.Index(columns))


def open_table(path: Path) -> tuple[pd.DataFrame, int]:
    """Return the table as it stands and the number of its first row."""
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path), 1
        raw = pd.read_csv(path, skip_blank_lines=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a table, found no such file.") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: expected a CSV or parquet table, got: {error}.") from error
    # Blank lines are kept while rows are counted; those at the end of the file mean nothing.
    written = np.flatnonzero(raw.notna().any(axis=1))
    return raw.iloc[: written[-1] + 1 if written.size else 0], 2


def parse_times(path: Path, times: pd.Series, first_row: int, to_utc: bool = False) -> pd.DatetimeIndex:
    """Parse a column of times; those with an offset keep their wall clock, or are converted to UTC.

    Raises:
        DataError: times of differing offsets whose wall clock is to be kept, or what is no time; names the row.
    """
    try:
        parsed = pd.to_datetime(times, errors="coerce", utc=to_utc)
    except ValueError as error:
        raise DataError(
            f"{path}: expected times of one offset in column {times.name}, got {error}. Write them in UTC."
        ) from error
    if parsed.isna().any():
        i = int(np.flatnonzero(parsed.isna())[0])
        got = "a blank" if pd.isna(times.iloc[i]) else repr(times.iloc[i])
        raise DataError(
            f"{path}: expected a time in column {times.name}, got {got} at row {i + first_row}. "
            "Write times as 2019-01-31 23:00."
        )
    return pd.DatetimeIndex(parsed.dt.tz_localize(None), name="timestamp")


def _hours(path: Path, times: pd.Series, first_row: int) -> pd.DatetimeIndex:
    """Parse the times and refuse all but consecutive hours."""
    hours = parse_times(path, times, first_row)
    steps = np.diff(hours.to_numpy().astype("datetime64[s]").astype(np.int64))
    wrong = np.flatnonzero(steps != 3600)
    if wrong.size:
        i = int(wrong[0]) + 1
        step = int(steps[i - 1])
        fault = "it is a duplicate" if step == 0 else "it is unsorted" if step < 0 else "it follows a gap"
        raise DataError(
            f"{path}: expected consecutive hours in column {times.name}, got {hours[i]} at row "
            f"{i + first_row} after {hours[i - 1]}: {fault}; {wrong.size} such rows. Sort, drop or fill them."
        )
    return hours


def _require_same_hours(path: Path, table: pd.DataFrame, load: pd.DataFrame, timestamp: str) -> None:
    if not table.index.equals(load.index):
        raise DataError(
            f"{path}: expected in column {timestamp} the hours of the load table, {load.index[0]} to "
            f"{load.index[-1]}, got {table.index[0]} to {table.index[-1]}. Cut both to the same hours."
        )
