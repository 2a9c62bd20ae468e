"""The head pins every byte of the registry's file; being killed is told apart from being changed."""

import hashlib
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import unlearn.services.ledger.anchor as anchor
import unlearn.services.ledger.chain as ledger
import unlearn.services.ledger.database as database
from tests.proofs import proof_count
from tests.services.bodies import NOW, OTHER, SIGNER, at, edits, registry
from unlearn.errors import DataError, InputError, StoreError
from unlearn.services.ledger.canonical import canonical, parsed
from unlearn.services.ledger.chain import verify_rows

#: What a process runs that is killed in the middle.
KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import unlearn.services.ledger.anchor as anchor
import unlearn.services.ledger.database as database
import unlearn.services.ledger.chain as ledger
from unlearn.services.ledger.signing import Signer

SIGNER, NOW = Signer(bytes(range(32))), datetime(2030, 1, 2, tzinfo=UTC)

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

connection = database.connect(Path(sys.argv[1]))
"""


def killed(path: Path, code: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED + code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr


def check(path: Path) -> anchor.HeadCheck:
    return anchor.check_head(path, SIGNER.public)


def test_the_head_says_what_the_file_is(tmp_path: Path) -> None:
    path, connection = registry(tmp_path)
    head = parsed(anchor.head_path(path).read_bytes(), "head")
    assert head["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (head["rows"], head["digest"]) == (6, ledger.rows(connection)[-1].digest)
    assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert check(path) == anchor.HeadCheck()
    connection.close()


@pytest.mark.proof
@pytest.mark.parametrize("name", ["registry.sqlite", anchor.HEAD])
def test_any_edit_of_one_byte_is_found(tmp_path: Path, name: str) -> None:
    path, connection = registry(tmp_path)
    connection.close()
    content = (tmp_path / name).read_bytes()
    for what, edited in edits(content, proof_count(1000), seed=len(name)):
        (tmp_path / name).write_bytes(edited)
        found = check(path)
        assert found.faults, what
        assert not found.interrupted, what
        assert (tmp_path / name).read_bytes() == edited, "checking changes nothing"
    (tmp_path / name).write_bytes(content)
    assert check(path) == anchor.HeadCheck()


def test_rows_dropped_from_the_end_are_found(tmp_path: Path) -> None:
    """Whoever can write to the file drops the last row and leaves everything else as it should be."""
    path, connection = registry(tmp_path)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM ledger WHERE seq = 6")
    for _, sql in triggers:
        connection.execute(sql)
    assert verify_rows(connection, SIGNER.public) == []
    found = check(path)
    assert "expected 6 rows in the ledger, as its head says, got 5" in found.faults[0]
    with pytest.raises(DataError, match="expected 6 rows"), anchor.transaction(connection, SIGNER):
        raise AssertionError("not reached")
    connection.close()


def test_a_change_beside_the_ledger_is_found(tmp_path: Path) -> None:
    path, connection = registry(tmp_path)
    connection.execute("UPDATE artefacts SET name = 'another'")
    assert "byte for byte" in check(path).faults[0]
    connection.close()


def test_a_head_of_another_key_or_none_is_found(tmp_path: Path) -> None:
    path, connection = registry(tmp_path)
    connection.close()
    assert "one of another key" in anchor.check_head(path, OTHER.public).faults[0]
    anchor.write_head(path, OTHER)
    assert "one of another key" in check(path).faults[0]
    forged = {**parsed(anchor.head_path(path).read_bytes(), "head"), "key": SIGNER.public.hex()}
    anchor.head_path(path).write_bytes(canonical(forged))
    assert "its signature does not hold" in check(path).faults[0]
    anchor.head_path(path).unlink()
    assert "the head of the registry is missing" in check(path).faults[0]
    path.unlink()
    assert "no such file" in check(path).faults[0]
    with pytest.raises(InputError, match="got none"):
        anchor.check_head(path, None)


def test_killed_between_a_commit_and_its_head(tmp_path: Path) -> None:
    path, connection = registry(tmp_path)
    connection.close()
    killed(
        path,
        "anchor.write_head = kill\n"
        "with anchor.transaction(connection, SIGNER): ledger.append(connection, 'forgotten', {}, SIGNER, NOW)",
    )
    assert check(path) == anchor.HeadCheck(interrupted=True, rows_behind=1)
    connection = database.connect(path)
    assert verify_rows(connection, SIGNER.public) == []
    with anchor.transaction(connection, SIGNER):  # goes on, and writes the head
        ledger.append(connection, "forgotten", {}, SIGNER, NOW)
    connection.close()
    assert check(path) == anchor.HeadCheck()
    assert [file.name for file in tmp_path.iterdir() if ".tmp" in file.name] == []


@pytest.mark.parametrize("statement", ["UPDATE artefacts SET name = 'another'", "DROP TRIGGER ledger_keeps_rows"])
def test_a_change_without_a_row_is_never_taken_for_an_interruption(tmp_path: Path, statement: str) -> None:
    path, connection = registry(tmp_path)
    with pytest.raises(InputError, match="expected a row that tells what is committed"):  # noqa: SIM117
        with anchor.transaction(connection, SIGNER):
            connection.execute(statement)
    assert check(path) == anchor.HeadCheck()
    connection.execute(statement)
    assert not check(path).interrupted
    connection.close()


def test_a_row_of_another_key_is_never_taken_for_an_interruption(tmp_path: Path) -> None:
    path, connection = registry(tmp_path)
    with database.transaction(connection):
        ledger.append(connection, "forgotten", {}, OTHER, NOW)
    found = check(path)
    assert "row 7: its signature" in found.faults[0]
    assert not found.interrupted
    connection.close()


def test_killed_in_the_middle_of_a_step(tmp_path: Path) -> None:
    """Pages have been written already when the process dies: the journal takes them back to the byte."""
    path, connection = registry(tmp_path)
    connection.close()
    before = path.read_bytes()
    killed(
        path,
        "connection.execute('PRAGMA cache_size = 2')\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "ledger.append(connection, 'forgotten', {}, SIGNER, NOW)\n"
        "for n in range(200): connection.execute('INSERT INTO artefacts VALUES (?, ?)', (str(n), os.urandom(900)))\n"
        "kill()",
    )
    assert path.read_bytes() != before
    assert path.with_name("registry.sqlite-journal").exists()
    assert check(path) == anchor.HeadCheck()
    assert path.read_bytes() == before


@pytest.mark.proof
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Each step writes a row of the ledger and one beside it: there are always both or none, and the head knows."""
    path, connection = registry(tmp_path)
    connection.close()
    code = """
n = len(ledger.rows(connection))
print("ready", flush=True)
while True:
    n += 1
    with anchor.transaction(connection, SIGNER):
        connection.execute("INSERT INTO artefacts VALUES (?, zeroblob(9000))", (f"step {n}",))
        ledger.append(connection, "forgotten", {"request": f"step {n}"}, SIGNER, NOW)
        connection.execute("DELETE FROM artefacts WHERE name LIKE 'step %' AND name != ?", (f"step {n}",))
"""
    draw, n_rows, behind = random.Random(0), 6, 0
    for _ in range(proof_count(50)):
        with subprocess.Popen([sys.executable, "-c", KILLED + code, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(draw.uniform(0, 0.1))
            process.kill()
        found = check(path)
        assert found.faults == ()
        assert found.rows_behind <= 1
        behind += found.interrupted
        connection = database.connect(path)
        assert verify_rows(connection, SIGNER.public) == []
        table = ledger.rows(connection)
        assert len(table) >= n_rows
        n_rows = len(table)
        if n_rows > 6:
            (name,) = connection.execute("SELECT name FROM artefacts WHERE name LIKE 'step %'").fetchone()
            assert name == table[-1].body["request"]
        connection.close()
        if found.interrupted:
            anchor.write_head(path, SIGNER)
            assert check(path) == anchor.HeadCheck()


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path, connection = registry(tmp_path)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with anchor.transaction(connection, SIGNER):
            ledger.append(connection, "forgotten", {}, SIGNER, NOW)
            connection.execute("INSERT INTO artefacts VALUES ('a', zeroblob(1000000))")

    with pytest.raises(StoreError, match="the disk is full"):
        fill()
    assert check(path) == anchor.HeadCheck()
    assert len(ledger.rows(connection)) == 6
    connection.close()


def test_a_head_that_cannot_be_written_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, connection = registry(tmp_path)

    whole = anchor.write

    def full(file: Path, content: bytes) -> str:
        if file.name == anchor.HEAD:
            raise StoreError(f"{file}: cannot be written: the disk is full.")
        return whole(file, content)

    with monkeypatch.context() as patched:
        patched.setattr(anchor, "write", full)
        with pytest.raises(StoreError, match="the disk is full"), anchor.transaction(connection, SIGNER):
            ledger.append(connection, "forgotten", {}, SIGNER, NOW)
    assert check(path).interrupted
    anchor.write_head(path, SIGNER)
    assert check(path) == anchor.HeadCheck()
    connection.close()


def test_several_connections_append_one_after_the_other(tmp_path: Path) -> None:
    """The file's locks hold in one process, too, though each step reads the whole file on a connection of its own."""
    path, connection = registry(tmp_path)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            own = database.connect(path)
            for _ in range(5):
                with anchor.transaction(own, SIGNER):
                    own.execute("INSERT INTO artefacts VALUES (?, 'x')", (str(len(ledger.rows(own)) + 1),))
                    ledger.append(own, "forgotten", {}, SIGNER, NOW)
            own.close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [row.seq for row in ledger.rows(connection)] == list(range(1, 27))
    names = [int(name) for (name,) in connection.execute("SELECT name FROM artefacts WHERE content = 'x'")]
    assert names == list(range(7, 27))
    assert check(path) == anchor.HeadCheck()
    assert verify_rows(connection, SIGNER.public) == []
    connection.close()


@pytest.mark.proof
@pytest.mark.parametrize("name", ["registry.sqlite", anchor.NEXT])
def test_an_edit_is_found_also_while_the_head_is_behind(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, connection = registry(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(anchor, "write_head", lambda *_: None)
        with anchor.transaction(connection, SIGNER):
            ledger.append(connection, "forgotten", {}, SIGNER, NOW)
    connection.close()
    content = (tmp_path / name).read_bytes()
    assert check(path).interrupted
    for what, edited in edits(content, proof_count(1000), seed=len(name)):
        # Twelve bytes of the file are not announced: counters that SQLite itself sets as it commits.
        if name == anchor.NEXT or steady(edited) != steady(content):
            (tmp_path / name).write_bytes(edited)
            found = check(path)
            assert found.faults, what
            assert not found.interrupted, what


def test_killed_between_a_commit_and_the_cut_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite commits, and then cuts off the pages that are free: between both, the file is longer than it says."""
    path, connection = registry(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(anchor, "write_head", lambda *_: None)
        with anchor.transaction(connection, SIGNER):
            ledger.append(connection, "forgotten", {}, SIGNER, NOW)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(100))
    assert "got 100 more or fewer" in check(path).faults[0]
    path.write_bytes(whole + bytes(8192))
    assert check(path) == anchor.HeadCheck(interrupted=True, rows_behind=1)
    with anchor.transaction(connection, SIGNER):
        ledger.append(connection, "forgotten", {}, SIGNER, NOW)
    assert check(path) == anchor.HeadCheck()
    connection.close()
    path.write_bytes(path.read_bytes() + bytes(8192))
    assert "got 8192 more or fewer" in check(path).faults[0]


def steady(content: bytes) -> bytes:
    return content[:24] + content[28:92] + content[100:] + bytes([len(content) % 256])


@pytest.mark.proof
def test_what_is_announced_is_what_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a step does to pages, free ones included."""
    path, connection = registry(tmp_path)
    connection.execute("CREATE INDEX names ON artefacts (name)")
    anchor.write_head(path, SIGNER)
    connection.execute("PRAGMA cache_size = 3")
    draw, write_head = random.Random(0), anchor.write_head
    monkeypatch.setattr(anchor, "write_head", lambda *_: None)
    statements = (
        "INSERT INTO artefacts VALUES (hex(randomblob(2)), randomblob(abs(random()) % 9000))",
        "DELETE FROM artefacts WHERE name < hex(randomblob(1))",
        "UPDATE artefacts SET content = randomblob(abs(random()) % 2000) WHERE name > hex(randomblob(1))",
        "CREATE TABLE IF NOT EXISTS more AS SELECT * FROM artefacts",
        "DROP TABLE IF EXISTS more",
    )
    for step in range(proof_count(100)):
        with anchor.transaction(connection, SIGNER):
            ledger.append(connection, "forgotten", {"request": "q" * draw.randrange(3000)}, SIGNER, NOW)
            for statement in draw.choices(statements, (12, 2, 2, 1, 1), k=draw.randrange(30)):
                connection.execute(statement)
        assert check(path) == anchor.HeadCheck(interrupted=True, rows_behind=1), f"step {step}"
        write_head(path, SIGNER)
    connection.close()


def test_killed_before_the_commit_that_was_announced(tmp_path: Path) -> None:
    path, connection = registry(tmp_path)
    connection.close()
    killed(
        path,
        "sign = anchor._sign\n"
        "anchor._sign = lambda *given: (sign(*given), kill())\n"
        "with anchor.transaction(connection, SIGNER): ledger.append(connection, 'forgotten', {}, SIGNER, NOW)",
    )
    assert (tmp_path / anchor.NEXT).exists()
    assert check(path) == anchor.HeadCheck()
    connection = database.connect(path)
    with anchor.transaction(connection, SIGNER):
        ledger.append(connection, "restored", {}, SIGNER, NOW)
    connection.close()
    assert check(path) == anchor.HeadCheck()
    assert not (tmp_path / anchor.NEXT).exists()


def test_a_clock_that_went_back_stops_before_anything_is_done(tmp_path: Path) -> None:
    path, connection = registry(tmp_path)
    with pytest.raises(InputError, match="the clock went back"), anchor.transaction(connection, SIGNER):
        ledger.append(connection, "forgotten", {}, SIGNER, at(0))
    assert check(path) == anchor.HeadCheck()
    connection.close()
