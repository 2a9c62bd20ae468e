"""An oracle for the batched engine: hour by hour, exactly, differentiated through the active set.

Clarabel alone reaches 5e-8 of the cost on a few hours. So its solution is only compared with: another method
shows the active set, whose equations in CVXPY's own canonical matrices, solved by LU and checked, give the last
digits.

While its active set stays the same, the solution is an affine function of the parameters
(Proposition 3), so the derivative is one linear solve with the KKT matrix of the active
constraints. Hours with the same active set share that matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

from unlearn.checks import FloatArray
from unlearn.grid import CompiledProgram, GridCase, LayerPricer, dispatch_program, redispatch_program

#: What rounding may leave of a slack (per unit) or a multiplier (in units of the largest linear cost).
EXACT = 1e-10


@dataclass(frozen=True, eq=False)
class Exact:
    """Solutions of n hours to the last digits.

    Attributes:
        primal: shape (n, variables).
        active: constraints whose equations the solution solves, equalities among them, (n, constraints).
        margin: how far each hour is from the edge of its critical region: the smallest slack of an inactive
            constraint (per unit) or scaled multiplier of an active one, shape (n,).
    """

    primal: FloatArray
    active: NDArray[np.bool_]
    margin: FloatArray


def solve_exactly(compiled: CompiledProgram, parameters: FloatArray) -> Exact:
    """Find each hour's active set, solve its equations and check the KKT conditions.

    Raises:
        SolverError: Clarabel, which every hour is compared with, has no acceptable solution.
        AssertionError: an hour's solution is not Clarabel's, or does not fulfil the KKT conditions to `EXACT`.
    """
    clarabel, rhs = compiled.solve(parameters), compiled.rhs(parameters)
    program = _StrictlyConvex(compiled)
    shown = compiled.active(parameters, clarabel)
    solved = [program.solve(b, x, active) for b, x, active in zip(rhs, clarabel.primal, shown, strict=True)]
    primal, active, margin = (np.array(part) for part in zip(*solved, strict=True))
    # A coarse comparison: near an edge Clarabel is off by the root of its accuracy. The KKT conditions decide.
    np.testing.assert_allclose(primal, clarabel.primal, rtol=0, atol=1e-4)
    return Exact(primal, active, margin)


class _StrictlyConvex:
    """One program's canonical matrices, with costs divided by the largest linear one."""

    def __init__(self, compiled: CompiledProgram) -> None:
        self.curvature = compiled.cost_matrix.toarray() / compiled.price
        self.linear = compiled.cost_vector / compiled.price
        self.rows, self.n_equalities = compiled.constraint_matrix.toarray(), compiled.n_equalities
        # With P = LL' and y = L'x + L⁻¹q the cost is |y|²/2: least distance programming.
        root = np.linalg.cholesky(self.curvature)
        self.distance_rows = np.linalg.solve(root, self.rows.T).T
        self.shift = self.rows @ np.linalg.solve(self.curvature, self.linear)

    def solve(
        self, rhs: FloatArray, near: FloatArray, shown: NDArray[np.bool_]
    ) -> tuple[FloatArray, NDArray[np.bool_], float]:
        """One hour's solution, its active constraints and its margin, from the approximate solution `near`."""
        left = []
        for active in self._active_sets(rhs, near, shown):
            if np.linalg.matrix_rank(self.rows[active]) < active.sum():
                continue
            x, multiplier = self._equations(rhs, active)
            slack = rhs - self.rows @ x
            check = np.where(active, multiplier, slack)[self.n_equalities :]
            left.append(max(-check.min(), np.abs(slack[active]).max()))
            if left[-1] <= EXACT:
                return x, active, float(check.min())
        raise AssertionError(
            f"no active set fulfils the KKT conditions: at best {min(left, default=np.inf):.1g} is left"
        )

    def _active_sets(self, rhs: FloatArray, near: FloatArray, shown: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
        """What may be the active set, the most trustworthy first; the rank and the KKT conditions decide."""
        yield self._least_distance(rhs)
        yield shown
        for slack in (1e-4, 1e-6, 1e-8):
            yield self._carriers(near, rhs - self.rows @ near < slack)

    def _carriers(self, x: FloatArray, near: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Independent constraints among those near x that carry the gradient there."""
        others = np.flatnonzero(near[self.n_equalities :]) + self.n_equalities
        equal = self.rows[: self.n_equalities]
        rows = np.vstack([equal, -equal, self.rows[others]])
        carried = nnls(rows.T, -(self.curvature @ x + self.linear))[0]
        support = np.zeros(len(near), dtype=bool)
        support[: self.n_equalities] = True
        support[others] = carried[2 * self.n_equalities :] > EXACT
        return support

    def _least_distance(self, rhs: FloatArray) -> NDArray[np.bool_]:
        """Independent constraints that carry the solution: Lawson and Hanson's least distance programming."""
        length = np.linalg.norm(self.distance_rows, axis=1)
        normals, offsets = -self.distance_rows / length[:, None], -(rhs + self.shift) / length
        offsets /= np.abs(offsets).max()
        equal = slice(0, self.n_equalities)
        stacked = np.vstack([np.vstack([normals, -normals[equal]]).T, np.concatenate([offsets, -offsets[equal]])])
        target = np.zeros(len(stacked))
        target[-1] = 1.0
        carried = nnls(stacked, target)[0]
        support = carried[: len(rhs)] > 0
        support[equal] = True
        return support

    def _equations(self, rhs: FloatArray, active: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        rows, n = self.rows[active], len(self.linear)
        kkt = np.block([[self.curvature, rows.T], [rows, np.zeros((len(rows), len(rows)))]])
        right = np.concatenate([-self.linear, rhs[active]])
        solved = np.linalg.solve(kkt, right)
        solved += np.linalg.solve(kkt, right - kkt @ solved)
        multiplier = np.zeros(len(rhs))
        multiplier[active] = solved[n:]
        return solved[:n], multiplier


class ExactLayer:
    """A compiled program as a function of batched tensors; works with and without a gradient.

    Attributes:
        last: what the last call found.
    """

    last: Exact

    def __init__(self, compiled: CompiledProgram) -> None:
        self.compiled = compiled

    def __call__(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Solve n hours.

        Args:
            parameters: the program's parameters in order, each (n, k), float64.

        Returns:
            The program's variables in order, each (n, size). Where the derivative is one-sided, that of the
            active set that was found is used.

        Raises:
            SolverError: an hour without an acceptable solution; names it.
        """
        stacked = torch.cat(parameters, dim=1)
        self.last = solve_exactly(self.compiled, stacked.detach().numpy())
        primal = _Solve.apply(self.compiled, self.last, stacked)
        return tuple(primal[:, columns] for columns in self.compiled.variables)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compiled: CompiledProgram, exact: Exact, parameters: Tensor) -> Tensor:
        ctx.compiled, ctx.active = compiled, exact.active
        return torch.from_numpy(exact.primal)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, None, Tensor]:
        rhs_slope = _adjoint(ctx.compiled, ctx.active, slope.detach().numpy())
        return None, None, torch.from_numpy(rhs_slope @ ctx.compiled.rhs_slope)


def _adjoint(compiled: CompiledProgram, active: NDArray[np.bool_], slope: FloatArray) -> FloatArray:
    """Gradient in the right-hand sides, (n, constraints), from that in the solutions, (n, variables).

    With K the symmetric KKT matrix `[[P, A'], [A, 0]]` of the active constraints, `dx` is the upper
    right block of `K⁻¹` times `db`, so the gradient in b is the lower part of `K⁻¹ [slope, 0]`.
    """
    cost, constraints = compiled.cost_matrix.toarray(), compiled.constraint_matrix.toarray()
    n_variables = len(cost)
    gradient = np.zeros((len(slope), len(constraints)))
    regions, region = np.unique(active, axis=0, return_inverse=True)
    for index, pattern in enumerate(regions):
        hours = np.flatnonzero(region.ravel() == index)
        rows = constraints[pattern]
        kkt = np.block([[cost, rows.T], [rows, np.zeros((len(rows), len(rows)))]])
        right = np.concatenate([slope[hours].T, np.zeros((len(rows), len(hours)))])
        gradient[np.ix_(hours, np.flatnonzero(pattern))] = np.linalg.solve(kkt, right)[n_variables:].T
    return gradient


class OraclePricer(LayerPricer):
    """Prices hours one by one; shares no code with the batched engine but the programs in CVXPY, in PTDF form."""

    def __init__(self, case: GridCase, bounds: str = "published") -> None:
        self.layers = (
            ExactLayer(CompiledProgram(dispatch_program(case, "ptdf", bounds))),
            ExactLayer(CompiledProgram(redispatch_program(case, "ptdf", bounds))),
        )
        super().__init__(case, *self.layers)

    @property
    def margin(self) -> FloatArray:
        """The smaller margin of each hour's dispatch and redispatch in the last call, shape (n,)."""
        return np.minimum(*(layer.last.margin for layer in self.layers))
