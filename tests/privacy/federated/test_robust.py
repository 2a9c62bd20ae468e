"""Rules that combine updates: against closed forms, brute force and another solver, and what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import trim_mean

from unlearn.errors import ConvergenceError, InputError
from unlearn.privacy.federated import (
    AGGREGATORS,
    Aggregator,
    ClippedMean,
    CoordinateMedian,
    GeometricMedian,
    Krum,
    MultiKrum,
    TrimmedMean,
    WeightedMean,
)

NAMES = sorted(AGGREGATORS)
#: Rules that bear one malicious member of seven, whatever it sends and claims.
ROBUST = ["geometric", "krum", "median", "multi_krum", "trimmed"]


def drawn(seed: int, m: int = 7, p: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.uniform(1, 3, m), random.normal(size=(m, p))


def test_weighted_mean() -> None:
    weights, updates = drawn(0)
    expected = np.average(updates, axis=0, weights=weights)
    np.testing.assert_allclose(WeightedMean()(weights, updates)[0], expected, rtol=1e-13)


def test_clipped_mean_cuts_each_to_the_bound() -> None:
    weights, updates = drawn(1)
    norms = np.linalg.norm(updates, axis=1)
    cut = np.stack([own if norm <= 1.5 else own * 1.5 / norm for own, norm in zip(updates, norms, strict=True)])
    expected = np.average(cut, axis=0, weights=weights)
    np.testing.assert_allclose(ClippedMean(1.5)(weights, updates)[0], expected, rtol=1e-13)
    by_median = ClippedMean(float(np.median(norms)))(weights, updates)[0]
    np.testing.assert_array_equal(ClippedMean()(weights, updates)[0], by_median)


def test_clipped_mean_of_zeros() -> None:
    updates = np.zeros((3, 2))
    updates[0] = 9.0
    np.testing.assert_array_equal(ClippedMean()(np.ones(3), updates)[0], np.zeros(2))


def test_trimmed_mean_is_that_of_scipy() -> None:
    weights, updates = drawn(2, m=8)
    np.testing.assert_allclose(TrimmedMean(2)(weights, updates)[0], trim_mean(updates, 2 / 8, axis=0), rtol=1e-13)


def test_krum_by_brute_force() -> None:
    weights, updates = drawn(3, m=9)
    scores = []
    for i, own in enumerate(updates):
        distances = sorted(float(((own - other) ** 2).sum()) for j, other in enumerate(updates) if j != i)
        scores.append(sum(distances[: 9 - 2 - 2]))
    update, rejected = Krum(2)(weights, updates)
    np.testing.assert_array_equal(update, updates[int(np.argmin(scores))])
    assert len(rejected) == 8
    update, rejected = MultiKrum(2)(weights, updates)
    kept = np.sort(np.argsort(scores)[:7])
    np.testing.assert_allclose(update, updates[kept].mean(axis=0), rtol=1e-13)
    assert set(rejected) | set(kept) == set(range(9))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("p", [1, 3, 20])
def test_geometric_median_against_another_solver(seed: int, p: int) -> None:
    weights, updates = drawn(seed, m=6, p=p)

    def objective(y: np.ndarray) -> float:
        return float(weights @ np.linalg.norm(updates - y, axis=1))

    found = GeometricMedian()(weights, updates)[0]
    starts = [np.median(updates, axis=0), *updates]
    least = min(minimize(objective, start, method="BFGS", options={"gtol": 1e-10}).fun for start in starts)
    assert objective(found) <= least * (1 + 1e-9)


def test_geometric_median_at_an_update() -> None:
    updates = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    np.testing.assert_array_equal(GeometricMedian()(np.array([9.0, 1.0, 1.0, 1.0]), updates)[0], [0.0, 0.0])


def test_geometric_median_that_starts_on_an_update_that_is_not_it() -> None:
    # The weighted mean, where the iteration starts, is the fourth update.
    updates = np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 3.0], [2.0, 1.0], [9.0, 9.0]])
    weights = np.array([1.0, 1.0, 1.0, 1e-3, 1e-9])
    updates[3] = np.average(updates[[0, 1, 2, 4]], axis=0, weights=weights[[0, 1, 2, 4]])
    found = GeometricMedian()(weights, updates)[0]
    pull = (updates - found) / np.linalg.norm(updates - found, axis=1)[:, None]
    assert np.linalg.norm(weights @ pull) < 1e-8


def test_geometric_median_of_three_is_fermats_point() -> None:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    found = GeometricMedian()(np.ones(3), corners)[0]
    np.testing.assert_allclose(found, [0.5, np.sqrt(3) / 6], atol=1e-8)


def test_geometric_median_that_does_not_arrive() -> None:
    weights, updates = drawn(5)
    with pytest.raises(ConvergenceError, match="max_iterations"):
        GeometricMedian(tolerance=1e-300, max_iterations=3)(weights, updates)


@given(seed=st.integers(0, 10_000), order=st.permutations(range(7)), shift=st.floats(-100, 100))
@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize("name", NAMES)
def test_order_and_origin_do_not_matter(name: str, seed: int, order: list[int], shift: float) -> None:
    combine = AGGREGATORS.make(name)
    weights, updates = drawn(seed)
    before, rejected = combine(weights, updates)
    after, moved = combine(weights[order], updates[order])
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert sorted(order[i] for i in moved) == sorted(rejected)
    if name != "clipped":  # norms are measured from 0
        np.testing.assert_allclose(combine(weights, updates + shift)[0], before + shift, atol=1e-6)


@given(seed=st.integers(0, 10_000), size=st.floats(10, 1e6), claimed=st.floats(0.1, 5))
@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize("name", ROBUST)
def test_one_malicious_member_leads_nowhere(name: str, seed: int, size: float, claimed: float) -> None:
    weights, updates = drawn(seed)
    honest = updates[1:]
    updates[0] = size * np.random.default_rng(seed).normal(size=5)
    weights[0] = claimed  # below half of the weight, which the geometric median needs
    found, _ = AGGREGATORS.make(name)(weights, updates)
    furthest = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    assert np.linalg.norm(found - honest.mean(axis=0)) <= 8 * furthest


def test_one_malicious_member_leads_the_mean_anywhere() -> None:
    weights, updates = drawn(0)
    updates[0] = 1e9
    assert np.abs(WeightedMean()(weights, updates)[0]).min() > 1e7


@pytest.mark.parametrize("name", NAMES)
def test_equal_updates_are_kept(name: str) -> None:
    update = np.random.default_rng(0).normal(size=20)
    np.testing.assert_allclose(AGGREGATORS.make(name)(np.arange(1.0, 8), np.tile(update, (7, 1)))[0], update)


@pytest.mark.parametrize("name", NAMES)
def test_refusals(name: str) -> None:
    combine: Aggregator = AGGREGATORS.make(name)
    updates = np.ones((7, 2))
    for weights, given_updates, said in (
        (np.ones(6), updates, "expected shape"),
        (np.ones(7), np.full((7, 2), np.nan), "expected finite"),
        (np.zeros(7), updates, "above 0"),
        (np.ones(7), np.ones(7), "2 axes"),
        (np.ones(combine.least - 1), np.ones((combine.least - 1, 2)), f"at least {combine.least} members"),
    ):
        with pytest.raises(InputError, match=said):
            combine(weights, given_updates)


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="bound"):
        ClippedMean(0.0)
    with pytest.raises(InputError, match="malicious"):
        TrimmedMean(0)
    with pytest.raises(InputError, match="kept"):
        MultiKrum(1, 0)
    with pytest.raises(InputError, match="tolerance"):
        GeometricMedian(tolerance=-1.0)
    assert CoordinateMedian().least == 1
