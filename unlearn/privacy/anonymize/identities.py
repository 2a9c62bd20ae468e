"""Who a pseudonym is: a map that is kept apart from releases, encrypted under a key of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from unlearn.checks import short_repr
from unlearn.errors import DataError, InputError, MismatchError
from unlearn.store.keys import load_key, read_secret, save_key, write_new

_KEY_MARK = b"unlearn-identity-key:"
_MAP_MARK = b"unlearn-identities:1\n"
_BYTES, _NONCE, _FINGERPRINT = 32, 12, 8
_LONGEST = 100


class IdentityKey:
    """The secret that identity maps are encrypted with: another one than those of pseudonyms, in a file of mode 600.

    Whoever has it and a map knows who is behind each pseudonym; without it nobody does.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _BYTES:
            raise InputError(f"identity key: expected {_BYTES} bytes, got {len(secret)}. Name the key file.")
        self._secret = secret

    @classmethod
    def new(cls) -> IdentityKey:
        """A new secret from the operating system's generator."""
        return cls(os.urandom(_BYTES))

    @property
    def fingerprint(self) -> bytes:
        """What tells keys apart and gives nothing of them away, 8 bytes."""
        return hmac.new(self._secret, b"unlearn identity key: fingerprint", hashlib.sha256).digest()[:_FINGERPRINT]

    @property
    def cipher(self) -> AESGCM:
        """AES-256-GCM under a key that follows from the secret."""
        return AESGCM(hmac.new(self._secret, b"unlearn identity key: encryption", hashlib.sha256).digest())

    def save(self, path: str | Path) -> Path:
        """Write the key to a new file of mode 600.

        Raises:
            InputError: there is a file of that name; a key is never replaced.
        """
        return save_key(path, _KEY_MARK, self._secret)

    @classmethod
    def load(cls, path: str | Path) -> IdentityKey:
        """Read a key file.

        Raises:
            DataError: no such file, or another one; what is in it is not shown.
        """
        return cls(load_key(path, _KEY_MARK, "the key of identity maps", _BYTES))


@short_repr
@dataclass(frozen=True, eq=False)
class IdentityMap:
    """Who is behind the pseudonyms of one period.

    >>> import tempfile
    >>> path, key = Path(tempfile.mkdtemp()) / "identities", IdentityKey.new()
    >>> kept = IdentityMap.of("2013-01", ["5f0c"], ["C7"]).save(path, key)
    >>> IdentityMap.load(path, key, "2013-01").identify(["5f0c"])
    ('C7',)

    Attributes:
        period: of the pseudonyms.
        customers: name by pseudonym.
    """

    period: str
    customers: Mapping[str, str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.customers)

    @classmethod
    def of(cls, period: str, pseudonyms: Sequence[str], customer_ids: Sequence[str]) -> IdentityMap:
        """The map of pseudonyms to names, each in the order of the other."""
        names = as_names("pseudonyms", pseudonyms), as_names("customer_ids", customer_ids)
        if len(names[0]) != len(names[1]):
            raise InputError(
                f"pseudonyms: expected one for each of {len(names[1])} customers, got {len(names[0])} of them."
            )
        return cls(checked_period(period), dict(sorted(zip(*names, strict=True))))

    def identify(self, pseudonyms: Iterable[str]) -> tuple[str, ...]:
        """Names of customers by pseudonym, in the order given.

        Raises:
            InputError: a pseudonym that is not of this period.
        """
        asked = as_names("pseudonyms", pseudonyms, once=False)
        if unknown := sum(own not in self.customers for own in asked):
            raise InputError(
                f"pseudonyms: expected those of {self.period}, got {unknown} of {len(asked)} that are not. Open the "
                "map of their own period."
            )
        return tuple(self.customers[own] for own in asked)

    def save(self, path: str | Path, key: IdentityKey) -> Path:
        """Write the map to a new file of mode 600, encrypted (AES-256-GCM), bound to its period.

        Raises:
            InputError: there is a file of that name; a map is never replaced.
        """
        period, nonce = self.period.encode(), os.urandom(_NONCE)
        head = _MAP_MARK + len(period).to_bytes(2, "big") + period + key.fingerprint
        plain = json.dumps(dict(self.customers)).encode()
        return write_new(path, head + nonce + key.cipher.encrypt(nonce, plain, head), "a new map")

    @classmethod
    def load(cls, path: str | Path, key: IdentityKey, period: str) -> IdentityMap:
        """Read what `save` wrote.

        Raises:
            MismatchError: it is of another period, or encrypted under another key.
            DataError: no such file, another one, or one in which a byte was changed.
        """
        path, period = Path(path), checked_period(period)
        content = read_secret(path, "an identity map")
        start = len(_MAP_MARK) + 2
        size = int.from_bytes(content[start - 2 : start], "big")
        body = start + size + _FINGERPRINT
        if not content.startswith(_MAP_MARK) or len(content) < body + _NONCE:
            raise DataError(f"{path}: expected an identity map, got another file. Name the right one.")
        found = content[start : start + size].decode(errors="replace")
        if found != period:
            raise MismatchError(
                f"{path}: expected the identity map of {period}, got that of {found}. Open the right one."
            )
        if not hmac.compare_digest(content[start + size : body], key.fingerprint):
            raise MismatchError(
                f"{path}: expected the key that this map was encrypted with, got another. Load that one."
            )
        try:
            plain = key.cipher.decrypt(content[body : body + _NONCE], content[body + _NONCE :], content[:body])
        except InvalidTag:
            raise DataError(
                f"{path}: damaged or edited: it cannot be decrypted. Bring it back from its copy."
            ) from None
        return cls(period, json.loads(plain))


def as_names(what: str, values: Iterable[str], once: bool = True) -> list[str]:
    """Names of customers or pseudonyms as a list, checked; no message shows one.

    Raises:
        InputError: no list of texts, a blank one, or, with `once`, repeats.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{what}: expected a list of texts, got {type(values).__name__}.")
    names = list(values)
    for i, own in enumerate(names):
        if not isinstance(own, str) or not own.strip():
            got = "a blank" if isinstance(own, str) else type(own).__name__
            raise InputError(f"{what}: expected texts, got {got} at position {i}. Write names as text.")
    if once and len(set(names)) < len(names):
        raise InputError(f"{what}: expected each once, got some more than once. Drop repeats.")
    return names


def checked_period(period: str) -> str:
    """The name of a period.

    Raises:
        InputError: no text, a blank one, one above 100 characters, or with some that cannot be printed.
    """
    if not isinstance(period, str) or not 0 < len(period.strip()) <= len(period) <= _LONGEST:
        got = f"{len(period)} characters" if isinstance(period, str) else type(period).__name__
        raise InputError(f"period: expected a name of 1 to {_LONGEST} characters, such as 2013-01; got {got}.")
    if not period.isprintable():
        raise InputError("period: expected a name of letters that can be printed, such as 2013-01; got others.")
    return period
