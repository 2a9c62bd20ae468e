"""What is withheld, against all choices of sums and all supports of combinations."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.attacks.differencing import find_differences
from unlearn.errors import InputError, SolverError
from unlearn.privacy.anonymize import suppression
from unlearn.privacy.anonymize.suppression import (
    COMPLEMENTARY,
    DOMINATED,
    PUBLISHED,
    TOO_FEW,
    AggregationRule,
    suppressed,
)

COUNTS = AggregationRule(least_customers=3, largest_share=1.0, cost="sums")


def safe(member: np.ndarray, energy: np.ndarray, rule: AggregationRule) -> bool:
    """By all sets of customers: one that some combination has, and no other, must satisfy the rule.

    Whether it has is a matter of ranks: customers outside of it have a lower rank than all, without any of its own.
    """
    n, full = member.shape[1], np.linalg.matrix_rank(member)
    for size in range(1, n + 1):
        for own in map(list, combinations(range(n), size)):
            outside = np.delete(member, own, axis=1)
            if size and np.linalg.matrix_rank(outside) < full:
                share = energy[own].max() / energy[own].sum()
                if _is_support(member, own) and (size < rule.least_customers or share > rule.largest_share):
                    return False
    return True


def _is_support(member: np.ndarray, own: list[int]) -> bool:
    """Whether every customer of a set is in a combination that is 0 outside of it."""
    outside = np.delete(member, own, axis=1)
    rank = np.linalg.matrix_rank(outside)
    return all(np.linalg.matrix_rank(np.c_[outside, member[:, one]]) > rank for one in own)


CASES = st.integers(0, 10**6).map(np.random.default_rng)


@given(CASES)
def test_the_least_sums_are_withheld_that_leave_nothing(random: np.random.Generator) -> None:
    n_sums, n = int(random.integers(2, 6)), int(random.integers(4, 8))
    member = random.random((n_sums, n)) < 0.7
    member[0] = True
    energy = random.integers(1, 6, n).astype(float)
    rule = AggregationRule(least_customers=3, largest_share=float(random.choice([0.6, 1.0])), cost="sums")
    reasons = suppressed(member, energy, rule)
    count, total = member.sum(axis=1), member @ energy
    dominated = np.where(member, energy, 0).max(axis=1) / rule.largest_share > total
    assert np.array_equal(reasons == TOO_FEW, count < 3)
    assert np.array_equal(reasons == DOMINATED, dominated & (count >= 3))
    left = np.flatnonzero((reasons == PUBLISHED) | (reasons == COMPLEMENTARY))
    least = next(
        size
        for size in range(len(left) + 1)
        if any(safe(np.delete(member[left], own, axis=0), energy, rule) for own in combinations(range(len(left)), size))
    )
    assert safe(member[reasons == PUBLISHED], energy, rule)
    assert (reasons == COMPLEMENTARY).sum() == least


@given(CASES)
def test_without_insisting_on_the_least_nothing_is_withheld_in_vain(random: np.random.Generator) -> None:
    member = random.random((6, 20)) < 0.6
    member[0] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, "_ROUNDS", 1)
        reasons = suppressed(member, np.ones(20), COUNTS)
    published = reasons == PUBLISHED
    assert not find_differences(member[published], 3).findings
    for own in np.flatnonzero(reasons == COMPLEMENTARY):
        published[own] = True
        assert find_differences(member[published], 3).findings
        published[own] = False
    assert (reasons == COMPLEMENTARY).sum() >= (suppressed(member, np.ones(20), COUNTS) == COMPLEMENTARY).sum()


def two_margins(n_rows: int = 4, n_columns: int = 3, each: int = 4) -> np.ndarray:
    """All of `each` customers in a cell of a table: its rows, its columns, and the total."""
    row, column = np.divmod(np.arange(n_rows * n_columns), n_columns)
    cells = np.r_[[row == i for i in range(n_rows)], [column == j for j in range(n_columns)], [row >= 0]]
    return np.repeat(cells, each, axis=1)


def test_two_ways_to_group_compose() -> None:
    # A row that is withheld follows from the columns, and from the total.
    member = two_margins()
    rule = AggregationRule(least_customers=9, largest_share=1.0, cost="sums")
    assert not suppressed(member, np.ones(member.shape[1]), rule).any()
    few = member[:, 4:]  # now the first row has 8 customers
    reasons = suppressed(few, np.ones(few.shape[1]), rule)
    assert reasons[0] == TOO_FEW
    assert (reasons == COMPLEMENTARY).sum() >= 1
    assert not find_differences(few[reasons == PUBLISHED], 9).findings
    assert find_differences(few[reasons != TOO_FEW], 9).findings


def test_kept_sums_are_published_and_others_withheld() -> None:
    member = two_margins()[:, 4:]
    rule = AggregationRule(least_customers=9, largest_share=1.0)
    kept = np.zeros(len(member), dtype=bool)
    kept[[1, 7]] = True
    reasons = suppressed(member, np.ones(member.shape[1]), rule, kept)
    assert not reasons[kept].any()
    assert not find_differences(member[reasons == PUBLISHED], 9).findings


def test_dominance_counts_in_differences() -> None:
    # Half of what the area has besides feeder 1 is one customer's.
    member = np.array([[True] * 40, [True] * 20 + [False] * 20])
    energy = np.r_[np.ones(39), 19.0]
    rule = AggregationRule(largest_share=0.4)
    assert suppressed(member, energy, rule).tolist() == [PUBLISHED, COMPLEMENTARY]
    assert not suppressed(member, np.ones(40), rule).any()


def test_cost_chooses_what_is_withheld() -> None:
    # Either of two large feeders hides the small one.
    member = np.zeros((4, 60), dtype=bool)
    member[0], member[1, :20], member[2, 20:50], member[3, 50:] = True, True, True, True
    energy = np.r_[np.full(20, 3.0), np.ones(40)]
    by = {
        cost: suppressed(member, energy, AggregationRule(cost=cost, largest_share=1.0))
        for cost in ("energy", "customers")
    }
    assert by["energy"].tolist() == [PUBLISHED, PUBLISHED, COMPLEMENTARY, TOO_FEW]
    assert by["customers"].tolist() == [PUBLISHED, COMPLEMENTARY, PUBLISHED, TOO_FEW]


def test_edges_of_the_rule() -> None:
    assert not suppressed(np.ones((1, 15), dtype=bool), np.ones(15)).any()
    assert suppressed(np.ones((1, 14), dtype=bool), np.ones(14)).tolist() == [TOO_FEW]
    assert not suppressed(np.ones((1, 20), dtype=bool), np.zeros(20)).any()
    assert suppressed(np.zeros((1, 20), dtype=bool), np.ones(20)).tolist() == [TOO_FEW]
    few = np.array([[True] * 20, [True] * 18 + [False] * 2])
    assert suppressed(few, np.ones(20), AggregationRule(complementary=False)).tolist() == [PUBLISHED, PUBLISHED]


def test_refusals() -> None:
    with pytest.raises(InputError, match="least_customers: expected a whole number"):
        AggregationRule(least_customers=0)
    with pytest.raises(InputError, match="largest_share: expected a share of at most 1, got 15"):
        AggregationRule(largest_share=15)
    with pytest.raises(InputError, match="dominance: expected one of interval, period"):
        AggregationRule(dominance="hour")
    with pytest.raises(InputError, match="cost: expected one of"):
        AggregationRule(cost="kwh")
    ones = np.ones((2, 20), dtype=bool)
    with pytest.raises(InputError, match="member: expected True or False"):
        suppressed(ones.astype(int), np.ones(20))
    with pytest.raises(InputError, match="energy: expected shape"):
        suppressed(ones, np.ones(3))
    with pytest.raises(InputError, match="energy: expected at least 0 kWh of each customer, got 20 below"):
        suppressed(ones, -np.ones(20))
    with pytest.raises(InputError, match="kept: expected shape"):
        suppressed(ones, np.ones(20), kept=[True])
    few = np.array([[True] * 20, [True] * 18 + [False] * 2])
    with pytest.raises(InputError, match="keep: expected sums that can be published together"):
        suppressed(few, np.ones(20), kept=[True, True])
    with pytest.raises(InputError, match="keep: expected sums that satisfy the rule themselves"):
        suppressed(few[:, :14], np.ones(14), kept=[True, True])


def test_a_solver_that_fails_is_no_reason_to_publish(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **options: object) -> None:
        raise SolverError("no answer")

    monkeypatch.setattr(suppression, "lightest_hitting_set", failing)
    member = np.array([[True] * 40, [True] * 30 + [False] * 10, [False] * 30 + [True] * 10])
    reasons = suppressed(member, np.ones(40), AggregationRule(largest_share=1.0))
    assert reasons.tolist() == [PUBLISHED, COMPLEMENTARY, TOO_FEW]
