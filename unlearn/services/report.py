"""What is in a registry, as values, lines and a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import unlearn.services.tables as tables
from unlearn.services.ledger.chain import rows
from unlearn.services.registry import ModelRegistry
from unlearn.services.tables import APPLIED, CURRENT, DATA, DESTROYED, PLANNED, RETAINED
from unlearn.store.files import write

_PAGE = Path(__file__).with_name("report.html")


def overview(registry: ModelRegistry) -> dict[str, Any]:
    """Data sets, models, requests and the ledger of a registry, as JSON has them."""
    with registry.alone() as connection:
        versions = tables.artefacts(connection)
        requests = tables.requests(connection)
        n_rows = len(rows(connection))
        name, days = tables.meta(connection, "name"), float(tables.meta(connection, "retention_days"))
    in_use, now = [own for own in versions if own.state == CURRENT], registry.now().isoformat()
    return {
        "name": name,
        "folder": str(registry.folder),
        "at_utc": registry.now().isoformat(),
        "retention_days": days,
        "ledger_rows": n_rows,
        "data": [
            {"name": own.name, "version": own.version, **own.note, "megabytes": own.n_bytes / 1e6}
            for own in in_use
            if own.kind == DATA
        ],
        "models": [
            {
                "name": own.name,
                "kind": own.kind,
                "version": own.version,
                "learnt_from": own.learnt_from,
                "megabytes": own.n_bytes / 1e6,
                "since_utc": own.created,
                "request": own.request,
            }
            for own in in_use
            if own.kind != DATA
        ],
        "requests": [
            {
                "id": own.id,
                "state": own.state,
                "what": own.said["in_words"],
                "asked_utc": own.asked,
                "applied_utc": own.applied,
                "complete": own.evidence["complete"] if own.evidence and own.state == APPLIED else None,
                "guarantee": own.evidence["guarantee"] if own.evidence and own.state == APPLIED else None,
                "undone_until_utc": own.retain_until if own.state == APPLIED and str(own.retain_until) > now else None,
            }
            for own in requests
        ],
        "retained": [
            {"name": own.name, "version": own.version, "until_utc": own.retain_until}
            for own in versions
            if own.state == RETAINED
        ],
        "n_destroyed": sum(own.state == DESTROYED for own in versions),
    }


def answer(values: Mapping[str, Any]) -> str:
    """The overview in one sentence."""
    done = [own for own in values["requests"] if own["complete"] is not None]
    left = [own["id"] for own in done if not own["complete"]]
    waiting = sum(own["state"] == PLANNED for own in values["requests"])
    head = f"{len(done)} request{'s' * (len(done) != 1)} applied, {waiting} waiting"
    if left:
        return f"{head}; NOT complete: {', '.join(left)}."
    if not done:
        return f"{head}."
    kept = len(values["retained"])
    rest = f"{kept} older versions are kept until their retention ends" if kept else "no older version is kept"
    return f"{head}; all of them complete; {rest}."


def overview_lines(values: Mapping[str, Any]) -> list[str]:
    """The overview for a terminal."""
    lines = [f"{values['name']} ({values['folder']}): {answer(values)}"]
    for title, names in _TABLES.items():
        if table := values[title]:
            lines += ["", *_aligned([list(names.values()), *(_cells(own, names) for own in table)])]
    return [*lines, "", f"{values['ledger_rows']} rows in the ledger; unlearn verify checks them."]


#: Tables, with the heading of each column.
_TABLES: dict[str, dict[str, str]] = {
    "data": {"name": "data", "version": "version", "n_customers": "customers", "n_loads": "loads", "n_hours": "hours",
             "grid": "grid", "megabytes": "MB"},
    "models": {"name": "model", "kind": "kind", "version": "version", "learnt_from": "learnt from",
               "since_utc": "in use since (UTC)", "request": "after request"},
    "requests": {"id": "request", "state": "state", "what": "what", "applied_utc": "applied (UTC)",
                 "complete": "complete", "guarantee": "guarantee", "undone_until_utc": "can be taken back until (UTC)"},
    "retained": {"name": "of", "version": "version", "until_utc": "until (UTC)"},
}  # fmt: skip


def _cells(own: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return [_cell(own.get(name), name) for name in names]


def _cell(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3g}"
    if name.endswith("_utc") and value is not None:
        return str(value)[:16].replace("T", " ")
    return "-" if value is None else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def write_overview(values: Mapping[str, Any], path: str | Path) -> Path:
    """Write the overview as one HTML page that needs nothing else."""
    parts = []
    for title, names in _TABLES.items():
        if values[title]:
            parts.append(_table(title, names.values(), (_cells(own, names) for own in values[title])))
    page = Template(_PAGE.read_text(encoding="utf-8")).substitute(
        name=escape(str(values["name"])),
        answer=escape(answer(values)),
        tables="\n".join(parts),
        ledger=values["ledger_rows"],
        at=escape(str(values["at_utc"])),
    )
    write(path, page.encode())
    return Path(path)


def _table(title: str, names: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<div class='wide'><table><caption>{escape(_CAPTIONS[title])}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


_CAPTIONS = {
    "data": "Data that models learn from",
    "models": "Models in use",
    "requests": "Requests",
    "retained": "Versions before a deletion, encrypted, until their keys are destroyed",
}
