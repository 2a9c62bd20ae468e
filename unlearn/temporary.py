"""Names of files and folders while they are written: they say which process writes them, and so when it has died.

What a process that ended leaves is swept when another one first writes there, or by `sweep`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import shutil
import stat
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
    return f".{path.name[:32]}.unlearn-{_host()}-{os.getpid()}-{_started(os.getpid()) or 0}-"


def sweep(folder: str | Path) -> list[Path]:
    """Remove temporary files and folders, in a folder and below, of processes of this machine that are gone.

    Those of living processes and of other machines stay. Links are neither followed nor removed.

    Returns:
        What was removed.
    """
    found = []
    for above, folders, files in os.walk(folder):
        stale = [name for name in (*folders, *files) if _is_stale(name)]
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
            if _is_stale(name):
                _removed(folder / name)


def _is_stale(name: str) -> bool:
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


def _started(pid: int) -> int:
    """When a process began, in ticks of its machine; 0 where the system does not tell."""
    try:
        # The name in parentheses may hold blanks; 20 fields behind it.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
