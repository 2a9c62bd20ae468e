"""Critical regions: where the active set stays the same, the solution is an affine map of the parameters.

With the active constraints known, the KKT conditions are linear equations (Proposition 3), solved once per
region for the whole map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import FloatArray
from unlearn.grid.programs import UNEVEN, Pattern, SeparableQp

#: Condition number of a KKT system from which on its active constraints count as dependent.
SINGULAR = 1e12

#: Rounding of a product or sum relative to its terms.
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Region:
    """The affine maps of one active set; `[π, 1] @ map` gives the values of n hours, π of shape (n, K).

    Attributes:
        active: which inequalities hold with equality, shape (I,).
        solution: map to x, shape (K + 1, V).
        checks: map to the slack of each inactive inequality and to the multiplier of each active one, in
            units of `SeparableQp.unit`, shape (K + 1, I); the region is where all are >= 0.
        residual: what rounding leaves of stationarity (in units of the largest linear cost) and of the active
            rows (per unit), shape (K + 1,): an hour's is at most `|[π, 1]| @ residual`.
    """

    active: Pattern
    solution: FloatArray
    checks: FloatArray
    residual: FloatArray


def build_region(qp: SeparableQp, active: Pattern) -> Region | None:
    """Solve the KKT equations of an active set by LU; None if they have no unique solution."""
    fixing, lines, free = qp.split(active)
    fixed = qp.variable[fixing]
    general = np.vstack([qp.equalities, qp.rows[lines]])
    n_free, n_general = int(free.sum()), len(general)
    if len(np.unique(fixed)) < len(fixed) or n_general > n_free:
        return None
    own_rhs = qp.rhs_map[:, qp.n_equalities :]
    rhs = np.hstack([qp.rhs_map[:, : qp.n_equalities], own_rhs[:, lines]])
    solution = np.zeros((len(rhs), len(qp.curvature)))
    solution[:, fixed] = own_rhs[:, fixing] / qp.entry(fixing)
    # [[P, A'], [A, 0]] [x; ν] = [-q; b - A x_fixed], for every coefficient of [π, 1] at once.
    # Costs of thousands beside flows of 1 would make the system look singular, so they are scaled to at most 1.
    scale = qp.curvature.max()
    # Costs far apart from each other are scaled away as well, x by the root of its curvature, rows by their length.
    curvature, rows = qp.curvature[free] / scale, general[:, free]
    by_x, by_row = np.ones(n_free), np.ones(n_general)
    if n_free and curvature.min() < UNEVEN:
        by_x = 1 / np.sqrt(curvature)
        by_row = 1 / np.maximum(np.linalg.norm(rows * by_x, axis=1), np.finfo(np.float64).tiny)
    kkt = np.zeros((n_free + n_general, n_free + n_general))
    kkt[:n_free, :n_free] = np.diag(curvature * by_x**2)
    kkt[n_free:, :n_free] = by_row[:, None] * rows * by_x
    kkt[:n_free, n_free:] = kkt[n_free:, :n_free].T
    right = np.zeros((n_free + n_general, len(rhs)))
    right[:n_free, -1] = -by_x * qp.linear[free] / scale
    right[n_free:] = by_row[:, None] * (rhs - solution @ general.T).T
    solved = _solve(kkt, right)
    if solved is None:
        return None
    solution[:, free] = (by_x[:, None] * solved[:n_free]).T
    price = scale * (by_row[:, None] * solved[n_free:]).T
    # Stationarity of the fixed variables gives the multipliers of their bounds.
    slope = solution * qp.curvature + price @ general
    slope[-1] += qp.linear
    checks = own_rhs - solution @ qp.rows.T
    checks[:, lines] = price[:, qp.n_equalities :] / qp.unit[lines]
    checks[:, fixing] = -slope[:, fixed] / qp.entry(fixing) / qp.unit[fixing]
    return Region(active, solution, checks, _residual(qp, solution, price, general, rhs, free))


def _residual(
    qp: SeparableQp, solution: FloatArray, price: FloatArray, general: FloatArray, rhs: FloatArray, free: Pattern
) -> FloatArray:
    """What the equations leave of each coefficient of [π, 1], and what evaluating the maps may add, (K + 1,)."""
    slope = solution * qp.curvature + price @ general
    slope[-1] += qp.linear
    terms = np.abs(solution) * qp.curvature + np.abs(price) @ np.abs(general)
    terms[-1] += np.abs(qp.linear)
    stationarity = (np.where(free, np.abs(slope), 0.0) + EPS * terms).max(axis=1) / qp.price
    rows = np.abs(solution @ general.T - rhs) + EPS * (np.abs(solution) @ np.abs(general).T + np.abs(rhs))
    return np.asarray(np.maximum(stationarity, rows.max(axis=1)))


def _solve(kkt: FloatArray, right: FloatArray) -> FloatArray | None:
    """Solve by LU with one step of refinement; None if the matrix is singular in working precision."""
    try:
        both = np.linalg.solve(kkt, np.hstack([right, np.eye(len(kkt))]))
    except np.linalg.LinAlgError:
        return None
    solved, inverse = both[:, : right.shape[1]], both[:, right.shape[1] :]
    condition = np.abs(kkt).sum(axis=0).max() * np.abs(inverse).sum(axis=0).max()
    if not condition < SINGULAR:
        return None
    return solved + inverse @ (right - kkt @ solved)
