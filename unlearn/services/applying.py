"""Applying a request: new versions of all that learnt from what is named, the evidence, and one transaction."""

from __future__ import annotations

import hashlib
import itertools
import math
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

import unlearn.services.tables as tables
from unlearn.errors import DataError, UnlearnError
from unlearn.records import provenance
from unlearn.services.asked import Part, enter, overtaken
from unlearn.services.base import CUSTOMERS, EXACT, GUARANTEES, LOADS, Change, Measured, Outcome, Route
from unlearn.services.data import KeptData, save_data
from unlearn.services.deletion import DeletionRequest
from unlearn.services.ledger.canonical import canonical
from unlearn.services.registry import ModelRegistry
from unlearn.services.tables import APPLIED, CURRENT, OVERTAKEN, RETAINED, Artefact, Kept

#: The route of a model that learnt nothing of what is removed.
NOTHING = Route("nothing to remove", EXACT, False, "The model was fitted to none of what is removed.")

#: Significant digits of what is measured; how far parameters moved is the removed reading itself, where it is one.
_DIGITS = 3


def learners(connection: sqlite3.Connection, data: str | None) -> list[Artefact]:
    """Models in use that learnt from a data set."""
    return [own for own in tables.artefacts(connection, CURRENT) if own.learnt_from == data]


class Written:
    """New versions, each with the one before, that a transaction is to put in place.

    Files of those that never are in place are destroyed by `ModelRegistry.alone`.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[Artefact, Artefact]] = []
        #: Customers that go with a load that is withdrawn, by data set.
        self.members: dict[str, tuple[str, ...]] = {}


def removed(
    registry: ModelRegistry,
    connection: sqlite3.Connection,
    kept: Kept,
    parts: list[Part],
    changes: list[tuple[Change, KeptData]],
    written: Written,
    measure: bool,
) -> dict[str, Any]:
    """Make new versions of data sets and models, and say what was measured."""
    models, data, not_covered = [], [], []
    for (source, _, _), (change, now) in zip(parts, changes, strict=True):
        new = _next(registry, connection, kept, source, partial(save_data, now), now.said())
        written.pairs.append((new, source))
        data.append(
            {
                "name": source.name,
                "version_before": source.version,
                "version_after": new.version,
                "sha256_before": source.sha256,
                "sha256_after": new.sha256,
                # An open hash would let whoever holds the rest try what was removed by the next request.
                "fingerprint_after": registry.vault.tag(new.blob, now.dataset.fingerprint),
            }
        )
        not_covered += _not_covered(change)
        written.members[source.name] = change.customers if change.subject == LOADS else ()
        for found in tqdm(learners(connection, source.name), desc=f"forget {kept.id}", leave=False, delay=2):
            learner, model = found.learner, registry.read_model(found)
            if learner.route(model, change) is None:
                outcome = Outcome(learner.carried(model, change), NOTHING, True)
            else:
                outcome = learner.forget(model, change)
            measured = (
                learner.measure(model, outcome, change, now.pricing())
                if measure and outcome.route is not NOTHING
                else Measured()
            )
            trained = sum(outcome.seconds.values()) if outcome.route.trains else found.note["fit_seconds"]
            save = partial(learner.save, outcome.model)
            after = _next(registry, connection, kept, found, save, {"fit_seconds": trained})
            written.pairs.append((after, found))
            models.append(_said_of(found, after, outcome, measured))
    ranks = [GUARANTEES.index(own["guarantee"]) for own in models]
    said = {name: own for name, own in kept.said.items() if name not in ("in_words", "data")}
    return {
        "format": 1,
        "request": {"id": kept.id, "asked_utc": kept.asked, **said},
        "registry": {"id": tables.meta(connection, "id"), "name": tables.meta(connection, "name")},
        "models": models,
        "data": data,
        "not_covered": sorted(set(not_covered)),
        "versions": provenance()["versions"],
        "guarantee": GUARANTEES[max(ranks, default=0)],
        "complete": all(own["complete"] for own in models),
    }


def _next(
    registry: ModelRegistry,
    connection: sqlite3.Connection,
    kept: Kept,
    before: Artefact,
    save: Callable[[Path], object],
    note: Mapping[str, Any],
) -> Artefact:
    """Seal the next version of a data set or model, and see that it can be read: the one before will be destroyed.

    Raises:
        DataError: it cannot be read back.
    """
    version = max(own.version for own in tables.artefacts(connection, name=before.name)) + 1
    sealed = registry.vault.put(registry.blob_name(before.name, version), save)
    made = registry.artefact(
        before.name,
        version,
        before.kind,
        before.learnt_from,
        before.settings,
        sealed,
        request=kept.id,
        note={**note, "before": before.version},
    )
    try:
        registry.read(made)
    except UnlearnError as error:
        raise DataError(
            f"{made.name}: expected a version that can be read back, got one that cannot be: {error} Nothing was "
            "changed."
        ) from error
    return made


def _said_of(before: Artefact, after: Artefact, outcome: Outcome, measured: Measured) -> dict[str, Any]:
    """What a certificate says of one model."""
    return {
        "name": after.name,
        "kind": after.kind,
        "version_before": before.version,
        "version_after": after.version,
        "sha256_before": before.sha256,
        "sha256_after": after.sha256,
        "method": outcome.route.method,
        "guarantee": outcome.route.guarantee,
        "why": outcome.route.why,
        "complete": outcome.complete,
        "constants": [
            {"name": own.name, "saw": own.saw, "refitted": own.refitted, "note": own.note} for own in outcome.constants
        ],
        "numbers": rounded({**outcome.numbers, **measured.numbers}),
        "effect": [rounded(own) for own in measured.effect],
        "said": list(measured.said),
        "limitations": list(outcome.limitations),
        "seconds": finite(outcome.seconds),
    }


def _not_covered(change: Change) -> list[str]:
    """What no registry can destroy, in sentences."""
    said = [
        "Files that the data was read from, copies and exports outside of the registry, and backups: destroy them "
        "where they lie.",
        "What a disk keeps of blocks that were overwritten, and what a system swaps out of its memory.",
    ]
    if change.subject == CUSTOMERS and change.case == "objects":
        said.append(
            "The customer objects to the use of the data and stays on the grid: the physical load, which forecasts are "
            "evaluated on, still holds the customer's energy. No model is fitted to it."
        )
    if change.subject == LOADS:
        said.append("Forecasts that were made with the load before, and what was scheduled by them.")
    return said


def commit(
    registry: ModelRegistry,
    connection: sqlite3.Connection,
    kept: Kept,
    request: DeletionRequest,
    evidence: Mapping[str, Any],
    written: Written,
    until: datetime,
) -> None:
    """Put new versions in place, in one transaction; then destroy what requests named that can be applied no longer."""
    deadline, when = until.isoformat(), evidence["request"]["applied_utc"]
    members = written.members.values()
    with registry.committing(connection):
        if not tables.requests(connection, id=kept.id):
            enter(registry, connection, kept)
        for new, old in written.pairs:
            set_state(connection, old, state=RETAINED, retain_until=deadline, replaced_by=kept.id)
            # What is removed now is in all versions before as well, so that requests before can be undone no longer.
            connection.execute(
                "UPDATE request SET retain_until = ? WHERE retain_until > ? AND id IN "
                "(SELECT replaced_by FROM artefact WHERE name = ? AND state = ?)",
                (deadline, deadline, old.name, RETAINED),
            )
            connection.execute(
                "UPDATE artefact SET retain_until = ? WHERE name = ? AND state = ? AND retain_until > ?",
                (deadline, old.name, RETAINED, deadline),
            )
            tables.insert(connection, new)
        connection.execute(
            "UPDATE request SET state = ?, applied = ?, retain_until = ?, spec = NULL, evidence = ? WHERE id = ?",
            (APPLIED, when, deadline, canonical(evidence).decode(), kept.id),
        )
        for source in evidence["data"]:
            hashes = [
                *request.hashes(registry.key),
                *registry.key.names_of("customer", written.members[source["name"]]),
            ]
            connection.executemany(
                "INSERT OR REPLACE INTO removed VALUES (?, ?, ?)", [(own, source["name"], kept.id) for own in hashes]
            )
        registry.record(
            connection,
            "applied",
            {
                "request": kept.id,
                "removed": evidence["request"]["removed"],
                "complete": evidence["complete"],
                "guarantee": evidence["guarantee"],
                "evidence": hashlib.sha256(canonical(evidence)).hexdigest(),
                "versions": [tables.public(new) for new, _ in written.pairs],
                "destroyed_after_utc": deadline,
            },
        )
        names = {*(() if request.hours else (*request.customers, *request.loads)), *itertools.chain(*members)}
        late = overtaken(registry, connection, kept, names)
        for id, _ in late:
            connection.execute("UPDATE request SET state = ?, spec = NULL WHERE id = ?", (OVERTAKEN, id))
            registry.record(connection, "overtaken", {"request": id, "by": kept.id})
    for _, spec in late:
        registry.vault.destroy(spec)


def set_state(connection: sqlite3.Connection, own: Artefact, **values: str | None) -> None:
    """Change some columns of a version, within a transaction."""
    columns = ", ".join(f"{name} = ?" for name in values)
    connection.execute(
        f"UPDATE artefact SET {columns} WHERE name = ? AND version = ?", (*values.values(), own.name, own.version)
    )


def version_of(connection: sqlite3.Connection, name: str, version: int) -> Artefact:
    """One version by its number."""
    return next(own for own in tables.artefacts(connection, name=name) if own.version == version)


def is_due(own: Artefact, now: datetime) -> bool:
    """Whether the retention of a version is over."""
    return own.retain_until is not None and datetime.fromisoformat(own.retain_until) <= now


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as JSON has them: none that is not known."""
    return {name: None if isinstance(own, float) and not math.isfinite(own) else own for name, own in values.items()}


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as evidence keeps them: all digits would let whoever has the rest solve for a single removed reading."""
    digits = {name: _DIGITS if name != "parameter_change" else 1 for name in values}
    return {
        name: float(f"{own:.{digits[name]}g}") if isinstance(own, float) and not own.is_integer() else own
        for name, own in finite(values).items()
    }
