"""The ledger: rows are added and never changed, and whatever else is done to them is found."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import unlearn.services.ledger.chain as ledger
import unlearn.services.ledger.database as database
from tests.services.bodies import OTHER, SIGNER, at, registry
from unlearn.errors import DataError, InputError, StoreError
from unlearn.services.ledger.signing import Signer


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    _, opened = registry(tmp_path)
    yield opened
    opened.close()


def append(connection: sqlite3.Connection, when: datetime, kind: str = "forgotten") -> ledger.Row:
    with database.transaction(connection):
        return ledger.append(connection, kind, {"request": "q9"}, SIGNER, when)


def test_a_ledger_is_whole_and_tells_what_happened(connection: sqlite3.Connection) -> None:
    assert ledger.verify_rows(connection, SIGNER.public) == []
    table = ledger.rows(connection)
    assert [row.seq for row in table] == [1, 2, 3, 4, 5, 6]
    assert table[0].previous == "0" * 64
    assert [row.previous for row in table[1:]] == [row.digest for row in table[:-1]]
    assert [row.seq for row in ledger.about(table, "q3")] == [4]
    assert ledger.last_row(connection) == table[-1]
    assert table[3].time == at(3)


def test_a_digest_can_be_computed_by_anyone(connection: sqlite3.Connection) -> None:
    """The oracle knows the format and nothing of this library."""
    for seq, when, kind, body, previous, digest in connection.execute(
        "SELECT seq, at, kind, body, previous, digest FROM ledger"
    ):
        content = json.dumps([seq, when, kind, json.loads(body), previous], sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(f"{content}\n".encode()).hexdigest() == digest


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET kind = 'other'",
        "UPDATE ledger SET seq = 9 WHERE seq = 6",
        "DELETE FROM ledger",
        "DELETE FROM ledger WHERE seq = 6",
        "INSERT INTO ledger SELECT 8, at, kind, body, digest, digest, signature FROM {last}",
        "INSERT INTO ledger SELECT 7, at, kind, body, previous, digest, signature FROM {last}",
        "INSERT OR REPLACE INTO ledger SELECT 6, at, 'other', body, previous, digest, signature FROM {last}",
        "REPLACE INTO ledger SELECT 1, at, kind, body, digest, digest, signature FROM {last}",
        "INSERT OR IGNORE INTO ledger SELECT NULL, at, kind, body, previous, digest, signature FROM {last}",
        "INSERT INTO ledger SELECT 7, at, 7, body, digest, x'00', signature FROM {last}",
    ],
)
def test_the_database_itself_refuses_changes(connection: sqlite3.Connection, statement: str) -> None:
    before = ledger.export_ledger(connection)
    with pytest.raises(StoreError), database.transaction(connection):
        connection.execute(statement.format(last="ledger WHERE seq = 6"))
    assert ledger.export_ledger(connection) == before


#: Changes by somebody who can write to the file, and what is said.
CHANGES: dict[str, tuple[str, str]] = {
    "kind": ("UPDATE ledger SET kind = 'other' WHERE seq = 3", "row 3: its digest is not"),
    "body": ("""UPDATE ledger SET body = '{"request":"q9"}' || char(10) WHERE seq = 3""", "row 3: its digest is not"),
    "body with blanks": ("UPDATE ledger SET body = ' ' || body WHERE seq = 3", "row 3: body: expected JSON"),
    "body of no text": ("UPDATE ledger SET body = CAST(body AS BLOB) WHERE seq = 3", "row 3: expected a row"),
    "time": ("UPDATE ledger SET at = replace(at, '2030', '2031') WHERE seq = 6", "row 6: its digest is not"),
    "earlier time": ("UPDATE ledger SET at = replace(at, '2030', '2029') WHERE seq = 6", "row 6: is older"),
    "no time": ("UPDATE ledger SET at = 'noon' WHERE seq = 6", "row 6: expected a row as it was written"),
    "signature": ("UPDATE ledger SET signature = zeroblob(64) WHERE seq = 2", "row 2: its signature is not"),
    "short signature": ("UPDATE ledger SET signature = x'00' WHERE seq = 2", "row 2: expected a row"),
    "digest": ("UPDATE ledger SET digest = previous WHERE seq = 2", "row 2: its digest is not"),
    "gap": ("DELETE FROM ledger WHERE seq = 3", "row 4: expected row 3 in its place"),
    "first": ("DELETE FROM ledger WHERE seq = 1", "row 2: expected row 1 in its place"),
    "closed gap": (
        "DELETE FROM ledger WHERE seq = 3; UPDATE ledger SET seq = seq - 1 WHERE seq > 3",
        "row 3: does not name the digest of the row before",
    ),
    "exchanged": (
        "UPDATE ledger SET seq = 99 WHERE seq = 3; UPDATE ledger SET seq = 3 WHERE seq = 4; "
        "UPDATE ledger SET seq = 4 WHERE seq = 99",
        "row 3: does not name the digest of the row before",
    ),
}  # fmt: skip


def change(connection: sqlite3.Connection, statements: str) -> None:
    """Change rows as whoever may write to the file can: without the checks and triggers, which are put back."""
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.executescript(statements)
    for _, sql in triggers:
        connection.execute(sql)
    connection.execute("PRAGMA ignore_check_constraints = OFF")


@pytest.mark.parametrize(("statements", "said"), CHANGES.values(), ids=CHANGES)
def test_changed_rows_are_found(connection: sqlite3.Connection, statements: str, said: str) -> None:
    change(connection, statements)
    assert said in " ".join(ledger.verify_rows(connection, SIGNER.public))


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER ledger_keeps_rows",
        "CREATE TRIGGER more AFTER INSERT ON ledger BEGIN SELECT 1; END",
        "CREATE INDEX more ON ledger (kind)",
        "ALTER TABLE ledger ADD COLUMN more",
    ],
)
def test_another_table_or_trigger_is_found(connection: sqlite3.Connection, statement: str) -> None:
    connection.execute(statement)
    assert "triggers that keep it append-only" in ledger.verify_rows(connection, SIGNER.public)[0]


def test_a_row_signed_by_another_key_is_found(connection: sqlite3.Connection) -> None:
    with database.transaction(connection):
        ledger.append(connection, "forgotten", {"request": "q9"}, OTHER, at(9))
    assert ledger.verify_rows(connection, SIGNER.public) == [
        "ledger: row 7: its signature is not that of this public key."
    ]
    assert len(ledger.verify_rows(connection, OTHER.public)) == 6


def test_a_ledger_that_is_not_there_is_a_fault() -> None:
    faults = ledger.verify_rows(sqlite3.connect(":memory:"), SIGNER.public)
    assert "triggers" in faults[0]
    assert "no such table" in faults[1]


def test_a_clock_that_goes_back_is_refused(connection: sqlite3.Connection) -> None:
    with pytest.raises(
        InputError, match=r"after the last row's, 2030-01-01T05:00:00\.000000\+00:00, got .*T04:59:54"
    ) as no:
        append(connection, at(5) - timedelta(seconds=6))
    assert "Set it right" in str(no.value)
    assert append(connection, at(5) - ledger.CLOCK_SLACK).time == at(5)
    assert append(connection, at(5)).time == at(5)
    assert ledger.verify_rows(connection, SIGNER.public) == []


def test_a_row_needs_a_transaction_a_kind_a_zone_and_a_body(connection: sqlite3.Connection) -> None:
    with pytest.raises(InputError, match="expected a transaction"):
        ledger.append(connection, "forgotten", {}, SIGNER, at(9))
    with pytest.raises(InputError, match="expected a word"):
        append(connection, at(9), "")
    with pytest.raises(InputError, match="expected a time with its zone"):
        append(connection, datetime(2040, 1, 1))
    with pytest.raises(InputError, match="body"), database.transaction(connection):
        ledger.append(connection, "forgotten", {"a": {1}}, SIGNER, at(9))
    assert len(ledger.rows(connection)) == 6


def test_an_export_needs_no_database(connection: sqlite3.Connection) -> None:
    content = ledger.export_ledger(connection)
    assert ledger.verify_export(content, SIGNER.public) == []
    assert ledger.exported_rows(content) == ledger.rows(connection)
    assert content.startswith(ledger.export_ledger(connection, 4))
    assert content.count(b"\n") == 6
    assert [row.seq for row in ledger.exported_rows(ledger.export_ledger(connection, 4))] == [1, 2, 3, 4]


EXPORTS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "gap": (lambda lines: lines[:2] + lines[3:], "row 4: expected row 3"),
    "exchanged": (lambda lines: [lines[1], lines[0], *lines[2:]], "row 2: expected row 1"),
    "doubled": (lambda lines: [lines[0], *lines], "row 1: expected row 2"),
    "edited": (lambda lines: [lines[0].replace(b"opened", b"closed"), *lines[1:]], "row 1: its digest"),
    "upper case": (lambda lines: [lines[0][:-68] + lines[0][-68:].upper(), *lines[1:]], "row 1: expected a row"),
    "half a line": (lambda lines: [*lines[:-1], lines[-1][:-1]], "expected whole lines"),
    "nothing": (lambda lines: [], "expected whole lines"),
    "another file": (lambda lines: [b"[1]\n"], "line 1: expected a row"),
    "no JSON": (lambda lines: [b"row\n", *lines[1:]], "line 1: expected JSON"),
}


@pytest.mark.parametrize(("edit", "said"), EXPORTS.values(), ids=EXPORTS)
def test_an_edited_export_is_found(
    connection: sqlite3.Connection, edit: Callable[[list[bytes]], list[bytes]], said: str
) -> None:
    lines = ledger.export_ledger(connection).splitlines(keepends=True)
    assert said in " ".join(ledger.verify_export(b"".join(edit(lines)), SIGNER.public))


def test_another_key_and_no_key(connection: sqlite3.Connection) -> None:
    content = ledger.export_ledger(connection)
    assert len(ledger.verify_export(content, Signer.new().public)) == 6
    for check in (lambda: ledger.verify_export(content, None), lambda: ledger.verify_rows(connection, None)):
        with pytest.raises(InputError, match="got none"):
            check()


def test_a_damaged_row_is_not_read(connection: sqlite3.Connection) -> None:
    change(connection, "UPDATE ledger SET body = 'x' WHERE seq = 3")
    with pytest.raises(DataError, match="row 3: body"):
        ledger.rows(connection)
