"""`SocketChannel`: a coordinator asks parties that live in processes of their own, over TCP with TLS on both sides.

A party answers the coordinator alone, and the coordinator takes an answer from a party alone whose certificate has its
name. Whoever listens on the way sees lengths and times of messages, and nothing else. TLS protects messages between two
parties; what a party does with what it received is for the protocol above.
"""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from unlearn.checks import require_distinct, require_positive
from unlearn.errors import InputError, ProtocolError, UnlearnError
from unlearn.privacy.federated.channel import COORDINATOR, Replies, Sent, Traffic
from unlearn.privacy.federated.messages import LONGEST, Payload, as_bytes, as_text, pack, unpack
from unlearn.privacy.federated.party import Party
from unlearn.privacy.mpc.credentials import Credentials, peer_name
from unlearn.privacy.mpc.frames import Head, receive, send

#: Where a party listens: host and port.
Address = tuple[str, int]

#: Parties that are asked at the same time.
_AT_ONCE = 32
_POLL_S = 0.2
logger = logging.getLogger(__name__)


@dataclass
class _Asked:
    """What became of one question to one party."""

    sent: list[Sent] = field(default_factory=list)
    answer: Payload | None = None
    refusal: str = ""


class SocketChannel:
    """The coordinator's end: a `Channel` over one connection to each party.

    Bytes in `traffic` are those of whole frames, without what TLS adds: a handshake, and 22 bytes for each record of at
    most 16 KiB. A party that does not answer in time has vanished: its connection is closed, so that a late answer
    cannot be taken for another one, and the next question to it opens a new one.

    Args:
        addresses: where each party listens, by name.
        credentials: of the coordinator.
        timeout_s: how long a party may take to be reached and to answer one question.
        longest: bytes of an answer that are read.
        full: whether contents are recorded.

    Raises:
        InputError: no parties, two of one name, or one with the coordinator's.
    """

    def __init__(
        self,
        addresses: Mapping[str, Address],
        credentials: Credentials,
        timeout_s: float = 60.0,
        longest: int = LONGEST,
        full: bool = False,
    ) -> None:
        if not addresses:
            raise InputError("addresses: expected at least one party, got none.")
        require_distinct("addresses", [COORDINATOR, *addresses], "party")
        self._addresses = dict(addresses)
        self._timeout_s = require_positive("timeout_s", timeout_s)
        self._longest, self._tls = longest, credentials.context(server=False)
        self._session, self._number = secrets.token_hex(16), 0
        self._connections: dict[str, ssl.SSLSocket] = {}
        self.traffic = Traffic(full)

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self._addresses)

    def ask(self, task: str, asked: Mapping[str, Payload]) -> Replies:
        """Send each named party its message and wait for the answers, at most `timeout_s`.

        Raises:
            InputError: a party that the channel does not have.
        """
        if unknown := sorted(set(asked) - set(self._addresses)):
            raise InputError(f"asked: expected some of {', '.join(self.members)}; got {', '.join(unknown)}.")
        if not asked:
            return Replies({})
        self._number += 1
        with ThreadPoolExecutor(min(len(asked), _AT_ONCE)) as pool:
            done = list(pool.map(lambda name: self._ask_one(name, task, asked[name]), asked))
        found = dict(zip(asked, done, strict=True))
        for one in done:
            self.traffic.sent += one.sent
        answers = {name: one.answer for name, one in found.items() if one.answer is not None}
        refusals = {name: one.refusal for name, one in found.items() if one.refusal}
        return Replies(answers, refusals, tuple(name for name in asked if name not in answers | refusals))

    def _ask_one(self, name: str, task: str, payload: Payload) -> _Asked:
        head = Head("ask", self._session, self._number, task, COORDINATOR, name)
        deadline, one, message = time.monotonic() + self._timeout_s, _Asked(), pack(payload)
        try:
            connection = self._connections.get(name) or self._connect(name, deadline)
            n_bytes = send(connection, head, message, deadline)
            one.sent.append(Sent(task, COORDINATOR, name, n_bytes, message if self.traffic.full else b""))
            answer, content, n_bytes = receive(connection, max(0.0, deadline - time.monotonic()), self._longest)
            one.sent.append(Sent(task, name, COORDINATOR, n_bytes, content if self.traffic.full else b""))
            _require_answer(head, answer)
            reply = unpack(content)
            if answer.kind == "refuse":
                one.refusal = as_text(reply["reason"]) if "reason" in reply else f"{name} gave no reason."
            else:
                one.answer = reply
        except ProtocolError as error:
            one.refusal = str(error)
            self._drop(name)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError, TimeoutError) as error:
            self._vanished(name, task, error)
        except ssl.SSLError as error:
            one.refusal = (
                f"{name}: expected a connection with certificates of one authority, got none "
                f"({error.reason or type(error).__name__}). Make all credentials in one go."
            )
            self._drop(name)
        except OSError as error:
            self._vanished(name, task, error)
        return one

    def _connect(self, name: str, deadline: float) -> ssl.SSLSocket:
        plain = socket.create_connection(self._addresses[name], max(0.01, deadline - time.monotonic()))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            connection = self._tls.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise
        shown = peer_name(connection)
        if shown != name:
            connection.close()
            raise ProtocolError(
                f"{name}: expected the certificate of {name}, got that of {shown or 'nobody'}. Check the address."
            )
        self._connections[name] = connection
        return connection

    def _vanished(self, name: str, task: str, error: OSError) -> None:
        logger.warning("%s: no answer to %s (%s)", name, task, type(error).__name__)
        self._drop(name)

    def _drop(self, name: str) -> None:
        connection = self._connections.pop(name, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close all connections."""
        for name in list(self._connections):
            self._drop(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PartyServer:
    """A party's end: answers the coordinator until it is stopped.

    Args:
        party: who answers.
        credentials: of the party.
        host, port: where it listens; port 0 takes a free one.
        timeout_s: how long a frame may take once it has begun, and a handshake.
        longest: bytes of a question that are read.
    """

    def __init__(
        self,
        party: Party,
        credentials: Credentials,
        host: str = "127.0.0.1",
        port: int = 0,
        timeout_s: float = 60.0,
        longest: int = LONGEST,
    ) -> None:
        self._party, self._tls = party, credentials.context(server=True)
        self._timeout_s, self._longest = require_positive("timeout_s", timeout_s), longest
        self._listener = socket.create_server((host, port))
        self._stopped, self._one_at_a_time = threading.Event(), threading.Lock()

    @property
    def address(self) -> Address:
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def serve(self) -> None:
        """Answer until `stop` is called from another thread."""
        self._listener.settimeout(_POLL_S)
        with self._listener:
            while not self._stopped.is_set():
                try:
                    plain, _ = self._listener.accept()
                except TimeoutError:
                    continue
                except OSError as error:  # one connection went while it came, or there are too many for now
                    logger.warning("%s: could not take a connection (%s)", self._party.name, type(error).__name__)
                    self._stopped.wait(_POLL_S)
                    continue
                # Each in a thread of its own, so that a stranger who says nothing keeps nobody waiting.
                threading.Thread(target=self._converse, args=(plain,), daemon=True).start()

    def stop(self) -> None:
        """End `serve`."""
        self._stopped.set()

    def _converse(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(self._timeout_s)
            with self._tls.wrap_socket(plain, server_side=True) as connection:
                if peer_name(connection) != COORDINATOR:
                    raise ProtocolError(f"{self._party.name}: expected the coordinator's certificate, got another.")
                while not self._stopped.is_set():
                    self._answer(connection)
        except (OSError, ProtocolError) as error:
            logger.info("%s: a connection ended (%s)", self._party.name, type(error).__name__)
        finally:
            plain.close()

    def _answer(self, connection: ssl.SSLSocket) -> None:
        # The coordinator may be silent for as long as it likes; TCP's keep-alive is the system's.
        head, message, _ = receive(connection, self._timeout_s, self._longest, wait_s=_FOREVER_S)
        name = self._party.name
        if (head.kind, head.sender, head.receiver) != ("ask", COORDINATOR, name):
            raise ProtocolError(f"{name}: expected a question of the coordinator to it, got another frame.")
        kind = "answer"
        try:
            with self._one_at_a_time:
                reply = pack(self._party.answer(head.task, unpack(message)))
        except UnlearnError as error:
            kind, reply = "refuse", pack({"reason": as_bytes(str(error))})
        answer = Head(kind, head.session, head.number, head.task, name, COORDINATOR)
        send(connection, answer, reply, time.monotonic() + self._timeout_s)


def _require_answer(asked: Head, answer: Head) -> None:
    expected = (asked.session, asked.number, asked.task, asked.receiver, asked.sender)
    got = (answer.session, answer.number, answer.task, answer.sender, answer.receiver)
    if got != expected or answer.kind not in ("answer", "refuse"):
        raise ProtocolError(
            f"{asked.receiver}: expected its answer to question {asked.number}, {asked.task}; got one of another "
            "session, question, task or party."
        )


_FOREVER_S = 7 * 24 * 3600.0
