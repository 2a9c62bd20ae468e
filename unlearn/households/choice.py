"""Choosing among households: enough days, and no more households than asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unlearn.checks import IntArray, require_count
from unlearn.errors import DataError, InputError
from unlearn.households.household_profiles import HouseholdProfiles


def with_enough_days(
    household: IntArray, n_households: int, min_days: int, max_households: int | None
) -> tuple[IntArray, int]:
    """Return the first `max_households` households with `min_days` profiles, and how many have some but too few.

    Args:
        household: position of each profile's household, shape (N,).
        n_households: number of households.
        min_days: profiles that a household must have; one without any is never kept.
        max_households: None keeps all.

    Raises:
        InputError: a number below 1.
    """
    least = require_count("min_days", min_days)
    days = np.bincount(household, minlength=n_households)
    kept = np.flatnonzero(days >= least)
    if max_households is not None:
        kept = kept[: require_count("max_households", max_households)]
    return kept, int(((days > 0) & (days < least)).sum())


def check_choice(max_households: int | None, min_days: int, min_households: int) -> None:
    """Refuse numbers below 1, and bounds that no choice can meet."""
    require_count("min_days", min_days)
    least = require_count("min_households", min_households)
    if max_households is not None and require_count("max_households", max_households) < least:
        raise InputError(
            f"max_households: expected at least min_households ({least}), got {max_households}. Swap or widen them."
        )


def select_households(
    profiles: HouseholdProfiles, max_households: int | None = None, min_days: int = 1, min_households: int = 1
) -> HouseholdProfiles:
    """Keep the first households that have enough days.

    Args:
        profiles: all households.
        max_households: keep at most so many; None keeps all.
        min_days: profiles that a household must have.
        min_households: how many must be left.

    Returns:
        The profiles of these households; `reading`, where there is one, counts those that were dropped.

    Raises:
        InputError: a number below 1, or inverted bounds.
        DataError: fewer households are left than `min_households`.
    """
    check_choice(max_households, min_days, min_households)
    kept, few = with_enough_days(profiles.household, profiles.n_households, min_days, max_households)
    if len(kept) < min_households:
        raise DataError(
            f"{profiles.name}: expected at least {min_households} households with {min_days} or more complete days, "
            f"got {len(kept)} of {profiles.n_households}. Ask for fewer days or households, or read more."
        )
    if len(kept) == profiles.n_households:
        return profiles
    part = profiles.of_households(kept)
    if part.reading is None:
        return part
    return replace(part, reading=part.reading.reduced_to(len(kept), len(part), few))
