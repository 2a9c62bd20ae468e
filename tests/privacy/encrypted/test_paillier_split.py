"""A split key of Paillier: any majority decrypts, fewer decrypt nothing, and holders believe nobody about the sum."""

import itertools
import json
from functools import cache

import numpy as np
import pytest

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.envelope import Inbox, new_run
from unlearn.privacy.encrypted.keys import SecretKeys
from unlearn.privacy.encrypted.paillier import Paillier, PaillierSum
from unlearn.privacy.encrypted.paillier_packing import Packing
from unlearn.privacy.encrypted.paillier_protocol import PARTIAL, encrypted_total, holder_party, meter_party
from unlearn.privacy.encrypted.paillier_split import Holder, Policy, combined, make_split_keys, partial_label
from unlearn.privacy.federated.channel import LocalChannel
from unlearn.privacy.federated.identity import Identity, Roster

pytestmark = pytest.mark.extras

NAMES, HOLDERS = tuple(f"meter_{i}" for i in range(6)), ("audit", "billing", "grid")
OWN = {name: Identity.new() for name in (*NAMES, *HOLDERS, "dept_4", "dept_5")}
METERS = Roster({name: OWN[name].public for name in NAMES})
PACKING = Packing(-300, 5000, 6 * 900, 24)
TARIFF = (7, 0, 800)
POLICY = Policy(3, (TARIFF,))
READINGS = {name: np.random.default_rng(i).integers(-300, 5001, (3, 24)) for i, name in enumerate(NAMES)}


@cache
def shares(holders: tuple[str, ...] = HOLDERS, threshold: int = 2):
    return make_split_keys(holders, threshold, 2048)


def roster(holders: tuple[str, ...] = HOLDERS) -> Roster:
    return Roster({name: OWN[name].public for name in holders})


def scheme() -> Paillier:
    return Paillier(shares()["grid"].public, PACKING)


def holder(name: str, run: str, step: str = "day", own=None) -> Holder:
    return Holder(name, OWN[name], (own or shares())[name], PACKING, METERS, POLICY, run, step)


def encrypted(run: str, names=NAMES, own=None, step: str = "day"):
    return [(own or scheme()).encrypt(READINGS[name], run, step, name, OWN[name]).payload() for name in names]


def channel(lost=lambda task, name, before: False) -> LocalChannel:
    meters = [meter_party(n, OWN[n], scheme(), lambda run, step, n=n: READINGS[n]) for n in NAMES]
    holders = [holder_party(n, lambda run, step, n=n: holder(n, run, step)) for n in HOLDERS]
    return LocalChannel([*meters, *holders], lost)


def ask(over, run: str, step: str = "day", minimum: int = 1, **options):
    return encrypted_total(over, scheme(), run, step, METERS, roster(), 2, (3, 24), minimum, **options)


def test_any_threshold_of_holders_decrypts_and_fewer_decrypt_nothing() -> None:
    holders = (*HOLDERS, "dept_4", "dept_5")
    split = shares(holders, 3)
    own, run = Paillier(split["grid"].public, PACKING), new_run()
    sent = encrypted(run, own=own)
    total = PaillierSum(own, run, "day", METERS, 3)
    for payload in sent:
        total.add(payload)
    for quorum in itertools.combinations(holders, 3):
        partials = {}
        for name in quorum:
            label = partial_label(own, run, "day", total, None, quorum)
            answer = holder(name, run, own=split).partial(sent, quorum, 3).payload()
            partials[name] = Inbox(label, roster(holders)).opened(answer, name)
        assert (combined(own, partials, 3, 6) == sum(READINGS.values())).all()
        for fewer in itertools.chain(itertools.combinations(quorum, 1), itertools.combinations(quorum, 2)):
            with pytest.raises(ProtocolError, match="all holders that were asked"):
                combined(own, {name: partials[name] for name in fewer}, 3, 6)


def test_a_holder_alone_decrypts_no_meter_by_any_of_its_shares() -> None:
    own = scheme()
    (sent,) = own.encrypt(READINGS[NAMES[0]][:1], new_run(), "day", NAMES[0], OWN[NAMES[0]]).parts
    ciphertext = int.from_bytes(sent)
    numbers = {
        tuple(lacking): int(n, 16) for one in shares().values() for lacking, n in json.loads(one.secret)["shares"]
    }
    assert len(numbers) == 3
    everything = own.power(ciphertext, sum(numbers.values()))
    assert PACKING.unpacked((everything - 1) // own.n, 1) == READINGS[NAMES[0]][0].tolist()
    for name in HOLDERS:
        held = json.loads(shares()[name].secret)["shares"]
        assert (name,) not in {tuple(lacking) for lacking, _ in held}
        for k in (1, 2):
            for some in itertools.combinations(held, k):
                assert own.power(ciphertext, sum(int(n, 16) for _, n in some)) % own.n != 1


def test_totals_and_bills_over_a_channel_are_exact() -> None:
    over, run = channel(), new_run()
    total, who = ask(over, run, minimum=6)
    assert who == NAMES
    assert (total == sum(READINGS.values())).all()
    assert (ask(over, run)[0] == total).all(), "asked again, the same is decrypted"
    for name in NAMES[:2]:
        bill, who = ask(over, run, step="bill", weights=TARIFF, only=[name])
        assert who == (name,)
        assert bill.tolist() == [(np.array(TARIFF) @ READINGS[name]).tolist()]


@pytest.mark.parametrize("gone", HOLDERS)
def test_a_holder_that_vanishes_is_replaced(gone: str) -> None:
    over = channel(lambda task, name, before: name == gone and task == PARTIAL)
    assert (ask(over, new_run())[0] == sum(READINGS.values())).all()


def test_one_holder_is_not_enough() -> None:
    over = channel(lambda task, name, before: name != "grid" and task == PARTIAL)
    with pytest.raises(ProtocolError, match="2 holders to decrypt, got 1"):
        ask(over, new_run())


def test_one_meter_is_not_passed_off_as_a_sum() -> None:
    run = new_run()
    one, two = encrypted(run, NAMES[:1]), encrypted(run, NAMES[:2])
    quorum = HOLDERS[:2]
    with pytest.raises(ProtocolError, match="at least 3 meters"):
        holder("audit", run).partial(one, quorum, 3)
    with pytest.raises(ProtocolError, match="It was repeated"):
        holder("audit", run).partial(one * 3, quorum, 3)
    # The aggregator cannot fill up with ciphertexts of its own: no meter signed them.
    stranger = Identity.new()
    fake = [
        scheme().encrypt(np.zeros((3, 24), int), run, "day", name, own).payload()
        for name, own in ((NAMES[2], stranger), ("meter_x", stranger))
    ]
    for own in fake:
        with pytest.raises(ProtocolError, match="changed, cut off or sent by a stranger"):
            holder("audit", run).partial([*two, own], quorum, 3)


def test_differences_of_sums_are_not_decrypted() -> None:
    over, run = channel(), new_run()
    ask(over, run, only=NAMES[:3])
    with pytest.raises(ProtocolError, match="in no other sum of this run"):
        ask(over, run, only=NAMES[:4])
    assert (ask(over, run, only=NAMES[3:])[0] == sum(READINGS[name] for name in NAMES[3:])).all(), "another feeder"
    with pytest.raises(ProtocolError, match="at least 3 meters"):
        ask(over, new_run(), only=NAMES[:4], minimum=3)  # Meters refuse to put the same period into another run.


@pytest.mark.parametrize("weights", [(1, 0, 0), (7, 1, 800), (8, 0, 800)])
def test_weights_that_no_holder_agreed_to_are_refused(weights: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolError, match="a tariff that it agreed to"):
        ask(channel(), new_run(), weights=weights, only=NAMES[:1])


def test_two_bills_of_one_meter_are_refused() -> None:
    run = new_run()
    own = Holder("audit", OWN["audit"], shares()["audit"], PACKING, METERS, Policy(3, (TARIFF, (1, 2, 3))), run, "bill")
    sent = encrypted(run, NAMES[:1], step="bill")
    own.partial(sent, HOLDERS[:2], 3, TARIFF)
    with pytest.raises(ProtocolError, match="in no other sum"):
        own.partial(sent, HOLDERS[:2], 3, (1, 2, 3))


@pytest.mark.parametrize("quorum", [("audit",), ("audit", "audit"), HOLDERS, ("audit", "nobody"), ("billing", "grid")])
def test_a_quorum_is_the_threshold_of_holders_with_this_one(quorum: tuple[str, ...]) -> None:
    run = new_run()
    with pytest.raises(ProtocolError, match="audit: expected"):
        holder("audit", run).partial(encrypted(run), quorum, 3)


def test_parts_of_different_sums_do_not_combine() -> None:
    own, runs = scheme(), (new_run(), new_run())
    totals, answers = [], []
    for run, name in zip(runs, HOLDERS, strict=False):
        sent = encrypted(run)
        total = PaillierSum(own, run, "day", METERS, 3)
        for payload in sent:
            total.add(payload)
        totals.append(total)
        answers.append(holder(name, run).partial(sent, HOLDERS[:2], 3))
    with pytest.raises(ProtocolError, match="of one ciphertext"):
        combined(own, dict(zip(HOLDERS, answers, strict=False)), 3, 6)
    inbox = Inbox(partial_label(own, runs[0], "day", totals[0], None, HOLDERS[:2]), roster())
    with pytest.raises(ProtocolError, match="another run"):
        inbox.opened(answers[1].payload(), HOLDERS[1])


def test_splits_and_policies_that_protect_nobody_are_refused() -> None:
    for threshold in (1, 4):
        with pytest.raises(InputError, match="majority"):
            make_split_keys(HOLDERS, threshold, 2048)
    with pytest.raises(InputError, match="majority"):
        make_split_keys(("a", "b", "c", "d"), 2, 2048)
    with pytest.raises(InputError, match="at most 1000 shares"):
        make_split_keys([f"holder_{i}" for i in range(20)], 11, 2048)
    with pytest.raises(InputError, match="at least 2 meters"):
        Policy(1)
    with pytest.raises(InputError, match="at least two readings"):
        Policy(3, ((0, 5, 0),))
    with pytest.raises(InputError, match="its own share"):
        Holder("audit", OWN["audit"], shares()["grid"], PACKING, METERS, POLICY, new_run(), "day")


def test_a_whole_key_is_no_share_and_tariffs_may_be_lists() -> None:
    whole = SecretKeys(shares()["grid"].public, b"\xff\x00")
    with pytest.raises(InputError, match="expected a share of a key"):
        Holder("grid", OWN["grid"], whole, PACKING, METERS, POLICY, new_run(), "day")
    Policy(2, [[7, 0, 800]]).require(1, TARIFF)
