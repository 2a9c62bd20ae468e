"""Identity maps: whoever has the key finds who a pseudonym is, and nothing else opens a map."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import DataError, InputError, MismatchError
from unlearn.privacy.anonymize import IdentityKey, IdentityMap, PseudonymKeys, pseudonyms_of

# Long enough that ciphertext does not hold one by chance.
CUSTOMERS = ["customer-0000003", "customer-0000001", "Müller, Hauptstraße 7"]


@pytest.fixture
def known() -> IdentityMap:
    return IdentityMap.of("2013-01", pseudonyms_of(CUSTOMERS, "p", PseudonymKeys.new(["p"])), CUSTOMERS)


def test_what_is_saved_is_read_back_by_its_key(tmp_path: Path, known: IdentityMap) -> None:
    key = IdentityKey.new()
    path = known.save(tmp_path / "map", key)
    again = IdentityKey.load(key.save(tmp_path / "key"))
    read = IdentityMap.load(path, again, "2013-01")
    assert read.customers == known.customers
    assert len(read) == 3
    assert all(stat.S_IMODE(own.stat().st_mode) == 0o600 for own in (path, tmp_path / "key"))


def test_nothing_of_it_is_in_the_file_or_shown(tmp_path: Path, known: IdentityMap) -> None:
    key = IdentityKey.new()
    one = known.save(tmp_path / "one", key).read_bytes()
    assert not any(own.encode() in one for pair in known.customers.items() for own in pair)
    assert one != known.save(tmp_path / "two", key).read_bytes()
    assert "Müller" not in repr(known)
    assert key.fingerprint in one
    assert IdentityKey.new().fingerprint != key.fingerprint


def test_the_order_of_a_map_is_that_of_pseudonyms(known: IdentityMap) -> None:
    assert list(known.customers) == sorted(known.customers)


@given(st.permutations(range(3)), st.booleans())
def test_identities_come_in_the_order_asked(order: list[int], twice: bool) -> None:
    known = IdentityMap.of("p", ["a", "b", "c"], CUSTOMERS)
    asked = ["abc"[i] for i in order] * (1 + twice)
    assert known.identify(asked) == tuple(CUSTOMERS["abc".index(own)] for own in asked)


def test_every_changed_byte_another_key_and_another_period_are_refused(tmp_path: Path, known: IdentityMap) -> None:
    key = IdentityKey.new()
    path = known.save(tmp_path / "map", key)
    with pytest.raises(MismatchError, match="expected the key that this map was encrypted with"):
        IdentityMap.load(path, IdentityKey.new(), "2013-01")
    with pytest.raises(MismatchError, match="identity map of 2013-02, got that of 2013-01"):
        IdentityMap.load(path, key, "2013-02")
    whole = path.read_bytes()
    for content in [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]:
        path.write_bytes(content)
        with pytest.raises(DataError if content[:21] != whole[:21] else (DataError, MismatchError)):
            IdentityMap.load(path, key, "2013-01")
    for content in (b"", whole[:30], whole[:-1], whole + b"0"):
        path.write_bytes(content)
        with pytest.raises(DataError):
            IdentityMap.load(path, key, "2013-01")


def test_a_map_that_is_renamed_to_another_period_does_not_open(tmp_path: Path, known: IdentityMap) -> None:
    """The period is bound to what is encrypted: an edited header alone is found."""
    key = IdentityKey.new()
    path = known.save(tmp_path / "map", key)
    path.write_bytes(path.read_bytes().replace(b"2013-01", b"2013-02", 1))
    with pytest.raises(DataError, match="cannot be decrypted"):
        IdentityMap.load(path, key, "2013-02")


def test_nothing_is_replaced(tmp_path: Path, known: IdentityMap) -> None:
    key = IdentityKey.new()
    path = known.save(tmp_path / "map", key)
    with pytest.raises(InputError, match="free for a new map"):
        known.save(path, key)
    with pytest.raises(InputError, match="free for a new key"):
        key.save(path)


def test_refusals(tmp_path: Path, known: IdentityMap) -> None:
    with pytest.raises(InputError, match="expected those of 2013-01, got 1 of 1") as refused:
        known.identify(["f" * 32])
    assert "ffff" not in str(refused.value)
    with pytest.raises(InputError, match="expected one for each of 2 customers"):
        IdentityMap.of("p", ["a"], ["C1", "C2"])
    with pytest.raises(InputError, match="expected 32 bytes, got 3"):
        IdentityKey(b"abc")
    with pytest.raises(DataError, match="no such file"):
        IdentityKey.load(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        IdentityKey.load(tmp_path)
    for content in (b"", b"unlearn-identity-key:zz", b"unlearn-identity-key:00", b"unlearn-identity-key:\xff"):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(DataError, match="got another file"):
            IdentityKey.load(tmp_path / "other")
