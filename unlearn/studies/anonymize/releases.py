"""Releases of records: what each step makes of readings, and what somebody makes of its records."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from unlearn.attacks.published import PublishedSeries
from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.privacy.anonymize import PseudonymKeys, coarser, daily_extremes, microaggregated, pseudonyms_of, rounded
from unlearn.studies.anonymize.options import (
    CLASS_SIZES,
    DAILY,
    EXTREMES,
    HOURLY,
    MICRO_5,
    MICRO_15,
    PSEUDONYMS,
    RAW,
    ROTATED,
    ROUNDED,
    SIX_HOURLY,
    WEEKLY,
)
from unlearn.studies.anonymize.setting import Readings, Setting, smoothed

#: Periods of the steps that sum over time.
PERIODS = {HOURLY: "h", SIX_HOURLY: "6h", DAILY: "D", WEEKLY: "W"}


@short_repr
@dataclass(frozen=True, eq=False)
class Records:
    """A record of each of C households.

    Attributes:
        step: of the ladder.
        series: values of the records by released step, in the order of the households; the attacker does not know it.
        tables: what is given away, a file each.
    """

    step: str
    series: tuple[PublishedSeries, ...]
    tables: tuple[pd.DataFrame, ...] = field(repr=False)

    def _in_short(self) -> str:
        return f"{self.step}, {' and '.join(own.kind for own in self.series)}"

    def size(self) -> int:
        """Bytes of the files."""
        return sum(parquet_size(own) for own in self.tables)


def parquet_size(table: pd.DataFrame) -> int:
    """Bytes of a table as a parquet file."""
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getbuffer().nbytes


def records_of(step: str, readings: Readings, rounding_kwh: float) -> Records:
    """Make the release of a step that holds a record of each household.

    Args:
        step: among `RECORD_STEPS`.
        readings: to release.
        rounding_kwh: what rounded readings are multiples of.
    """
    return RECORD_STEPS[step](step, readings, rounding_kwh)


def _named(step: str, readings: Readings, _: float) -> Records:
    table = _table(readings.kwh, readings.times, readings.ids)
    return Records(step, (_by_reading(readings.kwh),), (table,))


def _pseudonymised(step: str, readings: Readings, _: float) -> Records:
    return Records(step, (_by_reading(readings.kwh),), (_table(readings.kwh, readings.times, _names(readings)),))


def _rotated(step: str, readings: Readings, _: float) -> Records:
    month = months(readings)
    keys = PseudonymKeys.new(sorted(set(month)))
    tables = tuple(
        _table(readings.kwh[:, month == own], readings.times[month == own], pseudonyms_of(readings.ids, own, keys))
        for own in keys.periods
    )
    return Records(step, (_by_reading(readings.kwh),), tables)


def _rounded(step: str, readings: Readings, rounding_kwh: float) -> Records:
    values = rounded(readings.kwh, rounding_kwh)
    series = PublishedSeries(values, np.arange(values.shape[1]), tolerance=rounding_kwh / 2)
    return Records(step, (series,), (_table(values, readings.times, _names(readings)),))


def _summed(step: str, readings: Readings, _: float) -> Records:
    made = coarser(readings.profiles, PERIODS[step])
    series = PublishedSeries(made.kwh, _step_of(readings, made.starts, made.kwh.shape[1], step))
    return Records(step, (series,), (_table(made.kwh, made.starts, _names(readings)),))


def _extremes(step: str, readings: Readings, _: float) -> Records:
    made = daily_extremes(readings.profiles)
    day = np.repeat(np.arange(len(made.days)), readings.per_day)
    series = tuple(
        PublishedSeries(own, day, kind=kind) for own, kind in ((made.low_kwh, "min"), (made.high_kwh, "max"))
    )
    names = _names(readings)
    both = np.concatenate([made.low_kwh, made.high_kwh])
    table = _table(both, made.days, [f"{own}_{kind}" for kind in ("min", "max") for own in names])
    return Records(step, series, (table,))


def _microaggregated(step: str, readings: Readings, _: float) -> Records:
    made = microaggregated(readings.kwh, min(CLASS_SIZES[step], len(readings)))
    table = _table(made.centroids, readings.times, _names(readings))
    return Records(step, (_by_reading(made.centroids),), (table,))


#: What makes the records of each step that has them.
RECORD_STEPS: Mapping[str, Callable[[str, Readings, float], Records]] = {
    RAW: _named,
    PSEUDONYMS: _pseudonymised,
    ROTATED: _rotated,
    ROUNDED: _rounded,
    HOURLY: _summed,
    SIX_HOURLY: _summed,
    DAILY: _summed,
    WEEKLY: _summed,
    EXTREMES: _extremes,
    MICRO_5: _microaggregated,
    MICRO_15: _microaggregated,
}


def months(readings: Readings) -> np.ndarray:
    """Month of each step, such as "2013-02", shape (S,)."""
    return readings.times.strftime("%Y-%m").to_numpy().astype(str)


def timed(step: str, readings: Readings, rounding_kwh: float) -> tuple[Records, float]:
    """The records of a step, and the seconds that they took."""
    start = time.perf_counter()
    made = records_of(step, readings, rounding_kwh)
    return made, time.perf_counter() - start


def _by_reading(kwh: FloatArray) -> PublishedSeries:
    return PublishedSeries(kwh, np.arange(kwh.shape[1]))


def _names(readings: Readings) -> tuple[str, ...]:
    return pseudonyms_of(readings.ids, "all", PseudonymKeys.new(["all"]))


def _table(kwh: FloatArray, times: pd.DatetimeIndex, names: object) -> pd.DataFrame:
    # In the order of their names, so that the order of the households tells nothing.
    table = pd.DataFrame(kwh.T.astype(np.float32), index=times, columns=list(names))  # type: ignore[call-overload]
    return table[sorted(table.columns)]


def _step_of(readings: Readings, starts: pd.DatetimeIndex, n_steps: int, step: str) -> IntArray:
    """Released step of each reading; -1 before the first whole period and after the last."""
    place = np.searchsorted(starts.to_numpy(), readings.times.to_numpy(), side="right") - 1
    length = {HOURLY: "1h", SIX_HOURLY: "6h", DAILY: "1D", WEEKLY: "7D"}[step]
    after = readings.times >= starts[-1] + pd.Timedelta(length)
    return np.where(after, -1, np.minimum(place, n_steps - 1)).astype(np.int64)


# What somebody makes of the records.


def rebuilt(records: Records, setting: Setting) -> FloatArray:
    """Half-hourly readings as the records tell them, shape (C, S).

    The mean of a step; between two extremes as high as those of simulated households are.
    """
    series = records.series[0]
    if len(records.series) > 1:
        low, high = (own.values[:, own.step_of] for own in records.series)
        return np.asarray(low + height_between(setting) * (high - low))
    inside = (series.values / np.maximum(series.readings_per_step(), 1))[:, series.step_of]
    return np.where(series.step_of >= 0, inside, inside.mean(axis=1, keepdims=True))


def information_left(truth: FloatArray, told: FloatArray) -> float:
    """Share of the variance of readings, over households and time, that a release tells."""
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - told) ** 2).sum()) / spread if spread else 0.0


def load_of_records(records: Records, setting: Setting) -> FloatArray:
    """Hourly loads of the feeders as somebody makes them of the records, shape (D, B, 24)."""
    feeders = setting.feeders
    inside = np.arange(len(feeders.names))[:, None] == feeders.feeder_of
    series, per_hour = records.series[0], setting.readings.per_day // 24
    if len(records.series) > 1:
        low, high = (inside @ own.values[:, own.step_of] for own in records.series)
        between = low + height_between(setting) * (high - low)
        return feeders.by_day(between.reshape(len(between), -1, per_hour).sum(axis=2))
    total = inside @ series.values
    if len(series.step_of) == series.values.shape[1]:
        return feeders.by_day(total.reshape(len(total), -1, per_hour).sum(axis=2))
    return feeders.by_day(spread_over_hours(total, series.step_of[::per_hour], setting.standard_hourly))


def spread_over_hours(total: FloatArray, step_of: IntArray, standard: FloatArray) -> FloatArray:
    """Energy of periods, spread over their hours as a standard profile is, shape (B, H).

    Hours that no whole period covers take the level of the nearest one.

    Args:
        total: energy of each period, shape (B, P).
        step_of: period of each hour, -1 for none, shape (H,).
        standard: profile, above 0, shape (H,).
    """
    covered = step_of >= 0
    level = total / np.bincount(step_of[covered], standard[covered], minlength=total.shape[1])
    hours = np.flatnonzero(covered)
    nearest = step_of[hours[np.searchsorted(hours, np.arange(len(step_of))).clip(0, len(hours) - 1)]]
    return np.asarray(level[:, nearest] * standard)


def height_between(setting: Setting) -> FloatArray:
    """How high simulated households are between their least and largest reading of a day, 0 to 1, shape (S,).

    In the mean over them, and over the workdays or weekends of a month.
    """
    own = setting.standard
    by_day = own.kwh.reshape(len(own), len(own.days), own.per_day)
    least, most = by_day.min(axis=2, keepdims=True), by_day.max(axis=2, keepdims=True)
    above = (by_day - least).mean(axis=0) / np.maximum((most - least).mean(axis=0), 1e-9)
    return smoothed(above.ravel(), own.days)
