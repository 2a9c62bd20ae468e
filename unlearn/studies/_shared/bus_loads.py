"""Households aggregated to hourly bus loads: is released data good enough to run a grid on?

Forecasters are trained on it, tested on real bus loads, and priced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from unlearn.checks import FloatArray, require_choice, require_count, short_repr
from unlearn.data import FittedConstant, LoadDataset, Split, dataset_from_frames
from unlearn.data.times import DateArray, days_since_monday
from unlearn.errors import InputError
from unlearn.forecasters import FORECASTERS, TrainingOptions, fit_linear, fit_network
from unlearn.grid import OperatingCost
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.profiles import DailyProfiles
from unlearn.households.released import drawn_load_kwh
from unlearn.studies._shared.study import METRICS, measure_forecast, sample_hours

#: Days that pass before every hour has the load of a week before.
LAG_DAYS = 7


@short_repr
@dataclass(frozen=True, eq=False)
class BusPlan:
    """Which customers a bus has: the same mix of segments for every source, so that only the profiles differ.

    Attributes:
        segment: name of the segment of each customer of each bus, shape (B, M).
        days: consecutive days, shape (D,).
        training: which days forecasters may train on, shape (D,); the others are tested on.
    """

    segment: NDArray[np.str_]
    days: DateArray
    training: NDArray[np.bool_]

    @property
    def n_buses(self) -> int:
        return len(self.segment)

    @property
    def n_customers(self) -> int:
        """Customers of a bus, M."""
        return self.segment.shape[1]


def training_days(days: DateArray, test_every: int = 4) -> NDArray[np.bool_]:
    """Leave out every `test_every`-th week as a whole, counted in calendar weeks from Monday.

    All seasons are then trained and tested on. Weeks do not depend on where the data begin.

    Raises:
        InputError: `test_every` below 2.
    """
    if test_every < 2:
        raise InputError(f"test_every: expected at least 2 (every second week is tested on), got {test_every}.")
    return days_since_monday(np.asarray(days)) // 7 % test_every != 0


def plan_buses(
    households: HouseholdProfiles, n_buses: int, n_customers: int, test_every: int = 4, seed: int = 0
) -> BusPlan:
    """Draw the customers of each bus; buses differ in their mix of segments, as parts of a town do.

    Args:
        households: training households, whose segments and days are used.
        n_buses: B.
        n_customers: customers of each bus, M.
        test_every: every so many weeks, one is tested on.
        seed: of the mixes.

    Raises:
        InputError: a number below 1, or fewer than two weeks of days.
    """
    for name, value in (("n_buses", n_buses), ("n_customers", n_customers)):
        require_count(name, value)
    first, last = households.days[[0, -1]] if len(households) else (0, 0)
    days = np.arange(first, last + np.timedelta64(1, "D"))
    training = training_days(days, test_every)
    if len(days) <= LAG_DAYS or not training[LAG_DAYS:].any() or training[LAG_DAYS:].all():
        raise InputError(
            f"{households.name}: expected more days than {LAG_DAYS}, some to train and some to test on with "
            f"test_every={test_every}; got {len(days)} days."
        )
    random = np.random.default_rng(seed)
    names, counts = np.unique(households.households["segment"].astype(str), return_counts=True)
    # As many parts as there are segments: a part of town leans towards its segments but has them all.
    mixes = random.dirichlet(4.0 * len(names) * counts / counts.sum(), size=n_buses)
    segment = np.stack([random.choice(names, size=n_customers, p=mix) for mix in mixes])
    return BusPlan(segment, days, training)


def household_load_kwh(plan: BusPlan, households: HouseholdProfiles, seed: int = 0) -> FloatArray:
    """Hourly energy of each bus when its customers are real households, each itself all year, shape (D, B, 24).

    Customers are drawn with replacement from the households of their segment. A day that a household lacks takes
    the mean of the bus's other customers on that day.

    Raises:
        InputError: a day on which a bus has no customer with data.
    """
    hourly = households.to_hourly()
    random = np.random.default_rng(seed)
    members = households.households["segment"].astype(str).to_numpy()
    customer = np.empty(plan.segment.shape, dtype=np.int64)
    for name in np.unique(plan.segment):
        pool = np.flatnonzero(members == name)
        wanted = plan.segment == name
        customer[wanted] = random.choice(pool if len(pool) else len(members), size=int(wanted.sum()))
    row = np.full((households.n_households, len(plan.days)), -1)
    day = (households.date - plan.days[0]).astype(np.int64)
    inside = (day >= 0) & (day < len(plan.days))
    row[households.household[inside], day[inside]] = np.flatnonzero(inside)
    load = np.empty((len(plan.days), plan.n_buses, 24))
    for bus in range(plan.n_buses):
        rows = row[customer[bus]].T
        known = rows >= 0
        if not known.any(axis=1).all():
            empty = plan.days[int(np.flatnonzero(~known.any(axis=1))[0])]
            raise InputError(
                f"{households.name}: no customer of bus {bus + 1} has data on {empty}. Use more households, or days "
                "without such a gap."
            )
        energy = np.where(known[..., None], hourly.kwh[rows], 0.0).sum(axis=1, dtype=np.float64)
        load[:, bus] = energy * (plan.n_customers / known.sum(axis=1))[:, None]
    return load


def release_load_kwh(plan: BusPlan, release: DailyProfiles, seed: int = 0) -> FloatArray:
    """Hourly energy of each bus when only a release is at hand, shape (D, B, 24); see `drawn_load_kwh`."""
    return drawn_load_kwh(plan.segment, plan.days, release, np.random.default_rng(seed))


def bus_dataset(
    name: str, plan: BusPlan, load_kwh: FloatArray, factor: FloatArray, base_mva: float, seed: int = 0
) -> LoadDataset:
    """Hourly bus loads as a data set: calendar, season, and the loads of a day and of a week before.

    Args:
        name: source, for records.
        plan: days and their division.
        load_kwh: energy per hour, which is mean power in kW, shape (D, B, 24).
        factor: MW per kW of each bus, shape (B,); learnt from real training days and the same for every source.
        base_mva: power base of the grid.
        seed: of the networks' core.

    Returns:
        24 (D − 7) hours; the split's training rows are those of training days, a random 30 % of them core, the test
        rows those of the others.
    """
    load_mw = load_kwh.transpose(0, 2, 1).reshape(-1, plan.n_buses) * factor
    hours = pd.date_range(pd.Timestamp(plan.days[0]), periods=len(load_mw), freq="h")
    columns = [f"bus_{bus + 1}" for bus in range(plan.n_buses)]
    year = 2 * np.pi * hours.day_of_year.to_numpy() / 365.25
    kept = slice(24 * LAG_DAYS, None)

    def table(values: FloatArray) -> pd.DataFrame:
        spread = np.broadcast_to(values.reshape(len(hours), -1), load_mw.shape)
        return pd.DataFrame(spread, hours, columns).iloc[kept]

    features = {
        "season_sin": table(np.sin(year)),
        "season_cos": table(np.cos(year)),
        "load_day_before_mw": table(np.roll(load_mw, 24, axis=0)),
        "load_week_before_mw": table(np.roll(load_mw, 24 * LAG_DAYS, axis=0)),
    }
    dataset = dataset_from_frames(table(load_mw), features, name=name)
    training = np.repeat(plan.training[LAG_DAYS:], 24)
    rows = np.flatnonzero(training)
    core = np.sort(np.random.default_rng(seed).permutation(rows)[: max(1, int(0.3 * len(rows)))])
    split = Split(
        train=rows,
        validation=np.empty(0, dtype=np.int64),
        test=np.flatnonzero(~training),
        core=core,
        sensitive=np.setdiff1d(rows, core),
    )
    constant = FittedConstant(
        "load scale", "train", "factor per bus that puts the real training maximum at its nominal load"
    )
    return replace(dataset, split=split, base_mva=base_mva, fitted=(constant,))


#: Forecasts that need no training: the load of a week before, and the truth.
WEEK_BEFORE, PERFECT = "week before", "perfect forecast"

#: What such forecasts are said to be trained on.
NOTHING = "nothing"


def load_scale(plan: BusPlan, train_kwh: FloatArray, cost: OperatingCost) -> FloatArray:
    """MW per kW of each bus that puts the maximum of real training days at its nominal load, shape (B,).

    Raises:
        InputError: a bus without any load on training days.
    """
    largest_kwh = train_kwh[plan.training].max(axis=(0, 2))
    idle = np.flatnonzero(largest_kwh <= 0)
    if idle.size:
        raise InputError(
            f"utility: expected some load on real training days at each bus, got 0 kWh in every hour at bus "
            f"{idle[0] + 1}. Use more customers a bus, or households that use energy."
        )
    return cost.case.nominal_load_mw / largest_kwh


def measure_load_task(
    plan: BusPlan,
    sources_kwh: Mapping[str, FloatArray],
    test_kwh: FloatArray,
    factor: FloatArray,
    cost: OperatingCost,
    forecasters: Sequence[str] = FORECASTERS.names(),
    training: TrainingOptions | None = None,
    hours: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, str, str, float]]:
    """Train each forecaster on each source and measure it on the test days of other households.

    Args:
        plan: buses and days.
        sources_kwh: hourly bus loads to train on, by name, each of shape (D, B, 24).
        test_kwh: real hourly bus loads of households that no source knows, shape (D, B, 24).
        factor: MW per kW of each bus, `load_scale`.
        cost: the grid that forecasts are priced on.
        forecasters: among "linear", "cnn", "mixer".
        training: of the networks; None takes the published settings.
        hours: test hours that are priced, evenly spaced; None prices all.
        seed: of the core, initial weights and batch order.

    Yields:
        What was trained on, the forecaster, each metric of `METRICS` and its value; also of two forecasts that need no
        training.

    Raises:
        SolverError: an hour that cannot be priced.
    """
    for kind in forecasters:
        require_choice("utility.forecasters", kind, FORECASTERS)
    base = cost.case.base_mva
    test = bus_dataset("real test", plan, test_kwh, factor, base, seed)
    rows = sample_hours(test.split.test, hours)

    def measured(trained_on: str, kind: str, forecast: FloatArray) -> Iterator[tuple[str, str, str, float]]:
        found = measure_forecast(torch.from_numpy(forecast), test, rows, cost).means(rows)
        for metric in METRICS:
            yield trained_on, kind, metric, found[metric]

    for name, load_kwh in tqdm(sources_kwh.items(), desc="bus loads", leave=False):
        dataset = bus_dataset(name, plan, load_kwh, factor, base, seed)
        for kind in forecasters:
            model = fit_linear(dataset) if FORECASTERS[kind].exact else fit_network(dataset, kind, training, seed)
            yield from measured(name, kind, model.forecast(test.features[rows]))
    week_before = test.features[rows][:, :, test.feature_names.index("load_week_before_mw")] / test.base_mva
    yield from measured(NOTHING, WEEK_BEFORE, np.ascontiguousarray(week_before))
    yield from measured(NOTHING, PERFECT, test.load_pu[rows])
