"""Signatures with Ed25519: who holds the private key says so, and whoever has the public key can check it.

A signature stands for one purpose: a text that says which is signed with the content, so that the signature of a row of
the ledger is none of a certificate.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from unlearn.errors import DataError, InputError, system_reason
from unlearn.limits import require_text
from unlearn.store.files import write

#: Bytes of a private key, a public key and a signature.
KEY_BYTES, SIGNATURE_BYTES = 32, 64

_DOMAIN = b"unlearn 1 "


class Signer:
    """A private key, and what is signed with it.

    >>> signer = Signer.new()
    >>> signature = signer.sign(b"what happened", "example")
    >>> is_signed(b"what happened", signature, "example", signer.public)
    True
    >>> is_signed(b"what happens", signature, "example", signer.public)
    False
    """

    def __init__(self, private: bytes) -> None:
        """Take a key that `Signer.new` made and `private` gave.

        Raises:
            InputError: not 32 bytes.
        """
        if not isinstance(private, bytes) or len(private) != KEY_BYTES:
            raise InputError(f"signing: expected a private key of {KEY_BYTES} bytes, got something else.")
        self._key = Ed25519PrivateKey.from_private_bytes(private)

    @classmethod
    def new(cls) -> Signer:
        """A new key, from the operating system's generator."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def private(self) -> bytes:
        """The private key, 32 bytes, to be kept encrypted."""
        return self._key.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, content: bytes, purpose: str) -> bytes:
        """Sign bytes for one purpose; 64 bytes, the same ones for the same content."""
        return self._key.sign(_message(content, purpose))

    def __repr__(self) -> str:
        return f"Signer({fingerprint(self.public)})"

    def __reduce__(self) -> str:
        raise TypeError("Signer: a private key is kept encrypted, and not pickled. Pass what it has signed.")


def is_signed(content: bytes, signature: bytes, purpose: str, public_key: bytes) -> bool:
    """Whether the holder of a key signed exactly these bytes for this purpose."""
    try:
        _public(public_key).verify(signature, _message(content, purpose))
    except InvalidSignature:
        return False
    return True


def from_hex(text: object, n_bytes: int) -> bytes | None:
    """The bytes that lower-case digits stand for; None of any other text, also of one that means the same."""
    try:
        value = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return value if len(value) == n_bytes and value.hex() == text else None


def fingerprint(public_key: bytes) -> str:
    """What people compare of a public key: 16 digits of its SHA-256 in groups of four.

    >>> fingerprint(bytes(32))
    '6668 7aad f862 bd77'
    """
    digits = hashlib.sha256(public_key).hexdigest()[:16]
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def write_public_key(path: str | Path, public_key: bytes) -> Path:
    """Write a public key in PEM, for everyone to read, all or nothing.

    Raises:
        StoreError: it cannot be written.
    """
    write(path, _public(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return Path(path)


def read_public_key(path: str | Path) -> bytes:
    """Read what `write_public_key` wrote, or any other Ed25519 public key in PEM.

    Raises:
        DataError: no such file, one that cannot be read, or one that holds no such key.
    """
    path = Path(path)
    wanted = f"{path}: expected an Ed25519 public key in PEM"
    try:
        require_text(path, path.stat().st_size)
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Name the file of the public key that you trust.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {system_reason(error)}.") from error
    if b"PRIVATE KEY" in content:
        raise DataError(f"{wanted}, got a private one. Keep that secret, and name the file of the public key.")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DataError(f"{wanted}, got something else. Name the file of the public key that you trust.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise DataError(f"{wanted}, got a key of another kind. Name the file of the public key that you trust.")
    return key.public_bytes_raw()


def require_public_key(public_key: object) -> bytes:
    """Return a public key of 32 bytes that its reader got from whom they trust.

    Raises:
        InputError: none, or something else.
    """
    if public_key is None:
        raise InputError(
            "public_key: expected the key that you trust, got none: what carries its own key proves nothing. Get the "
            "file of the public key from whoever runs the registry, by another way than the certificate came."
        )
    if not isinstance(public_key, bytes) or len(public_key) != KEY_BYTES:
        raise InputError(f"public_key: expected {KEY_BYTES} bytes, as read_public_key() gives, got something else.")
    _public(public_key)
    return public_key


def _public(public_key: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as error:
        raise InputError(f"public_key: expected an Ed25519 key of {KEY_BYTES} bytes, got something else.") from error


def _message(content: bytes, purpose: str) -> bytes:
    """What is signed: a purpose has no newline, so no two of them and contents give the same bytes."""
    return _DOMAIN + purpose.encode() + b"\n" + content
