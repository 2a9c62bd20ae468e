"""What must not outlive its process: names of files while they are written, and locks that survive forks and pickles.

Temporary names say which process writes them, and so when it has died. What it leaves is swept when another one first
writes there, or by `sweep`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import shutil
import stat
import threading
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path

logger = logging.getLogger(__name__)

#: Machine, process, when that began, and what makes the name unique.
_TEMPORARY = re.compile(r"\..*\.unlearn-([0-9a-f]{8})-(\d+)-(\d+)-[^.]{8}(?:\.tmp.*)?", re.DOTALL)
_swept: set[str] = set()


def prefix(path: Path) -> str:
    """How temporary names beside a path begin: not its whole name, which may be as long as names can be."""
    if str(path.parent) not in _swept:
        _swept.add(str(path.parent))
        _sweep_once(path.parent)
    return f".{path.name[:32]}.unlearn-{_host()}-{os.getpid()}-{_own_start(os.getpid())}-"


def sweep(folder: str | Path) -> list[Path]:
    """Remove temporary files and folders, in a folder and below, of processes of this machine that are gone.

    Those of living processes and of other machines stay. Links are neither followed nor removed.

    Returns:
        What was removed.
    """
    found = []
    for above, folders, files in os.walk(folder):
        stale = [name for name in (*folders, *files) if is_stale(name)]
        # Nothing below a temporary folder is looked at: its owner removes it, or it goes as a whole.
        folders[:] = [name for name in folders if not _TEMPORARY.fullmatch(name)]
        found += [path for path in (Path(above, name) for name in stale) if _removed(path)]
    if found:
        logger.info("%d temporary files that processes left are removed, such as %s", len(found), found[0])
    return found


def _sweep_once(folder: Path) -> None:
    """Remove what lies in a folder itself, the first time that this process writes there."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if is_stale(name):
                _removed(folder / name)


def is_stale(name: str) -> bool:
    """Whether a name is that of a temporary file whose process is gone."""
    owner = _TEMPORARY.fullmatch(name)
    if owner is None or owner[1] != _host() or os.name != "posix":
        return False
    pid, started = int(owner[2]), int(owner[3])
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it lives, and is somebody else's
        pass
    # Numbers of processes come again: another one has begun at another time.
    now = _started(pid)
    return bool(started and now and now != started)


def _removed(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            shutil.rmtree(path)
        elif stat.S_ISREG(mode):
            path.unlink()
        else:
            return False
    except OSError as error:
        logger.info("%s: a temporary file that cannot be removed (%s)", path, error)
        return False
    return True


@cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


@cache
def _own_start(pid: int) -> int:
    """When this process began; by its number, for a fork is another one."""
    return _started(pid)


def _started(pid: int) -> int:
    """When a process began, in ticks of its machine; 0 where the system does not tell."""
    try:
        # The name in parentheses may hold blanks; 20 fields behind it.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


class Guard:
    """A re-entrant lock; its copies and pickles are locks of their own.

    A process that forks waits until no other thread is inside of any guard, so that the child finds neither a lock
    that nobody releases nor a half-written state.

    >>> guard = Guard()
    >>> with guard:
    ...     pass
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _ALL.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Guard], tuple[()]]:
        return Guard, ()

    def try_enter(self) -> bool:
        """Enter unless another thread is inside; whether this has entered."""
        return self._lock.acquire(blocking=False)


_ALL: weakref.WeakSet[Guard] = weakref.WeakSet()
_HELD: list[Guard] = []


def _hold_all() -> None:
    """Enter every guard. Threads that are inside of one may wait for another, so none is held while waiting."""
    while True:
        held: list[Guard] = []
        for guard in list(_ALL):
            if not guard.try_enter():
                break
            held.append(guard)
        else:
            _HELD.extend(held)
            return
        _leave(held)
        with guard:  # until the thread inside has left
            pass


def _leave(held: list[Guard]) -> None:
    while held:
        held.pop().__exit__(None, None, None)


def _release_all() -> None:
    _leave(_HELD)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_all, after_in_parent=_release_all, after_in_child=_release_all)
