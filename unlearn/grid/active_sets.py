"""Active-set solvers for one hour's QP: a fast exchange of constraints, and a dual method that always ends.

The dual method is that of Goldfarb and Idnani (Mathematical Programming 27, 1983): it adds one violated
constraint at a time while the multipliers stay non-negative. Only the active set is taken from them: the
solution itself comes from the region's own equations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError
from unlearn.grid.qp import ParametricQp

Pattern = NDArray[np.bool_]

#: Growth of a constraint's slack along a step, relative to that without any active constraint among the same free
#: variables, below which its row counts as dependent on the active ones.
DEPENDENT = 1e-11
#: Curvature, relative to the largest, below which a KKT system is scaled before it is solved.
UNEVEN = 1e-8
#: Largest unit of a multiplier, in those of the curvature along the constraint.
FLAT = 1e5
#: Share of a row that lies on the free variables below which it counts as none.
NEGLIGIBLE = 1e-20

#: A constraint violated by less, relative to the largest right-hand side or 1, counts as held.
FEASIBLE = 1e-12

#: The same for a constraint whose row depends on those of the active ones: no step could hold it any better.
DEPENDENT_FEASIBLE = 1e-11

#: A multiplier that changes by less, per unit of the entering one, stays: so small a slope is rounding.
DUAL_TOLERANCE = 1e-11

#: Exchanges of several constraints at once before the dual method takes over.
EXCHANGES = 8


class SeparableQp:
    """The dense matrices of a `ParametricQp`, with bounds told apart from rows over several variables.

    Attributes:
        n_equalities: E.
        curvature: diagonal of P, positive, shape (V,).
        linear: q, shape (V,).
        equalities: shape (E, V).
        rows: inequalities, shape (I, V).
        rhs_map: b as a map of [π, 1], shape (K + 1, E + I).
        bounds: inequalities on one variable, shape (I,).
        variable: the variable that each bound is on, shape (I,).
        price: unit of the stationarity residual, the largest linear cost.
        unit: unit of each inequality's multiplier, shape (I,): `price`, but where costs are so flat that a multiplier
            of 1e-11 of it would stand for more than 1e-6 p.u. of x, which that x would cost.
    """

    def __init__(self, qp: ParametricQp) -> None:
        """Take the matrices apart.

        Raises:
            InputError: the cost is not strictly convex and separable.
        """
        diagonal = qp.cost_matrix.diagonal()
        if abs(qp.cost_matrix).sum() > np.abs(diagonal).sum() or (diagonal <= 0).any():
            raise InputError(
                f"{qp.name}: backend=batched needs strictly convex costs, got a smallest quadratic cost of "
                f"{diagonal.min():g}; give every generator a quadratic cost above 0, or use backend=cvxpylayers."
            )
        rows = qp.constraint_matrix.toarray()
        self.name = qp.name
        self.n_equalities = qp.n_equalities
        self.curvature, self.linear = diagonal, qp.cost_vector
        self.equalities, self.rows = rows[: qp.n_equalities], rows[qp.n_equalities :]
        self.rhs_map = np.vstack([qp.rhs_slope.T, qp.rhs_constant])
        self.bounds = np.count_nonzero(self.rows, axis=1) == 1
        self.variable = np.abs(self.rows).argmax(axis=1)
        self.price = qp.price
        give = self.rows**2 @ (1 / diagonal)  # of x along each row, per unit of its multiplier; 0 for an empty row
        self.unit = np.minimum(qp.price, FLAT / np.maximum(give, 1e-200))
        self._entry = self.rows[np.arange(len(self.rows)), self.variable]

    @property
    def is_uneven(self) -> bool:
        """Whether some quadratic cost is next to nothing beside the largest."""
        return bool(self.curvature.min() < UNEVEN * self.curvature.max())

    def too_uneven(self) -> str:
        """What is wrong with such costs, and the remedy."""
        return (
            f"quadratic costs from {self.curvature.min() / 2:.3g} to {self.curvature.max() / 2:.3g} beside linear ones "
            f"up to {np.abs(self.linear).max():.3g} (per unit) are too far apart for double precision. Raise the "
            "smallest quadratic cost, such as to 1 % of its generator's linear cost."
        )

    def split(self, active: Pattern) -> tuple[IntArray, IntArray, Pattern]:
        """Active bounds, active rows over several variables, and the variables left free."""
        fixing = np.flatnonzero(active & self.bounds)
        free = np.ones(len(self.curvature), dtype=bool)
        free[self.variable[fixing]] = False
        return fixing, np.flatnonzero(active & ~self.bounds), free

    def entry(self, bounds: IntArray) -> FloatArray:
        """The one coefficient of each of these bounds, +1 or -1."""
        return self._entry[bounds]

    def minimiser(self, rhs: FloatArray, active: Pattern) -> tuple[FloatArray, FloatArray]:
        """Minimise with the active inequalities as equations: x (V,) and their multipliers (I,), 0 elsewhere."""
        fixing, lines, free = self.split(active)
        own = rhs[self.n_equalities :]
        x = np.zeros(len(self.curvature))
        x[self.variable[fixing]] = own[fixing] / self._entry[fixing]
        general = np.vstack([self.equalities, self.rows[lines]])
        target = np.concatenate([rhs[: self.n_equalities], own[lines]]) - general @ x
        weighted = general[:, free] / self.curvature[free]
        gram = weighted @ general[:, free].T
        price = np.linalg.solve(gram, -target - weighted @ self.linear[free])
        slope = self.linear + price @ general
        x[free] = -slope[free] / self.curvature[free]
        # Prices of 1e5 leave their rounding in x; rows that depend on the active ones would show many times as much.
        x[free] += np.linalg.solve(gram, target - general[:, free] @ x[free]) @ weighted
        return x, self._multipliers(slope + self.curvature * np.where(free, 0.0, x), price, fixing, lines)

    def direction(self, active: Pattern, entering: int) -> tuple[FloatArray, FloatArray, float]:
        """How x (V,) and the active multipliers (I,) move per unit of the entering constraint's multiplier.

        Returns:
            The change of x, that of the multipliers, and how fast the entering constraint's slack grows: 0 if
            its row depends on the active ones, where rounding would decide what the multipliers do as well.
        """
        fixing, lines, free = self.split(active)
        general = np.vstack([self.equalities, self.rows[lines]])
        weighted = general[:, free] / self.curvature[free]
        normal = self.rows[entering]
        price = np.linalg.solve(weighted @ general[:, free].T, -weighted @ normal[free])
        slope = normal + price @ general
        dx = np.where(free, -slope / self.curvature, 0.0)
        growth, alone = -float(normal @ dx), float(normal[free] ** 2 @ (1 / self.curvature[free]))
        independent = growth > DEPENDENT * alone and alone > NEGLIGIBLE * float(normal**2 @ (1 / self.curvature))
        return dx, self._multipliers(slope, price, fixing, lines), growth if independent else 0.0

    def _multipliers(self, slope: FloatArray, price: FloatArray, fixing: IntArray, lines: IntArray) -> FloatArray:
        multipliers = np.zeros(len(self.rows))
        multipliers[fixing] = -slope[self.variable[fixing]] / self._entry[fixing]
        multipliers[lines] = price[self.n_equalities :]
        return multipliers


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
    falling = active & (slope < -DUAL_TOLERANCE)
    ratios = np.full(len(active), np.inf)
    ratios[falling] = np.maximum(multiplier[falling], 0.0) / -slope[falling]
    first = int(ratios.argmin())
    return first, float(ratios[first])
