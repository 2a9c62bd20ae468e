"""Certificates of parties that know each other by name: one authority for one joint computation, forgotten at once."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from unlearn.checks import require_distinct
from unlearn.errors import InputError
from unlearn.privacy.federated.flower.certificates import new_key, signed
from unlearn.store import write

#: Bytes that a name in a certificate may have, as UTF-8.
LONGEST_NAME = 64


@dataclass(frozen=True)
class Credentials:
    """PEM files of one party: whom it trusts, who it is, and the private key of that.

    Attributes:
        authority: certificate of the authority, the same at all.
        certificate, key: of the party.
    """

    authority: Path
    certificate: Path
    key: Path

    def context(self, server: bool) -> ssl.SSLContext:
        """Settings of TLS 1.3 in which both sides show a certificate of the authority.

        Whose name it must be is up to the caller, see `peer_name`; names of machines play no part.

        Raises:
            InputError: files that are missing, or do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(self.authority)
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                f"credentials: expected PEM files of an authority, a certificate and its key, got {self.authority}, "
                f"{self.certificate} and {self.key} ({type(error).__name__}). Make them with make_credentials."
            ) from None
        return context


def make_credentials(folder: str | Path, names: Sequence[str]) -> dict[str, Credentials]:
    """Make an authority and a certificate for each party; the authority's key is forgotten.

    Whoever runs this sees every private key for a moment. Parties that do not trust one machine with that let an
    authority of their own sign keys which they made themselves.

    Args:
        folder: for a file `authority.pem`, and a certificate and a key of each party.
        names: of the parties, the coordinator among them.

    Raises:
        InputError: no names, two alike, or one that is blank or has more than 64 bytes as UTF-8.
    """
    if not names or not all(name.strip() and len(name.encode()) <= LONGEST_NAME for name in names):
        raise InputError(f"names: expected at least one, of 1 to {LONGEST_NAME} bytes each, got others.")
    require_distinct("credentials", names, "party")
    folder, authority = Path(folder), new_key()
    issuer = _name("unlearn joint computation")
    write(
        folder / "authority.pem",
        signed(issuer, authority.public_key(), issuer, authority, x509.BasicConstraints(True, 0)),
    )
    made = {}
    for at, name in enumerate(names):
        own = new_key()
        own_name = _name(name)
        alternative = x509.SubjectAlternativeName([x509.DNSName(f"party-{at}.invalid")])
        certificate = signed(own_name, own.public_key(), issuer, authority, alternative)
        made[name] = Credentials(folder / "authority.pem", folder / f"party-{at}.pem", folder / f"party-{at}.key")
        write(made[name].certificate, certificate)
        pem = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write(made[name].key, pem, confidential=True)
    return made


def peer_name(connection: ssl.SSLSocket | ssl.SSLObject) -> str:
    """The name in the certificate that the other side has shown."""
    shown = connection.getpeercert() or {}
    subject = shown.get("subject", ())
    return next(
        (str(part[1]) for entry in subject for part in entry if isinstance(part, tuple) and part[0] == "commonName"), ""
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
