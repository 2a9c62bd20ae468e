"""Which customer belongs to which load: meters summed up to `CustomerLoads`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, as_identifiers, require_count, require_distinct, require_positive
from unlearn.data.dataset import FittedConstant, dataset_from_frames
from unlearn.data.lags import Lags
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.text_tables import listed
from unlearn.errors import DataError, InputError
from unlearn.households.customers import CustomerLoads, summed
from unlearn.households.meters import Meters
from unlearn.households.roster import Roster

#: kWh in an hour are kW in the mean.
MW_PER_KW = 1e-3


def customer_loads(
    meters: Meters,
    load_of: Mapping[str, str] | pd.Series,
    weather: Mapping[str, pd.DataFrame | pd.Series] | None = None,
    *,
    mw_per_kwh: float = MW_PER_KW,
    load_names: Sequence[str] | None = None,
    split: SplitSpec = FAIR,
    lags: Lags | Sequence[int] | None = None,
    fitted: Sequence[FittedConstant] = (),
    name: str | None = None,
) -> CustomerLoads:
    """Sum meters up to loads.

    >>> from unlearn.households import hourly_meters, simulate_households
    >>> meters = hourly_meters(simulate_households(30, n_days=30))
    >>> data = customer_loads(meters, spread(meters.customer_ids, 2))
    >>> data.load_mw.shape, data.load_names, len(data.customer_ids)
    ((720, 2), ('bus_1', 'bus_2'), 30)

    Args:
        meters: of `hourly_meters` or `load_meters`.
        load_of: the load of each customer, by the customer's name.
        weather: a table or series per weather variable, at the meters' hours; see `dataset_from_frames`.
        mw_per_kwh: factor of all loads; `scaled_to` sets one for each.
        load_names: names and order of the loads; None sorts them, bus_2 before bus_10.
        split: how to divide the hours.
        lags: loads of earlier hours that become features, such as `[24, 168]`; see `Lags`.
        fitted: constants that your own preprocessing learnt from rows.
        name: for messages and records; None takes that of the meters.

    Raises:
        InputError: a customer without a load or with two, unknown customers or loads.
        DataError: a load without customers in some hour, weather of other hours, or any fault that `LoadDataset`
            refuses.
    """
    require_positive("mw_per_kwh", mw_per_kwh)
    title = name or meters.name
    names, where = _assigned(title, meters, load_of, load_names)
    roster = Roster.of(meters, where, len(names))
    empty = roster.members.sum(axis=2) == 0
    if empty.any():
        hour, b = (int(i) for i in np.argwhere(empty)[0])
        raise DataError(
            f"{title}: expected a customer at each load in each hour, got none at {names[b]} at {meters.hours[hour]}. "
            "Cut the meters with between(), or leave the load out."
        )
    load = pd.DataFrame(roster.known_kwh() * mw_per_kwh, index=meters.hours, columns=list(names))
    tables = {v: own.to_frame() if isinstance(own, pd.Series) else own for v, own in (weather or {}).items()}
    base = dataset_from_frames(load, tables, split=split, name=title, fitted=fitted)
    factor = np.full(len(names), float(mw_per_kwh))
    made = summed(base, base.load_mw, meters=meters, mw_per_kwh=factor, roster=roster)
    return made if lags is None else made.with_lags(lags)


def _assigned(
    title: str, meters: Meters, load_of: Mapping[str, str] | pd.Series, load_names: Sequence[str] | None
) -> tuple[tuple[str, ...], IntArray]:
    """Names of the loads, and the position of each customer's load."""
    if not isinstance(load_of, Mapping | pd.Series):
        raise InputError(f"load_of: expected the load of each customer, by name, got {type(load_of).__name__}.")
    pairs = list(load_of.items())
    customers = as_identifiers("load_of customers", [one for one, _ in pairs])
    places = as_identifiers("load_of loads", [load for _, load in pairs])
    given: dict[str, set[str]] = {}
    for one, load in zip(customers, places, strict=True):
        given.setdefault(one, set()).add(load)
    if twice := sorted(one for one, loads in given.items() if len(loads) > 1):
        raise InputError(
            f"load_of: expected one load for each customer, got {listed(twice)} on two loads. Keep one of them."
        )
    if absent := [one for one in meters.customer_ids if one not in given]:
        raise InputError(
            f"load_of: expected a load for each of the {len(meters)} customers of {title}, got none for "
            f"{listed(absent)}. Give them one, or leave them out with meters.take()."
        )
    meters.positions("load_of", given)
    names = tuple(sorted(set(places), key=_natural)) if load_names is None else tuple(map(str, load_names))
    require_distinct("load_names", names, "load")
    if stray := sorted(set(places) - set(names)):
        raise InputError(f"load_of: expected loads among {listed(names)}, got {listed(stray)}.")
    order = {load: b for b, load in enumerate(names)}
    return names, np.array([order[next(iter(given[one]))] for one in meters.customer_ids], dtype=np.int64)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sorts numbers within names by their size."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name) if part]


def spread(customer_ids: Sequence[str], n_loads: int, seed: int = 0) -> dict[str, str]:
    """Spread customers over loads at random, as evenly as can be: the load of each, `bus_1` to `bus_B`.

    >>> spread(["a", "b", "c", "d"], 2, seed=1)
    {'a': 'bus_1', 'b': 'bus_2', 'c': 'bus_1', 'd': 'bus_2'}
    """
    require_count("n_loads", n_loads)
    if n_loads > len(customer_ids):
        raise InputError(f"n_loads: expected at most the number of customers ({len(customer_ids)}), got {n_loads}.")
    place = np.random.default_rng(seed).permutation(len(customer_ids)) % n_loads
    return {own: f"bus_{b + 1}" for own, b in zip(customer_ids, place.tolist(), strict=True)}
