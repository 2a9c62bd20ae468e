"""Kinds of days: a Gaussian mixture fitted on real training profiles, and the kind of any other profile."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, as_floats, require_shape, short_repr
from unlearn.errors import InputError

#: Principal components that the mixture is fitted on; on raw steps full covariances are not well determined.
N_COMPONENTS = 10

#: Added to energy before the logarithm, as a share of the mean step: keeps idle hours from dominating.
OFFSET_SHARE = 0.1

#: Training profiles that each cluster must have on average.
ROWS_PER_CLUSTER = 10


@short_repr
@dataclass(frozen=True, eq=False)
class DayClusters:
    """A mixture on the leading principal components of standardised log energy; everything learnt from train.

    Attributes:
        offset_kwh: added before the logarithm.
        mean: of the log energy of each step, shape (S,).
        scale: its standard deviation, shape (S,); 1 where it is 0.
        axes: principal axes, shape (S, components).
        mixture: fitted `sklearn.mixture.GaussianMixture`.
        rank: cluster of each mixture component, shape (K,): 0 has the least mean energy.
    """

    offset_kwh: float
    mean: FloatArray
    scale: FloatArray
    axes: FloatArray
    mixture: Any
    rank: IntArray

    @property
    def n_clusters(self) -> int:
        return len(self.rank)

    @property
    def converged(self) -> bool:
        """Whether the fit reached scikit-learn's tolerance."""
        return bool(self.mixture.converged_)

    def predict(self, kwh: ArrayLike) -> IntArray:
        """Most probable cluster of each profile, shape (N,), 0 to K − 1 by rising mean energy."""
        energy = as_floats("kwh", kwh, ndim=2)
        require_shape("kwh", energy, (None, len(self.mean)))
        if not len(energy):
            return np.empty(0, dtype=np.int64)
        return self.rank[self.mixture.predict(self._components(energy))]

    def _components(self, energy: FloatArray) -> FloatArray:
        return ((np.log(energy + self.offset_kwh) - self.mean) / self.scale) @ self.axes


def fit_clusters(kwh: ArrayLike, n_clusters: int, seed: int) -> DayClusters:
    """Fit the mixture.

    Args:
        kwh: energy of training profiles, shape (N, S).
        n_clusters: clusters K.
        seed: of the initial K-means.

    Raises:
        InputError: fewer than `ROWS_PER_CLUSTER` profiles a cluster, or no energy at all.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    energy = as_floats("kwh", kwh, ndim=2)
    if len(energy) < ROWS_PER_CLUSTER * n_clusters:
        raise InputError(
            f"n_clusters: expected at least {ROWS_PER_CLUSTER} profiles a cluster, got {len(energy)} profiles for "
            f"{n_clusters} clusters. Ask for fewer clusters or give more profiles."
        )
    if not energy.any():
        raise InputError("kwh: expected some energy to fit clusters on, got zeros only.")
    offset_kwh = OFFSET_SHARE * float(energy.mean())
    logarithm = np.log(energy + offset_kwh)
    mean, scale = logarithm.mean(axis=0), logarithm.std(axis=0)
    scale[scale == 0] = 1.0
    standard = (logarithm - mean) / scale
    # Eigenvalues ascend: the last axes carry the most variance.
    axes = np.linalg.eigh(standard.T @ standard)[1][:, ::-1][:, :N_COMPONENTS]
    mixture = GaussianMixture(n_clusters, reg_covar=1e-4, max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        # A fit that still moves a little is as good a coding of days; `converged` tells.
        warnings.simplefilter("ignore", ConvergenceWarning)
        component = mixture.fit_predict(standard @ axes)
    used, place = np.unique(component, return_inverse=True)
    level = np.full(n_clusters, np.inf)
    level[used] = np.bincount(place, weights=energy.mean(axis=1)) / np.bincount(place)
    rank = np.argsort(np.argsort(level, kind="stable")).astype(np.int64)
    return DayClusters(offset_kwh, mean, scale, axes, mixture, rank)
