"""Membership in a generator's training, from its release: nearest records and what they tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.attacks.base import Attack, make_attack
from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_shape
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


#: Entries of a block of kernels by points.
_BLOCK = 2_000_000
#: kWh: distances below it count as it, so that ratios of copies stay finite.
_FLOOR_KWH = 1e-6


def membership_scores(
    attack: str | Attack, synthetic: ArrayLike, attacked: ArrayLike, reference: ArrayLike, seed: int = 0
) -> FloatArray:
    """Score each attacked profile; higher means "trained on".

    Args:
        attack: by its name in `ATTACKS` with its default settings, or an object.
        synthetic: released profiles in kWh, shape (n, S).
        attacked: profiles to score, shape (m, S).
        reference: profiles of households that were neither trained on nor are attacked, shape (r, S).
        seed: of whatever is drawn.

    Returns:
        Scores, shape (m,).

    Raises:
        InputError: an unknown attack, fewer than 2 profiles of release or reference, other steps, NaN.
    """
    found = make_attack(attack)
    made, wanted, known = (
        profile_matrix(name, value)
        for name, value in (("synthetic", synthetic), ("attacked", attacked), ("reference", reference))
    )
    for name, side in (("synthetic", made), ("reference", known)):
        require_shape(name, side, (None, wanted.shape[1]))
        if len(side) < 2:
            raise InputError(f"{name}: expected at least 2 profiles, got {len(side)}.")
    scores = as_floats("scores", found.score(made, wanted, known, seed), ndim=1)
    require_shape("scores", scores, (len(wanted),))
    return scores


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


@dataclass(frozen=True)
class Distance(Attack):
    """Minus the distance to the nearest released profile."""

    name: str = "distance"
    label: ClassVar[str] = "distance"
    score_of_a_copy: ClassVar[float | None] = 0.0

    def score(self, synthetic: FloatArray, attacked: FloatArray, reference: FloatArray, seed: int = 0) -> FloatArray:
        return -nearest_records(attacked, synthetic).distance


@dataclass(frozen=True)
class RelativeDistance(Attack):
    """Log of the distance to the nearest reference profile over that to the nearest released one.

    A day that is near to everybody's is no evidence.
    """

    name: str = "relative_distance"
    label: ClassVar[str] = "relative distance"

    def score(self, synthetic: FloatArray, attacked: FloatArray, reference: FloatArray, seed: int = 0) -> FloatArray:
        sides = (synthetic, reference)
        released, other = (np.maximum(nearest_records(attacked, side).distance, _FLOOR_KWH) for side in sides)
        return np.log(other / released)


@dataclass(frozen=True)
class Density(Attack):
    """Log density of the release over that of the reference (DOMIAS: van Breugel et al. 2023).

    Each is a sum of Gaussian kernels (Scott's bandwidth) over the first whitened principal components of the reference.

    Attributes:
        n_components: principal components.
        max_kernels: profiles of a side that densities are estimated on.
        name: for records.
    """

    n_components: int = 8
    max_kernels: int = 4000
    name: str = "density"
    label: ClassVar[str] = "density"

    def score(self, synthetic: FloatArray, attacked: FloatArray, reference: FloatArray, seed: int = 0) -> FloatArray:
        from sklearn.decomposition import PCA

        random = np.random.default_rng(seed)
        n = min(len(synthetic), len(reference), self.max_kernels)
        made, known = (side[random.permutation(len(side))[:n]] for side in (synthetic, reference))
        # Whitened by the reference, and as many kernels of one width: densities differ by where the profiles are alone.
        n_components = min(self.n_components, known.shape[1], n - 1)
        space = PCA(n_components, whiten=True, svd_solver="full").fit(known)
        width = n ** (-1 / (space.n_components_ + 4))
        released, other, asked = (space.transform(side) / width for side in (made, known, attacked))
        return log_kernel_sum(asked, released) - log_kernel_sum(asked, other)


@dataclass(frozen=True)
class Discriminator(Attack):
    """Log-odds of gradient-boosted trees that were trained to tell the release from the reference."""

    name: str = "discriminator"
    label: ClassVar[str] = "discriminator"

    def score(self, synthetic: FloatArray, attacked: FloatArray, reference: FloatArray, seed: int = 0) -> FloatArray:
        from sklearn.ensemble import HistGradientBoostingClassifier

        random = np.random.default_rng(seed)
        # As many of each side, so that trees do not learn which is larger.
        n = min(len(synthetic), len(reference))
        sides = [side[random.permutation(len(side))[:n]] for side in (synthetic, reference)]
        trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
        trees.fit(np.concatenate(sides), np.repeat([1, 0], n))
        return np.asarray(trees.decision_function(attacked), dtype=np.float64)


def log_kernel_sum(points: FloatArray, kernels: FloatArray) -> FloatArray:
    """Logarithm of the sum of standard Gaussian kernels at each point, without their constant; shape (m,)."""
    from scipy.special import logsumexp

    squared = (kernels**2).sum(axis=1) / 2
    found = np.empty(len(points))
    size = max(1, _BLOCK // len(kernels))
    for start in range(0, len(points), size):
        block = points[start : start + size]
        exponent = block @ kernels.T - squared
        found[start : start + size] = logsumexp(exponent, axis=1) - (block**2).sum(axis=1) / 2
    return found
