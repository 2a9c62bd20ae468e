"""Shamir's secret sharing: any t of n shares give a secret back, and fewer say nothing about it (Shamir, 1979)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from unlearn.checks import require_count
from unlearn.errors import InputError, ProtocolError

#: Shares are numbers modulo this prime.
PRIME = 2**521 - 1

#: Bytes of a secret and of a share.
SECRET_BYTES, SHARE_BYTES = 32, 66

_DOMAIN = b"unlearn shared secret 1\n"


@dataclass(frozen=True)
class Shared:
    """A secret in shares.

    Attributes:
        shares: share i is for holder i + 1, `SHARE_BYTES` each.
        commitment: hash of the secret, by which a wrong one is recognised; it hides a secret that is drawn at random
            from 256 bits, and no other.
    """

    shares: tuple[bytes, ...] = field(repr=False)
    commitment: bytes


def split(secret: bytes, threshold: int, n: int) -> Shared:
    """Share a secret among n holders, any `threshold` of whom recover it.

    The coefficients are the operating system's randomness.

    >>> shared = split(bytes(range(32)), threshold=2, n=3)
    >>> recover({1: shared.shares[0], 3: shared.shares[2]}, 2, shared.commitment) == bytes(range(32))
    True

    Raises:
        InputError: not 32 bytes, or not 1 <= threshold <= n.
    """
    if not isinstance(secret, bytes) or len(secret) != SECRET_BYTES:
        raise InputError(f"secret: expected {SECRET_BYTES} bytes, got something else.")
    if require_count("threshold", threshold) > require_count("n", n):
        raise InputError(f"threshold: expected at most the {n} holders, got {threshold}.")
    coefficients = [int.from_bytes(secret), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    shares = []
    for holder in range(1, n + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * holder + coefficient) % PRIME
        shares.append(value.to_bytes(SHARE_BYTES))
    return Shared(tuple(shares), _commitment(secret))


def recover(shares: Mapping[int, bytes], threshold: int, commitment: bytes, what: str = "shares") -> bytes:
    """Give a secret back.

    Args:
        shares: by holder, from 1; the first `threshold` of them are used.
        threshold: that it was shared with.
        commitment: that `split` gave.
        what: whose secret, for the error.

    Raises:
        ProtocolError: too few shares, or some that were changed or belong to another secret.
    """
    if len(shares) < threshold:
        raise ProtocolError(f"{what}: expected at least {threshold} shares, got {len(shares)}.")
    points = {holder: int.from_bytes(share) for holder, share in list(shares.items())[:threshold]}
    value = 0
    for holder, share in points.items():
        above, below = 1, 1
        for other in points:
            if other != holder:
                above, below = above * other % PRIME, below * (other - holder) % PRIME
        value += share * above * pow(below, -1, PRIME)
    value %= PRIME
    secret = value.to_bytes(SHARE_BYTES)[-SECRET_BYTES:]
    if value >= 1 << 8 * SECRET_BYTES or not hmac.compare_digest(_commitment(secret), commitment):
        raise ProtocolError(
            f"{what}: expected the shares of one secret, got some that were changed, or that belong to another. Start "
            "anew without whoever sent them."
        )
    return secret


def _commitment(secret: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + secret).digest()
