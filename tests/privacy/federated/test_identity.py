"""Members' keys and the roster: one key and one name for each, in files that others cannot read."""

import pickle
import stat

import pytest

from unlearn.errors import DataError, InputError
from unlearn.privacy.federated import Identity, Roster
from unlearn.privacy.federated.identity import is_signed


@pytest.fixture
def members():
    return {name: Identity.new() for name in ("west", "north", "south")}


@pytest.fixture
def roster(members):
    return Roster({name: own.public for name, own in members.items()})


def test_a_signature_is_of_one_key_one_content_and_one_purpose(members):
    own, other = members["west"], members["north"]
    signature = own.sign(b"content", "purpose")
    assert is_signed(b"content", signature, "purpose", own.public)
    assert not is_signed(b"content", signature, "another", own.public)
    assert not is_signed(b"contents", signature, "purpose", own.public)
    assert not is_signed(b"content", signature, "purpose", other.public)
    assert not is_signed(b"content", signature[:-1], "purpose", own.public)
    assert not is_signed(b"content", signature, "purpose", b"no key")


def test_keys_and_rosters_come_back_from_files(tmp_path, members, roster):
    path = members["west"].save(tmp_path / "own" / "key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.load(path).public == members["west"].public
    assert Roster.load(roster.save(tmp_path / "roster")) == roster
    with pytest.raises(InputError, match="free"):
        members["north"].save(path)


def test_the_fingerprint_is_of_names_and_keys_in_any_order(members, roster):
    turned = Roster(dict(reversed(roster.keys.items())))
    assert turned.fingerprint == roster.fingerprint
    assert Roster({**roster.keys, "west": Identity.new().public}).fingerprint != roster.fingerprint
    assert Roster({**roster.keys, "east": Identity.new().public}).fingerprint != roster.fingerprint
    assert len(roster) == 3
    assert repr(roster).startswith("Roster(3 members, ")


def test_two_members_of_one_identity_or_one_name_are_refused(members):
    key = members["west"].public
    with pytest.raises(InputError, match="another identity for each member, got one of both west and east"):
        Roster({"west": key, "east": key})
    with pytest.raises(InputError, match="different name for each member, got 'west' twice"):
        Roster.of([("west", key), ("west", members["north"].public)])
    with pytest.raises(InputError, match="'West' and 'west'"):
        Roster.of([("West", key), ("west", members["north"].public)])


@pytest.mark.parametrize(
    "keys", [{}, {"a": bytes(32)}, {"a": bytes(32), "b": bytes(31)}, {"a": bytes(32), "b": "x" * 32},
             {"coordinator": bytes(32), "b": bytes([1] * 32)}, {"a": bytes(32), " ": bytes([1] * 32)}]
)  # fmt: skip
def test_rosters_that_are_none_are_refused(keys):
    with pytest.raises(InputError, match="roster: expected"):
        Roster(keys)


@pytest.mark.parametrize("content", [b"", b"else", b"unlearn-member-key:zz", b'["unlearn-roster:1", 3]', b'["x", []]'])
@pytest.mark.parametrize("kind", [Identity, Roster])
def test_other_files_are_refused(tmp_path, content, kind):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match="got another file"):
        kind.load(tmp_path / "file")
    with pytest.raises(DataError, match="no such file"):
        kind.load(tmp_path / "nothing")


def test_a_private_key_is_not_shown_nor_pickled(members):
    own = members["west"]
    assert own.public.hex() not in repr(own)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(own)
    with pytest.raises(InputError, match="32 bytes"):
        Identity(b"short")
