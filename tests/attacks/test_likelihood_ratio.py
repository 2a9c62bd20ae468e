"""The likelihood-ratio attack against SciPy's densities and against a case whose optimum is known."""

import numpy as np
import pytest
from scipy.stats import norm

from unlearn.attacks import likelihood_ratio_scores, measure_attack
from unlearn.errors import InputError


def test_scores_are_log_likelihood_ratios() -> None:
    random = np.random.default_rng(0)
    member = random.random((40, 5)) < 0.5
    shadow = random.normal(size=(40, 5, 3)) - member[..., None]
    observed = random.normal(size=(5, 3))
    scores = likelihood_ratio_scores(observed, shadow, member)
    for record in range(5):
        truth = 0.0
        for column in range(3):
            inside, outside = (shadow[chosen, record, column] for chosen in (member[:, record], ~member[:, record]))
            at = observed[record, column]
            truth += norm.logpdf(at, inside.mean(), inside.std()) - norm.logpdf(at, outside.mean(), outside.std())
        assert scores[record] == pytest.approx(truth)


def test_records_of_different_difficulty_are_told_better_than_by_loss() -> None:
    random = np.random.default_rng(1)
    difficulty = random.normal(scale=10, size=400)
    member = random.random((200, 400)) < 0.5
    shadow = difficulty - member + random.normal(size=(200, 400))
    truth = random.random(400) < 0.5
    observed = difficulty - truth + random.normal(size=400)
    scores = likelihood_ratio_scores(observed, shadow, member)
    by_ratio = measure_attack(scores[truth], scores[~truth], unit="row").auc.value
    by_loss = measure_attack(-observed[truth], -observed[~truth], unit="row").auc.value
    assert by_ratio == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.05)
    assert by_loss < 0.6


def test_statistics_that_never_move_say_nothing() -> None:
    member = np.tile([[True], [False]], (8, 3))
    assert likelihood_ratio_scores(np.ones(3), np.ones((16, 3)), member) == pytest.approx(0)


def test_unusable_input_is_refused() -> None:
    member = np.tile([[True], [False]], (8, 3))
    with pytest.raises(InputError, match="at least 8 shadow models"):
        likelihood_ratio_scores(np.ones(3), np.ones((4, 3)), member[:4])
    with pytest.raises(InputError, match="shadow: expected shape"):
        likelihood_ratio_scores(np.ones(4), np.ones((16, 3)), member)
    with pytest.raises(InputError, match="observed: expected finite"):
        likelihood_ratio_scores([np.nan, 1, 1], np.ones((16, 3)), member)
