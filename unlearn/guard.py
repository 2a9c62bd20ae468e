"""A lock that objects which learn or cache hold while they do, and that survives copies, pickles and forks."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
