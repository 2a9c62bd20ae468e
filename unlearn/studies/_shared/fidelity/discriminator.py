"""Discriminative score: how well a classifier that has seen both tells released days from real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, as_floats, require_shape
from unlearn.errors import InputError

#: Draws of the bootstrap, and the interval that is taken from them.
N_BOOTSTRAP = 200
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Discrimination:
    """How well a classifier told two sets of profiles apart; 0.5 and 0 are "not at all".

    Attributes:
        auc: area under the ROC curve: the share of pairs of one profile of each side that are ranked rightly.
        auc_low: lower end of its 95 % bootstrap interval.
        auc_high: upper end.
        score: |balanced accuracy − 0.5|, the discriminative score of Yoon et al., "Time-series GAN", 2019; there of a
            recurrent network's plain accuracy.
        n_rows: profiles that it was measured on, both sides together.
    """

    auc: float
    auc_low: float
    auc_high: float
    score: float
    n_rows: int


def discriminate(left: ArrayLike, right: ArrayLike, right_group: ArrayLike, seed: int) -> Discrimination:
    """Train gradient-boosted trees to tell `left` from `right`, and measure them on profiles they have not seen.

    Half of each side trains the trees, the other half measures them. The right side is divided by household. The
    left side has no households, as a release has none; but identical profiles stay on one side. The interval is from
    a bootstrap over households on the right and over profiles on the left, with the trees as they are.

    Args:
        left: energy of the profiles to judge, in random order, shape (n, S).
        right: energy of real profiles in random order, shape (m, S).
        right_group: household of each real profile, shape (m,).
        seed: of divisions, trees and bootstrap.

    Raises:
        InputError: different numbers of steps, or fewer than two households or two different profiles on a side.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    first, second = as_floats("left", left, ndim=2), as_floats("right", right, ndim=2)
    require_shape("right", second, (None, first.shape[1]))
    household = np.unique(np.asarray(right_group), return_inverse=True)[1].astype(np.int64)
    require_shape("right_group", household, (len(second),))
    random = np.random.default_rng(seed)
    copies = np.unique(first, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    seen = [_half_of_groups(name, group, random) for name, group in (("left", copies), ("right", household))]
    # As many of each side; weights would make scikit-learn's binning ten times slower.
    n_each = int(min(mask.sum() for mask in seen))
    train = np.concatenate([side[mask][:n_each] for side, mask in zip((first, second), seen, strict=True)])
    trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
    trees.fit(train, np.repeat([1, 0], n_each))
    probability = [trees.predict_proba(side[~mask])[:, 1] for side, mask in zip((first, second), seen, strict=True)]
    balanced = ((probability[0] > 0.5).mean() + (probability[1] <= 0.5).mean()) / 2
    auc, draws = _auc(probability[0], probability[1], household[~seen[1]], random)
    low, high = np.quantile(draws, INTERVAL)
    return Discrimination(auc, float(low), float(high), float(abs(balanced - 0.5)), sum(map(len, probability)))


def _half_of_groups(name: str, group: IntArray, random: np.random.Generator) -> np.ndarray:
    """Mask of the rows of about half the groups."""
    n_groups = int(group.max()) + 1 if len(group) else 0
    if n_groups < 2:
        what = "different profiles" if name == "left" else "households"
        raise InputError(f"{name}: expected at least 2 {what}, one to train on and one to measure on, got {n_groups}.")
    return (random.permutation(n_groups) < n_groups // 2)[group]


def _auc(
    left: FloatArray, right: FloatArray, household: IntArray, random: np.random.Generator
) -> tuple[float, FloatArray]:
    """The area under the curve, and draws of it with households and left profiles resampled, shape (draws,)."""
    ordered = np.sort(left)
    below = np.searchsorted(ordered, right, side="left")
    up_to = np.searchsorted(ordered, right, side="right")
    # Share of left profiles ranked above each right one, ties counting half.
    above = 1.0 - (below + up_to) / (2 * len(left))
    kept, place = np.unique(household, return_inverse=True)
    draws = np.empty(N_BOOTSTRAP)
    for draw in range(N_BOOTSTRAP):
        count = np.bincount(random.integers(len(left), size=len(left)), minlength=len(left))
        total = np.concatenate([[0], np.cumsum(count)])
        again = 1.0 - (total[below] + total[up_to]) / (2 * len(left))
        weight = np.bincount(random.integers(len(kept), size=len(kept)), minlength=len(kept))[place]
        draws[draw] = np.average(again, weights=weight)
    return float(above.mean()), draws
