"""One's own meters as a wide table: a column of times and a column of kWh per household."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray
from unlearn.data.meters.households import HouseholdProfiles, household_profiles
from unlearn.data.meters.profiles import EnergyArray
from unlearn.data.meters.reading import ReadingReport
from unlearn.data.tables import open_table, parse_times
from unlearn.errors import DataError

logger = logging.getLogger(__name__)

_DAY_S = 86_400


def read_wide(
    path: str | Path,
    labels: str | Path | None = None,
    *,
    timestamp: str = "timestamp",
    segment: str = "all",
) -> HouseholdProfiles:
    """Read the meters of households from a CSV or parquet table (suffix `.parquet`).

    Args:
        path: table with a column of times and, for each household, a column of kWh per step; the column's name is the
            `household_id`. Steps are of any length that divides an hour, and begin at full hours. A blank is a missing
            reading, and so is a step without a row; days that lack a reading do not become profiles.
        labels: table of the households: `household_id`, `segment`, and further columns. None puts all into one segment.
        timestamp: name of the column of times, the starts of the steps in UTC. Times with an offset are converted.
        segment: name of the one segment where there are no labels.

    Returns:
        The complete days of each household, in the order of the columns; `reading` counts what is missing.

    Raises:
        DataError: a missing file or column, a time or value that cannot be read, unsorted or duplicated times, steps
            that do not divide an hour, negative energy, labels that do not fit the households, or no complete day;
            names file, column and row (the line of a CSV file; in parquet the row, from 1).
    """
    path = Path(path)
    raw, first_row = open_table(path)
    if timestamp not in raw.columns:
        raise DataError(
            f"{path}: expected a column {timestamp} with the times, got {', '.join(map(str, raw.columns[:10]))}. "
            "Name it in the argument timestamp."
        )
    ids = [str(name) for name in raw.columns if name != timestamp]
    if not ids or raw.empty:
        raise DataError(f"{path}: expected a column of kWh per household beside {timestamp}, and rows; got none.")
    seconds, step_s = _steps(path, raw[timestamp], first_row)
    kwh = _energy(path, raw.drop(columns=timestamp), first_row)
    households = _households(path, ids, labels, segment)
    profiles, household, day, reading = _complete_days(kwh, seconds, step_s)
    logger.info("%s: %s", path, reading)
    if not len(profiles):
        raise DataError(f"{path}: expected at least one day without a gap, got none: {reading}. Fill the gaps first.")
    read = household_profiles(path.stem, profiles, household, day, households, reading=reading)
    return read if reading.households == len(ids) else read.of_households(np.unique(household))


def _steps(path: Path, times: pd.Series, first_row: int) -> tuple[IntArray, int]:
    """Return the times in seconds and the length of a step; refuse times out of order or off the steps."""
    parsed = parse_times(path, times, first_row, to_utc=True)
    seconds = parsed.to_numpy().astype("datetime64[s]").astype(np.int64)
    gaps = np.diff(seconds)
    if (gaps <= 0).any():
        i = int(np.argmax(gaps <= 0)) + 1
        fault = "it is a duplicate" if gaps[i - 1] == 0 else "it is unsorted"
        raise DataError(
            f"{path}: expected rising times in column {times.name}, got {parsed[i]} at row {i + first_row} after "
            f"{parsed[i - 1]}: {fault}; {int((gaps <= 0).sum())} such rows. Sort them and drop what is double."
        )
    step = int(gaps.min()) if len(gaps) else 0
    if step == 0 or 3600 % step or step % 60:
        raise DataError(
            f"{path}: expected steps of whole minutes that divide an hour in column {times.name}, got {step} s as the "
            "shortest. Resample the readings."
        )
    off = np.flatnonzero(seconds % step)
    if off.size:
        i = int(off[0])
        raise DataError(
            f"{path}: expected times at full steps of {step // 60} min in column {times.name}, got {parsed[i]} at row "
            f"{i + first_row}; {off.size} such rows. Resample or drop them."
        )
    return seconds, step


def _energy(path: Path, table: pd.DataFrame, first_row: int) -> FloatArray:
    """Return kWh with NaN where there is none; refuse text, infinity and negative values."""
    values = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = (np.isnan(values) & table.notna().to_numpy()) | np.isinf(values) | (values < 0)
    if bad.any():
        i, c = (int(k) for k in np.argwhere(bad)[0])
        raise DataError(
            f"{path}: expected energy of at least 0 kWh or a blank, got {table.iat[i, c]!r} in column "
            f"{table.columns[c]} at row {i + first_row}; {int(bad.sum())} such values. A meter of import never counts "
            "back: mend them or leave them blank."
        )
    return values


def _complete_days(
    kwh: FloatArray, seconds: IntArray, step_s: int
) -> tuple[EnergyArray, IntArray, IntArray, ReadingReport]:
    """Return the complete days, household after household, with household and day since 1970."""
    n_steps, n_households = _DAY_S // step_s, kwh.shape[1]
    first, last = seconds[0] // _DAY_S, seconds[-1] // _DAY_S
    whole = np.full((int(last - first + 1) * n_steps, n_households), np.nan, dtype=np.float32)
    whole[(seconds - first * _DAY_S) // step_s] = kwh
    days = whole.reshape(-1, n_steps, n_households).transpose(2, 0, 1)
    measured = np.isfinite(days).sum(axis=2)
    household, day = np.nonzero(measured == n_steps)
    without = (measured < n_steps).all(axis=1)
    reading = ReadingReport(
        rows=kwh.size,
        null=int(np.isnan(kwh).sum()),
        incomplete_days=int(((measured > 0) & (measured < n_steps)).sum()),
        households_without_days=int(without.sum()),
        households=n_households - int(without.sum()),
        days=len(day),
    )
    return days[household, day], household, first + day, reading


def _households(path: Path, ids: list[str], labels: str | Path | None, segment: str) -> pd.DataFrame:
    """Return a row of labels for each column of the table, in its order."""
    if labels is None:
        return pd.DataFrame({"household_id": ids, "segment": segment})
    table, first_row = open_table(Path(labels))
    missing = [column for column in ("household_id", "segment") if column not in table]
    if missing:
        raise DataError(f"{labels}: expected the columns household_id and segment, missing {', '.join(missing)}.")
    for column in ("household_id", "segment"):
        blank = table[column].isna()
        if blank.any():
            row = int(np.argmax(blank)) + first_row
            raise DataError(f"{labels}: expected a value in column {column}, got a blank at row {row}.")
    table = table.assign(household_id=table["household_id"].astype(str))
    twice = table["household_id"].duplicated()
    if twice.any():
        i = int(np.argmax(twice))
        raise DataError(
            f"{labels}: expected each household_id once, got {table['household_id'].iloc[i]} again at row "
            f"{i + first_row}. Drop what is double."
        )
    unlabelled = [name for name in ids if name not in set(table["household_id"])]
    if unlabelled:
        raise DataError(
            f"{labels}: expected a row for each household of {path}, missing {', '.join(unlabelled[:10])} "
            f"({len(unlabelled)} in all)."
        )
    return table.set_index("household_id").loc[ids].reset_index()
