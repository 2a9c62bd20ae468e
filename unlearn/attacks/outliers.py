"""Implausible outlier households: some are put among the training households, some are not; who can tell which?

An attack on ordinary households may fail because households resemble each other. Outliers resemble nobody, so a
generator that overfits them shows it (OpenSynth workshop, "membership inference attack with outliers").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from unlearn.attacks.options import PATTERNS, OutlierOptions
from unlearn.checks import FloatArray, require_choice
from unlearn.data.origin import derived
from unlearn.errors import InputError, MismatchError
from unlearn.households.by_household import HouseholdProfiles, household_profiles


@dataclass(frozen=True, eq=False)
class OutlierSets:
    """Three sets of outlier households.

    Attributes:
        seen: to be put among the training households.
        unseen: of the same distribution, never trained on.
        unseen_other: of another distribution, never trained on.
    """

    seen: HouseholdProfiles
    unseen: HouseholdProfiles
    unseen_other: HouseholdProfiles

    def items(self) -> dict[str, HouseholdProfiles]:
        """The sets by name."""
        return {"seen": self.seen, "unseen": self.unseen, "unseen_other": self.unseen_other}


def draw_outliers(train: HouseholdProfiles, options: OutlierOptions | None = None, seed: int = 0) -> OutlierSets:
    """Draw the three sets; dates and segments are those of the training households.

    Args:
        train: households that the outliers are to be put among.
        options: how many, how large, how noisy.
        seed: of patterns, noise, dates and segments.

    Raises:
        InputError: no training profiles, or fewer training days than an outlier is to have.
    """
    options = options or OutlierOptions()
    other = next(pattern for pattern in PATTERNS if pattern != options.seen)
    kinds = {"seen": options.seen, "unseen": options.seen, "unseen_other": other}
    return OutlierSets(
        **{name: make_outliers(train, kind, name, options, [seed, i]) for i, (name, kind) in enumerate(kinds.items())}
    )


def make_outliers(
    like: HouseholdProfiles, pattern: str, name: str, options: OutlierOptions, seed: int | list[int]
) -> HouseholdProfiles:
    """Make outlier households whose ids begin with `outlier-` and the name.

    Each household has one pattern, and each of its days is that pattern times lognormal noise of mean 1 by step.
    "pulses": equal energy in randomly chosen half-hours and none in the others. "waves": a raised sine of 3 to 12
    periods a day. Either has the norm `norm_kwh` before noise.

    Args:
        like: households whose days, segments and steps the outliers have.
        pattern: "pulses" or "waves".
        name: of the set, such as "seen".
        options: how many, how large, how noisy.
        seed: of patterns, noise, dates and segments.

    Raises:
        InputError: an unknown pattern, or fewer days than an outlier is to have.
    """
    require_choice("pattern", pattern, PATTERNS)
    if len(like.days) < options.days:
        raise InputError(
            f"outliers.days: expected at most the {len(like.days)} days of {like.name}, got {options.days}."
        )
    random = np.random.default_rng(seed)
    n, days = options.households, options.days
    drawn = _pulses(n, like.n_steps, options.share_on, random) if pattern == "pulses" else _waves(n, like, random)
    drawn *= options.norm_kwh / np.linalg.norm(drawn, axis=1, keepdims=True)
    noise = options.noise * random.standard_normal((n * days, like.n_steps)) - options.noise**2 / 2
    dates = random.permuted(np.tile(like.days, (n, 1)), axis=1)[:, :days]
    segments = like.households["segment"].to_numpy()[random.integers(like.n_households, size=n)]
    frame = pd.DataFrame({"household_id": [f"outlier-{name}-{i:04d}" for i in range(n)], "segment": segments})
    kwh = (np.repeat(drawn, days, axis=0) * np.exp(noise)).astype(np.float32)
    derived(kwh, like.kwh)  # days and segments are theirs
    return household_profiles(name, kwh, np.repeat(np.arange(n), days), dates.ravel(), frame, like.segments)


def inject_outliers(train: HouseholdProfiles, outliers: HouseholdProfiles) -> HouseholdProfiles:
    """Return the training households with outliers as further households.

    Raises:
        MismatchError: other steps or segments, or a household id that occurs in both.
    """
    if train.n_steps != outliers.n_steps or train.segments != outliers.segments:
        raise MismatchError(
            f"outliers: expected the {train.n_steps} steps and segments {train.segments} of {train.name}, got "
            f"{outliers.n_steps} and {outliers.segments}. Make them with make_outliers from the same households."
        )
    both = set(train.households["household_id"]) & set(outliers.households["household_id"])
    if both:
        raise MismatchError(f"outliers: expected ids that {train.name} does not have, got {min(both)} in both.")
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(train, name), getattr(outliers, name)])
        for name in ("kwh", "month", "day_of_week", "segment", "date")
    }
    derived(columns["kwh"], train.kwh, outliers.kwh)
    return replace(
        train,
        name=f"{train.name} with outliers",
        **columns,
        household=np.concatenate([train.household, outliers.household + train.n_households]),
        households=pd.concat([train.households, outliers.households], ignore_index=True),
    )


def _pulses(n: int, n_steps: int, share: float, random: np.random.Generator) -> FloatArray:
    on = max(1, round(share * n_steps))
    return (random.permuted(np.tile(np.arange(n_steps), (n, 1)), axis=1) < on).astype(np.float64)


def _waves(n: int, like: HouseholdProfiles, random: np.random.Generator) -> FloatArray:
    periods, phase = random.integers(3, 13, size=(n, 1)), random.random((n, 1))
    return 1 + np.sin(2 * np.pi * (periods * np.arange(like.n_steps) / like.n_steps + phase))
