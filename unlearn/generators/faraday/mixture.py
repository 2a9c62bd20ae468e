"""A Gaussian mixture over latents that carries labels along: densities and samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unlearn.checks import FloatArray, IntArray, short_repr


def sufficient(z: FloatArray, labels: IntArray, sizes: tuple[int, ...]) -> FloatArray:
    """Sufficient statistics of rows: 1, z, the upper triangle of zzᵀ, labels one-hot; shape (n, W).

    The joint density is an exponential family in them, so that a step of EM is two matrix products.
    """
    rows, columns = np.triu_indices(z.shape[1])
    one_hot = [np.eye(size)[labels[:, column]] for column, size in enumerate(sizes)]
    return np.concatenate([np.ones((len(z), 1)), z, z[:, rows] * z[:, columns], *one_hot], axis=1)


@short_repr
@dataclass(frozen=True, eq=False)
class LabelledMixture:
    """`p(z, labels) = Σ_k π_k N(z; μ_k, Σ_k) Π_l Cat(label_l; k)`, float64.

    Attributes:
        weights: π, shape (K,).
        means: μ, shape (K, L).
        factors: lower Cholesky factors of Σ, shape (K, L, L).
        labels: probability of each value of each label, shapes (K, V_l).
    """

    weights: FloatArray
    means: FloatArray
    factors: FloatArray
    labels: tuple[FloatArray, ...]

    @property
    def n_components(self) -> int:
        return len(self.weights)

    @cached_property
    def natural(self) -> FloatArray:
        """Natural parameters: `log π_k + log p(z, labels | k)` is their product with `sufficient`, shape (K, W)."""
        n_latent = self.means.shape[1]
        inverse = np.linalg.inv(self.factors)
        precision = np.einsum("kji,kjl->kil", inverse, inverse)
        slope = np.einsum("kij,kj->ki", precision, self.means)
        constant = np.log(self.weights) - np.log(np.diagonal(self.factors, axis1=1, axis2=2)).sum(axis=1)
        constant -= 0.5 * (slope * self.means).sum(axis=1) + 0.5 * n_latent * math.log(2 * math.pi)
        rows, columns = np.triu_indices(n_latent)
        # Off the diagonal each product stands for two.
        quadratic = precision[:, rows, columns] * np.where(rows == columns, -0.5, -1.0)
        return np.column_stack([constant, slope, quadratic, *map(np.log, self.labels)])

    def log_joint(self, z: FloatArray, labels: IntArray) -> FloatArray:
        """`log π_k + log p(z, labels | k)`, shape (n, K)."""
        return sufficient(z, labels, tuple(table.shape[1] for table in self.labels)) @ self.natural.T

    def component_of(self, labels: IntArray) -> FloatArray:
        """Probability of each component given labels, shape (n, K)."""
        log = np.log(self.weights) + sum(np.log(table).T[labels[:, i]] for i, table in enumerate(self.labels))
        return normalised(log)[0]

    def sample(self, n: int, random: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """Draw exactly n latents with labels."""
        component = random.choice(self.n_components, size=n, p=self.weights)
        labels = np.stack([_draw(table[component], random) for table in self.labels], axis=1)
        return self._latents(component, random), labels

    def sample_given(self, labels: IntArray, random: np.random.Generator) -> FloatArray:
        """Draw a latent for each row of labels, shape (n, L)."""
        combinations, which = np.unique(labels, axis=0, return_inverse=True)
        probabilities = self.component_of(combinations)
        return self._latents(_draw(probabilities[which.ravel()], random), random)

    def _latents(self, component: IntArray, random: np.random.Generator) -> FloatArray:
        noise = random.standard_normal((len(component), self.means.shape[1]))
        z = np.empty_like(noise)
        for k in np.unique(component):
            rows = component == k
            z[rows] = self.means[k] + noise[rows] @ self.factors[k].T
        return z


def normalised(log: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows of `exp(log)` that sum to 1, and the logarithms of their sums."""
    top = log.max(axis=1, keepdims=True)
    raw = np.exp(log - top)
    total = raw.sum(axis=1, keepdims=True)
    return raw / total, (top + np.log(total))[:, 0]


def _draw(probabilities: FloatArray, random: np.random.Generator) -> IntArray:
    """Draw a position for each row of probabilities, shape (n,)."""
    cumulative = np.cumsum(probabilities, axis=1)
    level = random.random((len(probabilities), 1)) * cumulative[:, -1:]
    return (level >= cumulative).sum(axis=1).clip(max=probabilities.shape[1] - 1).astype(np.int64)
