"""Encrypted sums equal Python's integers, in the worst case as well; what would break that is refused before."""

import os
from dataclasses import replace

import numpy as np
import pytest

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted import Encryptor, KeyHolder, RunningSum, SecretKeys, Summands, new_keys, new_run
from unlearn.privacy.encrypted.bfv import TOTAL, label_of
from unlearn.privacy.encrypted.polynomials import _context, ciphertext
from unlearn.privacy.encrypted.seal import seal, written
from unlearn.privacy.federated import Identity, Roster, pack, unpack

pytestmark = pytest.mark.extras

NAMES = tuple(f"meter_{i}" for i in range(16))
OWN = {name: Identity.new() for name in (*NAMES, "server")}
ROSTER = Roster({name: own.public for name, own in OWN.items()})
SIGNED = Summands(n_values=24, low=-3_000, high=65_535, addends=len(NAMES))


@pytest.fixture(scope="module")
def keys() -> SecretKeys:
    return new_keys(SIGNED)


def encrypted_total(keys: SecretKeys, rows: np.ndarray, run: str, minimum: int = 1) -> list[int]:
    encryptor, total = Encryptor(keys.public), RunningSum(keys.public, run, ROSTER)
    for name, row in zip(NAMES, rows.tolist(), strict=False):
        total.add(unpack(pack(encryptor.encrypt(row, run, name).signed(OWN[name]).payload())), name)
    message = total.total("server").signed(OWN["server"]).payload()
    return KeyHolder(keys, ROSTER, "server", minimum).open(message, run)


@pytest.mark.parametrize("value", [SIGNED.low, -1, 0, 1, SIGNED.high])
def test_all_alike_at_capacity(keys: SecretKeys, value: int) -> None:
    assert encrypted_total(keys, np.full((16, 24), value), new_run()) == [16 * value] * 24


def test_random_numbers(keys: SecretKeys) -> None:
    random = np.random.default_rng(0)
    for _ in range(proof_count(5)):
        rows = random.integers(SIGNED.low, SIGNED.high + 1, (random.integers(1, 17), 24))
        assert encrypted_total(keys, rows, new_run()) == rows.sum(0).tolist()


@pytest.mark.parametrize(
    "summands", [Summands(24 * 31, 0, 2**16, 10_000), Summands(5_000, 0, 9, 3), Summands(2, 0, 2**40, 3)]
)
def test_several_days_and_large_numbers(summands: Summands) -> None:
    rows = np.random.default_rng(1).integers(0, summands.high + 1, (3, summands.n_values))
    expected = [sum(column) for column in zip(*rows.tolist(), strict=True)]
    assert encrypted_total(new_keys(summands), rows, new_run()) == expected


def test_numbers_that_could_overflow_are_refused_where_they_are(keys: SecretKeys) -> None:
    encryptor = Encryptor(keys.public)
    for row in ([SIGNED.high + 1] * 24, [SIGNED.low - 1, *[0] * 23]):
        with pytest.raises(InputError, match=r"outside\. A sum could overflow") as caught:
            encryptor.encrypt(row, new_run(), "meter_1")
        assert str(row[0]) not in str(caught.value)
    with pytest.raises(InputError, match=r"expected shape \(24,\)"):
        encryptor.encrypt([1], new_run(), "meter_1")
    with pytest.raises(InputError, match="expected whole numbers"):
        encryptor.encrypt([0.5] * 24, new_run(), "meter_1")


def test_one_addend_more_than_declared_is_refused_by_the_server() -> None:
    keys, run = new_keys(Summands(1, 0, 9, 2)), new_run()
    encryptor, total = Encryptor(keys.public), RunningSum(keys.public, run, ROSTER)
    for name in NAMES[:2]:
        total.add(encryptor.encrypt([9], run, name).signed(OWN[name]).payload())
    with pytest.raises(ProtocolError, match="expected at most 2 addends, got one more"):
        total.add(encryptor.encrypt([9], run, NAMES[2]).signed(OWN[NAMES[2]]).payload())


def test_a_sum_of_too_few_or_a_second_of_a_run_is_not_decrypted(keys: SecretKeys) -> None:
    with pytest.raises(ProtocolError, match="expected at least 15"):
        encrypted_total(keys, np.zeros((14, 24), int), new_run(), minimum=15)
    run, encryptor = new_run(), Encryptor(keys.public)
    total, holder = RunningSum(keys.public, run, ROSTER), KeyHolder(keys, ROSTER, "server", 1)
    with pytest.raises(ProtocolError, match="at least one addend"):
        total.total("server")
    one = encryptor.encrypt([1] * 24, run, NAMES[0]).signed(OWN[NAMES[0]]).payload()
    with pytest.raises(ProtocolError, match="expected step total, got readings"):
        holder.open(one, run)
    total.add(one)
    with pytest.raises(ProtocolError, match="got a second"):
        total.add(one)
    message = total.total("server").signed(OWN["server"]).payload()
    assert holder.open(message, run) == [1] * 24
    with pytest.raises(ProtocolError, match="opened before"):
        holder.open(message, run)


def test_keys_of_another_holder_open_nothing(keys: SecretKeys) -> None:
    run, other = new_run(), new_keys(SIGNED)
    total = RunningSum(keys.public, run, ROSTER)
    encryptor = Encryptor(other.public)
    with pytest.raises(ProtocolError, match="expected key"):
        total.add(encryptor.encrypt([1] * 24, run, NAMES[0]).signed(OWN[NAMES[0]]).payload())


def test_garbage_that_its_sender_signed_is_refused(keys: SecretKeys) -> None:
    run = new_run()
    good = Encryptor(keys.public).encrypt([1] * 24, run, NAMES[0])
    for parts in ((b"garbage",), (good.parts[0][:-100],), good.parts * 2):
        bad = replace(good, parts=parts).signed(OWN[NAMES[0]])
        total = RunningSum(keys.public, run, ROSTER)
        with pytest.raises(ProtocolError, match="meter_0, readings: expected"):
            total.add(bad.payload())
        assert total.addends == 0


def test_noise_that_leaves_no_certainty_is_noticed(keys: SecretKeys) -> None:
    # A ciphertext for other keys decrypts to noise alone; the label is forged, as a careless server could.
    run, other = new_run(), new_keys(SIGNED)
    wrong = Encryptor(other.public).encrypt([1] * 24, run, "server")
    message = replace(wrong, label=label_of(keys.public, run, TOTAL)).signed(OWN["server"]).payload()
    with pytest.raises(ProtocolError, match="expected noise that leaves the result certain"):
        KeyHolder(keys, ROSTER, "server", 1).open(message, run)


def test_equal_readings_never_encrypt_alike_and_keys_survive_a_file(keys: SecretKeys, tmp_path) -> None:
    encryptor = Encryptor(keys.public)
    assert encryptor.encrypt([1] * 24, new_run(), "a").parts != encryptor.encrypt([1] * 24, new_run(), "a").parts
    again = SecretKeys.load(keys.save(tmp_path / "keys"))
    assert encrypted_total(again, np.ones((2, 24), int), new_run()) == [2] * 24


def test_nothing_is_left_open(keys: SecretKeys) -> None:
    before = len(os.listdir("/proc/self/fd"))
    encrypted_total(keys, np.ones((3, 24), int), new_run())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_ciphertext_that_hides_nothing_is_refused() -> None:
    """SEAL itself ends a product of one with an error of its own, which would end everybody's run."""
    own = SIGNED.parameters
    zero = seal().Ciphertext(_context(own), _context(own).first_parms_id())
    zero.resize(_context(own), _context(own).first_parms_id(), 2)
    with pytest.raises(ProtocolError, match="meter_0: expected a ciphertext, got one that hides nothing"):
        ciphertext(own, written(zero), "meter_0")
