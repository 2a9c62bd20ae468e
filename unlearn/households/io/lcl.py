"""Reader of the Low Carbon London trial: half-hourly meters of 5,567 households, November 2011 to February 2014.

The data set is "SmartMeter Energy Consumption Data in London Households" (UK Power Networks, London Datastore), some
8 GB of CSV. The trial is described by Schofield et al., UK Data Archive study 7857,
https://doi.org/10.5255/UKDA-SN-7857-1.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, require_choice, require_count, short_repr
from unlearn.data.files import as_path
from unlearn.data.hours import refuse_registers
from unlearn.data.times import HOUR_S, common_step, length_of
from unlearn.errors import DataError, InputError
from unlearn.households.by_household import HouseholdProfiles, household_profiles
from unlearn.households.io.lcl_rows import LCL_SEGMENTS, HouseholdRows, stream_households
from unlearn.households.io.parquet import ProfileWriter, load_profiles, profile_card
from unlearn.households.io.sources import Lcl
from unlearn.households.profiles import STEPS, EnergyArray, ReadingReport
from unlearn.store import write

logger = logging.getLogger(__name__)

NAME = "Low Carbon London"
_CHUNK = 65_536


def read_lcl(
    path: str | Path,
    *,
    year: int | None = None,
    tariff: str | None = None,
    max_households: int | None = None,
    min_days: int = Lcl.min_days,
    stamps: str = Lcl.stamps,
) -> HouseholdProfiles:
    """Read the trial's files, or what `convert_lcl` made of them.

    The columns are `LCLid,stdorToU,DateTime,KWH/hh (per half hour) ,Acorn,Acorn_grouped`, times such as
    `2012-10-12 00:30:00.0000000` in UTC the whole year, and energy in kWh or `Null`. Rows of a household stand together
    (see `stream_households`). Rows without energy, rows off the half-hour and repeated rows are dropped; where rows of
    the same household and time differ in energy none is kept. Only days with all 48 half-hours become profiles.

    The trial does not say whether a stamp is the start or the end of its half-hour. Its tariff table runs from
    2013-01-01 00:00 to 2013-12-31 23:30, and most users take starts, which is the default here; the series of most
    households begin at 00:30 and end at 00:00, which speaks for ends.

    Args:
        path: a CSV file, a folder with the 168 CSV files, the zip archive with them, or a `.parquet` file of
            `convert_lcl`.
        year: only days of this year.
        tariff: "Std" or "ToU", the time-of-use tariff of the trial; None takes both.
        max_households: only the first so many that have enough days; reading ends there.
        min_days: complete days that a household must have.
        stamps: whether `DateTime` is the "start" or the "end" of its half-hour.

    Returns:
        Profiles with `segment` (Acorn_grouped), `acorn` and `tariff` of each household, and what was dropped in
        `reading`. About 200 bytes a day: all households take some 0.7 GB, and twice as much while they are read from
        CSV; `convert_lcl` needs a few hundred MB, whatever the size of the files.

    Raises:
        InputError: an unknown tariff or kind of stamps, or numbers below 1.
        DataError: whatever `stream_households` refuses, or no household has enough days.
    """
    choice = Choice(year, tariff, max_households, min_days, stamps)
    if as_path("path", path).suffix == ".parquet":
        return _from_cache(Path(path), choice)
    parts, reading = [], ReadingReport()
    for part in stream_days(path, choice):
        reading += part.counts
        if len(part.kwh):
            parts.append(part)
    logger.info("%s: %s", path, reading)
    if not parts:
        raise DataError(
            f"{path}: expected at least one household with {min_days} or more complete days, got none: {reading}."
            f"{step_note(path)}"
        )
    return _gathered(parts, None, reading)


def convert_lcl(source: str | Path, target: str | Path, *, stamps: str = Lcl.stamps) -> ReadingReport:
    """Convert the trial's files once into a parquet file that `read_lcl` and `load_profiles` read in seconds.

    Args:
        source: a CSV file, a folder with them, or a zip archive.
        target: parquet file to write; it appears when it is complete, with mode 600.
        stamps: whether `DateTime` is the "start" or the "end" of its half-hour.

    Returns:
        What was kept and dropped. Memory stays bounded by a block of rows, a household and a chunk of profiles.

    Raises:
        InputError: the suffix of the target is not `.parquet`.
        DataError: whatever `read_lcl` refuses.
    """
    if as_path("target", target).suffix != ".parquet":
        raise InputError(f"{target}: expected the suffix .parquet, got {Path(target).suffix!r}.")
    choice = Choice(None, None, None, 1, stamps)
    total = ReadingReport()

    def fill(file: Path) -> None:
        nonlocal total
        kept: list[tuple[str, tuple[str, ...]]] = []
        with ProfileWriter(file, STEPS, of_households=True) as writer:
            for chunk in _chunks(source, choice):
                total += sum((part.counts for part in chunk), ReadingReport())
                chunk = [part for part in chunk if len(part.kwh)]
                if chunk:
                    writer.write(_gathered(chunk, LCL_SEGMENTS))
                    kept += [(part.household_id, part.labels) for part in chunk]
            if not kept:
                raise DataError(f"{source}: expected at least one complete day, got none: {total}.{step_note(source)}")
            households = _table(kept)
            origin = {"source": Path(source).name, "stamps": stamps}
            writer.finish(NAME, _segments(households), households, total, origin)

    write(target, fill, confidential=True, sealed=True)
    logger.info("%s: %s", source, total)
    return total


def _chunks(source: str | Path, choice: Choice) -> Iterator[list[HouseholdDays]]:
    chunk: list[HouseholdDays] = []
    size = 0
    for part in stream_days(source, choice):
        chunk.append(part)
        size += len(part.kwh)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    yield chunk


def _gathered(
    parts: Sequence[HouseholdDays], segments: tuple[str, ...] | None, reading: ReadingReport | None = None
) -> HouseholdProfiles:
    """The days of some households; of segments those that occur, where none are named."""
    households = _table([(part.household_id, part.labels) for part in parts])
    return household_profiles(
        NAME,
        np.concatenate([part.kwh for part in parts]),
        np.repeat(np.arange(len(parts)), [len(part.kwh) for part in parts]),
        np.concatenate([part.date for part in parts]),
        households,
        segments or _segments(households),
        reading,
    )


def _table(households: Sequence[tuple[str, tuple[str, ...]]]) -> pd.DataFrame:
    tariff, acorn, segment = zip(*(labels for _, labels in households), strict=True)
    ids = [name for name, _ in households]
    return pd.DataFrame({"household_id": ids, "segment": segment, "acorn": acorn, "tariff": tariff})


def _segments(households: pd.DataFrame) -> tuple[str, ...]:
    occurring = set(households["segment"])
    return tuple(segment for segment in LCL_SEGMENTS if segment in occurring)


def _from_cache(path: Path, choice: Choice) -> HouseholdProfiles:
    """Read what `convert_lcl` wrote as if it were the files."""
    written = profile_card(path)["source"].get("stamps")
    if written != choice.stamps:
        raise InputError(
            f"{path}: expected a file of convert_lcl with stamps={choice.stamps!r}, got {written!r}. Convert again, or "
            "pass what it was made with."
        )
    chosen: dict[str, Any] = {} if choice.tariff is None else {"tariff": choice.tariff}
    chosen |= {"year": choice.year, "max_households": choice.max_households, "min_days": choice.min_days}
    cached = cast(HouseholdProfiles, load_profiles(path, **chosen))  # what has stamps is of households
    segments = _segments(cached.households)
    if segments == cached.segments:
        return cached
    return household_profiles(
        NAME, cached.kwh, cached.household, cached.date, cached.households, segments, cached.reading
    )


_HALF_HOUR_NS = 1800 * 10**9


@dataclass(frozen=True)
class Choice:
    """What to keep, checked before anything is read."""

    year: int | None
    tariff: str | None
    max_households: int | None
    min_days: int
    stamps: str

    def __post_init__(self) -> None:
        require_choice("stamps", self.stamps, ("start", "end"))
        if self.tariff is not None:
            require_choice("tariff", self.tariff, ("Std", "ToU"))
        require_count("min_days", self.min_days)
        if self.max_households is not None:
            require_count("max_households", self.max_households)
        if self.year is not None:
            require_count("year", self.year)


@short_repr
@dataclass(frozen=True)
class HouseholdDays:
    """The complete days of one household."""

    household_id: str
    labels: tuple[str, ...]
    date: NDArray[np.datetime64]
    kwh: EnergyArray
    counts: ReadingReport


def stream_days(path: str | Path, choice: Choice) -> Iterator[HouseholdDays]:
    """Yield each household as far as it is chosen; one that is not carries no days, only counts."""
    kept = 0
    for rows in stream_households(path):
        part = complete_days(rows, choice)
        kept += len(part.kwh) > 0
        yield part
        if kept == choice.max_households:
            return


def complete_days(rows: HouseholdRows, choice: Choice) -> HouseholdDays:
    """Keep the complete days of one household."""
    time_ns, kwh = np.concatenate(rows.time_ns), np.concatenate(rows.kwh)
    counts = {"rows": len(kwh)}
    chosen = np.ones(len(kwh), dtype=bool)
    if choice.tariff is not None and rows.labels[0] != choice.tariff:
        chosen[:] = False
    step, rest = np.divmod(time_ns, _HALF_HOUR_NS)
    if choice.stamps == "end":
        # What was measured in the half-hour before; off the half-hour the division has gone down already.
        step -= rest == 0
    if choice.year is not None:
        first, last = (np.datetime64(f"{choice.year + k:04d}-01-01", "D").astype(np.int64) * STEPS for k in (0, 1))
        chosen &= (step >= first) & (step < last)
    counts["not_chosen"] = int((~chosen).sum())
    null = chosen & np.isnan(kwh)
    off = chosen & ~null & (rest != 0)
    if 4 * off.sum() > chosen.sum():
        found = common_step(np.sort(time_ns[chosen]) // 10**9)
        if 0 < found < HOUR_S // 2:
            raise DataError(
                f"{rows.household_id}: expected a row per half-hour, got steps of {length_of(found)}. Sum the energy "
                "of each half-hour."
            )
    usable = chosen & ~null & ~off
    step, kwh, counts["duplicate"], counts["conflicting"] = without_repeats(step[usable], kwh[usable])
    days, per_day = np.unique(step // STEPS, return_counts=True)
    complete = per_day == STEPS
    matrix = kwh[np.repeat(complete, per_day)].reshape(-1, STEPS).astype(np.float32)
    refuse_registers("Low Carbon London", [rows.household_id], matrix.reshape(1, -1))
    date = days[complete].astype("datetime64[D]")
    enough = len(matrix) >= choice.min_days
    reading = ReadingReport(
        **counts,
        null=int(null.sum()),
        off_the_half_hour=int(off.sum()),
        incomplete_days=int((~complete).sum()),
        households_without_days=int(chosen.any() and not len(matrix)),
        households_with_few_days=int(0 < len(matrix) < choice.min_days),
        households=int(enough),
        days=len(matrix) if enough else 0,
    )
    if not enough:
        matrix, date = matrix[:0], date[:0]
    return HouseholdDays(rows.household_id, rows.labels, date, matrix, reading)


def without_repeats(step: IntArray, kwh: FloatArray) -> tuple[IntArray, FloatArray, int, int]:
    """Sort by time and drop repeats: of equal rows all but one, of rows that contradict each other all."""
    if len(step) < 2 or (np.diff(step) > 0).all():
        return step, kwh, 0, 0
    order = np.lexsort((kwh, step))
    step, kwh = step[order], kwh[order]
    first = np.flatnonzero(np.diff(step, prepend=step[0] - 1))
    size = np.diff(first, append=len(step))
    # Within a time energy is sorted, so the first and the last differ if any two do.
    agree = kwh[first] == kwh[first + size - 1]
    return step[first[agree]], kwh[first[agree]], int((size[agree] - 1).sum()), int(size[~agree].sum())


def step_note(path: str | Path) -> str:
    """The step of the first household, for the message that no day of half-hours is complete."""
    rows = next(stream_households(path), None)
    step = 0 if rows is None else common_step(np.sort(np.concatenate(rows.time_ns)) // 10**9)
    return f" Rows stand in steps of {length_of(step)}: give readings of half-hours." if step > HOUR_S // 2 else ""
