"""An encrypted sum over a channel: exact over those who answered, and the server alone can decrypt nothing."""

import numpy as np
import pytest

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted import Summands, encrypted_sum, key_holder, meter, new_keys
from unlearn.privacy.encrypted.protocol import OPEN
from unlearn.privacy.federated import Identity, LocalChannel, Roster
from unlearn.privacy.federated.channel import Replies
from unlearn.privacy.federated.messages import as_bytes

pytestmark = pytest.mark.extras

DAY = Summands(24, 0, 65_535, 100)
NAMES = [f"meter_{i}" for i in range(70)]  # more than are asked at once
ROWS = np.random.default_rng(0).integers(0, 65_536, (70, 24))
OWN = {name: Identity.new() for name in (*NAMES, "server", "holder")}
ROSTER = Roster({name: own.public for name, own in OWN.items()})


def channel(minimum: int = 60, lost=lambda task, member, before: False, agreed: Summands = DAY) -> LocalChannel:
    keys = new_keys(DAY)
    parties = [
        meter(name, OWN[name], ROSTER, "holder", DAY if i else agreed, lambda row=row: row)
        for i, (name, row) in enumerate(zip(NAMES, ROWS, strict=True))
    ]
    parties.append(key_holder("holder", OWN["holder"], keys, ROSTER, "server", minimum))
    return LocalChannel(parties, lost, full=True)


def test_the_sum_is_exact_and_of_those_who_answered() -> None:
    found = encrypted_sum(channel(), "server", OWN["server"], ROSTER, "holder")
    assert (found.sums, found.members) == (tuple(ROWS.sum(0).tolist()), tuple(NAMES))
    ways = channel(lost=lambda task, member, before: member in NAMES[:3])
    found = encrypted_sum(ways, "server", OWN["server"], ROSTER, "holder")
    assert (found.sums, found.vanished) == (tuple(ROWS[3:].sum(0).tolist()), tuple(NAMES[:3]))


def test_a_feeder_is_the_sum_of_its_meters_and_no_sum_is_of_few() -> None:
    found = encrypted_sum(channel(minimum=15), "server", OWN["server"], ROSTER, "holder", NAMES[:20])
    assert found.sums == tuple(ROWS[:20].sum(0).tolist())
    with pytest.raises(ProtocolError, match="holder, got none: server, total: expected at least 15"):
        encrypted_sum(channel(minimum=15), "server", OWN["server"], ROSTER, "holder", NAMES[:14])
    with pytest.raises(InputError, match="members of the channel, got 1 others"):
        encrypted_sum(channel(), "server", OWN["server"], ROSTER, "holder", ["nobody"])


def test_a_meter_encrypts_for_what_it_agreed_to_and_for_its_holder_alone() -> None:
    found = encrypted_sum(channel(agreed=Summands(24, 0, 9, 2)), "server", OWN["server"], ROSTER, "holder")
    assert "agreed to" in found.refused["meter_0"]
    assert found.sums == tuple(ROWS[1:].sum(0).tolist())
    own = meter("meter_0", OWN["meter_0"], ROSTER, "holder", DAY, lambda: ROWS[0])
    forged = new_keys(DAY).public.signed(OWN["server"])
    with pytest.raises(ProtocolError, match="expected keys that holder signed"):
        own.answer("encrypted/encrypt", {**forged, "run": np.frombuffer(b"00" * 16, np.uint8)})


def test_no_secret_key_and_no_reading_is_in_any_message() -> None:
    ways = channel()
    encrypted_sum(ways, "server", OWN["server"], ROSTER, "holder")
    sent = b"".join(one.content for one in ways.traffic.sent if one.sender in NAMES)
    assert all(row.astype(kind).tobytes() not in sent for row in ROWS for kind in ("<i8", "<f8", "<u2"))
    assert {one.task for one in ways.traffic.sent if one.sender == "holder"} == {"encrypted/keys", "encrypted/open"}


def test_a_holder_that_gives_other_sums_than_were_asked_is_refused() -> None:
    ways = channel()
    ask = ways.ask

    def fewer(task: str, asked: dict) -> Replies:
        replies = ask(task, asked)
        if task == OPEN:
            return Replies({"holder": {"sums": as_bytes("1,2")}})
        return replies

    ways.ask = fewer
    with pytest.raises(ProtocolError, match="holder, encrypted/open: expected sums"):
        encrypted_sum(ways, "server", OWN["server"], ROSTER, "holder")
