"""What is kept is whole: nothing half-written, nothing read that is not what was written, nothing left behind."""

import errno
import io
import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.proofs import proof_count
from unlearn import store, temporary
from unlearn.errors import DataError, InputError, StoreError
from unlearn.records import (
    read_card,
    read_json,
    read_parquet,
    read_safetensors,
    write_card,
    write_json,
    write_parquet,
    write_safetensors,
)


def sealed(folder: Path, middle: bytes = b"12") -> Path:
    store.write(folder / "a", b"head " + store.BLANK_SEAL + middle, sealed=True)
    return folder / "a"


KINDS = {
    "sealed bytes": (sealed, store.read_verified),
    "json": (lambda folder: write_json({"x": [1, 2.5], "name": "ü"}, folder / "a.json"), read_json),
    "parquet": (
        lambda folder: write_parquet(pd.DataFrame({"x": [1.0, 2], "y": ["a", None]}), folder / "a"),
        read_parquet,
    ),
    "safetensors": (lambda folder: write_safetensors({"x": torch.arange(9.0)}, folder / "a"), read_safetensors),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@given(st.data())
def test_any_flipped_bit_and_any_cut_is_found(kind, tmp_path_factory, data):
    make, read = kind
    path = make(tmp_path_factory.mktemp("kept"))
    content = path.read_bytes()
    at = data.draw(st.integers(0, 8 * len(content) - 1))
    if data.draw(st.booleans()):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
    else:
        path.write_bytes(content[: at // 8])
    for check in (read, store.verify):
        with pytest.raises(DataError, match=str(path)) as refused:
            check(path)
        assert "again" in str(refused.value) or "anew" in str(refused.value)


@pytest.mark.proof
def test_bits_of_a_small_file(tmp_path):
    path = sealed(tmp_path)
    content = path.read_bytes()
    n_bits = 8 * len(content)
    for at in range(0, n_bits, n_bits // proof_count(n_bits)):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError):
            store.read_verified(path)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(1, 400))
def test_a_seal_is_found_wherever_it_stands(tmp_path_factory, before, after, chunk):
    path = tmp_path_factory.mktemp("kept") / "a"
    chunks = pytest.MonkeyPatch()
    chunks.setattr("unlearn.store.files._CHUNK", chunk)  # seals lie across the pieces that are read
    try:
        store.write(path, before + store.BLANK_SEAL + after, sealed=True)
        content = store.read_verified(path)
        assert store.verify(path) == path
    finally:
        chunks.undo()
    assert content.startswith(before)
    assert content.endswith(after)
    assert store.BLANK_SEAL not in content


def test_what_is_kept_comes_back(kind, tmp_path):
    make, read = kind
    path = make(tmp_path)
    assert store.verify(path) == path
    assert read(path) is not None
    moved = path.rename(tmp_path / "moved")  # a seal needs nothing beside it
    assert read(moved) is not None


def test_write_returns_what_sha256sum_says(tmp_path):
    sha256 = store.write(tmp_path / "deep" / "a", b"content")
    assert store.digests(tmp_path / "deep", ["a"]) == {"a": sha256}
    assert store.read_verified(tmp_path / "deep" / "a", sha256) == b"content"
    with pytest.raises(DataError, match=r"expected the content that was written .* Fetch it again\.$"):
        store.read_verified(tmp_path / "deep" / "a", "0" * 64, "Fetch it again.")


def test_text_that_looks_like_a_seal_is_refused_before_it_is_written(tmp_path):
    with pytest.raises(InputError, match="got 2 of them"):
        store.write(tmp_path / "a", 2 * store.BLANK_SEAL, sealed=True)
    with pytest.raises(InputError, match="got 0 of them"):
        store.write(tmp_path / "a", b"none", sealed=True)
    assert list(tmp_path.iterdir()) == []


def test_a_card_checks_the_files_of_its_folder(tmp_path):
    store.write(tmp_path / "a", b"a")
    store.write(tmp_path / "b", b"b")
    write_card({"kind": "x"}, tmp_path, ["a", "b"])
    assert read_card(tmp_path) == {"kind": "x"}
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(DataError, match=r"/b: expected the content"):
        read_card(tmp_path)
    (tmp_path / "b").unlink()
    with pytest.raises(DataError, match=r"/b: no such file"):
        read_card(tmp_path)
    write_json({"kind": "x"}, tmp_path / "card.json")
    with pytest.raises(DataError, match="a card that lists files with their SHA-256, got none"):
        read_card(tmp_path)


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch):
    path = sealed(tmp_path)
    with pytest.raises(DataError, match=r"none: no such file\. Delete it and make it anew\."):
        store.read_verified(tmp_path / "none")
    with pytest.raises(DataError, match="a folder stands where a file is expected"):
        store.read_verified(tmp_path)

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(DataError, match=r"/a: cannot be read: the system says Input/output error\."):
        store.read_verified(path)


@pytest.mark.parametrize("damage", ["none", "missing", "cut", "of an earlier version"])
def test_a_cache_that_is_damaged_is_made_anew(tmp_path, caplog, damage):
    file, frame, calls = tmp_path / "t.parquet", pd.DataFrame({"x": [1.0, 2]}), []

    def make():
        calls.append(1)
        write_parquet(frame, file)

    def kept():
        return store.kept(file, lambda: read_parquet(file), make)

    kept()
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage != "none":
        frame.to_parquet(file)
    pd.testing.assert_frame_equal(kept(), frame)
    assert len(calls) == 1 + (damage != "none")
    assert ("made anew" in caplog.text) == (damage not in ("none", "missing"))
    assert [left for left in tmp_path.iterdir() if left.suffix != ".lock"] == [file]


def test_what_must_not_be_made_anew_is_refused(tmp_path):
    path = sealed(tmp_path)
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"privacy would be spent once more. Remove {path}"):
        store.kept(path, lambda: store.read_verified(path), pytest.fail, remake=False)
    assert path.read_bytes() == b"damaged"


def test_of_many_that_want_a_cache_once_one_makes_it(tmp_path):
    calls, ready = [], threading.Barrier(6)
    path = sealed(tmp_path)
    path.write_bytes(b"damaged")

    def want(_):
        ready.wait()
        return store.kept(path, lambda: store.read_verified(path), lambda: calls.append(sealed(tmp_path)), once=True)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(want, range(6)))) == 1
    assert len(calls) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("where", ["write_bytes", "replace", "mkdir"])
def test_a_disk_that_fails_is_one_sentence_and_nothing_is_half_written(tmp_path, monkeypatch, number, where):
    path = tmp_path / "deep" / "a" if where == "mkdir" else tmp_path / "a"
    if where != "mkdir":
        path.write_bytes(b"old")

    def fail(self, *_, **__):
        raise OSError(number, os.strerror(number), str(self))

    with monkeypatch.context() as broken:
        broken.setattr(Path, where, fail)
        with pytest.raises(StoreError) as refused:
            store.write(path, b"new")
    said = str(refused.value)
    assert said.startswith(f"{path}: cannot be written: ")
    assert said.endswith(".")
    assert ".unlearn-" not in said
    assert [(file.name, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file()] == (
        [] if where == "mkdir" else [("a", b"old")]
    )


def forked(work) -> None:
    """Run something in a process of its own, which takes no time to start."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_a_real_limit_of_the_system_leaves_the_old_file(tmp_path):
    kept = tmp_path / "kept"
    store.write(kept / "a", b"old")

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            store.write(kept / "a", bytes(5000))
        except StoreError as error:
            (tmp_path / "said").write_text(str(error))

    forked(work)
    said = (tmp_path / "said").read_text()
    assert said.startswith(f"{kept / 'a'}: cannot be written: the file is larger than the system allows")
    assert [(file.name, file.read_bytes()) for file in kept.iterdir()] == [("a", b"old")]


def test_names_that_are_too_long_and_names_of_folders_are_refused_before_the_work(tmp_path):
    def work(_):
        pytest.fail("worked")

    with pytest.raises(StoreError, match="the name is too long; choose a shorter one"):
        store.write(tmp_path / ("n" * 300), work)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="a folder has this name"):
        store.write(tmp_path / "folder", work)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a file stands where a folder is expected"):
        store.write(tmp_path / "file" / "a", work)
    longest = tmp_path / ("ü" * 125 + ".txt")  # 254 bytes
    store.write(longest, b"fits")
    assert longest.read_bytes() == b"fits"


def test_links_are_replaced_and_never_written_through(tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "a").symlink_to(tmp_path / "theirs")
    store.write(tmp_path / "a", b"ours")
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "a").read_bytes() == b"ours"
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(StoreError, match=r"circle/a: cannot be written: "):
        store.write(tmp_path / "circle" / "a", b"ours")


def test_errors_of_other_files_keep_their_own_words(tmp_path):
    def fill(_):
        (tmp_path.parent / "no such source").read_bytes()

    with pytest.raises(FileNotFoundError, match="no such source"):
        store.write(tmp_path / "a", fill)


@pytest.mark.parametrize(
    "make", [store.create_folder, lambda path, fill, **o: store.replace_folder(path, fill, id, **o)]
)
def test_what_is_confidential_is_nobody_elses(tmp_path, make):
    def fill(folder):
        store.write(folder / "a", b"", confidential=True)
        store.write(folder / "b", b"")

    make(tmp_path / "secret", fill, confidential=True)
    make(tmp_path / "public", fill)
    store.write(tmp_path / "new" / "a", b"", confidential=True)
    modes = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert {name: modes[name] for name in ("secret", "public", "new")} == {
        "secret": 0o700,
        "public": 0o755,
        "new": 0o700,
    }
    assert {modes[name] for name in ("secret/a", "new/a")} == {0o600}
    assert modes["public/b"] == 0o644


def left_by(folder: Path, pid: int, started: int, host: str | None = None) -> Path:
    return folder / f".a.unlearn-{host or temporary._host()}-{pid}-{started}-abcd1234.tmp.json"


def test_sweep_removes_what_the_dead_left_and_nothing_else(tmp_path):
    gone, own = os.fork(), os.getpid()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    deep = tmp_path / "deep"
    deep.mkdir()
    stale = [left_by(tmp_path, gone, 5), left_by(deep, gone, 5), left_by(deep, own, temporary._started(own) + 1)]
    if not temporary._started(own):
        stale.pop()  # the system does not tell when a process began
    living = [
        left_by(tmp_path, own, temporary._started(own)),
        left_by(tmp_path, gone, 5, "0" * 8),
        tmp_path / ".a.json",
        tmp_path / "a.unlearn-b.json",
    ]
    for file in (*stale, *living):
        file.write_text("half")
    folder = tmp_path / f".model.unlearn-{temporary._host()}-{gone}-5-abcd1234"
    (folder / "model").mkdir(parents=True)
    theirs = tmp_path.parent / f"{tmp_path.name}-theirs"
    theirs.mkdir()
    left_by(theirs, gone, 5).write_text("through a link")
    link, named = tmp_path / "link", tmp_path / folder.name.replace("abcd", "efgh")
    link.symlink_to(theirs)
    named.symlink_to(theirs)
    assert set(store.sweep(tmp_path)) == {*stale, folder}
    assert all(file.exists() for file in (*living, link, named))
    assert left_by(theirs, gone, 5).exists()


def test_what_a_killed_process_left_is_swept_when_the_next_one_writes(tmp_path):
    def die(file):
        file.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    forked(lambda: store.write(tmp_path / "a.json", die))
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.json.unlearn-")
    store.write(tmp_path / "b", b"")
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_is_damaged_is_removed_whole(tmp_path):
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "a").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    store.discard(tmp_path / "link")
    assert (tmp_path / "model" / "deep" / "a").exists()
    store.discard(tmp_path / "model")
    store.discard(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_sealed_files_are_read_by_everybody(tmp_path):
    frame = pd.DataFrame({"x": [1.0, 2], "y": ["a", None]})
    path = write_parquet(frame, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
    assert len(pd.read_parquet(io.BytesIO(path.read_bytes()))) == 2
    from safetensors.numpy import load_file

    path = write_safetensors({"x": torch.arange(3.0)}, tmp_path / "a.safetensors", {"own": "kept"})
    np.testing.assert_array_equal(load_file(path)["x"], np.arange(3.0))
