"""Keys and certificates of a federation: whom the coordinator lets in, and how members know the coordinator."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from unlearn.errors import InputError
from unlearn.store import write

#: Days that a certificate made here is valid.
DAYS = 90


@dataclass(frozen=True)
class Certificates:
    """Files of the coordinator's TLS: its authority, which members get, and its own certificate and key.

    Attributes:
        authority: PEM; the only file that leaves the coordinator.
        certificate, key: PEM, of the server.
    """

    authority: Path
    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        for name in ("authority", "certificate", "key"):
            if not Path(getattr(self, name)).is_file():
                raise InputError(f"certificates.{name}: expected a PEM file, got none at {getattr(self, name)}.")


def make_certificates(folder: str | Path, hosts: Sequence[str] = ("localhost", "127.0.0.1")) -> Certificates:
    """Make an authority and a server's certificate; the authority's key is forgotten, so that it signs nothing else.

    Args:
        folder: for `authority.pem`, `server.pem` and `server.key`.
        hosts: names and addresses by which members reach the coordinator.

    Raises:
        InputError: no hosts.
    """
    if not hosts:
        raise InputError("hosts: expected at least one name or address, got none.")
    authority, server = new_key(), new_key()
    one_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "unlearn federation")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    by_name = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
    own = signed(one_name, authority.public_key(), one_name, authority, x509.BasicConstraints(True, 0))
    of_server = signed(server_name, server.public_key(), one_name, authority, by_name)
    folder = Path(folder)
    write(folder / "authority.pem", own)
    write(folder / "server.pem", of_server)
    pem = server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(folder / "server.key", pem, confidential=True)
    return Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")


def make_member_key(path: str | Path) -> tuple[Path, Path]:
    """Make the key by which the coordinator's SuperLink knows a member's node.

    Flower takes elliptic curves of NIST only (here P-384), in OpenSSH's format. It is another key than the member's
    `Identity`, which signs what members tell each other.

    Returns:
        The private file, which stays at the member, and the public one beside it, which the coordinator registers.
    """
    private, path = new_key(), Path(path)
    write(path, private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), confidential=True)
    public = path.with_name(f"{path.name}.pub")
    write(public, private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return path, public


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key (P-384), from the operating system's generator."""
    return ec.generate_private_key(ec.SECP384R1())


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def signed(
    name: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    extension: x509.BasicConstraints | x509.SubjectAlternativeName,
) -> bytes:
    """A certificate in PEM of a name and its public key, signed by another; valid for `DAYS` from now."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer)
        .public_key(key)
        .serial_number(int.from_bytes(os.urandom(19)))
        .not_valid_before(now - datetime.timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    )
    return builder.sign(by, hashes.SHA384()).public_bytes(Encoding.PEM)
