"""Dispatch and redispatch (paper eqs. 17 to 20) as matrices, their KKT check, and their solution with Clarabel.

The canonical form is `min ½x'Px + q'x  s.t.  Ax + s = b(π), s = 0 (first rows) or s >= 0`, where only the right-hand
side depends on the parameters π, and affinely so (appendix B; angles are eliminated, appendix A). That leaves one small
solve per hour, and one place where every solution, whoever found it, has its KKT residual measured. `layers.py` has the
same programs in CVXPY, which takes a second to import; tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import clarabel
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from pypower.makeBdc import makeBdc
from pypower.makePTDF import makePTDF
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, require_choice
from unlearn.errors import SolverError
from unlearn.grid.case import GridCase
from unlearn.grid.options import BOUNDS

if TYPE_CHECKING:
    pass


#: Hours from which on a solve shows a progress bar.
PROGRESS_FROM = 5_000

#: Clarabel's own 1e-8 makes it stall where forecasts are almost true and no bound is strongly active.
REGULARIZATION = 1e-12

#: Settings (equilibrate, regularisation) that an hour is tried with in turn. About one hour in 100,000
#: stalls with the first; large networks want Clarabel's own regularisation.
_ATTEMPTS = ((True, REGULARIZATION), (True, 1e-8), (False, REGULARIZATION))

_REMEDY = (
    "Check that the line limits leave room for the load (bounds=published never fails on demand), "
    "that forecasts are in per unit, and that costs are of moderate size."
)


@dataclass(frozen=True, eq=False)
class QpSolutions:
    """Solutions of n hours.

    Attributes:
        primal: shape (n, variables).
        dual: multipliers of `Ax + s = b`, shape (n, constraints).
        kkt_residual: largest scaled KKT violation of each hour, shape (n,).
        iterations: solver iterations of each hour, shape (n,).
    """

    primal: FloatArray
    dual: FloatArray
    kkt_residual: FloatArray
    iterations: NDArray[np.int64]

    def __repr__(self) -> str:
        worst = f"{self.kkt_residual.max():.1e}" if len(self.kkt_residual) else "none"
        return f"QpSolutions({len(self.primal)} hours, largest KKT residual {worst})"


@dataclass(eq=False)
class ParametricQp:
    """The matrices of the canonical form; parameters are stacked side by side, (n, K).

    Attributes:
        name: "dispatch" or "redispatch", for messages.
        cost_matrix: P, shape (variables, variables).
        cost_vector: q, shape (variables,).
        constraint_matrix: A, shape (constraints, variables), equalities first.
        rhs_constant: b(0), shape (constraints,).
        rhs_slope: derivative of b, shape (constraints, K).
        n_equalities: number of equalities.
        variables: where each of the program's variables stands in x.
        tolerance: largest scaled KKT residual that a solution may have.
    """

    name: str
    cost_matrix: sp.csc_matrix
    cost_vector: FloatArray
    constraint_matrix: sp.csc_matrix
    rhs_constant: FloatArray
    rhs_slope: FloatArray
    n_equalities: int
    variables: tuple[slice, ...]
    tolerance: float = 1e-7

    def __repr__(self) -> str:
        n_rows, n_variables = self.constraint_matrix.shape
        return (
            f"ParametricQp({self.name!r}: {n_variables} variables, {n_rows} constraints of which {self.n_equalities} "
            f"equalities, {self.rhs_slope.shape[1]} parameters)"
        )

    @property
    def price(self) -> float:
        """The largest linear cost, in whose units multipliers are measured."""
        return max(1.0, float(np.abs(self.cost_vector).max()))

    def rhs(self, parameters: FloatArray) -> FloatArray:
        """Right-hand sides b of n hours, shape (n, constraints), from parameters (n, K)."""
        return self.rhs_constant + parameters @ self.rhs_slope.T

    def variable(self, primal: FloatArray, which: int) -> FloatArray:
        """Pick the program's `which`-th variable out of stacked primal solutions."""
        return primal[:, self.variables[which]]

    def solve(self, parameters: FloatArray, names: IntArray | None = None) -> QpSolutions:
        """Solve every hour to high accuracy.

        Args:
            parameters: shape (n, K), the program's parameters side by side.
            names: number of each hour in messages, shape (n,); by default its position.

        Raises:
            SolverError: an hour whose solution fails the KKT check; names the hour and the status.
        """
        rhs = self.rhs(parameters)
        primal, dual, iterations, statuses = self._solve_each(_ATTEMPTS[0], rhs)
        for attempt in _ATTEMPTS[1:]:
            failed = np.flatnonzero(~(self.kkt_residual(parameters, primal, dual) <= self.tolerance))
            if failed.size:
                again = self._solve_each(attempt, rhs[failed])
                primal[failed], dual[failed], iterations[failed] = again[:3]
                statuses = {int(failed[k]): status for k, status in again[3].items()}
        residual = self.check(parameters, primal, dual, statuses, names)
        return QpSolutions(primal, dual, residual, iterations)

    def check(
        self,
        parameters: FloatArray,
        primal: FloatArray,
        dual: FloatArray,
        statuses: dict[int, str] | None = None,
        names: IntArray | None = None,
    ) -> FloatArray:
        """Return each hour's KKT residual; raise if one exceeds the tolerance.

        Raises:
            SolverError: names the first such hour, its residual, the solver's status and a remedy.
        """
        residual = self.kkt_residual(parameters, primal, dual)
        failed = np.flatnonzero(~(residual <= self.tolerance))
        if failed.size:
            hour = int(failed[0])
            name = hour if names is None else names[hour]
            status = (statuses or {}).get(hour, "Solved")
            raise SolverError(
                f"{self.name}: {failed.size} of {len(residual)} hours have no acceptable solution; "
                f"first is hour {name}: solver status {status}, KKT residual {residual[hour]:.2g}, "
                f"expected at most {self.tolerance:.0e}. {_REMEDY}"
            )
        return residual

    def kkt_residual(self, parameters: FloatArray, primal: FloatArray, dual: FloatArray) -> FloatArray:
        """Largest of stationarity, feasibility of both kinds and complementarity, scaled, shape (n,).

        Stationarity and multipliers are measured against the largest linear cost, the duality gap
        against the objective; constraints are per unit already.
        """
        slack = self.rhs(parameters) - (self.constraint_matrix @ primal.T).T
        equality, inequality = slack[:, : self.n_equalities], slack[:, self.n_equalities :]
        multiplier = dual[:, self.n_equalities :]
        curvature = (self.cost_matrix @ primal.T).T
        objective = np.einsum("nv,nv->n", 0.5 * curvature + self.cost_vector, primal)
        stationarity = curvature + self.cost_vector + (self.constraint_matrix.T @ dual.T).T
        gap = np.abs(inequality * multiplier).sum(axis=1) / np.maximum(1.0, np.abs(objective))
        parts = [
            np.abs(stationarity).max(axis=1) / self.price,
            np.abs(equality).max(axis=1),
            np.maximum(-inequality, 0).max(axis=1),
            np.maximum(-multiplier, 0).max(axis=1) / self.price,
            gap,
        ]
        return np.max(parts, axis=0)

    def active(self, parameters: FloatArray, solutions: QpSolutions) -> NDArray[np.bool_]:
        """Constraints that hold with equality at each solution, shape (n, constraints).

        An inequality counts as active where its multiplier, in units of the largest linear cost,
        exceeds its slack: of the two, the solver leaves the one that should vanish far smaller.
        """
        slack = self.rhs(parameters) - (self.constraint_matrix @ solutions.primal.T).T
        active = solutions.dual / self.price > slack
        active[:, : self.n_equalities] = True
        return active

    def _solve_each(
        self, attempt: tuple[bool, float], rhs: FloatArray
    ) -> tuple[FloatArray, FloatArray, NDArray[np.int64], dict[int, str]]:
        """Solve hour by hour: the solver takes one right-hand side, all else stays in its memory."""
        solver = self._clarabel(*attempt)
        primal = np.empty((len(rhs), len(self.cost_vector)))
        dual = np.empty_like(rhs)
        iterations = np.zeros(len(rhs), dtype=np.int64)
        statuses: dict[int, str] = {}
        hours = range(len(rhs))
        for hour in tqdm(hours, desc=self.name, leave=False) if len(rhs) >= PROGRESS_FROM else hours:
            solver.update(b=rhs[hour])
            result = solver.solve()
            primal[hour], dual[hour], iterations[hour] = result.x, result.z, result.iterations
            if result.status != clarabel.SolverStatus.Solved:
                statuses[hour] = str(result.status)
        return primal, dual, iterations, statuses

    def _clarabel(self, equilibrate: bool, regularization: float) -> clarabel.DefaultSolver:
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        # Tighter than Clarabel's 1e-8: costs of thousands multiply what is left of the residual.
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
        settings.static_regularization_constant = regularization
        # Presolve drops rows, after which the right-hand side can no longer be updated.
        settings.presolve_enable = False
        settings.equilibrate_enable = equilibrate
        rows = len(self.rhs_constant)
        cones = [
            clarabel.ZeroConeT(self.n_equalities),
            clarabel.NonnegativeConeT(rows - self.n_equalities),
        ]
        return clarabel.DefaultSolver(
            sp.triu(self.cost_matrix, format="csc"),
            self.cost_vector,
            self.constraint_matrix,
            self.rhs_constant,
            cones,
            settings,
        )


@dataclass(frozen=True, eq=False)
class Network:
    """Matrices of a case with M buses, L lines, G generators, B loads; per unit.

    Attributes:
        bus_susceptance: B of `B θ = injection`, shape (M, M).
        line_susceptance: B_f of `flow = B_f θ`, shape (L, M).
        ptdf: flow per injection with the slack bus balancing, shape (L, M).
        gen_incidence: C_g, shape (M, G).
        load_incidence: C_l, shape (M, B).
    """

    bus_susceptance: FloatArray
    line_susceptance: FloatArray
    ptdf: FloatArray
    gen_incidence: FloatArray
    load_incidence: FloatArray

    def __repr__(self) -> str:
        (n_lines, n_buses), n_gens, n_loads = self.ptdf.shape, self.gen_incidence.shape[1], self.load_incidence.shape[1]
        return f"Network({n_buses} buses, {n_lines} lines, {n_gens} generators, {n_loads} loads)"


def build_network(case: GridCase) -> Network:
    """Build the matrices; taps, shunts and line charging are zero in the DC model used here."""
    bus = np.zeros((case.n_buses, 13))
    bus[:, 0] = np.arange(case.n_buses)
    bus[:, 1] = 1
    bus[case.slack_bus, 1] = 3
    branch = np.zeros((case.n_lines, 13))
    branch[:, 0] = case.line_from
    branch[:, 1] = case.line_to
    branch[:, 3] = case.reactance_pu
    branch[:, 10] = 1
    bus_susceptance, line_susceptance, _, _ = makeBdc(case.base_mva, bus, branch)
    gen_incidence = np.zeros((case.n_buses, case.n_gens))
    gen_incidence[case.gen_bus, np.arange(case.n_gens)] = 1
    load_incidence = np.zeros((case.n_buses, case.n_loads))
    load_incidence[case.load_bus, np.arange(case.n_loads)] = 1
    return Network(
        bus_susceptance=bus_susceptance.toarray(),
        line_susceptance=line_susceptance.toarray(),
        ptdf=makePTDF(case.base_mva, bus, branch, case.slack_bus),
        gen_incidence=gen_incidence,
        load_incidence=load_incidence,
    )


def dispatch_qp(case: GridCase, bounds: str = "published") -> ParametricQp:
    """Least-cost generation for a forecast load: x = (p_gen, shed), π = forecast, shape (n, B).

    Args:
        case: the grid.
        bounds: "published" leaves shedding unbounded above; "shed_at_most_load" adds `shed <= forecast`.
    """
    network, n_gens, n_loads = build_network(case), case.n_gens, case.n_loads
    at_most = (np.eye(n_gens, n_gens + n_loads), case.p_gen_max_pu, np.zeros((n_gens, n_loads)))
    by_x = np.hstack([network.gen_incidence, network.load_incidence])
    costs = tuple(case.generation_cost), case.shedding_cost
    return _assemble("dispatch", case, network, by_x, -network.load_incidence, costs, [at_most], 1, bounds)


def redispatch_qp(case: GridCase, bounds: str = "published") -> ParametricQp:
    """Least-cost shedding and storage: x = (load_shed, storage), π = (p_gen, load), shape (n, G + B).

    Args:
        case: the grid.
        bounds: "published" leaves shedding unbounded above; "shed_at_most_load" adds `load_shed <= load`.
    """
    network = build_network(case)
    by_x = np.hstack([network.load_incidence, -network.gen_incidence])
    by_parameter = np.hstack([network.gen_incidence, -network.load_incidence])
    costs = case.shedding_cost, case.storage_cost
    return _assemble("redispatch", case, network, by_x, by_parameter, costs, [], 0, bounds)


#: Rows `A x <= b0 + S π`: A, b0 and S.
Rows = tuple[FloatArray, FloatArray, FloatArray]


def _assemble(
    name: str,
    case: GridCase,
    network: Network,
    by_x: FloatArray,
    by_parameter: FloatArray,
    costs: tuple[tuple[ArrayLike, ArrayLike], ...],
    at_most: list[Rows],
    shedding: int,
    bounds: str,
) -> ParametricQp:
    """The QP of `injection = by_x x + by_parameter π` with x >= 0.

    `costs` are those of both variables, of which the `shedding`-th is load shed; the loads are the last parameters.
    """
    require_choice("bounds", bounds, BOUNDS)
    n_loads, n_first = case.n_loads, (case.n_loads, case.n_gens)[shedding]
    n_x, n_parameters = by_x.shape[1], by_parameter.shape[1]
    ones, flow_x, flow_parameter = np.ones((1, case.n_buses)), network.ptdf @ by_x, network.ptdf @ by_parameter
    blocks: list[Rows] = [
        (ones @ by_x, np.zeros(1), -ones @ by_parameter),  # the balance, an equality
        (flow_x, case.line_limit_pu, -flow_parameter),
        (-flow_x, case.line_limit_pu, flow_parameter),
        (-np.eye(n_x), np.zeros(n_x), np.zeros((n_x, n_parameters))),
        *at_most,
    ]
    if bounds == "shed_at_most_load":
        own_load = np.eye(n_loads, n_parameters, n_parameters - n_loads)
        blocks.append((np.eye(n_loads, n_x, shedding * n_first), np.zeros(n_loads), own_load))
    rows, constant, slope = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    sizes = (n_first, n_x - n_first)
    quadratic, linear = (
        np.concatenate([np.broadcast_to(cost[k], size) for cost, size in zip(costs, sizes, strict=True)])
        for k in (0, 1)
    )
    return ParametricQp(
        name=name,
        cost_matrix=sp.diags_array(2 * quadratic, format="csc"),
        cost_vector=linear,
        constraint_matrix=sp.csc_matrix(rows),
        rhs_constant=constant,
        rhs_slope=slope,
        n_equalities=1,
        variables=(slice(0, n_first), slice(n_first, n_x)),
    )
