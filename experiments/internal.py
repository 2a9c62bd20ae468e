"""What is for the owner of the data only: folders that nobody else may enter, beside those that are handed over."""

from __future__ import annotations

import logging
from pathlib import Path

from unlearn.store import only_for_owner


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
