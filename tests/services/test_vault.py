"""The vault: what is kept comes back, what was changed by one byte is refused, what is destroyed is overwritten."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proofs import proof_count
from tests.services.bodies import edits
from unlearn.errors import DataError, StoreError
from unlearn.services import vault as module
from unlearn.services.keys import RegistryKey
from unlearn.services.vault import Vault

KEY = RegistryKey(bytes(range(32)))
SECRET = b"readings of Q-customer-07 "


def made(folder: Path, key: RegistryKey = KEY) -> Vault:
    return Vault(folder / "vault", key)


def fill(files: dict[str, bytes]):  # type: ignore[no-untyped-def]
    def write(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    return write


def read(vault: Vault, name: str, sha256: str | None = None) -> dict[str, bytes]:
    with vault.opened(name, sha256) as folder:
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def files(vault: Vault) -> dict[str, bytes]:
    """All that lies in the vault's folder."""
    return {str(file): file.read_bytes() for file in sorted(vault.folder.rglob("*")) if file.is_file()}


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return made(tmp_path)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 1000)


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a file system in memory."""
    monkeypatch.setattr(module, "_MEMORY", tmp_path / "none")


@given(
    sizes=st.lists(st.integers(0, 45_000), min_size=0, max_size=4),
    chunk=st.sampled_from([1, 2, 511, 512, 513, 1000, 5120, 10_240, 20_480, 1 << 24]),
)
def test_what_is_kept_comes_back(sizes: list[int], chunk: int) -> None:
    sizes = [size % 2000 for size in sizes] if chunk < 500 else sizes
    content = {f"a/{i}": os.urandom(size) for i, size in enumerate(sizes)}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        vault = made(Path(folder))
        kept = vault.put("one", fill(content))
        assert read(vault, "one", kept.sha256) == content
        blob = (vault.folder / "artefacts" / "one.sealed").read_bytes()
        assert kept.n_bytes == len(blob)
        assert list((vault.folder / "scratch").iterdir()) == []


def test_the_end_belongs_to_it(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole chunks that are cut off or put at the end are found, wherever in a chunk the archive ends."""
    monkeypatch.setattr(module, "CHUNK", 512)
    step = 512 + 16
    for size in range(0, 11_000, 512):
        name = f"of {size}"
        vault.put(name, fill({"a": bytes(size)}))
        blob = vault.folder / "artefacts" / f"{name}.sealed"
        whole = blob.read_bytes()
        for edited in (whole[:-step], whole[: -3 * step], whole + whole[-step:], whole + b"\0", whole[:-1]):
            blob.write_bytes(edited)
            with pytest.raises(DataError, match="cannot be decrypted"):
                read(vault, name)


@pytest.mark.proof
@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("what", ["artefacts", "keys"])
@pytest.mark.parametrize("known", [False, True])
def test_every_edit_is_refused(vault: Vault, what: str, known: bool) -> None:
    """With the digest that is registered, and without it, by the encryption alone."""
    sha256 = vault.put("one", fill({"a": SECRET * 100, "b/c": b"x"})).sha256
    (file,) = (vault.folder / what).iterdir()
    whole = file.read_bytes()
    for name, edited in (
        *edits(whole, proof_count(1000), seed=len(what)),
        ("empty", b""),
        ("first byte alone", whole[:1]),
        ("longer", whole + b"\0"),
        ("twice", whole * 2),
    ):
        file.write_bytes(edited)
        with pytest.raises(DataError) as error:
            read(vault, "one", sha256 if known else None)
        assert str(file) in str(error.value), name
        assert SECRET[:12].decode() not in str(error.value)
    file.write_bytes(whole)
    assert read(vault, "one", sha256) == {"a": SECRET * 100, "b/c": b"x"}


@pytest.mark.usefixtures("small_chunks")
def test_chunks_and_blobs_are_not_exchanged(vault: Vault) -> None:
    for name in ("one", "two"):
        vault.put(name, fill({"a": os.urandom(4000)}))
    blobs = {name: vault.folder / "artefacts" / f"{name}.sealed" for name in ("one", "two")}
    keys = {name: vault.folder / "keys" / f"{name}.key" for name in ("one", "two")}
    one, two = (blobs[name].read_bytes() for name in ("one", "two"))
    step = 1000 + 16
    for edited in (two, one[step : 2 * step] + one[:step] + one[2 * step :], two[:step] + one[step:], one[step:]):
        blobs["one"].write_bytes(edited)
        with pytest.raises(DataError, match="cannot be decrypted"):
            read(vault, "one")
    # With its key beside it, under another name, too.
    blobs["one"].write_bytes(two)
    keys["one"].write_bytes(keys["two"].read_bytes())
    with pytest.raises(DataError, match="expected a key that the key of this registry opens"):
        read(vault, "one")


def test_a_key_of_another_registry(vault: Vault, tmp_path: Path) -> None:
    vault.put_bytes("one", SECRET)
    with pytest.raises(DataError, match="expected a key that the key of this registry opens") as error:
        made(tmp_path, RegistryKey(bytes(32))).read_bytes("one")
    assert KEY.derived("wrap").hex() not in str(error.value)


def test_what_is_gone_is_said(vault: Vault) -> None:
    kept = vault.put_bytes("one", SECRET)
    with pytest.raises(DataError, match="it was moved, or removed by hand"):
        vault.read_bytes("two")
    with pytest.raises(DataError, match="it is damaged, edited or replaced"):
        vault.read_bytes("one", "0" * 64)
    (vault.folder / "keys" / "one.key").unlink()
    with pytest.raises(DataError, match="it was destroyed, and what it protected"):
        vault.read_bytes("one", kept.sha256)


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_files_are_for_their_owner(vault: Vault) -> None:
    vault.put_bytes("one", SECRET)
    for file in vault.folder.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0


def test_nothing_of_it_lies_in_the_open(vault: Vault) -> None:
    vault.put_bytes("one", SECRET * 10)
    assert files(vault)
    assert all(SECRET[:8] not in content for content in files(vault).values())


def test_destroying_overwrites_the_key_before_it_goes(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put_bytes("one", SECRET)
    key, blob = vault.folder / "keys" / "one.key", vault.folder / "artefacts" / "one.sealed"
    before, copy = key.read_bytes(), blob.read_bytes()
    place, happened = key.stat().st_ino, []
    unlink, sync = Path.unlink, os.fsync

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        if path in (key, blob):
            happened.append(("unlinked", path.name, path.read_bytes() if path == key else b""))
            assert key != path or path.stat().st_ino == place
        unlink(path, missing_ok)

    def synced(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if status.st_ino == place:
            happened.append(("synced", key.name, key.read_bytes()))
        sync(descriptor)

    monkeypatch.setattr(Path, "unlink", unlinked)
    monkeypatch.setattr(os, "fsync", synced)
    vault.destroy("one")
    assert [own[:2] for own in happened] == [
        ("synced", "one.key"), ("unlinked", "one.key"), ("unlinked", "one.sealed"),
    ]  # fmt: skip
    overwritten = happened[0][2]
    assert happened[1][2] == overwritten
    assert len(overwritten) == len(before)
    # 60 random bytes that share many with those before do not come up.
    assert sum(a == b for a, b in zip(before, overwritten, strict=True)) < 20
    vault.destroy("one")
    assert files(vault) == {}
    # Whoever kept a copy of the blob finds the overwritten key alone.
    blob.write_bytes(copy)
    key.write_bytes(overwritten)
    with pytest.raises(DataError, match="got another one, or a damaged one"):
        vault.read_bytes("one")


def test_filling_that_fails_leaves_nothing(vault: Vault) -> None:
    def fails(folder: Path) -> None:
        (folder / "a").write_bytes(SECRET)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        vault.put("one", fails)
    assert vault.names() == set()
    assert files(vault) == {}


@pytest.mark.usefixtures("on_disk")
def test_plain_files_on_a_disk_are_overwritten(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bytes]] = []
    overwrite = module.overwrite

    def watched(file: Path) -> None:
        overwrite(file)
        seen.append((file.parent.parent.name, file.read_bytes()))

    monkeypatch.setattr(module, "overwrite", watched)
    kept = vault.put_bytes("one", SECRET)
    assert vault.read_bytes("one", kept.sha256) == SECRET
    assert [place for place, _ in seen] == ["scratch", "scratch"]
    assert all(SECRET not in content for _, content in seen)
    assert list((vault.folder / "scratch").iterdir()) == []


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("n_writes", range(1, 5))
def test_a_disk_that_is_full_leaves_nothing(vault: Vault, monkeypatch: pytest.MonkeyPatch, n_writes: int) -> None:
    vault.put_bytes("kept", SECRET)
    before, left, sync = files(vault), [n_writes], os.fsync

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full"):
        vault.put_bytes("one", SECRET)
    assert files(vault) == before


@pytest.mark.usefixtures("on_disk")
def test_a_disk_that_is_full_while_it_is_read(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = vault.put_bytes("one", SECRET)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tarfile.copyfileobj", full)
    with pytest.raises(StoreError, match="the disk is full"):
        vault.read_bytes("one", kept.sha256)
    assert list((vault.folder / "scratch").iterdir()) == []


def test_a_memory_that_is_too_small_is_followed_by_the_disk(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into a file system in memory is written to the vault's own disk."""
    places = []

    def fills(folder: Path) -> None:
        places.append(folder.parent)
        if len(places) == 1:
            raise OSError(28, "No space left on device")
        (folder / "content").write_bytes(SECRET)

    memory = vault.folder.parent / "memory"
    memory.mkdir()
    monkeypatch.setattr(module, "_MEMORY", memory)
    vault.put("one", fills)
    assert places == [memory, vault.folder / "scratch"]
    assert vault.read_bytes("one") == SECRET
    assert list(memory.iterdir()) == []


def test_sweeping_takes_what_nobody_knows(vault: Vault) -> None:
    for name in ("one", "two", "three"):
        vault.put_bytes(name, SECRET)
    (vault.folder / "artefacts" / "two.sealed").unlink()
    (vault.folder / "keys" / "three.key").unlink()
    assert vault.sweep({"one"}) == {"two", "three"}
    assert vault.names() == {"one"}
    assert vault.read_bytes("one") == SECRET


def test_several_vaults_sweep_one_memory(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dead process left there may be gone before it is looked into."""
    memory = tmp_path / "memory"
    left = memory / ".plain.left"
    left.mkdir(parents=True)
    monkeypatch.setattr(module, "_MEMORY", memory)

    def stale(name: str) -> bool:
        left.rmdir()
        return True

    monkeypatch.setattr(module, "is_stale", stale)
    assert vault.sweep(set()) == set()
