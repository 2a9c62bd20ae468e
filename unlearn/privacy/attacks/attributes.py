"""Attribute inference: what a release helps to learn about households that it was learnt from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, require_shape
from unlearn.errors import InputError
from unlearn.privacy.attacks.nearest import profile_matrix
from unlearn.privacy.attacks.outcome import LEVEL, N_BOOTSTRAP, Estimate


@dataclass(frozen=True, eq=False)
class Guesses:
    """What an attacker guesses of each household.

    Attributes:
        truth: value of the attribute of each household, shape (h,).
        guess: what the attacker says, shape (h,).
    """

    truth: IntArray
    guess: IntArray

    def balanced_accuracy(self, weight: FloatArray | None = None) -> float:
        """Recall averaged over the values that occur, so that guessing the commonest gives 1 / values."""
        own = np.ones(len(self.truth)) if weight is None else weight
        total = np.bincount(self.truth, own)
        right = np.bincount(self.truth, own * (self.guess == self.truth), minlength=len(total))
        return float((right[total > 0] / total[total > 0]).mean())


def infer_attribute(
    profiles: ArrayLike, values: ArrayLike, attacked: ArrayLike, household: ArrayLike, truth: ArrayLike, seed: int = 0
) -> Guesses:
    """Guess an attribute of households from their days, with a classifier that learns from other profiles.

    Gradient-boosted trees give each day a probability of each value, which is divided by the value's share of what was
    learnt from, so that all values count alike; a household's guess is the value with the largest sum of logarithms
    over its days.

    Args:
        profiles: what the attacker learns from, such as a release, in kWh, shape (n, S).
        values: the attribute of each, as whole numbers of at least 0, shape (n,).
        attacked: days of the households attacked, shape (m, S).
        household: of each attacked day, shape (m,).
        truth: the attribute of each attacked day's household, shape (m,).
        seed: of the trees.

    Returns:
        Truth and guess of each household, in ascending order of the household.

    Raises:
        InputError: shapes that do not fit, NaN, or fewer than two values to learn from.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    learnt, asked = profile_matrix("profiles", profiles), profile_matrix("attacked", attacked)
    known, who, real = np.asarray(values), np.asarray(household), np.asarray(truth)
    require_shape("values", known, (len(learnt),))
    require_shape("attacked", asked, (None, learnt.shape[1]))
    for name, array in (("household", who), ("truth", real)):
        require_shape(name, array, (len(asked),))
    if len(np.unique(known)) < 2:
        raise InputError(
            f"values: expected at least two values of the attribute to learn from, got {len(np.unique(known))}."
        )
    trees = HistGradientBoostingClassifier(early_stopping=False, max_iter=30, max_leaf_nodes=15, random_state=seed)
    trees.fit(learnt, known)
    # Weights of the classes would do the same, and make scikit-learn's binning ten times slower.
    share = (known[:, None] == trees.classes_).mean(axis=0)
    log = np.log(np.maximum(trees.predict_proba(asked), 1e-12) / share)
    order = np.argsort(who, kind="stable")
    start = np.unique(who[order], return_index=True)[1]
    guess = trees.classes_[np.add.reduceat(log[order], start, axis=0).argmax(axis=1)]
    return Guesses(real[order][start].astype(np.int64), guess.astype(np.int64))


def majority_guesses(values: ArrayLike, truth: ArrayLike) -> Guesses:
    """The attacker who always says the commonest value.

    Args:
        values: those of the households that the attacker knows, shape (n,).
        truth: those of the attacked households, shape (h,).
    """
    real = np.asarray(truth, dtype=np.int64)
    return Guesses(real, np.full(len(real), np.bincount(np.asarray(values, dtype=np.int64)).argmax()))


def accuracy_of(guesses: Guesses, seed: int = 0) -> Estimate:
    """Balanced accuracy with a bootstrap interval over households."""
    draws = [guesses.balanced_accuracy(weight) for weight in _weights(len(guesses.truth), seed)]
    return _estimate(guesses.balanced_accuracy(), draws)


def gain_of(guesses: Guesses, beside: Guesses, seed: int = 0) -> Estimate:
    """Difference of the balanced accuracies of two attackers on the same households, resampled together.

    Raises:
        InputError: other households.
    """
    if not np.array_equal(guesses.truth, beside.truth):
        raise InputError("gain: expected guesses about the same households in the same order.")
    draws = [
        guesses.balanced_accuracy(weight) - beside.balanced_accuracy(weight)
        for weight in _weights(len(guesses.truth), seed)
    ]
    return _estimate(guesses.balanced_accuracy() - beside.balanced_accuracy(), draws)


def _weights(n: int, seed: int) -> FloatArray:
    """Times that each household is drawn, shape (draws, n)."""
    random = np.random.default_rng(seed)
    return random.multinomial(n, np.full(n, 1 / n), size=N_BOOTSTRAP).astype(np.float64)


def _estimate(value: float, draws: list[float]) -> Estimate:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(min(low, value)), float(max(high, value)))
