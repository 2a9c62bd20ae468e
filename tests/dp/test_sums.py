"""Private sums: how far one household moves them, exactly, and the noise they carry."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2, kstest

from unlearn.dp import SimulatedNoise, clipped, private_sum
from unlearn.dp.noise import Grid
from unlearn.errors import InputError


@given(arrays(np.float64, (5, 3), elements=st.floats(-1e6, 1e6)), st.floats(1e-3, 1e3))
def test_no_household_moves_a_sum_by_more_than_the_clip(vectors: np.ndarray, clip: float) -> None:
    short = clipped(vectors, clip)
    norm = np.linalg.norm(vectors, axis=1)
    assert (np.linalg.norm(short, axis=1) <= clip * (1 + 1e-12)).all()
    np.testing.assert_array_equal(short[norm <= clip], vectors[norm <= clip])
    # The direction stays.
    np.testing.assert_allclose(short * np.maximum(norm / clip, 1)[:, None], vectors, rtol=1e-9, atol=1e-300)
    # What is released moves by at most the clip, in whole numbers; and is what was summed up, but for the rounding.
    width = Fraction(Grid(clip).width)
    more, less = ([Fraction(x) for x in private_sum(v, clip, 0.0)] for v in (vectors, vectors[1:]))
    assert all((x / width).denominator == 1 for x in (*more, *less))
    assert sum((x - y) ** 2 for x, y in zip(more, less, strict=True)) <= Fraction(clip) ** 2
    np.testing.assert_allclose(private_sum(vectors, clip, 0.0), short.sum(axis=0), atol=5 * clip * 2.0**-29)


@given(
    arrays(np.float64, (4, 6), elements=st.floats(allow_nan=False, allow_infinity=False)),
    st.floats(1e-290, 1e300),
)
def test_nothing_on_the_grid_is_longer_than_the_clip(vectors: np.ndarray, clip: float) -> None:
    grid = Grid(clip)
    assert 2**30 <= grid.longest < 2**31
    assert Fraction(grid.longest) * Fraction(grid.width) <= Fraction(clip)
    for row in grid.rounded(vectors).tolist():
        assert sum(x * x for x in row) <= grid.longest**2


def test_order_and_company_do_not_change_what_a_household_adds() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4))
    whole = private_sum(vectors, 1.3, 0.0)
    np.testing.assert_array_equal(private_sum(vectors[::-1], 1.3, 0.0), whole)
    others = np.delete(vectors, 7, axis=0)
    np.testing.assert_array_equal(whole - private_sum(others, 1.3, 0.0), private_sum(vectors[7:8], 1.3, 0.0))


def test_noise_has_the_stated_scale_and_stays_on_the_grid() -> None:
    released = private_sum(np.zeros((4, 3000)), clip=0.5, noise_multiplier=3.0)
    noise = released / 1.5
    assert kstest(noise, "norm").pvalue > 1e-6
    assert chi2.ppf(5e-7, noise.size) < (noise**2).sum() < chi2.ppf(1 - 5e-7, noise.size)
    assert (released / Grid(0.5).width % 1 == 0).all()


def test_noise_is_no_less_than_stated_however_little() -> None:
    for multiplier in (1e-12, 0.1, 1.0, 1e7):
        variances: list[int] = []

        class Watching:
            def discrete_gaussians(self, n: int, variance: int, seen: list[int] = variances) -> list[int]:
                seen.append(variance)
                return [0] * n

        grid = Grid(1.7)
        grid.noise(3, multiplier, Watching())  # type: ignore[arg-type]
        assert variances[0] >= (Fraction(multiplier) * grid.longest) ** 2


def test_noise_repeats_with_its_bits_alone(bits: Callable[[int], None]) -> None:
    vectors = np.ones((3, 4))
    assert not np.array_equal(private_sum(vectors, 9.0, 1.0), private_sum(vectors, 9.0, 1.0))
    np.testing.assert_allclose(private_sum(vectors, 9.0, 0.0), 3.0)
    bits(1)
    first = private_sum(vectors, 9.0, 1.0)
    bits(1)
    np.testing.assert_array_equal(private_sum(vectors, 9.0, 1.0), first)
    with pytest.raises(InputError, match="data of unknown origin, got a seed"):
        private_sum(vectors, 9.0, 1.0, SimulatedNoise(0))


@pytest.mark.parametrize(
    ("vectors", "clip", "noise", "message"),
    [
        (np.ones(3), 1.0, 1.0, "expected 2 axes"),
        ([[np.nan]], 1.0, 1.0, "finite"),
        (np.ones((2, 2)), 0.0, 1.0, "clip"),
        (np.ones((2, 2)), 1e-300, 1.0, "clip: expected at least 1e-290"),
        (np.ones((2, 2)), np.inf, 1.0, "clip"),
        (np.ones((2, 2)), 1.0, -1.0, "noise_multiplier"),
    ],
)
def test_sums_that_promise_nothing_are_refused(vectors, clip: float, noise: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        private_sum(vectors, clip, noise)
