"""Buildings: hourly readings with a label per hour, their division, and their sources.

The layout of LEAD (Large-scale Energy Anomaly Detection; Gulati and Arjunan, LEAD1.0, 2022) has a row per building and
hour: `timestamp,building_id,meter_reading,anomaly`. Its file is fetched from Kaggle by hand; any CSV or parquet table
with these columns will do.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    require_count,
    require_fraction,
    require_not_negative,
    require_rows,
    short_repr,
)
from unlearn.data.hours import parse_day, refuse_registers
from unlearn.data.text_tables import Table, open_table
from unlearn.data.times import HOUR_S, read_times, repeated_hour, seconds_of
from unlearn.errors import DataError, InputError
from unlearn.households.by_household import HouseholdProfiles

HourArray = NDArray[np.datetime64]
#: Code of an hour that no injection changed.
NO_KIND = -1
_HOUR = np.timedelta64(1, "h")
_HOURS_OF_DAY = 24


@short_repr
@dataclass(frozen=True, eq=False)
class BuildingSeries:
    """Hourly readings of M buildings over T consecutive hours.

    Attributes:
        name: where they come from, for records and messages.
        buildings: M names, unique.
        hours: start of each hour (UTC or wall clock, as read), datetime64[h], consecutive, shape (T,).
        kwh: energy of each hour in kWh, NaN where there is no reading, shape (M, T).
        anomaly: whether an hour's reading is anomalous, shape (M, T); None where nobody labelled them.
        filled: hours whose reading was missing and filled from its neighbours, shape (M, T); None: none were.
        kind: position in `kinds` of what was injected, `NO_KIND` elsewhere, shape (M, T); None: nothing was.
        kinds: names of the injected anomalies.

    Raises:
        DataError: arrays that do not fit each other, hours that are not consecutive, infinite readings, names twice.
    """

    name: str
    buildings: tuple[str, ...]
    hours: HourArray
    kwh: FloatArray
    anomaly: BoolArray | None = None
    filled: BoolArray | None = None
    kind: NDArray[np.int8] | None = None
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "buildings", tuple(map(str, self.buildings)))
        object.__setattr__(self, "hours", np.asarray(self.hours).astype("datetime64[h]"))
        object.__setattr__(self, "kwh", np.asarray(self.kwh, dtype=np.float64))
        shape = (len(self.buildings), len(self.hours))
        for label in ("kwh", "anomaly", "filled", "kind"):
            array = getattr(self, label)
            if array is not None and array.shape != shape:
                raise DataError(
                    f"{self.name} {label}: expected a value per building and hour {shape}, got {array.shape}."
                )
        if len(set(self.buildings)) < len(self.buildings):
            twice = next(name for name in self.buildings if self.buildings.count(name) > 1)
            raise DataError(f"{self.name} buildings: expected each name once, got {twice} again.")
        steps = np.diff(self.hours)
        if (steps != _HOUR).any():
            i = int(np.argmax(steps != _HOUR)) + 1
            raise DataError(
                f"{self.name} hours: expected consecutive hours, got {self.hours[i]} after {self.hours[i - 1]}. A "
                "missing hour is a NaN reading."
            )
        if np.isinf(self.kwh).any():
            m, t = (int(i) for i in np.argwhere(np.isinf(self.kwh))[0])
            raise DataError(
                f"{self.name} kwh: expected readings or NaN, got {self.kwh[m, t]} of building {self.buildings[m]} at "
                f"{self.hours[t]}."
            )

    def _in_short(self) -> str:
        span = f" from {self.hours[0]} to {self.hours[-1]}" if len(self.hours) else ""
        labels = "no labels" if self.anomaly is None else f"{int(self.anomaly.sum())} anomalous"
        return f"{self.name}: {len(self)} buildings, {self.n_hours} hours{span}, {labels}"

    def __len__(self) -> int:
        return len(self.buildings)

    @property
    def n_hours(self) -> int:
        return len(self.hours)

    @property
    def measured(self) -> BoolArray:
        """Hours with a reading of their own, shape (M, T)."""
        there = np.isfinite(self.kwh)
        return there if self.filled is None else there & ~self.filled

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over readings, labels, hours and names."""
        digest = hashlib.sha256(repr((self.buildings, self.kinds)).encode())
        for array in (self.hours.astype(np.int64), self.kwh, self.anomaly, self.filled, self.kind):
            digest.update(b"|" if array is None else np.ascontiguousarray(array).tobytes() + b"|")
        return digest.hexdigest()

    def take(self, chosen: ArrayLike) -> BuildingSeries:
        """Keep the buildings at these positions, or those of a mask; in their order."""
        rows = require_rows(f"{self.name} buildings", chosen, len(self))
        return replace(
            self,
            buildings=tuple(self.buildings[m] for m in rows),
            kwh=self.kwh[rows],
            anomaly=None if self.anomaly is None else self.anomaly[rows],
            filled=None if self.filled is None else self.filled[rows],
            kind=None if self.kind is None else self.kind[rows],
        )


def buildings_of(households: HouseholdProfiles, start: str | None = None, end: str | None = None) -> BuildingSeries:
    """Lay the daily profiles of households out as hourly series; a day that a household lacks has no readings.

    Args:
        households: profiles with household and date, in steps that divide an hour.
        start: first day; None takes the first there is.
        end: the day after the last; None goes on to the last.

    Raises:
        InputError: a date that cannot be read, or an end that is not after the start.
        DataError: no day in that time.
    """
    hourly = households.to_hourly()
    first = parse_day("start", start) if start else hourly.days[0]
    last = parse_day("end", end) - 1 if end else hourly.days[-1]
    if start and end and last < first:
        raise InputError(f"start, end: expected a start before the end, got {start} and {end}.")
    inside = (hourly.date >= first) & (hourly.date <= last)
    if not inside.any():
        raise DataError(
            f"{households.name}: expected days from {first} to {last}, got {hourly.days[0]} to {hourly.days[-1]}."
        )
    n_days = int((last - first).astype(np.int64)) + 1
    kwh = np.full((hourly.n_households, n_days, _HOURS_OF_DAY), np.nan)
    day = (hourly.date[inside] - first).astype(np.int64)
    kwh[hourly.household[inside], day] = hourly.kwh[inside]
    return BuildingSeries(
        name=households.name,
        buildings=tuple(hourly.households["household_id"].astype(str)),
        hours=first.astype("datetime64[h]") + np.arange(n_days * _HOURS_OF_DAY),
        kwh=kwh.reshape(len(kwh), -1),
    )


def fill_gaps(series: BuildingSeries, longest_h: int = 3) -> BuildingSeries:
    """Fill short gaps on the line between the readings on both sides; longer ones stay gaps.

    Nothing is learnt from other hours or buildings. Filled hours are marked, lose their label and never count in a
    measurement.

    Args:
        series: readings with NaN where there are none.
        longest_h: hours of the longest gap that is filled; 0 fills none.
    """
    longest = int(require_not_negative("longest_h", longest_h))
    there = np.isfinite(series.kwh)
    at = np.arange(series.n_hours)
    before = np.maximum.accumulate(np.where(there, at, -1), axis=1)
    after = np.minimum.accumulate(np.where(there, at, series.n_hours)[:, ::-1], axis=1)[:, ::-1]
    short = ~there & (before >= 0) & (after < series.n_hours) & (after - before - 1 <= longest)
    m, t = np.nonzero(short)
    left, right = before[m, t], after[m, t]
    weight = (t - left) / (right - left)
    kwh = series.kwh.copy()
    kwh[m, t] = (1 - weight) * kwh[m, left] + weight * kwh[m, right]
    filled = short if series.filled is None else short | series.filled
    return replace(series, kwh=kwh, filled=filled, anomaly=None if series.anomaly is None else series.anomaly & ~filled)


@short_repr
@dataclass(frozen=True, eq=False)
class BuildingSplit:
    """Positions of the buildings that a detector is trained on, that choose its threshold, that it is judged on."""

    train: IntArray
    validation: IntArray
    test: IntArray


def split_buildings(n_buildings: int, validation: float = 0.2, test: float = 0.3, seed: int = 0) -> BuildingSplit:
    """Divide buildings at random, each into one part.

    Args:
        n_buildings: number of buildings.
        validation: share whose labels choose thresholds.
        test: share that results are reported on.
        seed: of the draw.

    Raises:
        InputError: shares that leave no building in a part.
    """
    require_fraction("validation", validation)
    require_fraction("test", test)
    n_validation, n_test = round(validation * n_buildings), round(test * n_buildings)
    n_train = n_buildings - n_validation - n_test
    if min(n_train, n_validation, n_test) < 1:
        raise InputError(
            f"split: expected at least one building in each part, got {n_train} for training, {n_validation} for "
            f"validation and {n_test} for test of {n_buildings}. Give more buildings or other shares."
        )
    order = np.random.default_rng(seed).permutation(n_buildings)
    parts = np.split(order, [n_train, n_train + n_validation])
    return BuildingSplit(*(np.sort(part).astype(np.int64) for part in parts))


logger = logging.getLogger(__name__)


def read_lead(path: str | Path, *, max_buildings: int | None = None, date_format: str | None = None) -> BuildingSeries:
    """Read hourly readings of buildings with a label per hour.

    Args:
        path: CSV or parquet table (suffix `.parquet`) with the columns `timestamp` (hours), `building_id`,
            `meter_reading` (kWh; a blank is a missing reading) and `anomaly` (0 or 1). Without the column `anomaly`, as
            in LEAD's test file, the series has no labels. Names of buildings are text, as written. Rows may stand in
            any order; an hour without a row is a missing reading.
        max_buildings: keep the first so many, by name in the order of the file; None keeps all.
        date_format: format of the times, such as `%d/%m/%Y %H:%M`; None: they are ISO 8601.

    Returns:
        M buildings over all hours from the first to the last in the file. A missing reading has no label: LEAD marks
        some of them as anomalous, but there is nothing that a detector could look at.

    Raises:
        DataError: a missing file or column, a title twice, a time that cannot be read or is no full hour, a reading
            that is no number or comes from a register, a label other than 0 and 1, or an hour of a building twice;
            names file, column and row (the line of a CSV file; in parquet the row, from 1).
    """
    table = open_table(path)
    table.require(["timestamp", "building_id", "meter_reading"], "Name the columns so; anomaly may be left out.")
    if not len(table):
        raise DataError(f"{path}: expected a row per building and hour, got no row.")
    codes, found = pd.factorize(np.array(table.identifiers("building_id"), dtype=object))
    building, names = codes.astype(np.int64), tuple(map(str, found))
    if max_buildings is not None:
        names = names[: require_count("max_buildings", max_buildings)]
    times = read_times(table, "timestamp", date_format=date_format)
    seconds = seconds_of(times)
    mend = "Sum the readings of each hour, or drop a stray row."
    table.refuse(seconds % HOUR_S != 0, ["timestamp"], "full hours", mend)
    column, wanted = ["meter_reading"], "a number of kWh or a blank"
    reading = table.numbers(column, wanted)[:, 0]
    table.refuse(np.isinf(reading), column, wanted, "Mend them or leave them blank.")
    label = _labels(table) if table.has("anomaly") else None
    hour = (seconds - seconds.min()) // HOUR_S
    twice = pd.Series(building * (hour.max() + 1) + hour).duplicated().to_numpy()
    if twice.any():
        i = int(np.argmax(twice))
        raise DataError(
            f"{path}: expected each hour of a building once, got {times[i]} of building "
            f"{table.column('building_id')[i]} again at row {table.row(i)}; {int(twice.sum())} such rows. Keep one."
            f"{repeated_hour(times[twice])}"
        )

    kept = building < len(names)
    shape = (len(names), int(hour.max()) + 1)
    kwh = np.full(shape, np.nan)
    kwh[building[kept], hour[kept]] = reading[kept]
    anomaly = None
    if label is not None:
        anomaly = np.zeros(shape, dtype=bool)
        anomaly[building[kept], hour[kept]] = label[kept] & np.isfinite(reading[kept])
    start = np.datetime64(int(seconds.min()) // HOUR_S, "h")
    refuse_registers(str(path), names, kwh)
    logger.info("%s: %d buildings, %d hours, %d readings", path, *shape, int(np.isfinite(kwh).sum()))
    return BuildingSeries(Path(path).stem, names, start + np.arange(shape[1]), kwh, anomaly)


def _labels(table: Table) -> BoolArray:
    flags = table.labels("anomaly")
    if all(isinstance(flag, bool) for flag in flags):
        return np.array(flags, dtype=bool)
    wanted = "0 (normal) or 1 (anomalous)"
    values = table.numbers(["anomaly"], wanted)
    mend = "Leave the column out if the readings are not labelled."
    table.refuse((values != 0) & (values != 1), ["anomaly"], wanted, mend)
    return values[:, 0] == 1
