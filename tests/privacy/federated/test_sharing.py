"""Shares of a secret: enough give it back, fewer fit every other secret as well, and changed ones are noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.sharing import PRIME, SHARE_BYTES, recover, split


@given(st.binary(min_size=32, max_size=32), st.integers(1, 8), st.integers(0, 5), st.randoms(use_true_random=False))
def test_any_that_are_enough_give_the_secret_back(secret, threshold, more, random):
    shared = split(secret, threshold, threshold + more)
    held = dict(random.sample(list(enumerate(shared.shares, start=1)), threshold))
    assert recover(held, threshold, shared.commitment) == secret


def test_the_prime_is_one():
    # 2^521 - 1 by the test of Lucas and Lehmer.
    residue = 4
    for _ in range(519):
        residue = (residue * residue - 2) % PRIME
    assert residue == 0


def test_fewer_fit_every_secret():
    """For any other secret there is a polynomial through the same shares."""
    shared = split(bytes(31) + b"\x07", 3, 5)
    points = {holder: int.from_bytes(shared.shares[holder - 1]) for holder in (2, 5)}
    for other in (0, 1, 2**255):
        # Through (0, other), (2, .), (5, .) goes one polynomial of degree two, which has a share at every other place.
        inverse = pow(2 * 5 * (2 - 5), -1, PRIME)
        a = (5 * (points[2] - other) - 2 * (points[5] - other)) * inverse % PRIME
        b = (25 * (points[2] - other) - 4 * (points[5] - other)) * -inverse % PRIME
        assert all((other + b * x + a * x * x - y) % PRIME == 0 for x, y in points.items())


@given(st.integers(0, SHARE_BYTES * 8 - 1), st.integers(1, 3))
def test_one_changed_bit_of_a_share_is_noticed(bit, holder):
    shared = split(bytes(range(32)), 3, 3)
    held = dict(enumerate(shared.shares, start=1))
    changed = (int.from_bytes(held[holder]) ^ 1 << bit).to_bytes(SHARE_BYTES)
    if int.from_bytes(changed) % PRIME == int.from_bytes(held[holder]) % PRIME:
        return
    with pytest.raises(ProtocolError, match="of a key: expected the shares of one secret"):
        recover({**held, holder: changed}, 3, shared.commitment, "of a key")


def test_shares_of_two_secrets_and_too_few_are_refused():
    one, two = (split(bytes([i]) * 32, 2, 3) for i in (1, 2))
    with pytest.raises(ProtocolError, match="one secret"):
        recover({1: one.shares[0], 2: two.shares[1]}, 2, one.commitment)
    with pytest.raises(ProtocolError, match="at least 2 shares, got 1"):
        recover({1: one.shares[0]}, 2, one.commitment)


def test_two_sharings_of_one_secret_have_no_share_in_common():
    one, two = (split(bytes(32), 2, 4) for _ in range(2))
    assert not set(one.shares) & set(two.shares)


@pytest.mark.parametrize(
    ("secret", "threshold", "n"),
    [(b"short", 2, 3), ("a" * 32, 2, 3), (bytes(32), 4, 3), (bytes(32), 0, 3), (bytes(32), 1, 0)],
)
def test_what_cannot_be_shared_is_refused(secret, threshold, n):
    with pytest.raises(InputError, match="expected"):
        split(secret, threshold, n)
