"""Households with two habits each, small enough for tests that fit."""

import numpy as np
import pandas as pd

from unlearn.households import HouseholdProfiles, household_profiles


def households(n: int = 24, n_days: int = 60, seed: int = 0, every_day: bool = False) -> HouseholdProfiles:
    """Morning people and evening people of different size; winters use more, some days are empty.

    Days are spread over a year, or follow each other from New Year on.
    """
    random = np.random.default_rng(seed)
    evening = np.arange(n) % 2 == 1
    size = random.lognormal(0.0, 0.5, n)
    day = np.arange(n_days) * (1 if every_day else 360 // n_days)
    days = np.datetime64("2013-01-01") + day
    winter = 1 + 0.4 * np.cos(2 * np.pi * day / 365)
    step = np.arange(48)
    morning_shape, evening_shape = (np.exp(-0.5 * ((step - at) / 4) ** 2) for at in (15, 38))
    shape = 0.1 + np.where(evening[:, None], evening_shape, morning_shape)
    level = size[:, None] * winter * random.lognormal(0.0, 0.3, (n, n_days))
    kwh = 0.3 * level[..., None] * shape[:, None] * random.gamma(2.0, 0.5, (n, n_days, 48))
    kwh[random.random((n, n_days)) < 0.03] = 0.0
    frame = pd.DataFrame(
        {"household_id": [f"H{i:03d}" for i in range(n)], "segment": np.where(evening, "late", "early")}
    )
    return household_profiles(
        "made",
        kwh.reshape(-1, 48).astype(np.float32),
        np.repeat(np.arange(n), n_days),
        np.tile(days, n),
        frame,
        ("late", "early"),
    )
