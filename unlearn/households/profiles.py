"""Daily profiles of energy with labels, and the report of how they were read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from unlearn.checks import IntArray, require_rows, short_repr
from unlearn.data.simulated import derived, is_simulated
from unlearn.errors import DataError


@dataclass(frozen=True)
class ReadingReport:
    """Counts of one reading. A row is counted under the first reason that applies to it.

    Attributes:
        rows: rows (of long layouts) or readings (of wide ones) that were read.
        not_chosen: of other years or tariffs than were asked for.
        null: without energy.
        off_the_half_hour: stamped between two steps.
        duplicate: same household, time and energy as a row that was kept.
        conflicting: same household and time, different energy; none of them is kept, for nothing says which is right.
        incomplete_days: days with at least one usable reading that lack another.
        households_without_days: households that had rows but no complete day.
        households_with_few_days: households that had fewer complete days than were asked for.
        households: households kept.
        days: profiles kept.
    """

    rows: int = 0
    not_chosen: int = 0
    null: int = 0
    off_the_half_hour: int = 0
    duplicate: int = 0
    conflicting: int = 0
    incomplete_days: int = 0
    households_without_days: int = 0
    households_with_few_days: int = 0
    households: int = 0
    days: int = 0

    def __add__(self, other: ReadingReport) -> ReadingReport:
        return ReadingReport(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        """All counts in one line, as they are logged."""
        return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in asdict(self).items())

    def to_dict(self) -> dict[str, Any]:
        """The counts by name."""
        return asdict(self)

    def reduced_to(self, households: int, days: int, with_few_days: int) -> ReadingReport:
        """The report after a choice of households, some of which had too few days."""
        few = self.households_with_few_days + with_few_days
        return replace(self, households=households, days=days, households_with_few_days=few)


#: Half-hours of a day, the resolution of household meters.
STEPS = 48
#: Days of the week, Monday first, as `day_of_week` counts them.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EnergyArray = NDArray[np.float32]


@short_repr
@dataclass(frozen=True, eq=False)
class DailyProfiles:
    """N daily profiles of S steps, each with its month, day of the week and segment.

    Attributes:
        name: where they come from, for records and messages.
        kwh: energy of each step in kWh, shape (N, S), float32; finite and not negative. S divides into 24 hours.
        month: 1 to 12, shape (N,).
        day_of_week: 0 (Monday) to 6, shape (N,).
        segment: position in `segments`, shape (N,).
        segments: names of the customer segments, such as Acorn groups; unique.

    Raises:
        DataError: profiles of the wrong length, NaN, infinity or negative energy, a label that is not known; names
            the profile.
    """

    name: str
    kwh: EnergyArray
    month: IntArray
    day_of_week: IntArray
    segment: IntArray
    segments: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "kwh", checked_kwh(self.name, self.kwh))
        object.__setattr__(self, "segments", tuple(map(str, self.segments)))
        if len(set(self.segments)) != len(self.segments):
            raise DataError(f"{self.name} segments: expected each name once, got {list(self.segments)}.")
        for label, low, high in (("month", 1, 12), ("day_of_week", 0, 6), ("segment", 0, len(self.segments) - 1)):
            values = checked_label(f"{self.name} {label}", getattr(self, label), len(self.kwh), low, high)
            object.__setattr__(self, label, values)

    def _in_short(self) -> str:
        return f"{self.name}: {len(self)} days of {self.n_steps} steps, {len(self.segments)} segments"

    def __len__(self) -> int:
        return len(self.kwh)

    @property
    def n_steps(self) -> int:
        """Steps of a day, S."""
        return self.kwh.shape[1]

    @property
    def simulated(self) -> bool:
        """Whether a simulator of this process made the energies, so that they belong to nobody; files are real."""
        return is_simulated(self.kwh)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over energy and labels."""
        digest = hashlib.sha256()
        for array in (self.kwh, self.month, self.day_of_week, self.segment):
            digest.update(np.ascontiguousarray(array).tobytes() + b"|")
        digest.update(repr(self.segments).encode())
        return digest.hexdigest()

    def take(self, rows: ArrayLike) -> Self:
        """Return these profiles, in this order; repeats are allowed, as in a bootstrap. A mask is accepted."""
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            chosen = require_rows("take", chosen, len(self))
        per_row = {name: getattr(self, name)[chosen] for name in self._per_profile()}
        derived(per_row["kwh"], self.kwh)
        return replace(self, **per_row)

    def to_hourly(self) -> Self:
        """Return the same days in steps of an hour (24)."""
        if self.n_steps == 24:
            return self
        hourly = self.kwh.reshape(len(self), 24, -1).sum(axis=2, dtype=np.float64)
        return replace(self, kwh=derived(hourly.astype(np.float32), self.kwh))

    def _per_profile(self) -> tuple[str, ...]:
        return ("kwh", "month", "day_of_week", "segment")

    def to_frame(self) -> pd.DataFrame:
        """One row per profile: labels by name, then `kwh_00` to `kwh_47`."""
        energy = pd.DataFrame(self.kwh, columns=[f"kwh_{step:02d}" for step in range(self.n_steps)])
        labels = {
            "month": self.month.astype(np.int8),
            "day_of_week": self.day_of_week.astype(np.int8),
            "segment": pd.Categorical.from_codes(self.segment, categories=pd.Index(self.segments, dtype="str")),
        }
        return pd.concat([pd.DataFrame(labels), energy], axis=1)


def profiles_from_frame(frame: pd.DataFrame, name: str, segments: Sequence[str] | None = None) -> DailyProfiles:
    """Read back what `DailyProfiles.to_frame` gives; other columns are ignored.

    Args:
        frame: columns `month`, `day_of_week`, `segment` and `kwh_00`, `kwh_01`, ...
        name: where the profiles come from.
        segments: names and order of the segments; None takes those that occur.

    Raises:
        DataError: a column is missing, or a segment is not among `segments`.
    """
    named = [column for column in map(str, frame.columns) if column.startswith("kwh_")]
    energy = sorted(named, key=lambda column: (len(column), column))  # of 144 steps a day, kwh_100 follows kwh_99
    missing = [column for column in ("month", "day_of_week", "segment") if column not in frame]
    if missing or not energy:
        raise DataError(
            f"{name}: expected the columns month, day_of_week, segment and kwh_00 to kwh_{STEPS - 1}, "
            f"missing {', '.join(missing) or 'kwh_*'}."
        )
    column = frame["segment"]
    known = segments
    if known is None:
        is_coded = isinstance(column.dtype, pd.CategoricalDtype)
        known = [str(value) for value in (column.cat.categories if is_coded else sorted(column.astype(str).unique()))]
    codes = segment_codes(name, column.astype(str), known)
    kwh = frame[energy].to_numpy(dtype=np.float32)
    return DailyProfiles(name, kwh, frame["month"].to_numpy(), frame["day_of_week"].to_numpy(), codes, tuple(known))


def segment_codes(name: str, values: pd.Series, segments: Sequence[str]) -> IntArray:
    """Return the position of each segment name among `segments`, refusing one that is not there."""
    codes = pd.Index(segments).get_indexer(pd.Index(values))
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(
            f"{name} segment: expected one of {', '.join(segments)}; got {values.iloc[row]!r} at row {row}. "
            "Rename it, or name all segments."
        )
    return codes.astype(np.int64)


def checked_kwh(name: str, kwh: ArrayLike) -> EnergyArray:
    """Return energy as a float32 matrix of profiles; refuse wrong lengths, NaN and negative values."""
    try:
        array = np.ascontiguousarray(kwh, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} kwh: expected a matrix of numbers, got {type(kwh).__name__} ({error}).") from error
    if array.ndim != 2 or array.shape[1] not in range(24, 24 * 61, 24):
        wanted = f"{STEPS} (half-hours) or another multiple of 24 steps"
        raise DataError(f"{name} kwh: expected profiles of {wanted} a day, got shape {array.shape}.")
    bad = ~np.isfinite(array) | (array < 0)
    if bad.any():
        row, step = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{name} kwh: expected finite energy of at least 0, got {array[row, step]} in profile {row} at step "
            f"{step}; {int(bad.sum())} such values in {int(bad.any(axis=1).sum())} profiles. Drop these days first."
        )
    return array


def checked_label(name: str, values: ArrayLike, size: int, low: int, high: int) -> IntArray:
    """Return integer labels from `low` to `high`, one per profile."""
    array = np.asarray(values)
    if array.shape != (size,):
        raise DataError(f"{name}: expected one label per profile ({size}), got shape {array.shape}.")
    if size and not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{name}: expected integers from {low} to {high}, got {array.dtype}.")
    outside = (array < low) | (array > high)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise DataError(f"{name}: expected {low} to {high}, got {array[row]} in profile {row}.")
    return array.astype(np.int64)
