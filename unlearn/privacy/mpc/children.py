"""Processes of this machine that speak with whoever started them through pipes: a line of JSON, and bytes after it.

What a child gets goes through its pipe and is never written to a file. A child ends when its starter is gone, however
that went; what libraries print goes to a log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_GRACE_S = 10.0
_TAIL = 600


class Children:
    """Child processes by name.

    Attributes:
        folder: for files that children need; removed by `close`.
        processes: by name.

    Args:
        prefix: of the folder's name.
        timeout_s: how long a child may take to answer; after that, and a few seconds of grace, it is killed.
    """

    def __init__(self, prefix: str, timeout_s: float) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix=prefix)
        self.folder, self._timeout_s = Path(self._temporary.name), timeout_s
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, Path] = {}

    def start(self, name: str, module: str, head: Mapping[str, Any], body: bytes) -> None:
        """Run a module in a process of its own, and tell it something."""
        self._logs[name] = self.folder / f"log-{len(self._logs)}"
        with self._logs[name].open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )  # fmt: skip
        self.tell(name, head, body)

    def tell(self, name: str, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Send a child a line and bytes; `hear` finds out if it has ended."""
        pipe = self.processes[name].stdin
        assert pipe is not None
        with suppress(OSError):
            pipe.write(_line(head, body) + body)
            pipe.flush()

    def hear(self, name: str) -> tuple[dict[str, Any], bytes]:
        """What a child says next; an `error` with the end of its log where it has ended without a word."""
        process = self.processes[name]
        assert process.stdout is not None
        timer = threading.Timer(self._timeout_s + _GRACE_S, process.kill)
        timer.start()
        try:
            head = json.loads(process.stdout.readline())
            return head, process.stdout.read(head["n_bytes"])
        except ValueError:
            said = self._logs[name].read_text(errors="replace").strip()[-_TAIL:]
            return {"error": f"its process ended, or took too long, with {said or 'no word'!r}"}, b""
        finally:
            timer.cancel()

    def close(self) -> None:
        """End every process: a child ends where its pipe does."""
        for process in self.processes.values():
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
        for process in self.processes.values():
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self._temporary.cleanup()


class Starter:
    """What a child sees of whoever started it. Make it before anything is printed."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)  # whatever a library prints goes to the log

    def hear(self) -> tuple[dict[str, Any], bytes]:
        """What the starter says next."""
        head = json.loads(sys.stdin.buffer.readline())
        return head, sys.stdin.buffer.read(head["n_bytes"])

    def say(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Answer with a line and bytes."""
        with os.fdopen(os.dup(self._out), "wb") as pipe:
            pipe.write(_line(head, body) + body)

    def await_end(self) -> None:
        """Return when the starter is gone, or wants no more."""
        sys.stdin.buffer.read()

    def end_with_it(self) -> None:
        """End this process, whatever it is at, when the starter is gone."""

        def wait() -> None:
            self.await_end()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


def _line(head: Mapping[str, Any], body: bytes) -> bytes:
    return json.dumps({**head, "n_bytes": len(body)}).encode() + b"\n"
