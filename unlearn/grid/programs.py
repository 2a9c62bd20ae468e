"""Dispatch and redispatch as programs (paper eqs. 17 to 20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, require_choice
from unlearn.errors import InputError
from unlearn.grid.case import GridCase
from unlearn.grid.network import Network, build_network
from unlearn.grid.options import BOUNDS, FORMS
from unlearn.grid.qp import ParametricQp

if TYPE_CHECKING:
    import cvxpy as cp


@dataclass(frozen=True, eq=False)
class Program:
    """A CVXPY problem with its parameters and the variables that a caller wants, in order."""

    name: str
    problem: cp.Problem
    parameters: tuple[cp.Parameter, ...]
    variables: tuple[cp.Variable, ...]


def dispatch_program(case: GridCase, form: str = "ptdf", bounds: str = "published") -> Program:
    """Least-cost generation for a forecast load.

    `min p'Q_g p + c_g'p + c_s's + s'Q_s s` subject to the network, line limits,
    `0 <= p <= p_max` and `s >= 0`.

    Args:
        case: the grid.
        form: "ptdf" or "angle".
        bounds: "published" leaves shedding unbounded above; "shed_at_most_load" adds `s <= forecast`.

    Returns:
        Program with parameter forecast (B,) and variables p_gen (G,), shed (B,).
    """
    import cvxpy as cp  # a second to import, so only where programs are built

    _check(form, bounds)
    forecast = cp.Parameter(case.n_loads, name="forecast")
    p_gen = cp.Variable(case.n_gens, name="p_gen")
    shed = cp.Variable(case.n_loads, name="shed")
    quadratic, linear = case.generation_cost
    cost = (
        cp.quad_form(p_gen, np.diag(quadratic), assume_PSD=True) + linear @ p_gen + _penalty(shed, case.shedding_cost)
    )
    network = build_network(case)
    injection = network.gen_incidence @ p_gen - network.load_incidence @ (forecast - shed)
    constraints = [
        *_network_constraints(case, network, injection, form),
        p_gen >= 0,
        p_gen <= case.p_gen_max_pu,
        shed >= 0,
        *([shed <= forecast] if bounds == "shed_at_most_load" else []),
    ]
    return Program("dispatch", cp.Problem(cp.Minimize(cost), constraints), (forecast,), (p_gen, shed))


def redispatch_program(case: GridCase, form: str = "ptdf", bounds: str = "published") -> Program:
    """Least-cost shedding and storage once the true load is known and generation is fixed.

    `min c_ls'l + l'Q_ls l + c_gs'g + g'Q_gs g` subject to the network, line limits, `l >= 0`,
    `g >= 0`. Storage g is a surplus taken up at a generator's bus and may exceed its generation.

    Args:
        case: the grid.
        form: "ptdf" or "angle".
        bounds: "published" leaves shedding unbounded above; "shed_at_most_load" adds `l <= load`.

    Returns:
        Program with parameters p_gen (G,), load (B,) and variables shed (B,), storage (G,).
    """
    import cvxpy as cp  # a second to import, so only where programs are built

    _check(form, bounds)
    p_gen = cp.Parameter(case.n_gens, name="p_gen")
    load = cp.Parameter(case.n_loads, name="load")
    shed = cp.Variable(case.n_loads, name="load_shed")
    storage = cp.Variable(case.n_gens, name="storage")
    cost = _penalty(shed, case.shedding_cost) + _penalty(storage, case.storage_cost)
    network = build_network(case)
    injection = network.gen_incidence @ (p_gen - storage) - network.load_incidence @ (load - shed)
    constraints = [
        *_network_constraints(case, network, injection, form),
        shed >= 0,
        storage >= 0,
        *([shed <= load] if bounds == "shed_at_most_load" else []),
    ]
    return Program("redispatch", cp.Problem(cp.Minimize(cost), constraints), (p_gen, load), (shed, storage))


def _check(form: str, bounds: str) -> None:
    require_choice("form", form, FORMS)
    require_choice("bounds", bounds, BOUNDS)


def _penalty(variable: cp.Variable, cost: tuple[float, float]) -> cp.Expression:
    import cvxpy as cp

    quadratic, linear = cost
    return quadratic * cp.sum_squares(variable) + linear * cp.sum(variable)


def _network_constraints(case: GridCase, network: Network, injection: cp.Expression, form: str) -> list[cp.Constraint]:
    import cvxpy as cp

    limit: FloatArray = case.line_limit_pu
    if form == "angle":
        theta = cp.Variable(case.n_buses, name="theta")
        flow = network.line_susceptance @ theta
        balance = [network.bus_susceptance @ theta == injection, theta[case.slack_bus] == 0]
    else:
        flow = network.ptdf @ injection
        balance = [cp.sum(injection) == 0]
    return [*balance, flow <= limit, flow >= -limit]


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
        price = np.linalg.solve(weighted @ general[:, free].T, -target - weighted @ self.linear[free])
        slope = self.linear + price @ general
        x[free] = -slope[free] / self.curvature[free]
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
