"""Noise: where its bits come from, who may ask for a seed, and that its distributions are the stated ones."""

import math
import os
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, norm

from unlearn.dp import NoiseSource, SimulatedNoise, noise_source
from unlearn.dp.noise import _Bits, _happens
from unlearn.errors import InputError
from unlearn.households import simulate_households

#: Of live statistics: one false alarm in a million runs.
ALPHA = 1e-6

Bits = Callable[[int], None]


class _Real:
    name, simulated = "meters", False


class _Unsure:
    name, simulated = "meters", "yes"


def masses(variance: float) -> dict[int, float]:
    """The discrete Gaussian's probabilities, to 40 standard deviations."""
    reach = math.ceil(40 * math.sqrt(variance)) + 1
    weight = {x: math.exp(-(x**2) / (2 * variance)) for x in range(-reach, reach + 1)}
    total = math.fsum(weight.values())
    return {x: own / total for x, own in weight.items()}


@pytest.mark.parametrize("variance", [1, 2, 7, 100])
def test_discrete_gaussians_have_their_exact_masses(variance: int) -> None:
    drawn = np.array(noise_source("os").discrete_gaussians(4000, variance))
    expected = {x: 4000 * mass for x, mass in masses(variance).items()}
    often = sorted(x for x, count in expected.items() if count >= 20)
    observed = np.array([(drawn == x).sum() for x in often])
    wanted = np.array([expected[x] for x in often])
    left = 4000 - wanted.sum()
    statistic = ((observed - wanted) ** 2 / wanted).sum() + (4000 - observed.sum() - left) ** 2 / max(left, 1.0)
    assert statistic < chi2.isf(ALPHA, len(often))


def test_wide_discrete_gaussians_are_normal_and_even_in_their_last_bits() -> None:
    drawn = noise_source("os").discrete_gaussians(3000, 3 * 2**60)
    assert kstest(np.array([float(x) for x in drawn]) / math.sqrt(3 * 2**60), "norm").pvalue > ALPHA
    odd = sum(x % 2 for x in drawn)
    assert abs(odd - 1500) < norm.isf(ALPHA / 2) * math.sqrt(750)


@given(st.integers(0, 2**80), st.integers(1, 2**80))
def test_coins_of_exponentials_use_whole_numbers_of_any_size(numerator: int, denominator: int) -> None:
    coin = _happens(min(numerator, 5 * denominator), denominator, _Bits(noise_source("os")))
    assert isinstance(coin, bool)


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (1, 3), (1, 1), (9, 4)])
def test_coins_of_exponentials_have_their_chance(numerator: int, denominator: int) -> None:
    bits, chance = _Bits(noise_source("os")), math.exp(-numerator / denominator)
    heads = sum(_happens(numerator, denominator, bits) for _ in range(4000))
    assert abs(heads - 4000 * chance) <= norm.isf(ALPHA / 2) * math.sqrt(4000 * chance * (1 - chance))


def test_rounded_and_discrete_gaussians_differ_by_less_than_what_is_stated() -> None:
    # Rounding a continuous Gaussian keeps its promise; the rest is what delta grows by.
    for sd in (1.0, 2.0, 5.0, 30.0):
        rounded = {x: norm.cdf((x + 0.5) / sd) - norm.cdf((x - 0.5) / sd) for x in masses(sd**2)}
        variation = sum(abs(mass - rounded[x]) for x, mass in masses(sd**2).items()) / 2
        assert variation < 1 / (16 * sd**2)


def test_a_continuous_accountant_bounds_the_discrete_mechanism() -> None:
    sd, shift = 24.0, 12  # a noise multiplier of 2
    mass = masses(sd**2)
    for epsilon in (0.1, 0.5, 1.0):
        lost = math.fsum(max(0.0, own - math.exp(epsilon) * mass.get(x - shift, 0.0)) for x, own in mass.items())
        mu = shift / sd
        allowed = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
        assert lost <= allowed + (1 + math.exp(epsilon)) / (16 * sd**2)
        assert lost == pytest.approx(allowed, rel=0.05)


def test_normals_are_normal_and_independent() -> None:
    drawn = noise_source("os").normals(20_001)
    assert kstest(drawn, "norm").pvalue > ALPHA
    for lag in (1, 2, 10_000):
        assert abs(np.mean(drawn[lag:] * drawn[:-lag])) < norm.isf(ALPHA / 2) / math.sqrt(len(drawn) - lag)
    assert noise_source("os").normals(0).shape == (0,)


def test_normals_are_finite_whatever_the_bits() -> None:
    for byte in (b"\x00", b"\xff"):
        assert np.isfinite(NoiseSource("os", lambda n, byte=byte: byte * n).normals(9)).all()


@pytest.mark.parametrize("chance", [0.0, 1e-9, 0.3, 1.0])
def test_coins_have_their_chance(chance: float) -> None:
    heads = noise_source("os").coins(20_000, chance).sum()
    assert abs(heads - 20_000 * chance) <= max(2.0, norm.isf(ALPHA / 2) * math.sqrt(20_000 * chance * (1 - chance)))


def test_the_default_does_not_repeat_and_tests_can_replace_its_bits(bits: Bits) -> None:
    def drawn() -> tuple[bytes, list[float], list[int]]:
        source = noise_source("os")
        return source.bytes(16), source.normals(3).tolist(), source.discrete_gaussians(3, 10**12)

    assert all(one != other for one, other in zip(drawn(), drawn(), strict=True))
    bits(4)
    first = drawn()
    bits(4)
    assert drawn() == first


@pytest.mark.skipif(sys.platform == "win32", reason="a fork is what could draw the same")
def test_forked_processes_draw_other_noise() -> None:
    source = noise_source("os")
    source.discrete_gaussians(1, 10**12)  # whatever it may keep
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, repr(source.discrete_gaussians(2, 10**24)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000).decode() != repr(source.discrete_gaussians(2, 10**24))
    os.close(reading)
    os.close(writing)


def test_a_seed_is_for_simulated_data_alone() -> None:
    simulated = simulate_households(2, n_days=2)
    source = noise_source(SimulatedNoise(3), simulated, simulated.to_hourly())
    assert source.kind == "simulated"
    assert source.bytes(8) == noise_source(SimulatedNoise(3), simulated).bytes(8)
    assert noise_source(source, _Real()) is source
    assert noise_source("os", _Real()).kind == "os"
    for data in ((), (_Real(),), (_Unsure(),), (simulated, _Real()), (np.zeros(3),)):
        with pytest.raises(InputError, match=r'expected "os" for .*takes the noise away.*Pass noise="os"'):
            noise_source(SimulatedNoise(3), *data)


@pytest.mark.parametrize("noise", [0, None, True, "seed", "simulated", np.random.default_rng(0)])
def test_nothing_else_is_a_source(noise: object) -> None:
    with pytest.raises(InputError, match=r'noise: expected "os" or SimulatedNoise\(seed\)'):
        noise_source(noise)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 1.5, True, None, "3"])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(InputError, match="a seed that is a whole number of at least 0"):
        SimulatedNoise(seed)  # type: ignore[arg-type]
