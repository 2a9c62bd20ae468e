"""Features of profiles against their definitions, and samples: equal sizes, disjoint households, members as asked."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.studies.households import made_households
from unlearn.errors import InputError
from unlearn.households import split_households
from unlearn.studies._shared.fidelity import samples as fidelity_real
from unlearn.studies._shared.fidelity.distances import wasserstein
from unlearn.studies._shared.fidelity.samples import (
    FEATURES,
    Bins,
    FidelityOptions,
    Key,
    Sample,
    autocorrelation,
    bins_of,
    comparable_members,
    distances_inside,
    distances_overall,
    divisions,
    feature_distances,
    make_real_side,
    profile_features,
)

#: Energies in whole watt-hours: ties, zeros and constant profiles occur.
energies = st.tuples(st.integers(1, 6), st.just(24)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 4).map(lambda i: i / 1000))
)


@given(energies)
def test_autocorrelation_is_its_definition(kwh: np.ndarray) -> None:
    found = autocorrelation(kwh, 12)
    for row, series in zip(found, kwh, strict=True):
        centred = series - series.mean()
        if np.ptp(series) == 0:
            assert np.isnan(row).all()
            continue
        expected = [(centred[:-lag] * centred[lag:]).sum() / (centred**2).sum() for lag in range(1, 13)]
        np.testing.assert_allclose(row, expected, atol=1e-12)
        assert np.abs(row).max() <= 1
        # Scale and level do not matter, not even where squares underflow.
        np.testing.assert_allclose(autocorrelation(1e-200 * series[None], 12)[0], row, atol=1e-12)


def test_autocorrelation_of_a_wave() -> None:
    wave = np.cos(2 * np.pi * np.arange(48) / 12)[None]
    np.testing.assert_allclose(autocorrelation(wave, 24)[0, [5, 11]], [-42 / 48, 36 / 48], atol=1e-12)


@given(energies, st.integers(1, 5))
def test_peaks_keep_the_largest_steps_and_ties_share(kwh: np.ndarray, k: int) -> None:
    features = profile_features(kwh, k)
    largest = np.sort(kwh, axis=1)[:, ::-1][:, :k]
    np.testing.assert_array_equal(features.magnitude, largest)
    np.testing.assert_allclose(features.masked.sum(axis=1), largest.sum(axis=1), atol=1e-15)
    # One unit of weight for each kept step, if enough steps have energy.
    full = (kwh > 0).sum(axis=1) >= k
    np.testing.assert_allclose(features.timing.sum(axis=1)[full], k, atol=1e-12)
    assert ((features.timing >= 0) & (features.timing <= 1)).all()
    assert (features.timing[kwh == 0] == 0).all()
    # Ties have no order: moving the steps moves the weights.
    order = np.random.default_rng(k).permutation(24)
    np.testing.assert_allclose(profile_features(kwh[:, order], k).timing, features.timing[:, order])


def test_ties_for_the_last_place_share_it() -> None:
    kwh = np.zeros((2, 24))
    kwh[0, [3, 7, 8, 9]] = [5, 2, 2, 2]
    kwh[1, 3] = 1
    timing = profile_features(kwh, 2).timing
    np.testing.assert_allclose(timing[0, [3, 7, 8, 9]], [1, 1 / 3, 1 / 3, 1 / 3])
    assert timing[1].sum() == timing[1, 3] == 1  # a step without energy is no peak


def test_level_and_constant_share() -> None:
    kwh = np.vstack([np.arange(24.0), np.ones(24)])
    features = profile_features(kwh, 3)
    np.testing.assert_allclose(features.mean[:, 0], [11.5, 1.0])
    np.testing.assert_allclose(features.p95[:, 0], [0.95 * 23, 1.0])
    assert features.constant_share == 0.5
    assert features.columns("acf").shape == (1, 12)
    assert features.columns("magnitude").shape == (6, 1)
    assert len(features.take([0])) == 1


def test_equal_profiles_have_no_distance_and_others_have() -> None:
    random = np.random.default_rng(0)
    kwh = random.gamma(1.0, 0.2, (200, 24))
    features = profile_features(kwh, 3)
    bins = bins_of(features, 10)
    same = feature_distances(features, features, bins)
    assert set(same) == {(feature.name, distance) for feature in FEATURES for distance in feature.distances}
    assert max(value.max() for value in same.values()) < 1e-7
    other = feature_distances(features, profile_features(np.sort(kwh, axis=1), 3), bins)
    for name in ("acf", "timing", "masked"):
        assert other[name, "wasserstein"].mean() > 0.01
    assert other["mean", "wasserstein"].max() < 1e-12  # sorting leaves the level
    assert other["acf", "ks"].shape == (12,)
    assert other["masked", "wasserstein"].shape == (24,)


def test_what_nobody_has_is_not_measured() -> None:
    random = np.random.default_rng(0)
    features = profile_features(random.gamma(1.0, 0.2, (50, 24)), 3)
    flat, dark = (profile_features(np.full((5, 24), level), 3) for level in (0.1, 0.0))
    against_flat = feature_distances(flat, features, bins_of(features, 10))
    assert np.isnan(against_flat["acf", "wasserstein"]).all()
    assert np.isfinite(against_flat["timing", "wasserstein"]).all()
    against_dark = feature_distances(features, dark, bins_of(features, 10))
    assert all(np.isnan(against_dark["timing", distance]).all() for distance in ("wasserstein", "ks", "js"))
    assert np.isnan(feature_distances(features, features, bins_of(flat, 10))["acf", "js"]).all()


def test_impossible_peaks_are_refused() -> None:
    with pytest.raises(InputError, match="top_k: expected 1 to 23 peaks of 24 steps, got 24"):
        profile_features(np.ones((2, 24)), 24)


def sample(kwh: np.ndarray, cluster: Sequence[int]) -> Sample:
    return Sample(kwh, profile_features(kwh, 2), np.asarray(cluster), 3)


def test_inside_a_cluster_as_many_are_compared_as_asked_for() -> None:
    random = np.random.default_rng(0)
    left = sample(random.gamma(1.0, 0.2, (9, 24)), [0, 1, 1, 0, 1, 1, 2, 1, 0])
    right = sample(random.gamma(1.0, 0.4, (5, 24)), [1, 1, 0, 1, 0])
    bins = Bins({}, ({}, {}, {}))
    found = distances_inside(left, right, bins, np.array([0, 2, 0]))
    assert {key.cluster for key in found} == {1}
    expected = wasserstein(left.kwh[[1, 2]].mean(axis=1), right.kwh[[0, 1, 3]].mean(axis=1))
    assert found[Key("cluster", "mean", "wasserstein", 1)] == pytest.approx(expected)
    occupancy = distances_overall(left, right, bins)[Key("all", "occupancy", "tv")]
    assert occupancy == pytest.approx(0.5 * (abs(3 / 9 - 2 / 5) + abs(5 / 9 - 3 / 5) + 1 / 9))


def test_a_cluster_is_compared_where_each_side_has_enough() -> None:
    kwh = np.random.default_rng(0).gamma(1.0, 0.2, (8, 24))
    release, train = sample(kwh, [0, 0, 0, 0, 1, 1, 2, 2]), sample(kwh, [0, 0, 0, 1, 1, 1, 1, 2])
    holdout = sample(kwh, [0, 0, 0, 0, 0, 0, 1, 2])
    np.testing.assert_array_equal(comparable_members([release, train, holdout], 1), [3, 2, 1])
    np.testing.assert_array_equal(comparable_members([release, train, holdout], 2), [3, 0, 0])


def test_divisions_are_of_households_and_as_large_as_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    households = made_households(20, 10)
    train, holdout = split_households(households, 0.4, 0)
    owner = {tuple(row): who for row, who in zip(households.kwh.tolist(), households.household, strict=True)}
    options = FidelityOptions(n_clusters=2, n_divisions=3, min_members=5)
    real = make_real_side(train, holdout, 60, options, seed=0)
    seen: list[np.ndarray] = []
    make = fidelity_real.make_sample

    def spy(kwh: np.ndarray, *others: object) -> Sample:
        seen.append(kwh)
        return make(kwh, *others)

    monkeypatch.setattr(fidelity_real, "make_sample", spy)
    assert len(list(divisions(train, holdout, real, options, seed=0))) == 3
    sides = [{owner[tuple(row)] for row in kwh.tolist()} for kwh in seen]
    assert [len(kwh) for kwh in seen] == [60] * 6
    for left, right in zip(sides[::2], sides[1::2], strict=True):
        assert not left & right
        assert (len(left), len(right)) == (12, 8)
    assert len({frozenset(side) for side in sides[::2]}) == 3
