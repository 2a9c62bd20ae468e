"""Relinking against brute force over permutations, without hints from the order, and what is refused."""

from itertools import permutations

import numpy as np
import pytest

from unlearn.attacks import relink, usage_features
from unlearn.errors import InputError


def months(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two months of hourly readings of households whose level and evenings differ."""
    random = np.random.default_rng(seed)
    habit = random.gamma(2.0, 0.2, (n, 1)) * random.dirichlet(np.full(24, 3.0), n) * 24
    first, second = (np.tile(habit, 30) * random.gamma(5.0, 0.2, (n, 720)) for _ in range(2))
    return first, second


SLOT = np.tile(np.arange(24), 30)


def test_households_are_found_again_by_their_habits_and_strangers_are_not() -> None:
    first, second = months()
    before, after = usage_features(first, SLOT), usage_features(second, SLOT)
    found = relink(before, after, np.arange(60))
    assert found.metrics()["nearest"].low > 0.8
    assert found.metrics()["assigned"].value >= 0.9
    assert found.guessing == 1 / 60
    strangers = relink(before, usage_features(months(seed=1)[0], SLOT), np.arange(60))
    assert strangers.metrics()["nearest"].low < 0.1
    assert strangers.rank.mean() > 15


def test_the_assignment_is_the_best_of_all_permutations() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 6, 2))
    truth = random.permutation(6)
    cost = ((first[:, None] - second) ** 2).sum(axis=2)
    best = min(permutations(range(6)), key=lambda order: cost[np.arange(6), order].sum())
    found = relink(first, second, truth)
    np.testing.assert_array_equal(found.assigned, np.array(best) == truth)
    np.testing.assert_array_equal(found.nearest, cost.argmin(axis=1) == truth)
    np.testing.assert_array_equal(found.rank, 1 + (cost < cost[np.arange(6), truth][:, None]).sum(axis=1))


def test_records_that_all_look_alike_are_guessed_not_read_off_their_order() -> None:
    same = np.ones((200, 3))
    right = [relink(same, same, np.arange(200), seed=seed) for seed in range(5)]
    # 200 guesses of 1 / 200: more than 12 of 5 x 200 by chance in less than one of a million; 5 are expected.
    assert sum(int(one.nearest.sum()) for one in right) < 25
    assert sum(int(one.assigned.sum()) for one in right) < 25
    np.testing.assert_allclose(right[0].rank, 100.5)


def test_more_records_than_targets_and_fewer() -> None:
    first, second = months(20)
    before, after = usage_features(first, SLOT), usage_features(second, SLOT)
    assert relink(before[5:12], after, np.arange(5, 12)).nearest.mean() > 0.8
    few = relink(before[:3], after[:3][::-1], [2, 1, 0])
    assert few.n_records == 3
    assert few.rank.shape == (3,)


def test_features_are_standardised_and_count_alike() -> None:
    found = usage_features(months()[0], SLOT)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-12)
    # The variance of each of the three groups is 1 in all.
    assert (found**2).mean(axis=0).sum() == pytest.approx(3.0)
    # In other units, in another order of steps: the floor alone differs.
    order = np.random.default_rng(1).permutation(720)
    np.testing.assert_allclose(usage_features(months()[0][:, order], SLOT[order]), found, atol=1e-9)
    assert not usage_features(np.ones((4, 24)), np.arange(24)).any()


def test_unusable_input_is_refused() -> None:
    features = np.eye(4)
    with pytest.raises(InputError, match="second: expected shape"):
        relink(features, features[:, :3], np.arange(4))
    with pytest.raises(InputError, match="truth: expected records of the second release, from 0 to 3"):
        relink(features, features, np.arange(4) + 1)
    with pytest.raises(InputError, match="truth: expected a record of its own"):
        relink(features, features, [0, 1, 2, 2])
    with pytest.raises(InputError, match="truth: expected shape"):
        relink(features, features, [0, 1])
    with pytest.raises(InputError, match="first: expected records with features"):
        relink(features[:0], features, [])
    with pytest.raises(InputError, match="first: expected finite"):
        relink(features * np.nan, features, np.arange(4))
    with pytest.raises(InputError, match="slot: expected whole numbers from 0"):
        usage_features(np.ones((3, 4)), [0, 1, 3, 3])
    with pytest.raises(InputError, match="kwh: expected at least 2 records"):
        usage_features(np.ones((1, 4)), [0, 1, 2, 3])
    with pytest.raises(InputError, match="slot: expected shape"):
        usage_features(np.ones((3, 4)), [0, 1])
