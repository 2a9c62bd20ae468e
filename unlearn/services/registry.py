"""`ModelRegistry`: encrypted versions of data sets and of the models that learnt from them, in one folder.

What is there is in `registry.db` (SQLite); the files are in the vault. A change writes new files first and then commits
one transaction, with its row of the ledger in it: before the commit everything is as it was, afterwards everything is
as it shall be. What a process that was killed leaves is removed by the next one.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

import unlearn.services.ledger.anchor as anchor
import unlearn.services.ledger.chain as ledger
import unlearn.services.ledger.database as database
import unlearn.services.tables as tables
from unlearn.checks import require_not_negative
from unlearn.errors import DataError, InputError, UnlearnError
from unlearn.services.base import Learner
from unlearn.services.data import KeptData, load_data, save_data
from unlearn.services.keys import RegistryKey
from unlearn.services.ledger.signing import Signer, write_public_key
from unlearn.services.tables import CURRENT, DATA, DESTROYED, FORMAT, RETAINED, Artefact
from unlearn.services.vault import Sealed, Vault, overwrite
from unlearn.store.files import in_words
from unlearn.store.folders import create_folder
from unlearn.temporary import sweep

logger = logging.getLogger(__name__)

#: Days for which the versions before a deletion are kept, so that it can be undone, before their keys are destroyed.
RETENTION_DAYS = 7.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_DATABASE, _PUBLIC = "registry.db", "registry.pub"


class ModelRegistry:
    """Data sets, models that learnt from them, requests to forget, and the ledger of all that happened.

    Make one with `create_registry`, open one with `open_registry`. Several processes may use one at once: each change
    waits for the one before.

    Attributes:
        folder: of it.
        key: its secret.
        vault: its files.
        signer: of ledger and certificates.
    """

    def __init__(self, folder: Path, key: RegistryKey, clock: Callable[[], datetime]) -> None:
        self.folder, self.key, self._clock = folder, key, clock
        self.vault = Vault(folder, key)
        self.signer = Signer(key.derived("sign"))
        self._lock = FileLock(folder / ".lock")

    @property
    def database(self) -> Path:
        return self.folder / _DATABASE

    @property
    def public_key(self) -> Path:
        """File with the public key, for whoever verifies certificates."""
        return self.folder / _PUBLIC

    def now(self) -> datetime:
        """The present time in UTC, to the second."""
        return self._clock().astimezone(UTC).replace(microsecond=0)

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """The database, with no other process in it; what was left behind is cleared and what is due is destroyed."""
        with in_words(self.folder / ".lock"):
            if not self._lock.is_locked:
                logger.debug("%s: waiting for other processes", self.folder)
            self._lock.acquire()
        try:
            self._mend_head()
            with closing(database.connect(self.database)) as connection, database.in_sentences(self.database):
                self._clear(connection)
                try:
                    yield connection
                except BaseException:
                    # Whatever was committed stands, even if its head could not be written; all other files go.
                    with suppress(UnlearnError, OSError, sqlite3.Error):
                        self._sweep(connection)
                    raise
        finally:
            self._lock.release()

    @contextmanager
    def committing(self, connection: sqlite3.Connection) -> Iterator[None]:
        """One transaction, all or nothing; the head is signed anew after it."""
        with anchor.transaction(connection, self.signer):
            yield

    def _mend_head(self) -> None:
        """Write the head that a killed process has not written; refuse a database that is not as it was left."""
        found = anchor.check_head(self.database, self.signer.public)
        if found.faults:
            raise DataError(" ".join(found.faults))
        if found.interrupted:
            logger.info("%s: a process ended before the head of the ledger was signed; it is now", self.folder)
            anchor.write_head(self.database, self.signer)

    def record(self, connection: sqlite3.Connection, kind: str, body: Mapping[str, Any]) -> ledger.Row:
        """Append to the ledger, within a transaction."""
        return ledger.append(connection, kind, body, self.signer, self.now())

    def add_data(self, name: str, data: KeptData) -> Artefact:
        """Register a data set that models are to learn from.

        Raises:
            InputError: a name that is taken, or is none.
        """
        with self.alone() as connection:
            self._require_free(connection, name)
            sealed = self.vault.put(self.blob_name(name, 1), lambda folder: save_data(data, folder))
            kept = self.artefact(name, 1, DATA, None, {}, sealed, note=data.said())
            with self.committing(connection):
                tables.insert(connection, kept)
                self.record(connection, "registered", tables.public(kept))
        return kept

    def train(self, name: str, learner: Learner, data: str = DATA) -> Artefact:
        """Fit a model to a data set and register it. Others may use the registry meanwhile.

        Raises:
            InputError: a name that is taken, or is none; no such data set; whatever `Learner.fit` refuses.
        """
        while True:
            with self.alone() as connection:
                self._require_free(connection, name)
                source = tables.current(connection, data)
                if source.kind != DATA:
                    raise InputError(f"data: expected the name of a data set, got {data!r}, which is a {source.kind}.")
                kept = self.read_data(source)
            start = time.perf_counter()
            model = learner.fit(kept.dataset, kept.left_out)
            seconds = time.perf_counter() - start
            with self.alone() as connection:
                self._require_free(connection, name)
                if tables.current(connection, data).version != source.version:
                    logger.warning("%s: data were deleted while %s was trained; it is trained anew", data, name)
                    continue
                sealed = self.vault.put(self.blob_name(name, 1), partial(learner.save, model))
                made = self.artefact(
                    name, 1, learner.kind, data, learner.settings(), sealed, note={"fit_seconds": round(seconds, 3)}
                )
                with self.committing(connection):
                    tables.insert(connection, made)
                    self.record(connection, "trained", {**tables.public(made), "data_version": source.version})
                return made

    def load(self, name: str) -> Any:
        """The model of that name, ready to forecast, or the data set."""
        with self.alone() as connection:
            found = self.read(tables.current(connection, name))
        return found.dataset if isinstance(found, KeptData) else found

    def read(self, found: Artefact) -> Any:
        """What a version is: a `KeptData`, or a model."""
        return self.read_data(found) if found.kind == DATA else self.read_model(found)

    def read_data(self, found: Artefact) -> KeptData:
        with self.vault.opened(found.blob, found.sha256) as folder:
            return load_data(folder)

    def read_model(self, found: Artefact) -> Any:
        with self.vault.opened(found.blob, found.sha256) as folder:
            return found.learner.load(folder)

    def blob_name(self, name: str, version: int) -> str:
        """A name in the vault that was never used."""
        return f"{name}-{version}-{os.urandom(4).hex()}"

    def artefact(
        self,
        name: str,
        version: int,
        kind: str,
        learnt_from: str | None,
        settings: Mapping[str, Any],
        sealed: Sealed,
        *,
        request: str | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Artefact:
        """A new version in use, of what was sealed."""
        when = self.now().isoformat()
        return Artefact(
            name, version, kind, learnt_from, settings, CURRENT, *sealed, created=when, request=request, note=note or {}
        )

    def _require_free(self, connection: sqlite3.Connection, name: str) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f"name: expected up to 40 small letters, digits, - and _, with a letter or digit first, got {name!r}."
            )
        if tables.artefacts(connection, name=name):
            raise InputError(
                f"name: expected one that is free, got {name!r}, which is registered already. Choose another."
            )

    def _clear(self, connection: sqlite3.Connection) -> None:
        """Remove what killed processes left; destroy what is due."""
        self._sweep(connection)
        now = self.now()
        due = [
            own
            for own in tables.artefacts(connection)
            if own.state == RETAINED and own.retain_until and datetime.fromisoformat(own.retain_until) <= now
        ]
        if due:
            self.destroy(connection, due)

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Destroy files that the database does not know of."""
        specs = {own.spec for own in tables.requests(connection) if own.spec is not None}
        known = specs | {own.blob for own in tables.artefacts(connection) if own.state != DESTROYED}
        stray = self.vault.sweep(known)
        sweep(self.folder)
        if stray:
            logger.info("%s: %d files of operations that did not end are destroyed", self.folder, len(stray))

    def destroy(self, connection: sqlite3.Connection, versions: list[Artefact]) -> None:
        """Destroy the keys of retained versions, then say so in the ledger."""
        for own in versions:
            self.vault.destroy(own.blob)
        when = self.now().isoformat()
        with self.committing(connection):
            for own in versions:
                connection.execute(
                    "UPDATE artefact SET state = ?, destroyed = ? WHERE name = ? AND version = ?",
                    (DESTROYED, when, own.name, own.version),
                )
            for request in sorted({str(own.replaced_by) for own in versions}):
                gone = [
                    {"artefact": own.name, "version": own.version} for own in versions if own.replaced_by == request
                ]
                self.record(connection, "destroyed", {"request": request, "versions": gone})

    def retained_until(self, days: float | None, connection: sqlite3.Connection) -> datetime:
        """When the versions before a deletion of now are destroyed."""
        kept = float(tables.meta(connection, "retention_days")) if days is None else days
        return self.now() + timedelta(days=require_not_negative("retain_days", kept))


def _utc_now() -> datetime:
    return datetime.now(UTC)


def create_registry(
    folder: str | Path,
    key: str | Path,
    *,
    name: str = "registry",
    retention_days: float = RETENTION_DAYS,
    clock: Callable[[], datetime] = _utc_now,
) -> ModelRegistry:
    """Make an empty registry in a new folder, and its key in a new file, which belongs in another place.

    Args:
        folder: of the registry.
        key: file of the key.
        name: for pages and certificates.
        retention_days: for which the versions before a deletion are kept; 0 destroys them at once.
        clock: gives the time, with its zone.

    Raises:
        InputError: a folder that holds anything, or a key file that is there already.
        StoreError: they cannot be written.
    """
    folder, key = Path(folder), Path(key)
    require_not_negative("retention_days", retention_days)
    require_no_registry(folder)
    if key.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{key}: expected a place outside of {folder}: a copy of the registry must not hold its key.")
    secret = RegistryKey.new()
    meta = {
        "format": str(FORMAT),
        "id": os.urandom(8).hex(),
        "name": name,
        "key": secret.fingerprint,
        "retention_days": repr(float(retention_days)),
    }
    secret.save(key)
    try:
        # Renamed into place once it is whole: a database without its head would count as edited.
        made = create_folder(folder, lambda own: _fill(ModelRegistry(own, secret, clock), meta), confidential=True)
    except BaseException:
        key.unlink()
        raise
    if not made:
        key.unlink()
        raise InputError(f"{folder}: expected no folder, got one that another process has just made.")
    return ModelRegistry(folder, secret, clock)


def _fill(made: ModelRegistry, meta: Mapping[str, str]) -> None:
    """Write the empty database, its first row and its head, and the public key."""
    write_public_key(made.public_key, made.signer.public)
    with closing(database.connect(made.database, create=True)) as connection:
        with database.transaction(connection):
            tables.create(connection)
            ledger.create(connection)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
            made.record(connection, "created", {"registry": meta["id"], "name": meta["name"]})
        anchor.write_head(made.database, made.signer)


def require_no_registry(folder: Path) -> None:
    """Refuse a folder for a new registry that holds anything."""
    if (folder / _DATABASE).is_file():
        raise InputError(
            f"{folder}: expected a folder for a new registry, got one that holds a registry. Leave the meters out to "
            "add a model to it, or name another folder with --registry."
        )
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder}: expected no folder or an empty one for a new registry, got one with files in it. Name another "
            "with --registry."
        )


def discard(registry: ModelRegistry, key: Path) -> None:
    """Take back a registry that was just made, with its key."""
    with registry.alone():
        for name in registry.vault.names():
            registry.vault.destroy(name)
    overwrite(key)
    key.unlink()
    shutil.rmtree(registry.folder)


def open_registry(
    folder: str | Path, key: str | Path | RegistryKey, *, clock: Callable[[], datetime] = _utc_now
) -> ModelRegistry:
    """Open a registry.

    Raises:
        DataError: no registry is there, its ledger was edited, or the key file cannot be read.
        MismatchError: the key of another registry.
    """
    folder = Path(folder)
    if not (folder / _DATABASE).is_file():
        raise DataError(
            f"{folder}: expected a registry, got no {_DATABASE} in it. Name its folder with --registry, or make one "
            "with unlearn train."
        )
    secret = key if isinstance(key, RegistryKey) else RegistryKey.load(key)
    with closing(database.connect(folder / _DATABASE)) as connection, database.in_sentences(folder / _DATABASE):
        found = dict(connection.execute("SELECT key, value FROM meta"))
    if found.get("format") != str(FORMAT):
        raise DataError(
            f"{folder}: expected a registry of format {FORMAT}, got {found.get('format')!r}. Open it with the version "
            "that made it."
        )
    if "key" in found:  # without it the file is edited, which its head tells
        secret.require(found["key"], folder)
    opened = ModelRegistry(folder, secret, clock)
    with opened.alone():
        return opened
