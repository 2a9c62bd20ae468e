"""Attackers against known distributions, and intervals against exact binomial ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial, norm

from unlearn.attacks import likelihood_ratio_scores, measure_attack, residuals_of
from unlearn.errors import InputError
from unlearn.studies._shared.attackers import ATTACKS, Attacker, cross_fitted, halves, paired_auc


def gaussian_heads(shift: float, k: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Attacker]:
    """Heads whose outputs correlate, spread by the population's Gram matrix, shifted where the rows were inside."""
    random = np.random.default_rng(seed)
    design, target = random.normal(size=(30, 5)), random.normal(size=(30, 2))
    root = np.linalg.cholesky(design.T @ design)
    noise = random.normal(size=(2, k, 2, 5)) * np.array([1.0, 3.0])[:, None]
    noise[0, :, 0] += shift / np.sqrt(5)
    heads = noise @ np.linalg.inv(root)
    return heads[0], heads[1], Attacker(design, target, np.arange(10), design.T @ design)


def test_the_discriminant_reaches_the_best_possible_auc() -> None:
    inside, outside, attacker = gaussian_heads(1.5)
    auc = measure_attack(*cross_fitted(attacker, "parameters", inside, outside, 0), unit="model", fprs=()).auc
    # Two normal distributions whose means are 1.5 standard deviations apart.
    assert auc.value == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.03)


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_attackers_find_nothing_where_nothing_is(attack: str) -> None:
    inside, outside, attacker = gaussian_heads(0.0)
    auc = measure_attack(*cross_fitted(attacker, attack, inside, outside, 0), unit="model", fprs=()).auc
    assert auc.low < 0.5 < auc.high
    assert auc.value == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_models_that_differ_by_rounding_tie(attack: str) -> None:
    inside, _, attacker = gaussian_heads(0.0, k=40)
    members, others = cross_fitted(attacker, attack, inside, inside * (1 + 1e-14), 0)
    np.testing.assert_array_equal(members, others)
    members, others = cross_fitted(attacker, attack, inside, inside * (1 + 1e-7), 0)
    assert (members != others).any()


def test_scores_of_rows_are_likelihood_ratios_of_their_residuals() -> None:
    inside, outside, attacker = gaussian_heads(1.0, k=20)
    found = attacker.row_scores("likelihood_ratio", inside[4:], outside[4:], inside[:2])
    rows = slice(10)
    known = residuals_of(np.concatenate([inside[4:], outside[4:]]), attacker.design[rows], attacker.target[rows])
    member = np.repeat([[True], [False]], 16, axis=0) & np.ones((1, 10), dtype=bool)
    for j in range(2):
        observed = residuals_of(inside[j : j + 1], attacker.design[rows], attacker.target[rows])[0]
        np.testing.assert_allclose(found[j], likelihood_ratio_scores(observed, known, member))
    total = attacker.scores("likelihood_ratio", inside[4:], outside[4:], inside[:2])
    np.testing.assert_allclose(total, found.sum(axis=1))


def test_an_unknown_attack_is_refused() -> None:
    inside, outside, attacker = gaussian_heads(0.0, k=20)
    with pytest.raises(InputError, match="attack: expected one of loss, likelihood_ratio, parameters; got 'luck'"):
        attacker.scores("luck", inside, outside, inside)
    with pytest.raises(InputError, match="got 'parameters'"):
        attacker.row_scores("parameters", inside, outside, inside)


def test_each_pair_is_asked_about_once() -> None:
    first, second = halves(9, 3)
    assert first.sum() == 4
    np.testing.assert_array_equal(first, ~second)


def scores(wins: int, losses: int, ties: int) -> tuple[np.ndarray, np.ndarray]:
    difference = np.repeat([1.0, -2.0, 0.0], [wins, losses, ties])
    others = np.random.default_rng(0).integers(-5, 5, len(difference)).astype(float)
    return others + difference, others


@pytest.mark.parametrize(("wins", "losses"), [(0, 20), (7, 13), (13, 7), (20, 0)])
def test_without_ties_the_interval_is_the_exact_binomial_one(wins: int, losses: int) -> None:
    found = paired_auc(*scores(wins, losses, 0), 0.99)
    exact = binomtest(wins, wins + losses).proportion_ci(0.995, "exact")
    assert found == pytest.approx((wins / (wins + losses), exact.low, exact.high), abs=1e-12)


def test_pairs_that_tie_do_not_make_a_point() -> None:
    found = paired_auc(*scores(0, 0, 30), 0.99)
    most = 1 - 0.0025 ** (1 / 30)  # that many may win or lose, and none of 30 has
    assert found == pytest.approx((0.5, 0.5 - most / 2, 0.5 + most / 2), abs=1e-12)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 12))
def test_exchanging_the_sides_mirrors_the_interval(wins: int, losses: int, ties: int) -> None:
    found, mirrored = (paired_auc(*own, 0.9) for own in (scores(wins, losses, ties), scores(losses, wins, ties)))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx(
        (1 - found.value, 1 - found.high, 1 - found.low), abs=1e-12
    )


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.3, 0.0), (0.02, 0.01), (0.6, 0.3), (0.0, 0.0)])
def test_the_interval_holds_the_truth_as_often_as_it_says(shares: tuple[float, float]) -> None:
    n, truth, chance = 8, 0.5 + 0.5 * (shares[0] - shares[1]), 0.0
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            found = paired_auc(*scores(wins, losses, n - wins - losses), 0.8)
            if found.low - 1e-12 <= truth <= found.high + 1e-12:
                chance += multinomial.pmf([wins, losses, n - wins - losses], n, [*shares, 1 - sum(shares)])
    assert chance >= 0.8


def test_scores_without_a_partner_are_refused() -> None:
    with pytest.raises(InputError, match="scores of the others: expected shape"):
        paired_auc(np.zeros(3), np.zeros(4), 0.99)
    with pytest.raises(InputError, match="level: expected a share"):
        paired_auc(np.zeros(3), np.zeros(3), 1.0)
