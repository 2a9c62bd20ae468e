"""Profiles that know their households: divided, chosen and relabelled by household."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import IntArray, as_identifiers, require_count, require_fraction, short_repr
from unlearn.data.times import DateArray, day_of_week_of, month_of
from unlearn.errors import DataError, InputError, MismatchError
from unlearn.households.profiles import DailyProfiles, EnergyArray, ReadingReport, checked_label, segment_codes


@short_repr
@dataclass(frozen=True, eq=False)
class HouseholdProfiles(DailyProfiles):
    """Daily profiles that know their household and date.

    Build one with `household_profiles`, which derives the labels.

    Attributes:
        household: position in `households`, shape (N,).
        date: day (UTC), datetime64[D], shape (N,).
        households: a row per household: `household_id` (unique), `segment`, and any labels such as `ev`.
        reading: what the reader kept and dropped, where one read them.
    """

    household: IntArray
    date: DateArray
    households: pd.DataFrame
    reading: ReadingReport | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        codes = checked_label(f"{self.name} household", self.household, len(self), 0, len(self.households) - 1)
        object.__setattr__(self, "household", codes)
        if not self.households["household_id"].is_unique:
            twice = self.households["household_id"][self.households["household_id"].duplicated()].iloc[0]
            raise DataError(f"{self.name} households: expected each household_id once, got {twice} again.")
        if self.date.shape != (len(self),) or np.isnat(self.date).any():
            raise DataError(f"{self.name} date: expected one date per profile ({len(self)}), got {self.date.shape}.")

    def _in_short(self) -> str:
        span = f" from {self.days[0]} to {self.days[-1]}" if len(self) else ""
        return f"{super()._in_short()}, {self.n_households} households{span}"

    @property
    def n_households(self) -> int:
        return len(self.households)

    @cached_property
    def days(self) -> DateArray:
        """Dates that occur, sorted."""
        return np.unique(self.date)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over energy, labels, dates, and who used the energy."""
        digest = hashlib.sha256(DailyProfiles.fingerprint.func(self).encode())  # type: ignore[attr-defined]
        digest.update(np.ascontiguousarray(self.household).tobytes() + self.date.astype(np.int64).tobytes())
        digest.update(self.households.to_csv(index=False).encode())
        return digest.hexdigest()

    def _per_profile(self) -> tuple[str, ...]:
        return (*super()._per_profile(), "household", "date")

    def of_households(self, chosen: ArrayLike, name: str | None = None) -> HouseholdProfiles:
        """Keep the households at these positions, and only them."""
        kept = np.unique(np.asarray(chosen))
        inside = np.isin(self.household, kept)
        part = self.take(inside)
        return replace(
            part,
            name=name or self.name,
            household=np.searchsorted(kept, part.household),
            households=self.households.iloc[kept].reset_index(drop=True),
        )

    def unlabelled(self) -> DailyProfiles:
        """The profiles without household and date, as a generator may release them."""
        return DailyProfiles(self.name, self.kwh, self.month, self.day_of_week, self.segment, self.segments)

    def to_frame(self) -> pd.DataFrame:
        frame = super().to_frame()
        frame.insert(0, "household_id", self.households["household_id"].to_numpy()[self.household])
        frame.insert(1, "date", self.date.astype("datetime64[s]"))
        return frame


def household_profiles(
    name: str,
    kwh: EnergyArray,
    household: ArrayLike,
    date: ArrayLike,
    households: pd.DataFrame,
    segments: tuple[str, ...] | None = None,
    reading: ReadingReport | None = None,
) -> HouseholdProfiles:
    """Build `HouseholdProfiles`: month, day of the week and segment follow from date and household.

    Args:
        name: where they come from.
        kwh: energy per step, shape (N, S).
        household: position in `households`, shape (N,).
        date: day of each profile, shape (N,).
        households: `household_id`, `segment`, and further labels. Names are text; whole numbers become their digits.
        segments: names and order of segments; None takes those that occur, sorted.
        reading: what the reader kept and dropped.

    Raises:
        DataError: whatever `HouseholdProfiles` refuses, a missing column, or a segment that is not known.
    """
    missing = [column for column in ("household_id", "segment") if column not in households]
    if missing:
        raise DataError(f"{name} households: expected the columns household_id and segment, missing {missing}.")
    households = households.reset_index(drop=True).assign(
        household_id=as_identifiers(f"{name} household_id", households["household_id"]),
        segment=as_identifiers(f"{name} segment", households["segment"]),
    )
    names = households["segment"]
    known = tuple(sorted(names.unique())) if segments is None else segments
    of_household = segment_codes(name, names, known)
    who = checked_label(f"{name} household", household, len(kwh), 0, len(households) - 1)
    day = np.asarray(date).astype("datetime64[D]")
    return HouseholdProfiles(
        name=name,
        kwh=kwh,
        month=month_of(day),
        day_of_week=day_of_week_of(day),
        segment=of_household[who],
        segments=known,
        household=who,
        date=day,
        households=households,
        reading=reading,
    )


def with_attribute_as_segment(
    profiles: HouseholdProfiles, name: str, segments: tuple[str, ...] | None = None
) -> HouseholdProfiles:
    """Give each household an attribute as its segment, so that a generator learns it and releases it.

    Args:
        profiles: households whose table has the attribute as a column, such as `ev`.
        name: of the column; its values become text.
        segments: names and order of the values, such as those of all households; None takes those that occur, sorted.

    Raises:
        InputError: no such column.
        DataError: a missing value, or one that is not among `segments`.
    """
    if name not in profiles.households:
        raise InputError(
            f"attribute: expected a column of the households ({', '.join(map(str, profiles.households))}), "
            f"got {name!r}."
        )
    given = profiles.households[name]
    if given.isna().any():
        who = profiles.households["household_id"][given.isna()].iloc[0]
        raise DataError(
            f"{profiles.name} {name}: expected a value for each household, got none for {who}. Give it one."
        )
    values = given.astype(str)
    known = tuple(sorted(values.unique())) if segments is None else segments
    codes = segment_codes(profiles.name, values, known)
    households = profiles.households.assign(segment=values)
    return replace(profiles, segment=codes[profiles.household], segments=known, households=households)


def split_households(
    profiles: HouseholdProfiles, holdout: float = 0.5, seed: int = 0
) -> tuple[HouseholdProfiles, HouseholdProfiles]:
    """Divide households, never rows, into train and holdout; each segment in the same proportion.

    Args:
        profiles: all households.
        holdout: share of households that are held out.
        seed: of the draw.

    Raises:
        InputError: a share outside of (0, 1), or so few households that a side would be empty.
    """
    require_fraction("holdout", holdout)
    random = np.random.default_rng(seed)
    segment = pd.Index(profiles.segments).get_indexer(pd.Index(profiles.households["segment"].astype(str)))
    # Ordered by segment, at random within: cut at even distances, each segment is divided alike.
    order = np.lexsort((random.random(len(segment)), segment))
    rank = (np.arange(len(order)) + random.random()) * holdout
    held = order[np.diff(np.floor(rank), append=np.floor(rank[-1] + holdout)) > 0] if len(order) else order
    kept = np.setdiff1d(order, held)
    if not len(held) or not len(kept):
        raise InputError(
            f"holdout: {profiles.n_households} households are too few to hold out {holdout:g} of them; "
            "expected at least one on each side."
        )
    return profiles.of_households(kept, f"{profiles.name} train"), profiles.of_households(
        held, f"{profiles.name} holdout"
    )


def require_other_households(where: str, train: HouseholdProfiles, holdout: HouseholdProfiles) -> None:
    """Refuse a holdout with households that are trained on.

    Raises:
        MismatchError: they share households; names one.
    """
    shared = set(train.households["household_id"]) & set(holdout.households["household_id"])
    if shared:
        raise MismatchError(
            f"{where}: expected other households to test on, got {len(shared)} of the training households among them, "
            f"such as {min(shared)}. Divide them with split_households."
        )


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
