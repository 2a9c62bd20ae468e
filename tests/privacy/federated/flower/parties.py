"""Members and jobs for the tests, found by name in other processes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unlearn.privacy.federated import Channel, Party, Payload
from unlearn.privacy.federated.flower import Member, Settings
from unlearn.privacy.federated.flower.example import vector_party

EXAMPLE = "unlearn.privacy.federated.flower.example"
HERE = "tests.privacy.federated.flower.parties"


def vectors(folder: Path, n: int = 3, party: str = f"{EXAMPLE}:vector_party") -> list[Member]:
    """Members with a vector of normal numbers each."""
    members = []
    for i in range(n):
        np.save(folder / f"{i}.npy", np.random.default_rng(i).normal(size=50))
        members.append(Member(f"utility {i}", party, folder / f"{i}.npy"))
    return members


def expected(members: list[Member]) -> np.ndarray:
    return np.sum([np.load(one.data) for one in members], axis=0)


def slow_party(settings: Settings, member: Member) -> Party:
    """Says in a file that it was asked, then waits as long as the settings say for it."""
    own = vector_party(settings, member).handlers

    def slowly(kept: Payload, asked: Payload) -> Payload:
        member.data.with_suffix(".asked").touch()
        time.sleep(float(settings.get("pause_s", {}).get(member.name, 0.0)))
        return own["example/vector"](kept, asked)

    return Party(member.name, {"example/vector": slowly})


def buggy_party(settings: Settings, member: Member) -> Party:
    def wrong(kept: Payload, asked: Payload) -> Payload:
        raise ValueError(f"could not convert {np.load(member.data)[0]!r}")

    return Party(member.name, {"example/vector": wrong})


def who(channel: Channel, settings: Settings) -> Mapping[str, bytes]:
    return {"who.json": json.dumps(channel.members).encode()}


def leaves_the_folder(channel: Channel, settings: Settings) -> Mapping[str, bytes]:
    return {"../elsewhere": b""}


def north_party(settings: Settings, member: Member) -> Party:
    return Party("north", {})
