"""An affine-parametric QP, its KKT check, and its solution hour by hour with Clarabel.

The canonical form is `min ½x'Px + q'x  s.t.  Ax + s = b(π), s = 0 (first rows) or s >= 0`, where
only the right-hand side depends on the parameters π, and affinely so (paper appendix B). That leaves
one small solve per hour, and one place where every solution, whoever found it, has its KKT residual
measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import clarabel
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import SolverError

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


def stack_parameters(parameters: Sequence[FloatArray]) -> FloatArray:
    """Put a program's parameters, each (n, k_i), side by side."""
    return np.concatenate([np.atleast_2d(parameter) for parameter in parameters], axis=1)
