"""The audit of a promised ε: right mechanisms keep it, and ones that are broken on purpose are found."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from unlearn.attacks import EpsilonBound, audit_epsilon
from unlearn.attacks.outcome import clopper_pearson
from unlearn.dp import gaussian_sigma_for, noise_source
from unlearn.errors import InputError
from unlearn.privacy.release.draws import discrete_laplaces, polya_differences
from unlearn.privacy.release.local import distributed_sum

#: Chance of a bound above what is true, and of a broken mechanism's bound above its own ε.
SURE = 1 - 1e-7

Mechanism = Callable[[np.random.Generator, np.ndarray, int], np.ndarray]

#: Readings of five households in kWh, and those without the last one; each is clipped to 2.
READINGS = np.array([0.5, 1.0, 2.0, 0.1, 7.0])
CLIP = 2.0


def audited(mechanism: Mechanism, *, seed: int = 0, confidence: float = SURE, **settings: object) -> EpsilonBound:
    """The bound for a mechanism on the readings with and without the last household."""
    random = np.random.default_rng(seed)
    return audit_epsilon(
        lambda n: mechanism(random, READINGS, n),
        lambda n: mechanism(random, READINGS[:-1], n),
        confidence=confidence,
        seed=seed,
        **settings,
    )


def laplace_sum(epsilon: float) -> Mechanism:
    return lambda random, kwh, n: np.minimum(kwh, CLIP).sum() + random.laplace(scale=CLIP / epsilon, size=n)


def zero_half_of_the_time(random: np.random.Generator, kwh: np.ndarray, n: int) -> np.ndarray:
    return np.minimum(kwh, CLIP).sum() + random.laplace(scale=CLIP, size=n) * random.integers(0, 2, n)


def from_a_repeated_seed(random: np.random.Generator, kwh: np.ndarray, n: int) -> np.ndarray:
    noise = [np.random.default_rng(7).laplace(scale=CLIP) for _ in range(n)]  # each run sets it up anew
    return np.minimum(kwh, CLIP).sum() + np.array(noise)


#: Each promises ε = 1.
BROKEN: dict[str, Mechanism] = {
    "half the scale": laplace_sum(2.0),
    "clip not applied": lambda random, kwh, n: kwh.sum() + random.laplace(scale=CLIP, size=n),
    "sensitivity of a mean": lambda random, kwh, n: (
        np.minimum(kwh, CLIP).sum() + random.laplace(scale=CLIP / len(kwh), size=n)
    ),
    "zero half of the time": zero_half_of_the_time,
    "a repeated seed": from_a_repeated_seed,
    "no noise": lambda random, kwh, n: np.full(n, np.minimum(kwh, CLIP).sum()),
}


@pytest.mark.parametrize("name", BROKEN)
def test_mechanisms_that_are_broken_on_purpose_are_found(name: str) -> None:
    found = audited(BROKEN[name])
    assert found.low > 1.0
    assert found.breaks(1.0)
    assert found.low <= found.most


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 3.0])
def test_laplace_noise_keeps_its_promise(epsilon: float) -> None:
    for seed in range(3):
        assert audited(laplace_sum(epsilon), seed=seed).low <= epsilon


def test_the_bound_is_near_the_truth() -> None:
    assert audited(laplace_sum(1.0), confidence=0.95).low >= 0.7
    assert audited(laplace_sum(3.0), confidence=0.95).low >= 2.1


def test_randomised_response_keeps_its_promise_and_is_measured() -> None:
    truthful = math.e / (1 + math.e)

    def answered(random: np.random.Generator, kwh: np.ndarray, n: int) -> np.ndarray:
        return (random.random(n) < truthful) == (len(kwh) == len(READINGS))

    assert 0.7 <= audited(answered).low <= 1.0


@pytest.mark.parametrize("epsilon", [0.5, 1.0])
def test_gaussian_noise_keeps_epsilon_and_delta(epsilon: float) -> None:
    def private(factor: float) -> Mechanism:
        sigma = factor * gaussian_sigma_for(epsilon, 0.01, CLIP)
        return lambda random, kwh, n: np.minimum(kwh, CLIP).sum() + random.normal(scale=sigma, size=n)

    assert audited(private(1.0), delta=0.01).low <= epsilon
    assert audited(private(0.3), delta=0.01).low > epsilon


def test_vectors_are_audited_in_the_direction_that_tells_them_apart() -> None:
    move = np.array([0.0, 0.5, -0.25, 0.0, 0.25])  # of length 1 in absolute values

    def vector(random: np.random.Generator, kwh: np.ndarray, n: int) -> np.ndarray:
        return random.laplace(size=(n, 5)) + (move if len(kwh) == len(READINGS) else 0.0)

    assert 0.4 < audited(vector, n_runs=40_000).low <= 1.0
    assert audited(vector, score=lambda outputs: outputs[:, 0]).low <= 0.2
    assert audited(lambda random, kwh, n: vector(random, kwh, n) / 3, score=lambda own: own[:, 1]).low <= 0.5
    # A coordinate that carries no noise tells all.
    plain = np.array([1.0, 1, 1, 0, 1])
    assert audited(lambda random, kwh, n: vector(random, kwh, n) * plain + len(kwh) * (plain == 0)).low > 5


def test_a_value_that_is_too_frequent_is_an_event() -> None:
    """The same mean and spread, but one output that occurs on one side alone."""

    def marked(random: np.random.Generator, kwh: np.ndarray, n: int) -> np.ndarray:
        noise = random.laplace(size=n)
        return np.where(random.random(n) < 0.2, 0.123, noise) if len(kwh) == len(READINGS) else noise

    found = audited(marked)
    assert (found.event, found.threshold, found.side) == ("equal to", 0.123, 0)
    assert found.low > 3.0


def test_noise_of_the_library_keeps_its_promise(bits: Callable[[int], None]) -> None:
    bits(0)
    source = noise_source("os")

    def central(n: int, reading: int) -> np.ndarray:
        return reading + discrete_laplaces(n, 50.0, source)

    def shared(n: int, reading: int, honest: float = 1.0, present: int = 8) -> np.ndarray:
        readings = np.zeros((8, n), dtype=int)
        readings[0] = reading
        return distributed_sum(readings, 50.0, source, honest, np.arange(8) < present)

    for mechanism in (central, shared, lambda n, reading: shared(n, reading, 0.5, 4)):
        found = audit_epsilon(lambda n, own=mechanism: own(n, 50), lambda n, own=mechanism: own(n, 0), confidence=SURE)
        assert 0.6 < found.low <= 1.0


def test_shares_of_meters_that_dropped_out_are_missed(bits: Callable[[int], None]) -> None:
    """Two of eight meters are left, and each has added an eighth of the noise."""
    bits(0)
    source = noise_source("os")
    found = audit_epsilon(
        lambda n: 50 + polya_differences(n, 2 / 8, 50.0, source),
        lambda n: polya_differences(n, 2 / 8, 50.0, source),
        confidence=SURE,
    )
    assert found.low > 1.0


@given(st.integers(1, 300), st.floats(1e-9, 0.4), st.integers(0, 10_000))
def test_clopper_and_pearson_are_those_of_scipy(n: int, tail: float, seed: int) -> None:
    count = int(np.random.default_rng(seed).integers(0, n + 1))
    expected = binomtest(count, n).proportion_ci(1 - 2 * tail, "exact")
    assert clopper_pearson(count, n, tail) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clopper_and_pearson_miss_no_more_often_than_stated() -> None:
    count = np.arange(51)
    low, high = clopper_pearson(count, 50, 0.05)
    for chance in np.linspace(0.001, 0.999, 97):
        mass = binom.pmf(count, 50, chance)
        assert mass[low > chance].sum() <= 0.05 + 1e-12
        assert mass[high < chance].sum() <= 0.05 + 1e-12


def test_a_bound_holds_as_often_as_stated() -> None:
    """Where event and threshold cannot be chosen wrongly, bounds are missed as often as Clopper and Pearson's."""
    random, missed = np.random.default_rng(0), 0
    for seed in range(200):
        found = audit_epsilon(
            lambda n: random.random(n) < 0.6, lambda n: random.random(n) < 0.4, 200, confidence=0.8, seed=seed
        )
        missed += found.low > math.log(1.5)
    assert binomtest(missed, 200, 0.2, "greater").pvalue > 1e-6


def test_audits_repeat_with_their_seeds() -> None:
    assert audited(laplace_sum(1.0), seed=3) == audited(laplace_sum(1.0), seed=3)
    assert audited(laplace_sum(1.0)).n_runs == 5000


def test_what_cannot_be_audited_is_refused() -> None:
    def fine(n: int) -> np.ndarray:
        return np.zeros(n)

    with pytest.raises(InputError, match="n_runs: expected at least 100, got 50"):
        audit_epsilon(fine, fine, 50)
    for delta in (-0.1, 1.0, math.nan):
        with pytest.raises(InputError, match="delta"):
            audit_epsilon(fine, fine, delta=delta)
    with pytest.raises(InputError, match="confidence"):
        audit_epsilon(fine, fine, confidence=1.0)
    for outputs in (np.zeros(7), np.zeros((100, 2, 2))):
        with pytest.raises(InputError, match="neighbour_run: expected outputs of 100 runs"):
            audit_epsilon(fine, lambda n, own=outputs: own, 100)
    with pytest.raises(InputError, match="finite"):
        audit_epsilon(lambda n: np.full(n, np.nan), fine, 100)
    with pytest.raises(InputError, match="given something away already"):
        audit_epsilon(lambda n: np.zeros((n, 2)), lambda n: np.zeros((n, 3)), 100)
    with pytest.raises(InputError, match="score"):
        audit_epsilon(fine, fine, 100, score=lambda own: own[:3])
    with pytest.raises(InputError, match="score"):
        audit_epsilon(fine, fine, 100, score=lambda own: own + np.inf)
