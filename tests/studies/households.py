"""Made-up households with habits: a level, a time of rising and dining, idle hours, and days away."""

import numpy as np
import pandas as pd

from unlearn.households import HouseholdProfiles, household_profiles


def made_households(n_households: int = 80, n_days: int = 30, seed: int = 0) -> HouseholdProfiles:
    """Half-hourly days in whole watt-hours; two segments that differ in level."""
    random = np.random.default_rng(seed)
    n = n_households * n_days
    who = np.repeat(np.arange(n_households), n_days)
    hours = np.arange(48) / 2
    level = np.exp(random.normal(-1.6, 0.5, n_households) + 0.3 * (np.arange(n_households) % 2))
    morning, evening = random.normal(7.5, 1.0, n_households), random.normal(19.0, 1.2, n_households)
    size = random.gamma(2.0, 0.5, (n, 2))
    shift = random.normal(0, 0.5, (n, 2))
    bumps = [
        size[:, [i]] * np.exp(-(((hours - (at[who] + shift[:, i])[:, None]) / width) ** 2))
        for i, (at, width) in enumerate(((morning, 1.0), (evening, 2.0)))
    ]
    away = random.random(n) < 0.08
    use = 0.3 + (bumps[0] + 2 * bumps[1]) * ~away[:, None]
    kwh = level[who][:, None] * use * random.gamma(4.0, 0.25, (n, 48))
    frame = pd.DataFrame(
        {
            "household_id": [f"H{i:03d}" for i in range(n_households)],
            "segment": [("poor", "rich")[i % 2] for i in range(n_households)],
        }
    )
    dates = np.datetime64("2013-02-15") + np.tile(np.arange(n_days), n_households)
    return household_profiles("made up", np.round(kwh, 3), who, dates, frame)
