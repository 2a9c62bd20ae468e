"""Answers that add up: feeders to substations, substations to the area, and nothing below 0.

Each level of a grid gets its own noise, so that feeders no longer add up to their substation. Least squares onto what
does add up uses that each total was measured several times, by itself and by its parts: every node's error falls. It
reads nothing but the answers, so that it costs no privacy (Hay, Rastogi, Miklau and Suciu 2010, who solve trees of
equal branches and equal noise; here of any shape and any noise, in the same two passes, which are those of a Kalman
smoother along the tree).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import BoolArray, FloatArray, IntArray, as_floats, require_finite, require_shape, short_repr
from unlearn.errors import ConvergenceError, InputError

log = logging.getLogger(__name__)

#: What counts as 0 beside the largest value of an hour: of values, and of slopes, where rounding is.
_ZERO, _ROUNDING = 1e-11, 1e-14


@short_repr
@dataclass(frozen=True)
class Hierarchy:
    """Which node is a part of which: a tree, such as feeders, substations and an area.

    >>> grid = Hierarchy({"area": None, "north": "area", "south": "area", "n1": "north", "n2": "north"})
    >>> grid.leaves
    ('south', 'n1', 'n2')

    Attributes:
        parents: of each node the one that it is a part of, None where it is a part of none.
        one_root: whether exactly one node is to be a part of none; False accepts several trees.

    Raises:
        InputError: no nodes, a parent that is no node, nodes that are parts of each other in a circle, or several
            roots where one is expected.
    """

    parents: Mapping[str, str | None]
    one_root: bool = True

    def __post_init__(self) -> None:
        if not self.parents:
            raise InputError("hierarchy: expected at least one node, got none.")
        for node, parent in self.parents.items():
            if parent is not None and parent not in self.parents:
                raise InputError(
                    f"hierarchy: expected the parent of {node!r} among the nodes, got {parent!r}. Give it a parent of "
                    "its own, or None if it is a part of no other node."
                )
        try:
            above: dict[str, list[str]] = {node: [up] if up is not None else [] for node, up in self.parents.items()}
            TopologicalSorter(above).prepare()
        except CycleError as error:
            raise InputError(
                f"hierarchy: expected a tree, got nodes that are parts of each other: {' -> '.join(error.args[1])}."
            ) from error
        roots = [node for node, parent in self.parents.items() if parent is None]
        if self.one_root and len(roots) > 1:
            raise InputError(
                f"hierarchy: expected one node without a parent, got {len(roots)}: {', '.join(map(repr, roots[:3]))}"
                f"{', ...' if len(roots) > 3 else ''}. Name their parent, or pass one_root=False."
            )

    def _in_short(self) -> str:
        return f"{len(self.nodes)} nodes, {len(self.leaves)} leaves, {len(self._levels)} levels"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all K nodes, in the order of `parents`: that of the rows of values."""
        return tuple(self.parents)

    @property
    def leaves(self) -> tuple[str, ...]:
        """Names of nodes without parts, in the order of `nodes`."""
        return tuple(node for node, leaf in zip(self.nodes, self._is_leaf, strict=True) if leaf)

    def totals(self, leaves: ArrayLike) -> FloatArray:
        """Sums of leaves at every node.

        Args:
            leaves: in the order of `leaves`, shape (L, T).

        Returns:
            Shape (K, T).

        Raises:
            InputError: not a row for each leaf.
        """
        array = as_floats("leaves", leaves, ndim=2)
        require_shape("leaves", array, (len(self.leaves), None))
        found = np.zeros((len(self.nodes), array.shape[1]))
        found[self._is_leaf] = array
        for level in self._levels[:0:-1]:
            np.add.at(found, self._parent[level], found[level])
        return found

    @cached_property
    def _parent(self) -> IntArray:
        """Position of each node's parent, -1 at roots."""
        place = {node: i for i, node in enumerate(self.parents)}
        return np.array([-1 if up is None else place[up] for up in self.parents.values()], dtype=np.int64)

    @cached_property
    def _is_leaf(self) -> BoolArray:
        found = np.ones(len(self.parents), dtype=bool)
        found[self._parent[self._parent >= 0]] = False
        return found

    @cached_property
    def _levels(self) -> tuple[IntArray, ...]:
        """Positions of nodes by depth, roots first."""
        levels = [np.flatnonzero(self._parent < 0)]
        while len(following := np.flatnonzero(np.isin(self._parent, levels[-1]))):
            levels.append(following)
        return tuple(levels)


def make_consistent(
    values: ArrayLike, noise_scale: ArrayLike, hierarchy: Hierarchy, *, non_negative: bool = True
) -> FloatArray:
    """The values that add up and are nearest to noisy ones: weighted least squares.

    Minimises Σᵥ (xᵥ - yᵥ)² / σᵥ² over x with xᵥ = Σ of its parts. Where that makes a leaf negative, the same is
    minimised over leaves of at least 0, exactly: block principal pivoting (Júdice and Pires 1994), for all such hours
    at once. Without that step estimates are unbiased; with it, small leaves are lifted, and errors fall further.

    >>> grid = Hierarchy({"area": None, "north": "area", "south": "area"})
    >>> make_consistent([[12.0], [3.0], [6.0]], [1.0, 1.0, 1.0], grid).round(6).tolist()
    [[11.0], [4.0], [7.0]]

    Args:
        values: noisy values of each node, in the order of `hierarchy.nodes`, shape (K, T).
        noise_scale: standard deviation of each node's noise, or anything proportional to it, shape (K,). Infinite
            where a node was not measured, which leaves cannot be; its values are not looked at.
        hierarchy: which node is a part of which.
        non_negative: whether leaves, and with them all nodes, are to be at least 0.

    Returns:
        Shape (K, T); leaves add up to every node, to rounding.

    Raises:
        InputError: another shape, values that are not finite, or a noise scale that is not above 0.
        ConvergenceError: pivoting did not end.
    """
    scale = _scales(noise_scale, hierarchy)
    noisy = as_floats("values", values, ndim=2)
    require_shape("values", noisy, (len(hierarchy.nodes), None))
    noisy = np.where(np.isinf(scale)[:, None], 0.0, noisy)
    require_finite("values", noisy)
    variance = np.square(scale / scale.min())[:, None]
    leaves = _smoothed(hierarchy, noisy, variance).value[hierarchy._is_leaf]
    hours = np.asarray((leaves < 0).any(axis=0))
    if non_negative and hours.any():
        log.info("Least squares over values of at least 0 in %d of %d hours.", int(hours.sum()), len(hours))
        leaves[:, hours] = _pivoted(hierarchy, noisy[:, hours], variance)
    return hierarchy.totals(leaves)


def consistent_scale(noise_scale: ArrayLike, hierarchy: Hierarchy) -> FloatArray:
    """Standard deviation of each node's error after `make_consistent(..., non_negative=False)`.

    >>> grid = Hierarchy({"area": None, "north": "area", "south": "area"})
    >>> (consistent_scale([1.0, 1.0, 1.0], grid) ** 2).round(4).tolist()
    [0.6667, 0.6667, 0.6667]

    Args:
        noise_scale: standard deviations before, see `make_consistent`, shape (K,).
        hierarchy: which node is a part of which.

    Returns:
        In the unit of `noise_scale`, never above it, shape (K,).

    Raises:
        InputError: another shape, or a scale that is not above 0.
    """
    scale = _scales(noise_scale, hierarchy)
    least = scale.min()
    variance = np.square(scale / least)[:, None]
    _, own, below, _ = _smoothed(hierarchy, np.zeros_like(variance), variance)
    found = own.copy()
    for level in hierarchy._levels[1:]:
        above = hierarchy._parent[level]
        share = own[level] / below[above]
        found[level] = own[level] + share**2 * (found[above] - below[above])
    return np.sqrt(found[:, 0]) * least


def non_negative(values: ArrayLike) -> FloatArray:
    """Values below 0 made 0: never further from a truth of at least 0, but too high on average near it.

    Args:
        values: of any shape.

    Raises:
        InputError: not numbers, or not finite.
    """
    array = as_floats("values", values)
    require_finite("values", array)
    return np.maximum(array, 0.0)


def _scales(noise_scale: ArrayLike, hierarchy: Hierarchy) -> FloatArray:
    scale = as_floats("noise_scale", noise_scale, ndim=1)
    require_shape("noise_scale", scale, (len(hierarchy.nodes),))
    if not (scale > 0).all():
        raise InputError("noise_scale: expected numbers above 0. A node that is known exactly has no place here.")
    if np.isinf(scale[hierarchy._is_leaf]).any():
        raise InputError(
            "noise_scale: expected a finite one for every leaf, got an infinite one: what was not measured cannot be "
            "told apart from other parts of its parent. Leave such leaves out of the hierarchy."
        )
    return scale


class _Smoothed(NamedTuple):
    """Least squares of a tree.

    Attributes:
        value: of each node, shape (K, T).
        own: variance of each node's estimate from itself and what is below it, shape (K, 1), or (K, T) where leaves
            are fixed.
        below: variance of the sum of its parts, as they are before anything above them counts; of the same shape.
        moved: how far that sum has then moved, shape (K, T); without the cancellation of a difference of values.
    """

    value: FloatArray
    own: FloatArray
    below: FloatArray
    moved: FloatArray


def _smoothed(
    hierarchy: Hierarchy, noisy: FloatArray, variance: FloatArray, fixed: BoolArray | None = None
) -> _Smoothed:
    """Least squares by two passes, up and down the tree.

    Args:
        hierarchy: the tree.
        noisy: shape (K, T).
        variance: shape (K, 1).
        fixed: leaves that are 0, shape (L, T); None fixes none.
    """
    value, leaf = noisy.copy(), hierarchy._is_leaf
    own = variance.copy() if fixed is None else np.repeat(variance, noisy.shape[1], axis=1)
    if fixed is not None:
        value[leaf] = np.where(fixed, 0.0, value[leaf])
        own[leaf] = np.where(fixed, 0.0, own[leaf])
    parts, moved, below = np.zeros_like(value), np.zeros_like(value), np.zeros_like(own)
    for level in reversed(hierarchy._levels):
        inner = level[~leaf[level]]
        gain = below[inner] / (below[inner] + variance[inner])
        moved[inner] = gain * (noisy[inner] - parts[inner])
        value[inner] = parts[inner] + moved[inner]
        own[inner] = below[inner] * (1 - gain)
        if (above := hierarchy._parent[level])[0] >= 0:
            np.add.at(parts, above, value[level])
            np.add.at(below, above, own[level])
    for level in hierarchy._levels[1:]:
        above = hierarchy._parent[level]
        own_move = own[level] / np.where(below[above] > 0, below[above], 1.0) * moved[above]
        value[level] += own_move
        moved[level] += own_move
    return _Smoothed(value, own, below, moved)


def _pivoted(hierarchy: Hierarchy, noisy: FloatArray, variance: FloatArray) -> FloatArray:
    """Leaves of at least 0 with the least squares, shape (L, T)."""
    leaf = hierarchy._is_leaf
    n_leaves, largest = int(leaf.sum()), np.abs(noisy).max(axis=0)
    flat = np.maximum(_ZERO / variance[leaf], _ROUNDING)
    found = np.zeros((n_leaves, noisy.shape[1]))
    open_ = np.arange(noisy.shape[1])  # hours that are still to be solved
    fixed = np.zeros(found.shape, dtype=bool)
    fewest, patience = np.full(len(open_), n_leaves + 1), np.full(len(open_), 3)
    for _ in range(100 + 20 * n_leaves):
        value, _, below, moved = _smoothed(hierarchy, noisy[:, open_], variance, fixed)
        slope = (value - noisy[:, open_]) / variance
        for level in hierarchy._levels:
            # Sums of slopes down the tree. Where some part is free, how far parts have moved tells the sum, with less
            # rounding than the slopes of nodes that are known far better than their parts.
            if (above := hierarchy._parent[level])[0] >= 0:
                slope[level] += slope[above]
            free = below[level] > 0
            slope[level] = np.where(free, -moved[level] / np.where(free, below[level], 1.0), slope[level])
        # Of a fixed leaf the slope, of a free one the value is to be at least 0.
        wrong = np.where(fixed, slope[leaf] / flat, value[leaf] / _ZERO) < -largest[open_]
        count = wrong.sum(axis=0)
        done = count == 0
        found[:, open_[done]] = np.maximum(np.where(fixed, 0.0, value[leaf])[:, done], 0.0)
        if done.all():
            return found
        # All that are wrong are exchanged as long as they become fewer; if not, the last one alone, which always ends.
        patience = np.where(count < fewest, 3, patience - 1)
        fewest = np.minimum(fewest, count)
        last = n_leaves - 1 - wrong[::-1].argmax(axis=0)
        single = (np.arange(n_leaves)[:, None] == last) & wrong
        fixed ^= np.where(patience >= 0, wrong, single)
        fixed, open_, fewest, patience = fixed[:, ~done], open_[~done], fewest[~done], patience[~done]
    raise ConvergenceError(
        f"values: no least squares of at least 0 found in {len(open_)} hours. Pass non_negative=False, and use "
        "non_negative(values) on its result."
    )
