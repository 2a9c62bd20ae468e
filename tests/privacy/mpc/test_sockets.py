"""Parties over TLS: who may ask and answer, what is too long or too late, and processes that end."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.privacy.mpc.parties import doubler
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import LocalChannel
from unlearn.privacy.federated.channel import COORDINATOR
from unlearn.privacy.federated.messages import unpack
from unlearn.privacy.mpc import Credentials, PartyProcess, PartyProcesses, PartyServer, SocketChannel, make_credentials
from unlearn.privacy.mpc.frames import Head, receive, send
from unlearn.privacy.mpc.sockets import _require_answer

NAMES = ("north", "south")
DOUBLER = "tests.privacy.mpc.parties:doubler"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Credentials]:
    return make_credentials(tmp_path_factory.mktemp("credentials"), [COORDINATOR, *NAMES])


def own(name: str) -> dict[str, np.ndarray]:
    return {"own": np.full(2, 1.0 + NAMES.index(name))}


@pytest.fixture
def servers(made: dict[str, Credentials]) -> Iterator[dict[str, PartyServer]]:
    servers = {name: PartyServer(doubler(name, own(name)), made[name], longest=10_000) for name in NAMES}
    threads = [threading.Thread(target=server.serve) for server in servers.values()]
    for thread in threads:
        thread.start()
    yield servers
    for server in servers.values():
        server.stop()
    for thread in threads:
        thread.join()


@pytest.fixture
def channel(servers: dict[str, PartyServer], made: dict[str, Credentials]) -> Iterator[SocketChannel]:
    with SocketChannel({name: server.address for name, server in servers.items()}, made[COORDINATOR], 20) as channel:
        yield channel


def times(by: float) -> dict[str, dict[str, np.ndarray]]:
    return {name: {"by": np.array([by, 1.0])} for name in NAMES}


def test_answers_are_those_of_a_channel_within_one_process(channel: SocketChannel) -> None:
    local = LocalChannel([doubler(name, own(name)) for name in NAMES])
    assert channel.members == local.members
    for by in (2.0, 3.0):
        ours, theirs = channel.ask("times", times(by)), local.ask("times", times(by))
        assert not ours.refusals
        assert not ours.vanished
        for name in NAMES:
            assert ours.answers[name]["product"].tolist() == theirs.answers[name]["product"].tolist()
    assert [one.task for one in channel.traffic.sent] == [one.task for one in local.traffic.sent]
    # Frames are messages with a head.
    assert all(0 < a.n_bytes - b.n_bytes < 400 for a, b in zip(channel.traffic.sent, local.traffic.sent, strict=True))


def test_refusals_come_back_by_name(channel: SocketChannel) -> None:
    replies = channel.ask("refuse", {"north": {}})
    assert replies.refusals == {"north": "north: refused."}
    assert "task among" in channel.ask("other", {"south": {}}).refusals["south"]
    assert channel.ask("times", times(2.0)).answers.keys() == set(NAMES)


def test_nobody_poses_as_another(servers: dict[str, PartyServer], made: dict[str, Credentials]) -> None:
    swapped = {"north": servers["south"].address, "south": servers["north"].address}
    with SocketChannel(swapped, made[COORDINATOR], 20) as channel:
        refusals = channel.ask("times", times(2.0)).refusals
    assert "expected the certificate of north, got that of south" in refusals["north"]
    # A member is no coordinator.
    addresses = {name: server.address for name, server in servers.items()}
    with SocketChannel(addresses, made["south"], 20) as channel:
        replies = channel.ask("times", times(2.0))
    assert not replies.answers


def test_an_authority_of_another_computation_is_refused(
    servers: dict[str, PartyServer], made: dict[str, Credentials], tmp_path: Path
) -> None:
    strange = make_credentials(tmp_path, [COORDINATOR])[COORDINATOR]
    addresses = {name: server.address for name, server in servers.items()}
    with SocketChannel(addresses, strange, 20) as channel:
        assert "certificates of one authority" in channel.ask("times", times(2.0)).refusals["north"]
    posing = replace(strange, authority=made[COORDINATOR].authority)
    with SocketChannel(addresses, posing, 20) as channel:
        assert not channel.ask("times", times(2.0)).answers


def test_a_late_answer_is_not_taken_for_the_next(channel: SocketChannel) -> None:
    channel._timeout_s = 0.5
    assert channel.ask("sleep", {"north": {"s": np.array([0.8])}}).vanished == ("north",)
    channel._timeout_s = 20
    assert channel.ask("times", times(2.0)).answers["north"]["product"].tolist() == [2.0, 1.0]


def test_a_party_that_says_nothing_has_vanished(made: dict[str, Credentials]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with SocketChannel({"north": silent.getsockname()[:2]}, made[COORDINATOR], 0.3) as channel:
            assert channel.ask("times", {"north": {}}).vanished == ("north",)
        address = silent.getsockname()[:2]
    with SocketChannel({"north": address}, made[COORDINATOR], 5) as channel:
        assert channel.ask("times", {"north": {}}).vanished == ("north",)


def test_a_stranger_keeps_nobody_waiting(servers: dict[str, PartyServer], channel: SocketChannel) -> None:
    with socket.create_connection(servers["north"].address):
        assert channel.ask("times", times(2.0)).answers.keys() == set(NAMES)


def test_long_messages_are_not_read(channel: SocketChannel) -> None:
    replies = channel.ask("times", {"north": {"by": np.zeros(100_000)}})
    assert not replies.answers
    channel._longest = 10
    assert "message of at most 10" in channel.ask("times", times(1.0)).refusals["south"]


HEAD = Head("answer", "session", 3, "times", "north", COORDINATOR)


@pytest.mark.parametrize(
    "change",
    [{"session": "other"}, {"number": 2}, {"task": "other"}, {"sender": "south"}, {"receiver": "x"}, {"kind": "ask"}],
)
def test_answers_to_other_questions_are_refused(change: dict[str, object]) -> None:
    asked = replace(HEAD, kind="ask", sender=COORDINATOR, receiver="north")
    _require_answer(asked, HEAD)
    with pytest.raises(ProtocolError, match="north: expected its answer to question 3"):
        _require_answer(asked, replace(HEAD, **change))


def test_frames_of_another_form_are_refused() -> None:
    one, other = socket.socketpair()
    with one, other:
        n_bytes = send(one, HEAD, b"content", time.monotonic() + 5)
        assert receive(other, 5) == (HEAD, b"content", n_bytes)
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ProtocolError, match="frame: expected a head"):
            receive(other, 5)
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"UMC1" + (2).to_bytes(4) + (0).to_bytes(8) + b"[]")
        with pytest.raises(ProtocolError, match="a head as `Head`"):
            receive(other, 5)
        one.sendall(b"UMC1")
        with pytest.raises(TimeoutError):
            receive(other, 0.1)


def test_numbers_of_a_type_that_numpy_lacks_are_refused() -> None:
    head = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    with pytest.raises(ProtocolError, match="expected named arrays as safetensors"):
        unpack(len(head).to_bytes(8, "little") + head + bytes(2))


def test_a_connection_that_cannot_be_taken_ends_no_party(
    made: dict[str, Credentials], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listener:
        """The first connection is gone before it is taken."""

        def __init__(self, plain: socket.socket) -> None:
            self.plain, self.failed = plain, False

        def __getattr__(self, name: str) -> object:
            return getattr(self.plain, name)

        def __enter__(self) -> None:
            self.plain.__enter__()

        def __exit__(self, *error: object) -> None:
            self.plain.close()

        def accept(self) -> tuple:
            if not self.failed:
                self.failed = True
                raise ConnectionAbortedError
            return self.plain.accept()

    server = PartyServer(doubler("north", own("north")), made["north"])
    monkeypatch.setattr(server, "_listener", Listener(server._listener))
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        with SocketChannel({"north": server.address}, made[COORDINATOR], 20) as channel:
            assert channel.ask("times", {"north": {"by": np.ones(2)}}).answers["north"]["product"].tolist() == [
                1.0,
                1.0,
            ]
    finally:
        server.stop()
        thread.join()


def test_what_cannot_start_is_refused(made: dict[str, Credentials], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one party"):
        SocketChannel({}, made[COORDINATOR])
    with pytest.raises(InputError, match="different name"):
        SocketChannel({COORDINATOR: ("127.0.0.1", 1)}, made[COORDINATOR])
    with pytest.raises(InputError, match="at least one"):
        PartyProcesses([])
    with pytest.raises(InputError, match="module:function"):
        PartyProcess("north", "module")
    with pytest.raises(InputError, match="1 to 64 bytes"):
        make_credentials(tmp_path, ["ü" * 33])
    with pytest.raises(InputError, match="PEM files"):
        Credentials(tmp_path / "a", tmp_path / "b", tmp_path / "c").context(server=True)
    with SocketChannel({"north": ("127.0.0.1", 1)}, made[COORDINATOR]) as channel:
        assert not channel.ask("times", {}).answers
        with pytest.raises(InputError, match="expected some of north; got south"):
            channel.ask("times", {"south": {}})


@pytest.mark.slow
def test_processes_start_vanish_and_end() -> None:
    with PartyProcesses([PartyProcess(name, DOUBLER, own(name)) for name in NAMES], timeout_s=30) as started:
        channel = started.channel
        assert channel.ask("times", times(2.0)).answers["south"]["product"].tolist() == [4.0, 2.0]
        assert channel.ask("vanish", {"north": {}}).vanished == ("north",)
        replies = channel.ask("times", times(2.0))
        assert (set(replies.answers), replies.vanished) == ({"south"}, ("north",))
    assert all(process.poll() is not None for process in started.processes.values())


@pytest.mark.slow
def test_a_party_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(ProtocolError, match=r"north: expected a party that starts.*module:function"),
        PartyProcesses([PartyProcess("north", "tests.privacy.mpc.parties:none")], timeout_s=30),
    ):
        pass
