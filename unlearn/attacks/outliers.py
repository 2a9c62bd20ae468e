"""Implausible outlier households, some of them trained on, and one-to-one similarity: who is copied?

Ordinary households resemble each other. Outliers resemble nobody, so a generator that overfits them shows it (OpenSynth
workshop, "membership inference attack with outliers").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.attacks.base import PATTERNS, OutlierOptions
from unlearn.attacks.membership import profile_matrix
from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    require_choice,
    require_fraction,
    require_not_negative,
    require_shape,
)
from unlearn.data.simulated import derived
from unlearn.errors import InputError, MismatchError
from unlearn.households.by_household import HouseholdProfiles, household_profiles


def draw_outliers(
    train: HouseholdProfiles, options: OutlierOptions | None = None, seed: int = 0
) -> dict[str, HouseholdProfiles]:
    """Draw three sets of outlier households; dates and segments are those of the training households.

    Args:
        train: households that the outliers are to be put among.
        options: how many, how large, how noisy.
        seed: of patterns, noise, dates and segments.

    Returns:
        `seen`, to be put among the training households; `unseen` of the same distribution and `unseen_other` of another
        one, never trained on.

    Raises:
        InputError: no training profiles, or fewer training days than an outlier is to have.
    """
    options = options or OutlierOptions()
    other = next(pattern for pattern in PATTERNS if pattern != options.seen)
    kinds = {"seen": options.seen, "unseen": options.seen, "unseen_other": other}
    return {name: make_outliers(train, kind, name, options, [seed, i]) for i, (name, kind) in enumerate(kinds.items())}


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
    step = np.arange(like.n_steps)
    if pattern == "pulses":
        on = max(1, round(options.share_on * like.n_steps))
        drawn = (random.permuted(np.tile(step, (n, 1)), axis=1) < on).astype(np.float64)
    else:
        periods, phase = random.integers(3, 13, size=(n, 1)), random.random((n, 1))
        drawn = 1 + np.sin(2 * np.pi * (periods * step / like.n_steps + phase))
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


#: Entries of a block of distances, which bounds memory (32 MB).
_BLOCK = 4_000_000

#: Relative distance by which a shifted match must be better than one that is shifted less.
_TIE = 1e-9


@dataclass(frozen=True, eq=False)
class Similarity:
    """The real profile that each released one resembles most.

    Attributes:
        distance: Euclidean distance over the norm of the real profile, at the best shift, shape (n,).
        row: row of the real profile, shape (n,).
        shift: steps by which the real profile was moved to match, positive is later, shape (n,).
    """

    distance: FloatArray
    row: IntArray
    shift: IntArray

    def share(self, near: float, shifted: bool = True) -> float:
        """Share of the release that is a copy up to this relative distance; without `shifted`, at its own time."""
        found = self.distance <= near
        return float((found if shifted else found & (self.shift == 0)).mean())


def most_similar(synthetic: ArrayLike, real: ArrayLike, shifts: int = 0) -> Similarity:
    """Find the most similar real profile of each released one, also moved in time.

    A shift is circular: what leaves the day at one end comes in at the other. A copy whose neighbouring day fills the
    gap instead is found by its distance as long as these steps are few or low.

    Args:
        synthetic: released profiles in kWh, shape (n, S).
        real: real profiles, shape (m, S); those without energy are left out, since a day of zeros is nobody's.
        shifts: steps that a copy may be moved, either way, less than S / 2.

    Returns:
        The match of each released profile; where several shifts match alike, the smallest.

    Raises:
        InputError: no real profile with energy, other steps, NaN, or shifts out of range.
    """
    made, known = profile_matrix("synthetic", synthetic), profile_matrix("real", real)
    require_shape("synthetic", made, (None, known.shape[1]))
    norm = np.linalg.norm(known, axis=1)
    kept = np.flatnonzero(norm > 0)
    if not len(kept):
        raise InputError("real: expected profiles with energy, got none.")
    if isinstance(shifts, bool) or not 0 <= shifts < known.shape[1] / 2:
        raise InputError(f"shifts: expected 0 to less than half of the {known.shape[1]} steps, got {shifts!r}.")
    scaled = known[kept] / norm[kept, None]
    # |a - b|² / |b|² = |a|² / |b|² - 2 a·b / |b|² + 1, with b of norm 1 after scaling.
    inverse = 1 / norm[kept]
    best = np.full(len(made), np.inf)
    row, shift = np.zeros(len(made), dtype=np.int64), np.zeros(len(made), dtype=np.int64)
    size = max(1, _BLOCK // len(kept))
    moves = sorted(range(-shifts, shifts + 1), key=abs)
    for start in tqdm(range(0, len(made), size), desc="similarity", leave=False, delay=2):
        block = slice(start, start + size)
        energy = (made[block] ** 2).sum(axis=1)[:, None] * inverse**2
        for move in moves:
            moved = energy - 2 * (np.roll(made[block], -move, axis=1) @ scaled.T) * inverse
            found = moved.argmin(axis=1)
            match = kept[found]
            exact = np.linalg.norm(np.roll(made[block], -move, axis=1) - known[match], axis=1) / norm[match]
            better = exact < best[block] - _TIE
            best[block] = np.where(better, exact, best[block])
            row[block] = np.where(better, match, row[block])
            shift[block] = np.where(better, move, shift[block])
    return Similarity(best, row, shift)


def exact_copies(synthetic: ArrayLike, real: ArrayLike) -> BoolArray:
    """Which released profiles equal a real one in every step; days without energy are nobody's.

    Args:
        synthetic: released profiles in kWh, shape (n, S).
        real: all real profiles, shape (m, S).

    Returns:
        A mask of the released profiles, shape (n,).

    Raises:
        InputError: other steps, NaN.
    """
    made, known = (profile_matrix(name, side) for name, side in (("synthetic", synthetic), ("real", real)))
    require_shape("synthetic", made, (None, known.shape[1]))
    # As float32, in which releases are kept; + 0 turns -0 into 0.
    rows = [
        np.ascontiguousarray(side.astype(np.float32) + 0).view(f"V{4 * made.shape[1]}")[:, 0] for side in (made, known)
    ]
    return np.isin(rows[0], rows[1]) & made.any(axis=1)


def check_copies(
    exact: tuple[float, float], to_train: Similarity, to_holdout: Similarity, near: float, max_copies: float
) -> list[str]:
    """Say why a release fails that has too many copies of training profiles.

    Copies of holdout profiles are coincidence, such as days on which hardly anything is on, so that copies of training
    profiles count in excess of them.

    Args:
        exact: share of the release that `exact_copies` finds in training and in holdout profiles.
        to_train: of the release to training profiles.
        to_holdout: of the release to as many profiles of as many other households.
        near: relative distance of a near copy, in (0, 1).
        max_copies: largest share of the release that may be copies.

    Returns:
        A sentence for each reason; none where the release passes.

    Raises:
        InputError: a distance or share out of range, or releases of different sizes.
    """
    require_fraction("near", near)
    require_not_negative("max_copies", max_copies)
    if len(to_train.distance) != len(to_holdout.distance) or not len(to_train.distance):
        raise InputError(
            f"copies: expected the same release compared with both sides, got {len(to_train.distance)} and "
            f"{len(to_holdout.distance)} profiles."
        )
    reasons = []
    near_copies = (to_train.share(near), to_holdout.share(near))
    for what, (own, chance) in (("exact copies", exact), (f"copies within {100 * near:g} %", near_copies)):
        if own - chance > max_copies:
            reasons.append(
                f"{100 * own:.2f} % of the release are {what} of training days, {100 * chance:.2f} % of other "
                f"households' days; at most {100 * max_copies:g} % more are allowed."
            )
    return reasons
