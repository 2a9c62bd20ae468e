"""One's own meters: as a wide table of kWh (a column per household), or in a NumPy archive of Wh per half-hour."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import datetime, time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, as_identifiers, require_distinct
from unlearn.data.files import as_path, foreign_errors
from unlearn.data.hours import refuse_other_units, refuse_registers
from unlearn.data.text_tables import Table, listed, open_table
from unlearn.data.times import HOUR_S, clock_change, common_step, length_of, read_times, seconds_of
from unlearn.errors import DataError
from unlearn.households.by_household import HouseholdProfiles, household_profiles
from unlearn.households.io.sources import WideTable
from unlearn.households.profiles import STEPS, EnergyArray, ReadingReport
from unlearn.limits import require_npz

logger = logging.getLogger(__name__)

_DAY_S = 86_400
#: Energy of one hour that no household and few buildings reach in the mean.
_MUCH_KWH = 50.0


def read_wide(
    path: str | Path,
    labels: str | Path | None = None,
    *,
    timestamp: str = WideTable.timestamp,
    segment: str = WideTable.segment,
    date_format: str | None = None,
) -> HouseholdProfiles:
    """Read the meters of households from a CSV or parquet table (suffix `.parquet`).

    Args:
        path: table with a column of times and, for each household, a column of kWh per step; the column's name is the
            `household_id`. Steps are of any length that divides an hour, and begin at full hours. A blank is a missing
            reading, and so is a step without a row; days that lack a reading do not become profiles. Rows between two
            steps are left out and counted, if most rows lie at full steps.
        labels: table of the households: `household_id`, `segment`, and further columns. All are text, as written; only
            a column of nothing but True and False becomes flags. None puts all into one segment.
        timestamp: name of the column of times, the starts of the steps in UTC. Times with an offset are converted.
        segment: name of the one segment where there are no labels.
        date_format: format of the times, such as `%d/%m/%Y %H:%M`; None: they are ISO 8601.

    Returns:
        The complete days of each household, in the order of the columns; `reading` counts what is missing.

    Raises:
        DataError: a missing file or column, a title twice, a time or value that cannot be read, unsorted or duplicated
            times, steps that do not divide an hour, negative energy, another unit, readings of a register, labels that
            do not fit the households, or no complete day; names file, column and row (the line of a CSV file; in
            parquet the row, from 1).
    """
    table = open_table(path)
    table.require([timestamp], "Name the column of times in the argument timestamp.")
    ids = [title for title in table.titles if title.strip() != timestamp.strip()]
    if not ids or not len(table):
        raise DataError(f"{path}: expected a column of kWh per household beside {timestamp}, and rows; got none.")
    refuse_other_units(str(path), ids)
    seconds, step_s = _steps(table, timestamp, date_format)
    kwh = _energy(table, ids)
    households = _households(str(path), ids, labels, segment)
    stray = seconds % step_s != 0
    profiles, household, day, reading = _complete_days(kwh[~stray], seconds[~stray], step_s)
    reading += ReadingReport(
        rows=kwh[stray].size,
        null=int(np.isnan(kwh[stray]).sum()),
        off_the_half_hour=int(np.isfinite(kwh[stray]).sum()),
    )
    refuse_registers(str(path), ids, kwh[~stray].T)
    logger.info("%s: %s", path, reading)
    if not len(profiles):
        raise DataError(
            f"{path}: expected at least one day without a gap, got none in steps of {length_of(step_s)}: {reading}. "
            "Fill the gaps first."
        )
    mean_kwh = float(profiles.mean(dtype=np.float64)) * HOUR_S / step_s
    if mean_kwh > _MUCH_KWH:
        much = "%s: meters use %.0f kWh an hour in the mean; if the readings are in Wh, divide them by 1000"
        logger.warning(much, path, mean_kwh)
    read = household_profiles(Path(path).stem, profiles, household, day, households, reading=reading)
    return read if reading.households == len(ids) else read.of_households(np.unique(household))


def _steps(table: Table, timestamp: str, date_format: str | None) -> tuple[IntArray, int]:
    """Return the times in seconds and the length of a step; refuse times out of order, or most of them off the "
    "steps."""
    times = read_times(table, timestamp, to_utc=True, date_format=date_format)
    seconds = seconds_of(times)
    gaps = np.diff(seconds)
    if (gaps <= 0).any():
        late = np.flatnonzero(gaps <= 0) + 1
        i = int(late[0])
        fault = "it is a duplicate" if gaps[i - 1] == 0 else "it is unsorted"
        raise DataError(
            f"{table.where}: expected rising times in column {timestamp}, got {times[i]} at row {table.row(i)} after "
            f"{times[i - 1]}: {fault}; {late.size} such rows. Sort them and drop what is double."
            f"{clock_change(times, late)}"
        )
    step = common_step(seconds)
    if step == 0 or HOUR_S % step or step % 60:
        found = f"steps of {length_of(step)}" if step else "a single row"
        mend = "Sum readings to full minutes" if 0 < step < HOUR_S else "Give readings of an hour or less"
        raise DataError(
            f"{table.where}: expected steps of whole minutes that divide an hour in column {timestamp}, got {found}. "
            f"{mend}."
        )
    off = seconds % step != 0
    if 2 * off.sum() >= len(off):
        table.refuse(off, [timestamp], f"times at full steps of {length_of(step)}", "Resample or shift them.")
    if off.any():
        left = (int(off.sum()), length_of(step), times[off][0])
        logger.warning("%s: %d rows off the steps of %s are left out, first %s", table.where, *left)
    return seconds, step


def _energy(table: Table, ids: list[str]) -> FloatArray:
    """Return kWh with NaN where there is none; refuse text, infinity and negative values."""
    wanted = "energy of at least 0 kWh or a blank"
    values = table.numbers(ids, wanted)
    mend = "A meter of import never counts back: mend them or leave them blank."
    table.refuse(np.isinf(values) | (values < 0), ids, wanted, mend)
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


def _households(where: str, ids: list[str], labels: str | Path | None, segment: str) -> pd.DataFrame:
    """Return a row of labels for each column of the table, in its order."""
    if labels is None:
        return pd.DataFrame({"household_id": ids, "segment": segment}, dtype=object)
    table = open_table(labels, "labels")
    table.require(["household_id", "segment"], "Name the columns so.")
    names = table.identifiers("household_id")
    found = {name: i for i, name in enumerate(names)}
    if len(found) < len(names):
        i = next(i for i, name in enumerate(names) if name in names[:i])
        raise DataError(
            f"{labels}: expected each household_id once, got {names[i]} again at row {table.row(i)}. Drop what is "
            "double."
        )
    unlabelled = [name for name in ids if name not in found]
    if unlabelled:
        raise DataError(
            f"{labels}: expected a row for each household of {where}, missing {listed(unlabelled)} ({len(unlabelled)} "
            "in all). Names are text and must be alike to the letter."
        )
    columns: dict[str, Sequence[object]] = {title.strip(): table.labels(title) for title in table.titles}
    columns |= {"household_id": names, "segment": table.identifiers("segment")}
    return pd.DataFrame(columns).iloc[[found[name] for name in ids]].reset_index(drop=True)


_KEYS = ("kwh_x1000", "ids", "start", "tariff", "acorn_grouped")


def read_npz(path: str | Path) -> HouseholdProfiles:
    """Read half-hourly energy of households without gaps from a NumPy archive.

    Args:
        path: `.npz` with the arrays `kwh_x1000` (T, H), whole Wh of each half-hour; `ids` (H,); `start` (1,), the
            start of the first half-hour in UTC, a midnight; `tariff` (H,) and `acorn_grouped` (H,). Names are text as
            written, and whole numbers become their digits.

    Returns:
        H households with `tariff`, and `segment` from the grouped Acorn; T / 48 days of each. A last day that is
        not complete is dropped and counted.

    Raises:
        DataError: no such file, pickled objects, missing or other arrays, or arrays that do not fit each other.
    """
    path = as_path("path", path)
    arrays = _arrays(path)
    wh = arrays["kwh_x1000"]
    if wh.ndim != 2 or not np.issubdtype(wh.dtype, np.integer) or len(wh) < STEPS:
        raise DataError(
            f"{path} kwh_x1000: expected whole Wh, half-hours by households, at least {STEPS} half-hours; got "
            f"{wh.dtype} of shape {wh.shape}."
        )
    for key in ("ids", "tariff", "acorn_grouped"):
        if arrays[key].shape != wh.shape[1:]:
            raise DataError(f"{path} {key}: expected {wh.shape[1]} values, one a household, got {arrays[key].shape}.")
    ids, tariff, segment = (
        as_identifiers(f"{path} {key}", arrays[key].tolist()) for key in ("ids", "tariff", "acorn_grouped")
    )
    require_distinct(f"{path} ids", ids, "household", any_case=False)
    if wh.size and wh.min() < 0:
        t, h = (int(i) for i in np.argwhere(wh < 0)[0])
        raise DataError(f"{path} kwh_x1000: expected at least 0, got {wh[t, h]} of {ids[h]} at half-hour {t}.")
    first = _midnight(path, arrays["start"])
    n_days, n_households = len(wh) // STEPS, wh.shape[1]
    kwh = wh[: n_days * STEPS].T.reshape(-1, STEPS).astype(np.float32) / np.float32(1000)
    households = pd.DataFrame({"household_id": ids, "segment": segment, "tariff": tariff})
    return household_profiles(
        path.stem,
        kwh,
        np.repeat(np.arange(n_households), n_days),
        first + np.tile(np.arange(n_days), n_households),
        households,
        reading=ReadingReport(
            rows=wh.size,
            incomplete_days=n_households * (len(wh) % STEPS > 0),
            households=n_households,
            days=n_households * n_days,
        ),
    )


def _arrays(path: Path) -> dict[str, NDArray]:
    with foreign_errors(path, "a NumPy archive of plain arrays", "Write it again with numpy.savez."):
        if path.is_dir():
            raise IsADirectoryError
        with path.open("rb") as stream:
            if stream.read(6) == b"\x93NUMPY":  # numpy would allocate what its header claims
                raise DataError(f"{path}: expected an archive of arrays (.npz), got a single array.")
        # Pickled arrays may run code when they are read.
        archive = np.load(path, allow_pickle=False)
        with archive:
            require_npz(path, archive)
            require_distinct(str(path), archive.files, "array", any_case=False)
            missing = [key for key in _KEYS if key not in archive]
            if missing:
                raise DataError(
                    f"{path}: expected the arrays {', '.join(_KEYS)}; missing {', '.join(missing)}, got "
                    f"{listed(archive.files) or 'none'}."
                )
            return {key: archive[key] for key in _KEYS}


def _midnight(path: Path, start: NDArray) -> np.datetime64:
    text = str(start.reshape(-1)[0]) if start.size == 1 else ""
    try:
        stamp = datetime.fromisoformat(text) if re.match(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        stamp = None
    if stamp is None or stamp.time() != time(0) or stamp.tzinfo is not None:
        raise DataError(
            f"{path} start: expected one midnight in UTC such as '2013-01-01 00:00', got {start.tolist()}. Write it so."
        )
    return np.datetime64(stamp.date(), "D")
