"""Inference: known releases, tolerance and gaps by hand, and what is refused."""

import numpy as np
import pytest

from tests.attacks.mixed import people
from unlearn.attacks import inference_risk
from unlearn.attacks.inference import _guessed
from unlearn.errors import InputError

KNOWN = ["level", "night", "area"]


@pytest.mark.parametrize("secret", ["floor", "solar"])
def test_a_copy_tells_secrets_and_independent_records_tell_none(secret: str) -> None:
    mine, control = people(300, 0), people(300, 1)
    copy = inference_risk(mine, mine, control, KNOWN, secret)
    assert copy.attack.value > 0.98
    assert copy.risk.low > 0.9
    other = inference_risk(people(300, 2), mine, control, KNOWN, secret)
    assert other.risk.low == 0.0
    assert other.risk.value < 0.2


def test_what_is_true_of_everybody_is_no_risk() -> None:
    found = inference_risk(people(300, 2), people(300, 0), people(300, 1), ["level"], "peak", tolerance=0.2)
    assert found.attack.low > 0.6
    assert found.baseline.high < found.attack.low
    assert found.risk.value < 0.3
    assert found.risk.low == 0.0


def test_guesses_are_near_by_the_truth_and_gaps_by_gaps() -> None:
    guess = np.array([1.05, 1.06, 0.0, 0.1, np.nan, np.nan, 1.0])
    truth = np.array([1.0, 1.0, 0.0, 0.0, np.nan, 1.0, np.nan])
    expected = [True, False, True, False, True, False, False]
    np.testing.assert_array_equal(_guessed(guess, truth, 0.05 + 1e-12), expected)


def test_unusable_input_is_refused() -> None:
    frame = people(5, 0)
    with pytest.raises(InputError, match="known: expected columns other than the secret, got level"):
        inference_risk(frame, frame, frame, KNOWN, "level")
    with pytest.raises(InputError, match="tolerance"):
        inference_risk(frame, frame, frame, KNOWN, "peak", tolerance=-0.1)
    with pytest.raises(InputError, match="secret: expected columns among"):
        inference_risk(frame, frame, frame, KNOWN, "income")
