"""The channel over a grid of Flower's that lives in this process."""

import json
import logging
import time

import numpy as np
import pytest

from tests.privacy.federated.flower.parties import EXAMPLE, HERE, expected, vectors
from unlearn.errors import ProtocolError
from unlearn.privacy.federated import unpack
from unlearn.privacy.federated.flower import FlowerChannel, Member

pytestmark = pytest.mark.extras


@pytest.fixture(autouse=True)
def _task(monkeypatch):
    """Messages of Flower know the task that makes them."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Grid:
    """Answers by the real app, at once; nodes that are lost never answer."""

    def __init__(self, members, settings=None, lost=(), version=None):
        from unlearn.privacy.federated.flower.apps import client_app_of

        self.members = dict(enumerate(members, start=10))
        self.lost, self.replies, self.contexts, self.sent = set(lost), {}, {}, []
        self.app = client_app_of(lambda context: self.members[context.node_id], lambda context: settings or {})

    def get_node_ids(self):
        return list(self.members)

    def push_messages(self, messages):
        from flwr.app import Context, RecordDict

        for message in messages:
            node, number = message.metadata.dst_node_id, str(len(self.sent))
            message.metadata.__dict__["_message_id"] = number
            self.sent.append(message)
            context = self.contexts.setdefault(node, Context(1, node, {}, RecordDict(), {}))
            if node not in self.lost:
                self.replies[number] = self.app(message, context)
            yield number

    def pull_messages(self, numbers):
        return [self.replies.pop(number) for number in numbers if number in self.replies]


def test_members_answer_and_keep_what_they_keep(tmp_path):
    grid = Grid(vectors(tmp_path))
    channel = FlowerChannel.meet(grid, 3, timeout_s=2)
    assert channel.members == ("utility 0", "utility 1", "utility 2")
    for times in (1, 2):
        replies = channel.ask("example/vector", {name: {"round": np.zeros(1)} for name in channel.members[::-1]})
        assert list(replies.answers) == list(channel.members[::-1])
        assert {int(answer["times"][0]) for answer in replies.answers.values()} == {times}
    assert {one.task for one in channel.traffic.sent} == {"example/vector"}
    assert len(channel.traffic.sent) == 12


def test_who_does_not_answer_in_time_has_vanished(tmp_path):
    grid = Grid(vectors(tmp_path))
    channel = FlowerChannel.meet(grid, 3, timeout_s=0.5)
    grid.lost.add(11)
    replies = channel.ask("example/vector", {name: {} for name in channel.members})
    assert replies.vanished == ("utility 1",)
    assert list(replies.answers) == ["utility 0", "utility 2"]


def test_refusals_come_with_their_reason_and_bugs_without(tmp_path, caplog):
    members = vectors(tmp_path)
    members[1] = Member("utility 1", f"{HERE}:buggy_party", members[1].data)
    np.save(members[2].data, np.zeros((2, 2)))
    channel = FlowerChannel.meet(Grid(members), 3, timeout_s=2)
    with caplog.at_level(logging.WARNING):
        replies = channel.ask("example/vector", {name: {} for name in channel.members})
    assert "expected a vector, got an array of 2 dimensions" in replies.refusals["utility 2"]
    assert replies.refusals["utility 1"] == "failed; see its own log"
    assert "ValueError" in caplog.text
    assert repr(float(np.load(members[1].data)[0])) not in caplog.text
    assert "expected a task among" in channel.ask("example/other", {"utility 0": {}}).refusals["utility 0"]
    with pytest.raises(ProtocolError, match="expected members among"):
        channel.ask("example/vector", {"nobody": {}})


def test_two_nodes_of_one_name_end_it_and_all_hear_why(tmp_path, caplog):
    members = vectors(tmp_path)
    grid = Grid([*members, Member("utility 1", members[1].party, members[1].data)])
    with caplog.at_level(logging.WARNING), pytest.raises(ProtocolError, match="got two named utility 1"):
        FlowerChannel.meet(grid, 3, timeout_s=2)
    told = [record.getMessage() for record in caplog.records if "got two named utility 1" in record.getMessage()]
    assert {text.partition(":")[0] for text in told} >= {"utility 0", "utility 1"}
    assert sum(text.startswith("utility 1:") for text in told) == 2


def test_too_few_members_end_it(tmp_path):
    with pytest.raises(ProtocolError, match=r"at least 3 members within 0\.3 s, got 2"):
        FlowerChannel.meet(Grid(vectors(tmp_path, 2)), 3, timeout_s=1, patience_s=0.3)


def test_late_members_are_admitted_when_asked_for(tmp_path):
    members = vectors(tmp_path)
    grid = Grid(members[:2])
    channel = FlowerChannel.meet(grid, 2, timeout_s=2)
    grid.members[20] = members[2]
    assert channel.members == ("utility 0", "utility 1")
    assert channel.admit() == ("utility 0", "utility 1", "utility 2")


def test_another_version_is_refused(tmp_path, monkeypatch):
    grid = Grid(vectors(tmp_path))
    monkeypatch.setattr("unlearn.privacy.federated.flower.apps.PROTOCOL", "0.0.1")
    with pytest.raises(ProtocolError, match=r"got '0\.0\.1' at utility 0"):
        FlowerChannel.meet(grid, 3, timeout_s=2)


def test_a_lost_link_is_told(tmp_path, monkeypatch):
    channel = FlowerChannel.meet(grid := Grid(vectors(tmp_path)), 3, timeout_s=2)

    def broken(numbers):
        raise OSError("no route")

    monkeypatch.setattr(grid, "pull_messages", broken)
    with pytest.raises(ProtocolError, match=r"expected an answer of the SuperLink, got none \(no route\)"):
        channel.ask("example/vector", {"utility 0": {}})


@pytest.mark.slow
def test_a_simulation_gives_what_one_process_gives(tmp_path):
    from unlearn.privacy.federated.flower import run_locally, simulate

    members, start = vectors(tmp_path), time.perf_counter()
    here = run_locally(f"{EXAMPLE}:sum_vectors", {"rounds": 2}, members, tmp_path / "here")
    there = simulate(f"{EXAMPLE}:sum_vectors", {"rounds": 2}, members, tmp_path / "there")
    for name in ("sum.safetensors", "rounds.json"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    sent = [json.loads((folder / "traffic.json").read_text()) for folder in (here, there)]
    assert sent[0]["bytes"] == sent[1]["bytes"]
    assert sent[1]["seconds"] <= time.perf_counter() - start
    np.testing.assert_allclose(unpack((there / "sum.safetensors").read_bytes())["sum"], expected(members), rtol=1e-15)
    with pytest.raises(ProtocolError, match="at least 4 members"):
        simulate(f"{EXAMPLE}:sum_vectors", {"threshold": 4}, members, tmp_path / "none")
