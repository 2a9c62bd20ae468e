"""Totals of meters: exact, of enough meters, with parties that vanish or send what is wrong."""

import signal
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import Identity, LocalChannel, Party
from unlearn.privacy.mpc import (
    BoxKey,
    MeterAggregator,
    MeterDirectory,
    MeterRules,
    PartyProcess,
    PartyProcesses,
    Sealed,
    SumRun,
    TrialMeters,
    open_shares,
    seal_readings,
    sum_meters,
    trial_meters,
)
from unlearn.privacy.mpc.aggregator import AGREE, COLLECT, OPEN
from unlearn.privacy.mpc.shamir import FIELD

RULES = MeterRules(minimum=3, largest=1000)
GROUPS = ["north"] * 4 + ["south"] * 5 + ["west"] * 3


@pytest.fixture(scope="module")
def meters() -> TrialMeters:
    return trial_meters(GROUPS, RULES)


@pytest.fixture
def readings(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 1001, (len(GROUPS), 4))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def sealed_by(
    meters: TrialMeters, run: SumRun, readings: np.ndarray, who: list[int] | None = None
) -> dict[str, Sealed]:
    who = list(range(len(readings))) if who is None else who
    return seal_readings(meters.directory, run, who, [meters.keys[at] for at in who], readings[who])


def new_run(meters: TrialMeters, period: str = "day", **settings: bool) -> SumRun:
    return SumRun.new(meters.directory, period, 4, **settings)


def changed(party: Party, task: str, change) -> Party:
    """A party whose answers to one task are changed."""
    handlers = {**party.handlers, task: lambda kept, asked: change(party.handlers[task](kept, asked))}
    return Party(party.name, handlers)


def require_exact(result, meters: TrialMeters, readings: np.ndarray) -> None:
    inside = readings[result.included]
    assert result.region.tolist() == inside.sum(axis=0).tolist()
    groups = np.array(meters.directory.groups)[result.included]
    for name, total in zip(result.groups, result.totals, strict=True):
        assert total.tolist() == inside[groups == name].sum(axis=0).tolist()


def test_totals_are_exact(meters: TrialMeters, readings: np.ndarray) -> None:
    run = new_run(meters)
    result = sum_meters(LocalChannel(meters.parties()), meters.directory, run, sealed_by(meters, run, readings))
    assert result.groups == ("north", "south", "west")
    assert (result.detectable, result.correctable, result.wrong, len(result.left_out)) == (2, 1, (), 0)
    require_exact(result, meters, readings)


@settings(max_examples=proof_count(1000), deadline=None)
@given(st.data())
def test_random_configurations_are_exact(data: st.DataObject) -> None:
    m = data.draw(st.integers(3, 6))
    threshold = data.draw(st.integers(m // 2, m - 1))
    largest = data.draw(st.sampled_from([1, 1000, 2**40]))
    groups = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=3, max_size=9))
    meters = trial_meters(groups, MeterRules(threshold, 2, largest), m)
    value = st.one_of(st.sampled_from([0, largest]), st.integers(0, largest))
    readings = np.array(data.draw(st.lists(st.lists(value, min_size=4, max_size=4), min_size=9, max_size=9)))
    readings = readings[: len(groups)]
    gone = data.draw(st.sets(st.sampled_from(meters.directory.aggregators), max_size=m - threshold - 1))
    stage = data.draw(st.sampled_from([COLLECT, AGREE, OPEN]))
    channel = LocalChannel(meters.parties(), lost=lambda task, member, before: task == stage and member in gone)
    run = new_run(meters, open_groups=data.draw(st.booleans()))
    result = sum_meters(channel, meters.directory, run, sealed_by(meters, run, readings))
    assert set(result.vanished) == gone
    require_exact(result, meters, readings)


def test_meters_that_drop_out_or_reach_some_aggregators_are_left_out(meters: TrialMeters, readings: np.ndarray) -> None:
    run = new_run(meters)
    sealed = sealed_by(meters, run, readings, [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11])
    second = meters.directory.aggregators[1]
    sealed[second] = Sealed(sealed[second].meters[:3], sealed[second].boxes[:3])
    result = sum_meters(LocalChannel(meters.parties()), meters.directory, run, sealed)
    assert (result.included.tolist(), result.left_out.tolist()) == ([0, 1, 2], list(range(4, 12)))
    assert result.groups == ("north",)
    require_exact(result, meters, readings)


def test_small_groups_stay_closed_and_no_sum_is_given_of_too_few(meters: TrialMeters, readings: np.ndarray) -> None:
    run = new_run(meters)
    result = sum_meters(
        LocalChannel(meters.parties()), meters.directory, run,
        sealed_by(meters, run, readings, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    )  # fmt: skip
    # One meter of the west sent: the smaller of the other groups stays closed, or the region would tell it.
    assert (result.groups, result.not_enough, result.held_back) == (("south",), ("west",), ("north",))
    run, channel = new_run(meters), LocalChannel(meters.parties(), full=True)
    with pytest.raises(ProtocolError, match="not enough meters"):
        sum_meters(channel, meters.directory, run, sealed_by(meters, run, readings, [0, 4]))
    assert not [one for one in channel.traffic.sent if one.task in (AGREE, OPEN)]


def test_groups_can_stay_secret(meters: TrialMeters, readings: np.ndarray) -> None:
    run = new_run(meters, open_groups=False)
    channel = LocalChannel(meters.parties(), full=True)
    result = sum_meters(channel, meters.directory, run, sealed_by(meters, run, readings))
    assert (result.groups, result.totals.shape) == ((), (0, 4))
    require_exact(result, meters, readings)


@pytest.mark.parametrize("at", range(5))
def test_a_wrong_aggregator_is_named_and_put_right(meters: TrialMeters, readings: np.ndarray, at: int) -> None:
    def wrong(answer):
        share = answer["group_shares"].copy()
        share[1, 2] = FIELD.add(share[1, 2], np.uint64(1))
        return {**answer, "group_shares": share}

    parties = meters.parties()
    parties[at] = changed(parties[at], OPEN, wrong)
    run = new_run(meters)
    sealed = sealed_by(meters, run, readings)
    result = sum_meters(LocalChannel(parties), meters.directory, run, sealed)
    assert result.wrong == (parties[at].name,)
    require_exact(result, meters, readings)
    others = meters.parties()
    others[at] = changed(others[at], OPEN, wrong)
    with pytest.raises(ProtocolError, match="wrong ones"):
        sum_meters(LocalChannel(others), meters.directory, run, sealed, correct=False)
    # Without redundancy there is no putting right: one is gone, and four can only notice.
    third = meters.parties()
    third[at] = changed(third[at], OPEN, wrong)
    gone = third[(at + 1) % 5].name
    with pytest.raises(ProtocolError, match="wrong ones"):
        sum_meters(LocalChannel(third, lambda task, member, before: member == gone), meters.directory, run, sealed)


def test_too_many_vanished(meters: TrialMeters, readings: np.ndarray) -> None:
    run = new_run(meters)
    gone = meters.directory.aggregators[:3]
    channel = LocalChannel(meters.parties(), lost=lambda task, member, before: task == OPEN and member in gone)
    with pytest.raises(ProtocolError, match="at least 3 of 5 aggregators at meter-open, got 2; vanished: agg"):
        sum_meters(channel, meters.directory, run, sealed_by(meters, run, readings))


def test_replayed_swapped_and_foreign_messages_are_refused(meters: TrialMeters, readings: np.ndarray) -> None:
    run, before = new_run(meters), new_run(meters)
    sealed, old = sealed_by(meters, run, readings), sealed_by(meters, before, readings)
    first, second = meters.directory.aggregators[:2]
    boxes = sealed[first].boxes.copy()
    boxes[0] = old[first].boxes[0]  # of another run
    boxes[[1, 2]] = boxes[[2, 1]]  # of each other
    boxes[3] = sealed[second].boxes[3]  # for another aggregator
    boxes[4, 20] ^= 1  # changed on the way
    stranger = BoxKey.new()
    keys = list(meters.directory.meter_keys)
    keys[5] = stranger.public
    other = replace(meters.directory, meter_keys=keys)
    forged = seal_readings(other, run, [5], [stranger], readings[[5]])
    boxes[5] = forged[first].boxes[0]  # of nobody whom the aggregators know
    sealed[first] = Sealed(sealed[first].meters, boxes)
    result = sum_meters(LocalChannel(meters.parties()), meters.directory, run, sealed)
    assert result.refused[first].tolist() == list(range(6))
    assert result.included.tolist() == list(range(6, 12))
    require_exact(result, meters, readings)


def test_two_sharings_of_one_meter_do_not_mix(meters: TrialMeters, readings: np.ndarray) -> None:
    run = new_run(meters)
    sealed, again = sealed_by(meters, run, readings), sealed_by(meters, run, readings)
    first = meters.directory.aggregators[0]
    boxes = sealed[first].boxes.copy()
    boxes[2] = again[first].boxes[2]
    sealed[first] = Sealed(sealed[first].meters, boxes)
    result = sum_meters(LocalChannel(meters.parties()), meters.directory, run, sealed)
    assert result.left_out.tolist() == [2]
    require_exact(result, meters, readings)


def test_a_second_set_that_differs_by_few_meters_is_refused(meters: TrialMeters, readings: np.ndarray) -> None:
    channel, run = LocalChannel(meters.parties()), new_run(meters)
    sealed = sealed_by(meters, run, readings)
    sum_meters(channel, meters.directory, run, sealed)
    with pytest.raises(ProtocolError, match="expected a new run"):
        sum_meters(channel, meters.directory, run, sealed)
    without_one = [at for at in range(12) if at != 7]
    run = new_run(meters)
    with pytest.raises(ProtocolError, match="differ by fewer than 3 meters"):
        sum_meters(channel, meters.directory, run, sealed_by(meters, run, readings, without_one))
    for period, who in (("day", None), ("next day", without_one)):  # the same again, or another period
        run = new_run(meters, period)
        require_exact(
            sum_meters(channel, meters.directory, run, sealed_by(meters, run, readings, who)), meters, readings
        )


def test_different_sets_at_different_aggregators_open_nothing(meters: TrialMeters, readings: np.ndarray) -> None:
    run = new_run(meters)
    sealed, parties = sealed_by(meters, run, readings), meters.parties()
    names, as_run = meters.directory.aggregators, np.frombuffer(run.run.encode(), dtype=np.uint8)
    about = np.frombuffer(run.text().encode(), dtype=np.uint8)
    for party in parties:
        own = sealed[party.name]
        party.answer(COLLECT, {"about": about, "meters": own.meters, "boxes": own.boxes})
    sets = [np.arange(12)] * 2 + [np.arange(9)] * 3
    signed = [
        party.answer(AGREE, {"run": as_run, "included": one})["signature"]
        for party, one in zip(parties, sets, strict=True)
    ]
    with pytest.raises(ProtocolError, match="one set of meters in a run"):
        parties[0].answer(AGREE, {"run": as_run, "included": sets[4]})
    told = {"run": as_run, "from": np.arange(5), "signature": np.stack(signed)}
    with pytest.raises(ProtocolError, match="signatures of 3 aggregators for its set of meters, got 2"):
        parties[0].answer(OPEN, told)
    twice = {"run": as_run, "from": np.array([0, 1, 1]), "signature": np.stack([signed[0], signed[1], signed[1]])}
    with pytest.raises(ProtocolError, match="got 2"):
        parties[1].answer(OPEN, twice)
    assert len(names) == 5


def test_aggregators_refuse_what_is_out_of_turn(meters: TrialMeters, readings: np.ndarray) -> None:
    run, party = new_run(meters), meters.parties()[0]
    own = sealed_by(meters, run, readings)[party.name]
    about = np.frombuffer(run.text().encode(), dtype=np.uint8)
    as_run = np.frombuffer(run.run.encode(), dtype=np.uint8)
    none = np.zeros((0, 64), dtype=np.uint8)
    with pytest.raises(ProtocolError, match="run whose shares it has"):
        party.answer(AGREE, {"run": as_run, "included": np.arange(12)})
    with pytest.raises(ProtocolError, match="at most once, in order"):
        party.answer(COLLECT, {"about": about, "meters": own.meters[::-1], "boxes": own.boxes})
    with pytest.raises(ProtocolError, match="shape"):
        party.answer(COLLECT, {"about": about, "meters": own.meters, "boxes": own.boxes[:, 1:]})
    with pytest.raises(ProtocolError, match="expected arrays"):
        party.answer(COLLECT, {"about": about})
    other = trial_meters(GROUPS, RULES)
    foreign = np.frombuffer(new_run(other).text().encode(), dtype=np.uint8)
    with pytest.raises(ProtocolError, match="expected one of the directory"):
        party.answer(COLLECT, {"about": foreign, "meters": own.meters, "boxes": own.boxes})
    with pytest.raises(ProtocolError, match="got another text"):
        party.answer(COLLECT, {"about": about[1:], "meters": own.meters, "boxes": own.boxes})
    party.answer(COLLECT, {"about": about, "meters": own.meters, "boxes": own.boxes})
    with pytest.raises(ProtocolError, match="set of meters before"):
        party.answer(OPEN, {"run": as_run, "from": np.zeros(0, dtype=int), "signature": none})
    with pytest.raises(ProtocolError, match="meters whose shares it has"):
        party.answer(AGREE, {"run": as_run, "included": np.array([0, 1, 99])})


def test_totals_above_what_readings_allow_are_not_given(meters: TrialMeters, readings: np.ndarray) -> None:
    def more(answer):
        return {**answer, "region_share": FIELD.add(answer["region_share"], np.uint64(10**9))}

    run = new_run(meters)
    parties = [changed(party, OPEN, more) for party in meters.parties()]
    with pytest.raises(ProtocolError, match="largest readings together"):
        sum_meters(LocalChannel(parties), meters.directory, run, sealed_by(meters, run, readings))


def test_readings_that_cannot_be_summed_are_refused_at_the_meter(meters: TrialMeters, readings: np.ndarray) -> None:
    run = new_run(meters)
    for bad, told in (
        (readings.astype(float), "whole numbers"),
        (readings[:, :3], "shape"),
        (np.full_like(readings, 1001), "largest"),
        (np.full_like(readings, -1), "largest"),
    ):
        with pytest.raises(InputError, match=told):
            sealed_by(meters, run, bad)
    with pytest.raises(InputError, match="the key that the directory has"):
        seal_readings(meters.directory, run, [0], [meters.keys[1]], readings[:1])
    with pytest.raises(InputError, match="in order with a key each"):
        seal_readings(meters.directory, run, [1, 0], [meters.keys[1]], readings[:2])


def test_directories_that_cannot_work_are_refused(meters: TrialMeters) -> None:
    directory = meters.directory
    for change, told in (
        ({"groups": directory.groups[1:]}, "a group and a key"),
        ({"meters": [directory.meters[0]] * 12}, "some twice"),
        ({"meter_keys": [b"short"] * 12}, "32 bytes"),
        ({"rules": MeterRules(largest=2**58)}, "so that no sum exceeds"),
        ({"rules": MeterRules(threshold=1)}, "more than half"),
        ({"rules": MeterRules(threshold=5)}, "below the holders"),
        ({"box_keys": {"x": BoxKey.new().public}}, "expected the aggregators"),
    ):
        with pytest.raises(InputError, match=told):
            replace(directory, **change)
    for rules, told in (({"minimum": 1}, "at least 2"), ({"quorum": 2}, "above the threshold"), ({"largest": 0}, "1")):
        with pytest.raises(InputError, match=told):
            MeterRules(**rules)
    assert MeterDirectory.from_text(directory.text()).fingerprint == directory.fingerprint
    with pytest.raises(InputError, match="another text"):
        MeterDirectory.from_text("{}")
    with pytest.raises(InputError, match="period"):
        SumRun.new(directory, " ", 4)
    with pytest.raises(InputError, match="the keys that the directory has"):
        MeterAggregator(directory.aggregators[0], directory, BoxKey.new(), Identity.new())
    foreign = new_run(trial_meters(GROUPS, RULES))
    with pytest.raises(InputError, match="expected one of this directory"):
        sum_meters(LocalChannel(meters.parties()), directory, foreign, {})
    with pytest.raises(InputError, match="expected the aggregators"):
        sum_meters(LocalChannel(meters.parties()[1:]), directory, new_run(meters), {})


def test_what_t_aggregators_hold_does_not_depend_on_readings(meters: TrialMeters) -> None:
    # The same view for every reading: shares are opened from sealed messages, and compared in 8 parts of the field.
    run = SumRun.new(meters.directory, "view", 4000)
    for value in (0, 1000):
        sealed = seal_readings(meters.directory, run, [0], [meters.keys[0]], np.full((1, 4000), value))
        parts = []
        for name in meters.directory.aggregators[:2]:
            shares = open_shares(meters.directory, run, name, BoxKey(meters.boxes[name]), sealed[name])[2]
            parts.append((shares[0] >> np.uint64(58)).astype(np.int64))
        assert stats.chisquare(np.bincount(parts[0] * 8 + parts[1], minlength=64)).pvalue > 1e-7


@pytest.mark.slow
def test_five_aggregators_in_processes_of_their_own(meters: TrialMeters, readings: np.ndarray) -> None:
    names = meters.directory.aggregators
    own = [
        PartyProcess(name, "unlearn.privacy.mpc.aggregator:aggregator_party", meters.private_input(name))
        for name in names
    ]
    with PartyProcesses(own, timeout_s=30) as started:
        run = new_run(meters)
        sealed = sealed_by(meters, run, readings)
        require_exact(sum_meters(started.channel, meters.directory, run, sealed), meters, readings)
        for name in names[:2]:
            started.processes[name].send_signal(signal.SIGKILL)
            started.processes[name].wait()
        run = new_run(meters)
        result = sum_meters(started.channel, meters.directory, run, sealed_by(meters, run, readings))
        assert result.vanished == names[:2]
        assert (result.detectable, result.correctable) == (0, 0)
        require_exact(result, meters, readings)
        started.processes[names[2]].send_signal(signal.SIGKILL)
        started.processes[names[2]].wait()
        run = new_run(meters)
        with pytest.raises(ProtocolError, match="at least 3 of 5 aggregators at meter-collect, got 2"):
            sum_meters(started.channel, meters.directory, run, sealed_by(meters, run, readings))
    assert all(process.poll() is not None for process in started.processes.values())
