"""Jobs and their folders: what a job depends on, when it is complete, who may enter, and gathering many once each.

A job is complete when `run.json`, which is written last, stands beside its `records.parquet`, and every file that the
card lists is there as it was written.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from experiments.groups import identity
from unlearn.errors import DataError, InputError
from unlearn.grid import load_case
from unlearn.records import FILES, config_hash, provenance, read_json, read_parquet
from unlearn.store import only_for_owner, sources
from unlearn.store.files import digests, require_files

CARD, RECORDS = "run.json", "records.parquet"

#: Folder of what a run keeps for others, and endings of the files that its card lists.
KEPT, _LISTED = "parts", (".parquet", ".npz", ".safetensors", ".json", ".csv")
log = logging.getLogger(__name__)


def dependencies(job: Any, program: str) -> str:
    """Return 12 digits of what a job depends on besides its settings.

    These are the source that its program imports, of the classes that its settings name, the versions, the grid, and
    the files that the settings name.

    Args:
        job: the job.
        program: name of the program's module.
    """
    files = {name: _digest(Path(name)) for name in _texts(identity(job)) if name and Path(name).exists()}
    grid = load_case(job.grid.case).fingerprint if hasattr(job, "grid") else None
    classes = [type(value) for value in vars(job).values() if is_dataclass(value)]
    source = sources(program, *classes)
    return config_hash({"source": source, "versions": provenance()["versions"], "grid": grid, "files": files})


def is_complete(folder: Path, wanted: dict[str, str]) -> bool:
    """Say whether a folder holds a complete job whose card agrees with `wanted`."""
    return is_whole(folder, CARD, wanted) and (folder / RECORDS).is_file()


def is_whole(folder: Path, name: str, wanted: Mapping[str, Any] | None = None) -> bool:
    """Say whether the card of this name is in a folder, agrees with `wanted`, and whether all files it lists are whole.

    Damage is told in the log.
    """
    card = _card(folder, name)
    if card is None or any(card.get(key) != value for key, value in (wanted or {}).items()):
        return False
    try:
        require_files(folder, card.get(FILES), "It is made again.")
    except DataError as error:
        log.warning("%s", error)
        return False
    return True


def written_files(folder: Path) -> dict[str, str]:
    """SHA-256 of the tables, models and cards that a run has written into its folder, for its card."""
    found = (file.relative_to(folder) for suffix in _LISTED for file in folder.rglob(f"*{suffix}"))
    # What is kept for other runs has cards of its own, and Hydra's files are no results.
    own = (name for name in found if name != Path(CARD) and not any(p == KEPT or p[0] == "." for p in name.parts))
    return digests(folder, map(str, own))


def is_closed(folder: Path) -> bool:
    """Whether nobody but its owner may enter a folder."""
    return not folder.stat().st_mode & 0o077


def comparison_folder(folder: Path) -> Path:
    """The folder beside a release that compares it with real data; created, and closed to others."""
    return only_for_owner(folder.with_name(f"{folder.name}-internal"))


def move_log(folder: Path, target: Path) -> None:
    """Let a job's log go on in another folder: it holds wall times and names made of a fingerprint of the data."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == folder.resolve():
            old, new = Path(handler.baseFilename), target.resolve() / Path(handler.baseFilename).name
            handler.close()
            with new.open("a", encoding="utf-8") as stream:
                stream.write(old.read_text(encoding="utf-8") if old.is_file() else "")
            old.unlink(missing_ok=True)
            handler.baseFilename = str(new)  # where it is opened again


def gather(folders: Iterable[str | Path]) -> list[Path]:
    """Find the complete jobs in folders and all folders below them, each job once.

    Jobs of the same experiments and the same configuration are one job that was repeated, for
    example on another machine or after a kill: the newest complete one counts.

    Args:
        folders: folders to search, such as a results folder that several machines share.

    Returns:
        Folders of the jobs, sorted.

    Raises:
        InputError: a folder without a complete job, or a job whose card or files are damaged.
    """
    complete: dict[Path, dict[str, Any]] = {}
    started: set[Path] = set()
    for folder in map(Path, folders):
        jobs = {file.parent.resolve() for file in folder.rglob(CARD)}
        cards = {job: read_json(job / CARD) for job in jobs}
        own = {job: card for job, card in cards.items() if RECORDS in card.get(FILES, ()) or (job / RECORDS).is_file()}
        if not own:
            raise InputError(
                f"records: expected complete jobs ({RECORDS} beside {CARD}) in {folder}, got none. Name the folder of "
                "a run or a sweep, or run one first; figures draw what paper, fidelity, utility and leakage write."
            )
        for job, card in own.items():
            require_files(job, card.get(FILES), f"Run the job of {job} again, or remove that folder.")
        complete |= own
        started |= {mark.parent.resolve() for mark in folder.rglob(".hydra") if not (mark.parent / CARD).is_file()}
    newest: dict[tuple[str, ...], tuple[str, Path]] = {}
    for job, card in complete.items():
        experiments = sorted(read_parquet(job / RECORDS)["experiment"].unique())
        key = (*experiments, card["config_hash"])
        newest[key] = max(newest.get(key, ("", job)), (card["written_utc"], job))
    if len(complete) > len(newest):
        log.info("%d jobs are repeated ones: of each, the newest complete one counts", len(complete) - len(newest))
    if started:
        log.warning("%d jobs are not complete and do not count, such as %s", len(started), min(started))
    return sorted(job for _, job in newest.values())


def _card(folder: Path, name: str) -> dict[str, Any] | None:
    """Read a job's card; None where there is none or a disk that failed has damaged it."""
    if not (folder / name).is_file():
        return None
    try:
        return read_json(folder / name)
    except InputError as error:
        log.warning("%s; the job counts as not complete", error)
        return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _digest(path: Path) -> str:
    """Identify a file by its bytes, a folder by names, sizes and times: it may hold thousands of files."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    stamps = [(str(file.relative_to(path)), file.stat()) for file in sorted(path.rglob("*"))]
    return config_hash({name: [stat.st_size, stat.st_mtime_ns] for name, stat in stamps})
