"""Shares of many numbers: sums, wrong ones, and what too few of them say."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.mpc.shamir import FIELD, MERSENNE, Field, corrects, decode, detects, evaluate, share

EDGES = [0, 1, 2, 2**31 - 1, 2**31, 2**32, 2**60, MERSENNE - 2, MERSENNE - 1]
numbers = st.one_of(st.sampled_from(EDGES), st.integers(0, MERSENNE - 1))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_the_field_is_that_of_whole_numbers(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(part, dtype=np.uint64) for part in zip(*pairs, strict=True))
    assert FIELD.multiply(a, b).tolist() == [x * y % MERSENNE for x, y in pairs]
    assert FIELD.add(a, b).tolist() == [(x + y) % MERSENNE for x, y in pairs]
    assert int(FIELD.sum_groups(a, np.array([0]))[0]) == sum(x for x, _ in pairs) % MERSENNE


def test_the_largest_products_are_exact() -> None:
    a, b = (np.array(part, dtype=np.uint64) for part in zip(*product(EDGES, EDGES), strict=True))
    assert FIELD.multiply(a, b).tolist() == [x * y % MERSENNE for x, y in product(EDGES, EDGES)]
    many = np.full((5000, 1), MERSENNE - 1, dtype=np.uint64)
    assert FIELD.sum_groups(many, np.array([0, 4000])).tolist() == [[MERSENNE - 4000], [MERSENNE - 1000]]


@settings(max_examples=60)
@given(st.data())
def test_any_enough_shares_of_sums_give_the_sum(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 8))
    threshold = data.draw(st.integers(1, n - 1))
    values = data.draw(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=5))
    shares = [share(np.array(row, dtype=np.uint64), n, threshold) for row in values]
    total = FIELD.sum_groups(np.stack(shares), np.array([0]))[0]
    for holders in combinations(range(n), threshold + 1):
        found = decode({holder + 1: total[holder] for holder in holders}, threshold)
        assert found.values.tolist() == [sum(column) % MERSENNE for column in zip(*values, strict=True)]


@settings(max_examples=60)
@given(st.data())
def test_wrong_shares_are_found_as_far_as_is_said(data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 7))
    threshold = data.draw(st.integers(1, n - 2))
    values = FIELD.random((6,))
    shares = share(values, n, threshold)
    held = {holder + 1: shares[holder].copy() for holder in range(n)}
    bad = data.draw(st.lists(st.integers(1, n), min_size=1, max_size=detects(n, threshold), unique=True))
    for holder in bad:
        at = data.draw(st.integers(0, 5))
        held[holder][at] = FIELD.add(held[holder][at], np.uint64(data.draw(st.integers(1, MERSENNE - 1))))
    with pytest.raises(ProtocolError, match="wrong ones"):
        decode(held, threshold, correct=False)
    if len(bad) <= corrects(n, threshold):
        found = decode(held, threshold)
        assert found.values.tolist() == values.tolist()
        assert found.wrong == tuple(sorted(bad))


def test_five_holders_with_threshold_two_find_each_wrong_one() -> None:
    assert (detects(5, 2), corrects(5, 2)) == (2, 1)
    values = FIELD.random((4, 3))
    for holder in range(1, 6):
        held = dict(enumerate(share(values, 5, 2), start=1))
        held[holder] = FIELD.random((4, 3))
        found = decode(held, 2)
        assert found.wrong == (holder,)
        assert (found.values == values).all()


def test_different_holders_wrong_in_different_numbers_are_too_many() -> None:
    held = dict(enumerate(share(FIELD.random((4,)), 5, 2), start=1))
    for holder in (2, 5):
        held[holder] = held[holder].copy()
        held[holder][holder - 2] = FIELD.add(held[holder][holder - 2], np.uint64(1))
    with pytest.raises(ProtocolError, match="more wrong ones than the 1"):
        decode(held, 2)


@pytest.mark.parametrize("threshold", [1, 2])
def test_shares_of_threshold_holders_are_the_same_for_every_secret(threshold: int) -> None:
    # All polynomials over a small field: every view of so many holders comes up equally often, whatever the secret.
    small, n = Field(7), 4
    free = np.array(list(product(range(7), repeat=threshold)), dtype=np.uint64).T
    for secret in range(7):
        constant = np.full((1, free.shape[1]), secret, dtype=np.uint64)
        shares = evaluate(np.concatenate([constant, free]), n, small)
        for holders in combinations(range(n), threshold):
            views = Counter(map(tuple, shares[list(holders)].T.tolist()))
            assert len(views) == 7**threshold
            assert set(views.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("secret", [0, 5000, MERSENNE - 1])
def test_views_are_uniform(secret: int) -> None:
    shares = share(np.full(40_000, secret, dtype=np.uint64), 5, 2)
    for pair in combinations(range(5), 2):
        high = (shares[list(pair)] >> np.uint64(57)).astype(np.int64)  # 16 equal parts of the field, but for one number
        counts = np.bincount(high[0] * 16 + high[1], minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-8  # 30 such tests: one fails by chance below 1e-6
    with_itself = np.bincount((shares[0] >> np.uint64(57)).astype(np.int64) * 17, minlength=256)
    assert stats.chisquare(with_itself).pvalue < 1e-8  # control: a view that is not uniform is seen


def test_random_numbers_of_a_small_field_leave_none_out() -> None:
    assert set(Field(5).random((500,)).tolist()) == set(range(5))  # one is missing with a chance below 1e-47


def test_negative_numbers_come_back() -> None:
    held = dict(enumerate(share(FIELD.encode(np.array([-3, 10])), 3, 1), start=1))
    assert FIELD.add(decode(held, 1).values, FIELD.encode(np.array([3, 0]))).tolist() == [0, 10]


@pytest.mark.parametrize("prime", [4, 9, 2**31 + 11, 2, 2.0])
def test_other_fields_are_refused(prime: int) -> None:
    with pytest.raises(InputError, match="odd prime below"):
        Field(prime)


def test_what_cannot_be_shared_is_refused() -> None:
    values = np.zeros(2, dtype=np.uint64)
    with pytest.raises(InputError, match="below the holders"):
        share(values, 3, 3)
    with pytest.raises(InputError, match="at most 16"):
        share(values, 17, 3)
    with pytest.raises(InputError, match="as uint64"):
        share(values.astype(np.int64), 3, 1)
    with pytest.raises(InputError, match="larger ones"):
        share(values + np.uint64(MERSENNE), 3, 1)
    with pytest.raises(ProtocolError, match="at least 3 holders, got 2"):
        decode({1: values, 2: values}, 2)
