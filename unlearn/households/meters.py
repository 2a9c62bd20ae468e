"""Hourly energy of many customers' meters, read block by block from memory or from a file.

Readings are kept as multiples of 2⁻²⁰ kWh (a milliwatt-hour), far finer than any meter counts. Sums of such numbers
have no rounding error, in whatever order they are added: without a customer, the sum of the others is to the last bit
what it would have been had the customer never been there.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data.hours import Time, rows_between
from unlearn.data.simulated import is_simulated
from unlearn.data.text_tables import listed
from unlearn.errors import InputError

#: Readings are whole numbers of these many kWh.
RESOLUTION_KWH = 2.0**-20
#: Customers whose readings are in memory at once.
BLOCK = 128

Readings = NDArray[np.float32]


class Source(Protocol):
    """Where readings lie: rows of H hours, 0 where the meter was not there."""

    def read(self, start: int, stop: int) -> Readings:
        """Readings of consecutive rows, shape (stop − start, H)."""
        ...

    @property
    def path(self) -> Path | None:
        """The file; None in memory."""
        ...


@short_repr
@dataclass(frozen=True, eq=False)
class Meters:
    """Hourly readings of C customers.

    Build them with `hourly_meters`, or read them with `load_meters`.

    Attributes:
        name: where they come from.
        customer_ids: C names.
        hours: H hours, by their start, without gaps.
        first: position of each meter's first hour, shape (C,).
        end: position after its last one, shape (C,).
        segment: position of each customer's class in `segments`, shape (C,).
        segments: names of the customer classes.
        digests: a hash of each customer's readings, C texts.
        rows: row of each customer in the source, shape (C,), rising.
        source: where the readings lie.
        offset: column of the source that is the first hour.
    """

    name: str
    customer_ids: tuple[str, ...]
    hours: pd.DatetimeIndex
    first: IntArray
    end: IntArray
    segment: IntArray
    segments: tuple[str, ...]
    digests: tuple[str, ...]
    rows: IntArray
    source: Source
    offset: int = 0

    def _in_short(self) -> str:
        where = "in memory" if self.source.path is None else f"in {self.source.path}"
        span = f"{self.hours[0]:%Y-%m-%d %H:%M} to {self.hours[-1]:%Y-%m-%d %H:%M}"
        return f"{self.name}: {len(self)} customers, {len(self.hours)} hours from {span}, {where}"

    def __len__(self) -> int:
        return len(self.customer_ids)

    @property
    def simulated(self) -> bool:
        """Whether a simulator made all readings in this process; what comes from a file counts as real."""
        return isinstance(self.source, InMemory) and is_simulated(self.source.kwh)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {own: i for i, own in enumerate(self.customer_ids)}

    def positions(self, what: str, customers: Iterable[str]) -> IntArray:
        """Positions of customers by name, in the order given.

        Raises:
            InputError: no list, an empty one, or names that are unknown or repeated.
        """
        if isinstance(customers, str) or not isinstance(customers, Iterable):
            raise InputError(f"{what}: expected a list of customers' names, got {customers!r}; write [{customers!r}].")
        asked = [str(one) for one in customers]
        if not asked:
            raise InputError(f"{what}: expected at least one customer, got none.")
        if unknown := [one for one in asked if one not in self._place]:
            raise InputError(
                f"{what}: expected customers of {self.name}, which has {len(self)} such as "
                f"{listed(self.customer_ids[:3])}; got {len(unknown)} that it does not have: {listed(unknown)}. Names "
                "must be alike to the letter."
            )
        found = np.array([self._place[one] for one in asked], dtype=np.int64)
        if len(np.unique(found)) < len(found):
            twice = sorted({one for one in asked if asked.count(one) > 1})
            raise InputError(f"{what}: expected each customer once, got {listed(twice)} more than once. Drop repeats.")
        return found

    def blocks(self, progress: str | None = None) -> Iterator[tuple[IntArray, Readings]]:
        """Positions of some customers and their readings, shape (k, H), until all have come."""
        block = self.rows // BLOCK
        edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(self)]
        pairs = [(start, stop) for start, stop in itertools.pairwise(edges) if stop > start]
        for start, stop in tqdm(pairs, desc=progress, leave=False, delay=2, disable=progress is None):
            yield np.arange(start, stop), self._read(np.arange(start, stop))

    def series(self, positions: IntArray) -> FloatArray:
        """Readings of customers in kWh, in the order given, shape (k, H)."""
        found = np.empty((len(positions), len(self.hours)))
        order = np.argsort(positions, kind="stable")
        block = self.rows[positions[order]] // BLOCK
        for part in np.split(order, np.flatnonzero(np.diff(block)) + 1):
            if len(part):
                found[part] = self._read(positions[part])
        return found

    def _read(self, positions: IntArray) -> Readings:
        rows = self.rows[positions]
        start = int(rows.min())
        table = self.source.read(start, int(rows.max()) + 1)
        return table[rows - start, self.offset : self.offset + len(self.hours)]

    def take(self, positions: IntArray, name: str | None = None) -> Meters:
        """These customers alone; their readings stay where they are."""
        kept = np.unique(positions)
        used, segment = np.unique(self.segment[kept], return_inverse=True)
        return replace(
            self,
            name=name or self.name,
            customer_ids=tuple(self.customer_ids[i] for i in kept),
            first=self.first[kept],
            end=self.end[kept],
            segment=segment.astype(np.int64),
            segments=tuple(self.segments[g] for g in used),
            digests=tuple(self.digests[i] for i in kept),
            rows=self.rows[kept],
        )

    def between(self, start: Time, end: Time) -> Meters:
        """The hours from `start` to `end`, the end excluded, and customers with readings in them."""
        rows = rows_between(f"{self.name} hours", self.hours, start, end)
        low, n_hours = int(rows[0]), len(rows)
        first, last = (np.clip(edge - low, 0, n_hours) for edge in (self.first, self.end))
        cut = f":{low}:{n_hours}"
        part = replace(
            self,
            hours=self.hours[rows],
            first=first,
            end=last,
            digests=tuple(hashlib.sha256((own + cut).encode()).hexdigest() for own in self.digests),
            offset=self.offset + low,
        )
        return part.take(np.flatnonzero(last > first))


class InMemory:
    """Readings in an array, shape (C, H)."""

    path = None

    def __init__(self, kwh: Readings) -> None:
        self.kwh = kwh

    def read(self, start: int, stop: int) -> Readings:
        return self.kwh[start:stop]
