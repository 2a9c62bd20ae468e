"""Meters and daily profiles under pseudonyms, in one release or in one for each week, month or year.

Customers stand in the order of their pseudonyms, so that the order of rows tells nothing of the order in the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, require_choice, short_repr
from unlearn.errors import InputError
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.io.meters import save_meters
from unlearn.households.meters import InMemory, Meters
from unlearn.privacy.anonymize.identities import IdentityMap, checked_period
from unlearn.privacy.anonymize.pseudonyms import PseudonymKeys, pseudonyms_of

#: Calendar periods that a release can be cut into, and how pandas calls them.
EVERY = {"W": "W-SUN", "MS": "M", "QS": "Q", "YS": "Y"}


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
    raise _other(source)


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
    if not len(times):
        raise InputError("source: expected at least one day, got none.")
    begins = pd.DatetimeIndex(times.to_period(EVERY[every]).start_time.unique())
    names = [f"{own:%Y-%m-%d}" for own in begins]
    keys.complete(names)
    ends = begins[1:].append(pd.DatetimeIndex([times[-1] + pd.Timedelta(days=1)]))
    for name, start, end in zip(names, begins, ends, strict=True):
        if len(part := _cut(source, start, end)):
            yield pseudonymised(part, name, keys, labels)


def _other(source: object) -> InputError:
    return InputError(f"source: expected Meters or HouseholdProfiles, got {type(source).__name__}.")


@singledispatch
def _times(source: object) -> pd.DatetimeIndex:
    raise _other(source)


@_times.register
def _(source: Meters) -> pd.DatetimeIndex:
    return source.hours


@_times.register
def _(source: HouseholdProfiles) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(source.days.astype("datetime64[s]"))


@singledispatch
def _cut(source: object, start: pd.Timestamp, end: pd.Timestamp) -> Meters | HouseholdProfiles:
    raise _other(source)


@_cut.register
def _(source: Meters, start: pd.Timestamp, end: pd.Timestamp) -> Meters:
    last = source.hours[-1] + pd.Timedelta(hours=1)
    return source.between(max(start, source.hours[0]), min(end, last))


@_cut.register
def _(source: HouseholdProfiles, start: pd.Timestamp, end: pd.Timestamp) -> HouseholdProfiles:
    return source.take((source.date >= start.to_datetime64()) & (source.date < end.to_datetime64()))
