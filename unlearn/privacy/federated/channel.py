"""How a coordinator asks the members of a federation, and a record of everything that was sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from unlearn.checks import require_distinct
from unlearn.errors import UnlearnError
from unlearn.privacy.federated.messages import Payload, pack, unpack
from unlearn.privacy.federated.party import Party

#: Who asks; no member may have this name.
COORDINATOR = "coordinator"


@dataclass(frozen=True)
class Sent:
    """One message.

    Attributes:
        task: what it asks for, or answers to.
        sender, receiver: names.
        n_bytes: its length.
        content: the message itself where traffic is recorded in full, else nothing.
    """

    task: str
    sender: str
    receiver: str
    n_bytes: int
    content: bytes = field(default=b"", repr=False)


@dataclass
class Traffic:
    """Every message that went through a channel, in order; contents only if `full`."""

    full: bool = False
    sent: list[Sent] = field(default_factory=list)

    def add(self, task: str, sender: str, receiver: str, message: bytes) -> None:
        self.sent.append(Sent(task, sender, receiver, len(message), message if self.full else b""))

    def n_bytes(self, party: str | None = None) -> int:
        """Bytes that all sent, or that one party sent or received."""
        return sum(one.n_bytes for one in self.sent if party is None or party in (one.sender, one.receiver))

    def seen_by(self, party: str) -> list[Sent]:
        """Every message that a party received."""
        return [one for one in self.sent if one.receiver == party]


@dataclass(frozen=True)
class Replies:
    """What came back.

    Attributes:
        answers: of each member that answered.
        refusals: why each member that refused did so.
        vanished: members that did not answer in time.
    """

    answers: dict[str, Payload]
    refusals: dict[str, str] = field(default_factory=dict)
    vanished: tuple[str, ...] = ()


class Channel(Protocol):
    """Asks members; each sees its own message alone.

    Attributes:
        members: names of who can be asked, in a fixed order.
        traffic: what was sent so far.
    """

    @property
    def members(self) -> tuple[str, ...]: ...

    @property
    def traffic(self) -> Traffic: ...

    def ask(self, task: str, asked: Mapping[str, Payload]) -> Replies:
        """Send each named member its message and wait for the answers, for a limited time."""
        ...


class LocalChannel:
    """Members within this process, who speak by the same bytes as across processes.

    Args:
        parties: the members.
        lost: says of a task, a member and how often it was asked that before whether the member vanishes instead of
            answering; it has not seen the message then.
        full: whether contents are recorded.

    Raises:
        InputError: two members of one name.
    """

    def __init__(
        self,
        parties: Sequence[Party],
        lost: Callable[[str, str, int], bool] = lambda task, member, before: False,
        full: bool = False,
    ) -> None:
        require_distinct("federation", [COORDINATOR, *(one.name for one in parties)], "member")
        self._parties = {one.name: one for one in parties}
        self._lost, self._asked = lost, dict[tuple[str, str], int]()
        self.traffic = Traffic(full)
        self.seconds = dict.fromkeys(self._parties, 0.0)

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self._parties)

    def ask(self, task: str, asked: Mapping[str, Payload]) -> Replies:
        answers, refusals, vanished = {}, {}, []
        for member, payload in asked.items():
            before = self._asked.get((task, member), 0)
            self._asked[task, member] = before + 1
            message = pack(payload)
            self.traffic.add(task, COORDINATOR, member, message)
            if self._lost(task, member, before):
                vanished.append(member)
                continue
            start = time.perf_counter()
            try:
                answer = pack(self._parties[member].answer(task, unpack(message)))
            except UnlearnError as error:
                refusals[member] = str(error)
                continue
            finally:
                self.seconds[member] += time.perf_counter() - start
            self.traffic.add(task, member, COORDINATOR, answer)
            answers[member] = unpack(answer)
        return Replies(answers, refusals, tuple(vanished))
