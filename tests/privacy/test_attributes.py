"""Attribute inference: accuracy against scikit-learn, what a release adds, and what is refused."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from unlearn.errors import InputError
from unlearn.privacy.attacks import Guesses, accuracy_of, gain_of, infer_attribute, majority_guesses


def labelled(n: int, days: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days, household and value; value 1 uses twice as much in the evening."""
    random = np.random.default_rng(seed)
    value = (random.random(n) < 0.3).astype(np.int64)
    kwh = random.gamma(2.0, 0.1, (n * days, 24))
    kwh[:, 16:] *= 1 + np.repeat(value, days)[:, None]
    return kwh, np.repeat(np.arange(n), days), np.repeat(value, days)


def test_a_value_that_shows_is_guessed_and_one_that_does_not_is_not() -> None:
    (kwh, _, value), (asked, who, truth) = labelled(60, 5, 0), labelled(40, 5, 1)
    found = infer_attribute(kwh, value, asked, who, truth)
    assert accuracy_of(found).low > 0.8
    np.testing.assert_array_equal(found.truth, truth[::5])
    shuffled = np.random.default_rng(2).permutation(value)
    assert accuracy_of(infer_attribute(kwh, shuffled, asked, who, truth)).low < 0.6


def test_rare_values_count_as_much_as_frequent_ones() -> None:
    guesses = Guesses(np.array([0, 0, 0, 0, 2]), np.array([0, 0, 0, 2, 2]))
    assert guesses.balanced_accuracy() == balanced_accuracy_score(guesses.truth, guesses.guess)
    assert majority_guesses([1, 0, 0], guesses.truth).balanced_accuracy() == 0.5
    found = accuracy_of(guesses)
    assert found.low <= found.value <= found.high


def test_a_gain_is_between_guesses_about_the_same_households() -> None:
    truth = np.tile([0, 1], 20)
    right, wrong = Guesses(truth, truth), majority_guesses(truth, truth)
    assert gain_of(right, wrong)[:2] == (0.5, 0.5)
    assert gain_of(right, right) == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="gain: expected guesses about the same households"):
        gain_of(right, Guesses(truth[1:], truth[1:]))


def test_unusable_input_is_refused() -> None:
    kwh, who, value = labelled(10, 2, 0)
    with pytest.raises(InputError, match="expected at least two values of the attribute"):
        infer_attribute(kwh, 0 * value, kwh, who, value)
    with pytest.raises(InputError, match="values: expected shape"):
        infer_attribute(kwh, value[1:], kwh, who, value)
    with pytest.raises(InputError, match="truth: expected shape"):
        infer_attribute(kwh, value, kwh, who, value[1:])
