"""Private sums: how far one household moves them, and the noise they carry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2, kstest

from unlearn.dp import clipped, private_sum
from unlearn.errors import InputError


@given(arrays(np.float64, (5, 3), elements=st.floats(-1e6, 1e6)), st.floats(1e-3, 1e3))
def test_no_household_moves_a_sum_by_more_than_the_clip(vectors: np.ndarray, clip: float) -> None:
    short = clipped(vectors, clip)
    norm = np.linalg.norm(vectors, axis=1)
    assert (np.linalg.norm(short, axis=1) <= clip * (1 + 1e-12)).all()
    np.testing.assert_array_equal(short[norm <= clip], vectors[norm <= clip])
    # The direction stays.
    np.testing.assert_allclose(short * np.maximum(norm / clip, 1)[:, None], vectors, rtol=1e-9, atol=1e-300)
    less = private_sum(vectors[1:], clip, 0.0, 0) - private_sum(vectors, clip, 0.0, 0)
    assert np.linalg.norm(less) <= clip * (1 + 1e-9) + 1e-9 * norm.max()


def test_noise_has_the_stated_scale() -> None:
    zero = np.zeros((4, 20_000))
    noise = private_sum(zero, clip=0.5, noise_multiplier=3.0, seed=0) / 1.5
    assert kstest(noise, "norm").pvalue > 1e-3
    # Two-sided at a level of 1e-3.
    assert chi2.ppf(5e-4, noise.size) < (noise**2).sum() < chi2.ppf(1 - 5e-4, noise.size)


def test_seeds_repeat_and_none_does_not() -> None:
    vectors = np.ones((3, 4))
    first, again, other = (private_sum(vectors, 9.0, 1.0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(private_sum(vectors, 9.0, 1.0, None), private_sum(vectors, 9.0, 1.0, None))
    np.testing.assert_allclose(private_sum(vectors, 9.0, 0.0, None), 3.0)


@pytest.mark.parametrize(
    ("vectors", "clip", "noise", "message"),
    [
        (np.ones(3), 1.0, 1.0, "expected 2 axes"),
        ([[np.nan]], 1.0, 1.0, "finite"),
        (np.ones((2, 2)), 0.0, 1.0, "clip"),
        (np.ones((2, 2)), 1.0, -1.0, "noise_multiplier"),
    ],
)
def test_sums_that_promise_nothing_are_refused(vectors, clip: float, noise: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        private_sum(vectors, clip, noise, 0)
