"""The one secret of a registry: a file apart from it, and the keys that follow from it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from unlearn.errors import DataError, InputError, MismatchError
from unlearn.store.keys import read_secret, write_new

_MARK = "unlearn-registry-key:"
_BYTES = 32


class RegistryKey:
    """The secret that a registry's artefacts are encrypted with, its certificates signed, and its customers named.

    Whoever has it and the registry reads all that is kept there; without it nobody does. Keep it in another place than
    the registry and its backups, and keep a copy: what it protects cannot be read again without it.

    >>> key = RegistryKey.new()
    >>> len(key.derived("wrap")), key.name_of("customer", "C7") == key.name_of("customer", "C8")
    (32, False)
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _BYTES:
            raise InputError(f"registry key: expected {_BYTES} bytes, got {len(secret)}. Name the key file.")
        self._secret = secret

    @classmethod
    def new(cls) -> RegistryKey:
        """A new secret from the operating system's generator."""
        return cls(os.urandom(_BYTES))

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose (HKDF, RFC 5869); keys of different purposes tell nothing of each other."""
        info = f"unlearn registry: {purpose}".encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._secret)

    @property
    def fingerprint(self) -> str:
        """What tells keys apart and gives nothing of them away."""
        return self.derived("fingerprint").hex()[:16]

    def name_of(self, *what: str) -> str:
        """A keyed hash of what is removed (HMAC-SHA-256): the same for the same, and nobody without the key can guess.

        Customers' names are few, so a plain hash of one is found by trying all of them.
        """
        text = b"".join(len(own.encode()).to_bytes(4, "big") + own.encode() for own in what)
        return hmac.new(self.derived("names"), text, hashlib.sha256).hexdigest()

    def names_of(self, kind: str, names: Iterable[str]) -> list[str]:
        """Keyed hashes of several, sorted, so that their order says nothing."""
        return sorted(self.name_of(kind, own) for own in names)

    def save(self, path: str | Path) -> Path:
        """Write the key to a new file of mode 600.

        Raises:
            InputError: there is a file of that name; a key is never replaced.
        """
        text = f"{_MARK}{base64.b64encode(self._secret).decode()}\n"
        return write_new(path, text.encode(), "a new key")

    @classmethod
    def load(cls, path: str | Path) -> RegistryKey:
        """Read a key file.

        Raises:
            DataError: no such file, or another one; what is in it is not shown.
        """
        absent = "Name it with --key, or bring it back from its copy; nothing in the registry can be read without it."
        content = read_secret(path, "the key of the registry", absent)
        try:
            text = content.decode().strip()
            if not text.startswith(_MARK):
                raise ValueError
            return cls(base64.b64decode(text.removeprefix(_MARK), validate=True))
        except (ValueError, InputError):
            raise DataError(
                f"{path}: expected the key of a registry, got another file. Name the right one with --key."
            ) from None

    def require(self, fingerprint: str, where: str | Path) -> None:
        """Refuse this key for a registry that was made with another one."""
        if not hmac.compare_digest(fingerprint, self.fingerprint):
            raise MismatchError(
                f"{where}: expected the key that this registry was made with ({fingerprint}), got another one "
                f"({self.fingerprint}). Name the right file with --key."
            )
