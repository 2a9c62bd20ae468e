"""Pseudonyms of customers: keyed hashes, under a key of its own for each period, and meters that carry them.

A pseudonym is HMAC-SHA-256 of the customer's name under the key of the period, cut to 128 bits. Names are few, so a
plain hash of one is found by trying all; without the key nobody can try. Keys of different periods are drawn apart from
each other, so a customer's pseudonyms of two periods tell nothing of each other. Once the key of a period is destroyed,
nobody can compute its pseudonyms again; who they are is then in the `IdentityMap` alone, where one is kept.

What a pseudonym does not hide is what stands beside it: the same load curve, class or first and last hour in two
periods links them. `unlearn.attacks` measures how often.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, require_choice, short_repr
from unlearn.errors import DataError, InputError
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.io.meters import save_meters
from unlearn.households.meters import InMemory, Meters
from unlearn.privacy.anonymize.identities import IdentityMap, as_names, checked_period
from unlearn.store import BLANK_SEAL, alone, read_verified, write
from unlearn.store.files import in_words

_MARK = "unlearn pseudonym keys"
_BYTES = 32
#: Bits of a pseudonym, written as hexadecimal digits.
PSEUDONYM_BITS = 128
#: Calendar periods that a release can be cut into, and how pandas calls them.
EVERY = {"W": "W-SUN", "MS": "M", "QS": "Q", "YS": "Y"}
_MEND = "Bring it back from its copy; without it pseudonyms of its periods cannot be computed again."


class PseudonymKeys:
    """Keys of pseudonyms, one of 32 random bytes for each period, in one file of mode 600.

    Keep the file apart from releases, and from identity maps. Once saved or loaded, the object holds no key: each use
    reads the file, so that a key that another process destroyed is gone here, too.

    >>> keys = PseudonymKeys.new(["2013-01", "2013-02"])
    >>> january, february = (pseudonyms_of(["C7"], period, keys) for period in keys.periods)
    >>> len(january[0]), january == february
    (32, False)
    """

    def __init__(self, keys: dict[str, bytes], destroyed: tuple[str, ...] = (), path: Path | None = None) -> None:
        self.path = path
        self._kept = ({}, ()) if path is not None else (keys, destroyed)

    def __repr__(self) -> str:
        return f"PseudonymKeys({'in memory' if self.path is None else self.path}: {len(self.periods)} periods)"

    @classmethod
    def new(cls, periods: Iterable[str] = ()) -> PseudonymKeys:
        """Keys from the operating system's generator, in memory; `save` keeps them."""
        names = [checked_period(own) for own in periods]
        if len(set(names)) < len(names):
            raise InputError("periods: expected each once, got some more than once. Drop repeats.")
        return cls({own: os.urandom(_BYTES) for own in names})

    @property
    def periods(self) -> tuple[str, ...]:
        """Periods that have a key, sorted."""
        return tuple(sorted(self._read()[0]))

    @property
    def destroyed(self) -> tuple[str, ...]:
        """Periods whose key was destroyed, sorted."""
        return tuple(sorted(self._read()[1]))

    def save(self, path: str | Path) -> Path:
        """Write the keys to a new file of mode 600, which later changes are written to as well.

        Raises:
            InputError: there is a file of that name; keys are never replaced.
        """
        path = Path(path)
        keys, destroyed = self._read()
        with alone(path):
            if os.path.lexists(path):
                raise InputError(f"{path}: expected a name that is free for new keys, got a file. Choose another name.")
            _write(path, keys, destroyed)
        self.path, self._kept = path, ({}, ())
        return path

    @classmethod
    def load(cls, path: str | Path) -> PseudonymKeys:
        """Open a file that `save` wrote.

        Raises:
            DataError: no such file, a damaged one, or another; what is in it is not shown.
        """
        keys = cls({}, path=Path(path))
        keys._read()
        return keys

    def rotate(self, period: str) -> None:
        """Draw the key of a new period.

        Raises:
            InputError: the period has a key, or had one that was destroyed.
        """
        period = checked_period(period)

        def drawn(keys: dict[str, bytes], destroyed: tuple[str, ...]) -> tuple[dict[str, bytes], tuple[str, ...]]:
            if period in keys or period in destroyed:
                what = "one that was destroyed" if period in destroyed else "one that has a key"
                raise InputError(f"period: expected a new one, got {period}, {what}. Name another period.")
            return keys | {period: os.urandom(_BYTES)}, destroyed

        self._change(drawn, wipe=False)

    def destroy(self, period: str) -> None:
        """Destroy the key of a period: the file's old bytes are overwritten and synced. Twice is no error.

        What a disk keeps of overwritten blocks, copies of the file, and the memory of processes are beyond it.

        Raises:
            InputError: the period never had a key.
        """
        period = checked_period(period)

        def gone(keys: dict[str, bytes], destroyed: tuple[str, ...]) -> tuple[dict[str, bytes], tuple[str, ...]]:
            if period not in keys and period not in destroyed:
                raise InputError(f"period: expected one that has a key, got {period}. Look at `periods`.")
            rest = {own: key for own, key in keys.items() if own != period}
            return rest, tuple(sorted({*destroyed, period}))

        self._change(gone, wipe=True)

    def complete(self, periods: Iterable[str]) -> None:
        """Draw keys of the periods that have none.

        Raises:
            InputError: the key of one was destroyed.
        """
        for period in sorted({checked_period(own) for own in periods} - set(self.periods)):
            self.rotate(period)

    def tag(self, period: str, names: Iterable[str]) -> tuple[str, ...]:
        """Keyed hash of each name; see `pseudonyms_of`, which checks them."""
        keys, destroyed = self._read()
        if period not in keys:
            what = "whose key was destroyed" if period in destroyed else "that has no key"
            raise InputError(f"period: expected one with a key, got {period}, {what}. Draw a new one: rotate(period).")
        key, digits = keys[period], PSEUDONYM_BITS // 4
        return tuple(hmac.new(key, own.encode(), hashlib.sha256).hexdigest()[:digits] for own in names)

    def _read(self) -> tuple[dict[str, bytes], tuple[str, ...]]:
        return self._kept if self.path is None else _read(self.path)

    def _change(
        self,
        change: Callable[[dict[str, bytes], tuple[str, ...]], tuple[dict[str, bytes], tuple[str, ...]]],
        wipe: bool,
    ) -> None:
        if self.path is None:
            self._kept = change(*self._kept)
            return
        with alone(self.path):
            state = change(*_read(self.path))
            # The new file stands and is synced before the old one, still open, is overwritten: a crash loses no key.
            with in_words(self.path), self.path.open("r+b") as old:
                _write(self.path, *state)
                if wipe:
                    old.write(os.urandom(os.fstat(old.fileno()).st_size))
                    old.flush()
                    os.fsync(old.fileno())


def _write(path: Path, keys: dict[str, bytes], destroyed: tuple[str, ...]) -> None:
    content = {
        "what": _MARK,
        "seal": BLANK_SEAL.decode(),
        "keys": {own: base64.b64encode(key).decode() for own, key in sorted(keys.items())},
        "destroyed": sorted(destroyed),
    }
    write(path, json.dumps(content, indent=1).encode(), confidential=True, sealed=True)
    with in_words(path):
        for name in (path, path.parent):
            with suppress(PermissionError):  # not every system opens folders
                descriptor = os.open(name, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)


def _read(path: Path) -> tuple[dict[str, bytes], tuple[str, ...]]:
    content = read_verified(path, mend=_MEND)
    try:
        found = json.loads(content)
        if found["what"] != _MARK:
            raise ValueError
        keys = {own: base64.b64decode(key, validate=True) for own, key in found["keys"].items()}
        return keys, tuple(found["destroyed"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path}: expected keys of pseudonyms, got another file. Name the right one.") from None


def pseudonyms_of(customer_ids: Iterable[str], period: str, keys: PseudonymKeys) -> tuple[str, ...]:
    """Pseudonyms of customers in a period, in their order: HMAC-SHA-256 (RFC 2104), 128 bits in hexadecimal digits.

    Raises:
        InputError: a name that is no text or stands twice, or a period without a key.
    """
    names = as_names("customer_ids", customer_ids)
    found = keys.tag(checked_period(period), names)
    if len(set(found)) < len(found):
        # Of a million customers, one chance in 10**26.
        raise InputError("customer_ids: two got the same pseudonym. Draw the key of another period: rotate(period).")
    return found


@short_repr
@dataclass(frozen=True, eq=False)
class Pseudonymised:
    """Meters under pseudonyms, and who they are.

    Attributes:
        period: whose key made the pseudonyms.
        released: what may be given away further, customers in the order of their pseudonyms.
        identities: who they are; to be kept apart from it, encrypted: `identities.save(path, key)`.
    """

    period: str
    released: Meters | HouseholdProfiles
    identities: IdentityMap


def pseudonymised(
    source: Meters | HouseholdProfiles, period: str, keys: PseudonymKeys, labels: Iterable[str] = ()
) -> Pseudonymised:
    """Put pseudonyms in the place of customers' names, and customers in the order of their pseudonyms.

    What is released is in memory and holds the readings of `source` alone, not the hours or customers of the file that
    those are a part of.

    >>> from unlearn.households import simulate_households
    >>> profiles = simulate_households(4, n_days=2)
    >>> made = pseudonymised(profiles, "2013", PseudonymKeys.new(["2013"]))
    >>> names = made.released.households["household_id"].tolist()
    >>> names == sorted(names), sorted(made.identities.identify(names)) == sorted(profiles.households["household_id"])
    (True, True)

    Args:
        source: meters or daily profiles.
        period: name of the period, which has a key.
        keys: of the periods.
        labels: columns of `households` of profiles that stay, beside the segment. None stays that is not named, for
            any may name the customer.

    Raises:
        InputError: a period without a key, or labels that are not there.
    """
    return _pseudonymised(source, checked_period(period), keys, tuple(labels))


@singledispatch
def _pseudonymised(source: object, period: str, keys: PseudonymKeys, labels: tuple[str, ...]) -> Pseudonymised:
    raise InputError(f"source: expected Meters or HouseholdProfiles, got {type(source).__name__}.")


@_pseudonymised.register
def _(source: Meters, period: str, keys: PseudonymKeys, labels: tuple[str, ...]) -> Pseudonymised:
    if labels:
        raise InputError("labels: expected none with meters, whose one label is the segment. Leave them out.")
    names = pseudonyms_of(source.customer_ids, period, keys)
    order = np.argsort(np.array(names))
    ordered = replace(
        source,
        customer_ids=tuple(names[i] for i in order),
        first=source.first[order],
        end=source.end[order],
        segment=source.segment[order],
        digests=tuple(source.digests[i] for i in order),
        rows=np.arange(len(order)),
        source=InMemory(source.series(order).astype(np.float32)),
        offset=0,
    )
    return Pseudonymised(period, save_meters(ordered), IdentityMap.of(period, names, source.customer_ids))


@_pseudonymised.register
def _(source: HouseholdProfiles, period: str, keys: PseudonymKeys, labels: tuple[str, ...]) -> Pseudonymised:
    columns = ["household_id", "segment", *labels]
    if missing := sorted(set(columns) - set(source.households)):
        raise InputError(f"labels: expected columns of the households, which have no {', '.join(missing)}.")
    there = np.unique(source.household)
    customers = tuple(source.households["household_id"].iloc[there])
    names = np.array(pseudonyms_of(customers, period, keys), dtype=object)
    order = np.argsort(names)
    table = source.households.iloc[there[order]][columns].assign(household_id=names[order]).reset_index(drop=True)
    who = _ranks(order)[np.searchsorted(there, source.household)]
    rows = np.lexsort((source.date, who))
    part = source.take(rows)
    released = replace(part, household=who[rows], households=table, reading=None)
    return Pseudonymised(period, released, IdentityMap.of(period, tuple(names), customers))


def _ranks(order: IntArray) -> IntArray:
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def pseudonymised_by_period(
    source: Meters | HouseholdProfiles, keys: PseudonymKeys, every: str = "MS", labels: Iterable[str] = ()
) -> Iterator[Pseudonymised]:
    """A release for each calendar period, each with pseudonyms of its own.

    Args:
        source: meters or daily profiles.
        keys: of the periods, named by the day that they begin on, such as 2013-02-01; those that have none are drawn.
        every: "W" (from Monday), "MS" (months), "QS" or "YS"; the first and the last may be incomplete.
        labels: see `pseudonymised`.

    Yields:
        Releases in the order of time, of the customers with readings in them.

    Raises:
        InputError: as `pseudonymised`, or a period whose key was destroyed.
    """
    require_choice("every", every, EVERY)
    times = _times(source)
    begins = pd.DatetimeIndex(times.to_period(EVERY[every]).start_time.unique())
    names = [f"{own:%Y-%m-%d}" for own in begins]
    keys.complete(names)
    ends = begins[1:].append(pd.DatetimeIndex([times[-1] + pd.Timedelta(days=1)]))
    for name, start, end in zip(names, begins, ends, strict=True):
        yield pseudonymised(_cut(source, start, end), name, keys, labels)


@singledispatch
def _times(source: object) -> pd.DatetimeIndex:
    raise InputError(f"source: expected Meters or HouseholdProfiles, got {type(source).__name__}.")


@_times.register
def _(source: Meters) -> pd.DatetimeIndex:
    return source.hours


@_times.register
def _(source: HouseholdProfiles) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(source.days.astype("datetime64[s]"))


@singledispatch
def _cut(source: Meters, start: pd.Timestamp, end: pd.Timestamp) -> Meters | HouseholdProfiles:
    last = source.hours[-1] + pd.Timedelta(hours=1)
    return source.between(max(start, source.hours[0]), min(end, last))


@_cut.register
def _(source: HouseholdProfiles, start: pd.Timestamp, end: pd.Timestamp) -> HouseholdProfiles:
    return source.take((source.date >= start.to_datetime64()) & (source.date < end.to_datetime64()))
