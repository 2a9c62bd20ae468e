"""Reconstruction: do released profiles come closer to the households trained on than to others?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import ks_2samp

from unlearn.attacks.membership import nearest_records, profile_matrix
from unlearn.attacks.outcome import Estimate
from unlearn.attacks.risk import exact_rate
from unlearn.checks import FloatArray, IntArray, as_floats, require_count, require_finite, require_shape
from unlearn.errors import InputError


@dataclass(frozen=True)
class Closeness:
    """Whether a release is closer to training profiles than to holdout ones.

    The null hypothesis is that it is not closer to training than to holdout; a small p-value rejects it: a leak.

    Attributes:
        statistic: one-tailed two-sample Kolmogorov-Smirnov statistic: the largest excess of the distribution function
            of distances to training profiles over that of distances to holdout profiles.
        p_value: of that statistic as if all distances were independent, which those of one release are not.
        permutation_p_value: of the same statistic among random exchanges of households between the two sides.
        closer: share of released profiles that are nearer to a training profile, ties counting half.
        median_train_kwh: median distance to the nearest training profile.
        median_holdout_kwh: median distance to the nearest holdout profile.
        n_released: released profiles asked.
        n_profiles: profiles of each side.
        n_households: households of each side.
    """

    statistic: float
    p_value: float
    permutation_p_value: float
    closer: float
    median_train_kwh: float
    median_holdout_kwh: float
    n_released: int
    n_profiles: int
    n_households: int


def closeness_test(
    synthetic: ArrayLike,
    train: ArrayLike,
    holdout: ArrayLike,
    train_household: ArrayLike,
    holdout_household: ArrayLike,
    n_permutations: int = 199,
    seed: int = 0,
) -> Closeness:
    """Test whether released profiles are closer to training households than to as many others.

    Both sides are drawn to the same number of households and the same number of profiles of each, since the nearest
    of more profiles is nearer. Released profiles share their neighbours, and days of a household resemble each other,
    so the plain p-value is too small; the permutation test exchanges whole households and so keeps its level (Phipson
    & Smyth 2010).

    Args:
        synthetic: released profiles in kWh, shape (n, S).
        train: training profiles, shape (t, S).
        holdout: profiles of other households, shape (h, S).
        train_household: household of each training profile, shape (t,).
        holdout_household: of each holdout profile, shape (h,).
        n_permutations: random exchanges of households.
        seed: of draws and exchanges.

    Raises:
        InputError: shapes that do not fit, fewer than 2 households on a side, no profiles.
    """
    require_count("n_permutations", n_permutations)
    made = profile_matrix("synthetic", synthetic)
    if not len(made):
        raise InputError("synthetic: expected at least one profile, got none.")
    random = np.random.default_rng(seed)
    sides = [
        (profile_matrix(name, side), np.asarray(who))
        for name, side, who in (("train", train, train_household), ("holdout", holdout, holdout_household))
    ]
    drawn = _equal_sides([side for side, _ in sides], [who for _, who in sides], random)
    # Distance of every released profile to every household: exchanges of households need no more than that.
    to_each = np.stack([nearest_records(made, days).distance for side in drawn for days in side])
    half = len(drawn[0])
    members = np.repeat([True, False], half)
    near, far = to_each[:half].min(axis=0), to_each[half:].min(axis=0)
    plain = ks_2samp(near, far, alternative="greater")
    statistic = float(plain.statistic)
    exceeding = 1
    for _ in range(n_permutations):
        chosen = random.permutation(members)
        again = _largest_excess(to_each[chosen].min(axis=0), to_each[~chosen].min(axis=0))
        exceeding += again >= statistic - 1e-12
    return Closeness(
        statistic=statistic,
        p_value=float(plain.pvalue),
        permutation_p_value=exceeding / (n_permutations + 1),
        closer=float(((near < far) + 0.5 * (near == far)).mean()),
        median_train_kwh=float(np.median(near)),
        median_holdout_kwh=float(np.median(far)),
        n_released=len(made),
        n_profiles=half * drawn[0].shape[1],
        n_households=half,
    )


def relative_radius(synthetic: ArrayLike, outliers: ArrayLike, household: ArrayLike) -> FloatArray:
    """Smallest distance of a released profile to a household's days, each relative to the norm of that day.

    Args:
        synthetic: released profiles in kWh, shape (n, S).
        outliers: days of outlier households, none of them all zero, shape (m, S).
        household: of each day, shape (m,).

    Returns:
        Of each household, in ascending order, shape (h,). A household is compromised at a ratio if this is at most
        that ratio: some released day lies within `ratio · ‖day‖₂` of one of its own days.

    Raises:
        InputError: shapes that do not fit, or a day without energy.
    """
    days, who = profile_matrix("outliers", outliers), np.asarray(household)
    require_shape("household", who, (len(days),))
    norm = np.linalg.norm(days, axis=1)
    if (norm == 0).any():
        raise InputError(f"outliers: expected days with energy, got none on day {int(np.argmin(norm))}. Drop it.")
    order = np.argsort(who, kind="stable")
    ratio = nearest_records(days[order], synthetic).distance / norm[order]
    return np.minimum.reduceat(ratio, np.unique(who[order], return_index=True)[1])


def compromised_shares(radius: ArrayLike, ratios: Sequence[float]) -> list[Estimate]:
    """Share of households compromised at each ratio, with Clopper & Pearson's interval over households.

    Args:
        radius: of `relative_radius`, shape (h,).
        ratios: at least 0.

    Raises:
        InputError: no households, NaN, or a negative ratio.
    """
    reach = as_floats("radius", radius, ndim=1)
    require_finite("radius", reach)
    if not len(reach) or min(ratios, default=0.0) < 0:
        raise InputError(f"compromised: expected households and ratios of at least 0, got {len(reach)}, {ratios}.")
    found = (reach[None] <= np.asarray(ratios, dtype=np.float64)[:, None]).sum(axis=1)
    return [exact_rate(int(count), len(reach)) for count in found]


def _equal_sides(
    sides: list[FloatArray], households: list[np.ndarray], random: np.random.Generator
) -> list[FloatArray]:
    """As many random households of each side with as many random profiles each, shape (households, profiles, S)."""
    order, starts, counts = [], [], []
    for name, side, who in zip(("train", "holdout"), sides, households, strict=True):
        require_shape(f"{name}_household", who, (len(side),))
        shuffled = np.lexsort((random.random(len(who)), who))
        _, start, count = np.unique(who[shuffled], return_index=True, return_counts=True)
        if len(start) < 2:
            raise InputError(f"{name}: expected profiles of at least 2 households, got {len(start)}.")
        order.append(shuffled)
        starts.append(start)
        counts.append(count)
    # Households with few days are left out before they shorten everybody's: half the median is enough.
    need = int(min(np.median(count) for count in counts)) // 2 or 1
    kept = [np.flatnonzero(count >= need) for count in counts]
    n = min(map(len, kept))
    days = int(min(count[rows].min() for count, rows in zip(counts, kept, strict=True)))
    drawn = []
    for side, shuffled, start, rows in zip(sides, order, starts, kept, strict=True):
        chosen: IntArray = start[random.permutation(rows)[:n]]
        drawn.append(side[shuffled[chosen[:, None] + np.arange(days)]])
    return drawn


def _largest_excess(near: FloatArray, far: FloatArray) -> float:
    """One-tailed Kolmogorov-Smirnov statistic: the largest excess of the first distribution function."""
    first, second = np.sort(near), np.sort(far)
    at = np.concatenate([first, second])
    excess = np.searchsorted(first, at, side="right") / len(first)
    excess -= np.searchsorted(second, at, side="right") / len(second)
    return float(excess.max())
