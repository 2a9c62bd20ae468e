"""Sums of meters over groups of customers and over time, of which those that tell of few customers are withheld."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.checks import BoolArray, FloatArray, IntArray, as_identifiers, short_repr
from unlearn.data.text_tables import listed
from unlearn.errors import InputError, said
from unlearn.households.meters import Meters
from unlearn.linalg.row_space import Dependencies
from unlearn.privacy.anonymize.suppression import (
    DOMINANCE,
    PUBLISHED,
    REASONS,
    AggregationRule,
    KeptError,
    Parts,
    Reasons,
    part_of_each,
    suppressed_parts,
)

log = logging.getLogger(__name__)


@short_repr
@dataclass(frozen=True, eq=False)
class Aggregated:
    """Sums over groups of customers in T intervals. What may be released is `released()`, not the object.

    Attributes:
        name: of the meters.
        groups: names of the G sums.
        times: starts of the intervals, T.
        kwh: the sums, NaN where they are withheld, shape (G, T); published ones have no rounding error.
        reasons: position in `REASONS` of each, shape (G, T).
        customers: of each group, shape (G,). Of a small group that is a secret, too.
        member: which customer is in which group, shape (G, C).
        customer_ids: C names.
        first: interval of each customer's first reading, shape (C,).
        end: interval after its last one, shape (C,).
        rule: what a group must satisfy.
        withheld_kwh: energy of the sums that are withheld, of each group, shape (G,).
    """

    name: str
    groups: tuple[str, ...]
    times: pd.DatetimeIndex
    kwh: FloatArray
    reasons: Reasons
    customers: IntArray
    member: BoolArray
    customer_ids: tuple[str, ...]
    first: IntArray
    end: IntArray
    rule: AggregationRule
    withheld_kwh: FloatArray

    def _in_short(self) -> str:
        share = (self.reasons == PUBLISHED).mean()
        return f"{self.name}: {len(self.groups)} sums in {len(self.times)} intervals, {share:.0%} published"

    @property
    def present(self) -> BoolArray:
        """Which customer has readings in which interval, shape (C, T)."""
        interval = np.arange(len(self.times))
        return (interval >= self.first[:, None]) & (interval < self.end[:, None])

    def released(self) -> pd.DataFrame:
        """What is published: `time`, `group`, `kwh`; nothing of sums that are withheld."""
        group, interval = np.nonzero(self.reasons == PUBLISHED)
        columns = {
            "time": self.times[interval],
            "group": np.array(self.groups, dtype=object)[group],
            "kwh": self.kwh[group, interval],
        }
        return pd.DataFrame(columns)

    def withheld(self) -> pd.DataFrame:
        """For whoever keeps the meters: a row per group.

        Returns:
            `group`, `customers`, the share of its intervals that are "published", "too few", "dominated" and
            "complementary", and the `kwh` that are withheld.
        """
        shares = {name or "published": (self.reasons == i).mean(axis=1) for i, name in enumerate(REASONS)}
        return pd.DataFrame({"group": self.groups, "customers": self.customers, **shares, "kwh": self.withheld_kwh})


def aggregate(
    meters: Meters,
    groups: Mapping[str, str] | pd.Series | pd.DataFrame,
    every: str = "h",
    rule: AggregationRule | None = None,
    *,
    parents: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
) -> Aggregated:
    """Sum meters over groups of customers and intervals, and withhold what tells of few of them.

    Sums of all groups are checked together, also where they overlap, as feeders and classes of customers do.

    >>> from unlearn.households import hourly_meters, simulate_households
    >>> meters = hourly_meters(simulate_households(60, n_days=30))
    >>> feeder = {own: f"feeder {1 + i // 29}" for i, own in enumerate(meters.customer_ids)}
    >>> area = {f"feeder {i}": "area" for i in (1, 2, 3)}
    >>> found = aggregate(meters, feeder, "D", parents=area)
    >>> found.groups
    ('feeder 1', 'feeder 2', 'feeder 3', 'area')
    >>> [REASONS[why] for why in found.reasons[:, 0]][2:]
    ['too few', '']

    Args:
        meters: of `hourly_meters` or `load_meters`.
        groups: the group of each customer, by name; or a table with a row per customer and a column for each way to
            group them. A missing value is in no group.
        every: length of the intervals, such as "h", "D" or "MS", in the offsets of pandas. Intervals at the ends that
            have not all hours are left out.
        rule: when a sum is published; None is the 15/15 rule, and what it takes to keep it.
        parents: the larger group that a group is part of, by name, such as the substation of a feeder, and the area of
            a substation.
        keep: names of sums that must be published in all intervals; others are withheld instead.

    Raises:
        InputError: customers without a group or unknown, groups that are part of themselves, intervals that are no
            whole hours, or sums in `keep` that cannot be published.
    """
    rule = rule or AggregationRule()
    names, member = _groups(meters, groups, parents or {})
    if unknown := [own for own in keep if own not in names]:
        raise InputError(f"keep: expected names of groups such as {listed(names[:3])}, got {listed(unknown)}.")
    intervals = _intervals(meters, every)
    columns, part = part_of_each(member)
    first = np.searchsorted(intervals.edges, meters.first, side="right") - 1
    end = np.searchsorted(intervals.edges, meters.end, side="left")
    first, end = (np.clip(own, 0, len(intervals.starts)).astype(np.int64) for own in (first, end))
    sums = _sums(meters, intervals, part, columns.shape[1], first, end)
    kept = np.isin(names, list(keep))
    try:
        reasons = _reasons(columns, sums, rule, kept)
    except KeptError as error:
        raise InputError(
            f"{error} These are {listed(keep)}. Leave some out of keep, or take larger groups or longer intervals."
        ) from None
    kwh = columns.astype(np.float64) @ sums.energy
    hidden = reasons != PUBLISHED
    return Aggregated(
        name=meters.name,
        groups=names,
        times=intervals.starts,
        kwh=np.where(hidden, np.nan, kwh),
        reasons=reasons,
        customers=(member & (end > first)).sum(axis=1).astype(np.int64),
        member=member,
        customer_ids=meters.customer_ids,
        first=first,
        end=end,
        rule=rule,
        withheld_kwh=np.where(hidden, kwh, 0.0).sum(axis=1),
    )


def _groups(
    meters: Meters, groups: Mapping[str, str] | pd.Series | pd.DataFrame, parents: Mapping[str, str]
) -> tuple[tuple[str, ...], BoolArray]:
    """Names of the groups, and which customer is in which, shape (G, C)."""
    if isinstance(groups, pd.DataFrame):
        table = groups
    elif isinstance(groups, Mapping | pd.Series):
        table = pd.Series(groups, dtype=object).to_frame()
    else:
        raise InputError(f"groups: expected the group of each customer, by name, got {type(groups).__name__}.")
    given = as_identifiers("groups customers", table.index)
    where = meters.positions("groups", given)
    if len(where) < len(meters):
        raise InputError(
            f"groups: expected a group for each of the {len(meters)} customers of {meters.name}, got some without. "
            "Give them one, or None for none, or leave them out with meters.take()."
        )
    members: dict[str, BoolArray] = {}
    for _, column in table.items():
        there = column.notna().to_numpy()
        labels = np.array(as_identifiers("groups labels", column[there]), dtype=object)
        if shared := sorted(set(labels) & set(members)):
            raise InputError(f"groups: expected other names in each column, got {listed(shared)} in two. Rename them.")
        for label in dict.fromkeys(sorted(labels, key=lambda own: (len(own), own))):
            members[label] = np.zeros(len(meters), dtype=bool)
            members[label][where[there][labels == label]] = True
    if not members:
        raise InputError("groups: expected at least one group, got none.")
    for label, own in list(members.items()):
        for parent in _above(label, parents):
            members[parent] = members.get(parent, False) | own
    if stray := [own for own in parents if own not in members]:
        raise InputError(f"parents: expected groups such as {listed(list(members)[:3])}, got {listed(stray)}.")
    return tuple(members), np.array(list(members.values()))


def _above(label: str, parents: Mapping[str, str]) -> list[str]:
    """Larger groups that a group is part of, the smallest first."""
    found: list[str] = []
    while label in parents:
        label = str(parents[label])
        if label in found or len(found) > len(parents):
            raise InputError(f"parents: expected groups that are not part of themselves, got {label!r}, which is.")
        found.append(label)
    return found


class _Intervals(NamedTuple):
    """Starts of T whole intervals, the position of the hour at which each begins, and of the end, (T + 1,)."""

    starts: pd.DatetimeIndex
    edges: IntArray


def _intervals(meters: Meters, every: str) -> _Intervals:
    hours = meters.hours
    try:
        step = pd.tseries.frequencies.to_offset(every)
        count = pd.Series(1, index=hours).resample(every, closed="left", label="left").sum()
        starts = pd.DatetimeIndex(count.index)
        after = starts[1:].append(pd.DatetimeIndex([starts[-1] + step]))
    except (ValueError, TypeError) as error:
        raise InputError(f"every: expected a length such as 'h', 'D' or 'MS', got {every!r} ({said(error)}).") from None
    due = (after.to_numpy() - starts.to_numpy()) / np.timedelta64(1, "h")
    if (count == 0).any() or (due % 1).any():
        raise InputError(f"every: expected whole hours such as 'h', 'D' or 'MS', got {every!r}.")
    whole = np.flatnonzero(count.to_numpy() == due)
    if not len(whole):
        raise InputError(f"every: expected an interval with all of its hours, got none of length {every!r}.")
    if len(whole) < len(count):
        log.info("%s: %d intervals at the ends are left out, for some of their hours are not there", meters.name,
                 len(count) - len(whole))  # fmt: skip
    edges = np.r_[0, np.cumsum(count.to_numpy())].astype(np.int64)
    return _Intervals(pd.DatetimeIndex(count.index[whole]), edges[whole[0] : whole[-1] + 2])


class _Sums(NamedTuple):
    """Of each part and interval, shape (A, T): number of customers, kWh, kWh of the largest customer; and in all."""

    customers: IntArray
    energy: FloatArray
    largest: FloatArray
    largest_in_all: FloatArray


def _sums(meters: Meters, intervals: _Intervals, part: IntArray, n_parts: int, first: IntArray, end: IntArray) -> _Sums:
    shape = n_parts, len(intervals.starts)
    energy, largest, in_all = np.zeros(shape), np.zeros(shape), np.zeros(n_parts)
    low, high = int(intervals.edges[0]), int(intervals.edges[-1])
    for where, kwh in meters.blocks("sums"):
        inside = np.flatnonzero(part[where] >= 0)
        if not len(inside):
            continue
        order = inside[np.argsort(part[where][inside], kind="stable")]
        own = np.add.reduceat(kwh[order, low:high].astype(np.float64), intervals.edges[:-1] - low, axis=1)
        parts, start = np.unique(part[where][order], return_index=True)
        energy[parts] += np.add.reduceat(own, start, axis=0)
        largest[parts] = np.maximum(largest[parts], np.maximum.reduceat(own, start, axis=0))
        in_all[parts] = np.maximum(in_all[parts], np.maximum.reduceat(own.sum(axis=1), start))
    change = np.zeros((n_parts, shape[1] + 1), dtype=np.int64)
    there = (part >= 0) & (end > first)
    np.add.at(change, (part[there], first[there]), 1)
    np.add.at(change, (part[there], end[there]), -1)
    return _Sums(np.cumsum(change[:, :-1], axis=1), energy, largest, in_all)


def _reasons(columns: BoolArray, sums: _Sums, rule: AggregationRule, kept: BoolArray) -> Reasons:
    """Why which sum is withheld in which interval, shape (G, T); intervals alike are decided once."""
    in_all = sums.energy.sum(axis=1)
    cost = columns @ in_all if rule.cost == "energy" else None
    found = np.zeros((len(columns), sums.energy.shape[1]), dtype=np.int8)
    decided: dict[bytes, Reasons] = {}
    known = Dependencies()
    by_interval = rule.dominance == DOMINANCE[1] and rule.largest_share < 1
    for t in tqdm(range(found.shape[1]), desc="suppression", leave=False, delay=2):
        own = (sums.energy[:, t], sums.largest[:, t]) if by_interval else (in_all, sums.largest_in_all)
        key = sums.customers[:, t].tobytes() + (own[0].tobytes() + own[1].tobytes() if by_interval else b"")
        if key not in decided:
            decided[key] = suppressed_parts(Parts(columns, sums.customers[:, t], *own), rule, kept, cost, known)
        found[:, t] = decided[key]
    return found
