"""Secrets in files: a name is used once, only the owner reads, and no message shows what is in a file."""

import os
import stat
from pathlib import Path

import pytest

from unlearn.errors import DataError, InputError
from unlearn.store.keys import load_key, read_secret, save_key, write_new

MARK, SECRET = b"unlearn-example-key:", bytes(range(32))


def test_a_key_comes_back_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = save_key(tmp_path / "key", MARK, SECRET)
    assert load_key(path, MARK, "an example key", 32) == SECRET
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_is_used_once(tmp_path: Path) -> None:
    path = write_new(tmp_path / "map", b"one", "a new map")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in (path, tmp_path / "link"):
        with pytest.raises(InputError, match="free for a new map"):
            write_new(taken, b"two", "a new map")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize(
    "content", [b"", SECRET, MARK, MARK + SECRET.hex().encode()[2:], MARK + b"zz" * 32, b"\xff" + MARK]
)
def test_another_file_is_refused_without_a_word_of_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected an example key, got another file") as refused:
        load_key(path, MARK, "an example key", 32)
    assert SECRET.hex()[2:] not in str(refused.value)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got no such file\. Bring it back"):
        read_secret(tmp_path / "key", "an example key", "Bring it back.")
    with pytest.raises(DataError, match="cannot be read"):
        read_secret(tmp_path, "an example key")
