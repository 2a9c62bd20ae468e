"""What a request to forget names, and what it means for a data set."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, require_choice, require_each_once, short_repr
from unlearn.data import LoadDataset
from unlearn.data.hours import parse_time
from unlearn.data.text_tables import listed
from unlearn.errors import InputError
from unlearn.households.customers import CASES, REPLACEMENTS, CustomerLoads
from unlearn.services.base import CUSTOMERS, HOURS, LOADS, Change
from unlearn.services.data import KeptData
from unlearn.services.keys import RegistryKey


@short_repr
@dataclass(frozen=True)
class DeletionRequest:
    """What is to be forgotten: customers, whole loads, or hours.

    - `customers` alone: all readings of these customers; with `hours`, their readings in these hours.
    - `loads` alone: these loads are withdrawn: their targets, their features and their customers go as if they had
      never been there; with `hours`, their measurements in these hours.
    - `hours` alone: all measurements of these hours, such as flagged rows.

    Attributes:
        customers: their names.
        loads: names of loads.
        hours: ranges `(start, end)` of ISO times, the end excluded.
        case: of customers: "leaves", or "objects" to the use of the data while the physical load stays.
        replacement: what fills the gap of objectors, see `CustomerLoads.without`.
        data: name of the data set in the registry; None means all that hold what is named.

    Raises:
        InputError: nothing named, customers together with loads, times that cannot be read, or a repeated name.

    >>> DeletionRequest(customers=("C7",)).subject
    'customers'
    """

    customers: tuple[str, ...] = ()
    loads: tuple[str, ...] = ()
    hours: tuple[tuple[str, str], ...] = ()
    case: str = CASES[0]
    replacement: str | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        for name in ("customers", "loads"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise InputError(f"{name}: expected a list of names, got {given!r}; write [{given!r}].")
            values = tuple(str(own) for own in given)
            require_each_once(name, values, some=False)
            object.__setattr__(self, name, values)
        object.__setattr__(self, "hours", _ranges(self.hours))
        if not (self.customers or self.loads or self.hours):
            raise InputError("request: expected customers, loads or hours to forget, got none of them.")
        if self.customers and self.loads:
            raise InputError(
                "request: expected customers or loads, got both. Make two requests: one for the customers, one for the "
                "loads."
            )
        require_choice("case", self.case, CASES)
        if self.replacement is not None:
            require_choice("replacement", self.replacement, [own for own in REPLACEMENTS if own])
        if not self.customers and (self.case != CASES[0] or self.replacement is not None):
            raise InputError("case: expected none without customers, for loads and hours are removed as a whole.")

    @classmethod
    def flagged(cls, hours: Iterable[Any], loads: Sequence[str] = (), data: str | None = None) -> DeletionRequest:
        """A request for single hours, such as those that a detector has flagged.

        Args:
            hours: their starts.
            loads: names of the loads whose measurements are meant; none means all.
            data: as above.
        """
        times = pd.DatetimeIndex(sorted({parse_time("hours", own) for own in hours}))
        runs = itertools.groupby(enumerate(times), key=lambda own: own[1] - pd.Timedelta(hours=own[0]))
        pairs = []
        for _, run in runs:
            members = [when for _, when in run]
            pairs.append((members[0].isoformat(), (members[-1] + pd.Timedelta(hours=1)).isoformat()))
        return cls(loads=tuple(loads), hours=tuple(pairs), data=data)

    @property
    def subject(self) -> str:
        """What it names: "customers", "loads" (withdrawn as a whole) or "hours"."""
        if self.customers:
            return CUSTOMERS
        return HOURS if self.hours else LOADS

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; the order of names and ranges makes no other request."""
        values = asdict(self)
        return values | {name: sorted(values[name]) for name in ("customers", "loads", "hours")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DeletionRequest:
        return cls(**{**values, "hours": tuple(tuple(own) for own in values["hours"])})

    def hashes(self, key: RegistryKey) -> list[str]:
        """Keyed hashes of what is removed, one for each customer, load or range, sorted."""
        if self.customers:
            return sorted(key.name_of("customer", own, *self.ranges) for own in self.customers)
        if self.loads:
            return sorted(key.name_of("load", own, *self.ranges) for own in self.loads)
        return sorted(key.name_of("hours", own) for own in self.ranges)

    @property
    def ranges(self) -> list[str]:
        """The hours as text, a range each."""
        return [f"{start}/{end}" for start, end in self.hours]

    def rows(self, timestamps: pd.DatetimeIndex) -> IntArray:
        """Rows in the hours that are named; all without hours."""
        if not self.hours:
            return np.arange(len(timestamps), dtype=np.int64)
        asked = np.zeros(len(timestamps), dtype=bool)
        for start, end in self.hours:
            asked |= np.asarray((timestamps >= pd.Timestamp(start)) & (timestamps < pd.Timestamp(end)))
        return np.flatnonzero(asked)

    def in_words(self) -> str:
        """What is asked for, without naming anybody."""
        when = "" if not self.hours else f" in {listed([f'{start} to {end}' for start, end in self.hours])}"
        if self.customers:
            n = len(self.customers)
            return f"{n} customer{'s' * (n > 1)}{when}"
        if self.loads:
            return f"{'measurements of ' if when else ''}{listed(self.loads)}{when}"
        return f"all loads{when}"


def _ranges(hours: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    """Ranges as ISO text, joined where they overlap or touch, in order."""
    if isinstance(hours, str):
        raise InputError(f"hours: expected ranges (start, end), got {hours!r}; write [({hours!r}, end)].")
    pairs = []
    for own in hours:
        if isinstance(own, str) or len(own) != 2:
            raise InputError(f"hours: expected ranges (start, end) of times, got {own!r}.")
        start, end = (parse_time("hours", one) for one in own)
        if start >= end:
            raise InputError(f"hours: expected a start before the end, which is excluded, got {start} and {end}.")
        pairs.append((start, end))
    joined: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    for start, end in sorted(pairs):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return tuple((start.isoformat(), end.isoformat()) for start, end in joined)


def holds(request: DeletionRequest, dataset: LoadDataset) -> bool:
    """Whether anything that a request names is in a data set."""
    if request.customers:
        there = isinstance(dataset, CustomerLoads) and set(request.customers) & set(dataset.customer_ids)
        return bool(there) and bool(len(request.rows(dataset.meters.hours)))  # type: ignore[attr-defined]
    known = not request.loads or bool(set(request.loads) & set(dataset.load_names))
    return known and bool(len(request.rows(dataset.timestamps)))


def changed(request: DeletionRequest, kept: KeptData) -> tuple[Change, KeptData]:
    """What a request changes in a data set.

    Returns:
        The change, and the data set to keep in place of the one before.

    Raises:
        InputError: what the data set does not hold, or what would leave nothing.
    """
    before = kept.dataset
    if request.customers:
        change, after, marks = _without_customers(request, kept)
    elif request.subject == LOADS:
        require_known("loads", request.loads, before.load_names, before.name)
        left = [b for b, name in enumerate(before.load_names) if name not in request.loads]
        after, marks = before.without_loads(request.loads), kept.left_out[:, left]
        members: tuple[str, ...] = ()
        if isinstance(before, CustomerLoads) and isinstance(after, CustomerLoads):
            members = tuple(sorted(set(before.customer_ids) - set(after.customer_ids)))
        change = {"customers": members, "loads": request.loads}
    else:
        after, marks, change = _without_hours(request, kept)
    now = kept.with_dataset(after, marks)
    rows = request.rows(before.timestamps)
    return Change(request.subject, before, now.dataset, rows=rows, left_out=now.left_out, **change), now


def _without_customers(request: DeletionRequest, kept: KeptData) -> tuple[dict[str, Any], LoadDataset, np.ndarray]:
    before = kept.dataset
    if not isinstance(before, CustomerLoads):
        raise InputError(f"customers: expected data of customers, got {before.name}, which holds loads alone.")
    require_known("customers", request.customers, before.customer_ids, before.name)
    every = before.meters.hours
    hours = every[request.rows(every)] if request.hours else None
    after = before.without(request.customers, request.case, hours, request.replacement).purged()
    own = {
        "customers": request.customers,
        "case": request.case,
        "replacement": request.replacement,
        "whole": not request.hours,
        "hours": hours,
    }
    return own, after, kept.left_out


def _without_hours(request: DeletionRequest, kept: KeptData) -> tuple[LoadDataset, np.ndarray, dict[str, Any]]:
    before = kept.dataset
    require_known("loads", request.loads, before.load_names, before.name)
    rows = request.rows(before.timestamps)
    if not len(rows):
        first, last = before.timestamps[0], before.timestamps[-1]
        raise InputError(f"hours: expected some of {before.name}, which runs from {first} to {last}, got none of them.")
    n_before = len(before.history_mw)
    history = before.timestamps[0] - pd.to_timedelta(np.arange(n_before, 0, -1), unit="h")
    if n_before and len(early := request.rows(pd.DatetimeIndex(history))):
        raise InputError(
            f"hours: expected hours from {before.timestamps[0]} on, the first row of {before.name}, got {len(early)} "
            "before it, whose loads stand in the lags of the first rows alone and cannot be taken out of them. Ask for "
            "the hours from the first row on, and register data that begins later to be rid of those before."
        )
    _refuse_history(request, before)
    loads = request.loads or None
    asked = np.zeros(before.load_mw.shape, dtype=bool)
    columns = [b for b, name in enumerate(before.load_names) if loads is None or name in loads]
    asked[np.ix_(rows, np.array(columns))] = True
    if not (asked & ~kept.left_out).any():
        raise InputError("hours: all measurements that are asked for were forgotten before; nothing of them is left.")
    return before.blanked(rows, loads), kept.left_out | asked, {"loads": loads}


def _refuse_history(request: DeletionRequest, before: LoadDataset) -> None:
    """Refuse hours before the first row: their loads stand in lags, from which they cannot be taken in place."""
    n, first = len(before.history_mw), before.timestamps[0]
    history = first - pd.to_timedelta(np.arange(n, 0, -1), unit="h")
    if len(rows := request.rows(history)):
        raise InputError(
            f"hours: expected hours from {first} on, got {len(rows)} before, of which {before.name} has lags alone: "
            "they cannot be taken out. Ask for the hours from there on, or for customers, or build the data anew."
        )


def require_known(what: str, asked: Sequence[str], known: Iterable[str], where: str) -> None:
    """Refuse names that are not there, naming those that were asked for and no other."""
    there = set(known)
    if absent := [own for own in asked if own not in there]:
        raise InputError(
            f"{what}: expected names that are in {where}, got {len(absent)} that {'is' if len(absent) == 1 else 'are'} "
            f"not: {listed(absent)}. Names must be alike to the letter."
        )
