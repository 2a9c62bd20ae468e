"""Signatures hold for one content, purpose and key; public keys travel in files, private ones do not."""

import pickle
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from unlearn.errors import DataError, InputError
from unlearn.services.ledger.signing import (
    Signer,
    fingerprint,
    from_hex,
    is_signed,
    read_public_key,
    require_public_key,
    write_public_key,
)

SIGNER = Signer(bytes(range(32)))

#: RFC 8032, section 7.1, test 2: a private key and its public one.
RFC = (
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
)


def test_the_key_is_that_of_the_standard() -> None:
    private, public = map(bytes.fromhex, RFC)
    assert Signer(private).public == public
    assert Signer(private).private == private


def test_a_signature_holds_for_its_content_purpose_and_key_alone() -> None:
    signature = SIGNER.sign(b"content", "purpose")
    assert signature == SIGNER.sign(b"content", "purpose")
    assert is_signed(b"content", signature, "purpose", SIGNER.public)
    assert not is_signed(b"content.", signature, "purpose", SIGNER.public)
    assert not is_signed(b"content", signature, "another", SIGNER.public)
    assert not is_signed(b"content", signature, "purpose", Signer.new().public)
    assert not is_signed(b"content", signature[:-1], "purpose", SIGNER.public)
    for place in range(64):
        flipped = bytes([*signature[:place], signature[place] ^ 1, *signature[place + 1 :]])
        assert not is_signed(b"content", flipped, "purpose", SIGNER.public)


def test_new_keys_differ() -> None:
    assert len({Signer.new().private for _ in range(5)}) == 5


def test_a_private_key_is_not_shown_and_not_pickled() -> None:
    assert SIGNER.private.hex() not in repr(SIGNER)
    assert str(SIGNER) == f"Signer({fingerprint(SIGNER.public)})"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(SIGNER)
    with pytest.raises(InputError, match="private key of 32 bytes") as refused:
        Signer(b"secret")
    assert "secret" not in str(refused.value)


def test_digits_stand_for_bytes_in_one_way() -> None:
    assert from_hex("00ff", 2) == b"\x00\xff"
    for text in ("00FF", "00 ff", "00ff00", "0x00", "", None, 7):
        assert from_hex(text, 2) is None


def test_a_public_key_goes_through_a_file_that_everyone_reads(tmp_path: Path) -> None:
    path = write_public_key(tmp_path / "key.pem", SIGNER.public)
    assert read_public_key(path) == SIGNER.public
    assert path.stat().st_mode & 0o777 == 0o644
    # An oracle: openssl says the same bytes.
    try:
        shown = subprocess.run(
            ["openssl", "pkey", "-pubin", "-in", str(path), "-outform", "DER"], capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return
    assert shown.endswith(SIGNER.public)


def test_another_file_is_no_public_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(DataError, match="no such file"):
        read_public_key(path)
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private)
    with pytest.raises(DataError, match="got a private one") as refused:
        read_public_key(path)
    assert private.splitlines()[1].decode() not in str(refused.value)
    path.write_bytes(
        generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(DataError, match="a key of another kind"):
        read_public_key(path)
    for content in (b"", b"\x00\xff", write_public_key(path, SIGNER.public).read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="got something else"):
            read_public_key(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_public_key(tmp_path)


def test_a_reader_names_the_key_that_they_trust() -> None:
    with pytest.raises(InputError, match="carries its own key proves nothing"):
        require_public_key(None)
    with pytest.raises(InputError, match="expected 32 bytes"):
        require_public_key("a" * 64)
