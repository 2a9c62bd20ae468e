"""Small meters with a daily shape, classes and lives, and data sets of them; and loads from their definition."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.data import SplitSpec
from unlearn.households import CustomerLoads, Meters, customer_loads, hourly_meters

N_HOURS, N_CUSTOMERS, N_LOADS = 500, 60, 3
CLASSES = ("large", "small")
SPLIT = SplitSpec(core_choice="first")


def readings(seed: int = 0, n: int = N_CUSTOMERS, n_hours: int = N_HOURS, lives: bool = False) -> pd.DataFrame:
    """kWh of each hour and customer, in whole Wh; with `lives`, every tenth customer comes late or goes early."""
    random = np.random.default_rng(seed)
    hour = np.arange(n_hours)
    shape = 1.2 + np.sin(2 * np.pi * (hour[:, None] - random.uniform(0, 24, n)) / 24)
    kwh = np.round(random.gamma(3.0, 0.2, (n_hours, n)) * shape * random.uniform(0.3, 2.0, n), 3)
    if lives:
        for i in range(0, n, 10):
            kwh[: 30 * (i + 1) % 200, i] = np.nan
            kwh[n_hours - 40 * (i + 1) % 150 :, i] = np.nan
    hours = pd.date_range("2021-03-01", periods=n_hours, freq="h")
    return pd.DataFrame(kwh, hours, [f"c{i:03d}" for i in range(n)])


def classes(n: int = N_CUSTOMERS) -> pd.Series:
    return pd.Series([CLASSES[int(i % 3 == 0)] for i in range(n)], [f"c{i:03d}" for i in range(n)])


def places(n: int = N_CUSTOMERS) -> dict[str, str]:
    return {f"c{i:03d}": f"bus_{i % N_LOADS + 1}" for i in range(n)}


def weather(hours: pd.DatetimeIndex, seed: int = 5) -> dict[str, pd.DataFrame]:
    random = np.random.default_rng(seed)
    values = random.normal(10, 4, (len(hours), N_LOADS)).cumsum(axis=0) / 30
    return {"temperature": pd.DataFrame(values, hours, [f"bus_{b + 1}" for b in range(N_LOADS)])}


def meters(seed: int = 0, **more: object) -> Meters:
    return hourly_meters(readings(seed, **more), segments=classes(more.get("n", N_CUSTOMERS)))  # type: ignore[arg-type]


def loads(seed: int = 0, lags: object = None, **more: object) -> CustomerLoads:
    own = meters(seed, **more)
    place = places(len(own))
    made = customer_loads(own, place, weather(own.hours), split=SPLIT, lags=lags)  # type: ignore[arg-type]
    return made.scaled_to([30.0, 50.0, 20.0])


def known_mw(data: CustomerLoads, table: pd.DataFrame, gone: dict[str, tuple[np.ndarray, str | None]]) -> np.ndarray:
    """What models may learn by the definition, customer by customer, from the readings alone, shape (H, B).

    `gone` holds, of each customer, the hours that were taken away, a mask, and what replaces them ("left" for none).
    """
    place, group = places(table.shape[1]), classes(table.shape[1])
    alive = {c: table[c].notna().to_numpy() for c in table}
    there = {c: alive[c] & ~gone[c][0] if c in gone else alive[c] for c in table}
    kwh = {c: np.where(there[c], table[c].fillna(0.0), 0.0) for c in table}
    found = np.zeros((len(table), N_LOADS))
    for b in range(N_LOADS):
        mine = [c for c in table if place[c] == f"bus_{b + 1}"]
        own = sum(kwh[c] for c in mine)
        total = own.copy()
        for c in (c for c in mine if c in gone):
            missing = alive[c] & gone[c][0]
            if gone[c][1] == "class_mean":
                alike = [other for other in table if group[other] == group[c]]
                mean = sum(kwh[other] for other in alike) / np.maximum(sum(there[other] for other in alike), 1)
                total += np.where(missing, mean, 0.0)
            if gone[c][1] == "rescale":
                total += np.where(missing, own / np.maximum(sum(there[other] for other in mine), 1), 0.0)
        found[:, b] = data.mw_per_kwh[b] * total
    return found


def enough(who: list[int], case: tuple[str, str | None]) -> bool:
    """Whether 15 of the small class's 20 remain in every hour, two of which have short lives, where a mean is asked."""
    return case[1] != "class_mean" or sum(i % 3 == 0 for i in who) <= 3
