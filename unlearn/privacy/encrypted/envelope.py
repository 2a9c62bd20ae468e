"""`Ciphertext`: what is sent instead of numbers, with all that says where it belongs, signed by its sender.

Libraries of homomorphic encryption read garbage without complaint, and anybody can change a ciphertext so that it
decrypts to other numbers. So each one is signed (Ed25519) together with its scheme, key, run, sender and step, and is
refused before any library sees it. The signature says who sent it, not that what is inside is true: a meter that lies
is not noticed. The envelope is not encrypted: whoever carries it sees sender, step and lengths.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from unlearn.checks import require_count, short_repr
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.identity import SIGNATURE_BYTES, Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, require_arrays

#: Bytes of a run's identifier, and of a key's fingerprint.
RUN_BYTES, FINGERPRINT_BYTES = 16, 32

_PURPOSE = "encrypted numbers"
_AGAIN = "Start a new run."


@dataclass(frozen=True)
class Label:
    """Where a ciphertext belongs.

    Attributes:
        scheme: that encrypted it, such as "bfv".
        key: fingerprint of the public key, in hex.
        run: identifier of the run, in hex.
        step: of the run.
        holds: what each encrypted number may be, as the scheme writes it; see each scheme.
    """

    scheme: str
    key: str
    run: str
    step: str
    holds: str

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, str):
                raise InputError(f"label.{name}: expected a text, got {type(value).__name__}.")
        for name, value, n_bytes in (("key", self.key, FINGERPRINT_BYTES), ("run", self.run, RUN_BYTES)):
            if len(value) != 2 * n_bytes or set(value) - set("0123456789abcdef"):
                raise InputError(f"label.{name}: expected {n_bytes} bytes in hex, got another text.")


def new_run() -> str:
    """An identifier for a run, in hex, from the operating system's generator."""
    return secrets.token_bytes(RUN_BYTES).hex()


@short_repr
@dataclass(frozen=True)
class Ciphertext:
    """Encrypted numbers in their envelope.

    >>> label = Label("bfv", "00" * 32, new_run(), "readings", "0..100")
    >>> meter = Identity.new()
    >>> sent = Ciphertext(label, "meter_1", (b"encrypted",)).signed(meter).payload()
    >>> Inbox(label, Roster({"meter_1": meter.public, "meter_2": Identity.new().public})).opened(sent).addends
    1

    Attributes:
        label: where it belongs.
        sender: who made it.
        parts: what the scheme wrote, in one or several pieces.
        addends: of how many senders' numbers it is the sum.
        signature: of the sender, over all of this.
    """

    label: Label
    sender: str
    parts: tuple[bytes, ...] = field(repr=False)
    addends: int = 1
    signature: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        require_count("addends", self.addends)
        if not self.parts:
            raise InputError("ciphertext: expected at least one part, got none.")

    @property
    def n_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts))

    def signed(self, identity: Identity) -> Ciphertext:
        """The same with its sender's signature."""
        return replace(self, signature=identity.sign(self._digest(), _PURPOSE))

    def is_signed(self, roster: Roster) -> bool:
        """Whether its sender is on the roster and signed exactly this."""
        return roster.is_signed(self.sender, self._digest(), self.signature, _PURPOSE)

    def payload(self) -> Payload:
        """As arrays of a message."""
        return {
            "head": as_bytes(self._head()),
            "lengths": np.array([len(part) for part in self.parts], dtype=np.int64),
            "parts": as_bytes(b"".join(self.parts)),
            "signature": as_bytes(self.signature),
        }

    @classmethod
    def read(cls, payload: Payload, what: str) -> Ciphertext:
        """Read what `payload` wrote; nothing is checked but its form, see `Inbox`.

        Args:
            payload: the arrays.
            what: whose message of which step, for the error.

        Raises:
            ProtocolError: another form.
        """
        require_arrays(
            what,
            payload,
            {"head": (np.uint8, (None,)), "lengths": (np.int64, (None,)), "parts": (np.uint8, (None,)),
             "signature": (np.uint8, (SIGNATURE_BYTES,))},
        )  # fmt: skip
        lengths, content = payload["lengths"], payload["parts"].tobytes()
        try:
            head = json.loads(payload["head"].tobytes())
            label = Label(**head.pop("label"))
            if len(lengths) == 0 or lengths.min() < 0 or lengths.sum() != len(content):
                raise ValueError
            ends = np.cumsum(lengths)
            parts = tuple(content[end - n : end] for n, end in zip(lengths.tolist(), ends.tolist(), strict=True))
            found = cls(label, head.pop("sender"), parts, head.pop("addends"), payload["signature"].tobytes())
            if head or not isinstance(found.sender, str) or found._head() != payload["head"].tobytes():
                raise ValueError
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise ProtocolError(
                f"{what}: expected a ciphertext in its envelope, got {len(content)} bytes of another form. Let every "
                "party run the same version."
            ) from None
        return found

    def _head(self) -> bytes:
        head = {"label": asdict(self.label), "sender": self.sender, "addends": self.addends}
        return json.dumps(head, sort_keys=True).encode()

    def _digest(self) -> bytes:
        hashed = hashlib.sha256()
        for part in (self._head(), *self.parts):
            hashed.update(len(part).to_bytes(8) + part)
        return hashed.digest()


class Inbox:
    """Takes in the ciphertexts of one step of one run, each sender's once.

    Args:
        expected: the label that each must bear.
        roster: who may send, and their public keys.
    """

    def __init__(self, expected: Label, roster: Roster) -> None:
        self.expected, self._roster = expected, roster
        self._seen = set[str]()

    @property
    def senders(self) -> frozenset[str]:
        """Whose ciphertexts came in."""
        return frozenset(self._seen)

    def opened(self, payload: Payload, sender: str | None = None) -> Ciphertext:
        """Read one and remember its sender.

        Args:
            payload: what came.
            sender: who it came from, where the channel says so; None leaves that open.

        Raises:
            ProtocolError: another form, scheme, key, run, step or range than expected; a sender that is not on the
                roster or is another one; bytes that its sender did not sign; or a second one of the same sender.
        """
        what = f"{sender or 'ciphertext'}, {self.expected.step}"
        found = Ciphertext.read(payload, what)
        own = self.expected
        for name, wanted, came, advice in (
            ("scheme", own.scheme, found.label.scheme, "Let every party run the same version."),
            ("run", own.run[:16], found.label.run[:16], "It is of another run; leave it out."),
            ("step", own.step, found.label.step, "It is of another step; leave it out."),
            ("key", own.key[:16], found.label.key[:16], "Give every party the key of this run."),
            ("range", own.holds, found.label.holds, "Agree on what numbers may be, and start a new run."),
            ("sender", sender or found.sender, found.sender, "Nobody sends for somebody else."),
        ):
            if wanted != came:
                raise ProtocolError(f"{what}: expected {name} {wanted}, got {_short(came)}. {advice}")
        # Texts above are shortened; here all of them count.
        if found.label != own:
            raise ProtocolError(f"{what}: expected the run and key of this step, got others. {_AGAIN}")
        if not found.is_signed(self._roster):
            raise ProtocolError(
                f"{what}: expected a ciphertext that {_short(found.sender)} signed, got one that was changed, cut off "
                "or sent by a stranger. Leave it out."
            )
        if found.sender in self._seen:
            raise ProtocolError(
                f"{what}: expected one ciphertext of {found.sender}, got a second. It was repeated; leave it out."
            )
        self._seen.add(found.sender)
        return found


def _short(text: str) -> str:
    """A text that somebody sent, at a length that fits into a sentence."""
    return text if len(text) <= 60 and text.isprintable() else f"a text of {len(text)} signs"
