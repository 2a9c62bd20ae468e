"""Approximate encryption stays within its bound for worst inputs, and refuses what would overflow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.ckks import (
    Decrypted,
    RealDecryptor,
    RealEncryptor,
    label_of,
    new_real_keys,
    result_bits,
    weighted_sums,
)
from unlearn.privacy.encrypted.envelope import Ciphertext, new_run
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.precision import MAX_BITS, Task, parameters

TASK = Task(largest=30.0, absolute=1e-5, terms=41, mass=20.0, flooded=True)


@pytest.fixture(scope="module")
def keys() -> SecretKeys:
    return new_real_keys(TASK)


def computed(keys: SecretKeys, x: np.ndarray, weights: np.ndarray, intercept: np.ndarray) -> Decrypted:
    found = RealEncryptor(keys.public).encrypt(x, new_run(), "utility", "numbers")
    parts = weighted_sums(keys.public, found, weights, intercept, x.shape[1])
    return RealDecryptor(keys).decrypt(Ciphertext(found.label, "server", parts), x.shape[1])


@given(
    st.floats(1e-3, 1e6),
    st.floats(1e-7, 1e3),
    st.integers(1, 10**4),
    st.floats(1e-3, 1e4),
    st.booleans(),
    st.booleans(),
)
def test_parameters_keep_their_promise_or_refuse(
    largest: float, absolute: float, terms: int, mass: float, squares: bool, flooded: bool
) -> None:
    task = Task(largest, absolute, terms, mass, squares, flooded and not squares)
    try:
        own = parameters(task)
    except InputError:
        return
    assert own.error <= absolute
    assert sum(own.prime_bits) <= MAX_BITS[own.degree]
    # All slots at the largest result fill one coefficient, which must not wrap around.
    bits = 2 * own.scale_bits if squares else result_bits(own)
    result = terms * largest**2 if squares else mass * largest
    assert np.log2(result + own.flood) + bits < sum(own.prime_bits[:-1]) - len(own.prime_bits)
    assert Task.read(task.text) == task


def test_what_float64_cannot_tell_apart_is_refused() -> None:
    with pytest.raises(InputError, match="float64 can tell apart"):
        parameters(Task(largest=1e9, absolute=1e-9))


def test_a_task_of_numpy_numbers_has_the_text_of_the_same_task() -> None:
    assert Task(np.float32(2), np.float64(0.5), np.int64(3), 4).text == Task(2.0, 0.5, 3, 4.0).text


def test_ranges_beyond_float64_are_refused() -> None:
    with pytest.raises(InputError, match="Ask for less"):
        parameters(Task(1e200, 1.0, squares=True))


def test_settings_of_another_scheme_are_refused() -> None:
    with pytest.raises(ProtocolError, match="approximate encryption"):
        Task.read('{"largest": -1}')
    with pytest.raises(ProtocolError, match="expected scheme ckks"):
        RealEncryptor(PublicKeys("bfv", TASK.text, {}))


def test_release_adds_fresh_noise_and_rounds() -> None:
    own = Decrypted(np.full((1, 2000), 1.2537), 1e-9)
    released = own.release(2)
    assert np.allclose(released * 100, np.rint(released * 100))
    assert np.abs(released - 1.2537).max() <= 0.01 + 1e-9
    assert set(np.rint(released * 100).ravel().tolist()) == {125.0, 126.0}
    with pytest.raises(InputError, match="fewer digits"):
        own.release(4)


@pytest.mark.extras
def test_worst_inputs_stay_within_the_bound(keys: SecretKeys) -> None:
    rng = np.random.default_rng(0)
    n = parameters(TASK).slots
    x = rng.uniform(-30.0, 30.0, (40, n))
    # Equal numbers at the border fill one coefficient; one small number beside large ones; alternating signs.
    x[:10], x[10:20] = 30.0, -30.0
    x[20, :], x[20, 7] = 30.0, 1e-9
    x[21] = 30.0 * (-1.0) ** np.arange(n)
    x[22:24] = 0.0
    # Weights half a step from where they are rounded to, all in one direction: the error adds up.
    step = 2.0 ** -parameters(TASK).weight_bits
    rounded = (np.round(0.25 / step) + 0.49) * step
    weights = np.stack([np.full(40, rounded), np.where(np.arange(40) < 10, 1.9, 0.0), np.full(40, 0.49 * step)])
    intercept = np.array([10.0, -30.0, 0.0])
    found = computed(keys, x, weights, intercept)
    assert found.error <= TASK.absolute
    assert np.abs(found.values - (weights @ x + intercept[:, None])).max() <= found.error


@pytest.mark.extras
def test_a_search_for_bad_inputs_stays_within_the_bound(keys: SecretKeys) -> None:
    rng = np.random.default_rng(1)
    x, weights = np.full((40, 64), 30.0), np.full((1, 40), 0.4)
    worst = 0.0
    for _ in range(proof_count(300)):
        tried, other = x.copy(), weights.copy()
        tried[rng.integers(40), rng.integers(64)] *= rng.choice([-1.0, 0.0, 1.0])
        other[0, rng.integers(40)] = rng.uniform(-0.45, 0.45)
        found = computed(keys, tried, other, np.zeros(1))
        error = np.abs(found.values - other @ tried).max()
        assert error <= found.error
        if error >= worst:
            worst, x, weights = error, tried, other


@pytest.mark.extras
@settings(max_examples=proof_count(1000))
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 50))
def test_random_inputs_stay_within_the_bound(seed: int, features: int, hours: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(2, features)) * 10.0 ** rng.uniform(-6, 1, (2, features))
    weights *= np.minimum(1.0, 18.0 / np.abs(weights).sum(axis=1, keepdims=True))
    x, intercept = rng.uniform(-30.0, 30.0, (features, hours)), rng.uniform(-30.0, 30.0, 2)
    found = computed(_shared(), x, weights, intercept)
    assert np.abs(found.values - (weights @ x + intercept[:, None])).max() <= found.error


_KEPT: list[SecretKeys] = []


def _shared() -> SecretKeys:
    if not _KEPT:
        _KEPT.append(new_real_keys(TASK))
    return _KEPT[0]


@pytest.mark.extras
def test_an_error_of_a_careless_scale_is_what_the_bound_prevents() -> None:
    """Weights in steps of 2^-20 err by 2e-3 where inputs are equal and large, far less where they are random."""
    rng = np.random.default_rng(0)
    step, features = 2.0**-20, 140
    weights = (np.rint(rng.uniform(0, 1, features) / step) + 0.49) * step
    error = np.rint(weights / step) * step - weights
    assert np.abs(error @ np.full(features, 30.0)) > 1.9e-3
    assert np.median(np.abs(error @ rng.uniform(-30, 30, (features, 1000)))) < 2e-4
    task = Task(largest=30.0, absolute=1e-5, terms=features, mass=float(weights.sum()) + 1.0)
    assert features * 30.0 * 2.0 ** -(parameters(task).weight_bits + 1) < 1e-5


@pytest.mark.extras
def test_what_would_overflow_is_refused_before_it_does(keys: SecretKeys) -> None:
    encryptor = RealEncryptor(keys.public)
    for rows, said in (
        (np.full((1, 3), 30.1), "got 3 others"),
        (np.array([[np.nan]]), "got 1 others"),
        (np.zeros((1, parameters(TASK).slots + 1)), "several runs"),
        (np.zeros((0, 3)), "several runs"),
    ):
        with pytest.raises(InputError, match=said):
            encryptor.encrypt(rows, new_run(), "utility", "numbers")
    for weights in (np.full((1, 40), 0.6), np.full((1, 41), 0.01)):
        with pytest.raises(InputError, match="could overflow"):
            computed(keys, np.zeros((weights.shape[1], 2)), weights, np.zeros(1))
    with pytest.raises(InputError, match="at least one row"):
        computed(keys, np.zeros((3, 2)), np.zeros((0, 3)), np.zeros(0))


@pytest.mark.extras
def test_a_ciphertext_of_another_scale_or_of_garbage_is_refused(keys: SecretKeys) -> None:
    found = RealEncryptor(keys.public).encrypt([[1.0]], new_run(), "utility", "numbers")
    with pytest.raises(ProtocolError, match="agreed scale"):
        RealDecryptor(keys).decrypt(found, 1)
    garbage = Ciphertext(label_of(keys.public, new_run(), "numbers"), "utility", (b"garbage",))
    with pytest.raises(ProtocolError, match="SEAL wrote"):
        RealDecryptor(keys).decrypt(garbage, 1)


@pytest.mark.extras
def test_the_public_keys_hold_no_secret(keys: SecretKeys) -> None:
    assert list(keys.public.parts) == ["encrypt"]
    assert keys.secret not in keys.public.parts["encrypt"]
    with pytest.raises(ProtocolError):
        RealDecryptor(SecretKeys(keys.public, keys.public.parts["encrypt"]))
