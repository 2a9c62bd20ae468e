"""Files that are kept: written whole or not at all, with SHA-256 of their content, and verified when they are read.

Two things say what a file must hold. A *seal* stands inside a file of its own format's metadata: the text
`unlearn-sha256:` and the SHA-256 of the file with 64 zeros in that place, so a file can be copied and moved alone. A
*card* lists the files of its folder with the SHA-256 of their bytes, as `sha256sum` gives it, and is sealed itself.

While a file or folder is written it has a temporary name (see `unlearn.temporary`), which is swept if its process dies.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from unlearn.errors import DataError, InputError, StoreError, UnlearnError, system_reason
from unlearn.temporary import prefix

_MARK = b"unlearn-sha256:"
_SEAL = re.compile(re.escape(_MARK) + rb"([0-9a-f]{64})")
_LENGTH = len(_MARK) + 64

#: What a file holds where its seal shall stand, until `write` puts it there.
BLANK_SEAL = _MARK + b"0" * 64

#: What to do about a damaged file where nothing better is known.
MEND = "Delete it and make it anew."

_CHUNK = 1 << 20


def write(
    path: str | Path, content: bytes | Callable[[Path], object], *, confidential: bool = False, sealed: bool = False
) -> str:
    """Write a file, all or nothing.

    Args:
        path: the file. What stood there is replaced; a link is replaced itself, not what it points at.
        content: the bytes, or what writes them into the temporary file that it is given.
        confidential: whether it holds data of customers: mode 600, and a folder made for it has mode 700. Others have
            644 and what the system gives.
        sealed: whether the content holds `BLANK_SEAL` once, which the seal takes the place of.

    Returns:
        SHA-256 of the file's bytes, for the card that lists it.

    Raises:
        StoreError: it cannot be written, such as on a full disk; what stood there is as it was.
    """
    path = Path(path)
    with in_words(path):
        with suppress(FileNotFoundError):
            path.lstat()  # a name that is too long is refused before the work
        if path.is_dir() and not path.is_symlink():
            raise StoreError(f"{path}: cannot be written, for a folder has this name. Choose another name.")
        make_parent(path, confidential)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix(path), suffix=f".tmp{path.suffix}")
        os.close(descriptor)
        temporary = Path(name)
        try:
            if callable(content):
                content(temporary)
            else:
                temporary.write_bytes(content)
            if sealed:
                _seal(temporary, path)
            with temporary.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            # mkstemp makes private files; results are for everyone who may read the folder.
            temporary.chmod(0o600 if confidential else 0o644)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return digest


def read_verified(path: str | Path, sha256: str | None = None, mend: str = MEND) -> bytes:
    """Return the content of a file after it was checked against its description.

    Args:
        path: the file.
        sha256: what the card that lists the file says of it; None if the file is sealed.
        mend: what to do about a damaged file, as a sentence.

    Raises:
        DataError: no such file, one that cannot be read, or one that is not what was written; names file and remedy.
    """
    path = Path(path)
    with _readable(path, mend):
        content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is None:
        at, sha256 = _seal_of(path, [(found.start(), found[1]) for found in _SEAL.finditer(content)], mend)
        found = hashlib.sha256(content[:at] + BLANK_SEAL + content[at + _LENGTH :]).hexdigest()
    _require_same(path, sha256, found, mend)
    return content


def verify(path: str | Path, sha256: str | None = None, mend: str = MEND) -> Path:
    """Check a file as `read_verified` does without holding it, and return its path, for files that are read in parts.

    Raises:
        DataError: as `read_verified`.
    """
    path = Path(path)
    with _readable(path, mend), path.open("rb") as stream:
        if sha256 is None:
            at, sha256 = _seal_of(path, _seals(stream), mend)
            found = _digest_without(stream, at)
        else:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    _require_same(path, sha256, found, mend)
    return path


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of files of a folder by their names, for the card of the folder."""
    found = {}
    for name in sorted(names):
        with _readable(folder / name, MEND), (folder / name).open("rb") as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def require_files(folder: Path, files: object, mend: str = MEND) -> None:
    """Check all files that a card lists.

    Args:
        folder: of the card.
        files: what the card says under `files`: SHA-256 by name.
        mend: what to do about a damaged or missing file.

    Raises:
        DataError: the card lists none, or a file is missing or not what was written.
    """
    if not isinstance(files, Mapping) or not files:
        raise DataError(f"{folder}: expected a card that lists files with their SHA-256, got none. {mend}")
    for name, sha256 in files.items():
        verify(folder / name, str(sha256), mend)


def _seal(temporary: Path, path: Path) -> None:
    with temporary.open("r+b") as stream:
        seals = _seals(stream)
        if [seal for _, seal in seals] != [BLANK_SEAL[len(_MARK) :]]:
            raise InputError(
                f"{path}: expected content without the text {_MARK.decode()} and 64 digits, which marks where its "
                f"checksum stands, got {len(seals)} of them. Take it out of names and labels."
            )
        at = seals[0][0]
        digest = _digest_without(stream, at)
        stream.seek(at)
        stream.write(_MARK + digest.encode())


def _seals(stream: BinaryIO) -> list[tuple[int, bytes]]:
    """Where in a file seals stand, and their digits."""
    stream.seek(0)
    found, base, tail = [], 0, b""
    while chunk := stream.read(_CHUNK):
        window = tail + chunk
        found += [(base + match.start(), match[1]) for match in _SEAL.finditer(window)]
        # One byte short of a seal, so that none is found twice.
        tail = window[-(_LENGTH - 1) :]
        base += len(window) - len(tail)
    return found


def _digest_without(stream: BinaryIO, at: int) -> str:
    """SHA-256 of a file with a blank seal at a place."""
    digest = hashlib.sha256()
    stream.seek(0)
    left = at
    while left and (chunk := stream.read(min(left, _CHUNK))):
        digest.update(chunk)
        left -= len(chunk)
    digest.update(BLANK_SEAL)
    stream.seek(at + _LENGTH)
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _seal_of(path: Path, seals: list[tuple[int, bytes]], mend: str) -> tuple[int, str]:
    if len(seals) != 1:
        raise DataError(
            f"{path}: expected a file with one checksum of its content, got {len(seals)}: it is damaged or edited, or "
            f"an earlier version wrote it. {mend}"
        )
    return seals[0][0], seals[0][1].decode()


def _require_same(path: Path, wanted: str, found: str, mend: str) -> None:
    if found != wanted:
        raise DataError(
            f"{path}: expected the content that was written (SHA-256 {wanted[:12]}...), got another ({found[:12]}...): "
            f"the file is damaged, cut or edited. {mend}"
        )


@contextmanager
def _readable(path: Path, mend: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. {mend}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {system_reason(error)}. {mend}") from error


def make_parent(path: Path, confidential: bool) -> None:
    """Create the folder that a path lies in, for its owner alone if it is confidential."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        if confidential:
            path.parent.chmod(0o700)


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Say in one sentence why something cannot be written."""
    try:
        yield
    except UnlearnError:
        raise
    except OSError as error:
        if isinstance(error.filename, str) and not error.filename.startswith(str(path.parent)):
            raise  # of something that is read to make the content
        raise StoreError(f"{path}: cannot be written: {system_reason(error)}.") from error
