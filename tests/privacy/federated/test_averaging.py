"""Federated averaging against pooled gradient descent, with members that vanish, refuse or send something else."""

from dataclasses import replace

import numpy as np
import pytest

from tests.privacy.federated.federations import NAMES, Answering, LinearLearner, channel_of, members, pooled
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import (
    AveragingOptions,
    CoordinateMedian,
    LocalChannel,
    LocalTraining,
    MultiKrum,
    Party,
    ScaledUpdates,
    TrimmedMean,
    averaging_party,
    federated_average,
)
from unlearn.privacy.federated.learners import seed_of

START = {"w": np.zeros(3)}
FULL = AveragingOptions(rounds=6, batch_size=0, learning_rate=0.05, schedule="constant")
BOTH = pytest.mark.parametrize("secure", [False, True], ids=["plain", "secure"])


@BOTH
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_one_full_step_a_round_is_pooled_gradient_descent(secure: bool, schedule: str) -> None:
    options = replace(FULL, secure=secure, schedule=schedule)
    learners = members()
    found = federated_average(channel_of(learners, secure), START, options)
    everything, weights = pooled(list(learners.values())), START
    for number in range(options.rounds):
        weights = everything.train(weights, options.local(number), number, 0)
    np.testing.assert_allclose(found.weights["w"], weights["w"], atol=1e-10)
    assert [own.members for own in found.history] == [NAMES] * 6
    assert [own.vanished for own in found.history] == [()] * 6


def test_a_round_is_the_weighted_mean_of_what_members_trained() -> None:
    options = AveragingOptions(rounds=1, local_epochs=3, batch_size=4, learning_rate=0.01, seed=5)
    learners = members()
    found = federated_average(channel_of(learners), START, options)
    trained = [own.train(START, options.local(0), 0, seed_of(5, 0, name))["w"] for name, own in learners.items()]
    expected = np.average(trained, axis=0, weights=[own.n_samples for own in learners.values()])
    np.testing.assert_allclose(found.weights["w"], expected, rtol=1e-12)
    norms = {name: np.linalg.norm(w) for name, w in zip(learners, trained, strict=True)}
    assert found.history[0].norms == pytest.approx(norms)
    assert found.history[0].n_bytes > 0


def test_secure_equals_plain_to_the_fixed_point() -> None:
    options = AveragingOptions(rounds=3, local_epochs=2, batch_size=4, learning_rate=0.01)
    plain = federated_average(channel_of(members()), START, options)
    secure = federated_average(channel_of(members(), True), START, replace(options, secure=True))
    # Each of four summands is rounded to 2^-40 and their sum is divided by 82 rows, thrice.
    np.testing.assert_allclose(secure.weights["w"], plain.weights["w"], atol=1e-12)
    assert all(not own.norms for own in secure.history)


def test_a_secure_member_gives_its_update_to_nobody() -> None:
    channel = channel_of(members(), secure=True)
    with pytest.raises(ProtocolError, match="at least 3 members, got 0"):
        federated_average(channel, START, FULL)


@BOTH
def test_who_vanishes_is_not_in_the_weights_of_the_mean(secure: bool) -> None:
    task = "sum/masked" if secure else "average/train"
    channel = channel_of(members(), secure, lambda asked, member, before: (asked, member, before) == (task, "south", 1))
    options = replace(FULL, secure=secure, rounds=3)
    found = federated_average(channel, START, options)
    assert [own.vanished for own in found.history] == [(), ("south",), ()]
    weights, learners = START, members()
    for number in range(3):
        there = [own for name, own in learners.items() if (name, number) != ("south", 1)]
        weights = pooled(there).train(weights, options.local(number), number, 0)
    np.testing.assert_allclose(found.weights["w"], weights["w"], atol=1e-10)


class Refusing(Answering):
    def __init__(self) -> None:
        super().__init__(lambda weights: weights)

    def train(self, weights: dict, options: LocalTraining, round: int, seed: int) -> dict:
        raise InputError("its rows are gone.")


WRONG = {
    "refusal": (Refusing(), "its rows are gone"),
    "NaN": (Answering(lambda weights: {"w": np.full(3, np.nan)}), "finite"),
    "shape": (Answering(lambda weights: {"w": np.zeros(4)}), "shape"),
    "names": (Answering(lambda weights: {"v": np.zeros(3)}), "w"),
    "more names": (Answering(lambda weights: {**weights, "v": np.zeros(3)}), "v"),
    "type": (Answering(lambda weights: {"w": np.array(["a", "b", "c"])}), "w"),
    "axes": (Answering(lambda weights: {"w": np.zeros((3, 1))}), "shape"),
}


@BOTH
@pytest.mark.parametrize("kind", WRONG)
def test_a_member_with_a_wrong_answer_is_left_out_with_a_reason(kind: str, secure: bool) -> None:
    learners = members()
    learners["south"], said = WRONG[kind]
    options = replace(FULL, secure=secure, rounds=1)
    found = federated_average(channel_of(learners, secure), START, options)
    record = found.history[0]
    assert set(record.refused) == {"south"}
    assert said in record.refused["south"]
    assert record.members == ("north", "east", "west")
    del learners["south"]
    weights = pooled(list(learners.values())).train(START, options.local(0), 0, 0)
    np.testing.assert_allclose(found.weights["w"], weights["w"], atol=1e-10)


SENT = {
    "no number": ({"update/w": np.zeros(3)}, "expected arrays"),
    "no rows": ({"n": np.zeros(1), "update/w": np.zeros(3)}, "at least one row"),
    "infinite rows": ({"n": np.array([np.inf]), "update/w": np.zeros(3)}, "finite"),
    "NaN": ({"n": np.ones(1), "update/w": np.full(3, np.nan)}, "finite"),
    "shape": ({"n": np.ones(1), "update/w": np.zeros((3, 1))}, "shape"),
    "names": ({"n": np.ones(1), "update/v": np.zeros(3)}, "update/w"),
    "type": ({"n": np.ones(1), "update/w": np.zeros(3, dtype=np.int64)}, "floating"),
}


@pytest.mark.parametrize("kind", SENT)
def test_a_party_that_runs_code_of_its_own_is_left_out_with_a_reason(kind: str) -> None:
    sent, said = SENT[kind]
    own = Party("south", {"average/train": lambda kept, asked: sent, "abort": lambda kept, asked: {}})
    others = [averaging_party(name, learner) for name, learner in members().items() if name != "south"]
    record = federated_average(LocalChannel([*others, own]), START, replace(FULL, rounds=1)).history[0]
    assert said in record.refused["south"]
    assert record.members == ("north", "east", "west")


@BOTH
def test_too_few_answers_end_it_and_everybody_is_told(secure: bool, caplog: pytest.LogCaptureFixture) -> None:
    task = "sum/keys" if secure else "average/train"
    channel = channel_of(members(), secure, lambda asked, member, before: asked == task and member in NAMES[:2])
    with pytest.raises(ProtocolError, match="at least 3"):
        federated_average(channel, START, replace(FULL, secure=secure))
    told = {one.receiver for one in channel.traffic.sent if one.task == "abort"}
    assert told >= set(NAMES[2:])
    assert any(record.name.startswith("unlearn.privacy.federated") for record in caplog.records)


def test_too_few_that_do_not_refuse_end_a_secure_round() -> None:
    learners = members()
    learners["south"], _ = WRONG["NaN"]
    learners["west"], _ = WRONG["shape"]
    with pytest.raises(ProtocolError, match="at least 3"):
        federated_average(channel_of(learners, True), START, replace(FULL, secure=True))


def test_fewer_members_than_least_are_enough_if_one_says_so() -> None:
    channel = channel_of(members(), lost=lambda task, member, before: member != "north")
    found = federated_average(channel, START, replace(FULL, least_members=1))
    assert all(own.members == ("north",) for own in found.history)


@pytest.mark.parametrize("factor", [1e3, -1e3])
@pytest.mark.parametrize("rule", [CoordinateMedian(), TrimmedMean(1), MultiKrum(1)])
def test_robust_rules_bear_a_scaled_update_and_the_mean_does_not(rule: object, factor: float) -> None:
    names = (*NAMES, "centre")
    learners = members(names)
    target = pooled(list(learners.values()))
    optimum = np.linalg.lstsq(target.inputs, target.targets)[0]
    learners["west"] = ScaledUpdates(learners["west"], factor)
    robust = federated_average(channel_of(learners), START, FULL, aggregate=rule)
    mean = federated_average(channel_of(learners), START, FULL)
    assert np.linalg.norm(robust.weights["w"] - optimum) < 1 < 1e2 < np.linalg.norm(mean.weights["w"])
    if isinstance(rule, MultiKrum):
        assert all(own.rejected == ("west",) for own in robust.history)


@BOTH
def test_clipping_is_done_by_members(secure: bool) -> None:
    learners = members()
    learners["west"] = ScaledUpdates(learners["west"], 100.0)
    found = federated_average(channel_of(learners, secure), START, replace(FULL, secure=secure, clip=0.01))
    assert all(own.norm <= 0.01 * (1 + 1e-9) for own in found.history)
    assert all(max(own.norms.values()) <= 0.01 * (1 + 1e-9) for own in found.history if own.norms)


@BOTH
def test_members_count_once_each_if_asked_for(secure: bool) -> None:
    learners = members()
    options = replace(FULL, rounds=1, weigh="members", secure=secure)
    found = federated_average(channel_of(learners, secure), START, options)
    expected = np.mean([own.train(START, options.local(0), 0, 0)["w"] for own in learners.values()], axis=0)
    np.testing.assert_allclose(found.weights["w"], expected, atol=1e-10)


def test_order_of_members_and_who_else_is_there_do_not_change_seeds() -> None:
    options = replace(FULL, batch_size=3)
    one = federated_average(channel_of(members()), START, options)
    other = federated_average(channel_of(dict(reversed(members().items()))), START, options)
    np.testing.assert_allclose(one.weights["w"], other.weights["w"], atol=1e-12)
    assert len({seed_of(0, r, name) for r in range(5) for name in NAMES}) == 20


def test_who_joins_later_is_not_asked_before() -> None:
    found = federated_average(channel_of(members()), START, FULL, joined={"west": 4})
    assert ["west" in own.members for own in found.history] == [False] * 4 + [True] * 2
    never = federated_average(channel_of(members()), START, FULL, members=NAMES[:3])
    for mine, others in zip(found.states[:5], never.states[:5], strict=True):
        np.testing.assert_array_equal(mine["w"], others["w"])


def test_states_are_kept_only_if_asked_for() -> None:
    found = federated_average(channel_of(members()), START, replace(FULL, keep_states=False))
    assert len(found.states) == 1
    np.testing.assert_array_equal(found.states[0]["w"], START["w"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rounds": 0}, "rounds"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"optimiser": "newton"}, "optimiser"),
        ({"schedule": "linear"}, "schedule"),
        ({"weigh": "votes"}, "weigh"),
        ({"aggregation": "best"}, "aggregation"),
        ({"least_members": 0}, "least_members"),
        ({"clip": -1.0}, "clip"),
        ({"secure": True, "aggregation": "median"}, "secure"),
    ],
)
def test_settings_are_checked(changed: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        AveragingOptions(**changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"initial": {}}, "initial"),
        ({"initial": {"w": np.array([np.inf])}}, "initial"),
        ({"initial": {"w": np.array([1, 2])}}, "initial"),
        ({"initial": {"w": np.array(1.0)}}, "axis"),
        ({"members": ["nowhere"]}, "nowhere"),
        ({"members": ["north", "north"]}, "twice"),
        ({"joined": {"nowhere": 1}}, "nowhere"),
        ({"joined": dict.fromkeys(NAMES, 2)}, "round 0"),
        ({"aggregate": MultiKrum(1)}, "MultiKrum"),
    ],
)
def test_arguments_are_checked_before_anybody_is_asked(changed: dict, said: str) -> None:
    channel = channel_of(members())
    with pytest.raises(InputError, match=said):
        federated_average(channel, changed.pop("initial", START), FULL, **changed)
    assert not channel.traffic.sent


def test_a_robust_rule_needs_updates_in_plain_sight() -> None:
    with pytest.raises(InputError, match="secure=True"):
        federated_average(channel_of(members(), True), START, replace(FULL, secure=True), aggregate=CoordinateMedian())


def test_members_refuse_what_is_no_round() -> None:
    channel = channel_of(members())
    for message, said in (({}, "expected arrays"), ({"other/x": np.zeros(1)}, "arrays of a round")):
        reply = channel.ask("average/train", {"north": message})
        assert said in reply.refusals["north"]


def test_linear_learner_is_the_oracle_that_it_is_taken_for() -> None:
    own = members()["north"]
    assert isinstance(own, LinearLearner)
    weights = START
    for _ in range(3000):
        weights = own.train(weights, LocalTraining(1, 0, 0.1), 0, 0)
    np.testing.assert_allclose(weights["w"], np.linalg.lstsq(own.inputs, own.targets)[0], atol=1e-8)
