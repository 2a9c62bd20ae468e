"""Connections between the parties of a joint computation: mutual TLS, names checked, nothing read that could run.

MPyC as it comes takes a client's word for which party it is, reads arrays with pickle, which runs what a peer sends,
and waits for ever for a party that has vanished. Here a party is who its certificate says, arrays are read as plain
numbers, and a lost connection ends the computation at everybody.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.errors import ProtocolError
from unlearn.privacy.mpc.context import runtime
from unlearn.privacy.mpc.credentials import Credentials, peer_name

#: Places of messages that are no shares; MPyC numbers its own by 64-bit hashes.
HELLO, GOODBYE, ABORT = -(2**63), -(2**63) + 1, -(2**63) + 2
#: Longest message, and the most numbers of one.
LONGEST = 2**30
_RETRY_S = 0.1
#: Bytes of another's reason that are repeated.
_TOLD = 2000


class PlainNumbers:
    """Arrays of whole numbers as bytes, in the place of pickle.

    >>> PlainNumbers.loads(PlainNumbers.dumps(np.array([[1, 2**70]], dtype=object))).tolist()
    [[1, 1180591620717411303424]]
    """

    @staticmethod
    def dumps(values: NDArray) -> bytes:
        flat = [int(one) for one in values.ravel()]
        if any(one < 0 for one in flat):
            raise ProtocolError("shares: expected numbers of a field, which are not negative, got others.")
        width = max(1, -(-max((one.bit_length() for one in flat), default=1) // 8))
        head = struct.pack(f">BI{values.ndim}I", values.ndim, width, *values.shape)
        return head + b"".join(one.to_bytes(width, "big") for one in flat)

    @staticmethod
    def loads(message: bytes) -> NDArray:
        try:
            ndim, width = struct.unpack_from(">BI", message)
            shape = struct.unpack_from(f">{ndim}I", message, 5)
            body = memoryview(message)[5 + 4 * ndim :]
            if not width or len(body) != width * math.prod(shape):
                raise ValueError
            numbers = [int.from_bytes(body[at : at + width], "big") for at in range(0, len(body), width)]
            flat = np.empty(len(numbers), dtype=object)
            flat[:] = numbers
            return flat.reshape(shape)
        except (struct.error, ValueError):
            raise ProtocolError(
                f"shares: expected an array of whole numbers, got {len(message)} bytes that are none. Let every party "
                "run the same version."
            ) from None


class Peers:
    """A party's connections to all others.

    Attributes:
        mpc: MPyC's runtime of this process.
        failed: set to a `ProtocolError` as soon as the computation cannot end well.
        received: every byte that came, by sender, if recorded.

    Args:
        names: of all parties.
        index: of this one.
        threshold: so many together learn nothing.
        own: its certificate and key.
        record: whether to keep what is received.
    """

    def __init__(self, names: tuple[str, ...], index: int, threshold: int, own: Credentials, record: bool) -> None:
        self.mpc = runtime(len(names), index, threshold)
        self._modules().runtime.pickle = PlainNumbers
        self.names, self.index, self._own = names, index, own
        self.failed: asyncio.Future[None] = self.mpc._loop.create_future()
        self.received: dict[str, bytearray] = {name: bytearray() for name in names} if record else {}
        self.refused: list[str] = []
        self._over, self._goodbyes = False, dict[str, Any]()
        self.mpc._loop.set_exception_handler(lambda loop, context: self._step_failed(context))

    @staticmethod
    def _modules() -> Any:
        import mpyc.asyncoro
        import mpyc.runtime

        return mpyc

    async def connect(self, listening: socket.socket, addresses: Mapping[str, tuple[str, int]]) -> None:
        """Take connections of the parties before this one, and make those to the ones after it."""
        mpc, loop, kind = self.mpc, asyncio.get_running_loop(), self._kind()
        for peer in mpc.parties:
            peer.protocol = None
        mpc.parties[self.index].protocol = loop.create_future()
        server = None
        if self.index:
            taken = self._own.context(server=True)
            server = await loop.create_server(lambda: kind(mpc), sock=listening, ssl=taken)
        made = self._own.context(server=False)
        for at in range(self.index + 1, len(self.names)):
            host, port = addresses[self.names[at]]
            while True:
                try:
                    await loop.create_connection(partial(kind, mpc, at), host, port, ssl=made)
                    break
                except ssl.SSLError as error:
                    raise ProtocolError(
                        f"{self.names[at]}: expected a certificate of the common authority at {host}:{port}, got none "
                        f"that holds ({error.reason})."
                    ) from None
                except OSError:
                    await asyncio.sleep(_RETRY_S)
        await mpc.parties[self.index].protocol
        if server is not None:
            server.close()
        for peer in self._others():
            peer.protocol.receive(ABORT).add_done_callback(self._aborted_by(self.names[peer.pid]))

    def awaited(self) -> list[str]:
        """Parties that are not connected, or whose messages are waited for."""
        return [self.names[peer.pid] for peer in self._others() if peer.protocol is None or _waits(peer.protocol)]

    async def exchange(self, place: int, message: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Tell all others something, and hear the same kind of thing from each."""
        body = json.dumps(message, sort_keys=True).encode()
        for peer in self._others():
            peer.protocol.send(place, body)
        answers = {self.names[peer.pid]: peer.protocol.receive(place) for peer in self._others()}
        if place == GOODBYE:
            self._goodbyes = answers
        heard = {}
        for name, answer in answers.items():
            raw = await answer if isinstance(answer, asyncio.Future) else answer
            try:
                heard[name] = dict(json.loads(raw))
            except (ValueError, TypeError, RecursionError):
                raise ProtocolError(f"{name}: expected a greeting, got something else.") from None
        return heard

    def abort(self, reason: str) -> None:
        """Tell all others that, and why, this party takes no further part."""
        for peer in self._others():
            if peer.protocol is not None and not peer.protocol.transport.is_closing():
                peer.protocol.send(ABORT, reason.encode())

    async def leave(self) -> None:
        """Part from all others once each has its result."""
        await self.exchange(GOODBYE, {})
        self._over = True
        self.close()

    def close(self) -> None:
        self._over = True
        for peer in self._others():
            if peer.protocol is not None:
                peer.protocol.close_connection()

    def n_bytes_sent(self) -> dict[str, int]:
        """Bytes of messages to each other party, without what TLS adds."""
        return {self.names[peer.pid]: peer.protocol.nbytes_sent for peer in self._others() if peer.protocol is not None}

    def _others(self) -> list[Any]:
        return [peer for peer in self.mpc.parties if peer.pid != self.index]

    def _fail(self, reason: str) -> None:
        if not self._over and not self.failed.done():
            self.failed.set_exception(ProtocolError(reason))

    def _step_failed(self, context: Mapping[str, Any]) -> None:
        """End the computation where a step of MPyC's has failed, which nobody else would hear of.

        What else the loop reports, such as a stranger's handshake that failed, is no reason to end.
        """
        if "mpc_coro" in str(context.get("message", "")) and (error := context.get("exception")) is not None:
            # Only errors of the protocol are known to hold no values.
            told = str(error) if isinstance(error, ProtocolError) else f"{type(error).__name__}."
            self._fail(f"a step of the computation failed: {told}")

    def _has_parted(self, name: str, protocol: Any) -> bool:
        goodbye = self._goodbyes.get(name, protocol.buffers.get(GOODBYE))
        return isinstance(goodbye, bytes) or (isinstance(goodbye, asyncio.Future) and goodbye.done())

    def _aborted_by(self, name: str) -> Callable[[asyncio.Future[bytes]], None]:
        def tell(message: asyncio.Future[bytes]) -> None:
            if not message.cancelled():
                self._fail(f"{name} takes no further part: {message.result()[:_TOLD].decode(errors='replace')}")

        return tell

    def _kind(self) -> type:
        """MPyC's connection with what it lacks: a check of names, an end when a party is lost, and a record."""
        room = self

        base: Any = self._modules().asyncoro.MessageExchanger

        class Peer(base):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport
                if self.peer_pid is not None:
                    name, wanted = peer_name(transport.get_extra_info("ssl_object")), room.names[self.peer_pid]
                    if name != wanted:
                        room._fail(f"expected a certificate of {wanted!r} at its address, got one of {name!r}.")
                        transport.abort()
                        return
                    super().connection_made(transport)

            def data_received(self, data: bytes) -> None:
                shown = peer_name(self.transport.get_extra_info("ssl_object"))
                if self.peer_pid is None:
                    begun = bytes(self.bytes) + data
                    if len(begun) < 2:
                        self.bytes.extend(data)
                        return
                    claimed = int.from_bytes(begun[:2], "little")
                    fits = claimed < room.index and room.names[claimed] == shown
                    if not fits or room.mpc.parties[claimed].protocol is not None:
                        room.refused.append(f"a certificate of {shown!r} came as party {claimed + 1}")
                        self.transport.abort()
                        return
                if room.received:
                    room.received[shown].extend(data)
                try:
                    super().data_received(data)
                except ProtocolError as error:
                    room._fail(f"{shown}: {error}")
                if len(self.bytes) > LONGEST:
                    room._fail(f"{shown}: expected messages of at most {LONGEST} bytes, got a longer one.")
                    self.transport.abort()

            def connection_lost(self, error: Exception | None) -> None:
                known = self.peer_pid is not None and room.mpc.parties[self.peer_pid].protocol is self
                if known and not room._has_parted(room.names[self.peer_pid], self):
                    room._fail(f"{room.names[self.peer_pid]} vanished.")

        return Peer


def _waits(protocol: Any) -> bool:
    return any(at != ABORT and isinstance(one, asyncio.Future) for at, one in protocol.buffers.items())
