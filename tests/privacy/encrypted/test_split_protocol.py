"""Sums and bills with split keys over a channel: exact, and a holder that fails is survived where enough are left."""

import secrets

import numpy as np
import pytest
from scipy import stats

from tests.privacy.encrypted.parties import DAY, HOLDERS, SPLIT, WEEK, bill_party, private_input, sum_party
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted import Summands, encrypted_bills, new_keys, split_meter, split_sum, sum_holder
from unlearn.privacy.federated import Identity, LocalChannel, Party, Roster
from unlearn.privacy.mpc import PartyProcess, PartyProcesses

pytestmark = pytest.mark.extras

NAMES = tuple(f"meter_{i}" for i in range(5))
PRIVATE = {name: secrets.token_bytes(32) for name in (*NAMES, *HOLDERS, "server")}
OWN = {name: Identity(private) for name, private in PRIVATE.items()}
ROSTER = Roster({name: own.public for name, own in OWN.items()})
ROWS = np.random.default_rng(0).integers(0, DAY.high + 1, (len(NAMES), DAY.n_values))
WEEKS = np.random.default_rng(1).integers(WEEK.low, WEEK.high + 1, (len(NAMES), WEEK.n_values))
RATES = np.random.default_rng(2).integers(-6_720, 6_721, WEEK.n_values)
BILLS = {name: int(week @ RATES) for name, week in zip(NAMES, WEEKS, strict=True)}


def parties(make, rows: np.ndarray) -> list[Party]:
    found = [make(name, private_input(PRIVATE[name], ROSTER, row)) for name, row in zip(NAMES, rows, strict=True)]
    return found + [make(name, private_input(PRIVATE[name], ROSTER)) for name in HOLDERS]


def total(channel: LocalChannel, **other):
    return split_sum(channel, "server", OWN["server"], ROSTER, SPLIT, DAY, "day 1", **other)


def bills(channel: LocalChannel, rates=RATES, **other):
    return encrypted_bills(channel, "server", OWN["server"], ROSTER, SPLIT, WEEK, rates, "week 1", **other)


def test_the_sum_is_exact_and_of_those_who_answered() -> None:
    found = total(LocalChannel(parties(sum_party, ROWS)))
    assert (found.sums, found.members) == (tuple(ROWS.sum(0).tolist()), NAMES)
    found = total(LocalChannel(parties(sum_party, ROWS), lambda task, member, before: member == "meter_1"))
    assert (found.sums, found.vanished) == (tuple(np.delete(ROWS, 1, 0).sum(0).tolist()), ("meter_1",))
    assert total(LocalChannel(parties(sum_party, ROWS)), meters=NAMES[:3]).sums == tuple(ROWS[:3].sum(0).tolist())


@pytest.mark.parametrize("task", ["split/keys", "split/open", "split/open bill"])
def test_one_of_three_holders_that_vanishes_is_survived_and_two_are_not(task: str) -> None:
    run, rows, make = (total, ROWS, sum_party) if task != "split/open bill" else (bills, WEEKS, bill_party)
    found = run(LocalChannel(parties(make, rows), lambda asked, member, before: (asked, member) == (task, "audit")))
    assert found.vanished == ("audit",)
    assert found.sums == tuple(ROWS.sum(0).tolist()) if run is total else found.bills == BILLS
    lost = LocalChannel(parties(make, rows), lambda asked, member, before: asked == task and member in HOLDERS[:2])
    if run is total:
        with pytest.raises(ProtocolError, match="expected at least 2 of audit, billing, security, got 1"):
            run(lost)
    else:
        found = run(lost)
        assert found.bills == {}
        assert all("at least 2 of" in found.refused[name] for name in NAMES)


def test_a_holder_that_refuses_is_survived_and_a_sum_of_too_few_is_not_opened() -> None:
    def strict(name: str, private) -> Party:
        keys = new_keys(SPLIT.content(DAY))
        return sum_holder(name, OWN[name], keys, ROSTER, "server", SPLIT, 99)

    all_of = parties(sum_party, ROWS)
    found = total(LocalChannel([strict(one.name, {}) if one.name == "security" else one for one in all_of]))
    assert found.sums == tuple(ROWS.sum(0).tolist())
    assert "expected at least 99" in found.refused["security"]
    with pytest.raises(ProtocolError, match=r"expected at least 2 .* got 0\. .* expected at least 3 and at most"):
        total(LocalChannel(parties(sum_party, ROWS)), meters=NAMES[:2])


def test_one_holder_gives_away_uniform_numbers_whatever_the_readings_are() -> None:
    views = []
    for rows in (np.zeros_like(ROWS), np.full_like(ROWS, DAY.high)):
        channel = LocalChannel(parties(sum_party, rows), full=True)
        modulus, seen = SPLIT.content(DAY).parameters.plain_modulus, []
        answer = channel.ask
        channel.ask = lambda task, asked, answer=answer, seen=seen: _kept(task, answer(task, asked), seen)
        for _ in range(3):
            total(channel)
        views.append(np.concatenate(seen) * 4 // modulus)
    table = np.array([np.bincount(view, minlength=4) for view in views])
    assert table.sum() == 2 * 3 * 48
    # Three tests, each of which fails by chance with probability 1e-8.
    assert all(stats.chisquare(row).pvalue > 1e-8 for row in table)
    assert stats.chi2_contingency(table).pvalue > 1e-8


def _kept(task: str, replies, seen: list):
    if task == "split/open":
        seen.append(replies.answers["audit"]["shares"])
    return replies


def test_bills_are_exact_by_any_tariff_and_a_period_is_encrypted_three_times_at_most() -> None:
    channel = LocalChannel(parties(bill_party, WEEKS))
    assert bills(channel).bills == BILLS
    dear = np.where(np.arange(WEEK.n_values) % 48 < 32, 1_176, 6_720)
    assert bills(channel, dear, meters=NAMES[:1]).bills == {"meter_0": int(WEEKS[0] @ dear)}
    found = bills(channel, meters=NAMES[:2])
    assert list(found.bills) == ["meter_0", "meter_1"]
    found = bills(channel, meters=NAMES[:2])
    assert list(found.bills) == ["meter_1"]
    assert "at most 3 of one period" in found.refused["meter_0"]


def test_meters_encrypt_for_what_they_agreed_to_and_for_their_holders_alone() -> None:
    other = split_meter("meter_0", OWN["meter_0"], ROSTER, SPLIT, Summands(24, 0, 9, 9), lambda period: ROWS[0])
    found = total(LocalChannel([other, *parties(sum_party, ROWS)[1:]]))
    assert found.sums == tuple(ROWS[1:].sum(0).tolist())
    assert "keys for what is encrypted" in found.refused["meter_0"]

    def forged(name: str) -> Party:
        return sum_holder(name, OWN["server"], new_keys(SPLIT.content(DAY)), ROSTER, "server", SPLIT, 3)

    with pytest.raises(ProtocolError, match="expected keys that audit signed"):
        total(LocalChannel([*parties(sum_party, ROWS)[:5], *map(forged, HOLDERS)]))
    with pytest.raises(InputError, match="members of the channel, got 1 others"):
        total(LocalChannel(parties(sum_party, ROWS)), meters=["nobody"])
    with pytest.raises(InputError, match="none beyond 6720"):
        bills(LocalChannel(parties(bill_party, WEEKS)), RATES * 2)


def test_a_meter_whose_message_is_forged_for_one_holder_is_in_no_sum() -> None:
    all_of = parties(sum_party, ROWS)
    meter = all_of[0]

    def changed(kept, asked):
        answer = dict(meter.answer("split/encrypt", asked))
        answer["2:signature"] = answer["2:signature"] ^ 1
        return answer

    def short(kept, asked):
        return {name: one for name, one in all_of[1].answer("split/encrypt", asked).items() if name[0] != "1"}

    channel = LocalChannel(
        [Party("meter_0", {"split/encrypt": changed}), Party("meter_1", {"split/encrypt": short}), *all_of[2:]]
    )
    found = total(channel)
    assert found.sums == tuple(ROWS[2:].sum(0).tolist())
    assert "expected a ciphertext that meter_0 signed" in found.refused["meter_0"]
    assert "a ciphertext for each holder, got 2" in found.refused["meter_1"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sum_party", "bill_party"])
def test_meters_and_holders_in_processes_of_their_own(kind: str) -> None:
    rows = ROWS if kind == "sum_party" else WEEKS
    factory = f"tests.privacy.encrypted.parties:{kind}"
    started = [
        PartyProcess(name, factory, private_input(PRIVATE[name], ROSTER, row))
        for name, row in zip(NAMES[:3], rows[:3], strict=True)
    ] + [PartyProcess(name, factory, private_input(PRIVATE[name], ROSTER)) for name in HOLDERS]
    with PartyProcesses(started, timeout_s=120) as processes:
        for _ in range(2):
            if kind == "sum_party":
                assert total(processes.channel).sums == tuple(ROWS[:3].sum(0).tolist())
            else:
                assert bills(processes.channel).bills == {name: BILLS[name] for name in NAMES[:3]}
            # One holder is gone; the second time two of three are enough.
            processes.processes["audit"].kill()
            processes.processes["audit"].wait()
