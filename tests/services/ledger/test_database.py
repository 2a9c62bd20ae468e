"""The database of a registry: what goes wrong is said in a sentence, and nothing is half-written."""

import sqlite3
from pathlib import Path

import pytest

from unlearn.errors import DataError, InputError, StoreError
from unlearn.services.ledger.database import connect, transaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    connection = connect(tmp_path / "a?b#c.sqlite", create=True)
    with transaction(connection):
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    return tmp_path / "a?b#c.sqlite"


def count(path: Path) -> int:
    connection = connect(path)
    (n,) = connection.execute("SELECT count(*) FROM t").fetchone()
    connection.close()
    return n


def test_it_is_for_its_owner_and_one_file(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    connection = connect(path)
    pragmas = {"journal_mode": "delete", "synchronous": 3, "secure_delete": 1}
    assert {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas} == pragmas
    connection.close()


def run(connection: sqlite3.Connection, *statements: str) -> None:
    with transaction(connection):
        for statement in statements:
            connection.execute(statement)


def test_an_error_takes_everything_back(path: Path) -> None:
    connection = connect(path)
    with pytest.raises(StoreError, match="SQLite says no such table"):
        run(connection, "INSERT INTO t VALUES (1)", "INSERT INTO another VALUES (1)")
    with pytest.raises(KeyError, match="mine"), transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)").fetchall() or {}["mine"]
    assert not connection.in_transaction
    connection.close()
    assert count(path) == 0


def test_a_full_disk_takes_everything_back(path: Path) -> None:
    connection = connect(path)
    connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(StoreError, match=r"the disk is full\. Nothing of this step is written\."):
        run(connection, "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (zeroblob(100000))")
    assert not connection.in_transaction
    connection.close()
    assert count(path) == 0


def test_a_lock_that_is_held_is_said(path: Path) -> None:
    first, second = connect(path), connect(path)
    second.execute("PRAGMA busy_timeout = 0")
    with transaction(first):
        with pytest.raises(StoreError, match="another process is writing"), transaction(second):
            raise AssertionError("not reached")
        first.execute("INSERT INTO t VALUES (1)")
    first.close()
    second.close()
    assert count(path) == 1


def test_a_file_that_cannot_be_opened_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        connect(tmp_path / "none")
    with pytest.raises(InputError, match="expected no file there yet"):
        connect(path, create=True)
    (tmp_path / "text").write_text("no database" * 1000)
    with pytest.raises(DataError, match="expected an SQLite database, got another file"):
        connect(tmp_path / "text")
    with pytest.raises(StoreError, match="no such file or folder"):
        connect(tmp_path / "no" / "folder", create=True)


def test_what_is_deleted_is_overwritten(path: Path) -> None:
    connection = connect(path)
    with transaction(connection):
        connection.execute("INSERT INTO t VALUES ('a name that must go')")
    assert b"a name that must go" in path.read_bytes()
    with transaction(connection):
        connection.execute("DELETE FROM t")
    connection.close()
    assert b"a name that must go" not in path.read_bytes()


def test_a_read_only_file_is_said(path: Path) -> None:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    with pytest.raises(StoreError, match="may not write to it"), transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
