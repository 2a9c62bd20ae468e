"""Paillier: sums and bills are those of whole numbers, and what is no ciphertext of this run is refused."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.envelope import Inbox, Label, new_run
from unlearn.privacy.encrypted.keys import SecretKeys
from unlearn.privacy.encrypted.paillier import Paillier, PaillierSum, decrypt_total, make_paillier_keys
from unlearn.privacy.encrypted.paillier_packing import Packing
from unlearn.privacy.federated.identity import Identity, Roster

pytestmark = pytest.mark.extras

NAMES = tuple(f"meter_{i}" for i in range(5))
OWN = {name: Identity.new() for name in (*NAMES, "aggregator")}
METERS = Roster({name: OWN[name].public for name in NAMES})
ALL = Roster({name: own.public for name, own in OWN.items()})
PACKING = Packing(-300, 5000, 5 * 700, 24)


@cache
def keys() -> SecretKeys:
    return make_paillier_keys(2048)


def scheme() -> Paillier:
    return Paillier(keys().public, PACKING)


def summed(readings: dict[str, np.ndarray], weights: tuple[int, ...] | None = None) -> np.ndarray:
    own, run = scheme(), new_run()
    rows, slots = next(iter(readings.values())).shape
    total = PaillierSum(own, run, "day", METERS, rows, weights)
    for name, values in readings.items():
        total.add(own.encrypt(values, run, "day", name, OWN[name]).payload(), name)
    sent = total.total(len(readings), "aggregator", OWN["aggregator"]).payload()
    opened = Inbox(own.label(run, "day/total"), ALL).opened(sent, "aggregator")
    return decrypt_total(keys(), PACKING, opened, len(readings), slots, weights)


def test_the_product_of_two_ciphertexts_decrypts_to_the_sum() -> None:
    rng = np.random.default_rng(0)
    own, run = scheme(), new_run()
    first, second = rng.integers(-300, 5001, (2, 1, 24))
    sent = [own.encrypt(one, run, "day", NAMES[0], OWN[NAMES[0]]) for one in (first, second)]
    (a,), (b,) = (own.numbers(one, 1) for one in sent)
    # Decryption by the textbook: L(c^lambda) / lambda modulo n, with another exponent than phe's.
    half = len(keys().secret) // 2
    p, q = int.from_bytes(keys().secret[:half]), int.from_bytes(keys().secret[half:])
    phi = (p - 1) * (q - 1)
    plain = (pow(a * b % own.n_squared, phi, own.n_squared) - 1) // own.n * pow(phi, -1, own.n) % own.n
    assert PACKING.unpacked(plain, 2) == (first + second)[0].tolist()


def test_a_thousand_random_readings_and_the_worst_sum_exactly() -> None:
    rng = np.random.default_rng(1)
    random = {name: rng.integers(-300, 5001, (9, 24)) for name in NAMES}
    assert (summed(random) == sum(random.values())).all()
    for extreme in (-300, 5000, 0):
        assert (summed({name: np.full((1, 24), extreme) for name in NAMES}) == 5 * extreme).all()


def test_bills_by_public_rates_are_exact() -> None:
    rng = np.random.default_rng(2)
    readings = rng.integers(-300, 5001, (24, 3))
    rates = tuple(rng.integers(0, 140, 24).tolist())
    bill = summed({NAMES[0]: readings}, rates)
    assert bill.tolist() == [(np.array(rates) @ readings).tolist()]


def test_more_addends_than_declared_are_refused_before_they_are_added() -> None:
    packing = Packing(0, 10, 7, 2)
    own, run = Paillier(keys().public, packing), new_run()
    total = PaillierSum(own, run, "day", METERS, 2, (3, 1))
    sent = [own.encrypt(np.ones((2, 2), int), run, "day", name, OWN[name]).payload() for name in NAMES[:2]]
    total.add(sent[0])
    before = total.numbers
    with pytest.raises(ProtocolError, match="at most 7 addends"):
        total.add(sent[1])
    assert total.numbers == before
    assert total.addends == 1


def test_few_meters_are_no_total() -> None:
    own, run = scheme(), new_run()
    total = PaillierSum(own, run, "day", METERS, 1)
    total.add(own.encrypt(np.zeros((1, 24), int), run, "day", NAMES[0], OWN[NAMES[0]]).payload())
    with pytest.raises(ProtocolError, match="at least 2 meters"):
        total.total(2, "aggregator", OWN["aggregator"])
    with pytest.raises(ProtocolError, match="at least 2 meters"):
        decrypt_total(keys(), PACKING, total.total(1, "aggregator", OWN["aggregator"]), 2)


def test_a_total_is_not_recognised_as_the_product_of_what_came_in() -> None:
    own, run = scheme(), new_run()
    total = PaillierSum(own, run, "day", METERS, 1)
    total.add(own.encrypt(np.zeros((1, 24), int), run, "day", NAMES[0], OWN[NAMES[0]]).payload())
    sent = total.total(1, "aggregator", OWN["aggregator"])
    assert own.numbers(sent, 1) != total.numbers
    assert sent.parts != total.total(1, "aggregator", OWN["aggregator"]).parts


def test_what_is_no_ciphertext_of_this_key_is_refused() -> None:
    own, run = scheme(), new_run()
    good = own.encrypt(np.zeros((1, 24), int), run, "day", NAMES[0], OWN[NAMES[0]])
    for number in (0, own.n, 2 * own.n, own.n_squared, own.n_squared + 1):
        changed = replace(good, parts=(number.to_bytes(own.part_bytes),)).signed(OWN[NAMES[0]])
        with pytest.raises(ProtocolError, match="ciphertexts under the key of this run"):
            PaillierSum(own, run, "day", METERS, 1).add(changed.payload())
    for parts in ((good.parts[0][:-1],), good.parts * 2, (good.parts[0] + b"0",)):
        changed = replace(good, parts=parts).signed(OWN[NAMES[0]])
        with pytest.raises(ProtocolError, match=f"1 ciphertexts of {own.part_bytes} bytes"):
            PaillierSum(own, run, "day", METERS, 1).add(changed.payload())


def test_foreign_replayed_and_changed_ciphertexts_are_refused() -> None:
    own, run = scheme(), new_run()
    zeros = np.zeros((1, 24), int)
    good = own.encrypt(zeros, run, "day", NAMES[0], OWN[NAMES[0]])
    total = PaillierSum(own, run, "day", METERS, 1)
    total.add(good.payload())
    other = Paillier(make_paillier_keys(2048).public, PACKING)
    wider = Paillier(keys().public, replace(PACKING, high=6000))
    cases = {
        "repeated": good,
        "another run": own.encrypt(zeros, new_run(), "day", NAMES[1], OWN[NAMES[1]]),
        "another step": own.encrypt(zeros, run, "night", NAMES[1], OWN[NAMES[1]]),
        "Give every party the key": other.encrypt(zeros, run, "day", NAMES[1], OWN[NAMES[1]]),
        "Agree on what numbers may be": wider.encrypt(zeros, run, "day", NAMES[1], OWN[NAMES[1]]),
        "changed, cut off": replace(good, sender=NAMES[1]),
    }
    for match, sent in cases.items():
        with pytest.raises(ProtocolError, match=match):
            total.add(sent.payload())
    assert total.addends == 1


def test_keys_come_back_from_their_file_and_others_are_refused(tmp_path) -> None:
    loaded = SecretKeys.load(keys().save(tmp_path / "key"))
    assert loaded.public.fingerprint == keys().public.fingerprint
    assert loaded.secret == keys().secret
    with pytest.raises(InputError, match="2048, 3072, 4096"):
        make_paillier_keys(1024)
    with pytest.raises(InputError, match="key of Paillier"):
        Paillier(replace(keys().public, scheme="bfv"), PACKING)
    with pytest.raises(InputError, match="slots"):
        Paillier(keys().public, replace(PACKING, slots=100))


def test_a_total_for_another_key_is_refused() -> None:
    own, run = scheme(), new_run()
    sent = own.encrypt(np.zeros((1, 24), int), run, "day", NAMES[0], OWN[NAMES[0]])
    label = Label("paillier", "00" * 32, run, "day", PACKING.text)
    with pytest.raises(ProtocolError, match="for this key"):
        decrypt_total(keys(), PACKING, replace(sent, label=label), 1)


def test_sums_are_the_same_without_gmpy2() -> None:
    code = """
import sys
sys.modules["gmpy2"] = None
import numpy as np, phe.util
assert not phe.util.HAVE_GMP
from tests.privacy.encrypted import test_paillier as own
a, b = np.array([[-300, 5000]]), np.array([[7, 5000]])
assert own.summed({own.NAMES[0]: a, own.NAMES[1]: b}).tolist() == (a + b).tolist()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False, cwd=os.getcwd()
    )
    assert done.returncode == 0, done.stderr
