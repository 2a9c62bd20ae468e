"""Distances against SciPy and closed forms, kinds of days that are found again, and a classifier that cannot cheat."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.optimize import linprog
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score

from unlearn.errors import InputError
from unlearn.studies._shared.fidelity.distances import (
    _auc,
    binned_jensen_shannon,
    circular_wasserstein,
    discriminate,
    fit_clusters,
    jensen_shannon,
    kolmogorov_smirnov,
    ordered_kolmogorov_smirnov,
    quantile_edges,
    total_variation,
    wasserstein,
)

#: Few different values, so that ties are common.
values = st.integers(-20, 20).map(lambda i: i / 4)
samples = st.integers(1, 40).flatmap(lambda n: arrays(np.float64, n, elements=values))
pairs = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float64, (shape[0], shape[2]), elements=values),
        arrays(np.float64, (shape[1], shape[2]), elements=values),
    )
)
histograms = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*[arrays(np.float64, n, elements=st.integers(0, 9).map(float)) for _ in range(3)]).filter(
        lambda three: all(one.sum() > 0 for one in three)
    )
)


@given(pairs)
def test_samples_are_as_far_apart_as_scipy_says_column_by_column(pair: tuple[np.ndarray, np.ndarray]) -> None:
    left, right = pair
    both = list(zip(left.T, right.T, strict=True))
    np.testing.assert_allclose(
        wasserstein(left, right), [stats.wasserstein_distance(a, b) for a, b in both], atol=1e-12
    )
    np.testing.assert_allclose(
        kolmogorov_smirnov(left, right), [stats.ks_2samp(a, b, method="exact").statistic for a, b in both], atol=1e-12
    )


@given(histograms)
def test_histograms_are_as_far_apart_as_scipy_says(three: tuple[np.ndarray, ...]) -> None:
    p, q, _ = three
    # SciPy takes the square root of what rounding leaves of 0.
    np.testing.assert_allclose(jensen_shannon(p, q), np.nan_to_num(jensenshannon(p, q, base=2)), atol=1e-7)
    grid = np.arange(len(p))
    np.testing.assert_allclose(
        ordered_kolmogorov_smirnov(p, q), np.abs(np.cumsum(p) / p.sum() - np.cumsum(q) / q.sum()).max(), atol=1e-12
    )
    assert circular_wasserstein(p, q, len(p)) <= stats.wasserstein_distance(grid, grid, p, q) + 1e-12


@given(histograms)
def test_around_a_circle_mass_takes_the_shorter_way(three: tuple[np.ndarray, ...]) -> None:
    p, q, _ = three
    n = len(p)
    around = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    cost = np.minimum(around, n - around) * 24 / n
    sums = np.concatenate([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    plan = linprog(cost.ravel(), A_eq=sums, b_eq=np.concatenate([p / p.sum(), q / q.sum()]))
    np.testing.assert_allclose(circular_wasserstein(p, q, 24.0), plan.fun, atol=1e-9)


def test_closed_forms() -> None:
    assert wasserstein([0.0, 0.0], [3.0]) == pytest.approx(3.0)
    uniform = (np.arange(1000) + 0.5) / 1000
    assert wasserstein(uniform, uniform**2) == pytest.approx(1 / 6, abs=1e-6)
    assert kolmogorov_smirnov(np.arange(1000), np.arange(1000) + 250) == pytest.approx(0.25)
    assert jensen_shannon([1, 0], [0, 5]) == pytest.approx(1.0)
    assert total_variation([1, 1, 0], [0, 1, 1]) == pytest.approx(0.5)
    late, early = np.eye(48)[47], np.eye(48)[0]
    assert circular_wasserstein(late, early, 24.0) == pytest.approx(0.5)
    assert ordered_kolmogorov_smirnov(late, early) == pytest.approx(1.0)


@given(samples, samples, samples)
def test_distances_of_samples_are_metrics(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    for distance in (wasserstein, kolmogorov_smirnov):
        assert distance(a, a) == 0
        np.testing.assert_allclose(distance(a, b), distance(b, a), atol=1e-12)
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12
        np.testing.assert_allclose(distance(a[::-1], b), distance(a, b), atol=1e-12)
        np.testing.assert_allclose(distance(np.repeat(a, 3), b), distance(a, b), atol=1e-12)
    assert 0 <= kolmogorov_smirnov(a, b) <= 1


@given(histograms)
def test_distances_of_histograms_are_metrics(three: tuple[np.ndarray, ...]) -> None:
    p, q, r = three
    for distance in (jensen_shannon, total_variation, lambda a, b: circular_wasserstein(a, b, 24.0)):
        assert distance(p, p) == pytest.approx(0, abs=1e-7)  # the square root of rounding
        np.testing.assert_allclose(distance(p, q), distance(q, p), atol=1e-7)
        assert distance(p, r) <= distance(p, q) + distance(q, r) + 1e-7
    assert 0 <= jensen_shannon(p, q) <= 1
    assert 0 <= total_variation(p, q) <= 1
    assert circular_wasserstein(p, q, 24.0) <= 12 + 1e-9
    np.testing.assert_allclose(
        circular_wasserstein(np.roll(p, 1), np.roll(q, 1), 24.0), circular_wasserstein(p, q, 24.0), atol=1e-12
    )


@given(samples, samples, st.floats(0.01, 100), st.floats(-5, 5))
def test_only_wasserstein_follows_the_scale(a: np.ndarray, b: np.ndarray, scale: float, shift: float) -> None:
    np.testing.assert_allclose(wasserstein(scale * a, scale * b), scale * wasserstein(a, b), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(wasserstein(a + shift, b + shift), wasserstein(a, b), atol=1e-12)
    # A factor of 4 rounds nothing, so that ties stay ties.
    np.testing.assert_allclose(kolmogorov_smirnov(4 * a, 4 * b), kolmogorov_smirnov(a, b))


@given(samples, st.integers(2, 10))
def test_bins_hold_every_value_once_and_an_edge_belongs_above(a: np.ndarray, n_bins: int) -> None:
    edges = quantile_edges(a, n_bins)
    assert edges.shape == (n_bins - 1, 1)
    found = np.bincount(np.searchsorted(edges[:, 0], a, side="right"), minlength=n_bins)
    other = np.array([-9.0, 9.0])
    expected = jensen_shannon(found, np.bincount([0, n_bins - 1], minlength=n_bins))
    np.testing.assert_allclose(binned_jensen_shannon(a, other, edges)[0], expected, atol=1e-7)


def test_unusable_samples_are_refused() -> None:
    with pytest.raises(InputError, match="right sample: expected at least one row"):
        wasserstein([1.0], [])
    with pytest.raises(InputError, match="left sample: expected finite values"):
        kolmogorov_smirnov([np.nan], [1.0])
    with pytest.raises(InputError, match="as many columns"):
        wasserstein(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(InputError, match="left histogram: expected weights of at least 0 with a sum above 0"):
        jensen_shannon([0, 0], [1, 0])
    with pytest.raises(InputError, match="right histogram: expected weights"):
        jensen_shannon([1, 0], [2, -1])
    with pytest.raises(InputError, match="same shape"):
        total_variation([1, 0], [1, 0, 0])


def two_kinds(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Night and evening days; the night ones use more."""
    random = np.random.default_rng(seed)
    night = random.random(n) < 0.3
    shape = np.where(night[:, None], 1.0 + 3.0 * (np.arange(48) < 12), 0.3 + 1.0 * (np.arange(48) > 36))
    return 0.1 * shape * random.gamma(20.0, 0.05, (n, 48)), night.astype(int)


def test_known_kinds_are_found_in_order_of_their_energy() -> None:
    kwh, kind = two_kinds(400, 0)
    clusters = fit_clusters(kwh, 2, seed=0)
    assert clusters.converged
    assert clusters.n_clusters == 2
    np.testing.assert_array_equal(clusters.predict(kwh), kind)
    other, other_kind = two_kinds(100, 1)
    np.testing.assert_array_equal(clusters.predict(other), other_kind)
    # A profile's cluster does not depend on its neighbours.
    np.testing.assert_array_equal(clusters.predict(other[::-1][:7]), other_kind[::-1][:7])
    assert clusters.predict(np.empty((0, 48))).shape == (0,)


def test_more_clusters_than_kinds_and_steps_without_energy() -> None:
    kwh, _ = two_kinds(200, 0)
    kwh[:, :4] = 0.0
    found = fit_clusters(kwh, 6, seed=0).predict(kwh)
    level = [kwh[found == cluster].mean() for cluster in np.unique(found)]
    assert level == sorted(level)
    np.testing.assert_array_equal(found, fit_clusters(kwh, 6, seed=0).predict(kwh))


def test_too_little_to_fit_on_is_refused() -> None:
    kwh, _ = two_kinds(19, 0)
    with pytest.raises(InputError, match="at least 10 profiles a cluster, got 19 profiles for 2 clusters"):
        fit_clusters(kwh, 2, seed=0)
    with pytest.raises(InputError, match="zeros only"):
        fit_clusters(np.zeros((50, 48)), 2, seed=0)
    with pytest.raises(InputError, match="shape"):
        fit_clusters(two_kinds(40, 0)[0], 2, seed=0).predict(np.ones((3, 24)))


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
