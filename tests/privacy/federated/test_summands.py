"""What members of a secure sum refuse, and that everyone is told."""

import json
import logging

import numpy as np
import pytest

from tests.privacy.federated.federation import NAMES, Federation, refused, same
from unlearn.errors import InputError, ProtocolError, UnlearnError
from unlearn.privacy.federated import Identity, Party, RefusedError, Roster, SumOptions, secure_sum, summand, summands
from unlearn.privacy.federated.messages import as_bytes, as_text, pack
from unlearn.privacy.federated.sharing import split
from unlearn.privacy.federated.sum_protocol import KEYS, MASKED, SHARES, STAGES, SURVIVORS, UNMASK, About, Graph
from unlearn.privacy.federated.sum_round import public_key


@pytest.fixture
def federation():
    return Federation()


def at(stage, change, to=None):
    """Change messages of one stage, to one member or all."""

    def changed(task, member, payload):
        return change(payload) if task == stage and to in (None, member) else payload

    return changed


def ended(federation, caplog, asked=same, answered=same, what="vectors", **more):
    """What the coordinator says; everyone has heard it and kept nothing."""
    channel = federation.channel(asked, answered)
    with caplog.at_level(logging.WARNING), pytest.raises(RefusedError) as error:
        secure_sum(channel, what, **more)
    said = str(error.value)
    for name in NAMES:
        assert as_text(channel.told["abort", name]["reason"]) == said
        assert f"{name}: a joint computation ended without a result: secure sum of {what}" in caplog.text
    assert not federation.open_rounds()
    return error.value


def with_row(name, at, row):
    def change(payload):
        payload[name] = payload[name].copy()
        payload[name][at] = row
        return payload

    return change


def of(name, value):
    return lambda payload: {**payload, name: value(payload[name])}


@pytest.mark.parametrize("what", ["mask_key", "share_key"])
def test_a_key_that_the_coordinator_slips_in_is_refused_by_everyone(federation, caplog, what):
    own = np.frombuffer(public_key(bytes(range(32))), dtype=np.uint8)
    error = ended(federation, caplog, at(SHARES, with_row(what, 2, own)))
    assert set(error.refusals) == set(NAMES)
    assert all("expected keys that south signed for this sum" in said for said in error.refusals.values())


def test_a_key_under_an_outsiders_signature_is_refused_by_everyone(federation, caplog):
    """The coordinator's own identity is not on the roster, whatever it signs."""
    outsider = Federation()
    federation.parties["south"] = Party(
        "south", summand("south", outsider.identities["south"], outsider.roster, {"vectors": lambda asked: None})
    )
    told = at(KEYS, of("roster", lambda _: as_bytes(federation.roster.fingerprint)), "south")
    error = ended(federation, caplog, answered=told)
    assert set(error.refusals) == set(NAMES)


def test_a_member_with_another_roster_is_named(federation, caplog):
    other = Roster({**federation.roster.keys, "north": Identity.new().public})
    federation.parties["south"] = federation.party("south", roster=other)
    error = ended(federation, caplog)
    assert error.refusals == {"south": "its roster is another than that of most"}


def test_a_roster_that_differs_in_who_is_not_asked_is_refused_by_members_themselves(federation):
    other = Roster({**federation.roster.keys, "centre": Identity.new().public})
    federation.parties["south"] = federation.party("south", roster=other)
    hidden = at(KEYS, of("roster", lambda _: as_bytes(federation.roster.fingerprint)), "south")
    channel = federation.channel(answered=hidden)
    with pytest.raises(RefusedError) as error:
        secure_sum(channel, "vectors", members=NAMES[:4])
    assert set(error.value.refusals) == set(NAMES[:4])


def test_members_that_are_told_to_sum_different_things_refuse(federation, caplog):
    def about(text):
        own = About.read(text.tobytes())
        return as_bytes(About(**{**vars(own), "what": "others"}).text())

    error = ended(federation, caplog, at(KEYS, of("about", about), "west"))
    assert set(error.refusals) == set(NAMES)
    assert "expected keys that west signed for this sum" in error.refusals["north"]


def test_another_message_than_agreed_upon_is_refused(federation, caplog):
    other = as_bytes(pack({"times": np.zeros(3)}))
    error = ended(federation, caplog, at(MASKED, of("asked", lambda _: other), "west"))
    assert list(error.refusals) == ["west"]
    assert "the message that all agreed upon, got another" in str(error)


def test_changed_ciphertext_is_named(federation, caplog):
    def flipped(sealed):
        sealed = sealed.copy()
        sealed[1, 40] ^= 1  # centre's neighbours are the others in order: this is from north
        return sealed

    error = ended(federation, caplog, at(MASKED, of("sealed", flipped), "centre"))
    assert error.refusals == {
        "centre": "centre, sum/masked: expected the shares that north encrypted for it, got others. Start anew without "
        "whoever changed them."
    }


def test_members_that_are_told_different_survivors_refuse(federation, caplog):
    fewer = at(SURVIVORS, of("survivors", lambda own: own[1:]), "west")
    error = ended(federation, caplog, fewer)
    assert set(error.refusals) == set(NAMES)
    assert "expected that west signed the same list of survivors" in error.refusals["north"]


def test_fewer_signatures_than_the_threshold_are_refused(federation, caplog):
    def two(payload):
        return {**payload, "from": payload["from"][:2], "signature": payload["signature"][:2]}

    error = ended(federation, caplog, at(UNMASK, two))
    assert "expected at least 3 members, got 2" in error.refusals["east"]
    assert set(error.refusals) == set(NAMES)


@pytest.mark.parametrize("stage", [SHARES, MASKED, SURVIVORS])
def test_lists_below_the_threshold_are_refused(federation, caplog, stage):
    cut = {"round": None, "asked": None}

    def two(payload):
        return {name: own if name in cut else own[:2] for name, own in payload.items()}

    error = ended(federation, caplog, at(stage, two))
    assert "expected at least 3 members, got 2" in error.refusals["east"]


def test_a_share_that_a_member_changed_is_noticed(federation):
    changed = at(UNMASK, of("shares", lambda own: own ^ np.uint8(1)), "north")
    channel = federation.channel(answered=changed)
    with pytest.raises(ProtocolError, match="the shares of east: expected the shares of one secret, got some that we"):
        secure_sum(channel, "vectors")
    assert ("abort", "north") in channel.told


def test_a_member_that_shared_another_key_is_named(federation, monkeypatch):
    def lying(secret, threshold, n):
        own = federation.parties["north"].kept.get("sum/round/mask_private")
        is_key = own is not None and own.tobytes() == secret
        return split(bytes(range(32)) if is_key else secret, threshold, n)

    monkeypatch.setattr(summands, "split", lying)
    channel = federation.channel(lost=lambda task, name, before: (task, name) == (MASKED, "north"))
    with pytest.raises(RefusedError, match="north: it shared another key than the one that it sent"):
        secure_sum(channel, "vectors")


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ((np.array([1.0, np.nan, 1.0]), None), "its contribution vectors: high: expected finite values, got 1 NaN"),
        ((np.ones(6), np.full(6, np.inf)), "its contribution vectors: low: expected finite values, got 6 NaN"),
        ((np.full(6, 1e30), None), "its contribution vectors: high: expected numbers below"),
        ((np.ones((6, 1)), None), "expected 1 axes, got 2"),
        ((np.ones(6), np.ones(5)), r"low: expected shape (6), got (5,)"),
        ((np.ones(7), None), "its vector has 7 entries, that of most members 6"),
    ],
)
def test_a_contribution_that_cannot_be_summed_ends_it_with_its_reason(federation, caplog, vector, said):
    federation.parties["west"] = federation.party("west", {"vectors": lambda asked: vector})
    error = ended(federation, caplog)
    assert list(error.refusals) == ["west"]
    assert said in str(error)


def test_why_a_member_refuses_is_passed_on(federation, caplog):
    def refuse(asked):
        raise InputError("expected consent, got none")

    federation.parties["west"] = federation.party("west", {"vectors": refuse})
    assert "west, sum/masked: its contribution vectors: expected consent, got none" in str(ended(federation, caplog))
    unknown = ended(federation, caplog, what="profiles")
    assert "expected a sum of one of others, vectors; got 'profiles'" in unknown.refusals["east"]


@pytest.mark.parametrize(
    ("own", "asked", "said"),
    [
        (SumOptions(threshold=5), SumOptions(), "threshold of at least 5 members, got 3"),
        (SumOptions(), SumOptions(neighbours=2), "at least all neighbours, got 2"),
        (SumOptions(neighbours=4), SumOptions(neighbours=2), "at least 4 neighbours, got 2"),
    ],
)
def test_less_than_a_member_accepts_is_refused(caplog, own, asked, said):
    assert said in ended(Federation(options=own), caplog, options=asked).refusals["east"]


def test_a_small_group_out_of_a_large_federation_is_refused():
    """Two of five, one of whom colludes, would show the other's vector."""
    federation = Federation()
    channel = federation.channel()
    with pytest.raises(RefusedError, match="expected a threshold of at least 3 members, got 2"):
        secure_sum(channel, "vectors", options=SumOptions(threshold=2), members=("east", "west"))


def test_survivors_in_parts_whose_sums_would_show_are_refused(monkeypatch):
    names = tuple("abcdef")
    ring = Graph(names, tuple(tuple(sorted(((i - 1) % 6, (i + 1) % 6))) for i in range(6)), 2)
    monkeypatch.setattr(Graph, "of", classmethod(lambda cls, *about: ring))
    options = SumOptions(threshold=4, neighbours=2)
    federation = Federation(names, options=options)
    lost = {(MASKED, "a"), (MASKED, "d")}
    with pytest.raises(RefusedError, match="expected survivors that masks link to each other"):
        secure_sum(federation.channel(lost=lambda task, name, before: (task, name) in lost), "vectors", options=options)


def test_nothing_is_answered_twice_nor_out_of_order_nor_in_another_round(federation):
    for stop in STAGES:
        channel = federation.channel(lost=lambda task, name, before, stop=stop: task == stop and name != "east")
        refused(lambda channel=channel: secure_sum(channel, "vectors"))
    channel = federation.channel()
    east, before = federation.parties["east"], {}

    def peek(task, member, payload):
        if member == "east" and task in STAGES:
            for other, asked in before.items():
                with pytest.raises(ProtocolError, match=r"each once|a round that is new"):
                    east.answer(other, asked)
            for later in STAGES[STAGES.index(task) + 1 :]:
                with pytest.raises(ProtocolError, match=r"each once|the round that is open"):
                    east.answer(later, {"round": payload["round"]} if "round" in payload else {})
        return payload

    def recorded(task, member, payload):
        if member == "east":
            before[task] = channel.told[task, member]
        return payload

    channel.asked, channel.answered = peek, recorded
    whole_ask = channel.ask

    def ask(task, asked):
        if task in STAGES[1:]:
            other = {**asked["east"], "round": asked["east"]["round"] ^ np.uint8(1)}
            with pytest.raises(ProtocolError, match="expected the round that is open, got another"):
                east.answer(task, other)
        return whole_ask(task, asked)

    channel.ask = ask
    assert secure_sum(channel, "vectors").high.tolist() == federation.sum_of(NAMES)
    for task, asked in before.items():  # and never again
        with pytest.raises(ProtocolError, match=r"a round that is new|the round that is open"):
            east.answer(task, asked)


def test_a_sum_that_is_left_open_ends_when_the_next_one_starts(federation, caplog):
    class LostError(Exception):
        pass

    def crash(task, member, payload):
        if task == SURVIVORS:
            raise LostError
        return payload

    with pytest.raises(LostError):
        secure_sum(federation.channel(crash), "vectors")
    assert federation.open_rounds() == set(NAMES)
    with caplog.at_level(logging.WARNING):
        secure_sum(federation.channel(), "vectors")
    assert "east: a secure sum ended without a result, for the next one was asked for" in caplog.text


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("damage", ["missing", "more", "type", "shape", "scalar", "empty"])
def test_questions_and_answers_of_another_form_are_refused(stage, damage):
    def damaged(payload):
        name = sorted(own for own in payload if own != "round")[0]
        value = payload[name]
        return {
            "missing": {own: payload[own] for own in payload if own != name},
            "more": {**payload, "more": np.zeros(1)},
            "type": {**payload, name: value.astype(np.float32)},
            "shape": {**payload, name: value[None]},
            "scalar": {**payload, name: value.ravel()[0]},
            "empty": {**payload, name: value[:0]},
        }[damage]

    federation = Federation(NAMES[:3])
    said = refused(lambda: secure_sum(federation.channel(at(stage, damaged, "north")), "vectors"))
    assert "expected" in said
    said = refused(lambda: secure_sum(federation.channel(answered=at(stage, damaged, "north")), "vectors"))
    assert "north" in said
    assert secure_sum(federation.channel(), "vectors").high.tolist() == federation.sum_of(NAMES[:3])


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 2}, {"threshold": 6}, {"threshold": 3.0}, {"threshold": "3"}, {"members": ["east"] * 5},
        {"members": [["east"], "west", "south"]}, {"members": 7}, {"neighbours": -2}, {"neighbours": 3},
        {"fraction_bits": 400}, {"ring_bits": 100}, {"what": ["vectors"]}, {"what": None}, {"more": 1},
        {"members": ["east", "north", "stranger", "west", "centre"]}, {"members": ["north", "south", "west"]},
    ],
)  # fmt: skip
def test_sums_that_nobody_could_agree_upon_are_refused_by_the_member(federation, change):
    about = {"what": "vectors", "asked": "", "members": list(NAMES), "threshold": 3, "neighbours": 0,
             "fraction_bits": 96, "ring_bits": 192}  # fmt: skip
    text = json.dumps({**about, **change}, sort_keys=True)
    asked = {"round": np.zeros(16, dtype=np.uint8), "about": as_bytes(text)}
    with pytest.raises(UnlearnError, match="expected"):
        federation.parties["east"].answer(KEYS, asked)
    for text in ("", "[", "[" * 100_000, "{}", json.dumps(about)):  # the last is not in the one order
        with pytest.raises(UnlearnError, match="expected"):
            federation.parties["east"].answer(KEYS, {**asked, "about": as_bytes(text)})


def test_a_member_whose_identity_is_not_on_the_roster_is_refused(federation):
    for name, identity in (("east", Identity.new()), ("stranger", federation.identities["east"])):
        with pytest.raises(InputError, match=f"{name}: expected the identity that the roster has for this name"):
            summand(name, identity, federation.roster, {})


def test_what_a_coordinator_says_in_the_end_takes_one_line(federation, caplog):
    with caplog.at_level(logging.WARNING):
        federation.parties["east"].answer("abort", {"reason": as_bytes("one\ntwo" + 5000 * "x")})
        federation.parties["east"].answer("abort", {})
    first, second = (record.getMessage() for record in caplog.records)
    assert "one two" in first
    assert len(first) < 1200
    assert second.endswith("no reason")
