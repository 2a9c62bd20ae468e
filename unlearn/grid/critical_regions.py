"""Critical regions, and how the one of an hour is found.

Where the active set stays the same, the solution is an affine map of the parameters: the KKT conditions are linear
equations (Proposition 3), solved once per region for the whole map.

The active set of an hour is found by Goldfarb and Idnani's dual method (Mathematical Programming 27, 1983), which adds
one violated constraint at a time while the multipliers stay non-negative. Only the active set is taken from it. The
interior-point solver in its place would take 1.6 times as long for new regions of IEEE 14 and solve not all hours of
IEEE 118, because too many constraints seem active at its solution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dgetrf, dgetrs

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError
from unlearn.grid.programs import ParametricQp

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
        give: of x along each row, per unit of its multiplier, shape (I,); 0 for an empty row.
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
        self.give = self.rows**2 @ (1 / diagonal)
        self.unit = np.minimum(qp.price, FLAT / np.maximum(self.give, 1e-200))
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


class Equations:
    """The KKT equations of one active set: its bounds fix variables, its other rows are equations over the free ones.

    Attributes:
        free: variables that no active bound fixes, shape (V,).
    """

    def __init__(self, qp: SeparableQp, active: Pattern) -> None:
        """Eliminate the free variables and factorise what is left.

        Raises:
            LinAlgError: the active rows depend on each other.
        """
        self._qp = qp
        self._fixing, self._lines, self.free = qp.split(active)
        self._general = np.vstack([qp.equalities, qp.rows[self._lines]])
        self._weighted = self._general[:, self.free] / qp.curvature[self.free]
        self._factor, self._pivots, singular = dgetrf(self._weighted @ self._general[:, self.free].T)
        if singular:
            raise np.linalg.LinAlgError

    def _price(self, right: FloatArray) -> FloatArray:
        return dgetrs(self._factor, self._pivots, right)[0]

    def minimiser(self, rhs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Minimise with the active inequalities as equations: x (V,) and their multipliers (I,), 0 elsewhere."""
        qp, free = self._qp, self.free
        own = rhs[qp.n_equalities :]
        x = np.zeros(len(qp.curvature))
        x[qp.variable[self._fixing]] = own[self._fixing] / qp.entry(self._fixing)
        target = np.concatenate([rhs[: qp.n_equalities], own[self._lines]]) - self._general @ x
        price = self._price(-target - self._weighted @ qp.linear[free])
        slope = qp.linear + price @ self._general
        x[free] = -slope[free] / qp.curvature[free]
        # Prices of 1e5 leave their rounding in x; rows that depend on the active ones would show many times as much.
        x[free] += self._price(target - self._general[:, free] @ x[free]) @ self._weighted
        return x, self._multipliers(slope + qp.curvature * np.where(free, 0.0, x), price)

    def direction(self, entering: int) -> tuple[FloatArray, FloatArray, float]:
        """How x (V,) and the active multipliers (I,) move per unit of the entering constraint's multiplier.

        Returns:
            The change of x, that of the multipliers, and how fast the entering constraint's slack grows: 0 if
            its row depends on the active ones, where rounding would decide what the multipliers do as well.
        """
        curvature, free, normal = self._qp.curvature, self.free, self._qp.rows[entering]
        price = self._price(-self._weighted @ normal[free])
        slope = normal + price @ self._general
        dx = np.where(free, -slope / curvature, 0.0)
        growth, alone = -float(normal @ dx), float(normal[free] ** 2 @ (1 / curvature[free]))
        independent = growth > DEPENDENT * alone and alone > NEGLIGIBLE * self._qp.give[entering]
        return dx, self._multipliers(slope, price), growth if independent else 0.0

    def _multipliers(self, slope: FloatArray, price: FloatArray) -> FloatArray:
        qp, multipliers = self._qp, np.zeros(len(self._qp.rows))
        multipliers[self._fixing] = -slope[qp.variable[self._fixing]] / qp.entry(self._fixing)
        multipliers[self._lines] = price[qp.n_equalities :]
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
    for first in (start, np.zeros_like(start)):
        try:
            found = _add_violated(qp, rhs, first.copy(), max_steps)
        except np.linalg.LinAlgError:
            continue
        if found is not None:
            yield found


def _add_violated(qp: SeparableQp, rhs: FloatArray, active: Pattern, max_steps: int) -> Pattern | None:
    """Goldfarb and Idnani's method from `active`, which is changed; None if it finds no minimiser."""
    own_rhs, size = rhs[qp.n_equalities :], max(1.0, float(np.abs(rhs).max()))
    equations = Equations(qp, active)
    x, multiplier = equations.minimiser(rhs)
    while (negative := active & (multiplier < 0)).any():
        active &= ~negative
        equations = Equations(qp, active)
        x, multiplier = equations.minimiser(rhs)
    held = np.zeros_like(active)
    entering, gap = -1, 0.0
    for _ in range(max_steps):
        if entering < 0:
            slack = np.where(active | held, 0.0, own_rhs - qp.rows @ x)
            entering, untouched = int(slack.argmin()), True
            gap = -float(slack[entering])
            if gap <= FEASIBLE * size:
                return active
        dx, slope, curvature = equations.direction(entering)
        if not curvature and untouched and gap <= DEPENDENT_FEASIBLE * size:
            held[entering], entering = True, -1
            continue
        first, longest = _first_to_vanish(active, multiplier, slope)
        full = gap / curvature if curvature else np.inf
        if min(full, longest) == np.inf:
            return None
        if full <= longest:
            active[entering], entering = True, -1
            equations = Equations(qp, active)
            # Afresh, because what rounding does to a step of thousands adds up.
            x, multiplier = equations.minimiser(rhs)
        else:
            x = x + longest * dx
            multiplier = np.where(active, multiplier + longest * slope, 0.0)
            active[first], untouched = False, False
            equations = Equations(qp, active)
            gap -= longest * curvature
    return None


def _first_to_vanish(active: Pattern, multiplier: FloatArray, slope: FloatArray) -> tuple[int, float]:
    """The active constraint whose multiplier is the first to reach zero, and after what step."""
    falling = active & (slope < -DUAL_TOLERANCE)
    ratios = np.full(len(active), np.inf)
    ratios[falling] = np.maximum(multiplier[falling], 0.0) / -slope[falling]
    first = int(ratios.argmin())
    return first, float(ratios[first])


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
