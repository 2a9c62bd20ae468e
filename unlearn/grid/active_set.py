"""A dual active-set solver (Goldfarb and Idnani, Mathematical Programming 27, 1983) for one hour's QP.

It starts from the active set of a neighbouring region, which is a few constraints away, and adds one violated
constraint at a time while the multipliers stay non-negative. Only the active set is taken from it: the
solution itself comes from the region's own equations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray
from unlearn.grid.separable import SeparableQp

Pattern = NDArray[np.bool_]

#: A constraint violated by less (per unit) counts as held.
FEASIBLE = 1e-12

#: Curvature along a step, relative to that of the constraint alone, below which rows count as dependent.
DEPENDENT = 1e-11


def active_set(qp: SeparableQp, rhs: FloatArray, start: Pattern, max_steps: int) -> Pattern | None:
    """Find the active set at the minimiser.

    Args:
        qp: the program.
        rhs: right-hand side b of the hour, equalities first, shape (E + I,).
        start: active inequalities to start from, whose equations have a unique solution, shape (I,).
        max_steps: constraints to add or drop before giving up.

    Returns:
        Active inequalities, shape (I,), or None if the program is infeasible or the steps are used up.
    """
    active, settled = _block_steps(qp, rhs, start)
    if settled:
        return active
    x, multiplier = qp.minimiser(rhs, active)
    while (negative := active & (multiplier < 0)).any():
        active &= ~negative
        x, multiplier = qp.minimiser(rhs, active)
    own_rhs = rhs[qp.n_equalities :]
    entering, steps = -1, 0
    while steps < max_steps:
        if entering < 0:
            slack = own_rhs - qp.rows @ x
            slack[active] = 0.0
            entering = int(slack.argmin())
            if slack[entering] >= -FEASIBLE:
                return active
            gap, raised = -slack[entering], 0.0
        steps += 1
        dx, slope = qp.direction(active, entering)
        curvature = -float(qp.rows[entering] @ dx)
        blocking = active & (slope < 0)
        ratios = np.where(blocking, multiplier / np.where(blocking, -slope, 1.0), np.inf)
        first = int(ratios.argmin())
        full = gap / curvature if curvature > DEPENDENT * qp.stiffness[entering] else np.inf
        step = min(full, ratios[first])
        if not np.isfinite(step):
            return None
        x = x + step * dx
        multiplier = np.where(active, multiplier + step * slope, 0.0)
        raised += step
        if step == full:
            active[entering], multiplier[entering] = True, raised
            entering = -1
        else:
            active[first] = False
            gap -= step * curvature
    return None


def _block_steps(qp: SeparableQp, rhs: FloatArray, start: Pattern) -> tuple[Pattern, bool]:
    """Exchange all wrong bounds and one wrong line at a time, while that helps (primal-dual active-set method)."""
    active, best, fewest = start.copy(), start, len(start)
    own_rhs = rhs[qp.n_equalities :]
    for _ in range(8):
        try:
            x, multiplier = qp.minimiser(rhs, active)
        except np.linalg.LinAlgError:
            break
        check = np.where(active, multiplier / qp.price, own_rhs - qp.rows @ x)
        wrong = check < -FEASIBLE
        count = int(wrong.sum())
        if not count:
            return active, True
        if count < fewest:
            best, fewest = active.copy(), count
        lines = wrong & ~qp.bounds & ~active
        wrong[lines] = False
        if lines.any():
            wrong[np.where(lines, check, 0.0).argmin()] = True
        active = active ^ wrong
    return best.copy(), False
