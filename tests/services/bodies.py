"""A registry with a ledger and a certificate of it, as small as they come, and edits of their files."""

import copy
import functools
import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import unlearn.services.certificates.certificate as certificate
import unlearn.services.ledger.anchor as anchor
import unlearn.services.ledger.chain as ledger
import unlearn.services.ledger.database as database
from unlearn.services.ledger.signing import Signer

START = datetime(2030, 1, 1, tzinfo=UTC)
SIGNER, OTHER = Signer(bytes(range(32))), Signer(bytes(range(1, 33)))
NOW = START + timedelta(days=3)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def registry(folder: Path, n_rows: int = 6) -> tuple[Path, Connection]:
    """A database with another table, free pages, and a row of the ledger for each of some requests; and its head."""
    for name, content in _files(n_rows).items():
        (folder / name).write_bytes(content)
    return folder / "registry.sqlite", database.connect(folder / "registry.sqlite")


@functools.cache
def _files(n_rows: int) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.sqlite"
        connection = database.connect(path, create=True)
        with database.transaction(connection):
            ledger.create(connection)
            connection.execute("CREATE TABLE artefacts (name TEXT, content BLOB)")
            ledger.append(connection, "opened", {"registry": "r"}, SIGNER, at(0))
        anchor.write_head(path, SIGNER)
        for number in range(1, n_rows):
            with anchor.transaction(connection, SIGNER):
                connection.execute("INSERT INTO artefacts VALUES (?, ?)", (f"model {number}", bytes(6000)))
                connection.execute("DELETE FROM artefacts WHERE name = ?", (f"model {number - 1}",))
                ledger.append(connection, "forgotten", {"request": f"q{number}", "numbers": [0.5]}, SIGNER, at(number))
        connection.close()
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def model(name: str = "day-ahead", **other: Any) -> dict[str, Any]:
    return {
        "name": name, "kind": "forecaster", "version_before": 1, "version_after": 2, "sha256_before": "a" * 64,
        "sha256_after": "b" * 64, "method": "update of kept sums", "guarantee": "exact", "why": "the sums are kept",
        "complete": True,
        "constants": [
            {"name": "head", "saw": True, "refitted": True, "note": "solved from the sums"},
            {"name": "load scale", "saw": True, "refitted": False, "note": "the largest load, fixed"},
            {"name": "calendar", "saw": False, "refitted": False, "note": ""},
        ],
        "numbers": {
            "residual_gradient": 3.21e-13, "distance_to_retrained": None, "audit_auc_before": 0.8123,
            "audit_auc_before_low": 0.75, "audit_auc_before_high": 0.87, "audit_auc_after": 0.5034,
            "audit_auc_after_low": 0.43, "audit_auc_after_high": 0.57,
        },
        "effect": [
            {"method": "original", "split": "test", "mse_pu2": 0.00123456, "mape_percent": 5.4321,
             "cost_per_hour": 123456.789},
            {"method": "complete", "split": "test", "mse_pu2": 0.0013, "mape_percent": 5.5, "cost_per_hour": 124987.0},
        ],
        "limitations": [], "seconds": {"forget": 0.25}, **other,
    }  # fmt: skip


def body(name: str = "q3", /, **other: Any) -> dict[str, Any]:
    return copy.deepcopy({
        "format": 1,
        "request": {
            "id": name, "subject": "customers", "asked_utc": "2030-01-01T02:00:00+00:00",
            "applied_utc": "2030-01-01T03:00:00+00:00", "removed": ["3f2a" + "0" * 60], "n_customers": 1,
            "n_hours": None, "hours": None, "loads": None, "case": "leaves", "replacement": None,
        },
        "registry": {"id": "r", "name": "North utility"}, "models": [model()],
        "data": [{"name": "data", "version_before": 1, "version_after": 2, "sha256_before": "c" * 64,
                  "sha256_after": "d" * 64, "fingerprint_after": "e" * 16}],
        "not_covered": ["copies of the meter file elsewhere"],
        "retention": {"days": 30, "destroyed_after_utc": "2030-01-31T03:00:00+00:00"}, "destroyed": [],
        "versions": {"unlearn": "0.1.0"}, "guarantee": "exact", "complete": True, **other,
    })  # fmt: skip


def certified(folder: Path, connection: Connection, **other: Any) -> Path:
    """The certificate of request q3, whose row is the fourth."""
    return certificate.certify(
        body(**other), SIGNER, folder / "certificate", ledger=ledger.export_ledger(connection, 4),
        evidence={"gradient": [1e-13, 2.5]},
    )  # fmt: skip


def edits(content: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Contents with one bit flipped, one byte dropped, or one put in, at places drawn evenly."""
    draw = random.Random(seed)
    for number in range(count):
        place = draw.randrange(len(content))
        before, byte, after = content[:place], content[place], content[place + 1 :]
        if number % 3 == 0:
            edited = before + bytes([byte ^ 1 << draw.randrange(8)]) + after
        elif number % 3 == 1:
            edited = before + after
        else:
            edited = before + bytes([draw.randrange(256), byte]) + after
        yield f"edit {number} at byte {place}", edited
