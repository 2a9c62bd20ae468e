"""Active-set solvers for one hour's QP: a fast exchange of constraints, and a dual method that always ends.

The dual method is that of Goldfarb and Idnani (Mathematical Programming 27, 1983): it adds one violated
constraint at a time while the multipliers stay non-negative. Only the active set is taken from them: the
solution itself comes from the region's own equations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unlearn.checks import FloatArray
from unlearn.grid.programs import Pattern, SeparableQp

#: A constraint violated by less, relative to the largest right-hand side or 1, counts as held.
FEASIBLE = 1e-12

#: The same for a constraint whose row depends on those of the active ones: no step could hold it any better.
DEPENDENT_FEASIBLE = 1e-11

#: A multiplier that changes by less, per unit of the entering one, stays: so small a slope is rounding.
STILL = 1e-11

#: Exchanges of several constraints at once before the dual method takes over.
EXCHANGES = 8


def propose_active_sets(qp: SeparableQp, rhs: FloatArray, start: Pattern, max_steps: int) -> Iterator[Pattern]:
    """Propose what may be the active set at the minimiser, the cheapest proposal first.

    Args:
        qp: the program.
        rhs: right-hand side b of the hour, equalities first, shape (E + I,).
        start: active inequalities of a region nearby, shape (I,).
        max_steps: constraints that the dual method may add or drop before it gives up.

    Yields:
        Active inequalities, shape (I,). None at all if the program is infeasible or the steps are used up.
    """
    active, settled = _exchange(qp, rhs, start)
    if settled:
        yield active
    # What the exchange ended with is mostly a few constraints away, but its rows may depend on each other.
    for first in (start if settled else active, np.zeros_like(start)):
        found = _dual(qp, rhs, first.copy(), max_steps)
        if found is not None:
            yield found


def _exchange(qp: SeparableQp, rhs: FloatArray, start: Pattern) -> tuple[Pattern, bool]:
    """Exchange all wrong bounds and one wrong line at a time, while that helps (primal-dual active-set method)."""
    active, best, fewest = start.copy(), start, len(start)
    own_rhs = rhs[qp.n_equalities :]
    for _ in range(EXCHANGES):
        try:
            x, multiplier = qp.minimiser(rhs, active)
        except np.linalg.LinAlgError:
            break
        check = np.where(active, multiplier / qp.unit, own_rhs - qp.rows @ x)
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
    return best, False


def _dual(qp: SeparableQp, rhs: FloatArray, active: Pattern, max_steps: int) -> Pattern | None:
    """Goldfarb and Idnani's method from `active`, which is changed; None if it finds no minimiser."""
    try:
        return _add_violated(qp, rhs, active, max_steps)
    except np.linalg.LinAlgError:
        return None


def _add_violated(qp: SeparableQp, rhs: FloatArray, active: Pattern, max_steps: int) -> Pattern | None:
    own_rhs, size = rhs[qp.n_equalities :], max(1.0, float(np.abs(rhs).max()))
    x, multiplier = qp.minimiser(rhs, active)
    while (negative := active & (multiplier < 0)).any():
        active &= ~negative
        x, multiplier = qp.minimiser(rhs, active)
    held = np.zeros_like(active)
    entering, gap = -1, 0.0
    for _ in range(max_steps):
        if entering < 0:
            slack = np.where(active | held, 0.0, own_rhs - qp.rows @ x)
            entering, untouched = int(slack.argmin()), True
            gap = -float(slack[entering])
            if gap <= FEASIBLE * size:
                return active
        dx, slope, curvature = qp.direction(active, entering)
        if not curvature and untouched and gap <= DEPENDENT_FEASIBLE * size:
            held[entering], entering = True, -1
            continue
        first, longest = _first_to_vanish(active, multiplier, slope)
        full = gap / curvature if curvature else np.inf
        if min(full, longest) == np.inf:
            return None
        if full <= longest:
            active[entering], entering = True, -1
            # Afresh, because what rounding does to a step of thousands adds up.
            x, multiplier = qp.minimiser(rhs, active)
        else:
            x = x + longest * dx
            multiplier = np.where(active, multiplier + longest * slope, 0.0)
            active[first], untouched = False, False
            gap -= longest * curvature
    return None


def _first_to_vanish(active: Pattern, multiplier: FloatArray, slope: FloatArray) -> tuple[int, float]:
    """The active constraint whose multiplier is the first to reach zero, and after what step."""
    falling = active & (slope < -STILL)
    ratios = np.full(len(active), np.inf)
    ratios[falling] = np.maximum(multiplier[falling], 0.0) / -slope[falling]
    first = int(ratios.argmin())
    return first, float(ratios[first])
