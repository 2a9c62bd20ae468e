"""`PartyProcesses`: parties in processes of their own on this machine, each with its own private input alone.

A private input goes to its process through a pipe and is never written to a file. Whoever starts the processes has all
inputs in hand; between organisations, each starts `PartyServer` on its own machine instead.
"""

from __future__ import annotations

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
from unlearn.privacy.mpc.children import Children, Starter
from unlearn.privacy.mpc.credentials import Credentials, make_credentials
from unlearn.privacy.mpc.sockets import Address, PartyServer, SocketChannel

_MODULE = "unlearn.privacy.mpc.party_processes"


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
        self._children = Children("unlearn-parties-", timeout_s)
        self.processes = self._children.processes

    def __enter__(self) -> Self:
        folder = self._children.folder
        try:
            made = make_credentials(folder, [COORDINATOR, *(one.name for one in self._parties)])
            for party in self._parties:
                own = made[party.name]
                settings = {
                    "name": party.name, "factory": party.factory, "timeout_s": self._timeout_s,
                    "credentials": [str(own.authority), str(own.certificate), str(own.key)],
                }  # fmt: skip
                self._children.start(party.name, _MODULE, settings, pack(party.private))
            addresses = {one.name: self._address(one) for one in self._parties}
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
        self._children.close()

    def _address(self, party: PartyProcess) -> Address:
        said, _ = self._children.hear(party.name)
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
    """What each process runs: settings and the private input come from whoever started it."""
    starter = Starter()
    settings, private = starter.hear()
    try:
        party = make_party(settings["factory"], settings["name"], unpack(private))
        own = Credentials(*(Path(path) for path in settings["credentials"]))
        server = PartyServer(party, own, timeout_s=settings["timeout_s"])
    except UnlearnError as error:
        starter.say({"error": str(error)})
        return
    starter.say({"address": server.address})
    threading.Thread(target=server.serve, daemon=True).start()
    starter.await_end()
    server.stop()


if __name__ == "__main__":
    main()
