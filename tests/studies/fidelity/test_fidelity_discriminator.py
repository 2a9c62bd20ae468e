"""The classifier: chance where there is nothing to tell, certainty where there is, and no help from copies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from unlearn.errors import InputError
from unlearn.studies._shared.fidelity.distances import _auc, discriminate

scores = st.integers(1, 30).flatmap(lambda n: arrays(np.float64, n, elements=st.integers(0, 5).map(float)))


@given(scores, scores)
def test_the_area_is_that_of_scikit_learn(left: np.ndarray, right: np.ndarray) -> None:
    area, draws = _auc(left, right, np.arange(len(right)) // 3, np.random.default_rng(0))
    truth = np.repeat([1, 0], [len(left), len(right)])
    assert area == pytest.approx(roc_auc_score(truth, np.concatenate([left, right])))
    assert ((draws >= 0) & (draws <= 1)).all()


def test_what_is_the_same_cannot_be_told_and_what_differs_can() -> None:
    random = np.random.default_rng(0)
    left, right, far = (random.gamma(2.0, 0.2, (600, 24)) for _ in range(3))
    household = np.repeat(np.arange(60), 10)
    same = discriminate(left, right, household, seed=0)
    assert same.auc_low < 0.5 < same.auc_high
    assert same.auc == pytest.approx(0.5, abs=0.06)
    assert same.score < 0.06
    far[:, 20:] += 1.0
    apart = discriminate(far, right, household, seed=0)
    assert apart.auc > 0.99
    assert apart.score > 0.45
    assert apart.n_rows == 600
    assert discriminate(left, right, household, seed=0) == same


def test_habits_of_a_household_do_not_give_it_away() -> None:
    """Each household has a level of its own: were its days on both sides, the trees would know it again."""
    random = np.random.default_rng(0)
    household = np.repeat(np.arange(40), 15)
    left, right = (random.gamma(2.0, 0.2, 40)[household, None] + random.normal(0, 1e-4, (600, 24)) for _ in range(2))
    assert discriminate(left, right, household, seed=0).auc < 0.75
    as_if_alone = discriminate(left, right, np.arange(600), seed=0)
    assert as_if_alone.auc > 0.9


def test_copies_stay_on_one_side() -> None:
    random = np.random.default_rng(0)
    right = random.gamma(2.0, 0.2, (600, 24))
    copies = random.gamma(2.0, 0.2, (30, 24))[random.integers(30, size=600)]
    assert discriminate(copies, right, np.arange(600) // 10, seed=0).auc < 0.8


def test_sides_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(InputError, match="right: expected at least 2 households"):
        discriminate(np.random.default_rng(0).random((9, 24)), np.ones((9, 24)), np.zeros(9, int), seed=0)
    with pytest.raises(InputError, match="left: expected at least 2 different profiles"):
        discriminate(np.ones((9, 24)), np.ones((9, 24)), np.arange(9), seed=0)
