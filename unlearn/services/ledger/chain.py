"""The ledger: rows that can be added and never changed, each signed and chained to the row before.

Row n holds the digest of row n - 1, and its own digest is the SHA-256 of `canonical([seq, at, kind, body, previous])`,
which is what is signed. Editing, dropping or exchanging rows breaks the chain. Rows dropped from the end leave it
whole, so `unlearn.services.ledger.anchor` keeps a signed head beside the file. The rows are in the database of the
registry, so that what happened and the row that tells it are committed together: nothing here commits.
"""

from __future__ import annotations

import functools
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tqdm import tqdm

from unlearn.errors import DataError, InputError, UnlearnError
from unlearn.services.ledger.canonical import canonical, parsed
from unlearn.services.ledger.database import in_sentences, path_of
from unlearn.services.ledger.signing import SIGNATURE_BYTES, Signer, from_hex, is_signed, require_public_key

#: How far a clock may go back, as when it is set by a time server; such a row takes the time of the row before.
CLOCK_SLACK = timedelta(seconds=5)

#: What the first row has as the digest of the row before.
START = "0" * 64

_PURPOSE = "ledger row"
_MEND = "Bring the database back from a backup, and find out who changed it."

# The checks hold in every version of SQLite; STRICT tables do not.
_SCHEMA = (
    """CREATE TABLE ledger (
  seq INTEGER PRIMARY KEY NOT NULL,
  at TEXT NOT NULL CHECK (typeof(at) = 'text'),
  kind TEXT NOT NULL CHECK (typeof(kind) = 'text'),
  body TEXT NOT NULL CHECK (typeof(body) = 'text'),
  previous TEXT NOT NULL CHECK (typeof(previous) = 'text' AND length(previous) = 64),
  digest TEXT NOT NULL CHECK (typeof(digest) = 'text' AND length(digest) = 64),
  signature BLOB NOT NULL CHECK (typeof(signature) = 'blob' AND length(signature) = 64)
)""",
    """CREATE TRIGGER ledger_keeps_rows BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'rows of the ledger are never changed'); END""",
    """CREATE TRIGGER ledger_drops_none BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'rows of the ledger are never deleted'); END""",
    """CREATE TRIGGER ledger_in_order BEFORE INSERT ON ledger
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM ledger)
BEGIN SELECT RAISE(ABORT, 'a row of the ledger follows the last one'); END""",
    f"""CREATE TRIGGER ledger_in_chain BEFORE INSERT ON ledger
WHEN NEW.previous IS NOT coalesce((SELECT digest FROM ledger ORDER BY seq DESC LIMIT 1), '{START}')
BEGIN SELECT RAISE(ABORT, 'a row of the ledger names the digest of the last one'); END""",
)
_COLUMNS = "seq, at, kind, body, previous, digest, signature"
_SELECT = f"SELECT {_COLUMNS} FROM ledger"


@dataclass(frozen=True)
class Row:
    """What happened once.

    Attributes:
        seq: its number, from 1.
        at: when, in UTC with microseconds.
        kind: what, in a word, such as "forgotten" or "restored".
        body: what else there is to say; of a request, its identifier under "request".
        previous: digest of the row before.
        digest: of this row.
        signature: of the digest.
    """

    seq: int
    at: str
    kind: str
    body: Mapping[str, Any]
    previous: str
    digest: str
    signature: bytes

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.at)


def create(connection: sqlite3.Connection) -> None:
    """Make the empty table, with the triggers that keep it append-only; within the caller's transaction."""
    with in_sentences(path_of(connection)):
        for statement in _SCHEMA:
            connection.execute(statement)


def append(connection: sqlite3.Connection, kind: str, body: Mapping[str, Any], signer: Signer, at: datetime) -> Row:
    """Add a row within the transaction that does what it tells.

    Args:
        connection: in a transaction that holds the lock for writing, so that no other row comes between.
        kind: what happened.
        body: more of it, as `canonical` takes it; identifiers and digests, no data of customers.
        signer: of this ledger.
        at: now, with its time zone. Up to `CLOCK_SLACK` before the last row, it becomes that row's time.

    Raises:
        InputError: no transaction; a time without zone; or a clock that went back.
        StoreError: it cannot be written.

    >>> connection = sqlite3.connect(":memory:", isolation_level=None)
    >>> create(connection)
    >>> _ = connection.execute("BEGIN IMMEDIATE")
    >>> append(connection, "opened", {"registry": "r1"}, Signer.new(), datetime(2030, 1, 1, tzinfo=UTC)).seq
    1
    """
    if not connection.in_transaction:
        raise InputError("ledger: expected a transaction that holds the lock for writing, got none. Use transaction().")
    if not kind or not isinstance(kind, str):
        raise InputError("ledger: expected a word for what happened, got none.")
    now = written_time(at)
    last = last_row(connection)
    if last is not None and now < last.at:
        if datetime.fromisoformat(now) < last.time - CLOCK_SLACK:
            raise InputError(
                f"ledger: expected a time after the last row's, {last.at}, got {now}: the clock went back. Set it "
                "right; if it was ahead when the last row was written, go on once that time has come."
            )
        now = last.at
    seq, previous = (1, START) if last is None else (last.seq + 1, last.digest)
    content = canonical(dict(body), "ledger: body")
    digest = _digest(seq, now, kind, parsed(content, "ledger: body"), previous)
    row = Row(seq, now, kind, parsed(content, "ledger: body"), previous, digest, signer.sign(digest.encode(), _PURPOSE))
    with in_sentences(path_of(connection)):
        connection.execute(
            f"INSERT INTO ledger ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (seq, now, kind, content.decode(), previous, digest, row.signature),
        )
    return row


def rows(connection: sqlite3.Connection) -> list[Row]:
    """All rows in order, read but not verified.

    Raises:
        DataError: a row that `append` did not write, or a damaged file.
    """
    with in_sentences(path_of(connection)):
        return [_row(*cells) for cells in connection.execute(f"{_SELECT} ORDER BY seq")]


def last_row(connection: sqlite3.Connection) -> Row | None:
    """The last row; None of an empty ledger."""
    with in_sentences(path_of(connection)):
        cells = connection.execute(f"{_SELECT} ORDER BY seq DESC LIMIT 1").fetchone()
    return None if cells is None else _row(*cells)


def verify_rows(connection: sqlite3.Connection, public_key: bytes) -> list[str]:
    """What is wrong with a ledger, in sentences; none of a whole one.

    It finds rows that are edited, missing, exchanged or signed by another key, triggers that are gone or others, and a
    file whose structure is damaged. Rows missing at the end, and bytes that hold no row, are found by `check_head`.

    Raises:
        InputError: no public key.
    """
    return verified_rows(connection, public_key)[1]


def verified_rows(connection: sqlite3.Connection, public_key: bytes) -> tuple[list[Row], list[str]]:
    """The rows that can be read, with what `verify_rows` says of them."""
    require_public_key(public_key)
    faults: list[str] = []
    try:
        with in_sentences(path_of(connection)):
            found = connection.execute("PRAGMA integrity_check").fetchall()
            if found != [("ok",)]:
                faults.append("ledger: the structure of the database is damaged.")
            faults += _schema_faults(connection)
            table = connection.execute(f"{_SELECT} ORDER BY seq").fetchall()
    except UnlearnError as error:
        return [], [*faults, str(error)]
    read, more = _verified([functools.partial(_row, *cells) for cells in table], public_key)
    return read, faults + more


def export_ledger(connection: sqlite3.Connection, last: int | None = None) -> bytes:
    """The rows as lines of canonical JSON, for whoever shall check them without the database.

    Args:
        connection: of the registry.
        last: number of the last row that goes along; None means all.
    """
    table = rows(connection)[:last]
    return b"".join(canonical({**vars(row), "signature": row.signature.hex()}) for row in table)


def exported_rows(content: bytes, where: str = "export") -> list[Row]:
    """The rows of an export, read but not verified.

    Raises:
        DataError: a line that `export_ledger` did not write.
    """
    return [read() for read in _lines(content, where)]


def verify_export(content: bytes, public_key: bytes, where: str = "export") -> list[str]:
    """What is wrong with an export, in sentences, as `verify_rows` says it.

    Rows missing at its end are found with what names its last row: a certificate, or the head of the registry.

    Raises:
        InputError: no public key.
    """
    return verified_export(content, public_key, where)[1]


def verified_export(content: bytes, public_key: bytes, where: str = "export") -> tuple[list[Row], list[str]]:
    """The rows of an export that can be read, with what `verify_export` says of them."""
    require_public_key(public_key)
    if not content.endswith(b"\n"):
        return [], [f"{where}: expected whole lines, one a row, got none or a part of one."]
    return _verified(_lines(content, where), public_key)


def about(table: Iterable[Row], request: str) -> list[Row]:
    """The rows that tell of a request."""
    return [row for row in table if row.body.get("request") == request]


def written_time(at: datetime) -> str:
    """A time as rows have it: in UTC with microseconds, so that texts sort as times do.

    Raises:
        InputError: a time without zone.
    """
    if at.tzinfo is None:
        raise InputError(f"at: expected a time with its zone, got {at}. Use datetime.now(UTC).")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _digest(seq: int, at: str, kind: str, body: Mapping[str, Any], previous: str) -> str:
    return hashlib.sha256(canonical([seq, at, kind, body, previous])).hexdigest()


def _row(seq: Any, at: Any, kind: Any, body: Any, previous: Any, digest: Any, signature: Any) -> Row:
    """A row from its cells; refuses any that `append` does not write."""
    where = f"ledger: row {seq}" if isinstance(seq, int) else "ledger"
    texts = (at, kind, body, previous, digest)
    if type(seq) is not int or not all(isinstance(text, str) for text in texts) or not isinstance(signature, bytes):
        raise DataError(f"{where}: expected a row as it was written, got cells of other types. {_MEND}")
    values = parsed(body.encode("utf-8", "replace"), f"{where}: body")
    try:
        as_written = written_time(datetime.fromisoformat(at)) == at
    except ValueError:
        as_written = False
    if not isinstance(values, dict) or not as_written or len(signature) != SIGNATURE_BYTES:
        raise DataError(f"{where}: expected a row as it was written, got other values. {_MEND}")
    return Row(seq, at, kind, values, previous, digest, signature)


def _lines(content: bytes, where: str) -> list[Callable[[], Row]]:
    lines = content.splitlines(keepends=True)
    return [functools.partial(_from_line, line, f"{where}: line {n}") for n, line in enumerate(lines, start=1)]


def _from_line(line: bytes, where: str) -> Row:
    cells = parsed(line, where)
    names = _COLUMNS.split(", ")
    if not isinstance(cells, dict) or set(cells) != set(names):
        raise DataError(f"{where}: expected a row of the ledger, got something else. Use the file as it was written.")
    body, signature = cells["body"], from_hex(cells["signature"], SIGNATURE_BYTES)
    return _row(**{**cells, "body": canonical(body).decode(), "signature": signature})


def _verified(reads: Sequence[Callable[[], Row]], public_key: bytes) -> tuple[list[Row], list[str]]:
    table: list[Row] = []
    faults: list[str] = []
    last: Row | None = None
    broken = False  # of a row that cannot be read, the next one's place in the chain is not known
    for read in tqdm(reads, desc="verifying the ledger", unit="row", delay=2, leave=False):
        try:
            row = read()
        except UnlearnError as error:
            faults.append(str(error))
            broken = True
            continue
        where = f"ledger: row {row.seq}"
        expected, previous = (1, START) if last is None else (last.seq + 1, last.digest)
        if not broken and row.seq != expected:
            faults.append(f"{where}: expected row {expected} in its place: rows are missing, doubled or exchanged.")
        elif not broken and row.previous != previous:
            faults.append(f"{where}: does not name the digest of the row before: one of both is edited or exchanged.")
        if last is not None and row.at < last.at:
            faults.append(f"{where}: is older than the row before.")
        if row.digest != _digest(row.seq, row.at, row.kind, row.body, row.previous):
            faults.append(f"{where}: its digest is not that of its content: it is edited.")
        if not is_signed(row.digest.encode("utf-8", "replace"), row.signature, _PURPOSE, public_key):
            faults.append(f"{where}: its signature is not that of this public key.")
        table.append(row)
        last, broken = row, False
    return table, faults


def _schema_faults(connection: sqlite3.Connection) -> list[str]:
    found = set(connection.execute(_OBJECTS).fetchall())
    if found != _objects():
        return ["ledger: expected its table with the triggers that keep it append-only, got another or more or fewer."]
    return []


_OBJECTS = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'ledger' COLLATE NOCASE"


@functools.cache
def _objects() -> frozenset[tuple[str, str, str]]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    create(connection)
    found = frozenset(connection.execute(_OBJECTS).fetchall())
    connection.close()
    return found
