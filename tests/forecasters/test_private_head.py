"""The private linear head: least squares without noise, bounded sensitivity, stated noise, and deletions."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor

from unlearn.dp import SimulatedNoise
from unlearn.errors import InputError
from unlearn.forecasters.head import ClippedSums


def rows(seed: int, n: int = 60, outputs: int = 2) -> tuple[Tensor, Tensor, np.ndarray]:
    random = np.random.default_rng(seed)
    design = torch.from_numpy(random.normal(size=(n, 4)))
    target = design @ torch.ones((4, outputs), dtype=torch.float64) + torch.from_numpy(random.normal(size=(n, outputs)))
    return design, target, random.integers(6, size=n)


def test_without_noise_and_clipping_it_is_least_squares_with_equal_households() -> None:
    design, target, unit = rows(0)
    head = ClippedSums.of(design, target, unit, np.inf).release(0.0)
    root = 1 / np.sqrt(np.bincount(unit)[unit])[:, None]
    truth = np.linalg.lstsq(root * design.numpy(), root * target.numpy(), rcond=None)[0].T
    assert head.numpy() == pytest.approx(truth, rel=1e-10)


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.integers(1, 40))
def test_no_household_moves_the_sums_by_more_than_the_sensitivity(seed: int, clip: float, n: int) -> None:
    design, target, _ = rows(seed, n)
    own = ClippedSums.of(10**3 * design, target, np.zeros(n, dtype=int), clip).moments
    assert sum(Fraction(entry) ** 2 for entry in own.numpy()[np.triu_indices(6)]) <= Fraction(clip**2) ** 2


def test_sums_are_exact_in_any_order_and_on_their_grid_alone() -> None:
    design, target, unit = rows(3)
    order = np.random.default_rng(0).permutation(6)[unit]
    sums = ClippedSums.of(design, target, unit, 1.3)
    assert torch.equal(ClippedSums.of(design, target, order, 1.3).moments, sums.moments)
    parts = [ClippedSums.of(design[unit == k], target[unit == k], unit[unit == k], 1.3).moments for k in range(6)]
    assert torch.equal(torch.stack(parts).sum(dim=0), sums.moments)
    with pytest.raises(InputError, match="expected sums on their grid"):
        ClippedSums(sums.moments + 1e-15, 4, 1.3, 6).release(1.0)
    with pytest.raises(InputError, match="data of unknown origin"):
        sums.release(1.0, SimulatedNoise(1))


@pytest.mark.parametrize("seed", range(10))
def test_forgetting_a_household_equals_never_having_summed_it(seed: int, bits: Callable[[int], None]) -> None:
    design, target, unit = rows(seed)
    gone = unit == unit[0]
    sums = ClippedSums.of(design, target, unit, 1.5)
    left = sums.remove(design[gone], target[gone])
    anew = ClippedSums.of(design[~gone], target[~gone], unit[~gone], 1.5)
    assert left.moments.numpy() == pytest.approx(anew.moments.numpy(), abs=1e-12)
    assert left.n_units == anew.n_units
    # The same noise: the head that private retraining would have released.
    bits(3)
    first = left.release(0.7).numpy()
    bits(3)
    assert first == pytest.approx(anew.release(0.7).numpy(), abs=1e-9)
    assert not np.allclose(left.release(0.7), left.release(0.7))


def test_noise_has_the_stated_scale() -> None:
    sums = ClippedSums(torch.zeros((41, 41), dtype=torch.float64), 40, 1.5, 0)
    # The head of empty sums is noise over the ridge's level: its entries have the noise's scale.
    level = 5.0 * 2 * (0.8 * 1.5**2) * np.sqrt(40)
    draws = np.concatenate([(sums.release(0.8, ridge=5.0) * level).numpy().ravel() for _ in range(20)])
    # Eigenvalues of the noise are spread by a fifth of the level at most, which shrinks or stretches entries as much.
    low, high = chi2.ppf([1e-6, 1 - 1e-6], len(draws)) / len(draws)
    assert low * 0.8 < np.mean(np.square(draws)) / (0.8 * 1.5**2) ** 2 < high * 1.25


def test_with_little_noise_the_head_tends_to_the_clipped_one(bits: Callable[[int], None]) -> None:
    bits(0)
    design, target, unit = rows(1)
    sums = ClippedSums.of(design, target, unit, 2.0)
    exact = sums.release(0.0)
    errors = [float((sums.release(noise) - exact).norm()) for noise in (1e-2, 1e-4, 1e-6)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2] > 0


@pytest.mark.parametrize("clip", [0.0, -1.0, np.nan])
def test_a_clip_that_is_no_norm_is_refused(clip: float) -> None:
    with pytest.raises(InputError, match="clip: expected a norm above 0"):
        ClippedSums.of(*rows(0), clip)


def test_unusable_input_is_refused() -> None:
    design, target, unit = rows(0)
    with pytest.raises(InputError, match="as many rows"):
        ClippedSums.of(design, target[1:], unit, 1.0)
    with pytest.raises(InputError, match="got NaN or infinity"):
        ClippedSums.of(design * np.nan, target, unit, 1.0)
    sums = ClippedSums.of(design, target, unit, np.inf)
    with pytest.raises(InputError, match="infinite clip"):
        sums.release(1.0)
    with pytest.raises(InputError, match="noise_multiplier: expected a number of at least 0"):
        sums.release(-1.0)
    with pytest.raises(InputError, match="4 features and 2 targets"):
        sums.remove(design[:, :3], target)
    with pytest.raises(InputError, match="without any"):
        ClippedSums(sums.moments, 4, 1.0, 0).remove(design, target)
