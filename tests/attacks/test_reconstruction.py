"""Reconstruction against SciPy's test, exact binomial intervals and counting."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, ks_2samp

from unlearn.attacks import closeness_test, compromised_shares, relative_radius
from unlearn.attacks.reconstruction import _largest_excess
from unlearn.errors import InputError


def households(n: int, days: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Households that differ by their pattern, and whose days differ a little."""
    random = np.random.default_rng(seed)
    pattern = random.gamma(1.0, 0.3, (n, 24))
    return np.repeat(pattern, days, axis=0) * random.gamma(9.0, 1 / 9, (n * days, 24)), np.repeat(np.arange(n), days)


def test_copies_are_closer_and_strangers_are_not() -> None:
    (train, who), (holdout, other), (third, _) = (households(20, 6, seed) for seed in range(3))
    copied = closeness_test(train[::2], train, holdout, who, other, seed=1)
    assert copied.permutation_p_value == pytest.approx(1 / 200)
    assert copied.p_value < 1e-6
    assert copied.closer == 1.0
    assert copied.median_train_kwh == 0.0
    assert (copied.n_households, copied.n_profiles, copied.n_released) == (20, 120, 60)
    far = closeness_test(third, train, holdout, who, other, seed=1)
    assert far.permutation_p_value > 0.01
    # The side that is called training is the one that a small p-value accuses.
    assert closeness_test(train[::2], holdout, train, other, who).permutation_p_value > 0.9


def test_the_permutation_test_keeps_its_level_where_the_plain_one_does_not() -> None:
    plain, exchanged = [], []
    for seed in range(40):
        (train, who), (holdout, other), (third, _) = (households(6, 8, 100 * seed + i) for i in range(3))
        found = closeness_test(third, train, holdout, who, other, n_permutations=39, seed=seed)
        plain.append(found.p_value <= 0.05)
        exchanged.append(found.permutation_p_value <= 0.05)
    # 40 tests at 5 % reject more than 6 times with a probability of 1 %.
    assert sum(exchanged) <= 6
    assert sum(plain) > 6


def test_the_statistic_is_scipys() -> None:
    random = np.random.default_rng(0)
    near, far = np.round(random.gamma(2, 1, 200), 1), np.round(random.gamma(2.3, 1, 150), 1)
    assert _largest_excess(near, far) == pytest.approx(ks_2samp(near, far, alternative="greater").statistic)


def test_both_sides_have_as_many_households_and_days() -> None:
    (train, who), (holdout, other) = households(12, 9, 0), households(5, 4, 1)
    found = closeness_test(train[:10], train, holdout, who, other, n_permutations=9)
    assert (found.n_households, found.n_profiles) == (5, 20)


def test_an_outlier_is_compromised_from_its_nearest_day_on() -> None:
    random = np.random.default_rng(1)
    outliers, release = random.gamma(1, 1.0, (12, 24)), random.gamma(1, 1.0, (30, 24))
    who = random.permutation(np.repeat(np.arange(4), 3))
    ratio = cdist(outliers, release).min(axis=1) / np.linalg.norm(outliers, axis=1)
    truth = [ratio[who == i].min() for i in range(4)]
    radius = relative_radius(release, outliers, who)
    np.testing.assert_allclose(radius, truth)
    shares = compromised_shares(radius, [0.0, float(np.median(truth)), 2.0])
    assert [share.value for share in shares] == [0.0, 0.5, 1.0]
    for share, k in zip(shares, (0, 2, 4), strict=True):
        low, high = binomtest(k, 4).proportion_ci(0.95, method="exact")
        assert (share.low, share.high) == pytest.approx((low, high))


def test_unusable_input_is_refused() -> None:
    (train, who), (holdout, other) = households(4, 3, 0), households(4, 3, 1)
    with pytest.raises(InputError, match="holdout: expected profiles of at least 2 households, got 1"):
        closeness_test(train, train, holdout[:3], who, other[:3])
    with pytest.raises(InputError, match="synthetic: expected at least one profile"):
        closeness_test(train[:0], train, holdout, who, other)
    with pytest.raises(InputError, match="train_household: expected shape"):
        closeness_test(train, train, holdout, who[1:], other)
    with pytest.raises(InputError, match="expected days with energy, got none on day 1"):
        relative_radius(train, np.stack([train[0], 0 * train[0]]), [0, 1])
    with pytest.raises(InputError, match="compromised: expected households and ratios"):
        compromised_shares([0.1], [-0.5])
    with pytest.raises(InputError, match="compromised: expected households"):
        compromised_shares([], [0.5])
