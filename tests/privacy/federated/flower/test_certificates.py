"""Certificates against their authority, and who may read which key."""

import stat

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key, load_ssh_public_key

from unlearn.errors import InputError
from unlearn.privacy.federated.flower import Certificates, make_certificates, make_member_key


def test_the_server_is_signed_by_its_authority_and_no_other(tmp_path):
    own, other = make_certificates(tmp_path / "a", ["grid.example", "10.0.0.1"]), make_certificates(tmp_path / "b")
    leaf = x509.load_pem_x509_certificate(own.certificate.read_bytes())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(own.authority.read_bytes()))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["grid.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    with pytest.raises(InvalidSignature):
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(other.authority.read_bytes()))
    key = load_pem_private_key(own.key.read_bytes(), None)
    assert key.public_key() == leaf.public_key()


def test_private_keys_are_for_their_owner_alone(tmp_path):
    own = make_certificates(tmp_path / "certificates")
    private, public = make_member_key(tmp_path / "node.key")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (own.key, private)} == {0o600}
    assert load_ssh_private_key(private.read_bytes(), None).public_key() == load_ssh_public_key(public.read_bytes())


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one name"):
        make_certificates(tmp_path, [])
    with pytest.raises(InputError, match=r"certificates\.authority: expected a PEM file"):
        Certificates(tmp_path / "a", tmp_path / "b", tmp_path / "c")
