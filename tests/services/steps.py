"""Steps on a registry for processes of their own, which may be told to die at some moment."""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from tests.services.small import NAME, START, Clock, opened
from unlearn.errors import UnlearnError
from unlearn.services import DeletionRequest, ModelRegistry, forget, restore

WHO = DeletionRequest(customers=(NAME.format(4), NAME.format(7)))
NOW, LATER = Clock(), Clock(START + timedelta(days=30))

#: What is done, and by which clock.
STEPS: dict[str, tuple[Callable[[ModelRegistry], object], Clock]] = {
    "forget": (lambda registry: forget(registry, WHO, measure=False), NOW),
    "planned": (lambda registry: forget(registry, "R-000001", measure=False), NOW),
    "at once": (lambda registry: forget(registry, WHO, measure=False, retain_days=0), NOW),
    "restore": (lambda registry: restore(registry, "R-000001"), NOW),
    "expire": (lambda registry: registry.now(), LATER),
}
_EVENTS = ("open", "os.remove", "os.rename", "os.mkdir", "os.rmdir")
_WRITING = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE", "ROLLBACK")


def processes() -> BaseContext:
    """Processes that come from one which has read the library already and done nothing with it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.services.steps", "unlearn.services.learners.forecasting", "unlearn.services.requests"]
    )
    return context


class Moments:
    """Counts all that a process does to files and the database, and kills it at one of these moments."""

    def __init__(self, folder: Path, last: int | None) -> None:
        self.seen, self._last, self._places = 0, last, (str(folder), "/dev/shm/.plain")

    def passed(self) -> None:
        self.seen += 1
        if self.seen == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """From now on, for the rest of this process."""
        sync, connect, passed = os.fsync, sqlite3.connect, self.passed

        def synced(descriptor: int) -> None:
            passed()
            sync(descriptor)
            passed()

        class Watched(sqlite3.Connection):
            def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
                if not statement.startswith(_WRITING):
                    return super().execute(statement, *values)
                passed()
                found = super().execute(statement, *values)
                passed()
                return found

        def happened(event: str, values: tuple[Any, ...]) -> None:
            if event in _EVENTS and isinstance(values[0], str | Path) and str(values[0]).startswith(self._places):
                passed()

        os.fsync = synced
        sqlite3.connect = lambda *given, **named: connect(*given, factory=Watched, **named)  # type: ignore[assignment]
        sys.addaudithook(happened)


def step(folder: Path, name: str, line: Connection, last: int | None = None) -> None:
    """One of `STEPS`, in a process that dies at moment `last`; says when it begins, and how many moments there were."""
    moments = Moments(folder, last)
    moments.watch()
    line.send("begins")
    do, clock = STEPS[name]
    do(opened(folder, clock))
    line.send(moments.seen)


def all_of(folder: Path, requests: list[DeletionRequest], line: Connection) -> None:
    """Apply requests one after another; says of each what came of it."""
    registry = opened(folder)
    for request in requests:
        try:
            done = forget(registry, request, measure=False)
            line.send((request, done.id, done.again))
        except UnlearnError as error:
            line.send((request, None, str(error)))


def step_with_little_space(folder: Path, name: str, line: Connection, n_bytes: int) -> None:
    """One of `STEPS`, in a process whose files may not be longer; says what was raised."""
    import resource

    do, clock = STEPS[name]
    registry = opened(folder, clock)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    try:
        do(registry)
    except Exception as error:
        line.send((type(error).__name__, str(error)))
    else:
        line.send((None, ""))
