"""A Gaussian mixture over latents that carries labels along, fitted by EM with a chunk of rows in memory at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.errors import ConvergenceError, InputError
from unlearn.generators.faraday.generators import MixtureOptions


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


logger = logging.getLogger(__name__)

#: A pass over the data: chunks of latents (n, L) and labels (n, 3) that count from 0; the same in every pass.
Stream = Callable[[], Iterable[tuple[FloatArray, IntArray]]]


def fit_mixture(
    stream: Stream, sizes: tuple[int, ...], options: MixtureOptions, seed: int
) -> tuple[LabelledMixture, dict[str, Any]]:
    """Fit by EM with conjugate priors (MAP), started from k-means; a chunk of rows in memory at a time.

    Args:
        stream: gives the same chunks in every pass.
        sizes: number of values of each label, V_l.
        options: settings.
        seed: of k-means.

    Returns:
        The mixture, and its history: mean log posterior per pass, `steps`, `converged`.

    Raises:
        InputError: fewer rows than components.
        ConvergenceError: latents or the log posterior are not finite.
    """
    mixture, prior = _start(stream, sizes, options, seed)
    history: list[float] = []
    bar = tqdm(range(options.max_iter), desc="EM", unit="pass", leave=False)
    converged = False
    for _ in bar:
        sums = _Sums(options.n_components, mixture.means.shape[1], sizes)
        for z, labels in stream():
            sums.add(z, labels, mixture)
        history.append((sums.log_likelihood + prior.log_density(mixture)) / sums.n)
        if not math.isfinite(history[-1]):
            raise ConvergenceError("mixture: the log posterior is not finite. Raise mixture.prior_rows.")
        bar.set_postfix(log_posterior=f"{history[-1]:.4f}", refresh=False)
        if len(history) > 1 and history[-1] - history[-2] < options.tol:
            converged = True
            break
        mixture = prior.maximise(sums)
    if not converged:
        logger.warning("mixture: not converged to %g after %d passes; kept as it is", options.tol, len(history))
    return mixture, {"log_posterior": history, "steps": len(history), "converged": converged}


class _Sums:
    """What a pass sums up: sufficient statistics weighted with responsibilities, shape (K, W)."""

    def __init__(self, n_components: int, n_latent: int, sizes: tuple[int, ...]) -> None:
        self.sizes, self.n_latent = sizes, n_latent
        self.n, self.log_likelihood = 0, 0.0
        width = 1 + n_latent + n_latent * (n_latent + 1) // 2 + sum(sizes)
        self.weighted = np.zeros((n_components, width))

    def add(self, z: FloatArray, labels: IntArray, mixture: LabelledMixture) -> None:
        """The E step of a chunk."""
        statistics = sufficient(z, labels, self.sizes)
        responsibility, log_likelihood = normalised(statistics @ mixture.natural.T)
        self.weigh(statistics, responsibility)
        self.log_likelihood += float(log_likelihood.sum())

    def weigh(self, statistics: FloatArray, responsibility: FloatArray) -> None:
        self.weighted += responsibility.T @ statistics
        self.n += len(statistics)

    @property
    def count(self) -> FloatArray:
        return self.weighted[:, 0]

    @property
    def z(self) -> FloatArray:
        return self.weighted[:, 1 : 1 + self.n_latent]

    @property
    def outer(self) -> FloatArray:
        """Σ r zzᵀ, shape (K, L, L)."""
        rows, columns = np.triu_indices(self.n_latent)
        outer = np.zeros((len(self.weighted), self.n_latent, self.n_latent))
        first = 1 + self.n_latent
        outer[:, rows, columns] = outer[:, columns, rows] = self.weighted[:, first : first + len(rows)]
        return outer

    @property
    def labels(self) -> list[FloatArray]:
        """Σ r over rows with each value of each label, shapes (K, V_l)."""
        tail = self.weighted[:, -sum(self.sizes) :]
        return np.split(tail, np.cumsum(self.sizes)[:-1], axis=1)


@short_repr
@dataclass(frozen=True, eq=False)
class _Prior:
    """Conjugate prior of every component, worth `rows` rows: covariance, label frequencies, equal weights."""

    rows: float
    covariance: FloatArray
    labels: list[FloatArray]

    def maximise(self, sums: _Sums) -> LabelledMixture:
        """The M step."""
        # A component that lost its rows keeps a place in the middle and the prior's covariance.
        means = sums.z / np.maximum(sums.count, 1e-12)[:, None]
        scatter = sums.outer - sums.count[:, None, None] * means[:, :, None] * means[:, None, :]
        covariance = (scatter + self.rows * self.covariance) / (sums.count + self.rows)[:, None, None]
        tables = [
            (table + self.rows * overall) / (sums.count + self.rows)[:, None]
            for table, overall in zip(sums.labels, self.labels, strict=True)
        ]
        weights = (sums.count + 1) / (sums.n + len(sums.count))
        factors = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        return LabelledMixture(weights, means, factors, tuple(tables))

    def log_density(self, mixture: LabelledMixture) -> float:
        """Log prior of a mixture up to a constant; what `maximise` trades against the likelihood."""
        log_det = 2 * np.log(np.diagonal(mixture.factors, axis1=1, axis2=2)).sum()
        inverse = np.linalg.inv(mixture.factors)
        trace = float(np.einsum("kij,jl,kil->", inverse, self.covariance, inverse))
        density = -0.5 * self.rows * (log_det + trace) + float(np.log(mixture.weights).sum())
        for table, overall in zip(mixture.labels, self.labels, strict=True):
            density += self.rows * float((overall * np.log(table)).sum())
        return density


def _start(
    stream: Stream, sizes: tuple[int, ...], options: MixtureOptions, seed: int
) -> tuple[LabelledMixture, _Prior]:
    """K-means clusters as hard responsibilities, and the prior that is learnt from them."""
    from sklearn.cluster import MiniBatchKMeans  # a second to import, and only fitting needs it

    k = options.n_components
    kmeans = MiniBatchKMeans(k, random_state=seed, n_init=3, compute_labels=False)
    for _ in range(options.cluster_iter):
        for z, _ in _at_least(stream(), k):
            kmeans.partial_fit(z)
    n_latent = kmeans.cluster_centers_.shape[1]
    sums = _Sums(k, n_latent, sizes)
    for z, labels in stream():
        sums.weigh(sufficient(z, labels, sizes), np.eye(k)[kmeans.predict(z)])
    means = sums.z / np.maximum(sums.count, 1e-12)[:, None]
    within = (sums.outer.sum(axis=0) - np.einsum("k,ki,kj->ij", sums.count, means, means)) / sums.n
    # Latents that do not vary within clusters still get a covariance that can be inverted.
    within += (1e-6 + 1e-6 * np.trace(within) / n_latent) * np.eye(n_latent)
    overall = [(table.sum(axis=0) + 1 / table.shape[1]) / (sums.n + 1) for table in sums.labels]
    prior = _Prior(options.prior_rows, within, overall)
    return prior.maximise(sums), prior


def _at_least(chunks: Iterable[tuple[FloatArray, IntArray]], rows: int) -> Iterator[tuple[FloatArray, IntArray]]:
    """Join chunks until each has as many rows as k-means needs; refuse too few in all."""
    kept: list[tuple[FloatArray, IntArray]] = []
    total = 0
    for chunk in chunks:
        if not np.isfinite(chunk[0]).all():
            raise ConvergenceError(
                "mixture: latents are not finite; the network has not learnt. Lower its learning rate."
            )
        kept.append(chunk)
        total += len(chunk[0])
        if sum(len(z) for z, _ in kept) >= rows:
            yield np.concatenate([z for z, _ in kept]), np.concatenate([labels for _, labels in kept])
            kept = []
    if total < rows:
        raise InputError(
            f"mixture.n_components: expected at most as many as training profiles ({total}), got {rows}. "
            "Give more households or ask for fewer components."
        )
