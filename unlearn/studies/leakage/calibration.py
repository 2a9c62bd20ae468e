"""Releases whose leakage is known: copies of training days, which give all away, and others' days, which give nothing.

An attack that does not find the first does not work, and one that finds the second is deceived.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unlearn.errors import InputError
from unlearn.generators import BASELINES
from unlearn.households.household_profiles import HouseholdProfiles, require_other_households
from unlearn.households.profiles import DailyProfiles
from unlearn.studies.leakage.options import LeakageOptions
from unlearn.studies.leakage.samples import some_days

#: Names of the two releases, which no generator may bear.
COPIED, OTHERS = "copied training days", "days of third households"

#: Released copies of each training day on average: e⁻⁸ of the days are missed.
_COPIES = 8


def known_releases(
    train: HouseholdProfiles, third: HouseholdProfiles, options: LeakageOptions, seed: int = 0
) -> list[tuple[DailyProfiles, HouseholdProfiles]]:
    """Resample training days, and days of third households that are neither trained on nor held out.

    The copies are of so few training days, some of every household, that the release holds nearly each of them:
    membership is that of the days that were drawn from.

    Args:
        train: training households.
        third: households that are neither among them nor in the holdout.
        options: how leakage is measured; releases have `max_released` profiles.
        seed: of the draws.

    Returns:
        Each release with the training profiles that it is to be attacked for.

    Raises:
        InputError: `max_released` too small for a training day.
        MismatchError: a household on both sides.
    """
    require_other_households("calibration", train, third)
    n = options.max_released
    if n < 2 * _COPIES:
        raise InputError(f"leakage.max_released: expected at least {2 * _COPIES} for calibration, got {n}.")
    days = some_days(train, min(options.max_profiles, n // _COPIES), np.random.default_rng([seed, 5]))
    # At least a day of each household was taken, whatever was asked for.
    copied = train.take(days)
    draw = BASELINES["resampled"]
    return [
        (replace(draw(copied, max(n, _COPIES * len(copied)), seed), name=COPIED), copied),
        (replace(draw(third, n, seed), name=OTHERS), train),
    ]
