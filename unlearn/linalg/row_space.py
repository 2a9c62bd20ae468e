"""Vectors of a matrix's row space with the lightest support: what sums that are known tell of few of their parts.

Rows are published sums, columns are the parts that they add up (atoms), with a weight each, such as the number of
customers. Whoever adds and subtracts the rows learns every vector of the row space, and no other linear combination of
the parts. So the combination with the lightest support that has a part in it says how well the part is hidden.

A support S with part a in it belongs to a vector of the row space if and only if the column of a does not depend on
the columns outside of S. Where it depends, S misses a part of that dependency: so the lightest support is a lightest
hitting set of dependencies (circuits of the columns; supports without a smaller one inside are the cocircuits).
Dependencies and vectors are computed in whole numbers, without rounding, and coefficients are checked against the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.sparse.csgraph import connected_components

from unlearn.checks import BoolArray, FloatArray, IntArray, require_finite, require_shape, short_repr
from unlearn.errors import InputError, SolverError
from unlearn.linalg.hitting_sets import lightest_hitting_set

#: Whole weights below a limit that the integer program works with; others are rounded down to such.
_FINE = 10**6
#: Products of two numbers below this, and their difference, fit into 64 bits.
_SAFE = 2**30
#: Sums of products of two numbers below this, one for each part, fit into 64 bits.
_SMALL = 2**20

Whole = NDArray[Any]


@short_repr
@dataclass(frozen=True, eq=False)
class Combination:
    """A combination of rows, with whole coefficients.

    Attributes:
        weight: of the parts whose coefficient is not 0.
        vector: coefficient of each part, shape (n,), without a common divisor.
        rows: the matrix that it was made of, shape (G, n).
    """

    weight: float
    vector: IntArray
    rows: IntArray

    @cached_property
    def support(self) -> IntArray:
        """Positions of the parts whose coefficient is not 0."""
        return np.flatnonzero(self.vector)

    @cached_property
    def coefficients(self) -> tuple[Fraction, ...]:
        """Coefficient c of each row, `c @ rows == vector`, as few as a linear program finds; G of them."""
        return _coefficients(self.rows, self.vector)


class Dependencies:
    """Dependencies of columns that were met: those that hold for other rows, too, need not be found again."""

    def __init__(self) -> None:
        self._met: dict[int, list[IntArray]] = {}

    def add(self, atom: int, dependency: Whole) -> None:
        """Keep a vector d with `rows @ d == 0` and `d[atom] != 0`, shape (n,)."""
        if np.abs(dependency).max() < _SMALL:
            self._met.setdefault(atom, []).append(dependency.astype(np.int64))

    def holding(self, basis: Whole, atom: int) -> list[IntArray]:
        """Other columns that the column of a part depends on, of each dependency that holds."""
        if atom not in self._met or basis.dtype == object or np.abs(basis).max() >= _SMALL:
            return []
        met = np.array(self._met[atom])
        holds = ~(basis @ met.T).any(axis=0)
        met[:, atom] = 0
        return [np.flatnonzero(own) for own in met[holds]]


def lightest_combination(rows: ArrayLike, weights: ArrayLike, atom: int, below: float = np.inf) -> Combination | None:
    """The combination of rows with the lightest support among those that have a part in them.

    The area less one of its two halves is the other half:

    >>> found = lightest_combination([[1, 1, 1, 1], [1, 1, 0, 0]], [9, 9, 1, 2], atom=2)
    >>> found.weight, found.vector.tolist(), [str(c) for c in found.coefficients]
    (3.0, [0, 0, 1, 1], ['1', '-1'])

    Args:
        rows: G published sums of n parts, whole numbers, shape (G, n).
        weights: of the parts, at least 0, shape (n,).
        atom: position of the part.
        below: only lighter ones are wanted.

    Returns:
        The combination; None where every combination with the part weighs `below` or more, or no row has the part.
        Where several supports are equally light, any of them.

    Raises:
        InputError: rows that are not whole numbers, weights that are negative or not finite, or another shape.
    """
    matrix, weight = _checked(rows, weights)
    if not 0 <= atom < len(weight):
        raise InputError(f"atom: expected a position from 0 to {len(weight) - 1}, got {atom}.")
    limits = np.zeros(len(weight))
    limits[atom] = below
    return next(iter(lightest_of_each(matrix, weight, limits)), None)


def lightest_of_each(
    rows: ArrayLike,
    weights: ArrayLike,
    below: ArrayLike,
    known: Dependencies | None = None,
    apart: bool = False,
) -> Iterator[Combination]:
    """The lightest combination with each part in turn, where it is lighter than a limit of that part.

    Args:
        rows: G published sums of n parts, whole numbers, shape (G, n).
        weights: of the parts, at least 0, shape (n,).
        below: limit of each part, shape (n,); parts that weigh as much themselves cost nothing.
        known: dependencies met before between the same parts, whatever the rows; those met now are added.
        apart: whether parts that are in a combination found before are passed over.

    Raises:
        InputError: see `lightest_combination`.
    """
    matrix, weight = _checked(rows, weights)
    limits = np.asarray(below, dtype=np.float64)
    require_shape("below", limits, weight.shape)
    asked = np.flatnonzero(weight < limits)
    if not len(asked):
        return
    basis = reduced(matrix, np.argsort(-weight, kind="stable"))[0]
    known = Dependencies() if known is None else known
    passed = np.zeros(len(weight), dtype=bool)
    for atom in asked[np.argsort(weight[asked] - limits[asked], kind="stable")].tolist():
        vector = None if passed[atom] else _lightest(basis, weight, atom, float(limits[atom]), known)
        if vector is not None:
            passed |= apart & (vector != 0)
            yield _combination(vector, weight, matrix)


def light_combinations(rows: ArrayLike, weights: ArrayLike, below: float, most: int = 1000) -> list[Combination]:
    """All combinations of rows lighter than a limit whose support has no smaller one in it, lightest first.

    An empty list is a proof: no combination of the rows, with whatever coefficients, is lighter than `below`.

    Args:
        rows: G published sums of n parts, whole numbers, shape (G, n).
        weights: of the parts, above 0, shape (n,).
        below: limit of the weight.
        most: no more than these many are listed.

    Raises:
        InputError: see `lightest_combination`; a weight of 0.
    """
    matrix, weight = _checked(rows, weights)
    if (weight <= 0).any():
        raise InputError("weights: expected numbers above 0, got 0. Leave such parts out.")
    found: list[IntArray] = []
    for basis, places in _components(matrix, weight, below):
        for vector in _all_light(basis, weight[places], below, most - len(found)):
            found.append(np.zeros(len(weight), dtype=vector.dtype))
            found[-1][places] = vector
    return sorted((_combination(own, weight, matrix) for own in found), key=lambda own: own.weight)


def reduced(matrix: Whole, order: IntArray) -> tuple[Whole, IntArray]:
    """Gauss-Jordan elimination in whole numbers, without rounding.

    Args:
        matrix: whole numbers, shape (G, n).
        order: positions of the columns in the order in which they become pivots.

    Returns:
        A basis of the row space, shape (r, n), of which each row is 0 at the others' pivots; the pivots, shape (r,).
        Numbers are of 64 bits, or Python's where they could be too large for that.
    """
    table = matrix[(matrix != 0).any(axis=1)]
    pivots: list[int] = []
    for column in order:
        done = len(pivots)
        if done == len(table):
            break
        if not len(rest := np.flatnonzero(table[done:, column])):
            continue
        table[[done, done + rest[0]]] = table[[done + rest[0], done]]
        table = _eliminated(table, done, int(column))
        pivots.append(int(column))
    return table[: len(pivots)], np.array(pivots, dtype=np.int64)


def _eliminated(table: Whole, pivot: int, column: int) -> Whole:
    """The table with 0 in a column, but for the pivot's row."""
    if table.dtype != object and np.abs(table).max() >= _SAFE:
        table = table.astype(object)
    others = np.flatnonzero(table[:, column])
    others = others[others != pivot]
    changed = table[others] * table[pivot, column] - table[others, column][:, None] * table[pivot]
    table[others] = changed // np.maximum(np.gcd.reduce(changed, axis=1), 1)[:, None] if len(others) else changed
    return table


def _checked(rows: ArrayLike, weights: ArrayLike) -> tuple[IntArray, FloatArray]:
    matrix, weight = np.asarray(rows), np.asarray(weights, dtype=np.float64)
    if matrix.ndim != 2 or not (matrix.dtype == bool or np.issubdtype(matrix.dtype, np.integer)):
        raise InputError(f"rows: expected whole numbers, shape (G, n), got {matrix.dtype}, shape {matrix.shape}.")
    require_shape("weights", weight, (matrix.shape[1],))
    require_finite("weights", weight)
    if (weight < 0).any():
        raise InputError(f"weights: expected numbers of at least 0, got {int((weight < 0).sum())} below 0.")
    return matrix.astype(np.int64), weight


def _components(matrix: IntArray, weight: FloatArray, below: float) -> list[tuple[Whole, IntArray]]:
    """Bases of the vectors without a part that is too heavy itself, by groups of parts that have none in common."""
    basis, pivots = reduced(matrix, np.argsort(-weight, kind="stable"))
    basis = basis[weight[pivots] < below]  # 0 at all heavy parts, which were eliminated first
    n_rows = len(basis)
    if not n_rows:
        return []
    links = np.zeros((n_rows + len(weight),) * 2, dtype=bool)
    links[:n_rows, n_rows:] = basis != 0
    label = connected_components(links, directed=False)[1]
    parts = [(np.flatnonzero(label[:n_rows] == own), np.flatnonzero(label[n_rows:] == own)) for own in range(n_rows)]
    return [(basis[np.ix_(own, places)], places) for own, places in parts if len(own)]


def _all_light(basis: Whole, weight: FloatArray, below: float, most: int) -> list[Whole]:
    """Light vectors of a basis, part by part: those that have the part, then the basis of those that do not."""
    found: list[Whole] = []
    for atom in np.argsort(weight, kind="stable"):
        if not len(basis) or len(found) >= most:
            break
        if not basis[:, atom].any():
            continue
        blocked: list[IntArray] = []
        known = Dependencies()
        while len(found) < most:
            vector = _lightest(basis, weight, int(atom), below, known, blocked)
            if vector is None:
                break
            found.append(vector)
            blocked.append(np.flatnonzero(vector))
        order = np.r_[atom, np.delete(np.arange(len(weight)), atom)]
        basis = reduced(basis, order)[0][1:]
    return found[:most]


def _lightest(
    basis: Whole, weight: FloatArray, atom: int, below: float, known: Dependencies, blocked: Sequence[IntArray] = ()
) -> Whole | None:
    """The lightest vector that has a part, below a limit; not one whose support is blocked, or has such inside."""
    if not len(basis) or not basis[:, atom].any() or weight[atom] >= below:
        return None
    whole, limit = _whole(weight, below)
    limit -= whole[atom]
    free = whole.copy()
    free[atom] = 0.0
    order = np.argsort(-weight, kind="stable")
    order = order[order != atom]
    never = [own[own != atom] for own in blocked]

    def usable(columns: IntArray) -> IntArray:
        return columns[free[columns] < limit]

    def missed(chosen: BoolArray) -> list[IntArray]:
        found = _dependencies(basis, atom, order[~chosen[order]])
        for own in found:
            known.add(atom, own)
        return [usable(np.delete(np.arange(len(own)), atom)[np.delete(own, atom) != 0]) for own in found]

    circuits = [usable(own) for own in known.holding(basis, atom)]
    circuits.sort(key=lambda own: -free[own].min(initial=limit))  # for the bound by disjoint ones
    while True:
        chosen = lightest_hitting_set(free, missed, circuits, below=limit, never_all_of=never)
        if chosen is None:
            return None
        table, pivots = reduced(basis, np.r_[order[~chosen[order]], atom, order[chosen[order]]])
        vector = table[np.flatnonzero(pivots == atom)[0]]
        if weight[vector != 0].sum() < below:
            return vector
        # Rounding made it light: it is not, and none that contains it.
        never.append(np.flatnonzero((vector != 0) & (np.arange(len(vector)) != atom)))


def _dependencies(basis: Whole, atom: int, outside: IntArray) -> list[Whole]:
    """Dependencies of the column of a part on columns outside of a support, without a column in common; or none."""
    found: list[Whole] = []
    while True:
        table, pivots = reduced(basis, np.r_[outside, atom])
        if atom in pivots:
            return found
        used = np.flatnonzero(table[:, atom])
        scale = math.lcm(*(int(table[i, pivots[i]]) for i in used))
        own = np.zeros(basis.shape[1], dtype=object)
        own[atom] = scale
        for i in used:
            own[pivots[i]] = -int(table[i, atom]) * scale // int(table[i, pivots[i]])
        found.append(own)
        outside = outside[~np.isin(outside, pivots[used])]


def _whole(weight: FloatArray, below: float) -> tuple[FloatArray, float]:
    """Weights as whole numbers that are not heavier, and the limit in their units."""
    if not (np.mod(weight, 1).any() or weight.sum() > _FINE) and (below == np.inf or below % 1 == 0):
        return weight, below
    top = float(below if below < np.inf else max(weight.sum(), 1.0))
    # Just below the quotient, which may have been rounded up.
    return np.minimum(np.floor(weight / top * _FINE * (1 - 1e-12)), _FINE), _FINE if below < np.inf else np.inf


def _combination(vector: Whole, weight: FloatArray, rows: IntArray) -> Combination:
    sign = 1 if (vector > 0).sum() >= (vector < 0).sum() else -1
    own = sign * vector // max(int(np.gcd.reduce(vector)), 1)
    small = own.dtype != object or max(map(abs, own)) < 2**63
    return Combination(float(weight[own != 0].sum()), own.astype(np.int64) if small else own, rows)


def _coefficients(rows: IntArray, vector: IntArray) -> tuple[Fraction, ...]:
    """Exact coefficients on the rows that the shortest combination in the sum of absolute values uses."""
    used = np.arange(len(rows))
    table = np.c_[rows.T, -rows.T].astype(np.float64)
    solved = linprog(np.ones(table.shape[1]), A_eq=table, b_eq=vector, method="highs")
    if solved.success:
        used = np.flatnonzero(np.abs(solved.x[: len(rows)] - solved.x[len(rows) :]) > 1e-7)
    for tried in (used, np.arange(len(rows))):
        found = _solved(rows[tried], vector)
        if found is not None:
            every = [Fraction(0)] * len(rows)
            for row, value in zip(tried, found, strict=True):
                every[row] = value
            return tuple(every)
    raise SolverError("combination: expected a vector of the row space, got another one.")


def _solved(rows: IntArray, vector: IntArray) -> list[Fraction] | None:
    """Coefficients c with `c @ rows == vector`, or None; those that are not determined are 0."""
    table, pivots = reduced(np.c_[rows.T, vector], np.arange(len(rows) + 1))
    if len(rows) in pivots:
        return None
    found = [Fraction(0)] * len(rows)
    for row, pivot in zip(table, pivots, strict=True):
        found[pivot] = Fraction(int(row[-1]), int(row[pivot]))
    return found
