"""`FlowerChannel`: members in processes of their own, asked through Flower's SuperLink."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearn.errors import ProtocolError, UnlearnError, said
from unlearn.privacy.federated.channel import COORDINATOR, Replies, Traffic
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, pack, require_arrays, unpack
from unlearn.privacy.federated.party import ABORT

if TYPE_CHECKING:
    from flwr.app import Message, RecordDict
    from flwr.serverapp import Grid

#: First question to a node; it answers with its name and the version that it runs.
HELLO = "hello"
#: It changes when an older library could not take part.
PROTOCOL = "1"
#: Key of the one record in a message, and of its parts.
RECORD, BODY, TASK, REFUSAL = "unlearn", "body", "task", "refusal"

#: Seconds between two looks for replies. Flower's own `send_and_receive` looks every three seconds.
_POLL_S = 0.2
logger = logging.getLogger(__name__)


class FlowerChannel:
    """Asks members over Flower's `Grid`; see `Channel`.

    Messages are the bytes of `pack`, never pickles. A member that has not answered in time has vanished; what it sends
    later is dropped. Only messages are counted as traffic, without what Flower and TLS add.

    Args:
        grid: Flower's, as a server app gets it.
        nodes: node of each member, by name.
        timeout_s: how long to wait for the answers to one question.
    """

    def __init__(self, grid: Grid, nodes: Mapping[str, int], timeout_s: float = 60.0) -> None:
        self._grid, self._nodes, self.timeout_s = grid, dict(nodes), timeout_s
        self.traffic = Traffic()

    @classmethod
    def meet(cls, grid: Grid, least: int, timeout_s: float = 60.0, patience_s: float = 60.0) -> FlowerChannel:
        """Wait until nodes are there, and ask them for their names.

        Args:
            grid: Flower's.
            least: how many members there have to be.
            timeout_s: how long to wait for the answers to one question.
            patience_s: how long to wait for nodes.

        Raises:
            ProtocolError: fewer members came, two have one name, or one runs another version. All are told.
        """
        channel = cls(grid, {}, timeout_s)
        end = time.monotonic() + patience_s
        while len(channel.admit()) < least:
            if time.monotonic() >= end:
                raise channel._refuse(
                    f"federation: expected at least {least} members within {patience_s:g} s, got "
                    f"{len(channel.members)}. Look into the logs of those that are missing, or wait longer."
                )
            time.sleep(_POLL_S)
        # Flower draws the numbers of nodes at random: the order of members does not depend on them.
        channel._nodes = dict(sorted(channel._nodes.items()))
        return channel

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self._nodes)

    def node(self, name: str) -> int:
        """Flower's number of a member's node."""
        return self._nodes[name]

    def admit(self) -> tuple[str, ...]:
        """Ask nodes that have come since for their names; they are members from now on.

        Returns:
            All members.

        Raises:
            ProtocolError: see `meet`.
        """
        with _lost_link():
            there = sorted(set(self._grid.get_node_ids()) - set(self._nodes.values()))
        if not there:
            return self.members
        hello = {HELLO: as_bytes(PROTOCOL)}
        bodies, refusals = self._exchange(HELLO, {node: pack(hello) for node in there})
        for node, reason in refusals.items():
            logger.warning("node %d refused to say its name: %s", node, reason)
        for node, body in sorted(bodies.items()):
            answer = require_arrays(
                "hello", unpack(body), {"name": (np.uint8, (None,)), "version": (np.uint8, (None,))}
            )
            name, version = as_text(answer["name"]), as_text(answer["version"])
            if name in self._nodes or name == COORDINATOR:
                self._nodes[f"{name} (second node)"] = node
                raise self._refuse(
                    f"federation: expected one node per member, got two named {name}. Stop one of them, or give it "
                    "another name and key."
                )
            self._nodes[name] = node
            if version != PROTOCOL:
                raise self._refuse(
                    f"federation: expected version {PROTOCOL} of messages at every member, got {version[:40]!r} at "
                    f"{name}. "
                    "Install the same version everywhere."
                )
        return self.members

    def ask(self, task: str, asked: Mapping[str, Payload]) -> Replies:
        unknown = [name for name in asked if name not in self._nodes]
        if unknown:
            raise ProtocolError(f"{task}: expected members among {', '.join(self._nodes)}, got {', '.join(unknown)}.")
        messages = {self._nodes[name]: pack(payload) for name, payload in asked.items()}
        names = {node: name for name, node in self._nodes.items()}
        for node, message in messages.items():
            self.traffic.add(task, COORDINATOR, names[node], message)
        bodies, refused = self._exchange(task, messages)
        answers, refusals = {}, {names[node]: reason for node, reason in refused.items()}
        for node, body in bodies.items():
            self.traffic.add(task, names[node], COORDINATOR, body)
            try:
                answers[names[node]] = unpack(body)
            except ProtocolError as error:
                refusals[names[node]] = str(error)
        came = {*answers, *refusals}
        ordered = {name: answers[name] for name in asked if name in answers}  # as asked, not as they came
        return Replies(ordered, refusals, tuple(name for name in asked if name not in came))

    def _exchange(self, task: str, bodies: Mapping[int, bytes]) -> tuple[dict[int, bytes], dict[int, str]]:
        """Answers and refusals by node; nodes that did not answer in time are in neither."""
        from flwr.app import Message, MessageType

        with _lost_link():
            waiting = {}
            for node, body in bodies.items():
                message = Message(as_record(body, {TASK: task}), node, MessageType.QUERY, ttl=self.timeout_s)
                # One at a time: Flower warns of requests that are too large with all of them at once.
                (number,) = self._grid.push_messages([message])
                waiting[number] = node
            answers: dict[int, bytes] = {}
            refusals: dict[int, str] = {}
            end = time.monotonic() + self.timeout_s
            while waiting and time.monotonic() < end:
                for reply in self._grid.pull_messages(list(waiting)):
                    node = waiting.pop(reply.metadata.reply_to_message_id)
                    _sort(reply, node, answers, refusals)
                if waiting:
                    time.sleep(_POLL_S)
        return answers, refusals

    def _refuse(self, reason: str) -> ProtocolError:
        """Tell every node that has answered so far why there is no federation."""
        self._exchange(ABORT, dict.fromkeys(self._nodes.values(), pack({"reason": as_bytes(reason)})))
        return ProtocolError(reason)


def as_record(body: bytes, texts: Mapping[str, str]) -> RecordDict:
    """A message's content: bytes in an array, which Flower sends in chunks, and a few short texts."""
    from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

    array = Array(dtype="uint8", shape=(len(body),), stype="bytes", data=body)
    return RecordDict({RECORD: ConfigRecord(dict(texts)), BODY: ArrayRecord({BODY: array})})


def of_record(content: RecordDict) -> tuple[bytes, dict[str, Any]]:
    """What `as_record` wrote."""
    try:
        return bytes(content.array_records[BODY][BODY].data), dict(content.config_records[RECORD])
    except KeyError as error:
        raise ProtocolError(
            "message: expected the records of this library, got others. Run the same version."
        ) from error


def _sort(reply: Message, node: int, answers: dict[int, bytes], refusals: dict[int, str]) -> None:
    from flwr.common.constant import ErrorCode

    if reply.has_error():
        # Flower's reason may quote an exception of the member, so it is not passed on.
        gone = (ErrorCode.NODE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)
        if reply.error.code not in gone:
            refusals[node] = f"failed before its app could answer (Flower's code {reply.error.code}); see its own log"
        return
    try:
        body, texts = of_record(reply.content)
    except ProtocolError as error:
        refusals[node] = str(error)
        return
    if REFUSAL in texts:
        refusals[node] = str(texts[REFUSAL])
    else:
        answers[node] = body


@contextmanager
def _lost_link() -> Iterator[None]:
    """The coordinator's own link to the SuperLink broke."""
    try:
        yield
    except UnlearnError:
        raise
    except Exception as error:
        raise ProtocolError(
            f"coordinator: expected an answer of the SuperLink, got none ({said(error)}). See whether it still runs."
        ) from error
