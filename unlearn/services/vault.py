"""Folders at rest, each encrypted under a key of its own, so that destroying the key destroys the folder.

A folder is packed (tar) and encrypted in chunks (AES-256-GCM, the counter and an end mark as nonce, the blob's name as
associated data), so that a chunk that is changed, moved, cut off or taken from another blob is found. Its key is random
and lies beside it in a file of its own, wrapped by the registry's key. `destroy` overwrites that file in place, syncs
it, and removes both. What a disk keeps of overwritten blocks, and backups, are beyond it.

Plain files exist while a folder is filled or read: in memory where the system offers a file system there, else in the
vault's `scratch`, overwritten before they are removed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from unlearn.errors import DataError
from unlearn.services.keys import RegistryKey
from unlearn.store.files import in_words
from unlearn.temporary import is_stale, prefix

#: Bytes that are encrypted at once.
CHUNK = 1 << 24
_TAG, _NONCE = 16, 12
_MEMORY = Path("/dev/shm")
#: How names of folders of plain files begin.
_PLAIN = "plain"
_LOST = "Bring it back from a backup, or train the model anew."


class Sealed(NamedTuple):
    """An encrypted folder: its name in the vault, SHA-256 and size of its ciphertext."""

    name: str
    sha256: str
    n_bytes: int


class Vault:
    """Encrypted folders by name; see the module.

    >>> import tempfile
    >>> vault = Vault(Path(tempfile.mkdtemp()), RegistryKey.new())
    >>> kept = vault.put("model-1", lambda folder: (folder / "a.txt").write_text("theta"))
    >>> with vault.opened("model-1") as folder:
    ...     (folder / "a.txt").read_text()
    'theta'
    >>> vault.destroy("model-1")
    >>> vault.names()
    set()
    """

    def __init__(self, folder: Path, key: RegistryKey) -> None:
        self.folder = folder
        self._blobs, self._keys, self._scratch = folder / "artefacts", folder / "keys", folder / "scratch"
        self._wrap = AESGCM(key.derived("wrap"))
        for own in (folder, self._blobs, self._keys, self._scratch):
            with in_words(own):
                own.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, fill: Callable[[Path], object]) -> Sealed:
        """Let `fill` write files into a folder, and keep it encrypted; synced to the disk when this returns.

        Raises:
            StoreError: it cannot be written; nothing is left of it.
        """
        key = AESGCM.generate_key(256)
        try:
            with in_words(self._blob(name)), self._filled(fill) as plain:
                self._write_key(name, key)
                with self._blob(name).open("xb") as stream:
                    os.chmod(stream.fileno(), 0o600)
                    writer = _Encrypting(stream, key, name)
                    with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
                        for file in sorted(plain.rglob("*")):
                            archive.add(file, file.relative_to(plain).as_posix(), recursive=False)
                    writer.finish()
                    stream.flush()
                    os.fsync(stream.fileno())
                _sync_folder(self._blobs)
        except BaseException:
            self.destroy(name)
            raise
        return Sealed(name, writer.sha256.hexdigest(), writer.n_bytes)

    @contextmanager
    def opened(self, name: str, sha256: str | None = None) -> Iterator[Path]:
        """The plain files of a folder, as long as the block runs.

        Args:
            name: of the folder.
            sha256: of its ciphertext, as `put` gave it; None does not compare it.

        Raises:
            DataError: it is not there, was destroyed, or is damaged.
        """
        blob = self._blob(name)
        if not blob.is_file():
            raise DataError(
                f"{blob}: expected the encrypted artefact that is registered there, got no such file: it was moved, or "
                f"removed by hand. {_LOST}"
            )
        if sha256 is not None:
            with blob.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != sha256:
                raise DataError(
                    f"{blob}: expected the artefact that was registered (SHA-256 {sha256[:12]}...), got another "
                    f"({found[:12]}...): it is damaged, edited or replaced. {_LOST}"
                )
        with self.plain(2 * blob.stat().st_size) as plain, blob.open("rb") as stream:
            reader = _Decrypting(stream, self._read_key(name), name, blob)
            try:
                with in_words(plain), tarfile.open(fileobj=reader, mode="r|") as archive:  # type: ignore[call-overload]
                    # Python before 3.11.4 has no filter; what was sealed here is authenticated in any case.
                    archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
                    archive.extractall(plain)
                while reader.read(CHUNK):  # what follows the last file, which tarfile may leave
                    pass
            except tarfile.TarError as error:
                raise DataError(
                    f"{blob}: expected an artefact of this version, got another content. {_LOST}"
                ) from error
            yield plain

    def put_bytes(self, name: str, content: bytes) -> Sealed:
        """Keep some bytes encrypted, as `put` keeps a folder."""
        return self.put(name, lambda folder: (folder / "content").write_bytes(content))

    def read_bytes(self, name: str, sha256: str | None = None) -> bytes:
        """Read what `put_bytes` kept."""
        with self.opened(name, sha256) as folder:
            return (folder / "content").read_bytes()

    def destroy(self, name: str) -> None:
        """Make a folder unreadable for good: overwrite its key, sync it, remove both files. Twice is no error."""
        key = self._key(name)
        with in_words(key):
            if key.exists():
                overwrite(key)
                key.unlink()
                _sync_folder(self._keys)
            self._blob(name).unlink(missing_ok=True)
            _sync_folder(self._blobs)

    def tag(self, name: str, text: str) -> str:
        """A hash of a text under the key of a folder: once that is destroyed, nobody can try what the text was."""
        return hmac.new(self._read_key(name), b"tag:" + text.encode(), hashlib.sha256).hexdigest()

    def names(self) -> set[str]:
        """Names of all folders of which a file is there."""
        return {file.stem for own in (self._blobs, self._keys) for file in own.iterdir()}

    def sweep(self, known: set[str]) -> set[str]:
        """Destroy folders that nobody knows, which a process that was killed left, and its plain files.

        Returns:
            Names of the folders.
        """
        for parent in (self._scratch, _MEMORY):
            for left in parent.glob(f".{_PLAIN}.*"):
                if is_stale(left.name):
                    shred(left)
        stray = self.names() - known
        for name in stray:
            self.destroy(name)
        return stray

    def _blob(self, name: str) -> Path:
        return self._blobs / f"{name}.sealed"

    def _key(self, name: str) -> Path:
        return self._keys / f"{name}.key"

    def _write_key(self, name: str, key: bytes) -> None:
        nonce = os.urandom(_NONCE)
        with self._key(name).open("xb") as stream:
            os.chmod(stream.fileno(), 0o600)
            stream.write(nonce + self._wrap.encrypt(nonce, key, name.encode()))
            stream.flush()
            os.fsync(stream.fileno())
        _sync_folder(self._keys)

    def _read_key(self, name: str) -> bytes:
        path = self._key(name)
        try:
            content = path.read_bytes()
            return self._wrap.decrypt(content[:_NONCE], content[_NONCE:], name.encode())
        except FileNotFoundError:
            raise DataError(
                f"{path}: expected the key of an artefact, got no such file: it was destroyed, and what it protected "
                "with it."
            ) from None
        except (InvalidTag, ValueError) as error:
            raise DataError(
                f"{path}: expected a key that the key of this registry opens, got another one, or a damaged one. "
                f"{_LOST}"
            ) from error

    @contextmanager
    def _filled(self, fill: Callable[[Path], object]) -> Iterator[Path]:
        """A folder of plain files; written again on the disk where memory is too small for them."""
        with self.plain(0) as plain:
            try:
                fill(plain)
            except OSError as error:
                if plain.parent != _MEMORY or ENOSPC not in (error.errno, getattr(error.__cause__, "errno", None)):
                    raise
            else:
                yield plain
                return
        with self.plain(None) as plain:
            fill(plain)
            yield plain

    @contextmanager
    def plain(self, n_bytes: int | None = 0) -> Iterator[Path]:
        """An empty folder for plain files of about so many bytes, as long as the block runs; None is on the disk."""
        parent = self._scratch if n_bytes is None or not _fits(n_bytes) else _MEMORY
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix(parent / _PLAIN)))
        try:
            yield folder
        finally:
            shred(folder)


def _fits(n_bytes: int) -> bool:
    try:
        return os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free > n_bytes + CHUNK
    except OSError:
        return False


def overwrite(file: Path) -> None:
    """Overwrite a file's bytes in place, and sync them to the disk."""
    with file.open("r+b") as stream:
        left = os.fstat(stream.fileno()).st_size
        while left:
            left -= stream.write(os.urandom(min(left, CHUNK)))
        stream.flush()
        os.fsync(stream.fileno())


def shred(folder: Path) -> None:
    """Overwrite the files of a folder, and remove it."""
    # In memory nothing is left of a file that is removed; and processes with other registries may sweep there, too.
    for file in () if folder.parent == _MEMORY else folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with suppress(OSError):  # a full disk still takes what overwrites, and what cannot be overwritten goes
                overwrite(file)
    shutil.rmtree(folder, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _nonce(counter: int, last: bool) -> bytes:
    # Never used twice: a key encrypts one blob.
    return counter.to_bytes(_NONCE - 1, "big") + bytes([last])


class _Encrypting:
    """A stream that encrypts what is written to it, chunk by chunk."""

    def __init__(self, stream: BinaryIO, key: bytes, name: str) -> None:
        self._stream, self._cipher, self._name = stream, AESGCM(key), name.encode()
        self._waiting, self._counter = bytearray(), 0
        self.sha256, self.n_bytes = hashlib.sha256(), 0

    def write(self, content: bytes) -> int:
        self._waiting += content
        while len(self._waiting) > CHUNK:  # one chunk stays, for the last one is marked
            self._encrypt(bytes(self._waiting[:CHUNK]), False)
            del self._waiting[:CHUNK]
        return len(content)

    def finish(self) -> None:
        self._encrypt(bytes(self._waiting), True)

    def _encrypt(self, chunk: bytes, last: bool) -> None:
        sealed = self._cipher.encrypt(_nonce(self._counter, last), chunk, self._name)
        self._counter += 1
        self._stream.write(sealed)
        self.sha256.update(sealed)
        self.n_bytes += len(sealed)


class _Decrypting:
    """A stream that decrypts what is read from it, and refuses a chunk that is not the one that was written there."""

    def __init__(self, stream: BinaryIO, key: bytes, name: str, path: Path) -> None:
        self._stream, self._cipher, self._name, self._path = stream, AESGCM(key), name.encode(), path
        self._ready, self._counter, self._ahead = bytearray(), 0, stream.read(CHUNK + _TAG)
        self._done = False

    def read(self, size: int) -> bytes:
        while len(self._ready) < size and not self._done:
            sealed, self._ahead = self._ahead, self._stream.read(CHUNK + _TAG)
            self._done = not self._ahead
            try:
                self._ready += self._cipher.decrypt(_nonce(self._counter, self._done), sealed, self._name)
            except (InvalidTag, ValueError) as error:
                raise DataError(f"{self._path}: damaged or edited: it cannot be decrypted. {_LOST}") from error
            self._counter += 1
        found = bytes(self._ready[:size])
        del self._ready[:size]
        return found
