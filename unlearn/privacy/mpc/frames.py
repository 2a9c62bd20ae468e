"""What goes over a connection between two parties: a short head, and a message of named arrays; both of limited length.

The head says the session, the number, the task, the sender and the receiver, so that a frame that was meant for another
question, party or session is refused by name.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import asdict, dataclass

from unlearn.errors import ProtocolError
from unlearn.privacy.federated.messages import LONGEST

#: Longest head, in bytes.
LONGEST_HEAD = 4096

_LENGTHS = struct.Struct(">4sIQ")
_MARK = b"UMC1"
_PIECE = 2**18


@dataclass(frozen=True)
class Head:
    """What a frame is about.

    Attributes:
        kind: "ask", "answer" or "refuse".
        session: of the coordinator's channel, drawn at random.
        number: of the question within the session.
        task: what is asked.
        sender, receiver: names.
    """

    kind: str
    session: str
    number: int
    task: str
    sender: str
    receiver: str


def send(connection: socket.socket, head: Head, message: bytes, deadline: float) -> int:
    """Send a frame; its length in bytes, without what TLS adds.

    Raises:
        OSError: the other side is gone, or took too long; `TimeoutError` then.
    """
    text = json.dumps(asdict(head)).encode()
    frame = _LENGTHS.pack(_MARK, len(text), len(message)) + text + message
    for start in range(0, len(frame), _PIECE):
        connection.settimeout(_left(deadline))
        connection.sendall(frame[start : start + _PIECE])
    return len(frame)


def receive(
    connection: socket.socket, timeout_s: float, longest: int = LONGEST, wait_s: float | None = None
) -> tuple[Head, bytes, int]:
    """Receive a frame: its head, its message and its length in bytes.

    Args:
        connection: to the other side.
        timeout_s: how long the whole frame may take.
        longest: bytes of a message that are taken.
        wait_s: how long it may be until the frame begins, before that; None waits as long as it is part of the frame.

    Raises:
        OSError: the other side is gone, or took too long.
        ProtocolError: no frame, or too long a one; nothing more is read of it.
    """
    if wait_s is not None:
        connection.settimeout(wait_s)
        first = connection.recv(1)
        if not first:
            raise ConnectionResetError("the connection was closed")
    else:
        first = b""
    deadline = time.monotonic() + timeout_s
    begin = first + _exactly(connection, _LENGTHS.size - len(first), deadline)
    mark, head_length, length = _LENGTHS.unpack(begin)
    if mark != _MARK or head_length > LONGEST_HEAD or length > longest:
        raise ProtocolError(
            f"frame: expected a head of at most {LONGEST_HEAD} bytes and a message of at most {longest}, got something "
            "else. Let every party run the same version, and send long messages in parts."
        )
    text = _exactly(connection, head_length, deadline)
    message = _exactly(connection, length, deadline)
    return _head(text), message, len(begin) + head_length + length


def _head(text: bytes) -> Head:
    try:
        fields = json.loads(text)
        head = Head(**fields)
        texts = (head.kind, head.session, head.task, head.sender, head.receiver)
        if not all(isinstance(one, str) for one in texts) or not isinstance(head.number, int):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise ProtocolError("frame: expected a head as `Head`, got another. Let all run the same version.") from None
    return head


def _exactly(connection: socket.socket, n_bytes: int, deadline: float) -> bytes:
    """So many bytes; memory grows with what has come, never with what was announced."""
    parts = bytearray()
    while len(parts) < n_bytes:
        connection.settimeout(_left(deadline))
        part = connection.recv(min(_PIECE, n_bytes - len(parts)))
        if not part:
            raise ConnectionResetError("the connection was closed")
        parts += part
    return bytes(parts)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left
