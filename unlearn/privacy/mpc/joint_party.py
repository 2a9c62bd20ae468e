"""What one party of a joint computation runs, in a process of its own; see `compute`.

Between organisations each runs it on its own machine, with an input that never leaves it:
`python -m unlearn.privacy.mpc.joint_party settings.json input.safetensors result.safetensors`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from unlearn.errors import InputError, ProtocolError, UnlearnError
from unlearn.privacy.federated.messages import Payload, as_bytes, pack, unpack
from unlearn.privacy.mpc.children import Starter
from unlearn.privacy.mpc.context import Context, Program, require_finite_input, require_parties, runtime
from unlearn.privacy.mpc.credentials import Credentials
from unlearn.privacy.mpc.peers import HELLO, LONGEST, Peers
from unlearn.store import write

#: How long others may take to take note of an error before this process ends.
_GRACE_S = 0.5
_MOST_AXES = 32
_META, _RECEIVED = "meta", "received: "


@dataclass(frozen=True)
class Settings:
    """What all parties agree on, and who this one is.

    Attributes:
        names: of all parties.
        index: of this one.
        program: "module:function" of a `Program`.
        public: its parameters.
        session: drawn anew for each run, so that no message of another run fits.
        threshold: so many parties together learn nothing of others' inputs; fewer than half.
        timeout_s: how long the whole may take.
        credentials: paths of the authority's certificate, the own one and the own key.
        record: whether to return every byte that was received.
    """

    names: tuple[str, ...]
    index: int
    program: str
    public: Mapping[str, Any]
    session: str
    threshold: int
    timeout_s: float
    credentials: tuple[str, str, str]
    record: bool = False

    def agreed(self) -> str:
        """A digest of what must be the same at all parties."""
        same = {key: value for key, value in asdict(self).items() if key not in ("index", "credentials", "record")}
        return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def load_program(reference: str) -> Program:
    """The function that "module:function" names.

    Raises:
        InputError: there is none.
    """
    module, colon, function = reference.partition(":")
    try:
        if not colon:
            raise ImportError("a colon is missing")
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"program: expected module:function, got {reference!r} ({error}).") from None
    if not callable(found):
        raise InputError(f"program: expected an async function, got {reference!r}, which is none.")
    return cast(Program, found)


async def take_part(
    settings: Settings, own: Payload, listening: socket.socket, addresses: Mapping[str, tuple[str, int]]
) -> Payload:
    """Run a program with the other parties.

    Returns:
        What it gives this party, with a record of bytes and seconds.

    Raises:
        ProtocolError: a party vanished, refused, agreed to something else or is not who it says; or the time is over.
        InputError: the own input cannot be taken; the others learn only that.
    """
    names = require_parties(settings.names)
    peers = Peers(
        names, settings.index, settings.threshold, Credentials(*map(Path, settings.credentials)), settings.record
    )
    running = asyncio.ensure_future(_with_peers(settings, own, peers, listening, addresses))
    ends: set[asyncio.Future[Any]] = {running, peers.failed}
    done, _ = await asyncio.wait(ends, timeout=settings.timeout_s, return_when=asyncio.FIRST_COMPLETED)
    try:
        # What this party refuses itself comes first: others may have refused, and gone, at the same moment.
        if peers.failed in done and not (running.done() and isinstance(running.exception(), InputError)):
            raise peers.failed.exception() or ProtocolError("the computation ended")
        if not done:
            refused = f" Refused: {'; '.join(peers.refused)}." if peers.refused else ""
            left = ", ".join(peers.awaited())
            got = f"still waiting for {left}" if left else "its own part is not done"
            raise ProtocolError(f"expected an end within {settings.timeout_s:g} s, {got}.{refused}")
        return running.result()
    except BaseException as error:
        running.cancel()
        # What others are told never holds values: an input's owner alone learns what is wrong with it.
        peers.abort(str(error) if isinstance(error, ProtocolError) else f"it refused ({type(error).__name__}).")
        await asyncio.sleep(_GRACE_S)
        peers.close()
        raise


async def _with_peers(
    settings: Settings,
    own: Payload,
    peers: Peers,
    listening: socket.socket,
    addresses: Mapping[str, tuple[str, int]],
) -> Payload:
    await peers.connect(listening, addresses)
    start = time.perf_counter()
    name = settings.names[settings.index]
    require_finite_input(name, own)
    program = load_program(settings.program)
    shapes = {key: list(value.shape) for key, value in sorted(own.items())}
    heard = await peers.exchange(HELLO, {"agreed": settings.agreed(), "shapes": shapes})
    announced = {name: {key: tuple(shape) for key, shape in shapes.items()}}
    for other, greeting in heard.items():
        if greeting.get("agreed") != settings.agreed():
            raise ProtocolError(
                f"expected the same run, program, parameters and parties at all, got others at {other}."
            )
        announced[other] = _shapes(other, greeting.get("shapes"))
    context = Context(settings.names, settings.index, peers.mpc, {name: own}, announced)
    result = await program(context, settings.public)
    seconds = time.perf_counter() - start
    await peers.leave()
    meta = {"seconds": seconds, "n_bytes": peers.n_bytes_sent()}
    received = {f"{_RECEIVED}{key}": as_bytes(bytes(value)) for key, value in peers.received.items() if key != name}
    return {**result, _META: as_bytes(json.dumps(meta)), **received}


def _shapes(name: str, told: Any) -> dict[str, tuple[int, ...]]:
    """Shapes that another party says its arrays have; memory is taken for them before anything else comes."""
    fits = isinstance(told, dict) and all(
        isinstance(shape, list) and all(type(one) is int and one >= 0 for one in shape) and len(shape) <= _MOST_AXES
        for shape in told.values()
    )
    if not fits or sum(math.prod(shape) for shape in told.values()) > LONGEST // 8:
        raise ProtocolError(f"{name}: expected shapes of arrays of at most {LONGEST // 8} numbers, got others.")
    return {key: tuple(shape) for key, shape in told.items()}


def run_party(settings: Settings, own: Payload, listening: socket.socket, addresses: Mapping) -> Payload:
    """`take_part` on MPyC's event loop."""
    loop = runtime(len(settings.names), settings.index, settings.threshold)._loop
    asyncio.set_event_loop(loop)
    task = loop.create_task(take_part(settings, own, listening, addresses))
    while not task.done():
        try:
            loop.run_until_complete(task)
        except RuntimeError:  # MPyC stops the loop when one of its steps fails; the task still has to tell the others
            if loop.is_closed():
                raise
    return task.result()


def read_settings(text: str | bytes) -> Settings:
    """Read what `Settings` holds.

    Raises:
        InputError: other fields.
    """
    try:
        fields = json.loads(text)
        fields.update({key: tuple(fields[key]) for key in ("names", "credentials")})
        return Settings(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"settings: expected the fields of Settings as JSON, got others ({error}).") from None


def _listen(address: tuple[str, int]) -> socket.socket:
    # Its options let a party come back at once to the address of its last run.
    return socket.create_server(address)


def _serve() -> None:
    """For `compute`: settings and input come in through a pipe, an address and a result go out."""
    starter = Starter()
    head, own = starter.hear()
    listening = _listen(("127.0.0.1", 0))
    starter.say({"address": listening.getsockname()})
    addresses = {name: (host, port) for name, (host, port) in starter.hear()[0]["addresses"].items()}
    starter.end_with_it()
    try:
        result = run_party(read_settings(json.dumps(head["settings"])), unpack(own), listening, addresses)
        starter.say({"error": None}, pack(result))
    except UnlearnError as error:
        starter.say({"error": str(error), "kind": type(error).__name__})
    os._exit(0)


def main(arguments: list[str]) -> None:
    """`joint_party SETTINGS INPUT RESULT`: settings as JSON with `addresses` of all parties besides."""
    if not arguments:
        _serve()
        return
    if len(arguments) != 3:
        raise SystemExit("expected: python -m unlearn.privacy.mpc.joint_party SETTINGS INPUT RESULT")
    fields = json.loads(Path(arguments[0]).read_text())
    addresses = {name: (str(host), int(port)) for name, (host, port) in fields.pop("addresses").items()}
    settings = read_settings(json.dumps(fields))
    own = unpack(Path(arguments[1]).read_bytes())
    try:
        listening = _listen(addresses[settings.names[settings.index]])
        result = run_party(settings, own, listening, addresses)
    except (UnlearnError, OSError) as error:
        raise SystemExit(str(error)) from None
    write(Path(arguments[2]), pack({key: np.asarray(value) for key, value in result.items()}), confidential=True)


if __name__ == "__main__":
    main(sys.argv[1:])
