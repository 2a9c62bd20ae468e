"""What coordinator and members of a secure sum agree upon: what is summed, who neighbours whom, and how masks follow.

The protocol is that of Bonawitz et al. (Practical secure aggregation for privacy-preserving machine learning, CCS
2017) with double masks, and with the sparse graph of Bell et al. (Secure single-server aggregation with
(poly)logarithmic overhead, CCS 2020) on request. A member's vector gets a mask per neighbour, which cancel in the sum,
and a mask of its own. Shares of the keys of the former and of the seed of the latter are at its neighbours, who reveal
one of the two: the seed of whose vector is in the sum, and the key of who vanished before.

Flower's own SecAgg+ is not used: the masks of `pseudo_rand_gen` (flwr 1.41,
`flwr/common/secure_aggregation/secaggplus_utils.py`) are of a Mersenne Twister, which is no cryptographic generator,
seeded with 32 bits: the XOR of the words of the agreed key. Whoever sees a masked vector tries all 2^32 seeds. Vectors
are clipped and quantised to 22 bits there, too, so that no exact sum comes out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from unlearn.checks import require_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.fixed_point import FixedPoint, RingArray
from unlearn.privacy.federated.messages import Payload

#: The tasks of a round, in order.
KEYS, SHARES, MASKED, SURVIVORS, UNMASK = "sum/keys", "sum/shares", "sum/masked", "sum/survivors", "sum/unmask"
STAGES = (KEYS, SHARES, MASKED, SURVIVORS, UNMASK)

#: Bytes of a round's identifier.
ROUND_BYTES = 16

_DOMAIN = b"unlearn secure sum 1\n"


@dataclass(frozen=True)
class SumOptions:
    """How a secure sum is run.

    The coordinator's say how; a member's say the least that it accepts.

    Attributes:
        threshold: t, how many members must stay to the end, and how many must collude with the coordinator to learn a
            vector. None is a majority of those asked, and of the federation. It is above half of those asked, so that
            no two lists of survivors can both be signed by t.
        neighbours: k, with how many others each member shares masks, an even number; None is all. A vector is hidden
            among those that honest members connect to it, so k is to be well above the number who may collude or
            vanish; all is right up to some hundred members.
        fixed_point: how numbers are written; the members' own is not looked at, for it protects nothing.
    """

    threshold: int | None = None
    neighbours: int | None = None
    fixed_point: FixedPoint = field(default_factory=FixedPoint)

    def __post_init__(self) -> None:
        if self.threshold is not None and require_count("threshold", self.threshold) < 2:
            raise InputError("threshold: expected at least 2 members, got 1, who would hide among nobody.")
        if self.neighbours is not None and require_count("neighbours", self.neighbours) % 2:
            raise InputError(f"neighbours: expected an even number, got {self.neighbours}.")

    def least(self, federation: int) -> int:
        """The threshold, given the size of the federation."""
        return self.threshold if self.threshold is not None else max(2, federation // 2 + 1)


@dataclass(frozen=True)
class About:
    """What members agree to sum: each signs it with its keys, so all sum the same.

    Attributes:
        what: name of the contribution.
        asked: SHA-256 of the message that contributions are made of, in hex.
        members: who is asked, in order.
        threshold: see `SumOptions`.
        neighbours: see `SumOptions`; 0 is all.
        fraction_bits, ring_bits: see `FixedPoint`.
    """

    what: str
    asked: str
    members: tuple[str, ...]
    threshold: int
    neighbours: int
    fraction_bits: int
    ring_bits: int

    def text(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def read(cls, text: bytes) -> About:
        """Read what `text` wrote.

        Raises:
            ProtocolError: something else, or a threshold that is not above half of the members.
        """
        try:
            about = cls(**json.loads(text))
            about = cls(**{**asdict(about), "members": tuple(about.members)})
            n, t, k = len(about.members), about.threshold, about.neighbours
            texts = {type(own) for own in (about.what, about.asked, *about.members)}
            if texts != {str} or {type(t), type(k)} != {int} or about.text() != text or not about.fixed_point:
                raise ValueError
            if len(set(about.members)) < n or not max(3, n) < 2 * t <= 2 * n or k < 0 or k % 2:
                raise ValueError
        except (TypeError, ValueError, AttributeError, RecursionError):
            raise ProtocolError(
                "secure sum: expected what is summed, by whom, and a threshold above half of them; got something else. "
                "Let every party run the same version."
            ) from None
        return about

    @property
    def fixed_point(self) -> FixedPoint:
        return FixedPoint(self.fraction_bits, self.ring_bits)

    def context(self, round_id: bytes, roster: bytes) -> bytes:
        """What every key and signature of the round is bound to, 32 bytes."""
        return digest(b"context", round_id, self.text(), roster)


@dataclass(frozen=True)
class Graph:
    """Who shares masks with whom among the members that sent keys.

    Attributes:
        names: of those members, in order.
        neighbours: position of each one's neighbours, ascending.
        threshold: shares that recover a secret.
    """

    names: tuple[str, ...]
    neighbours: tuple[tuple[int, ...], ...]
    threshold: int

    @classmethod
    def of(cls, about: About, names: Sequence[str], keys: bytes) -> Graph:
        """All with all, or a ring in which each is linked to the k next to it, in an order that follows from the keys.

        Nobody knows the order before all sent their keys. A coordinator that makes up members could still try keys
        until it likes the order; it is taken to be honest but curious.
        """
        n, k = len(names), about.neighbours
        if not k or k >= n - 1:
            linked = [tuple(j for j in range(n) if j != i) for i in range(n)]
            size = n
        else:
            order = sorted(range(n), key=lambda i: digest(b"order", keys, i.to_bytes(4)))
            steps = [step for step in range(-k // 2, k // 2 + 1) if step]
            place = {i: at for at, i in enumerate(order)}
            linked = [tuple(sorted(order[(place[i] + step) % n] for step in steps)) for i in range(n)]
            size = k + 1
        # The same share of a neighbourhood as the threshold is of all, rounded up; above half of it.
        return cls(tuple(names), tuple(linked), -(-about.threshold * size // n))

    def holders(self, i: int) -> tuple[int, ...]:
        """Who holds shares of a member's secrets: its neighbours and itself, ascending."""
        return tuple(sorted((*self.neighbours[i], i)))

    def is_connected(self, among: Collection[int]) -> bool:
        """Whether masks link all of these; else sums of parts of them would show."""
        left, found = set(among), [min(among)]
        left.discard(found[0])
        while found:
            linked = left.intersection(self.neighbours[found.pop()])
            left -= linked
            found.extend(linked)
        return not left


def digest(*parts: bytes) -> bytes:
    """SHA-256 of parts, whose borders count, 32 bytes."""
    hashed = hashlib.sha256(_DOMAIN)
    for part in parts:
        hashed.update(len(part).to_bytes(8) + part)
    return hashed.digest()


def positions(values: Iterable[int]) -> bytes:
    """Positions of members as bytes, for signatures."""
    return b"".join(value.to_bytes(4) for value in values)


def survivors_text(context: bytes, keys: bytes, sharing: Sequence[int], survivors: Sequence[int]) -> bytes:
    """What a member signs when it has seen whose vectors are in the sum."""
    return digest(b"survivors", context, keys, positions(sharing), positions(survivors))


def derived(secret: bytes, purpose: str, context: bytes, *names: str) -> bytes:
    """A key of 32 bytes for one purpose between these members in one round (HKDF, RFC 5869)."""
    info = digest(purpose.encode(), context, *(name.encode() for name in names))
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def agreed(private: bytes, public: bytes, what: str) -> bytes:
    """The secret of two members (X25519).

    Raises:
        ProtocolError: a public key that is none.
    """
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise ProtocolError(f"{what}: expected a public key, got bytes that are none. Start anew.") from None


def stream(key: bytes, n: int, fixed_point: FixedPoint) -> RingArray:
    """A mask that is uniform in the ring, shape (n, R / 64): the stream of ChaCha20 under a key for this use alone."""
    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(cipher.update(bytes(n * fixed_point.ring_bits // 8)), "<u8").reshape(n, fixed_point.n_limbs)


def own_mask(seed: bytes, context: bytes, name: str, n: int, fixed_point: FixedPoint) -> RingArray:
    """The mask that a member alone knows, shape (n, R / 64)."""
    return stream(derived(seed, "own mask", context, name), n, fixed_point)


def pair_mask(
    private: bytes, public: bytes, context: bytes, names: tuple[str, str], n: int, fixed_point: FixedPoint
) -> RingArray:
    """The mask of two members, which the first of them adds and the second subtracts, shape (n, R / 64)."""
    secret = agreed(private, public, " and ".join(names))
    return stream(derived(secret, "pair mask", context, *names), n, fixed_point)


def rows(value: Payload, name: str) -> list[bytes]:
    """The rows of an array of bytes."""
    return [row.tobytes() for row in value[name]]
