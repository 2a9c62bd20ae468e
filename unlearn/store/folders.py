"""Folders that are kept: written whole or not at all, made once by several processes, closed to others."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from errno import EEXIST, ENOTEMPTY
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from unlearn.errors import DataError, InputError
from unlearn.store.files import in_words, make_parent
from unlearn.temporary import prefix

logger = logging.getLogger(__name__)

T = TypeVar("T")


def kept(
    path: Path, read: Callable[[], T], make: Callable[[], object], *, once: bool = False, remake: bool = True
) -> T:
    """Return what is kept in a cache; where it is missing, or damaged, it is made first.

    Args:
        path: file or folder of the cache, removed if it is damaged.
        read: reads it; a `DataError` says that it is damaged.
        make: makes it.
        once: whether of several processes one makes it while the others wait.
        remake: False where a damaged one must not be made anew, as making it spends privacy.

    Raises:
        DataError: it is damaged, and `remake` is False.
    """
    damaged = False
    if os.path.lexists(path):
        try:
            return read()
        except DataError as error:
            if not remake:
                raise DataError(
                    f"{error} It is not made anew by itself: the same privacy would be spent once more. Remove {path} "
                    "to do so."
                ) from error
            damaged = True
    with alone(path) if once or damaged else nullcontext():
        if once or damaged:  # another process may just have made it
            try:
                return read()
            except DataError as error:
                if os.path.lexists(path):
                    logger.warning("%s It is made anew now.", error)
                    discard(path)
        make()
        return read()


def discard(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; nothing if there is none."""
    with in_words(path):
        if path.is_dir() and not path.is_symlink():
            aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix(path)))
            path.rename(aside / "old")
            shutil.rmtree(aside, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def only_for_owner(folder: Path) -> Path:
    """Create a folder that its owner alone may enter, or close one that is there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


@contextmanager
def temporary_folder(path: Path, *, confidential: bool = False) -> Iterator[Path]:
    """A folder beside `path` for what shall be there; it goes at the end, and is swept if the process is killed."""
    make_parent(path, confidential)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix(path)))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def create_folder(path: str | Path, fill: Callable[[Path], object], *, confidential: bool = False) -> bool:
    """Let `fill` fill a temporary folder beside `path`, then rename it into place unless something is there.

    Of several processes or machines that create the same folder at once, the first to finish wins; the others' work
    is dropped, and no reader sees a mixture.

    Args:
        path: the folder.
        fill: writes into the temporary folder that it is given.
        confidential: whether it holds data of customers: mode 700 rather than 755.

    Returns:
        Whether this call created the folder.

    Raises:
        StoreError: it cannot be written; nothing is left.
    """
    path = Path(path)
    with in_words(path), temporary_folder(path, confidential=confidential) as temporary:
        fill(temporary)
        # mkdtemp makes private folders; results are for everyone who may read the folder above.
        temporary.chmod(0o700 if confidential else 0o755)
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (EEXIST, ENOTEMPTY):
                raise
            return False
    return True


def replace_folder(
    path: str | Path,
    fill: Callable[[Path], object],
    require_free: Callable[[Path], object],
    *,
    confidential: bool = False,
) -> Path:
    """Let `fill` fill a temporary folder beside `path`, then let it take the place of what stood there.

    Args:
        path: the folder.
        fill: writes into the temporary folder it is given.
        require_free: raises if `path` holds what must not be replaced; asked before the work and again before the end.
        confidential: whether it holds data of customers: mode 700 rather than 755.

    Raises:
        InputError: another process wrote to the folder meanwhile, or whatever `require_free` raises. The folder is then
            as it was.
        StoreError: it cannot be written; the folder is as it was.
    """
    path = Path(path).absolute()
    require_free(path)
    aside: list[Path] = []

    def fill_and_clear(temporary: Path) -> None:
        fill(temporary)
        require_free(path)
        if path.exists():
            aside.append(Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix(path))))
            path.rename(aside[0] / path.name)

    try:
        created = create_folder(path, fill_and_clear, confidential=confidential)
    except BaseException:
        if aside and not path.exists():
            (aside[0] / path.name).rename(path)
        raise
    finally:
        for old in aside:
            shutil.rmtree(old, ignore_errors=True)
    if not created:
        raise InputError(f"{path}: another process has just written to this folder. Choose another.")
    return path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes from fetching the same file (on `.NAME.lock` beside it, which stays); one that dies lets go.

    Raises:
        StoreError: the lock cannot be written.
    """
    with in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.info("%s: another process is fetching it; waiting", path)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
