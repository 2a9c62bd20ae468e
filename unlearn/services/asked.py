"""What a request means in a registry: the data sets that hold what it names, and its own record."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import unlearn.services.tables as tables
from unlearn.data.hours import hour_ranges
from unlearn.data.text_tables import listed
from unlearn.errors import DataError, InputError
from unlearn.services.data import KeptData
from unlearn.services.deletion import DeletionRequest, holds
from unlearn.services.ledger.canonical import canonical
from unlearn.services.registry import ModelRegistry
from unlearn.services.tables import APPLIED, CURRENT, DATA, OVERTAKEN, PLANNED, RESTORED, Artefact, Kept

#: A data set in use, what is kept of it, and what of the request concerns it.
Part = tuple[Artefact, KeptData, DeletionRequest]


def known(connection: sqlite3.Connection, request: str) -> Kept:
    """The request of an id.

    Raises:
        InputError: there is none.
    """
    found = tables.requests(connection, id=request)
    if not found:
        raise InputError(
            f"request: expected the id of a request such as R-000001, got {request!r}, which the registry does not "
            "have. See unlearn report."
        )
    return found[0]


def meant(
    registry: ModelRegistry, connection: sqlite3.Connection, request: DeletionRequest | str
) -> tuple[Kept | None, DeletionRequest | None]:
    """The request as it is kept, if it is, and what it names: None once it was applied, for nobody knows it then."""
    if isinstance(request, str):
        kept = known(connection, request)
        if kept.state == RESTORED:
            raise InputError(f"{kept.id}: it was undone. Make a new request, as unlearn plan does.")
        if kept.state == OVERTAKEN:
            raise InputError(
                f"{kept.id}: a later request forgot some of what it names, and the names are kept no longer. Make a "
                "new request for the rest."
            )
        if kept.state == APPLIED:
            return kept, None
        return kept, DeletionRequest.from_dict(json.loads(registry.vault.read_bytes(str(kept.spec))))
    found = tables.requests(connection, digest=_digest(registry, request))
    live = next((own for own in reversed(found) if own.state not in (RESTORED, OVERTAKEN)), None)
    if live is None or live.state != APPLIED:
        return live, request
    if request.data is not None:
        return live, None
    # Data that were registered since may hold what was forgotten elsewhere.
    since = [own for own in _sets(registry, connection, request) if holds(request, registry.read_data(own).dataset)]
    return (None, request) if since else (live, None)


def _sets(registry: ModelRegistry, connection: sqlite3.Connection, request: DeletionRequest) -> list[Artefact]:
    """Data sets that a request is about: the one that it names, or all but those that it was applied to before."""
    if request.data is not None:
        own = tables.current(connection, request.data)
        if own.kind != DATA:
            raise InputError(f"data: expected the name of a data set, got {request.data!r}, which is a {own.kind}.")
        return [own]
    same = tables.requests(connection, state=APPLIED, digest=_digest(registry, request))
    done = {name for own in same for name in own.said["data"]}
    return [own for own in tables.artefacts(connection, CURRENT) if own.kind == DATA and own.name not in done]


def _digest(registry: ModelRegistry, request: DeletionRequest) -> str:
    return registry.key.name_of("request", canonical(request.to_dict()).decode())


def again(kept: Kept) -> str:
    """What is said of a request that was applied before."""
    return f"{kept.id}: this was asked for before and applied on {kept.applied}; nothing of it is left to forget."


def parts_of(registry: ModelRegistry, connection: sqlite3.Connection, request: DeletionRequest) -> list[Part]:
    """Data sets that hold what is named, each with its part of the request.

    Raises:
        InputError: something that is named is in none of them.
    """
    found: list[Part] = []
    names = request.customers or request.loads
    missing = set(names)
    for source in _sets(registry, connection, request):
        kept = registry.read_data(source)
        known = getattr(kept.dataset, "customer_ids", ()) if request.customers else kept.dataset.load_names
        own = tuple(sorted(set(names) & set(known)))
        missing -= set(own)
        if not holds(request, kept.dataset):
            continue
        part = replace(request, data=source.name)
        if names:
            part = replace(part, customers=own) if request.customers else replace(part, loads=own)
        found.append((source, kept, part))
    if missing:
        _refuse_missing(registry, connection, request, sorted(missing))
    if not found:
        raise InputError(f"hours: expected hours of the data, got none of them: {request.in_words()}.")
    return found


def _refuse_missing(
    registry: ModelRegistry, connection: sqlite3.Connection, request: DeletionRequest, missing: list[str]
) -> None:
    """Say of names that are in no data set whether they were forgotten, or never there."""
    what = "customer" if request.customers else "load"
    hashes = {registry.key.name_of(what, own): own for own in missing}
    before = tables.removed_by(connection, list(hashes))
    unknown = [own for hashed, own in hashes.items() if hashed not in before]
    if unknown:
        raise InputError(
            f"{what}s: expected names that are in the data, got {len(unknown)} that it does not have: "
            f"{listed(unknown)}. Names must be alike to the letter. Nothing was changed."
        )
    gone = [f"{own} (by {before[hashed]})" for hashed, own in hashes.items()]
    rest = len(request.customers or request.loads) - len(missing)
    hint = f" Ask for the other {rest} alone." if rest else ""
    raise InputError(f"{what}s: {listed(gone)} {'was' if len(gone) == 1 else 'were'} forgotten before.{hint}")


def drafted(
    registry: ModelRegistry, connection: sqlite3.Connection, request: DeletionRequest, parts: list[Part]
) -> Kept:
    """A request as it would be kept, with what may be said of it in the open; nothing is written."""
    number = connection.execute("SELECT COUNT(*) FROM request").fetchone()[0] + 1
    n_customers = len(request.customers)
    timestamps = parts[0][1].dataset.timestamps
    rows = request.rows(timestamps)
    said = {
        "subject": request.subject,
        "in_words": request.in_words(),
        "removed": request.hashes(registry.key),
        "n_customers": n_customers,
        "n_hours": len(rows) if request.hours else None,
        "hours": hour_ranges(timestamps, rows) if request.hours else None,
        "ranges": request.ranges,
        "loads": list(request.loads) or None,
        "case": request.case if n_customers else None,
        "replacement": request.replacement,
        "data": [source.name for source, _, _ in parts],
    }
    asked = registry.now().isoformat()
    return Kept(f"R-{number:06d}", _digest(registry, request), PLANNED, asked, None, None, None, said, None)


def enter(registry: ModelRegistry, connection: sqlite3.Connection, kept: Kept) -> None:
    """Write a request down, within a transaction."""
    connection.execute(
        "INSERT INTO request(id, digest, state, asked, spec, said) VALUES (?, ?, ?, ?, ?, ?)",
        (kept.id, kept.digest, kept.state, kept.asked, kept.spec, canonical(kept.said).decode()),
    )
    registry.record(connection, "requested", {"request": kept.id, **kept.said})


def submit(
    registry: ModelRegistry, connection: sqlite3.Connection, request: DeletionRequest, parts: list[Part]
) -> Kept:
    """Keep a request until it is applied: what it names encrypted, in the open what may be said."""
    draft = drafted(registry, connection, request, parts)
    sealed = registry.vault.put_bytes(registry.blob_name("request", int(draft.id[2:])), canonical(request.to_dict()))
    kept = replace(draft, spec=sealed.name)
    with registry.committing(connection):
        enter(registry, connection, kept)
    return kept


def overtaken(
    registry: ModelRegistry, connection: sqlite3.Connection, kept: Kept, names: set[str]
) -> list[tuple[str, str]]:
    """Planned requests that can be applied no more, for what they name is gone, within the transaction that removes it.

    Args:
        registry: of the requests.
        connection: its database, with the new versions in place.
        kept: the request that removes.
        names: of customers and loads that it removes.

    Returns:
        For each, its id and the name in the vault of what it names, which is to be destroyed.
    """
    found = []
    for own in tables.requests(connection, PLANNED):
        if own.id == kept.id or own.spec is None:
            continue
        try:
            asked = DeletionRequest.from_dict(json.loads(registry.vault.read_bytes(own.spec)))
        except DataError:  # damaged: it can be applied no more, and whom it names nobody knows
            found.append((own.id, own.spec))
            continue
        if names & {*asked.customers, *asked.loads}:
            try:
                parts_of(registry, connection, asked)
            except InputError:
                found.append((own.id, own.spec))
    return found
