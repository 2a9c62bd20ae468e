"""What noise stays within: against SciPy's distributions, sums of exact masses, and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, dlaplace, laplace, norm

from unlearn.errors import InputError
from unlearn.privacy.release.accuracy import error_bound, scale_for_error

NOISES = ("laplace", "gaussian", "discrete_laplace", "discrete_gaussian")
CONFIDENCES = st.floats(0.5, 0.999999)
COUNTS = st.integers(1, 100_000)


def gaussian_beyond(steps: float, sigma: float) -> float:
    """P(|X| > t) of the discrete Gaussian, mass by mass."""
    k = np.arange(0, math.ceil(45 * sigma) + 10)
    mass = np.exp(-(k**2) / (2 * sigma**2))
    mass[1:] *= 2
    return math.fsum(mass[k > steps]) / math.fsum(mass)


def beyond(noise: str, steps: float, scale: float) -> float:
    """P(|X| > t) of one draw."""
    if noise == "laplace":
        return 2 * laplace.sf(steps, scale=scale)
    if noise == "gaussian":
        return 2 * norm.sf(steps, scale=scale)
    return 2 * dlaplace.sf(steps, 1 / scale) if noise == "discrete_laplace" else gaussian_beyond(steps, scale)


@pytest.mark.parametrize("noise", NOISES)
@given(scale=st.floats(0.05, 3000.0), n_values=COUNTS, confidence=CONFIDENCES)
def test_the_bound_is_the_least_that_all_values_keep(
    noise: str, scale: float, n_values: int, confidence: float
) -> None:
    bound = error_bound(noise, scale, n_values, confidence)

    def inside(steps: float) -> float:
        return n_values * math.log1p(-min(beyond(noise, steps, scale), 1.0 - 1e-16))

    if noise in ("laplace", "gaussian"):
        assert inside(bound) == pytest.approx(math.log(confidence), rel=1e-6)
    else:
        assert bound == int(bound)
        assert inside(bound) >= math.log(confidence) * (1 + 1e-7)
        assert bound == 0 or inside(bound - 1) <= math.log(confidence) * (1 - 1e-7)


@pytest.mark.parametrize("noise", NOISES)
@given(bound=st.floats(1.0, 1e12), n_values=COUNTS, confidence=CONFIDENCES)
def test_the_scale_is_the_largest_that_keeps_the_bound(
    noise: str, bound: float, n_values: int, confidence: float
) -> None:
    scale = scale_for_error(noise, bound, n_values, confidence)
    whole = math.floor(bound) if noise.startswith("discrete") else bound
    assert error_bound(noise, scale, n_values, confidence) <= whole * (1 + 1e-12)
    assert error_bound(noise, scale * (1 + 1e-8), n_values, confidence) > whole


@pytest.mark.parametrize("scale", [999.0, 1001.0, 4000.0])
def test_wide_discrete_gaussians_have_the_tails_of_their_masses(scale: float) -> None:
    for share in (0.3, 1e-2, 1e-6):
        found = error_bound("discrete_gaussian", scale, 1, 1 - share)
        assert gaussian_beyond(found, scale) <= share * (1 + 1e-9)
        assert gaussian_beyond(found - 1, scale) > share * (1 - 1e-9)


@pytest.mark.parametrize("noise", ["discrete_laplace", "discrete_gaussian"])
def test_fine_steps_are_next_to_continuous_noise(noise: str) -> None:
    continuous = error_bound(noise.removeprefix("discrete_"), 3e9, 122_640)
    assert error_bound(noise, 3e9, 122_640) == pytest.approx(continuous, rel=1e-8)


@pytest.mark.parametrize("noise", ["laplace", "gaussian"])
def test_simulated_noise_stays_within_as_often_as_stated(noise: str) -> None:
    random = np.random.default_rng(0)
    drawn = getattr(random, "normal" if noise == "gaussian" else noise)(scale=2.0, size=(20_000, 24))
    inside = int((np.abs(drawn).max(axis=1) <= error_bound(noise, 2.0, 24, 0.9)).sum())
    assert binomtest(inside, 20_000, 0.9).pvalue > 1e-6


def test_settings_out_of_range_are_refused() -> None:
    for call in (error_bound, scale_for_error):
        with pytest.raises(InputError, match="noise: expected one of discrete_gaussian, discrete_laplace"):
            call("uniform", 1.0)
        for bad in (0.0, -1.0, math.inf, math.nan):
            with pytest.raises(InputError, match="expected a number above 0"):
                call("laplace", bad)
        with pytest.raises(InputError, match="n_values"):
            call("laplace", 1.0, 0)
        with pytest.raises(InputError, match="confidence"):
            call("laplace", 1.0, 1, 1.0)
    with pytest.raises(InputError, match="Count in finer steps"):
        scale_for_error("discrete_laplace", 0.5)
