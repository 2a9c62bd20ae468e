"""Spot checks of bills: at intervals that nobody could foresee, a meter opens what it reported.

1. The meter commits to every reading (`commit`: SHA-256 with 32 random bytes each) and gives its shares to the servers.
2. Then customer and utility each draw a seed, commit to it, and open it (`Toss`); both together choose the intervals.
3. There the meter opens its commitments, the servers open the shares that they billed (`billing.open_readings`), and
   the utility compares both with a check meter of its own (`examine`).

Whoever reports k of n intervals wrongly, to the servers, in the commitments or both, is found with the probability that
at least one of s chosen ones is among them, 1 - C(n - k, s) / C(n, s) (`found_probability`), if the hash function is
collision resistant and one of the two draws its seed at random. How much one wrong interval can be worth is limited by
`billing.bill`, which accepts no reading that a meter cannot have.

Trust: the check meter is the utility's, and true; servers follow the protocol. The utility learns the chosen readings,
and nothing else is opened. Either side may refuse to open once it knows the choice, which counts as found.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import IntArray, require_count
from unlearn.errors import InputError, ProtocolError

#: Bytes of a seed, of what hides a reading, and of a commitment.
SIZE = 32
_READING, _SEED, _CHOICE = (f"unlearn spot check 1 {one}\n".encode() for one in ("reading", "seed", "choice"))


@dataclass(frozen=True)
class Committed:
    """Readings of one meter and period, fixed before anybody knows which are opened.

    Attributes:
        digests: a commitment for each interval, uint8 with shape (intervals, 32); public.
        blinds: what hides each reading, same shape; the meter's secret until it opens some.
    """

    digests: NDArray[np.uint8]
    blinds: NDArray[np.uint8] = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of all commitments, 32 bytes."""
        return hashlib.sha256(self.digests.tobytes()).digest()


def commit(meter: str, period: str, readings_wh: NDArray) -> Committed:
    """Commit to readings, whole Wh with shape (intervals,).

    A commitment names its meter, period and interval, so that one of another is none.

    >>> committed = commit("meter 7", "2026-11", np.array([480, 20]))
    >>> opens("meter 7", "2026-11", 1, 20, committed.blinds[1], committed.digests[1])
    True
    >>> opens("meter 7", "2026-11", 0, 20, committed.blinds[1], committed.digests[1])
    False

    Raises:
        InputError: readings that are not whole, or too large.
    """
    values = np.asarray(readings_wh)
    if values.ndim != 1 or not values.size or not (np.abs(values) < 2**53).all():
        raise InputError(
            f"readings_wh: expected whole Wh below 2^53 with shape (intervals,), got others of shape {values.shape}."
        )
    if not np.array_equal(values, np.round(values)):
        raise InputError("readings_wh: expected whole Wh, got others. Round them first.")
    blinds = np.frombuffer(secrets.token_bytes(SIZE * values.size), dtype=np.uint8).reshape(-1, SIZE)
    whole = values.astype(np.int64).tolist()
    digests = b"".join(_digest(meter, period, at, one, blinds[at].tobytes()) for at, one in enumerate(whole))
    return Committed(np.frombuffer(digests, dtype=np.uint8).reshape(-1, SIZE), blinds)


def opens(meter: str, period: str, interval: int, reading_wh: int, blind: NDArray, digest: NDArray) -> bool:
    """Whether a reading and what hid it are those that were committed to."""
    own = _digest(meter, period, interval, int(reading_wh), np.asarray(blind, dtype=np.uint8).tobytes())
    return hmac.compare_digest(own, np.asarray(digest, dtype=np.uint8).tobytes())


class Toss:
    """One side of a joint draw: send `commitment`, wait for the other's, then send `seed` (Blum, 1983).

    >>> meter, utility = Toss("customer"), Toss("utility")
    >>> seeds = meter.check("utility", utility.commitment, utility.seed), meter.seed
    >>> len(chosen(seeds[1], seeds[0], bytes(32), 1488, 20))
    20
    """

    def __init__(self, side: str) -> None:
        self.side, self.seed = side, secrets.token_bytes(SIZE)

    @property
    def commitment(self) -> bytes:
        """What fixes the seed without telling it, 32 bytes."""
        return _seed_digest(self.side, self.seed)

    def check(self, side: str, commitment: bytes, seed: bytes) -> bytes:
        """The other's seed, if it is the one that it committed to.

        Raises:
            ProtocolError: it is not, or it is one's own, sent back.
        """
        if side == self.side or len(seed) != SIZE or not hmac.compare_digest(_seed_digest(side, seed), commitment):
            raise ProtocolError(f"{side}: expected the seed that it committed to, got another. Draw anew.")
        return seed

    def __repr__(self) -> str:
        return f"Toss({self.side})"


def chosen(customer_seed: bytes, utility_seed: bytes, fingerprint: bytes, n: int, sample: int) -> list[int]:
    """The intervals of a spot check, ascending: `sample` of n, each set equally likely if one of the seeds is random.

    Args:
        customer_seed, utility_seed: 32 bytes each, from `Toss.check`.
        fingerprint: of the commitments that were there before.
        n: intervals of the period.
        sample: how many to check.

    Raises:
        InputError: other lengths, or more than there are.
    """
    if {len(customer_seed), len(utility_seed), len(fingerprint)} != {SIZE}:
        raise InputError(f"chosen: expected seeds and a fingerprint of {SIZE} bytes each, got others.")
    if require_count("sample", sample) > require_count("n", n):
        raise InputError(f"sample: expected at most the {n} intervals, got {sample}.")
    left, drawn = list(range(n)), []
    for at in range(sample):
        # 256 bits modulo n are uniform up to n times 2^-256.
        content = _CHOICE + customer_seed + utility_seed + fingerprint + at.to_bytes(8)
        drawn.append(left.pop(int.from_bytes(hashlib.sha256(content).digest()) % len(left)))
    return sorted(drawn)


@dataclass(frozen=True)
class Finding:
    """What a spot check found: places among the chosen intervals, by what was wrong; all empty if nothing was.

    Attributes:
        not_opened: the meter opened no such commitment.
        other_shares: the servers billed another reading than the meter committed to.
        other_meter: the check meter read something else.
    """

    not_opened: tuple[int, ...]
    other_shares: tuple[int, ...]
    other_meter: tuple[int, ...]

    @property
    def passed(self) -> bool:
        return not (self.not_opened or self.other_shares or self.other_meter)


def examine(
    meter: str,
    period: str,
    hours: Sequence[int],
    opened_wh: IntArray,
    blinds: NDArray[np.uint8],
    digests: NDArray[np.uint8],
    from_shares_wh: IntArray,
    check_meter_wh: NDArray,
    tolerance_wh: float = 1.0,
) -> Finding:
    """Compare what a meter opened with its commitments, its shares and a check meter; all at the chosen intervals.

    Args:
        meter, period: whose, and when.
        hours: from `chosen`.
        opened_wh, blinds: what the meter opened there, shapes (sample,) and (sample, 32).
        digests: all its commitments, shape (intervals, 32).
        from_shares_wh: from `billing.open_readings`.
        check_meter_wh: of the utility's meter.
        tolerance_wh: how far two true meters may lie apart.

    Raises:
        ProtocolError: shapes differ.
    """
    n = len(hours)
    shapes = [np.shape(one) for one in (opened_wh, from_shares_wh, check_meter_wh)]
    if any(shape != (n,) for shape in shapes) or np.shape(blinds) != (n, SIZE) or np.shape(digests)[1:] != (SIZE,):
        raise ProtocolError(f"{meter}: expected {n} openings for the {n} chosen intervals, got others.")
    rows = np.asarray(opened_wh, dtype=np.int64)
    fixed = [opens(meter, period, hour, rows[at], blinds[at], digests[hour]) for at, hour in enumerate(hours)]
    apart = np.abs(rows - np.asarray(check_meter_wh, dtype=np.float64)) > tolerance_wh
    return Finding(
        tuple(hour for hour, good in zip(hours, fixed, strict=True) if not good),
        tuple(hour for hour, own, other in zip(hours, rows, from_shares_wh, strict=True) if own != other),
        tuple(hour for hour, far in zip(hours, apart, strict=True) if far),
    )


def found_probability(n: int, wrong: int, sample: int) -> float:
    """How likely a check of `sample` of n intervals meets at least one of `wrong`: 1 - C(n - k, s) / C(n, s).

    >>> round(found_probability(1488, 74, 60), 3)  # 5 % of a month's half-hours, 4 % opened
    0.956
    """
    if not 0 <= wrong <= n or not 0 <= sample <= n:
        raise InputError(f"found_probability: expected 0 to {n} wrong and sampled intervals, got {wrong} and {sample}.")
    # In whole numbers, so that a small probability is not lost beside one.
    every = comb(n, sample)
    return (every - comb(n - wrong, sample)) / every


def _digest(meter: str, period: str, interval: int, reading: int, blind: bytes) -> bytes:
    named = b"".join(len(one).to_bytes(4) + one for one in (meter.encode(), period.encode()))
    return hashlib.sha256(_READING + named + interval.to_bytes(8) + reading.to_bytes(8, signed=True) + blind).digest()


def _seed_digest(side: str, seed: bytes) -> bytes:
    return hashlib.sha256(_SEED + len(side.encode()).to_bytes(4) + side.encode() + seed).digest()
