"""Consistent totals: against dense least squares, CVXPY, and simulated noise."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from unlearn.errors import InputError
from unlearn.privacy.release.consistent import Hierarchy, consistent_scale, make_consistent, non_negative

GRID = Hierarchy(
    {
        "area": None,
        "north": "area",
        "south": "area",
        "n1": "north",
        "n2": "north",
        "n3": "north",
        "s1": "south",
        "s2": "south",
        "industry": "area",
    }
)


def design(hierarchy: Hierarchy) -> np.ndarray:
    """Which leaf is below which node, found by walking up from each leaf, shape (K, L)."""
    found = np.zeros((len(hierarchy.nodes), len(hierarchy.leaves)))
    for column, leaf in enumerate(hierarchy.leaves):
        node: str | None = leaf
        while node is not None:
            found[hierarchy.nodes.index(node), column] = 1
            node = hierarchy.parents[node]
    return found


def random_hierarchy(random: np.random.Generator, n: int) -> Hierarchy:
    names = [f"node {i}" for i in random.permutation(n)]
    parents = {names[i]: (None if i == 0 or random.random() < 0.05 else names[random.integers(i)]) for i in range(n)}
    order = random.permutation(n)
    return Hierarchy({names[i]: parents[names[i]] for i in order}, one_root=False)


@given(st.integers(0, 10_000), st.integers(1, 25), st.integers(1, 6))
def test_two_passes_are_dense_weighted_least_squares(seed: int, n: int, hours: int) -> None:
    random = np.random.default_rng(seed)
    hierarchy = random_hierarchy(random, n)
    scale, noisy = random.uniform(0.1, 10, n), random.normal(0, 100, (n, hours))
    leaf = np.isin(hierarchy.nodes, hierarchy.leaves)
    scale[~leaf & (random.random(n) < 0.3)] = np.inf
    a = design(hierarchy)
    own = a / scale[:, None]
    covariance = np.linalg.inv(own.T @ own)
    expected = a @ covariance @ own.T @ (noisy / scale[:, None])
    np.testing.assert_allclose(
        make_consistent(noisy, scale, hierarchy, non_negative=False), expected, rtol=1e-8, atol=1e-7
    )
    after = consistent_scale(scale, hierarchy)
    np.testing.assert_allclose(after, np.sqrt(np.diag(a @ covariance @ a.T)), rtol=1e-8)
    assert (after <= scale * (1 + 1e-12)).all()


@given(st.integers(0, 10_000), st.integers(1, 25), st.integers(1, 6))
def test_values_of_at_least_0_are_those_of_nnls(seed: int, n: int, hours: int) -> None:
    random = np.random.default_rng(seed)
    hierarchy = random_hierarchy(random, n)
    scale, noisy = random.uniform(0.1, 10, n), random.normal(0, 100, (n, hours))
    a = design(hierarchy)
    expected = np.stack([nnls(a / scale[:, None], column / scale)[0] for column in noisy.T], axis=1)
    found = make_consistent(noisy, scale, hierarchy)
    np.testing.assert_allclose(found, a @ expected, rtol=1e-7, atol=1e-6)
    assert (found >= 0).all()


@pytest.mark.parametrize("seed", [42, 46, 176, 185, 305])
def test_values_of_at_least_0_are_found_where_some_nodes_are_known_far_better(seed: int) -> None:
    """Noise of five orders of magnitude: the sum of slopes must not drown in those of well-known totals."""
    random = np.random.default_rng(seed)
    hierarchy = random_hierarchy(random, 50)
    scale = 10 ** random.uniform(-3, 2, 50)
    noisy = random.normal(0, 100, (50, 30)) * (random.random((50, 30)) < 0.7)
    a = design(hierarchy)
    expected = np.stack([nnls(a / scale[:, None], column / scale)[0] for column in noisy.T], axis=1)
    squares = [(((values - noisy) / scale[:, None]) ** 2).sum(axis=0) for values in (a @ expected, np.array([0.0]))]
    own = (((make_consistent(noisy, scale, hierarchy) - noisy) / scale[:, None]) ** 2).sum(axis=0)
    assert (own <= squares[0] + 1e-9 * squares[1]).all()


def test_one_quadratic_program_is_that_of_cvxpy() -> None:
    random = np.random.default_rng(0)
    scale, noisy = random.uniform(0.5, 2, len(GRID.nodes)), random.normal(1, 4, len(GRID.nodes))
    leaves, a = cp.Variable(len(GRID.leaves)), design(GRID)
    cp.Problem(cp.Minimize(cp.sum_squares((a @ leaves - noisy) / scale)), [leaves >= 0]).solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(make_consistent(noisy[:, None], scale, GRID)[:, 0], a @ leaves.value, atol=1e-5)


def test_totals_add_up_and_consistent_values_stay() -> None:
    leaves = np.random.default_rng(0).uniform(0, 5, (len(GRID.leaves), 50))
    truth = GRID.totals(leaves)
    np.testing.assert_allclose(truth, design(GRID) @ leaves)
    np.testing.assert_allclose(make_consistent(truth, np.arange(1.0, 10.0), GRID), truth, atol=1e-12)


@pytest.mark.parametrize("at_least_0", [False, True])
def test_errors_of_feeders_and_of_the_area_fall(at_least_0: bool) -> None:
    random = np.random.default_rng(0)
    hours = 4000
    truth = GRID.totals(random.uniform(0, 20, (len(GRID.leaves), hours)))
    # Feeders get more noise than totals, as a budget that is split by level may have it.
    scale = np.array([2.0, 3.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    noisy = truth + random.laplace(scale=scale[:, None] / np.sqrt(2), size=truth.shape)
    found = make_consistent(noisy, scale, GRID, non_negative=at_least_0)
    before, after = np.var(noisy - truth, axis=1), np.var(found - truth, axis=1)
    assert (after < 0.95 * before).all()
    if not at_least_0:
        # Laplace noise has kurtosis 6: the variance of 4,000 draws has a standard error of 3.5 %.
        np.testing.assert_allclose(after, consistent_scale(scale, GRID) ** 2, rtol=0.2)
        assert np.abs((found - truth).mean(axis=1)).max() < 0.4


def test_several_trees_and_single_nodes() -> None:
    grid = Hierarchy({"a": None, "b": None, "b1": "b"}, one_root=False)
    found = make_consistent([[1.0], [2.0], [4.0]], [1.0, 1.0, 1.0], grid)
    np.testing.assert_allclose(found[:, 0], [1.0, 3.0, 3.0])
    assert repr(grid) == "Hierarchy(3 nodes, 2 leaves, 2 levels)"
    assert make_consistent(np.zeros((3, 0)), [1.0, 1.0, 1.0], grid).shape == (3, 0)


def test_values_of_nodes_that_were_not_measured_are_not_looked_at() -> None:
    grid = Hierarchy({"area": None, "north": "area", "south": "area"})
    found = make_consistent([[np.nan], [3.0], [6.0]], [np.inf, 1.0, 1.0], grid)
    np.testing.assert_allclose(found[:, 0], [9.0, 3.0, 6.0])


def test_negative_values_become_0() -> None:
    np.testing.assert_array_equal(non_negative([[-1.0, 2.0]]), [[0.0, 2.0]])
    with pytest.raises(InputError, match="finite"):
        non_negative([np.nan])


@pytest.mark.parametrize(
    ("parents", "said"),
    [
        ({}, "at least one node"),
        ({"a": None, "b": "c"}, "expected the parent of 'b' among the nodes, got 'c'"),
        ({"a": None, "b": "c", "c": "b"}, "parts of each other"),
        ({"a": "a"}, "parts of each other"),
        ({"a": None, "b": None}, "one_root=False"),
    ],
)
def test_what_is_no_tree_is_refused(parents: dict[str, str | None], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Hierarchy(parents)


def test_values_and_scales_that_do_not_fit_are_refused() -> None:
    grid = Hierarchy({"area": None, "north": "area"})
    for values in ([[1.0]], [[1.0], [np.nan]]):
        with pytest.raises(InputError, match="values"):
            make_consistent(values, [1.0, 1.0], grid)
    for scale in ([1.0], [1.0, 0.0], [1.0, -1.0], [np.nan, 1.0], [1.0, np.inf]):
        with pytest.raises(InputError, match="noise_scale"):
            make_consistent([[1.0], [1.0]], scale, grid)
        with pytest.raises(InputError, match="noise_scale"):
            consistent_scale(scale, grid)
    with pytest.raises(InputError, match="leaves"):
        grid.totals([[1.0], [2.0]])
