"""Tables of a registry: versions of data sets and models, requests, and keyed hashes of what was removed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from unlearn.checks import short_repr
from unlearn.errors import InputError
from unlearn.services.base import LEARNERS, Learner
from unlearn.services.ledger.canonical import canonical

#: Version of the layout.
FORMAT = 1
#: What an artefact is: in use; before a deletion, until its key is destroyed; destroyed.
CURRENT, RETAINED, DESTROYED = "current", "retained", "destroyed"
#: What a request is: planned, applied, or undone; overtaken where another one forgot something that it names.
PLANNED, APPLIED, RESTORED, OVERTAKEN = "planned", "applied", "restored", "overtaken"
#: Kind of a data set, and its name where there is one alone.
DATA = "data"
_SCHEMA = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE artefact(
        name TEXT NOT NULL, version INTEGER NOT NULL, kind TEXT NOT NULL, learnt_from TEXT, settings TEXT NOT NULL,
        state TEXT NOT NULL, blob TEXT NOT NULL, sha256 TEXT NOT NULL, n_bytes INTEGER NOT NULL, created TEXT NOT NULL,
        request TEXT, replaced_by TEXT, retain_until TEXT, destroyed TEXT, note TEXT NOT NULL,
        PRIMARY KEY (name, version))""",
    "CREATE UNIQUE INDEX one_current ON artefact(name) WHERE state = 'current'",
    """CREATE TABLE request(
        id TEXT PRIMARY KEY, digest TEXT NOT NULL, state TEXT NOT NULL, asked TEXT NOT NULL, applied TEXT,
        retain_until TEXT, spec TEXT, said TEXT NOT NULL, evidence TEXT)""",
    "CREATE TABLE removed(hash TEXT NOT NULL, data TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (hash, data))",
)  # fmt: skip


@short_repr
@dataclass(frozen=True)
class Artefact:
    """One version of a data set or of a model.

    Attributes:
        name: of it.
        version: from 1.
        kind: "data", or a kind of `LEARNERS`.
        learnt_from: name of the data set that a model was fitted to.
        settings: of its learner.
        state: "current", "retained" or "destroyed".
        blob: its name in the vault.
        sha256: of its ciphertext.
        n_bytes: of its ciphertext.
        created: when, ISO text in UTC.
        request: the request that made it; None for one that was trained.
        replaced_by: the request that put the next version in its place.
        retain_until: when its key is destroyed at the latest.
        destroyed: when it was.
        note: what else is known, such as seconds of training.
    """

    name: str
    version: int
    kind: str
    learnt_from: str | None
    settings: Mapping[str, Any]
    state: str
    blob: str
    sha256: str
    n_bytes: int
    created: str
    request: str | None = None
    replaced_by: str | None = None
    retain_until: str | None = None
    destroyed: str | None = None
    note: Mapping[str, Any] = field(default_factory=dict)

    @property
    def learner(self) -> Learner:
        """What fitted it."""
        return LEARNERS[self.kind].from_settings(self.settings)


@dataclass(frozen=True)
class Kept:
    """A request as a registry keeps it.

    Attributes:
        id: such as "R-000001".
        digest: keyed hash of all that it names.
        state: "planned", "applied", "restored" or "overtaken".
        asked: when, ISO text in UTC.
        applied: when.
        retain_until: until when it can be undone.
        spec: name in the vault of what it names, until it is applied.
        said: what may be said of it in the open.
        evidence: what was measured when it was applied.
    """

    id: str
    digest: str
    state: str
    asked: str
    applied: str | None
    retain_until: str | None
    spec: str | None
    said: Mapping[str, Any]
    evidence: Mapping[str, Any] | None


def create(connection: sqlite3.Connection) -> None:
    """Make the tables."""
    for statement in _SCHEMA:
        connection.execute(statement)


def meta(connection: sqlite3.Connection, key: str) -> str:
    """What is said of the registry as a whole."""
    return str(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])


def _rows(connection: sqlite3.Connection, table: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    wanted = {column: value for column, value in given.items() if value is not None}
    where = " WHERE " + " AND ".join(f"{column} = ?" for column in wanted) if wanted else ""
    rows = connection.execute(f"SELECT * FROM {table}{where} ORDER BY rowid", tuple(wanted.values()))
    columns = [own[0] for own in rows.description]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def artefacts(
    connection: sqlite3.Connection, state: str | None = None, name: str | None = None, request: str | None = None
) -> list[Artefact]:
    """Versions of data sets and models, in the order in which they came."""
    found = _rows(connection, "artefact", {"state": state, "name": name, "request": request})
    return [Artefact(**{**own, **{name: json.loads(own[name]) for name in ("settings", "note")}}) for own in found]


def current(connection: sqlite3.Connection, name: str) -> Artefact:
    """The version in use.

    Raises:
        InputError: there is none.
    """
    found = artefacts(connection, CURRENT, name)
    if not found:
        known = [own.name for own in artefacts(connection, CURRENT)]
        raise InputError(
            f"name: expected one of {', '.join(known) or 'none, for the registry is empty'}; got {name!r}. Train it "
            "first."
        )
    return found[0]


def insert(connection: sqlite3.Connection, own: Artefact) -> None:
    """Add a version."""
    values = {**asdict(own), "settings": canonical(own.settings).decode(), "note": canonical(own.note).decode()}
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO artefact({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def public(own: Artefact) -> dict[str, Any]:
    """What the ledger says of a version."""
    return {"artefact": own.name, "version": own.version, "kind": own.kind, "sha256": own.sha256}


def requests(
    connection: sqlite3.Connection, state: str | None = None, id: str | None = None, digest: str | None = None
) -> list[Kept]:
    """Requests, in the order in which they were asked."""
    found = _rows(connection, "request", {"state": state, "id": id, "digest": digest})
    return [
        Kept(**{**own, "said": json.loads(own["said"]), "evidence": own["evidence"] and json.loads(own["evidence"])})
        for own in found
    ]


def removed_by(connection: sqlite3.Connection, hashes: list[str]) -> dict[str, str]:
    """Of keyed hashes, those of what was removed before, and the request that did it."""
    found = {}
    for own in hashes:
        row = connection.execute("SELECT request FROM removed WHERE hash = ?", (own,)).fetchone()
        if row:
            found[own] = str(row[0])
    return found
