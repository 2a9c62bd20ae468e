"""Membership in a generator's training, from its release: nearest records and what they tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, as_floats, require_choice, require_finite, require_shape
from unlearn.errors import InputError

#: Entries of a block of distances, which bounds memory (32 MB) and stays near the cache.
_ROWS = 4_000_000


class Nearest(NamedTuple):
    """Of each query: Euclidean distance to the nearest record in kWh, and that record's row; each of shape (m,)."""

    distance: FloatArray
    row: IntArray


def nearest_records(queries: ArrayLike, records: ArrayLike) -> Nearest:
    """Find the nearest record of each query; exact copies have a distance of exactly 0.

    Args:
        queries: profiles in kWh, shape (m, S).
        records: profiles in kWh, shape (n, S).

    Raises:
        InputError: no records, other steps than the queries', NaN.
    """
    asked, known = profile_matrix("queries", queries), profile_matrix("records", records)
    require_shape("queries", asked, (None, known.shape[1]))
    if not len(known):
        raise InputError("records: expected at least one profile to be near to, got none.")
    # Distances are differences of squares: about the mean they lose fewer digits.
    centre = known.mean(axis=0)
    right = known - centre
    squared = (right**2).sum(axis=1) / 2
    row = np.empty(len(asked), dtype=np.int64)
    size = max(1, _ROWS // len(known))
    for start in tqdm(range(0, len(asked), size), desc="nearest", leave=False, delay=2):
        block = slice(start, start + size)
        row[block] = (squared - (asked[block] - centre) @ right.T).argmin(axis=1)
    return Nearest(np.linalg.norm(asked - known[row], axis=1), row)


def profile_matrix(name: str, value: ArrayLike) -> FloatArray:
    """Return profiles as finite float64, shape (n, S)."""
    array = as_floats(name, value, ndim=2)
    require_finite(name, array)
    return array


#: Principal components in which densities are estimated, and profiles of a side that they are estimated on.
N_COMPONENTS, MAX_KERNELS = 8, 4000
#: Entries of a block of kernels by points.
_BLOCK = 2_000_000
#: kWh: distances below it count as it, so that ratios of copies stay finite.
_FLOOR_KWH = 1e-6


def membership_scores(
    kind: str, synthetic: ArrayLike, attacked: ArrayLike, reference: ArrayLike, seed: int = 0
) -> FloatArray:
    """Score each attacked profile; higher means "trained on".

    Kinds:
        discriminator: log-odds of gradient-boosted trees that were trained to tell the release from the reference.
        distance: minus the distance to the nearest released profile.
        relative_distance: log of the distance to the nearest reference profile over that to the nearest released
            one; a day that is near to everybody's is no evidence.
        density: log density of the release over that of the reference (DOMIAS: van Breugel et al. 2023), each a sum
            of Gaussian kernels (Scott's bandwidth) over the first whitened principal components of the reference.

    Args:
        kind: of the attack.
        synthetic: released profiles in kWh, shape (n, S).
        attacked: profiles to score, shape (m, S).
        reference: profiles of households that were neither trained on nor are attacked, shape (r, S).
        seed: of trees and subsamples.

    Returns:
        Scores, shape (m,).

    Raises:
        InputError: an unknown kind, fewer than 2 profiles of release or reference, other steps, NaN.
    """
    require_choice("attack", kind, ATTACKS)
    made, wanted, known = (
        profile_matrix(name, value)
        for name, value in (("synthetic", synthetic), ("attacked", attacked), ("reference", reference))
    )
    for name, side in (("synthetic", made), ("reference", known)):
        require_shape(name, side, (None, wanted.shape[1]))
        if len(side) < 2:
            raise InputError(f"{name}: expected at least 2 profiles, got {len(side)}.")
    return ATTACKS[kind](made, wanted, known, seed)


def household_scores(scores: ArrayLike, household: ArrayLike, top: float = 1.0) -> tuple[FloatArray, IntArray]:
    """Mean of each household's highest record scores.

    Args:
        scores: of records, shape (m,).
        household: of each record, shape (m,).
        top: share of a household's records that counts, at least one; 1 takes all.

    Returns:
        Scores and households, in ascending order of the household; shape (h,) each.

    Raises:
        InputError: shapes that do not fit, NaN, a share outside of (0, 1].
    """
    own = as_floats("scores", scores, ndim=1)
    require_finite("scores", own)
    who = np.asarray(household)
    require_shape("household", who, own.shape)
    if not 0 < top <= 1:
        raise InputError(f"top: expected a share above 0 and at most 1, got {top!r}.")
    order = np.lexsort((-own, who))
    names, start, count = np.unique(who[order], return_index=True, return_counts=True)
    place = np.arange(len(own)) - np.repeat(start, count)
    kept = place < np.maximum(1, np.ceil(top * np.repeat(count, count) - 1e-9))
    if not len(names):
        return own, names
    return np.add.reduceat(own[order] * kept, start) / np.add.reduceat(kept.astype(np.float64), start), names


def _discriminator(made: FloatArray, wanted: FloatArray, known: FloatArray, seed: int) -> FloatArray:
    from sklearn.ensemble import HistGradientBoostingClassifier

    random = np.random.default_rng(seed)
    # As many of each side, so that trees do not learn which is larger.
    n = min(len(made), len(known))
    sides = [side[random.permutation(len(side))[:n]] for side in (made, known)]
    trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
    trees.fit(np.concatenate(sides), np.repeat([1, 0], n))
    return np.asarray(trees.decision_function(wanted), dtype=np.float64)


def _distance(made: FloatArray, wanted: FloatArray, known: FloatArray, seed: int) -> FloatArray:
    return -nearest_records(wanted, made).distance


def _relative_distance(made: FloatArray, wanted: FloatArray, known: FloatArray, seed: int) -> FloatArray:
    released, other = (np.maximum(nearest_records(wanted, side).distance, _FLOOR_KWH) for side in (made, known))
    return np.log(other / released)


def _density(made: FloatArray, wanted: FloatArray, known: FloatArray, seed: int) -> FloatArray:
    from sklearn.decomposition import PCA

    random = np.random.default_rng(seed)
    n = min(len(made), len(known), MAX_KERNELS)
    made, known = (side[random.permutation(len(side))[:n]] for side in (made, known))
    # Whitened by the reference, and as many kernels of one width: densities differ by where the profiles are alone.
    space = PCA(min(N_COMPONENTS, known.shape[1], n - 1), whiten=True, svd_solver="full").fit(known)
    width = n ** (-1 / (space.n_components_ + 4))
    released, other, asked = (space.transform(side) / width for side in (made, known, wanted))
    return log_kernel_sum(asked, released) - log_kernel_sum(asked, other)


def log_kernel_sum(points: FloatArray, kernels: FloatArray) -> FloatArray:
    """Logarithm of the sum of standard Gaussian kernels at each point, without their constant; shape (m,)."""
    squared = (kernels**2).sum(axis=1) / 2
    found = np.empty(len(points))
    size = max(1, _BLOCK // len(kernels))
    for start in range(0, len(points), size):
        block = points[start : start + size]
        exponent = block @ kernels.T - squared
        found[start : start + size] = logsumexp(exponent, axis=1) - (block**2).sum(axis=1) / 2
    return found


#: Attacks by name: `attack(synthetic, attacked, reference, seed)`.
ATTACKS: dict[str, Callable[[FloatArray, FloatArray, FloatArray, int], FloatArray]] = {
    "distance": _distance,
    "relative_distance": _relative_distance,
    "density": _density,
    "discriminator": _discriminator,
}
