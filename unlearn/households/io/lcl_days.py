"""From rows of a household in the Low Carbon London trial to its complete days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, require_choice, require_count, short_repr
from unlearn.data.hours import refuse_registers
from unlearn.data.times import HOUR_S, common_step, length_of
from unlearn.errors import DataError
from unlearn.households.io.lcl_rows import HouseholdRows, stream_households
from unlearn.households.profiles import STEPS, EnergyArray, ReadingReport

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
