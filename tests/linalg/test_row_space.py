"""Lightest combinations of known sums, against all supports and against programs of another kind."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import Bounds, LinearConstraint, milp

from unlearn.errors import InputError, SolverError
from unlearn.linalg.hitting_sets import lightest_hitting_set
from unlearn.linalg.row_space import light_combinations, lightest_combination, reduced

SMALL = st.integers(1, 5).flatmap(
    lambda g: st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            arrays(np.int64, (g, n), elements=st.integers(-1, 2)), arrays(np.int64, n, elements=st.integers(1, 9))
        )
    )
)


def rank(matrix: np.ndarray) -> int:
    """By fractions, one entry at a time: the definition, slow."""
    rows = [[Fraction(int(x)) for x in row] for row in matrix]
    done = 0
    for column in range(matrix.shape[1]):
        hit = next((i for i in range(done, len(rows)) if rows[i][column]), None)
        if hit is None:
            continue
        rows[done], rows[hit] = rows[hit], rows[done]
        for i in range(done + 1, len(rows)):
            factor = rows[i][column] / rows[done][column]
            rows[i] = [x - factor * y for x, y in zip(rows[i], rows[done], strict=True)]
        done += 1
    return done


def smallest_supports(matrix: np.ndarray) -> Iterator[frozenset[int]]:
    """All supports without a smaller one inside, by trying all sets: what is outside has one rank less than all."""
    n, full = matrix.shape[1], rank(matrix)
    found: list[frozenset[int]] = []
    for size in range(1, n + 1):
        for own in map(frozenset, combinations(range(n), size)):
            outside = matrix[:, [i for i in range(n) if i not in own]]
            if not any(other <= own for other in found) and rank(outside) < full:
                found.append(own)
                yield own


@given(SMALL)
def test_all_light_combinations_against_all_sets(case: tuple[np.ndarray, np.ndarray]) -> None:
    rows, weights = case
    every = {own: int(weights[list(own)].sum()) for own in smallest_supports(rows)}
    for below in (3, 8, 100):
        found = light_combinations(rows, weights, below)
        assert {frozenset(own.support.tolist()) for own in found} == {s for s, w in every.items() if w < below}
        assert len(found) == len({frozenset(own.support.tolist()) for own in found})
        assert [own.weight for own in found] == sorted(every[frozenset(own.support.tolist())] for own in found)
    for atom in range(rows.shape[1]):
        one = lightest_combination(rows, weights, atom)
        lightest = min((w for s, w in every.items() if atom in s), default=None)
        assert (None if one is None else one.weight) == lightest
        assert one is None or one.vector[atom]


@given(SMALL)
def test_coefficients_make_the_vector_exactly(case: tuple[np.ndarray, np.ndarray]) -> None:
    rows, weights = case
    for own in light_combinations(rows, weights, 100):
        made = [sum(c * int(x) for c, x in zip(own.coefficients, column, strict=True)) for column in rows.T]
        assert made == own.vector.tolist()


@given(SMALL, st.floats(0.05, 1.0))
def test_weights_that_are_not_whole(case: tuple[np.ndarray, np.ndarray], unit: float) -> None:
    rows, whole = case
    weights = whole * unit
    every = {own: weights[list(own)].sum() for own in smallest_supports(rows)}
    below = float(np.median(list(every.values()))) if every else 1.0
    found = {frozenset(own.support.tolist()) for own in light_combinations(rows, weights, below)}
    clear = {s for s, w in every.items() if w < below * (1 - 1e-12)}
    assert clear <= found <= {s for s, w in every.items() if w < below * (1 + 1e-12)}


def test_tables_of_two_margins_against_a_program_with_a_large_constant() -> None:
    # Of margins of a table, coefficients are 0 and ±1 (totally unimodular): |w| <= z is exact.
    random = np.random.default_rng(0)
    for _ in range(4):
        cell = np.array([(i, j) for i in range(4) for j in range(3)])
        rows = np.r_[[cell[:, 0] == i for i in range(4)], [cell[:, 1] == j for j in range(3)]].astype(np.int64)
        weights = random.integers(1, 12, len(cell))
        for atom in (0, 5, 11):
            (g, n), one = rows.shape, np.eye(len(cell))[atom]
            w, z = np.c_[rows.T, np.zeros((n, n))], np.c_[np.zeros((n, g)), np.eye(n)]
            solved = milp(
                np.r_[np.zeros(g), weights],
                integrality=np.r_[np.zeros(g), np.ones(n)],
                bounds=Bounds(np.r_[np.full(g, -9.0), np.zeros(n)], np.r_[np.full(g, 9.0), np.ones(n)]),
                constraints=[
                    LinearConstraint(w - z, -np.inf, 0),
                    LinearConstraint(w + z, 0, np.inf),
                    LinearConstraint(one @ w, 1, 1),
                ],
            )
            found = lightest_combination(rows, weights, atom)
            assert found is not None
            assert found.weight == pytest.approx(solved.fun)


def test_what_is_hidden_stays_hidden_and_is_proven_so() -> None:
    halves = [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert lightest_combination(halves, [9, 9, 9, 9], 0, below=15) is None
    assert light_combinations(halves, [9, 9, 9, 9], 15) == []
    assert lightest_combination([[1, 0]], [1, 1], atom=1) is None
    assert light_combinations(np.zeros((2, 3), dtype=bool), [1, 1, 1], 15) == []


def test_a_list_that_is_cut_has_combinations_alone() -> None:
    found = light_combinations(np.eye(6, dtype=bool), np.ones(6), 2, most=4)
    assert len(found) == 4
    assert all(own.weight == 1 for own in found)


def test_elimination_beyond_64_bits() -> None:
    random = np.random.default_rng(0)
    matrix = random.integers(-(2**20), 2**20, (9, 9))
    rows, pivots = reduced(matrix, np.arange(9))
    assert rows.dtype == object
    assert sorted(pivots) == list(range(9))
    assert np.array_equal(rows != 0, np.eye(9, dtype=bool))
    assert np.array_equal(abs(rows), np.eye(9, dtype=np.int64))  # without common divisors


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"rows: expected whole numbers, shape \(G, n\), got float64"):
        lightest_combination([[0.5]], [1], 0)
    with pytest.raises(InputError, match=r"weights: expected shape \(2\)"):
        lightest_combination([[1, 0]], [1], 0)
    with pytest.raises(InputError, match="weights: expected numbers of at least 0, got 1 below"):
        lightest_combination([[1, 0]], [1, -1], 0)
    with pytest.raises(InputError, match="weights: expected numbers above 0"):
        light_combinations([[1, 0]], [1, 0], 3)
    with pytest.raises(InputError, match="weights: expected finite"):
        light_combinations([[1, 0]], [1, np.nan], 3)
    with pytest.raises(InputError, match="atom: expected a position from 0 to 1, got 2"):
        lightest_combination([[1, 0]], [1, 1], 2)


def test_hitting_sets_against_all_sets() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        n = int(random.integers(2, 8))
        sets = [np.flatnonzero(random.random(n) < 0.4) for _ in range(6)]
        sets = [own for own in sets if len(own)]
        weights = random.integers(0, 5, n).astype(float)
        all_of_them = [own for size in range(n + 1) for own in combinations(range(n), size)]
        best = min(weights[list(own)].sum() for own in all_of_them if all(set(own) & set(one) for one in sets))

        def missed(chosen: np.ndarray, sets: list[np.ndarray] = sets) -> list[np.ndarray]:
            return [own for own in sets if not chosen[own].any()][:1]

        chosen = lightest_hitting_set(weights, missed, [])
        assert chosen is not None
        assert weights[chosen].sum() == best
        assert lightest_hitting_set(weights, missed, [], below=best) is None


def test_hitting_sets_that_there_are_none_of() -> None:
    empty = np.array([], dtype=np.int64)
    assert lightest_hitting_set(np.ones(2), lambda chosen: [empty], []) is None
    one = np.array([0])
    assert lightest_hitting_set(np.ones(2), lambda chosen: [], [one], never_all_of=[one]) is None
    with pytest.raises(SolverError, match="within 1 rounds"):
        lightest_hitting_set(np.ones(2), lambda chosen: [one] if not chosen[0] else [], [], most_rounds=1)
