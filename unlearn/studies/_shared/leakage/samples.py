"""Samples that are attacked, and releases whose leakage is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import IntArray, short_repr
from unlearn.errors import InputError, MismatchError
from unlearn.generators.baselines import Resampled
from unlearn.households.by_household import HouseholdProfiles, require_other_households, split_households
from unlearn.households.profiles import DailyProfiles
from unlearn.studies._shared.leakage.options import LeakageOptions

#: Households of the holdout, at least: two that are attacked and two that are reference, in turn.
MIN_HOLDOUT = 4


@short_repr
@dataclass(frozen=True, eq=False)
class Fold:
    """Profiles of one half of an attack: members, others, and the reference of the attacker; households disjoint."""

    members: HouseholdProfiles
    others: HouseholdProfiles
    reference: HouseholdProfiles


def require_comparable(release: DailyProfiles, train: HouseholdProfiles, holdout: HouseholdProfiles) -> None:
    """Refuse what cannot be attacked, before any work.

    Raises:
        InputError: too few households, or no released profiles.
        MismatchError: shared households, or other steps or segments.
    """
    require_other_households("leakage", train, holdout)
    for name, side, need in (("train", train, 2), ("holdout", holdout, MIN_HOLDOUT)):
        present = len(np.unique(side.household))
        if present < need:
            raise InputError(f"leakage: expected profiles of at least {need} households in {name}, got {present}.")
    if len(release) < 2:
        raise InputError(f"leakage: expected a release of at least 2 profiles, got {len(release)} in {release.name}.")
    for side in (train, holdout):
        if side.n_steps != release.n_steps:
            raise MismatchError(
                f"leakage: expected the {release.n_steps} steps of {release.name} in {side.name}, got {side.n_steps}. "
                "Bring all to hours with to_hourly."
            )
        if side.segments != release.segments:
            raise MismatchError(
                f"leakage: expected the segments {release.segments} of {release.name} in {side.name}, got "
                f"{side.segments}."
            )


def folds(train: HouseholdProfiles, holdout: HouseholdProfiles, n: int, seed: int) -> list[Fold]:
    """Two folds: each half of the holdout is reference once and attacked once, with a half of the members.

    Every record is attacked once. The reference of a fold are never the households attacked in it, and members and
    others are treated alike, so that a release that knows neither gives an AUC of 0.5 on average.

    Args:
        train: training households.
        holdout: other households.
        n: profiles of each side, both folds together.
        seed: of halves and days.
    """
    random = np.random.default_rng(seed)
    members, others = _halves(train, seed), _halves(holdout, seed + 1)
    found = []
    for i in range(2):
        parts = (members[i], others[1 - i], others[i])
        found.append(Fold(*(part.take(some_days(part, n // 2, random)) for part in parts)))
    return found


def some_days(profiles: HouseholdProfiles, n: int, random: np.random.Generator) -> IntArray:
    """About n rows: as many random days of each household as of the others, where it has them; at least one."""
    present = len(np.unique(profiles.household))
    order = np.lexsort((random.random(len(profiles)), profiles.household))
    _, start, count = np.unique(profiles.household[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(start, count)
    return np.sort(order[place < max(1, n // present)])


def same_size(
    train: HouseholdProfiles, holdout: HouseholdProfiles, n: int, seed: int
) -> tuple[HouseholdProfiles, HouseholdProfiles]:
    """As many households and about as many days of each on both sides, at most n profiles a side."""
    random = np.random.default_rng([seed, 3])
    present = [np.unique(side.household) for side in (train, holdout)]
    n_each = min(map(len, present))
    chosen = [
        side.of_households(random.permutation(who)[:n_each])
        for side, who in zip((train, holdout), present, strict=True)
    ]
    size = min(n, *map(len, chosen))
    first, second = (side.take(some_days(side, size, random)) for side in chosen)
    return first, second


def _halves(profiles: HouseholdProfiles, seed: int) -> tuple[HouseholdProfiles, HouseholdProfiles]:
    """Halves of the households that have days; of equal segments, so that no half is the other's opposite."""
    return split_households(profiles.of_households(np.unique(profiles.household)), 0.5, seed)


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
    return [
        (Resampled(COPIED).release(copied, max(n, _COPIES * len(copied)), seed), copied),
        (Resampled(OTHERS).release(third, n, seed), train),
    ]
