"""Secrets in files of their own: written once, for their owner alone, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

from unlearn.errors import DataError, InputError, system_reason
from unlearn.store.files import write

#: What to do about a file that is not there, or is another one.
NAME_IT = "Name the right one."


def write_new(path: str | Path, content: bytes, what: str) -> Path:
    """Write a file of mode 600 under a name that is free.

    Args:
        path: of the file.
        content: what it holds.
        what: what it is, such as "a new key".

    Raises:
        InputError: there is a file of that name; a secret is never replaced.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise InputError(f"{path}: expected a name that is free for {what}, got a file. Choose another name.")
    write(path, content, confidential=True)
    return path


def read_secret(path: str | Path, what: str, absent: str = NAME_IT) -> bytes:
    """The content of a file, in error messages that show none of it.

    Args:
        path: of the file.
        what: what is expected in it, such as "the key of a member".
        absent: what to do where there is no such file.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: expected {what}, got no such file. {absent}") from None
    except OSError as error:
        raise DataError(f"{path}: expected {what}, which cannot be read: {system_reason(error)}.") from error


def save_key(path: str | Path, mark: bytes, secret: bytes) -> Path:
    """Write a secret as a line of text behind a mark, which says what it is for; see `write_new`."""
    return write_new(path, mark + secret.hex().encode() + b"\n", "a new key")


def load_key(path: str | Path, mark: bytes, what: str, n_bytes: int) -> bytes:
    """Read what `save_key` wrote.

    Raises:
        DataError: no such file, or another one; what is in it is not shown.
    """
    content = read_secret(path, what).strip()
    try:
        if not content.startswith(mark):
            raise ValueError
        secret = bytes.fromhex(content.removeprefix(mark).decode())
        if len(secret) != n_bytes:
            raise ValueError
    except ValueError:
        raise DataError(f"{path}: expected {what}, got another file. {NAME_IT}") from None
    return secret
