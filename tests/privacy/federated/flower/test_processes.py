"""A coordinator and three members in processes of their own; one federation for the whole module."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.privacy.federated.flower.parties import EXAMPLE, HERE, expected, vectors
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import unpack
from unlearn.privacy.federated.flower import Federation, Member, make_certificates, processes, run_locally

pytestmark = [pytest.mark.extras, pytest.mark.slow]

SUM = f"{EXAMPLE}:sum_vectors"


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return vectors(tmp_path_factory.mktemp("members"), party=f"{HERE}:slow_party")


@pytest.fixture(scope="module")
def federation(members, tmp_path_factory):
    with Federation(members, tmp_path_factory.mktemp("federation") / "own", timeout_s=30) as running:
        yield running
    port = int(running._address.rpartition(":")[2])
    assert not running.left_over()
    with socket.socket() as one:
        assert one.connect_ex(("127.0.0.1", port)) != 0


def test_processes_give_what_one_process_gives_and_run_no_code_they_are_sent(
    federation, members, tmp_path, monkeypatch
):
    # An app whose members' part is code of the coordinator's choice; nodes run the library's all the same.
    ran = tmp_path / "ran"
    evil = federation.folder / "app" / "evil.py"
    evil.write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\nclient_app = None\n")
    own = processes.app_project()
    changed = own.replace("unlearn.privacy.federated.flower.apps:client_app", "evil:client_app")
    assert changed != own
    monkeypatch.setattr(processes, "app_project", lambda: changed)
    there = federation.run(SUM, {"rounds": 2})
    here = run_locally(SUM, {"rounds": 2}, members, tmp_path / "here")
    evil.unlink()
    for name in ("sum.safetensors", "rounds.json"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert not ran.exists()
    sent = [json.loads((folder / "traffic.json").read_text())["bytes"] for folder in (here, there)]
    assert sent[0] == sent[1]


def test_a_killed_member_is_survived_and_may_come_back(federation, members, tmp_path):
    def kill():
        until = time.monotonic() + 60
        while not asked.exists() and time.monotonic() < until:
            time.sleep(0.05)
        federation.kill(members[1].name)

    asked = members[1].data.with_suffix(".asked")
    asked.unlink(missing_ok=True)
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    federation.timeout_s = 12.0
    folder = federation.run(SUM, {"threshold": 2, "pause_s": {members[1].name: 20}})
    killer.join()
    (told,) = json.loads((folder / "rounds.json").read_text())
    assert told["vanished"] == [members[1].name]
    left = [members[0], members[2]]
    np.testing.assert_allclose(unpack((folder / "sum.safetensors").read_bytes())["sum"], expected(left), rtol=1e-15)
    federation.timeout_s = 30.0
    federation.await_members([federation.start_member(members[1])])
    folder = federation.run(SUM, {}, least=3)
    np.testing.assert_allclose(unpack((folder / "sum.safetensors").read_bytes())["sum"], expected(members), rtol=1e-15)


def test_too_few_members_and_a_bad_update_are_told_to_all(federation, members):
    with pytest.raises(ProtocolError, match="expected at least 4 members in round 1, got 3"):
        federation.run(SUM, {"threshold": 4})
    values = np.load(members[2].data)
    np.save(members[2].data, np.full(50, np.nan))
    try:
        with pytest.raises(ProtocolError, match="utility 2, example/vector: expected finite numbers in vector"):
            federation.run(SUM, {})
    finally:
        np.save(members[2].data, values)
    for name in ("coordinator", members[0].name, members[2].name):
        log = federation.log(name)
        assert "expected at least 4 members in round 1, got 3" in log
        assert "expected finite numbers in vector" in log
    # No reading is in any log, and no key.
    for path in federation.logs.iterdir():
        text = path.read_text(errors="replace")
        assert not any(repr(float(value))[:12] in text for one in members for value in np.load(one.data))
        assert "PRIVATE KEY" not in text


def test_a_stranger_is_not_let_in(federation, members, tmp_path):
    stranger = Member("stranger", members[0].party, members[0].data)
    with pytest.raises(ProtocolError, match="stranger: expected its node to be let in, got: its process ended"):
        federation.await_members([federation.start_member(stranger, registered=False)])
    # A copy of a key that is registered: neither registered again nor let in beside its first node.
    copied = federation.folder / "member-1" / "node.key"
    with pytest.raises(ProtocolError, match="Public key already in use"):
        federation.start_member(stranger, key=copied)
    with pytest.raises(ProtocolError, match="let in, got: its process ended"):
        federation.await_members([federation.start_member(stranger, key=copied, registered=False)])
    other = make_certificates(tmp_path / "other")
    wary = Member("wary", members[0].party, members[0].data)
    federation.patience_s, before = 8.0, federation.patience_s
    try:
        name = federation.start_member(wary, certificates=other)
        federation.patience_s = 30.0
        with pytest.raises(ProtocolError, match=r"(?i)wary: expected its node to be let in.*certificate"):
            federation.await_members([name])
    finally:
        federation.patience_s = before
        federation.processes["wary"].kill()


def test_two_nodes_of_one_name_are_refused_everywhere(federation, members):
    second = federation.start_member(members[0])
    try:
        federation.await_members([second])
        with pytest.raises(ProtocolError, match="expected one node per member, got two named utility 0"):
            federation.run(SUM, {}, least=4)
    finally:
        federation.kill(second)
    assert "got two named utility 0" in federation.log("coordinator")
    assert "got two named utility 0" in federation.log(second)
    time.sleep(1)


_OWNER = """
import signal, sys, time
from pathlib import Path
from unlearn.privacy.federated.flower import Federation, Member
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
with Federation([Member("utility 0", sys.argv[1], Path(sys.argv[2]))], sys.argv[3]) as running:
    print(running._mark, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_federation_whose_owner_ends(members, tmp_path, end):
    command = [sys.executable, "-c", _OWNER, members[0].party, str(members[0].data), str(tmp_path / "own")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as owner:
        mark = owner.stdout.readline().strip()
        probe = Federation(members, tmp_path)
        probe._mark = mark
        assert len(probe.left_over()) >= 2
        owner.send_signal(end)
    until = time.monotonic() + 30
    while probe.left_over() and time.monotonic() < until:
        time.sleep(0.2)
    assert not probe.left_over()


def test_bad_input_is_refused_before_anything_starts(tmp_path, federation):
    with pytest.raises(InputError, match="member"):
        Federation(2 * vectors(tmp_path, 1), tmp_path)
    with pytest.raises(InputError, match="module:function"):
        federation.run("no job", {})
