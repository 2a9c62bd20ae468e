"""Attribute inference: what a release helps to learn about households that it was learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn.attacks.base import Classifier, make_classifier
from unlearn.attacks.membership import nearest_records, profile_matrix
from unlearn.attacks.outcome import LEVEL, N_BOOTSTRAP, Estimate, bootstrap_weights
from unlearn.checks import FloatArray, IntArray, require_shape
from unlearn.errors import InputError


@dataclass(frozen=True, eq=False)
class Guesses:
    """What an attacker guesses of each household.

    Attributes:
        truth: value of the attribute of each household, shape (h,).
        guess: what the attacker says, shape (h,).
    """

    truth: IntArray
    guess: IntArray

    def balanced_accuracy(self) -> float:
        """Recall averaged over the values that occur, so that guessing the commonest gives 1 / values."""
        total = np.bincount(self.truth)
        right = np.bincount(self.truth, self.guess == self.truth, minlength=len(total))
        return float((right[total > 0] / total[total > 0]).mean())


def infer_attribute(
    classifier: str | Classifier,
    profiles: ArrayLike,
    values: ArrayLike,
    attacked: ArrayLike,
    household: ArrayLike,
    truth: ArrayLike,
    seed: int = 0,
) -> Guesses:
    """Guess an attribute of households from their days, with a classifier that learns from other profiles.

    A day gives each value a score, and a household's guess is the value with the largest sum over its days. Values
    count alike, however frequent they are in what was learnt from.

    Args:
        classifier: by its name in `CLASSIFIERS` with its default settings, or an object.
        profiles: what the attacker learns from, such as a release, in kWh, shape (n, S).
        values: the attribute of each, as whole numbers of at least 0, shape (n,).
        attacked: days of the households attacked, shape (m, S).
        household: of each attacked day, shape (m,).
        truth: the attribute of each attacked day's household, shape (m,).
        seed: of trees and subsamples.

    Returns:
        Truth and guess of each household, in ascending order of the household.

    Raises:
        InputError: an unknown classifier, shapes that do not fit, NaN, or fewer than two values to learn from.
    """
    found = make_classifier(classifier)
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
    classes = np.unique(known)
    score = found.score(learnt, known, asked, seed)
    order = np.argsort(who, kind="stable")
    start = np.unique(who[order], return_index=True)[1]
    guess = classes[np.add.reduceat(score[order], start, axis=0).argmax(axis=1)]
    return Guesses(real[order][start].astype(np.int64), guess.astype(np.int64))


#: kWh: what meters tell apart, so that the logarithm of a copy's distance stays finite, and further than any day.
_RESOLUTION_KWH, _FAR_KWH = 1e-3, 1e6


@dataclass(frozen=True)
class BoostedTrees(Classifier):
    """Log probability of gradient-boosted trees over the value's share of what was learnt from.

    It finds what is common to a value.

    Attributes:
        max_iter: trees.
        max_leaf_nodes: of a tree.
        name: for records.
    """

    max_iter: int = 30
    max_leaf_nodes: int = 15
    name: str = "trees"

    def score(self, profiles: FloatArray, values: IntArray, attacked: FloatArray, seed: int = 0) -> FloatArray:
        from sklearn.ensemble import HistGradientBoostingClassifier

        sizes = {"max_iter": self.max_iter, "max_leaf_nodes": self.max_leaf_nodes}
        trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **sizes)
        trees.fit(profiles, values)
        # Weights of the classes would do the same, and make scikit-learn's binning ten times slower.
        share = (values[:, None] == trees.classes_).mean(axis=0)
        return np.log(np.maximum(trees.predict_proba(attacked), 1e-12) / share)


@dataclass(frozen=True)
class NearestProfile(Classifier):
    """Minus the logarithm of the distance to the nearest profile of the value, of as many profiles of each.

    It finds copies. Profiles without energy are nobody's and left out.
    """

    name: str = "nearest"

    def score(self, profiles: FloatArray, values: IntArray, attacked: FloatArray, seed: int = 0) -> FloatArray:
        random = np.random.default_rng(seed)
        used = profiles.any(axis=1)
        classes = np.unique(values)
        rows = [random.permutation(np.flatnonzero((values == value) & used)) for value in classes]
        # The nearest of many is nearer: as many of each value. A value of days without energy alone is never guessed.
        n = min((len(own) for own in rows if len(own)), default=0)
        score = np.full((len(attacked), len(classes)), np.log(_FAR_KWH))
        for column, own in zip(score.T, rows, strict=True):
            if len(own):
                column[:] = np.log(nearest_records(attacked, profiles[own[:n]]).distance + _RESOLUTION_KWH)
        return -score


def majority_guesses(values: ArrayLike, truth: ArrayLike) -> Guesses:
    """The attacker who always says the commonest value.

    Args:
        values: those of the households that the attacker knows, shape (n,).
        truth: those of the attacked households, shape (h,).
    """
    real = np.asarray(truth, dtype=np.int64)
    return Guesses(real, np.full(len(real), np.bincount(np.asarray(values, dtype=np.int64)).argmax()))


class Trial(NamedTuple):
    """Guesses about the same households by an attacker with the release, and by one without it."""

    release: Guesses
    without: Guesses


def accuracy_of(guesses: Guesses, seed: int = 0, redrawn: Sequence[Guesses] = ()) -> Estimate:
    """Balanced accuracy, with an interval over households and over what the attacker learnt from.

    Args:
        guesses: about the attacked households, which a bootstrap resamples.
        seed: of the bootstrap.
        redrawn: guesses of attackers who learnt from other draws; their spread is added. None leave it out.
    """
    return _estimate([(1.0, guesses)], [[(1.0, own)] for own in redrawn], seed)


def gain_of(trial: Trial, seed: int = 0, redrawn: Sequence[Trial] = ()) -> Estimate:
    """Balanced accuracy with the release less that without it, of the same households, resampled together.

    It says what the release teaches, also about everybody: an attacker who learns from more households guesses better.

    Raises:
        InputError: other households.
    """
    return _estimate(_signed(trial, 1.0), [_signed(own, 1.0) for own in redrawn], seed)


def leak_of(members: Trial, others: Trial, seed: int = 0) -> Estimate:
    """Gain about households that took part less the gain about households that did not.

    A release that knows neither gains as much about both on average, whatever it and the reference were learnt from, so
    that the interval needs the draw of attacked households only.

    Raises:
        InputError: guesses of a trial about other households.
    """
    return _estimate([*_signed(members, 1.0), *_signed(others, -1.0)], [], seed)


def _signed(trial: Trial, sign: float) -> list[tuple[float, Guesses]]:
    if not np.array_equal(trial.release.truth, trial.without.truth):
        raise InputError("gain: expected guesses about the same households in the same order.")
    return [(sign, trial.release), (-sign, trial.without)]


def _estimate(
    terms: list[tuple[float, Guesses]], redrawn: Sequence[list[tuple[float, Guesses]]], seed: int
) -> Estimate:
    """Signed sum of balanced accuracies; terms about the same households are resampled together."""
    value = sum(sign * own.balanced_accuracy() for sign, own in terms)
    # Terms come in pairs about the same households, which share a seed and hence the draws.
    draws = np.zeros(N_BOOTSTRAP)
    for i, (sign, own) in enumerate(terms):
        draws += sign * _accuracies(own, bootstrap_weights(len(own.truth), N_BOOTSTRAP, seed + i // 2))
    other = np.array([sum(sign * own.balanced_accuracy() for sign, own in each) for each in redrawn])
    if len(other) > 1:
        # Draws that lack some households guess worse: only their spread counts, not their mean.
        draws += np.resize((other - other.mean()) * np.sqrt(len(other) / (len(other) - 1)), N_BOOTSTRAP)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def _accuracies(guesses: Guesses, weight: FloatArray) -> FloatArray:
    """Balanced accuracy of each draw of households, shape (D,)."""
    member = (guesses.truth[:, None] == np.unique(guesses.truth)).astype(np.float64)
    total = weight @ member
    right = weight @ (member * (guesses.guess == guesses.truth)[:, None])
    drawn = total > 0
    return (right / np.where(drawn, total, 1.0)).sum(axis=1) / drawn.sum(axis=1)
