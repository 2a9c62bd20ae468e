"""Files of charges: a line each with its checksum, only ever added, of mode 600."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from unlearn.errors import DataError, InputError, said


def add_line(path: Path, line: dict[str, Any], what: str) -> None:
    """Add a line, which is on the disk when this returns.

    Args:
        path: the file; made if it is not there.
        line: what JSON can hold.
        what: is charged, for messages.

    Raises:
        InputError: it cannot be written; the file is as it was.
    """
    text = json.dumps(line)
    content = f"{_digest(text)} {text}\n".encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if os.write(descriptor, content) < len(content):
                os.ftruncate(descriptor, size)
                raise OSError("the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(
            f"{path}: {what} is charged here before it begins, and this cannot be written ({said(error)}). Make room, "
            "or choose a folder that can be written."
        ) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines; none if there is no file.

    Raises:
        DataError: a line is damaged.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [_read(line) for line in lines]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected a whole line for each charge, got a damaged one ({said(error)}). What was spent cannot "
            "be known without it: bring the file back from a copy."
        ) from error


def _read(line: bytes) -> dict[str, Any]:
    digest, _, text = line.decode().partition(" ")
    if not text.endswith("\n") or digest != _digest(text[:-1]):
        raise ValueError("its checksum differs")
    return dict(json.loads(text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
