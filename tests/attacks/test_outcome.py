"""Measures of an attack against scikit-learn, exact binomial intervals and counting."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm
from sklearn.metrics import roc_auc_score

from tests.proofs import proof_count
from unlearn.attacks import measure_attack, require_enough_records
from unlearn.attacks.outcome import _draws, _Ladder, _Side, _statistics
from unlearn.errors import InputError


@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(2, 60))
def test_auc_is_that_of_scikit_learn(seed: int, n: int, m: int) -> None:
    random = np.random.default_rng(seed)
    members, others = random.integers(0, 9, n).astype(float), random.integers(0, 7, m).astype(float)
    found = measure_attack(members, others, unit="row", fprs=())
    truth = roc_auc_score(np.repeat([1, 0], [n, m]), np.concatenate([members, others]))
    assert found.auc.value == pytest.approx(truth, abs=1e-12)
    assert found.auc.low <= found.auc.value <= found.auc.high


@given(st.integers(0, 10_000))
def test_tpr_never_uses_more_false_positives_than_allowed(seed: int) -> None:
    random = np.random.default_rng(seed)
    members, others = random.integers(0, 30, 200).astype(float), random.integers(0, 28, 150).astype(float)
    found = measure_attack(members, others, unit="row", fprs=(0.02, 0.1)).tpr_at
    for fpr, estimate in found.items():
        reachable = [
            (members > threshold).mean() for threshold in np.unique(others) if (others > threshold).mean() <= fpr
        ]
        assert estimate.value == pytest.approx(max(reachable))


def test_guessing_has_no_advantage_and_intervals_cover() -> None:
    outcomes = [
        measure_attack(*np.random.default_rng(seed).normal(size=(2, 120)), unit="row", seed=seed) for seed in range(40)
    ]
    advantages = [found.advantage.value for found in outcomes]
    # Halves are shared by threshold and measurement in turn: unbiased; 40 runs have a standard error near 0.014.
    assert abs(np.mean(advantages)) < 0.06
    assert sum(found.auc.low <= 0.5 <= found.auc.high for found in outcomes) >= 33


def test_shifted_normal_scores_have_the_auc_and_tpr_of_theory() -> None:
    random = np.random.default_rng(0)
    found = measure_attack(random.normal(1.5, 1, 6000), random.normal(size=6000), unit="row", fprs=(0.01,))
    for estimate, truth in (
        (found.auc, norm.cdf(1.5 / np.sqrt(2))),
        (found.advantage, 2 * norm.cdf(0.75) - 1),
        (found.recall, norm.cdf(0.75)),
        (found.tpr_at[0.01], norm.sf(norm.isf(0.01) - 1.5)),
    ):
        assert abs(estimate.value - truth) < 0.03
        assert estimate.low - 0.01 <= truth <= estimate.high + 0.01


def test_perfect_separation_keeps_an_honest_interval() -> None:
    found = measure_attack(np.arange(10) + 100.0, np.arange(100.0), unit="row")
    assert found.auc == (1.0, pytest.approx(beta.ppf(0.025, 10, 1)), 1.0)
    assert found.tpr_at[0.01].value == 1.0


def test_members_are_resampled_by_household() -> None:
    random = np.random.default_rng(1)
    of_household = np.repeat(random.normal(0.5, 1, 30), 40)
    others = random.normal(size=1200)
    household = np.repeat(np.arange(30), 40)
    alone = measure_attack(of_household, others, unit="profile").auc
    grouped = measure_attack(of_household, others, unit="profile", member_group=household).auc
    assert alone.value == grouped.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_outcome() -> None:
    scores = np.random.default_rng(2).normal(size=(2, 100))
    assert measure_attack(*scores, unit="row", seed=3) == measure_attack(*scores, unit="row", seed=3)


def test_too_few_others_for_a_rate_are_refused() -> None:
    with pytest.raises(InputError, match=r"at least 1000 records .* rate of 0.001, got 400"):
        require_enough_records(400, (0.01, 0.001))
    require_enough_records(100, (0.01,))
    with pytest.raises(InputError, match="fpr: expected a share"):
        require_enough_records(100, (0.0,))


@pytest.mark.parametrize(
    ("members", "others", "message"),
    [
        ([], [0.0] * 100, "at least 2 members"),
        ([1.0, 2.0], [0.0], "at least 2 others"),
        ([1.0, np.nan], [0.0] * 100, "scores of members: expected finite"),
    ],
)
def test_unusable_scores_are_refused(members: list[float], others: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure_attack(members, others, unit="row", fprs=())


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="group of others"):
        measure_attack([1.0, 2.0], [0.0, 1.0], unit="row", other_group=[0], fprs=())


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(proof_count(20)))
def test_thresholds_and_rates_are_those_of_trying_every_score(seed: int) -> None:
    """Advantage, precision and recall of weighted, tied scores, by plain loops over every score."""
    random = np.random.default_rng(seed)
    scores = [random.integers(0, 8, n).astype(float) for n in (13, 17)]
    sides = (_Side(scores[0], np.arange(13) // 2), _Side(scores[1], np.arange(17) // 3))
    ladder, draws = _Ladder(sides), _draws(sides, range(5), random)
    for i, row in enumerate(_statistics(ladder, draws, (0.3,))):
        weights, halves = [own.weight[i] for own in draws], [own.half[i] for own in draws]
        pooled = np.concatenate([side.scores for side in sides])
        truth = np.repeat([1, 0], [13, 17])
        assert row[0] == pytest.approx(roc_auc_score(truth, pooled, sample_weight=np.concatenate(weights)))
        options = []
        for learn in (True, False):
            own = [w * (half == learn) for w, half in zip(weights, halves, strict=True)]
            other = [w * (half != learn) for w, half in zip(weights, halves, strict=True)]
            seen = sorted({score for side, w in zip(sides, own, strict=True) for score in side.scores[w > 0]})
            gain = np.array([np.subtract(*share_above(sides, own, t)) for t in seen])
            # Of thresholds that are equally good but for rounding, any may be taken.
            best = np.flatnonzero(gain > gain.max() - 1e-12)
            thresholds = [np.mean(seen[place : place + 2]) for place in best]
            options.append([np.array(share_above(sides, other, t)) / 2 for t in thresholds])
        expected = [(tpr - fpr, tpr) for tpr, fpr in (a + b for a, b in product(*options))]
        assert min(abs(row[1] - advantage) + abs(row[3] - recall) for advantage, recall in expected) < 1e-12
        reachable = [share_above(sides, weights, t) for t in sides[1].scores]
        assert row[4] == pytest.approx(max(tpr for tpr, fpr in reachable if fpr <= 0.3))


def share_above(sides: tuple[_Side, _Side], weights: list[np.ndarray], threshold: float) -> tuple[float, float]:
    """Weighted share of each side above a threshold; 0 of nothing."""
    first, second = (
        float(sum(w[side.scores > threshold]) / max(sum(w), 1e-300)) for side, w in zip(sides, weights, strict=True)
    )
    return first, second
