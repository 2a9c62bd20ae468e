"""The loss attack against a loop, and what it refuses."""

import numpy as np
import pytest

from unlearn.attacks import loss_scores
from unlearn.errors import InputError


def test_scores_are_minus_the_mean_squared_error_of_each_record() -> None:
    residuals = np.random.default_rng(0).normal(size=(3, 5, 2))
    scores = loss_scores(residuals)
    for model in range(3):
        for row in range(5):
            assert scores[model, row] == pytest.approx(-sum(e * e for e in residuals[model, row]) / 2)
    np.testing.assert_array_equal(loss_scores(residuals[1]), scores[1])


@pytest.mark.parametrize("residuals", [np.zeros(4), np.zeros((2, 0)), np.zeros((1, 2, 3, 4))])
def test_other_shapes_are_refused(residuals: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected shape \(n, B\) or \(k, n, B\)"):
        loss_scores(residuals)


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="residuals: expected finite"):
        loss_scores([[np.nan]])
