"""Samples that fidelity compares: equal sizes, disjoint households, as many members of a cluster as asked for."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.studies.households import made_households
from unlearn.households import split_households
from unlearn.studies._shared.fidelity import samples as fidelity_real
from unlearn.studies._shared.fidelity.distances import wasserstein
from unlearn.studies._shared.fidelity.samples import (
    Bins,
    FidelityOptions,
    Key,
    Sample,
    comparable_members,
    distances_inside,
    distances_overall,
    divisions,
    make_real_side,
    profile_features,
)


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
