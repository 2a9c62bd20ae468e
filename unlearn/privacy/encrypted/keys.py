"""Keys of homomorphic encryption: `SecretKeys` in a file of its owner alone, and `PublicKeys` that everybody gets.

Whoever has the secret keys reads every number that was ever encrypted for them, of one meter as well as of all. What
encryption keeps from the holder is only what the holder never gets: see `bfv` for sums, and `split_keys` for no
single holder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unlearn.checks import short_repr
from unlearn.errors import DataError, InputError, ProtocolError
from unlearn.privacy.federated.identity import SIGNATURE_BYTES, Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, pack, require_arrays, unpack
from unlearn.store import write
from unlearn.store.keys import NAME_IT, read_secret, write_new

_MARK = b"unlearn-encryption-keys:1\n"
_PURPOSE = "encryption key"
_SECRET = "the secret keys of an encryption"


@short_repr
@dataclass(frozen=True)
class PublicKeys:
    """What others need to encrypt and to compute, and no more than the computation needs.

    Attributes:
        scheme: such as "bfv".
        settings: the scheme's parameters, as it writes them; everybody can check what they allow.
        parts: keys as the scheme wrote them, by what they are for, such as "encrypt".
    """

    scheme: str
    settings: str
    parts: Mapping[str, bytes] = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of scheme, settings and all parts, in hex; labels of ciphertexts bear it."""
        hashed = hashlib.sha256(b"unlearn encryption key 1\n")
        head = [("scheme", self.scheme.encode()), ("settings", self.settings.encode())]
        for name, part in head + sorted(self.parts.items()):
            hashed.update(len(name).to_bytes(8) + name.encode() + len(part).to_bytes(8) + part)
        return hashed.hexdigest()

    @property
    def n_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts.values()))

    def payload(self) -> Payload:
        """As arrays of a message."""
        head = {"scheme": self.scheme, "settings": self.settings}
        return {"head": as_bytes(json.dumps(head))} | {
            f"part/{name}": as_bytes(one) for name, one in self.parts.items()
        }

    @classmethod
    def read(cls, payload: Payload, what: str) -> PublicKeys:
        """Read what `payload` wrote.

        Raises:
            ProtocolError: another form.
        """
        parts = [name for name in payload if name.startswith("part/")]
        require_arrays(what, payload, dict.fromkeys(["head", *parts], (np.uint8, (None,))))
        try:
            head = json.loads(payload["head"].tobytes())
            if head.keys() != {"scheme", "settings"} or {type(text) for text in head.values()} != {str}:
                raise ValueError
            # A text that UTF-8 does not have has no fingerprint.
            "".join([*head.values(), *parts]).encode()
        except (ValueError, AttributeError, RecursionError):
            raise ProtocolError(f"{what}: expected public keys, got another form. Send them again.") from None
        return cls(
            head["scheme"],
            head["settings"],
            {name.removeprefix("part/"): payload[name].tobytes() for name in parts},
        )

    def signed(self, identity: Identity) -> Payload:
        """As arrays of a message that its holder signs, so that nobody slips in a key of their own."""
        signature = identity.sign(bytes.fromhex(self.fingerprint), _PURPOSE)
        return self.payload() | {"signature": as_bytes(signature)}

    @classmethod
    def read_signed(cls, payload: Payload, holder: str, roster: Roster) -> PublicKeys:
        """Read what `signed` wrote.

        Raises:
            ProtocolError: another form, or not signed by this holder.
        """
        what = f"public keys of {holder}"
        left = {name: value for name, value in payload.items() if name != "signature"}
        found = cls.read(left, what)
        signature = payload.get("signature", np.zeros(0, np.uint8)).tobytes()
        if len(signature) != SIGNATURE_BYTES or not roster.is_signed(
            holder, bytes.fromhex(found.fingerprint), signature, _PURPOSE
        ):
            raise ProtocolError(
                f"{what}: expected keys that {holder} signed, got others. Ask {holder} for them, and start a new run."
            )
        return found

    def save(self, path: str | Path) -> Path:
        """Write the keys, for everyone to read; under a name that is free."""

        write(path, pack(self.payload()))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> PublicKeys:
        """Read what `save` wrote.

        Raises:
            DataError: no such file, or another one.
        """
        content = read_secret(path, "public keys of an encryption")
        try:
            return cls.read(unpack(content), str(path))
        except ProtocolError:
            raise DataError(f"{path}: expected public keys of an encryption, got another file. {NAME_IT}") from None


class SecretKeys:
    """What decrypts; it leaves its owner's machine in no message, and is written to a file of mode 600 alone.

    Args:
        public: the keys that belong to it.
        secret: as the scheme wrote it.
    """

    def __init__(self, public: PublicKeys, secret: bytes) -> None:
        if not isinstance(secret, bytes) or not secret:
            raise InputError("secret keys: expected bytes that a scheme wrote, got something else.")
        self.public, self.secret = public, secret

    def save(self, path: str | Path) -> Path:
        """Write the keys to a new file of mode 600.

        Raises:
            InputError: there is a file of that name; a key is never replaced.
        """
        return write_new(path, _MARK + pack(self.public.payload() | {"secret": as_bytes(self.secret)}), "new keys")

    @classmethod
    def load(cls, path: str | Path) -> SecretKeys:
        """Read a key file.

        Raises:
            DataError: no such file, or another one; what is in it is not shown.
        """
        content = read_secret(path, _SECRET)
        try:
            if not content.startswith(_MARK):
                raise ProtocolError
            payload = unpack(content.removeprefix(_MARK))
            secret = payload.pop("secret").tobytes()
            return cls(PublicKeys.read(payload, str(path)), secret)
        except (ProtocolError, KeyError, InputError):
            raise DataError(f"{path}: expected {_SECRET}, got another file. {NAME_IT}") from None

    def __repr__(self) -> str:
        return f"SecretKeys({self.public.scheme}, {self.public.fingerprint[:16]})"

    def __reduce__(self) -> str:
        raise TypeError(
            "SecretKeys: secret keys are not pickled. Save them to a file, and load it where they are used."
        )
