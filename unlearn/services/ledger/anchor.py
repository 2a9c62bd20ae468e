"""The head of a registry: a signed file beside the database that pins its last row and every byte of it.

The chain of the ledger cannot show that its last rows are gone, nor can it speak of tables beside it or of free space
in the file. `registry.head` does: it is written after each commit, and says how many rows there are, the digest of the
last one, and the SHA-256 of the whole file.

A process that is killed between a commit and its head leaves a head that is behind. To tell that apart from a change,
`transaction` signs what the file is going to be before it commits, in `registry.head.next`. A file that is neither what
the head says nor what was announced is damaged. An older database put back together with its older head is whole in
itself; certificates issued since name rows that it does not have, and so does any head that was kept elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unlearn.services.ledger.database as database
from unlearn.errors import DataError, InputError, UnlearnError
from unlearn.services.ledger.canonical import canonical, parsed
from unlearn.services.ledger.chain import START, last_row, verify_rows
from unlearn.services.ledger.database import connect, in_sentences, path_of
from unlearn.services.ledger.signing import (
    SIGNATURE_BYTES,
    Signer,
    fingerprint,
    from_hex,
    is_signed,
    require_public_key,
)
from unlearn.store.files import in_words, write

logger = logging.getLogger(__name__)

#: Names of the head's file, in the folder of the database, and of the one that announces the next head.
HEAD, NEXT = "registry.head", "registry.head.next"

_FORMAT = 1
_PURPOSES = {HEAD: "registry head", NEXT: "next registry head"}
_KEYS = {"format", "rows", "digest", "sha256", "key", "signature"}
_MEND = "Bring the registry back from a backup, and find out who changed it."


@dataclass(frozen=True)
class HeadCheck:
    """What a head says of its database.

    Attributes:
        faults: what is wrong, in sentences; none if the database is as it was left.
        interrupted: whether nothing is wrong but that the head is behind: a process was killed after its commit, or is
            just about to write the head. `write_head` mends that.
        rows_behind: how many rows.
    """

    faults: tuple[str, ...] = ()
    interrupted: bool = False
    rows_behind: int = 0


def head_path(database_path: str | Path) -> Path:
    """Where the head of a database is."""
    return Path(database_path).with_name(HEAD)


def write_head(database_path: str | Path, signer: Signer) -> Path:
    """Pin the database as it is now, all or nothing.

    Other writers wait meanwhile. Whatever stands in the file is signed: check it before, or use `transaction`.

    Raises:
        StoreError: the lock is not to be had, or the head cannot be written.
        DataError: the database is damaged.
    """
    path = Path(database_path)
    with closing(connect(path)) as connection, in_sentences(path):
        # The lock is held until the head is written: processes that have committed write one head after the other.
        connection.execute("BEGIN IMMEDIATE")
        content = connection.serialize()
        if _has_pages_beyond(content, path):
            # A process was killed when it had committed and not yet cut the file. No connection reads what is beyond,
            # and this call opens no file: closing it would drop the lock.
            with in_words(path):
                os.truncate(path, len(content))
        _pin(connection, path, signer)
        connection.execute("ROLLBACK")
    return head_path(path)


def check_head(database_path: str | Path, public_key: bytes) -> HeadCheck:
    """Compare the database with its head, to the byte; changes neither.

    A step that was cut short by the death of its process is first rolled back, as SQLite does for whoever reads.

    Raises:
        InputError: no public key.
    """
    path, public_key = Path(database_path), require_public_key(public_key)
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file. {_MEND}")
        with closing(_for_reading(path)) as connection, in_sentences(path):
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # takes the lock for reading
            content = connection.serialize()
            head = read_head(head_path(path), public_key)
            if _sha256(content) == head["sha256"] and not _n_beyond(content, path):
                return HeadCheck()
            return _behind(connection, path, content, head, public_key)
    except UnlearnError as error:
        return HeadCheck((str(error),))


def read_head(path: Path, public_key: bytes) -> dict[str, Any]:
    """What a head says, once it is known that the holder of the key wrote it.

    Raises:
        DataError: no head, one that is edited, or one of another key.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the head of the registry is missing or cannot be read. {_MEND}") from error
    head = parsed(content, str(path))
    if not isinstance(head, dict) or set(head) != _KEYS or head["format"] != _FORMAT:
        raise DataError(f"{path}: expected the head of a registry of format {_FORMAT}, got something else. {_MEND}")
    if head["key"] != public_key.hex():
        raise DataError(
            f"{path}: expected the head of a registry with the key {fingerprint(public_key)}, got one of another key. "
            "Name the public key of this registry."
        )
    signature = from_hex(head["signature"], SIGNATURE_BYTES)
    unsigned = canonical({name: value for name, value in head.items() if name != "signature"})
    if signature is None or not is_signed(unsigned, signature, _PURPOSES.get(path.name, _PURPOSES[HEAD]), public_key):
        raise DataError(f"{path}: its signature does not hold: it is edited. {_MEND}")
    return head


@contextmanager
def transaction(connection: sqlite3.Connection, signer: Signer) -> Iterator[None]:
    """Hold the lock of the registry for writing, commit at the end and write the head; or take everything back.

    The file is compared with its head first, so that a change from outside is never signed as one's own.

    Raises:
        DataError: the file is not as it was left; nothing is done.
        InputError: what was done appended no row to the ledger; it is taken back.
        StoreError: the lock is not to be had, or the disk is full. If that comes after the commit, what is done stands,
            and the head is behind until it is written.

    >>> from datetime import UTC, datetime
    >>> from tempfile import mkdtemp
    >>> from unlearn.services.ledger.chain import append, create
    >>> path, signer = Path(mkdtemp()) / "registry.sqlite", Signer.new()
    >>> connection = connect(path, create=True)
    >>> with database.transaction(connection):
    ...     create(connection)
    >>> _ = write_head(path, signer)
    >>> with transaction(connection, signer):
    ...     _ = append(connection, "opened", {"registry": "r1"}, signer, datetime.now(UTC))
    >>> check_head(path, signer.public)
    HeadCheck(faults=(), interrupted=False, rows_behind=0)
    """
    path = path_of(connection)
    if path.with_name(NEXT).exists() and check_head(path, signer.public).interrupted:
        write_head(path, signer)
    with database.transaction(connection):
        check = check_head(path, signer.public)
        if check.faults:
            raise DataError(" ".join(check.faults))
        if check.interrupted:
            _pin(connection, path, signer)
        before = last_row(connection)
        yield
        if last_row(connection) == before:
            raise InputError("ledger: expected a row that tells what is committed, got none. Use append().")
        database.trim(connection)
        # What this connection reads now are the bytes that the commit leaves, but for its counters.
        _sign(connection, connection.serialize(), path.with_name(NEXT), signer, _steady)
    write_head(path, signer)


def _pin(connection: sqlite3.Connection, path: Path, signer: Signer) -> None:
    """Write the head of a database whose lock is held; then nothing is announced any more."""
    _sign(connection, _content(connection, path), head_path(path), signer, _sha256)
    with in_words(path.with_name(NEXT)):
        path.with_name(NEXT).unlink(missing_ok=True)


def _sign(
    connection: sqlite3.Connection, content: bytes, path: Path, signer: Signer, digest: Callable[[bytes], str]
) -> None:
    last = last_row(connection)
    head: dict[str, Any] = {
        "format": _FORMAT,
        "rows": 0 if last is None else last.seq,
        "digest": START if last is None else last.digest,
        "sha256": digest(content),
        "key": signer.public.hex(),
    }
    head["signature"] = signer.sign(canonical(head), _PURPOSES[path.name]).hex()
    with in_words(path):
        write(path, lambda temporary: _write_through(temporary, canonical(head)))
        _sync(path.parent)


def _write_through(path: Path, content: bytes) -> None:
    """Write to the disk itself: after a loss of power there is either this head or the one before."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    """See to it that a rename in a folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _behind(
    connection: sqlite3.Connection, path: Path, content: bytes, head: dict[str, Any], public_key: bytes
) -> HeadCheck:
    """Whether a database that is not the head's is the one that was announced."""
    faults = verify_rows(connection, public_key)
    last = None if faults else last_row(connection)
    n_rows = 0 if last is None else last.seq
    announced = path.with_name(NEXT)
    whole = not _n_beyond(content, path) or _has_pages_beyond(content, path)
    if last is not None and n_rows > head["rows"] and announced.exists() and whole:
        planned = read_head(announced, public_key)
        if (planned["rows"], planned["digest"], planned["sha256"]) == (n_rows, last.digest, _steady(content)):
            logger.info("%s: the head is %d rows behind", path, n_rows - head["rows"])
            return HeadCheck(interrupted=True, rows_behind=n_rows - head["rows"])
    if not faults and n_rows < head["rows"]:
        faults = [f"{path}: expected {head['rows']} rows in the ledger, as its head says, got {n_rows}."]
    if not faults and (beyond := _n_beyond(content, path)):
        faults = [f"{path}: expected as many bytes as its first page says, got {abs(beyond)} more or fewer."]
    return HeadCheck((*faults, f"{path}: is not the file that was left, byte for byte. {_MEND}"))


def _for_reading(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, but that a step which was cut short is first rolled back."""
    for last in (False, True):
        with in_sentences(path):
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=database.PATIENCE_SECONDS, isolation_level=None
            )
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return connection
            except (sqlite3.Error, UnicodeDecodeError):
                connection.close()
                if last or not path.with_name(f"{path.name}-journal").exists():
                    raise
        connect(path).close()
    raise AssertionError("the second round returns or raises")


def _content(connection: sqlite3.Connection, path: Path) -> bytes:
    """The bytes of the file, read through a connection in a transaction that has written nothing.

    Opening and closing the file itself would drop this process's locks on it, as POSIX has it.
    """
    content = connection.serialize()
    if _n_beyond(content, path):
        raise DataError(f"{path}: its size is not the one that its first page says: it is cut or longer. {_MEND}")
    return content


def _n_beyond(content: bytes, path: Path) -> int:
    """How many bytes a file has beyond its pages."""
    return path.stat().st_size - len(content)


def _has_pages_beyond(content: bytes, path: Path) -> bool:
    """Whether a file goes on for some whole pages, as it does until SQLite has cut them off after a commit."""
    beyond, size = _n_beyond(content, path), int.from_bytes(content[16:18], "big")
    return beyond > 0 and beyond % (65536 if size == 1 else max(size, 512)) == 0


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _steady(content: bytes) -> str:
    """SHA-256 of a database without what a commit itself sets: the counter of changes, when and by which version."""
    return _sha256(content[:24] + bytes(4) + content[28:92] + bytes(8) + content[100:])
