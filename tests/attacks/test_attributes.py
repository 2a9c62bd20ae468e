"""Attribute inference: accuracy against scikit-learn, what a release adds, and what is refused."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from unlearn.attacks import Guesses, Trial, accuracy_of, gain_of, infer_attribute, leak_of, majority_guesses
from unlearn.errors import InputError


def labelled(n: int, days: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days, household and value; value 1 uses twice as much in the evening."""
    random = np.random.default_rng(seed)
    value = (random.random(n) < 0.3).astype(np.int64)
    kwh = random.gamma(2.0, 0.1, (n * days, 24))
    kwh[:, 16:] *= 1 + np.repeat(value, days)[:, None]
    return kwh, np.repeat(np.arange(n), days), np.repeat(value, days)


def test_a_value_that_shows_is_guessed_and_one_that_does_not_is_not() -> None:
    (kwh, _, value), (asked, who, truth) = labelled(60, 5, 0), labelled(40, 5, 1)
    found = infer_attribute("trees", kwh, value, asked, who, truth)
    assert accuracy_of(found).low > 0.8
    np.testing.assert_array_equal(found.truth, truth[::5])
    shuffled = np.random.default_rng(2).permutation(value)
    assert accuracy_of(infer_attribute("trees", kwh, shuffled, asked, who, truth)).low < 0.6


def test_rare_values_count_as_much_as_frequent_ones() -> None:
    guesses = Guesses(np.array([0, 0, 0, 0, 2]), np.array([0, 0, 0, 2, 2]))
    assert guesses.balanced_accuracy() == balanced_accuracy_score(guesses.truth, guesses.guess)
    assert majority_guesses([1, 0, 0], guesses.truth).balanced_accuracy() == 0.5
    found = accuracy_of(guesses)
    assert found.low <= found.value <= found.high


def test_a_gain_is_between_guesses_about_the_same_households() -> None:
    truth = np.tile([0, 1], 20)
    right, wrong = Guesses(truth, truth), majority_guesses(truth, truth)
    assert gain_of(Trial(right, wrong))[:2] == (0.5, 0.5)
    assert gain_of(Trial(right, right)) == (0.0, 0.0, 0.0)
    assert leak_of(Trial(right, wrong), Trial(right, right))[:2] == (0.5, 0.5)
    assert leak_of(Trial(right, wrong), Trial(right, wrong)).value == 0.0
    with pytest.raises(InputError, match="gain: expected guesses about the same households"):
        gain_of(Trial(right, Guesses(truth[1:], truth[1:])))


def test_other_draws_of_what_was_learnt_from_widen_an_interval() -> None:
    truth = np.tile([0, 1], 20)
    random = np.random.default_rng(0)
    right, *redrawn = (Guesses(truth, np.where(random.random(40) < 0.2 * i, 1 - truth, truth)) for i in (1, 0, 1, 2))
    alone, wider = accuracy_of(right), accuracy_of(right, 0, redrawn)
    assert alone.value == wider.value
    assert wider.high - wider.low > alone.high - alone.low


def test_copied_days_with_labels_are_found_whatever_the_label() -> None:
    (kwh, who, _) = labelled(40, 5, 0)
    value = np.random.default_rng(3).integers(0, 2, 40)[who]
    assert infer_attribute("nearest", kwh, value, kwh, who, value).balanced_accuracy() == 1.0
    strangers = labelled(40, 5, 1)[0]
    assert accuracy_of(infer_attribute("nearest", strangers, value, kwh, who, value)).low < 0.6
    # A value of days without energy alone is never guessed.
    empty = np.where(value[:, None] == 1, 0.0, kwh)
    assert not infer_attribute("nearest", empty, value, kwh, who, value).guess.any()


def test_unusable_input_is_refused() -> None:
    kwh, who, value = labelled(10, 2, 0)
    with pytest.raises(InputError, match="expected at least two values of the attribute"):
        infer_attribute("trees", kwh, 0 * value, kwh, who, value)
    with pytest.raises(InputError, match="values: expected shape"):
        infer_attribute("trees", kwh, value[1:], kwh, who, value)
    with pytest.raises(InputError, match="truth: expected shape"):
        infer_attribute("trees", kwh, value, kwh, who, value[1:])
    with pytest.raises(InputError, match="classifier"):
        infer_attribute("magic", kwh, value, kwh, who, value)
