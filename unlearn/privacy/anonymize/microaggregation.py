"""Microaggregation: each load curve becomes the mean of a class of at least k alike, so that it hides in a crowd.

Classes are found by MDAV (maximum distance to average vector; Domingo-Ferrer and Mateo-Sanz 2002, in the form of
Domingo-Ferrer and Torra 2005): a class around the curve farthest from the mean of those that are left, another around
the curve farthest from that one, and so on. It is no optimum, which is NP-hard for curves of two steps or more.

Whoever knows the k − 1 other curves of a class knows the last one, and alike curves tell what they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, as_floats, require_count, require_finite, short_repr
from unlearn.errors import InputError


@short_repr
@dataclass(frozen=True, eq=False)
class Microaggregated:
    """Curves of which at least k are the same.

    Attributes:
        k: least size of a class.
        centroids: mean of the class of each curve, shape (n, S).
        group: class of each curve, 0 to G − 1, shape (n,).
        information_loss: squared distances to the means of classes, over those to the mean of all: 0 is none, 1 all.
    """

    k: int
    centroids: FloatArray
    group: IntArray
    information_loss: float

    @property
    def sizes(self) -> IntArray:
        """Curves in each class, from k to 2k − 1, shape (G,)."""
        return np.bincount(self.group)


def microaggregated(profiles: ArrayLike, k: int) -> Microaggregated:
    """Replace each curve by the mean of its class of k to 2k − 1.

    Distances are Euclidean in the units given: columns of other units than the rest are to be scaled first.

    >>> made = microaggregated([[0.0], [0.1], [5.0], [5.2]], k=2)
    >>> made.centroids.ravel().round(2).tolist(), made.information_loss < 0.01
    ([0.05, 0.05, 5.1, 5.1], True)

    Args:
        profiles: n curves of S steps, shape (n, S), such as mean daily profiles in kWh.
        k: least size of a class; 1 leaves all as it is.

    Raises:
        InputError: fewer curves than k, NaN, or a k below 1.
    """
    curves = as_floats("profiles", profiles, ndim=2)
    require_finite("profiles", curves)
    if len(curves) < require_count("k", k):
        raise InputError(f"k: expected at most the number of curves, got {k}, which is above it. Lower it.")
    # Around their mean, so that products lose no digits that differences need.
    centred = curves - curves.mean(axis=0)
    group = np.arange(len(curves)) if k == 1 else _mdav(centred, int(k))
    centroids = curves.copy() if k == 1 else _means(curves, group)[group]
    total = float((centred**2).sum())
    within = float(((curves - centroids) ** 2).sum())
    return Microaggregated(int(k), centroids, group, within / total if total else 0.0)


def crowd_sizes(table: ArrayLike) -> IntArray:
    """How many rows are the same as each row, itself included, shape (n,): the least of them is the k achieved.

    >>> crowd_sizes([[0.1, 0.2], [0.1, 0.2], [0.3, 0.2]]).tolist()
    [2, 2, 1]

    Args:
        table: shape (n, S), as released. NaN are the same as NaN.

    Raises:
        InputError: no matrix of numbers, or one without rows.
    """
    rows = as_floats("table", table, ndim=2)
    if not rows.size:
        raise InputError(f"table: expected at least one row and column, got shape {rows.shape}.")
    # Bytes of equal rows are equal once there is one zero and one NaN.
    plain = np.ascontiguousarray(np.where(np.isnan(rows), np.nan, rows + 0.0))
    whole = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel()
    _, place, count = np.unique(whole, return_inverse=True, return_counts=True)
    return np.asarray(count[place], dtype=np.int64)


def _means(curves: FloatArray, group: IntArray) -> FloatArray:
    """Mean of each class, shape (G, S)."""
    order = np.argsort(group, kind="stable")
    size = np.bincount(group)
    starts = np.cumsum(size) - size
    return np.add.reduceat(curves[order], starts, axis=0) / size[:, None]


def _mdav(curves: FloatArray, k: int) -> IntArray:
    """Class of each curve; curves are centred."""
    group = np.empty(len(curves), dtype=np.int64)
    left, rows = _Left(curves), 0
    with tqdm(total=len(curves), desc="classes", leave=False, delay=2) as progress:
        while len(left) >= 2 * k:
            far = left.farthest(left.mean())
            # A second class leaves enough for a third, or the rest is one.
            twice = len(left) >= 3 * k
            opposite = left.farthest(left.curve(far)) if twice else None
            for centre in [far] if opposite is None else [far, opposite]:
                point = left.curve(centre)
                taken = left.take_nearest(point, k)
                group[taken] = rows
                rows += 1
                progress.update(k)
    group[left.rows] = rows
    return group


class _Left:
    """Curves that are in no class yet; the arrays are packed anew each time that a quarter has gone."""

    def __init__(self, curves: FloatArray) -> None:
        self._curves, self._all = curves, curves
        self._rows = np.arange(len(curves))
        self._there = np.ones(len(curves), dtype=bool)
        self._squares = np.einsum("ns,ns->n", curves, curves)
        self._sum = curves.sum(axis=0)
        self._count = len(curves)

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> IntArray:
        return self._rows[self._there]

    def curve(self, row: int) -> FloatArray:
        return self._all[row]

    def mean(self) -> FloatArray:
        return self._sum / self._count

    def farthest(self, point: FloatArray) -> int:
        distance = np.where(self._there, self._distances(point), -np.inf)
        return int(self._rows[distance.argmax()])

    def take_nearest(self, point: FloatArray, k: int) -> IntArray:
        distance = np.where(self._there, self._distances(point), np.inf)
        near = np.argpartition(distance, k - 1)[:k]
        self._there[near] = False
        self._count -= k
        self._sum = self._sum - self._curves[near].sum(axis=0)
        taken = self._rows[near]
        if self._count < 0.75 * len(self._rows):
            kept = self._there
            self._curves, self._rows, self._squares = self._curves[kept], self._rows[kept], self._squares[kept]
            self._there = np.ones(self._count, dtype=bool)
            self._sum = self._curves.sum(axis=0)
        return taken

    def _distances(self, point: FloatArray) -> FloatArray:
        """Squared distances but for a constant, the point's own square."""
        return self._squares - 2.0 * (self._curves @ point)
