"""What of customers' readings a model may learn: whole days, or hourly series, of those who are in the loads.

An hour counts where the customer is in the loads, in rows that are asked for, and where nothing was removed from the
load. Hours whose measurements a request removed stand as 0 in the meters, which cannot be told from a reading of 0:
whoever learns from them has to know which these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, FloatArray, IntArray, require_shape
from unlearn.data.dataset import LoadDataset
from unlearn.data.hours import hour_ranges
from unlearn.errors import InputError
from unlearn.households.buildings import BuildingSeries
from unlearn.households.by_household import HouseholdProfiles, household_profiles
from unlearn.households.customers import CustomerLoads
from unlearn.households.roster import PRESENT, alive
from unlearn.services.base import HOURS, Change

_HOURS_OF_DAY = 24

#: First and last hour, as ISO text, of each run of hours whose measurements were removed, by load.
Ranges = Mapping[str, list[list[str]]]


def require_customers(dataset: LoadDataset) -> CustomerLoads:
    """Return a data set that knows its customers.

    Raises:
        InputError: another one.
    """
    if not isinstance(dataset, CustomerLoads):
        raise InputError(
            f"dataset: expected CustomerLoads, whose customers are learnt from one by one, got "
            f"{type(dataset).__name__}. Build them with customer_loads."
        )
    return dataset


def ranges_of(dataset: LoadDataset, left_out: BoolArray) -> dict[str, list[list[str]]]:
    """Hours that are left out, shape (N, B), as a file keeps them; see `left_out_in`."""
    found = {own: hour_ranges(dataset.timestamps, np.flatnonzero(left_out[:, b])) for b, own in _loads(dataset)}
    return {own: ranges for own, ranges in found.items() if ranges}


def left_out_in(dataset: LoadDataset, ranges: Ranges) -> BoolArray:
    """Hours of each load that are left out, shape (N, B); loads that the data set no longer has count for nothing.

    >>> import unlearn
    >>> data = unlearn.load_dataset("synthetic", n_hours=48, n_loads=2)
    >>> mask = np.zeros((48, 2), dtype=bool)
    >>> mask[3:7, 1] = True
    >>> bool((left_out_in(data, ranges_of(data, mask)) == mask).all())
    True
    """
    mask = np.zeros((len(dataset.timestamps), dataset.n_loads), dtype=bool)
    for b, own in _loads(dataset):
        for first, last in ranges.get(own, ()):
            mask[:, b] |= (dataset.timestamps >= pd.Timestamp(first)) & (dataset.timestamps <= pd.Timestamp(last))
    return mask


def _loads(dataset: LoadDataset) -> Iterator[tuple[int, str]]:
    return enumerate(dataset.load_names)


def daily_profiles(dataset: CustomerLoads, rows: IntArray, left_out: BoolArray | None = None) -> HouseholdProfiles:
    """Days of customers in steps of an hour, those alone of which all 24 hours may be learnt.

    >>> import unlearn
    >>> from unlearn.households import simulate_households, spread
    >>> meters = unlearn.hourly_meters(simulate_households(30, n_days=30))
    >>> data = unlearn.customer_loads(meters, spread(meters.customer_ids, 2))
    >>> profiles = daily_profiles(data, data.split.train)
    >>> profiles.n_households, profiles.n_steps, len(profiles.days)
    (30, 24, 21)

    Args:
        dataset: loads that know their customers.
        rows: that may be looked at, such as `dataset.split.train`.
        left_out: hours of each load whose measurements were removed, shape (N, B); None: there are none.

    Returns:
        Profiles of the customers that have such days, and of no others; their segments are those of these customers.
    """
    midnights = np.flatnonzero(dataset.timestamps.hour == 0)
    start = int(midnights[0]) if len(midnights) else len(dataset.timestamps)
    n_days = (len(dataset.timestamps) - start) // _HOURS_OF_DAY
    span = slice(start, start + n_days * _HOURS_OF_DAY)
    date = dataset.timestamps[span][::_HOURS_OF_DAY].to_numpy().astype("datetime64[D]")
    customers: list[int] = []
    kwh, household, dates = [np.zeros((0, _HOURS_OF_DAY))], [np.zeros(0, dtype=np.int64)], [date[:0]]
    for where, energy, there in _known(dataset, rows, left_out):
        whole = np.asarray(there[:, span].reshape(len(where), n_days, _HOURS_OF_DAY).all(axis=2))
        has_days = np.flatnonzero(whole.any(axis=1))
        own, day = np.nonzero(whole[has_days])
        kwh.append(energy[has_days, span].reshape(len(has_days), n_days, _HOURS_OF_DAY)[own, day])
        household.append(own + len(customers))
        dates.append(date[day])
        customers += where[has_days].tolist()
    meters = dataset.meters
    table = pd.DataFrame(
        {
            "household_id": np.array([meters.customer_ids[i] for i in customers], dtype=object),
            "segment": np.array([meters.segments[meters.segment[i]] for i in customers], dtype=object),
        }
    )
    days = np.concatenate(kwh).astype(np.float32)
    return household_profiles(dataset.name, days, np.concatenate(household), np.concatenate(dates), table)


def of_customers(profiles: HouseholdProfiles, chosen: BoolArray | IntArray) -> HouseholdProfiles:
    """Profiles of some households, by position; segments that only others had are gone with them."""
    part = profiles.of_households(np.flatnonzero(chosen) if chosen.dtype == bool else chosen)
    return household_profiles(part.name, part.kwh, part.household, part.date, part.households)


def hourly_series(dataset: CustomerLoads, rows: IntArray, left_out: BoolArray | None = None) -> BuildingSeries:
    """Hourly readings of customers over all rows, NaN where they may not be learnt.

    Args:
        dataset: loads that know their customers.
        rows: that may be looked at; the readings of all others are NaN.
        left_out: as in `daily_profiles`.

    Returns:
        A building per customer with at least one reading in these rows.
    """
    customers: list[int] = []
    found: list[FloatArray] = [np.zeros((0, len(dataset.timestamps)))]
    for where, energy, there in _known(dataset, rows, left_out):
        kept = there.any(axis=1)
        found.append(np.where(there, energy, np.nan)[kept])
        customers += where[kept].tolist()
    names = tuple(dataset.meters.customer_ids[i] for i in customers)
    hours = dataset.timestamps.to_numpy().astype("datetime64[h]")
    return BuildingSeries(dataset.name, names, hours, np.concatenate(found))


def _known(
    dataset: CustomerLoads, rows: IntArray, left_out: BoolArray | None
) -> Iterator[tuple[IntArray, FloatArray, BoolArray]]:
    """Positions of some customers, their readings, and which of them may be learnt, (k, N), until all came."""
    n_rows, roster = len(dataset.timestamps), dataset.roster
    asked = np.zeros((n_rows, dataset.n_loads), dtype=bool)
    asked[rows] = True
    if left_out is not None:
        require_shape("left_out", left_out, asked.shape)
        asked &= ~left_out
    for where, kwh in dataset.meters.blocks("readings"):
        there = alive(dataset.meters, where) & (roster.states_of(dataset.meters, where) == PRESENT)
        own = slice(dataset.n_history, None)
        yield where, kwh[:, own].astype(np.float64), there[:, own] & asked[:, roster.load_of[where]].T


def hours_removed(change: Change) -> BoolArray:
    """Hours of each load of `change.after` whose measurements a request of hours removes, shape (N, B)."""
    before, after, loads = change.before, change.after, change.loads
    hit = after.timestamps.isin(before.timestamps[change.rows]) & (change.subject == HOURS)
    concerned = np.array([loads is None or own in loads for own in after.load_names])
    return np.asarray(hit[:, None] & concerned)
