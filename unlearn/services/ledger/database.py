"""The SQLite file of a registry: opened so that a commit is on the disk, what is deleted is overwritten, errors speak.

Whoever writes takes the lock first (`BEGIN IMMEDIATE`), so that what is read in a transaction is still so at its end.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn.errors import DataError, InputError, StoreError, UnlearnError, said
from unlearn.store.files import in_words

#: Seconds to wait for another process that writes.
PATIENCE_SECONDS = 30.0

# A journal that is deleted leaves one file to be signed; EXTRA also syncs its folder, so that a commit survives a loss
# of power; secure_delete writes zeros over what is deleted.
_PRAGMAS = (
    "journal_mode = DELETE", "synchronous = EXTRA", "secure_delete = ON", "foreign_keys = ON",
    "recursive_triggers = ON", "trusted_schema = OFF", "cell_size_check = ON", "temp_store = MEMORY",
)  # fmt: skip

_UNWRITTEN = "Nothing of this step is written."
_SENTENCES: dict[int, tuple[type[UnlearnError], str]] = {
    sqlite3.SQLITE_FULL: (StoreError, f"the disk is full. {_UNWRITTEN} Free some space and run it again"),
    sqlite3.SQLITE_IOERR: (StoreError, f"the system cannot read or write it. {_UNWRITTEN} Check disk and space"),
    sqlite3.SQLITE_BUSY: (StoreError, f"another process is writing to it. {_UNWRITTEN} Run it again later"),
    sqlite3.SQLITE_LOCKED: (StoreError, f"another process is writing to it. {_UNWRITTEN} Run it again later"),
    sqlite3.SQLITE_READONLY: (StoreError, "this account may not write to it. Change the permissions of its folder"),
    sqlite3.SQLITE_PERM: (StoreError, "this account may not write to it. Change the permissions of its folder"),
    sqlite3.SQLITE_CANTOPEN: (StoreError, "it cannot be opened. Check its path and permissions"),
    sqlite3.SQLITE_NOTADB: (DataError, "expected an SQLite database, got another file. Name the registry's own file"),
    sqlite3.SQLITE_CORRUPT: (DataError, "its structure is damaged. Bring it back from a backup"),
}


def connect(path: str | Path, *, create: bool = False) -> sqlite3.Connection:
    """Open the database of a registry, for its owner alone.

    Nothing is begun or committed by itself: a transaction is what stands in `transaction`.

    Args:
        path: the file.
        create: whether there is none yet, and an empty one is made.

    Raises:
        DataError: no such file, or no database.
        InputError: `create`, and there is one.
        StoreError: it cannot be opened or written.
    """
    path = Path(path).absolute()
    if create:
        with in_words(path):
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError as error:
                raise InputError(f"{path}: expected no file there yet, got one. Choose another folder.") from error
    elif not path.is_file():
        raise DataError(f"{path}: no such file. Name the folder of a registry, or make a registry first.")
    with in_sentences(path):
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, timeout=PATIENCE_SECONDS, isolation_level=None
        )
        try:
            # Of a new file only: it writes to the file, also if it is so already. See `trim`.
            for pragma in (*(["auto_vacuum = INCREMENTAL"] if create else []), *_PRAGMAS):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
    return connection


def path_of(connection: sqlite3.Connection) -> Path:
    """The file of a connection; of a database in memory, its name."""
    return Path(connection.execute("PRAGMA database_list").fetchone()[2] or ":memory:")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the lock for writing; commit at the end, or take everything back if anything is raised.

    Raises:
        StoreError: the lock is not to be had, or the disk is full; nothing is written.
        DataError: the file is damaged.
    """
    with in_sentences(path_of(connection)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            trim(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has ended it already
                connection.execute("ROLLBACK")
            raise


def trim(connection: sqlite3.Connection) -> None:
    """Cut free pages off the file, within a transaction.

    SQLite keeps no journal of a page that was free: where a process is killed, what it had begun to write would stay
    there, and the file would not be what it was before, byte for byte. A file without free pages has no such place.
    """
    (n_free,) = connection.execute("PRAGMA freelist_count").fetchone()
    for _ in range(n_free):  # one at a time: of more, Python's module leaves all but the first
        connection.execute("PRAGMA incremental_vacuum(1)").fetchall()


@contextmanager
def in_sentences(path: str | Path) -> Iterator[None]:
    """Say in one sentence what SQLite says of a file."""
    try:
        yield
    except sqlite3.Error as error:
        # A text that is no UTF-8 has no code, and a message that quotes it.
        code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_CORRUPT
        kind, sentence = _SENTENCES.get(code & 0xFF, (StoreError, f"SQLite says {said(error)}"))
        raise kind(f"{path}: {sentence}.") from error
    except UnicodeDecodeError as error:  # of a damaged text, or of what SQLite says of it
        kind, sentence = _SENTENCES[sqlite3.SQLITE_CORRUPT]
        raise kind(f"{path}: {sentence}.") from error
