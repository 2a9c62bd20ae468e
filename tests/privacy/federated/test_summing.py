"""Secure sums are exact, whoever vanishes and whenever, as long as enough are left."""

import logging
from fractions import Fraction

import numpy as np
import pytest

from tests.privacy.federated.federation import NAMES, Federation, refused
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import FixedPoint, SumOptions, secure_sum
from unlearn.privacy.federated.messages import as_text
from unlearn.privacy.federated.sum_protocol import STAGES, About, Graph

BEFORE, AFTER = STAGES[:3], STAGES[3:]
RING = SumOptions(threshold=3, neighbours=2)


@pytest.mark.parametrize("neighbours", [None, 2, 4, 6])
@pytest.mark.parametrize("names", [NAMES[:2], NAMES[:3], NAMES])
def test_the_sum_is_exact(names, neighbours):
    federation = Federation(names, options=SumOptions(neighbours=neighbours))
    got = secure_sum(federation.channel(), "vectors", options=SumOptions(neighbours=neighbours))
    assert got.high.tolist() == federation.sum_of(names)
    assert (got.members, got.vanished) == (names, ())
    assert not got.low.any()
    assert not federation.open_rounds()


def test_high_and_low_parts_are_summed_exactly():
    federation, random = Federation(), np.random.default_rng(1)
    parts = {}
    for name in NAMES:
        high = np.ldexp(random.integers(-(2**49), 2**49, 50).astype(float), -30)
        parts[name] = high, np.ldexp(random.integers(-(2**20), 2**20, 50).astype(float), -96)
        federation.parties[name] = federation.party(name, {"vectors": lambda asked, own=parts[name]: own})
    got = secure_sum(federation.channel(), "vectors")
    for i in range(50):
        exact = sum(Fraction(float(part[i])) for pair in parts.values() for part in pair)
        assert got.high[i] == exact.numerator / exact.denominator
        assert Fraction(float(got.high[i])) + Fraction(float(got.low[i])) == exact


@pytest.mark.parametrize("options", [None, RING], ids=["all", "ring"])
@pytest.mark.parametrize("member", NAMES)
@pytest.mark.parametrize("stage", STAGES)
def test_one_member_vanishes_at_any_stage(stage, member, options):
    federation = Federation(options=options)
    channel = federation.channel(lost=lambda task, name, before: (task, name) == (stage, member))
    got = secure_sum(channel, "vectors", options=options)
    inside = NAMES if stage in AFTER else tuple(name for name in NAMES if name != member)
    assert got.high.tolist() == federation.sum_of(inside)
    assert (got.members, got.vanished) == (inside, (member,))


@pytest.mark.parametrize("first", STAGES)
@pytest.mark.parametrize("second", STAGES)
def test_two_of_five_vanish(first, second):
    federation = Federation()
    lost = {(first, "north"), (second, "centre")}
    got = secure_sum(federation.channel(lost=lambda task, name, before: (task, name) in lost), "vectors")
    left = [n for n in NAMES if (n != "north" or first in AFTER) and (n != "centre" or second in AFTER)]
    assert got.high.tolist() == federation.sum_of(left)
    assert got.vanished == ("north", "centre")


@pytest.mark.parametrize("stage", STAGES)
def test_fewer_than_the_threshold_end_it_for_everyone(stage, caplog):
    federation = Federation()
    lost = {"north", "centre", "west"}
    channel = federation.channel(lost=lambda task, name, before: task == stage and name in lost)
    with caplog.at_level(logging.WARNING), pytest.raises(ProtocolError, match=f"at least 3 of 5 members at {stage}, "):
        secure_sum(channel, "vectors")
    assert federation.open_rounds() <= lost
    for name in ("east", "south"):
        assert "vanished: north, west, centre" in as_text(channel.told["abort", name]["reason"])
        assert f"{name}: a joint computation ended without a result: secure sum of vectors: expected" in caplog.text
    assert ("abort", "north") not in channel.told
    # What is left of it is in nobody's way.
    assert secure_sum(federation.channel(), "vectors").high.tolist() == federation.sum_of(NAMES)
    assert not federation.open_rounds()


def test_some_members_are_asked_and_what_they_are_asked_reaches_them():
    federation = Federation()
    some = ("west", "east", "south")
    got = secure_sum(federation.channel(), "vectors", {"times": np.zeros(2)}, members=some)
    assert got.high.tolist() == [3 * own for own in federation.sum_of(some)]
    assert got.members == some


def test_one_format_after_another_and_no_entries():
    federation = Federation(n=0)
    for fixed in (FixedPoint(), FixedPoint(40, 128)):
        assert secure_sum(federation.channel(), "vectors", options=SumOptions(fixed_point=fixed)).high.shape == (0,)


@pytest.mark.parametrize(
    ("options", "members", "said"),
    [
        (SumOptions(threshold=2), None, "more than half and at most all of 5 members, got 2"),
        (SumOptions(threshold=6), None, "got 6. Ask more members"),
        (None, ("east", "west"), "at most all of 2 members, got 3"),
        (None, ("east", "east", "west"), "each once"),
        (None, ("east", "west", "nobody"), "got nobody"),
        (None, (), "at least one"),
    ],
)
def test_sums_that_cannot_be_are_refused_before_anyone_is_asked(options, members, said):
    channel = Federation().channel()
    with pytest.raises(InputError, match=said):
        secure_sum(channel, "vectors", options=options, members=members)
    assert not channel.traffic.sent


@pytest.mark.parametrize("options", [{"threshold": 1}, {"threshold": 0}, {"neighbours": 3}, {"neighbours": 0}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(InputError, match="expected"):
        SumOptions(**options)


@pytest.mark.parametrize(("n", "k"), [(2, 0), (5, 0), (5, 2), (6, 4), (9, 8), (20, 6), (31, 10)])
def test_the_graph_links_both_ways_each_with_as_many(n, k):
    about = About("x", "", tuple(map(str, range(n))), n // 2 + 1, k, 96, 192)
    graph = Graph.of(about, about.members, b"keys")
    linked = {(i, j) for i in range(n) for j in graph.neighbours[i]}
    assert linked == {(j, i) for i, j in linked}
    assert all(i != j for i, j in linked)
    assert {len(own) for own in graph.neighbours} == {min(k or n - 1, n - 1)}
    assert graph.is_connected(range(n))
    size = len(graph.holders(0))
    assert size / 2 < graph.threshold <= size
    if n >= 20:  # among a few, two orders may link the same
        assert Graph.of(about, about.members, b"others") != graph


def test_survivors_that_no_mask_links_are_told_from_those_that_one_does():
    graph = Graph(("a", "b", "c", "d"), ((1, 3), (0, 2), (1, 3), (2, 0)), 2)
    assert graph.is_connected([0, 1, 2])
    assert not graph.is_connected([0, 2])
    assert graph.is_connected([3])


def test_an_error_shows_no_entry():
    federation = Federation()
    federation.vectors["west"] = np.array([1234.5678, np.nan, 8765.4321, 1.0, 1.0, 1.0])
    said = refused(lambda: secure_sum(federation.channel(), "vectors"))
    assert "1234" not in said
    assert "8765" not in said
