"""Meters from any source of households or one's own table, in memory or in a parquet file with a row per customer."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from unlearn.checks import BoolArray, FloatArray, IntArray, as_identifiers, require_choice
from unlearn.data.dataset import check_hours
from unlearn.data.files import as_path, foreign_errors
from unlearn.data.simulated import derived
from unlearn.data.text_tables import listed
from unlearn.errors import DataError, InputError
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.io.parquet import opened
from unlearn.households.meters import BLOCK, RESOLUTION_KWH, InMemory, Meters, Readings
from unlearn.records import provenance
from unlearn.store import BLANK_SEAL, write

logger = logging.getLogger(__name__)

#: What becomes of meters with gaps.
GAPS = ("refuse", "leave_out")
#: Version of the layout; it changes when an older library could not read the file.
FORMAT = 1
_CARD, _SEAL = b"unlearn.meters", b"unlearn.seal"
_MEND = "Write the meters again."


class MeterBlock(NamedTuple):
    """Some customers: names, segments, and energy in kWh, shape (k, H), NaN where the meter was not there."""

    ids: Sequence[str]
    segments: Sequence[str]
    kwh: FloatArray | Readings


class InFile:
    """Rows of a parquet file; the group of rows that was read last stays in memory."""

    def __init__(self, path: Path) -> None:
        self.path, self._opened = path, _stamp(path)
        self._kept: tuple[int, Readings] = -1, np.empty((0, 0), dtype=np.float32)

    def read(self, start: int, stop: int) -> Readings:
        parts = []
        for group in range(start // BLOCK, (stop - 1) // BLOCK + 1):
            low = group * BLOCK
            parts.append(self._rows(group)[max(0, start - low) : stop - low])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _rows(self, group: int) -> Readings:
        kept = self._kept  # taken once: another thread may replace it
        if kept[0] != group:
            with foreign_errors(self.path, "saved meters", _MEND):
                if _stamp(self.path) != self._opened:
                    raise DataError(f"{self.path}: expected the file that was opened, got another one. Load it again.")
                with pq.ParquetFile(self.path) as file:
                    column = file.read_row_group(group, columns=["kwh"])["kwh"].combine_chunks()
            kept = group, column.flatten().to_numpy().reshape(len(column), -1)
            self._kept = kept
        return kept[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": (-1, np.empty((0, 0), dtype=np.float32))}


def _stamp(path: Path) -> tuple[int, int, int]:
    """What tells a file from another one in its place."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def hourly_meters(
    source: HouseholdProfiles | pd.DataFrame,
    path: str | Path | None = None,
    *,
    segments: pd.Series | None = None,
    with_gaps: str = GAPS[0],
    name: str | None = None,
) -> Meters:
    """Take hourly readings by customer from any source of households, or from one's own table.

    Args:
        source: profiles of `load_households`, whose steps are summed up to hours (UTC); or a table of kWh per hour with
            a DatetimeIndex and a column per customer.
        path: a `.parquet` file that keeps the readings, so that a block at a time is in memory; None keeps all of them
            in memory, 35 MB for 1,000 customers and a year.
        segments: class of each customer of a table, by name; None puts all into one. Profiles bring their own.
        with_gaps: "refuse" meters with a gap between their first and last reading, or "leave_out".
        name: for messages and records.

    Raises:
        InputError: no such source, or a suffix other than `.parquet`.
        DataError: a gap, hours with a time zone or off the hour, negative or infinite energy, customers without a
            class, or no meter is left; names customer and hour.
    """
    require_choice("with_gaps", with_gaps, GAPS)
    if isinstance(source, HouseholdProfiles):
        hours, blocks = _of_profiles(source)
        known, title = source.segments, name or source.name
    elif isinstance(source, pd.DataFrame):
        hours, blocks, known = _of_table(source, name or "meters", segments)
        title = name or "meters"
    else:
        raise InputError(f"source: expected HouseholdProfiles or a DataFrame of kWh, got {type(source).__name__}.")
    meters = _kept(title, hours, known, _checked(title, hours, blocks, with_gaps), path)
    if isinstance(source, HouseholdProfiles) and isinstance(meters.source, InMemory):
        derived(meters.source.kwh, source.kwh)
    return meters


def load_meters(path: str | Path) -> Meters:
    """Open a file that `hourly_meters` wrote; readings stay in it until they are asked for.

    Raises:
        DataError: no such file, a damaged one, or another table.
    """
    path = as_path("path", path)
    file, card = opened(path, _CARD, FORMAT, "meters", "meters that hourly_meters wrote", _MEND)
    with foreign_errors(path, "saved meters", _MEND), file:
        table = file.read(["customer_id", "segment", "first", "end", "digest"])
    known = tuple(card["segments"])
    return Meters(
        name=card["name"],
        customer_ids=tuple(table["customer_id"].to_pylist()),
        hours=pd.date_range(card["start"], periods=card["n_hours"], freq="h"),
        first=table["first"].to_numpy().astype(np.int64),
        end=table["end"].to_numpy().astype(np.int64),
        segment=pd.Index(known).get_indexer(pd.Index(table["segment"].to_pylist())).astype(np.int64),
        segments=known,
        digests=tuple(table["digest"].to_pylist()),
        rows=np.arange(len(table)),
        source=InFile(path),
    )


def save_meters(
    meters: Meters, path: str | Path | None = None, hidden: Mapping[int, BoolArray] | None = None
) -> Meters:
    """Write meters to a file of their own, and open it, or to memory; nothing of other customers gets there.

    Args:
        meters: what is written.
        path: a `.parquet` file; None is memory.
        hidden: hours, shape (H,), whose readings of a customer are written as 0, by the customer's position.
    """

    def blocks() -> Iterator[MeterBlock]:
        for where, kwh in meters.blocks("meters"):
            masks = [(hidden or {}).get(int(i)) for i in where]
            shown = np.stack(
                [row if own is None else np.where(own, 0, row) for row, own in zip(kwh, masks, strict=True)]
            )
            ids = [meters.customer_ids[i] for i in where]
            segments = [meters.segments[g] for g in meters.segment[where]]
            yield MeterBlock(ids, segments, _with_life(shown, meters.first[where], meters.end[where]))

    return _kept(
        meters.name, meters.hours, meters.segments, _checked(meters.name, meters.hours, blocks(), GAPS[0]), path
    )


def _kept(
    name: str, hours: pd.DatetimeIndex, known: Sequence[str], blocks: Iterable[_Checked], path: str | Path | None
) -> Meters:
    if path is None:
        return _gathered(name, hours, known, list(blocks))
    if Path(path).suffix != ".parquet":
        raise InputError(f"{path}: expected the suffix .parquet, got {Path(path).suffix!r}.")
    write(path, lambda file: _write(file, name, hours, known, blocks), confidential=True, sealed=True)
    return load_meters(path)


def _with_life(kwh: Readings, first: IntArray, end: IntArray) -> Readings:
    hour = np.arange(kwh.shape[1])
    return np.where((hour >= first[:, None]) & (hour < end[:, None]), kwh, np.float32(np.nan))


class _Checked(NamedTuple):
    """Some customers without NaN: names, classes, hashes, energy (k, H), first hour and that after the last."""

    ids: NDArray[np.object_]
    segments: NDArray[np.object_]
    digests: NDArray[np.object_]
    kwh: Readings
    first: IntArray
    end: IntArray

    def part(self, rows: slice | IntArray) -> _Checked:
        return _Checked(*(own[rows] for own in self))  # type: ignore[arg-type]


def _checked(name: str, hours: pd.DatetimeIndex, blocks: Iterable[MeterBlock], with_gaps: str) -> Iterator[_Checked]:
    """Blocks with lives and hashes; refuses or leaves out meters with gaps."""
    check_hours(name, hours)
    if len(off := np.flatnonzero(hours != hours.floor("h"))):
        raise DataError(f"{name}: expected full hours, got {hours[int(off[0])]}. Sum readings up to clock hours.")
    left_out = 0
    for block in blocks:
        kwh = np.asarray(block.kwh, dtype=np.float64)
        there = np.isfinite(kwh)
        bad = np.isinf(kwh) | (kwh < 0)
        if bad.any():
            who, when = (int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{name}: expected finite energy of at least 0 kWh, got {kwh[who, when]} of customer "
                f"{block.ids[who]} at {hours[when]}. Mend it or leave the customer out."
            )
        first = there.argmax(axis=1)
        end = np.where(there.any(axis=1), kwh.shape[1] - there[:, ::-1].argmax(axis=1), first)
        whole = (there.sum(axis=1) == end - first) & (end > first)
        if not whole.all() and with_gaps == GAPS[0]:
            who = int(np.flatnonzero(~whole)[0])
            inside = np.flatnonzero(~there[who, first[who] : end[who]])
            what = f"a gap of {len(inside)} hours, first {hours[first[who] + inside[0]]}" if len(inside) else "none"
            raise DataError(
                f"{name}: expected a reading in each hour between a meter's first and last one, got {what} for "
                f"customer {block.ids[who]}. Fill it, or pass with_gaps='leave_out'."
            )
        left_out += int((~whole).sum())
        energy = np.where(there, np.rint(kwh / RESOLUTION_KWH) * RESOLUTION_KWH, 0.0).astype(np.float32)
        digests = [_digest(row, int(a), int(b)) for row, a, b in zip(energy, first, end, strict=True)]
        ids, segments, hashes = (np.array(own, dtype=object) for own in (block.ids, block.segments, digests))
        life = first.astype(np.int64), end.astype(np.int64)
        yield _Checked(ids, segments, hashes, energy, *life).part(np.flatnonzero(whole))
    if left_out:
        logger.warning("%s: %d meters with gaps are left out", name, left_out)


def _digest(row: Readings, first: int, end: int) -> str:
    return hashlib.sha256(f"{first}:{end}:".encode() + np.ascontiguousarray(row).tobytes()).hexdigest()


def _gathered(name: str, hours: pd.DatetimeIndex, known: Sequence[str], blocks: list[_Checked]) -> Meters:
    every = _joined(blocks)
    if not len(every.kwh):
        raise DataError(f"{name}: expected at least one meter without a gap, got none. Fill gaps first.")
    return Meters(
        name=name,
        customer_ids=tuple(every.ids),
        hours=hours,
        first=every.first,
        end=every.end,
        segment=pd.Index(list(known)).get_indexer(pd.Index(every.segments)).astype(np.int64),
        segments=tuple(known),
        digests=tuple(every.digests),
        rows=np.arange(len(every.kwh)),
        source=InMemory(every.kwh),
    )


def _write(file: Path, name: str, hours: pd.DatetimeIndex, known: Sequence[str], blocks: Iterable[_Checked]) -> None:
    """Write a row per customer, `BLOCK` of them to a group."""
    text, whole = pa.string(), pa.int32()
    kwh = ("kwh", pa.list_(pa.float32(), len(hours)))
    names = [("customer_id", text), ("segment", text), ("digest", text)]
    schema = pa.schema([*names, ("first", whole), ("end", whole), kwh])
    n_customers = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in _regrouped(blocks):
            energy = pa.FixedSizeListArray.from_arrays(pa.array(part.kwh.reshape(-1)), len(hours))
            texts = [pa.array(own, text) for own in (part.ids, part.segments, part.digests)]
            life = [pa.array(own, whole) for own in (part.first, part.end)]
            table = pa.table([*texts, *life, energy], schema=schema)
            writer.write_table(table, row_group_size=BLOCK)
            n_customers += len(part.ids)
        if not n_customers:
            raise DataError(f"{name}: expected at least one meter without a gap, got none. Fill gaps first.")
        card = {
            "format": FORMAT,
            "name": name,
            "start": hours[0].isoformat(),
            "n_hours": len(hours),
            "segments": list(known),
            "provenance": provenance(),
        }
        writer.add_key_value_metadata({_CARD: json.dumps(card).encode(), _SEAL: BLANK_SEAL})


def _regrouped(blocks: Iterable[_Checked]) -> Iterator[_Checked]:
    """The same customers in blocks of `BLOCK`, the last one smaller."""
    waiting: list[_Checked] = []
    for block in blocks:
        waiting.append(block)
        while sum(len(own.ids) for own in waiting) >= BLOCK:
            joined = _joined(waiting)
            yield joined.part(slice(BLOCK))
            waiting = [joined.part(slice(BLOCK, None))]
    if sum(len(own.ids) for own in waiting):
        yield _joined(waiting)


def _joined(blocks: list[_Checked]) -> _Checked:
    return _Checked(*(np.concatenate(own) for own in zip(*blocks, strict=True)))


def _of_profiles(profiles: HouseholdProfiles) -> tuple[pd.DatetimeIndex, Iterator[MeterBlock]]:
    days = np.arange(profiles.days[0], profiles.days[-1] + np.timedelta64(1, "D"))
    hours = pd.date_range(pd.Timestamp(days[0]), periods=24 * len(days), freq="h")
    order = np.argsort(profiles.household, kind="stable")
    edges = np.searchsorted(profiles.household[order], np.arange(profiles.n_households + 1))
    ids = profiles.households["household_id"].astype(str).tolist()
    segments = profiles.households["segment"].astype(str).tolist()

    def blocks() -> Iterator[MeterBlock]:
        starts = range(0, profiles.n_households, BLOCK)
        for low in tqdm(starts, desc="meters", leave=False, delay=2):
            high = min(low + BLOCK, profiles.n_households)
            rows = order[edges[low] : edges[high]]
            kwh = np.full((high - low, len(days), 24), np.nan)
            day = (profiles.date[rows] - days[0]).astype(np.int64)
            steps = profiles.kwh[rows].reshape(len(rows), 24, -1)
            kwh[profiles.household[rows] - low, day] = steps.sum(axis=2, dtype=np.float64)
            yield MeterBlock(ids[low:high], segments[low:high], kwh.reshape(high - low, -1))

    return hours, blocks()


def _of_table(
    table: pd.DataFrame, name: str, segments: pd.Series | None
) -> tuple[pd.DatetimeIndex, Iterator[MeterBlock], tuple[str, ...]]:
    if not isinstance(table.index, pd.DatetimeIndex):
        raise DataError(f"{name}: expected a DatetimeIndex of hours, got {type(table.index).__name__}.")
    ids = as_identifiers(f"{name} columns", table.columns)
    if len(set(ids)) < len(ids):
        twice = sorted({own for own in ids if ids.count(own) > 1})
        raise DataError(f"{name}: expected a column per customer, got {listed(twice)} more than once.")
    classes = ["all"] * len(ids)
    if segments is not None:
        given = pd.Series(segments)
        given.index = pd.Index(given.index.astype(str))
        counts = given.index.value_counts()
        wrong = [own for own in ids if counts.get(own, 0) != 1]
        if wrong:
            raise DataError(
                f"{name} segments: expected one class for each customer, got none or two for {listed(wrong)}."
            )
        classes = as_identifiers(f"{name} segments", given.loc[ids])

    def blocks() -> Iterator[MeterBlock]:
        for low in range(0, len(ids), BLOCK):
            part = slice(low, low + BLOCK)
            kwh = table.iloc[:, part].to_numpy(dtype=np.float64, na_value=np.nan)
            yield MeterBlock(ids[part], classes[part], kwh.T)

    return table.index, blocks(), tuple(sorted(set(classes)))
