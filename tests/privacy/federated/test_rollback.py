"""A member leaves averaged weights: rolling back and training anew against a federation that it never joined."""

from dataclasses import replace

import numpy as np
import pytest

from tests.privacy.federated.federations import NAMES, channel_of, members
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import (
    Averaged,
    AveragingOptions,
    MultiKrum,
    ScaledUpdates,
    federated_average,
    retrain,
    roll_back,
)

START = {"w": np.zeros(3)}
OPTIONS = AveragingOptions(rounds=6, local_epochs=2, batch_size=4, learning_rate=0.02, least_members=2)
FULL = replace(OPTIONS, batch_size=0, local_epochs=1)
LEFT = tuple(name for name in NAMES if name != "south")
BOTH = pytest.mark.parametrize("options", [OPTIONS, FULL], ids=["batches", "full"])


def never_joined(options: AveragingOptions) -> Averaged:
    return federated_average(channel_of({name: members()[name] for name in LEFT}), START, options)


def same(mine: Averaged, others: Averaged) -> None:
    np.testing.assert_allclose(mine.weights["w"], others.weights["w"], atol=1e-12)


@BOTH
@pytest.mark.parametrize("unlearn", [retrain, roll_back])
def test_a_founder_leaves(options: AveragingOptions, unlearn: object) -> None:
    found = federated_average(channel_of(members()), START, options)
    done = unlearn(channel_of(members()), found, "south")  # type: ignore[operator]
    same(done.averaged, never_joined(options))
    assert (done.first, done.lost, done.repeated) == (0, 6, 6)
    assert "south" not in done.averaged.members
    assert "south" in found.members
    assert done.n_bytes > 0
    assert done.limitations == ()


@BOTH
@pytest.mark.parametrize("joins", [1, 4, 5])
def test_a_member_that_joined_later_leaves(options: AveragingOptions, joins: int) -> None:
    found = federated_average(channel_of(members()), START, options, joined={"south": joins})
    never = never_joined(options)
    for mine, others in zip(found.states[: joins + 1], never.states[: joins + 1], strict=True):
        np.testing.assert_array_equal(mine["w"], others["w"])
    done = roll_back(channel_of(members()), found, "south")
    same(done.averaged, never)
    assert (done.first, done.lost) == (joins, 6 - joins)
    assert len(done.averaged.history) == len(done.averaged.states) == 6
    same(retrain(channel_of(members()), found, "south").averaged, never)


def test_the_leaver_is_not_asked_and_needs_no_channel() -> None:
    found = federated_average(channel_of(members()), START, OPTIONS)
    channel = channel_of(members())
    roll_back(channel, found, "south")
    assert "south" not in {one.receiver for one in channel.traffic.sent}
    done = roll_back(channel_of({name: members()[name] for name in LEFT}), found, "south")
    same(done.averaged, never_joined(OPTIONS))


def test_fewer_rounds_end_at_the_last_learning_rate_and_say_so() -> None:
    found = federated_average(channel_of(members()), START, OPTIONS)
    done = roll_back(channel_of(members()), found, "south", rounds=3)
    assert [own.round for own in done.averaged.history] == [1, 3, 5]
    assert done.repeated == 3
    assert any("3 of 6" in said for said in done.limitations)
    full = never_joined(OPTIONS).weights["w"]
    # It has not seen the leaver, and has gone part of the way.
    assert 0 < np.linalg.norm(done.averaged.weights["w"] - full) < np.linalg.norm(full)


def test_one_after_the_other_is_both_at_once() -> None:
    found = federated_average(channel_of(members()), START, replace(OPTIONS, least_members=1))
    one = roll_back(channel_of(members()), found, "south").averaged
    left = {name: members()[name] for name in LEFT}
    both = roll_back(channel_of(left), one, "east").averaged
    expected = federated_average(
        channel_of({name: left[name] for name in ("north", "west")}), START, replace(OPTIONS, least_members=1)
    )
    same(both, expected)


def test_a_member_that_never_answered_has_left_nothing() -> None:
    channel = channel_of(members(), lost=lambda task, member, before: member == "south")
    found = federated_average(channel, START, OPTIONS)
    done = roll_back(channel_of(members()), found, "south")
    assert (done.lost, done.repeated, done.n_bytes) == (0, 0, 0)
    assert done.averaged is found


def test_a_member_that_vanished_at_first_is_rolled_back_to_its_first_answer() -> None:
    channel = channel_of(members(), lost=lambda task, member, before: member == "south" and before < 2)
    done = roll_back(channel_of(members()), federated_average(channel, START, OPTIONS), "south")
    assert done.first == 2
    same(done.averaged, never_joined(OPTIONS))


def test_a_member_that_a_rule_always_rejected_has_still_decided() -> None:
    names = (*NAMES, "centre", "coast")
    learners = members(names)
    learners["south"] = ScaledUpdates(learners["south"], 1e3)
    found = federated_average(channel_of(learners), START, OPTIONS, aggregate=MultiKrum(1))
    assert all(own.rejected == ("south",) for own in found.history)
    done = roll_back(channel_of(learners), found, "south")
    assert done.first == 0
    del learners["south"]
    same(done.averaged, federated_average(channel_of(learners), START, OPTIONS, aggregate=MultiKrum(1)))


def test_sums_before_and_after_give_the_leavers_update_away() -> None:
    options = replace(FULL, rounds=1, secure=True, schedule="constant")
    learners = members()
    channel = channel_of(learners, secure=True)
    found = federated_average(channel, START, options)
    done = roll_back(channel, found, "south")
    rows = {name: own.n_samples for name, own in learners.items()}
    total = found.weights["w"] * sum(rows.values())
    rest = done.averaged.weights["w"] * sum(rows[name] for name in LEFT)
    own = learners["south"].train(START, options.local(0), 0, 0)["w"]
    np.testing.assert_allclose((total - rest) / rows["south"], own, atol=1e-9)
    assert any("subtract" in said for said in done.limitations)


def test_secure_rollback_is_the_plain_one() -> None:
    options = replace(OPTIONS, secure=True, least_members=None)
    channel = channel_of(members(), secure=True)
    found = federated_average(channel, START, options)
    done = roll_back(channel, found, "south")
    np.testing.assert_allclose(done.averaged.weights["w"], never_joined(OPTIONS).weights["w"], atol=1e-11)


def test_what_stays_fixed_and_saw_the_leaver_is_said() -> None:
    found = federated_average(channel_of(members()), START, OPTIONS)
    done = roll_back(channel_of(members()), found, "south", fixed_saw=NAMES)
    assert any("fixed" in said for said in done.limitations)


def test_refusals() -> None:
    found = federated_average(channel_of(members()), START, OPTIONS)
    channel = channel_of(members())
    with pytest.raises(InputError, match="nowhere"):
        roll_back(channel, found, "nowhere")
    for rounds, said in ((0, "at least 1"), (7, "at most the 6")):
        with pytest.raises(InputError, match=said):
            roll_back(channel, found, "south", rounds=rounds)
    states = federated_average(channel_of(members()), START, replace(OPTIONS, keep_states=False))
    with pytest.raises(InputError, match="keep_states"):
        roll_back(channel, states, "south")
    same(retrain(channel, states, "south").averaged, never_joined(OPTIONS))
    two = {name: members()[name] for name in ("north", "south")}
    pair = federated_average(channel_of(two), START, OPTIONS)
    with pytest.raises(InputError, match="at least 2 in round 0"):
        roll_back(channel_of(two), pair, "south")
    gone = channel_of(members(), lost=lambda task, member, before: member != "north")
    with pytest.raises(ProtocolError, match="at least 2"):
        roll_back(gone, found, "south")
