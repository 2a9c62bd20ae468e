"""Clusters of days: known kinds are found again, whatever the order; everything learnt comes from train."""

import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.studies._shared.fidelity.distances import fit_clusters


def two_kinds(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Night and evening days; the night ones use more."""
    random = np.random.default_rng(seed)
    night = random.random(n) < 0.3
    shape = np.where(night[:, None], 1.0 + 3.0 * (np.arange(48) < 12), 0.3 + 1.0 * (np.arange(48) > 36))
    return 0.1 * shape * random.gamma(20.0, 0.05, (n, 48)), night.astype(int)


def test_known_kinds_are_found_in_order_of_their_energy() -> None:
    kwh, kind = two_kinds(400, 0)
    clusters = fit_clusters(kwh, 2, seed=0)
    assert clusters.converged
    assert clusters.n_clusters == 2
    np.testing.assert_array_equal(clusters.predict(kwh), kind)
    other, other_kind = two_kinds(100, 1)
    np.testing.assert_array_equal(clusters.predict(other), other_kind)
    # A profile's cluster does not depend on its neighbours.
    np.testing.assert_array_equal(clusters.predict(other[::-1][:7]), other_kind[::-1][:7])
    assert clusters.predict(np.empty((0, 48))).shape == (0,)


def test_more_clusters_than_kinds_and_steps_without_energy() -> None:
    kwh, _ = two_kinds(200, 0)
    kwh[:, :4] = 0.0
    found = fit_clusters(kwh, 6, seed=0).predict(kwh)
    level = [kwh[found == cluster].mean() for cluster in np.unique(found)]
    assert level == sorted(level)
    np.testing.assert_array_equal(found, fit_clusters(kwh, 6, seed=0).predict(kwh))


def test_too_little_to_fit_on_is_refused() -> None:
    kwh, _ = two_kinds(19, 0)
    with pytest.raises(InputError, match="at least 10 profiles a cluster, got 19 profiles for 2 clusters"):
        fit_clusters(kwh, 2, seed=0)
    with pytest.raises(InputError, match="zeros only"):
        fit_clusters(np.zeros((50, 48)), 2, seed=0)
    with pytest.raises(InputError, match="shape"):
        fit_clusters(two_kinds(40, 0)[0], 2, seed=0).predict(np.ones((3, 24)))
