"""Noise at the meter: its masses against closed forms, its sums against the promised variance, what is refused."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chi2, dlaplace, expon, kstest, laplace, logser, nbinom, norm

from unlearn.dp import SimulatedNoise, noise_source
from unlearn.errors import InputError
from unlearn.privacy.release.draws import _logarithmics, _mass, _polyas, discrete_laplaces, polya_differences
from unlearn.privacy.release.local import distributed_sum, local_sum, relied_upon

Bits = Callable[[int], None]

#: Level of each statistic; bits are fixed, so that none fails by chance.
ALPHA = 1e-6


@pytest.fixture(autouse=True)
def _fixed(bits: Bits) -> None:
    bits(0)


def fits(drawn: np.ndarray, pmf: Callable[[np.ndarray], np.ndarray]) -> bool:
    """χ² of how often numbers occur against their chances, rare ones put together."""
    values = np.arange(drawn.min(), drawn.max() + 1)
    expected = pmf(values) * len(drawn)
    often = expected >= 20
    observed = np.array([(drawn == value).sum() for value in values[often]])
    wanted = expected[often]
    rest = len(drawn) - wanted.sum()
    statistic = ((observed - wanted) ** 2 / wanted).sum() + (len(drawn) - observed.sum() - rest) ** 2 / max(rest, 1.0)
    return bool(statistic < chi2.isf(ALPHA, often.sum()))


def variance(scale: float) -> float:
    return float(dlaplace.var(1 / scale))


@pytest.mark.parametrize("scale", [0.3, 1.0, 6.5, 40.0])
def test_discrete_laplaces_have_their_masses(scale: float) -> None:
    assert fits(discrete_laplaces(20_000, scale, noise_source("os")), lambda x: dlaplace.pmf(x, 1 / scale))


@pytest.mark.parametrize("scale", [300.0, 5e4, 3e7, 1e12])
def test_wide_discrete_laplaces_are_laplace_and_even_in_their_digits(scale: float) -> None:
    drawn = discrete_laplaces(20_000, scale, noise_source("os"))
    # Half a step is what whole numbers differ from the continuous ones by.
    assert kstest(drawn, "laplace", args=(0, scale)).statistic < 0.5 / scale + laplace_limit(len(drawn))
    if scale > 1e4:
        digits = np.bincount(np.abs(drawn) % 16, minlength=16)
        assert ((digits - 1250.0) ** 2 / 1250).sum() < chi2.isf(ALPHA, 15)


def laplace_limit(n: int) -> float:
    """Distance of Kolmogorov and Smirnov that n draws exceed once in a million times."""
    return math.sqrt(-math.log(ALPHA / 2) / (2 * n))


@pytest.mark.parametrize("scale", [0.5, 3.0, 50.0])
def test_logarithmic_numbers_have_their_masses(scale: float) -> None:
    q = math.exp(-1 / scale)
    assert fits(_logarithmics(20_000, scale, noise_source("os")), lambda k: logser.pmf(k, q))


@pytest.mark.parametrize("scale", [0.3, 7.0, 1e4, 1e9])
def test_masses_between_powers_of_2_add_up_to_the_logarithm(scale: float) -> None:
    total = math.fsum(_mass(bits, scale) for bits in range(50)) * math.exp(-1 / scale)
    assert total == pytest.approx(-math.log(-math.expm1(-1 / scale)), rel=1e-13)


@pytest.mark.parametrize(("shape", "scale"), [(1.0, 3.0), (0.01, 20.0), (0.3, 8.0), (2.5, 5.0)])
def test_polya_numbers_have_their_masses(shape: float, scale: float) -> None:
    chance = -math.expm1(-1 / scale)
    assert fits(_polyas(20_000, shape, scale, noise_source("os")), lambda k: nbinom.pmf(k, shape, chance))


def test_wide_polya_numbers_of_shape_1_are_exponential() -> None:
    drawn = _polyas(20_000, 1.0, 1e8, noise_source("os"))
    assert kstest(drawn / 1e8, expon.cdf).statistic < laplace_limit(len(drawn)) + 1e-8


@pytest.mark.parametrize("n_meters", [1, 7, 100])
def test_shares_add_up_to_discrete_laplace_noise(n_meters: int) -> None:
    drawn = distributed_sum(np.full((n_meters, 20_000), 3), 6.0) - 3 * n_meters
    assert fits(drawn, lambda x: dlaplace.pmf(x, 1 / 6.0))


def test_shares_of_a_wide_scale_add_up_to_laplace_noise() -> None:
    drawn = distributed_sum(np.zeros((50, 20_000), dtype=int), 3e7)
    assert kstest(drawn, laplace(scale=3e7).cdf).statistic < laplace_limit(len(drawn)) + 1e-7


def test_drop_outs_leave_the_noise_that_was_promised() -> None:
    present = np.arange(40) < 30
    drawn = distributed_sum(np.zeros((40, 20_000), dtype=int), 6.0, honest=0.75, present=present)
    assert fits(drawn, lambda x: dlaplace.pmf(x, 1 / 6.0))
    # With all of them there is more; a mean of squares has a standard error of √((κ - 1) / n), κ below 6.
    every = distributed_sum(np.zeros((40, 20_000), dtype=int), 6.0, honest=0.75)
    spread = norm.isf(ALPHA / 2) * math.sqrt(5 / 20_000) * variance(6.0) / 0.75
    assert abs(np.mean(every**2.0) - variance(6.0) / 0.75) < spread


def test_local_noise_has_as_many_times_the_variance_as_there_are_meters() -> None:
    drawn = local_sum(np.full((60, 20_000), 5), 6.0) - 300
    spread = norm.isf(ALPHA / 2) * math.sqrt(3 / 20_000)
    assert abs(np.mean(drawn**2.0) / (60 * variance(6.0)) - 1) < spread
    assert abs(drawn.mean()) < norm.isf(ALPHA / 2) * math.sqrt(60 * variance(6.0) / 20_000)


def test_readings_are_in_the_sum_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.privacy.release.local._BLOCK", 50)
    steps = np.random.default_rng(0).integers(0, 10**12, (9, 20))
    present = np.arange(9) != 4
    # Noise of next to no width is 0.
    np.testing.assert_array_equal(local_sum(steps, 0.01), steps.sum(axis=0))
    np.testing.assert_array_equal(distributed_sum(steps, 0.01), steps.sum(axis=0))
    found = distributed_sum(steps, 0.01, honest=0.8, present=present)
    np.testing.assert_array_equal(found, steps[present].sum(axis=0))


def test_noise_comes_from_the_bits_of_the_source(bits: Bits) -> None:
    bits(1)
    first = distributed_sum(np.zeros((3, 50), dtype=int), 100.0)
    assert (first != distributed_sum(np.zeros((3, 50), dtype=int), 100.0)).any()
    bits(1)
    np.testing.assert_array_equal(first, distributed_sum(np.zeros((3, 50), dtype=int), 100.0))
    with pytest.raises(InputError, match='expected "os"'):
        local_sum(np.zeros((3, 50), dtype=int), 100.0, SimulatedNoise(1))


def test_how_many_meters_are_relied_upon() -> None:
    assert [relied_upon(10, honest) for honest in (1.0, 0.9, 0.3, 0.35)] == [10, 9, 3, 3]
    for honest in (0.0, 1.1, math.nan):
        with pytest.raises(InputError, match="honest: expected a share above 0"):
            relied_upon(10, honest)
    with pytest.raises(InputError, match="Raise it"):
        relied_upon(10, 0.05)


def test_what_is_no_bounded_reading_is_refused() -> None:
    for add in (local_sum, distributed_sum):
        for steps in ([[0.5]], [1, 2], np.zeros((2, 3), dtype=bool)):
            with pytest.raises(InputError, match="steps: expected whole numbers"):
                add(steps, 1.0)
        with pytest.raises(InputError, match="number of meters"):
            add(np.zeros((0, 3), dtype=int), 1.0)
        for scale in (0.0, math.inf, 2.0**41):
            with pytest.raises(InputError, match="scale"):
                add([[1]], scale)
    with pytest.raises(InputError, match="present: expected shape"):
        distributed_sum([[1], [2]], 1.0, present=[True])
    with pytest.raises(InputError, match="True or False"):
        distributed_sum([[1], [2]], 1.0, present=[0, 1])
    with pytest.raises(InputError, match="Release nothing"):
        distributed_sum([[1], [2]], 1.0, present=[True, False])
    with pytest.raises(InputError, match="shape"):
        polya_differences(1, 0.0, 1.0, noise_source("os"))
