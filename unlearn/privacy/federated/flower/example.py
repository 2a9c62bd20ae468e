"""The smallest job: the sum of one vector per member, in plain. It shows what a job and a factory are."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.flower.members import Member, Settings
from unlearn.privacy.federated.messages import Payload, pack, require_arrays
from unlearn.privacy.federated.party import Party

_TASK = "example/vector"


def sum_vectors(channel: Channel, settings: Settings) -> Mapping[str, bytes]:
    """Add up the members' vectors as often as the setting `rounds` says, here once.

    Whoever vanishes or refuses is left out of its round; with fewer members than the setting `threshold` there is no
    result. Every vector is seen by the coordinator: see `secure_sum` for a sum that shows no summand.

    Returns:
        `sum.safetensors` with the last round's sum, and `rounds.json` with how often each was asked so far.

    Raises:
        ProtocolError: too few members, or a vector that is none.
    """
    told = []
    total = np.zeros(0)
    for number in range(int(settings.get("rounds", 1))):
        replies = channel.ask(_TASK, {name: {"round": np.array([number])} for name in channel.members})
        for name, answer in replies.answers.items():
            require_arrays(f"{name}, {_TASK}", answer, {"vector": (np.float64, (None,)), "times": (np.int64, (1,))})
        vectors = [answer["vector"] for answer in replies.answers.values()]
        times = {name: int(answer["times"][0]) for name, answer in replies.answers.items()}
        told.append({"times": times, "refused": replies.refusals, "vanished": list(replies.vanished)})
        if len(vectors) < int(settings.get("threshold", 1)):
            raise ProtocolError(
                f"example: expected at least {settings.get('threshold', 1)} members in round {number + 1}, got "
                f"{len(vectors)}. Wait until more are there."
            )
        total = np.sum(vectors, axis=0)
    return {"sum.safetensors": pack({"sum": total}), "rounds.json": json.dumps(told).encode()}


def vector_party(settings: Settings, member: Member) -> Party:
    """A member whose data is a vector in a `.npy` file; it counts in what it keeps how often it was asked."""

    def vector(kept: Payload, asked: Payload) -> Payload:
        kept["times"] = kept.get("times", np.zeros(1, dtype=np.int64)) + 1
        values = np.load(member.data, allow_pickle=False)
        if values.ndim != 1:
            raise InputError(f"{member.name}: expected a vector, got an array of {values.ndim} dimensions.")
        return {"vector": values.astype(np.float64), "times": kept["times"]}

    return Party(member.name, {_TASK: vector})
