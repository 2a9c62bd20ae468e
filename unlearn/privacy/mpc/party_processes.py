"""`PartyProcesses`: parties in processes of their own on this machine, each with its own private input alone.

A private input goes to its process through a pipe and is never written to a file. Whoever starts the processes has all
inputs in hand; between organisations, each starts `PartyServer` on its own machine instead.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

from unlearn.checks import require_distinct
from unlearn.errors import InputError, ProtocolError, UnlearnError
from unlearn.privacy.federated.channel import COORDINATOR
from unlearn.privacy.federated.messages import Payload, pack, unpack
from unlearn.privacy.federated.party import Party
from unlearn.privacy.mpc.credentials import Credentials, make_credentials
from unlearn.privacy.mpc.sockets import Address, PartyServer, SocketChannel

_MODULE = "unlearn.privacy.mpc.party_processes"
_GRACE_S = 5.0
_TAIL = 600
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartyProcess:
    """What one process runs.

    Attributes:
        name: of the party.
        factory: "module:function"; called with the name and the private input, it gives a `Party`.
        private: the party's own input, which no other process gets.
    """

    name: str
    factory: str
    private: Payload = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        module, colon, function = self.factory.partition(":")
        if not (module and colon and function):
            raise InputError(f"factory: expected module:function, got {self.factory!r}.")


class PartyProcesses:
    """One process per party, from `with` to its end; `channel` asks them.

    Attributes:
        channel: a `SocketChannel` to all, once entered.
        processes: by the party's name.

    Args:
        parties: who is started.
        timeout_s: how long a party may take to start, and to answer one question.
        full: whether contents of messages are recorded.

    Raises:
        InputError: no parties, or two of one name.
    """

    def __init__(self, parties: Sequence[PartyProcess], timeout_s: float = 60.0, full: bool = False) -> None:
        if not parties:
            raise InputError("parties: expected at least one, got none.")
        require_distinct("parties", [COORDINATOR, *(one.name for one in parties)], "party")
        self._parties, self._timeout_s, self._full = tuple(parties), timeout_s, full
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="unlearn-parties-")

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        try:
            made = make_credentials(folder, [COORDINATOR, *(one.name for one in self._parties)])
            for at, party in enumerate(self._parties):
                self._start(party, made[party.name], folder / f"log-{at}")
            addresses = {one.name: self._address(one, folder / f"log-{at}") for at, one in enumerate(self._parties)}
            self.channel = SocketChannel(addresses, made[COORDINATOR], self._timeout_s, full=self._full)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process that this started."""
        if hasattr(self, "channel"):
            self.channel.close()
        for process in self.processes.values():
            if process.stdin is not None:
                try:
                    process.stdin.close()  # a party ends where its pipe does
                except OSError:
                    logger.debug("a party's pipe was closed before")
        for process in self.processes.values():
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._folder.cleanup()

    def _start(self, party: PartyProcess, own: Credentials, log: Path) -> None:
        private = pack(party.private)
        settings = {
            "name": party.name, "factory": party.factory, "timeout_s": self._timeout_s, "n_bytes": len(private),
            "credentials": [str(own.authority), str(own.certificate), str(own.key)],
        }  # fmt: skip
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )  # fmt: skip
        self.processes[party.name] = process
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(settings).encode() + b"\n" + private)
            process.stdin.flush()
        except OSError:
            logger.info("%s: ended before it had its input", party.name)

    def _address(self, party: PartyProcess, log: Path) -> Address:
        process = self.processes[party.name]
        assert process.stdout is not None
        timer = threading.Timer(self._timeout_s, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        try:
            said = json.loads(line)
        except ValueError:
            said = {"error": log.read_text(errors="replace")[-_TAIL:] or "it ended, or took too long"}
        if "error" in said:
            raise ProtocolError(f"{party.name}: expected a party that starts, got: {said['error']}")
        host, port = said["address"]
        return str(host), int(port)


def make_party(factory: str, name: str, private: Payload) -> Party:
    """Call a factory by its name.

    Raises:
        InputError: no such module or function, or it gives another party.
    """
    module, _, function = factory.partition(":")
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"factory: expected module:function, got {factory!r} ({error}).") from error
    party = make(name, private)
    if not isinstance(party, Party) or party.name != name:
        raise InputError(f"factory: expected a Party named {name} of {factory}, got something else.")
    return party


def main() -> None:
    """What each process runs: settings and the private input come through the standard input."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to the log, not to the process that waits for the address
    settings = json.loads(sys.stdin.buffer.readline())
    private = unpack(sys.stdin.buffer.read(settings["n_bytes"]))
    try:
        party = make_party(settings["factory"], settings["name"], private)
        own = Credentials(*(Path(path) for path in settings["credentials"]))
        server = PartyServer(party, own, timeout_s=settings["timeout_s"])
        said: dict[str, object] = {"address": server.address}
    except UnlearnError as error:
        said = {"error": str(error)}
    os.write(answer, json.dumps(said).encode() + b"\n")
    os.close(answer)
    if "error" not in said:
        threading.Thread(target=server.serve, daemon=True).start()
        # Whoever started this holds the other end: when it is gone, however it went, so is the party.
        sys.stdin.buffer.read()
        server.stop()


if __name__ == "__main__":
    main()
