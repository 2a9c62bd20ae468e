"""Baselines: exactly n profiles, each wrong in the way that it says and in no other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.studies.households import made_households
from unlearn.errors import InputError
from unlearn.generators import IndependentGaussian, Resampled, ShuffledHours
from unlearn.generators.baselines import MIN_CELL_ROWS
from unlearn.households import DailyProfiles

BASELINES = (Resampled().release, ShuffledHours().release, IndependentGaussian().release)


@pytest.fixture(scope="module")
def train() -> DailyProfiles:
    return made_households(20, 12)


@pytest.mark.parametrize("make", BASELINES)
@given(n=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_n_profiles_with_labels_of_training_rows(train: DailyProfiles, make, n: int, seed: int) -> None:
    release = make(train, n, seed)
    assert len(release) == n
    assert type(release) is DailyProfiles  # no household, no date
    assert release.segments == train.segments
    known = set(zip(train.month, train.day_of_week, train.segment, strict=True))
    assert set(zip(release.month, release.day_of_week, release.segment, strict=True)) <= known
    assert release.fingerprint == make(train, n, seed).fingerprint


def test_copies_are_training_rows_with_their_labels(train: DailyProfiles) -> None:
    rows, copies = (
        set(zip(map(tuple, own.kwh.tolist()), own.month, own.day_of_week, own.segment, strict=True))
        for own in (train, Resampled().release(train, 50, 1))
    )
    assert copies <= rows
    assert len(copies) > 30


def test_shuffling_keeps_each_days_energies_and_nothing_else(train: DailyProfiles) -> None:
    copies, shuffled = Resampled().release(train, 200, 3), ShuffledHours().release(train, 200, 3)
    np.testing.assert_array_equal(np.sort(copies.kwh, axis=1), np.sort(shuffled.kwh, axis=1))
    assert (copies.kwh != shuffled.kwh).any(axis=1).all()
    # Each day is shuffled for itself.
    evening = shuffled.kwh[:, 34:44].mean() / shuffled.kwh.mean()
    assert evening == pytest.approx(1.0, abs=0.1)
    assert copies.kwh[:, 34:44].mean() / copies.kwh.mean() > 1.3


def test_gaussian_steps_have_the_moments_of_their_cell() -> None:
    random = np.random.default_rng(0)
    n = 4000
    segment = np.repeat([0, 1], n // 2)
    kwh = (
        5.0 + 3.0 * segment[:, None] + np.arange(24) / 10 + (0.1 + 0.2 * segment[:, None]) * random.normal(size=(n, 24))
    )
    labels = np.full(n, 2), np.zeros(n, int)
    train = DailyProfiles("train", kwh, *labels, segment, ("low", "high"))
    release = IndependentGaussian().release(train, 20_000, 0)
    for code in (0, 1):
        own, real = release.kwh[release.segment == code], kwh[segment == code]
        np.testing.assert_allclose(own.mean(axis=0), real.mean(axis=0), atol=0.015)
        np.testing.assert_allclose(own.std(axis=0), real.std(axis=0), rtol=0.06)
    correlation = np.corrcoef(release.kwh[release.segment == 1].T)[np.triu_indices(24, 1)]
    assert np.abs(correlation).max() < 0.05


def test_a_cell_with_few_rows_takes_the_moments_of_all() -> None:
    n = 400
    segment = np.zeros(n, int)
    segment[: MIN_CELL_ROWS - 1] = 1
    kwh = np.full((n, 24), 1.0)
    kwh[segment == 1] = 9.0
    train = DailyProfiles("train", kwh, np.ones(n, int), np.zeros(n, int), segment, ("many", "few"))
    release = IndependentGaussian().release(train, 4000, 0)
    assert np.all(release.kwh[release.segment == 0] == 1.0)
    few = release.kwh[release.segment == 1]
    # All rows: mean 1.58 and deviation 2.08, clipped at 0.
    assert few.min() == 0.0
    assert 1.5 < few.mean() < 2.1


@pytest.mark.parametrize("make", BASELINES)
def test_nothing_to_draw_is_refused(train: DailyProfiles, make) -> None:
    for n in (0, 2.5):
        with pytest.raises(InputError, match="n: expected a whole number of at least 1"):
            make(train, n)
    with pytest.raises(InputError, match="got none in made up"):
        make(train.take(np.empty(0, int)).unlabelled(), 3)
