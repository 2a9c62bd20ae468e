"""Pseudonyms: keyed hashes of which no period tells of another, and keys that can be destroyed."""

import json
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import DataError, InputError
from unlearn.privacy.anonymize import PseudonymKeys, pseudonyms_of
from unlearn.store import BLANK_SEAL, write

NAMES = [f"C{i}" for i in range(2000)]


def test_a_pseudonym_is_hmac_sha_256_of_the_name_by_another_implementation() -> None:
    key = bytes(range(32))
    other = HMAC(key, hashes.SHA256())
    other.update("Müller 7".encode())
    assert pseudonyms_of(["Müller 7"], "p", PseudonymKeys({"p": key})) == (other.finalize().hex()[:32],)


def test_published_vector() -> None:
    """RFC 4231, test case 6, with its key hashed first as HMAC does with one above a block."""
    found = PseudonymKeys({"p": b"\xaa" * 131}).tag("p", ["Test Using Larger Than Block-Size Key - Hash Key First"])
    assert found == ("60e431591ee0b67f0d8a26aacbf5b77f",)


def test_periods_tell_nothing_of_each_other() -> None:
    """Of one period to the next, half of the bits change: 256,000 coins, and none outside of 6 deviations."""
    keys = PseudonymKeys.new(["a", "b"])
    bits = [
        np.unpackbits(np.array([np.frombuffer(bytes.fromhex(own), dtype=np.uint8) for own in found]))
        for found in (pseudonyms_of(NAMES, period, keys) for period in keys.periods)
    ]
    n = len(bits[0])
    assert abs(int((bits[0] != bits[1]).sum()) - n / 2) < 6 * np.sqrt(n) / 2
    assert len({*pseudonyms_of(NAMES, "a", keys), *pseudonyms_of(NAMES, "b", keys)}) == 2 * len(NAMES)


@given(st.lists(st.text(min_size=1).filter(lambda own: own.strip()), unique=True, max_size=8))
def test_names_of_any_letters_get_different_pseudonyms_that_repeat(names: list[str]) -> None:
    keys = PseudonymKeys.new(["p"])
    found = pseudonyms_of(names, "p", keys)
    assert len(set(found)) == len(names)
    assert found == pseudonyms_of(iter(names), "p", keys)
    assert all(len(own) == 32 and set(own) <= set("0123456789abcdef") for own in found)


def test_a_collision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.privacy.anonymize.pseudonyms.PSEUDONYM_BITS", 4)
    with pytest.raises(InputError, match="two got the same pseudonym"):
        pseudonyms_of(NAMES[:17], "p", PseudonymKeys.new(["p"]))


def test_a_saved_file_has_mode_600_and_gives_the_same_pseudonyms(tmp_path: Path) -> None:
    keys = PseudonymKeys.new(["a", "b"])
    before = pseudonyms_of(NAMES[:3], "a", keys)
    path = keys.save(tmp_path / "keys")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pseudonyms_of(NAMES[:3], "a", keys) == pseudonyms_of(NAMES[:3], "a", PseudonymKeys.load(path)) == before
    assert repr(keys) == f"PseudonymKeys({path}: 2 periods)"
    with pytest.raises(InputError, match="free for new keys"):
        PseudonymKeys.new().save(path)


@pytest.mark.parametrize("saved", [False, True])
def test_a_destroyed_key_is_gone_for_good(tmp_path: Path, saved: bool) -> None:
    keys = PseudonymKeys.new(["a", "b"])
    kept = pseudonyms_of(NAMES[:3], "b", keys)
    if saved:
        secret = json.loads(keys.save(tmp_path / "keys").read_text())["keys"]["a"]
        (tmp_path / "old").hardlink_to(tmp_path / "keys")  # the bytes that the file had before
        other = PseudonymKeys.load(tmp_path / "keys")
        other.rotate("c")
        (tmp_path / "later").hardlink_to(tmp_path / "keys")
    keys.destroy("a")
    keys.destroy("a")
    assert (keys.periods, keys.destroyed) == ((("b", "c") if saved else ("b",)), ("a",))
    assert pseudonyms_of(NAMES[:3], "b", keys) == kept
    for refused in (lambda: pseudonyms_of(NAMES[:3], "a", keys), lambda: keys.rotate("a")):
        with pytest.raises(InputError, match="destroyed"):
            refused()
    with pytest.raises(InputError, match="expected one that has a key, got d"):
        keys.destroy("d")
    if saved:
        assert all(secret.encode() not in file.read_bytes() for file in tmp_path.iterdir())
        with pytest.raises(InputError, match="destroyed"):  # in whoever had opened the file before, too
            pseudonyms_of(NAMES[:3], "a", other)
        assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600


def test_rotation_keeps_what_is_there(tmp_path: Path) -> None:
    keys = PseudonymKeys.new(["a"])
    path = keys.save(tmp_path / "keys")
    before = pseudonyms_of(["C1"], "a", keys)
    keys.rotate("b")
    keys.complete(["a", "b", "c"])
    assert PseudonymKeys.load(path).periods == ("a", "b", "c")
    assert pseudonyms_of(["C1"], "a", keys) == before
    with pytest.raises(InputError, match="expected a new one, got a, one that has a key"):
        keys.rotate("a")


def test_no_rotation_is_lost_where_several_come_at_once(tmp_path: Path) -> None:
    path = PseudonymKeys.new().save(tmp_path / "keys")
    threads = [threading.Thread(target=PseudonymKeys.load(path).rotate, args=(f"p{i}",)) for i in range(8)]
    for own in threads:
        own.start()
    for own in threads:
        own.join()
    assert PseudonymKeys.load(path).periods == tuple(f"p{i}" for i in range(8))


def test_a_crash_before_the_old_file_is_overwritten_loses_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = PseudonymKeys.new(["a", "b"])
    before = pseudonyms_of(["C1"], "a", keys)
    keys.save(tmp_path / "keys")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unlearn.privacy.anonymize.pseudonyms._write", killed)
    with pytest.raises(KeyboardInterrupt):
        keys.destroy("b")
    assert pseudonyms_of(["C1"], "a", PseudonymKeys.load(tmp_path / "keys")) == before


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda keys: pseudonyms_of("C1", "p", keys), "expected a list of texts, got str"),
        (lambda keys: pseudonyms_of(7, "p", keys), "expected a list of texts, got int"),
        (lambda keys: pseudonyms_of(["C1", 7], "p", keys), "got int at position 1"),
        (lambda keys: pseudonyms_of(["C1", " "], "p", keys), "got a blank at position 1"),
        (lambda keys: pseudonyms_of(["C1", "C1"], "p", keys), "expected each once"),
        (lambda keys: pseudonyms_of(["C1"], "q", keys), "got q, that has no key"),
        (lambda keys: pseudonyms_of(["C1"], 2013, keys), "period: expected a name .* got int"),
        (lambda keys: pseudonyms_of(["C1"], " ", keys), "period: expected a name .* got 1 characters"),
        (lambda keys: pseudonyms_of(["C1"], "p" * 101, keys), "got 101 characters"),
        (lambda keys: pseudonyms_of(["C1"], "p\n", keys), "can be printed"),
        (lambda keys: PseudonymKeys.new(["p", "p"]), "periods: expected each once"),
    ],
)
def test_refusals_show_no_name(call, said) -> None:
    with pytest.raises(InputError, match=said) as refused:
        call(PseudonymKeys.new(["p"]))
    assert "C1" not in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe", b'{"what": "unlearn pseudonym keys"}'])
def test_another_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(DataError, match="keys: "):
        PseudonymKeys.load(tmp_path / "keys")


def test_a_sealed_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    content = json.dumps({"what": "others", "seal": BLANK_SEAL.decode(), "keys": {}, "destroyed": []})
    write(tmp_path / "keys", content.encode(), sealed=True)
    with pytest.raises(DataError, match="expected keys of pseudonyms, got another file"):
        PseudonymKeys.load(tmp_path / "keys")


def test_any_changed_byte_of_the_file_is_found(tmp_path: Path) -> None:
    path = PseudonymKeys.new(["a"]).save(tmp_path / "keys")
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError):
            PseudonymKeys.load(path)
