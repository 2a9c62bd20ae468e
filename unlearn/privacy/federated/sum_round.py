"""What a member keeps of the one secure sum that is open, between two questions."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from unlearn.errors import ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.federated.sharing import SHARE_BYTES
from unlearn.privacy.federated.sum_protocol import MASKED, STAGES, About, Graph, agreed, derived, digest, rows

#: What all names of the round in a member's state begin with.
PREFIX = "sum/round/"

#: A member's two pairs of keys: masks follow from one, shares are encrypted with the other.
PAIRS = ("mask", "share")

_NONCE, _TAG = 12, 16

#: Bytes of the two shares that one member gives another, encrypted.
SEALED_BYTES = _NONCE + 2 * SHARE_BYTES + _TAG


@dataclass(frozen=True)
class Round:
    """What a member knows of the round once all keys have come.

    Attributes:
        name: its own.
        about: what is summed.
        context: what keys and signatures are bound to.
        keys: digest of all keys that came.
        mask_keys, share_keys: public keys of each member that sent some, in the graph's order.
        graph: of these members.
        own: its own position.
    """

    name: str
    about: About
    context: bytes
    keys: bytes
    mask_keys: list[bytes] = field(repr=False)
    share_keys: list[bytes] = field(repr=False)
    graph: Graph
    own: int

    @classmethod
    def of(cls, kept: Payload, name: str, roster: bytes) -> Round:
        """From what the member kept, and the fingerprint of its roster."""
        about = About.read(kept[PREFIX + "about"].tobytes())
        names = [about.members[i] for i in kept[PREFIX + "from"]]
        keys = digest(*(kept[PREFIX + what].tobytes() for what in ("from", "mask_key", "share_key")))
        return cls(
            name,
            about,
            about.context(kept[PREFIX + "id"].tobytes(), roster),
            keys,
            rows(kept, PREFIX + "mask_key"),
            rows(kept, PREFIX + "share_key"),
            Graph.of(about, names, keys),
            names.index(name),
        )

    def seal(self, kept: Payload, to: int, shares: bytes) -> bytes:
        """Encrypt shares for the member at a position (AES-256-GCM)."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher(kept, to, self.name, self.graph.names[to]).encrypt(nonce, shares, None)

    def opened(self, kept: Payload, sender: int, sealed: bytes) -> bytes:
        """Decrypt the shares that the member at a position encrypted for this one.

        Raises:
            ProtocolError: they were changed, or are others.
        """
        name = self.graph.names[sender]
        try:
            cipher = self._cipher(kept, sender, name, self.name)
            return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except InvalidTag:
            raise ProtocolError(
                f"{self.name}, {MASKED}: expected the shares that {name} encrypted for it, got others. Start anew "
                "without whoever changed them."
            ) from None

    def _cipher(self, kept: Payload, other: int, sender: str, receiver: str) -> AESGCM:
        """A key for one direction, bound to the round and both names."""
        private = kept[PREFIX + "share_private"].tobytes()
        secret = agreed(private, self.share_keys[other], f"keys of {self.graph.names[other]}")
        return AESGCM(derived(secret, "shares", self.context, sender, receiver))


def keep(kept: Payload, stage: str, values: Payload) -> None:
    """Keep arrays of the open round, which has now passed a stage."""
    kept |= {PREFIX + what: value.copy() for what, value in values.items()}
    kept[PREFIX + "stage"] = np.array([STAGES.index(stage)], dtype=np.uint8)


def erase(kept: Payload) -> bool:
    """Forget the open round, and say whether there was one."""
    names = [name for name in kept if name.startswith(PREFIX)]
    for name in names:
        del kept[name]
    return bool(names)


def public_key(private: bytes | NDArray[np.uint8]) -> bytes:
    """The public key of a private one (X25519), 32 bytes."""
    raw = private if isinstance(private, bytes) else private.tobytes()
    return X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
