"""Look after kept artefacts: `python -m unlearn.store list|verify|prune FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from unlearn.store.artefacts import Artefact, Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; 1 if `verify` finds damage."""
    parser = argparse.ArgumentParser(prog="python -m unlearn.store", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("list", "show every artefact: kind, name, size, age, what it learnt from"),
        ("verify", "check the files of every artefact"),
        ("prune", "remove artefacts, and those that were made from them"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("folder", type=Path, help="searched with all folders below it")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", metavar="FINGERPRINT", help="that learnt from this data set, or artefact (KIND/NAME)")
    which.add_argument("--older", metavar="DAYS", type=float, help="that were made longer ago")
    which.add_argument("--stale", action="store_true", help="whose code or packages have changed since")
    which.add_argument("--all", action="store_true", help="all of them")
    command.add_argument("--dry-run", action="store_true", help="remove nothing, only show")
    asked = parser.parse_args(arguments)
    if not asked.folder.is_dir():
        parser.error(f"{asked.folder}: expected a folder, got none.")
    store = Store(asked.folder)
    if asked.command == "verify":
        damaged = list(store.damaged())
        _tell([error for _, error in damaged])
        _tell([f"{len(damaged)} of {len(store.artefacts())} artefacts are damaged"])
        return 1 if damaged else 0
    if asked.command == "list":
        _tell(_rows(store.artefacts()))
        return 0
    older = None if asked.older is None else timedelta(days=asked.older)
    options = {"data": asked.data, "older": older, "stale": asked.stale, "everything": asked.all}
    # Shown before they go: sizes are those of files that are there.
    _tell(_rows(store.prune(**options, dry_run=True)))
    gone = store.prune(**options, dry_run=asked.dry_run)
    _tell([f"{len(gone)} artefacts {'would be' if asked.dry_run else 'are'} removed"])
    return 0


def _rows(artefacts: Iterable[Artefact]) -> list[str]:
    now = datetime.now(UTC)
    cells: list[tuple[str, ...]] = [("kind", "name", "size", "days", "data")]
    for one in artefacts:
        learnt = "; ".join(f"{role}: {value}" for role, value in one.data.items())
        days = f"{(now - one.written) / timedelta(days=1):.1f}"
        cells.append(
            (*one.key.split("/"), f"{one.size / 1e6:.2f} MB", days, learnt if one.card else "the card is damaged")
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _tell(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
