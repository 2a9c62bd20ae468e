"""Ciphertexts in their envelopes and keys in their files: whatever was changed, repeated or swapped is refused."""

import json
import pickle
import stat
from dataclasses import replace

import numpy as np
import pytest

from unlearn.errors import DataError, InputError, ProtocolError
from unlearn.privacy.encrypted import Ciphertext, Inbox, Label, PublicKeys, SecretKeys
from unlearn.privacy.federated import Identity, Roster, pack, unpack

LABEL = Label("bfv", "ab" * 32, "01" * 16, "readings", "0..100")
METERS = {name: Identity.new() for name in ("meter_1", "meter_2")}
ROSTER = Roster({name: own.public for name, own in METERS.items()})


def sent(label: Label = LABEL, sender: str = "meter_1", signer: str = "meter_1", content: bytes = b"secret content"):
    return Ciphertext(label, sender, (content, b"more")).signed(METERS[signer]).payload()


def test_what_was_sent_comes_back_over_a_message() -> None:
    found = Inbox(LABEL, ROSTER).opened(unpack(pack(sent())), "meter_1")
    assert (found.parts, found.addends, found.n_bytes) == ((b"secret content", b"more"), 1, 18)
    assert found.label == LABEL
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("name", "other"),
    [("scheme", "ckks"), ("key", "ac" * 32), ("run", "02" * 16), ("step", "bill"), ("holds", "0..200")],
)
def test_of_another_scheme_key_run_step_or_range(name: str, other: str) -> None:
    inbox = Inbox(LABEL, ROSTER)
    with pytest.raises(ProtocolError, match=f"meter_1, readings: expected {'range' if name == 'holds' else name} "):
        inbox.opened(sent(replace(LABEL, **{name: other})), "meter_1")
    assert not inbox.senders


def test_runs_that_differ_late_in_their_names_differ() -> None:
    with pytest.raises(ProtocolError, match="expected the run and key of this step"):
        Inbox(LABEL, ROSTER).opened(sent(replace(LABEL, run="01" * 15 + "02")))


def test_one_changed_bit_anywhere_is_refused_by_a_sentence_without_content() -> None:
    for name in ("head", "parts", "signature"):
        for at in (0, 7, -1):
            payload = {key: value.copy() for key, value in sent().items()}
            payload[name][at] ^= 1
            with pytest.raises(ProtocolError) as caught:
                Inbox(LABEL, ROSTER).opened(payload)
            assert "content" not in str(caught.value)


def test_cut_off_moved_between_parts_or_of_a_stranger() -> None:
    payload = sent()
    with pytest.raises(ProtocolError, match="of another form"):
        Inbox(LABEL, ROSTER).opened({**payload, "parts": payload["parts"][:-1]})
    with pytest.raises(ProtocolError, match="changed, cut off or sent by a stranger"):
        Inbox(LABEL, ROSTER).opened({**payload, "lengths": payload["lengths"][::-1].copy()})
    with pytest.raises(ProtocolError, match="changed, cut off or sent by a stranger"):
        Inbox(LABEL, ROSTER).opened(sent(signer="meter_2"))
    with pytest.raises(ProtocolError, match="expected sender meter_2, got meter_1"):
        Inbox(LABEL, ROSTER).opened(sent(), "meter_2")


def test_a_sender_counts_once() -> None:
    inbox = Inbox(LABEL, ROSTER)
    inbox.opened(sent())
    with pytest.raises(ProtocolError, match="expected one ciphertext of meter_1, got a second"):
        inbox.opened(sent(content=b"another"))
    inbox.opened(sent(sender="meter_2", signer="meter_2"))
    assert inbox.senders == {"meter_1", "meter_2"}


def test_a_label_is_of_texts_and_an_envelope_holds_something() -> None:
    with pytest.raises(InputError, match=r"label\.key: expected 32 bytes in hex"):
        replace(LABEL, key="xy" * 32)
    with pytest.raises(InputError, match=r"label\.run: expected a text"):
        replace(LABEL, run=3)
    with pytest.raises(InputError, match="at least one part"):
        Ciphertext(LABEL, "meter_1", ())


PUBLIC = PublicKeys("bfv", "{}", {"encrypt": b"public"})


def test_public_keys_are_taken_from_their_holder_alone(tmp_path) -> None:
    message = unpack(pack(PUBLIC.signed(METERS["meter_1"])))
    assert PublicKeys.read_signed(message, "meter_1", ROSTER) == PUBLIC
    with pytest.raises(ProtocolError, match="expected keys that meter_2 signed"):
        PublicKeys.read_signed(message, "meter_2", ROSTER)
    with pytest.raises(ProtocolError, match="expected keys that meter_1 signed"):
        PublicKeys.read_signed(PUBLIC.payload(), "meter_1", ROSTER)
    assert PublicKeys.load(PUBLIC.save(tmp_path / "public")) == PUBLIC
    assert replace(PUBLIC, settings="{ }").fingerprint != PUBLIC.fingerprint
    assert replace(PUBLIC, parts={"encrypt": b"publik"}).fingerprint != PUBLIC.fingerprint


def test_secret_keys_lie_in_a_file_of_their_owner_and_nowhere_else(tmp_path) -> None:
    keys = SecretKeys(PUBLIC, b"very secret")
    path = keys.save(tmp_path / "own" / "keys")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SecretKeys.load(path).secret == b"very secret"
    assert SecretKeys.load(path).public == PUBLIC
    with pytest.raises(InputError, match="free"):
        keys.save(path)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(keys)
    assert "very" not in repr(keys)
    assert b"very secret" not in pack(PUBLIC.payload())
    (tmp_path / "other").write_bytes(b"unlearn-encryption-keys:1\nsecret")
    for load in (SecretKeys.load, PublicKeys.load):
        with pytest.raises(DataError, match="another file") as caught:
            load(tmp_path / "other")
        assert "keys:1" not in str(caught.value)


def test_public_keys_of_no_text_are_refused() -> None:
    head = np.frombuffer(json.dumps({"scheme": "bfv", "settings": "\ud800"}).encode(), np.uint8)
    with pytest.raises(ProtocolError, match="expected public keys, got another form"):
        PublicKeys.read_signed({"head": head, "signature": np.zeros(64, np.uint8)}, "meter_1", ROSTER)
