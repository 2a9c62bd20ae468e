"""Who the members of a federation are: each signs with a key of its own, and knows the others' public keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from unlearn.checks import require_distinct, short_repr
from unlearn.errors import DataError, InputError
from unlearn.privacy.federated.channel import COORDINATOR
from unlearn.store import write
from unlearn.store.keys import load_key, read_secret, save_key

#: Bytes of a private or public key, and of a signature.
KEY_BYTES, SIGNATURE_BYTES = 32, 64

_MARK, _ROSTER_MARK = b"unlearn-member-key:", "unlearn-roster:1"
_DOMAIN = b"unlearn federation 1 "


class Identity:
    """The private key of one member (Ed25519), in a file of mode 600.

    >>> member = Identity.new()
    >>> is_signed(b"content", member.sign(b"content", "example"), "example", member.public)
    True
    """

    def __init__(self, private: bytes) -> None:
        if not isinstance(private, bytes) or len(private) != KEY_BYTES:
            raise InputError(f"identity: expected a private key of {KEY_BYTES} bytes, got something else.")
        self._key = Ed25519PrivateKey.from_private_bytes(private)

    @classmethod
    def new(cls) -> Identity:
        """A new key, from the operating system's generator."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, content: bytes, purpose: str) -> bytes:
        """Sign bytes for one purpose, 64 bytes; a signature for one purpose is none for another."""
        return self._key.sign(_message(content, purpose))

    def save(self, path: str | Path) -> Path:
        """Write the key to a new file of mode 600.

        Raises:
            InputError: there is a file of that name; a key is never replaced.
        """
        return save_key(path, _MARK, self._key.private_bytes_raw())

    @classmethod
    def load(cls, path: str | Path) -> Identity:
        """Read a key file.

        Raises:
            DataError: no such file, or another one; what is in it is not shown.
        """
        return cls(load_key(path, _MARK, "the key of a member", KEY_BYTES))

    def __repr__(self) -> str:
        return f"Identity({hashlib.sha256(self.public).hexdigest()[:16]})"

    def __reduce__(self) -> str:
        raise TypeError("Identity: a private key is not pickled. Save it to a file, and load it where it is used.")


@short_repr
@dataclass(frozen=True)
class Roster:
    """The members of a federation and their public keys, agreed upon when it is formed and the same at every member.

    Members compare its fingerprint by another way than the coordinator.

    >>> roster = Roster({"north": Identity.new().public, "south": Identity.new().public})
    >>> roster.names
    ('north', 'south')

    Attributes:
        keys: public key of each member, 32 bytes, by name.

    Raises:
        InputError: fewer than two members, two of one name or of one key, the coordinator's name, or no public key.
    """

    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        names = list(self.keys)
        if len(names) < 2 or not all(isinstance(name, str) and name.strip() for name in names):
            raise InputError(f"roster: expected the names of at least 2 members, got {len(names)} entries.")
        require_distinct("roster", [COORDINATOR, *names], "member")
        owner: dict[bytes, str] = {}
        for name, key in self.keys.items():
            if not isinstance(key, bytes) or len(key) != KEY_BYTES:
                raise InputError(f"roster: expected a public key of {KEY_BYTES} bytes of {name}, got something else.")
            if key in owner:
                raise InputError(
                    f"roster: expected another identity for each member, got one of both {owner[key]} and {name}. Let "
                    "one of them make its own with Identity.new()."
                )
            owner[key] = name
        object.__setattr__(self, "keys", dict(sorted(self.keys.items())))

    @classmethod
    def of(cls, members: Iterable[tuple[str, bytes]]) -> Roster:
        """The roster of names with their public keys, as they came in.

        Raises:
            InputError: as for a roster, and a name that came in twice.
        """
        pairs = list(members)
        require_distinct("roster", [name for name, _ in pairs], "member")
        return cls(dict(pairs))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.keys)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of all names and keys, 32 bytes."""
        return hashlib.sha256(self._text().encode()).digest()

    def is_signed(self, name: str, content: bytes, signature: bytes, purpose: str) -> bool:
        """Whether the member of this name signed exactly these bytes for this purpose."""
        return name in self.keys and is_signed(content, signature, purpose, self.keys[name])

    def save(self, path: str | Path) -> Path:
        """Write the roster, for everyone to read."""
        write(path, self._text().encode())
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Roster:
        """Read what `save` wrote.

        Raises:
            DataError: no such file, or another one.
            InputError: as for a roster.
        """
        content = read_secret(path, "the roster of a federation")
        try:
            mark, pairs = json.loads(content)
            if mark != _ROSTER_MARK:
                raise ValueError
            members = [(str(name), bytes.fromhex(key)) for name, key in pairs]
        except (ValueError, TypeError):
            raise DataError(f"{path}: expected a roster, got another file. Name the right one.") from None
        return cls.of(members)

    def _text(self) -> str:
        return json.dumps([_ROSTER_MARK, [[name, key.hex()] for name, key in self.keys.items()]])

    def __len__(self) -> int:
        return len(self.keys)

    def _in_short(self) -> str:
        return f"{len(self.keys)} members, {self.fingerprint.hex()[:16]}"


def is_signed(content: bytes, signature: bytes, purpose: str, public: bytes) -> bool:
    """Whether the holder of a key signed exactly these bytes for this purpose."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _message(content, purpose))
    except (InvalidSignature, ValueError):
        return False
    return True


def _message(content: bytes, purpose: str) -> bytes:
    return _DOMAIN + purpose.encode() + b"\n" + content
