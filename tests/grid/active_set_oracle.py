"""An oracle for the batched engine: hour by hour with Clarabel, differentiated through the active set.

While its active set stays the same, the solution is an affine function of the parameters
(Proposition 3), so the derivative is one linear solve with the KKT matrix of the active
constraints. Hours with the same active set share that matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlearn.checks import FloatArray
from unlearn.grid import CompiledProgram, GridCase, LayerPricer, dispatch_program, redispatch_program


class ExactLayer:
    """A compiled program as a function of batched tensors; works with and without a gradient."""

    def __init__(self, compiled: CompiledProgram) -> None:
        self.compiled = compiled

    def __call__(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Solve n hours.

        Args:
            parameters: the program's parameters in order, each (n, k), float64.

        Returns:
            The program's variables in order, each (n, size). Where the derivative is one-sided, that of the
            active set that was found is used, and its least-norm solution where active constraints depend
            on each other.

        Raises:
            SolverError: an hour without an acceptable solution; names it.
        """
        primal = _Solve.apply(self.compiled, torch.cat(parameters, dim=1))
        return tuple(primal[:, columns] for columns in self.compiled.variables)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compiled: CompiledProgram, parameters: Tensor) -> Tensor:
        values = parameters.detach().numpy()
        solutions = compiled.solve(values)
        ctx.compiled = compiled
        ctx.active = compiled.active(values, solutions)
        return torch.from_numpy(solutions.primal)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor]:
        rhs_slope = _adjoint(ctx.compiled, ctx.active, slope.detach().numpy())
        return None, torch.from_numpy(rhs_slope @ ctx.compiled.rhs_slope)


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
        gradient[np.ix_(hours, np.flatnonzero(pattern))] = _solve(kkt, right)[n_variables:].T
    return gradient


def _solve(kkt: FloatArray, right: FloatArray) -> FloatArray:
    """Solve by LU, or in the least-squares sense where active constraints depend on each other."""
    if np.linalg.cond(kkt) < 1e12:
        return np.asarray(np.linalg.solve(kkt, right), dtype=np.float64)
    return np.asarray(np.linalg.lstsq(kkt, right, rcond=1e-12)[0], dtype=np.float64)


def oracle_pricer(case: GridCase, bounds: str = "published") -> LayerPricer:
    """Prices hours one by one; shares no code with the batched engine but the programs in CVXPY.

    The dispatch is solved in angle form, the redispatch in PTDF form, because the angle form stalls above the
    KKT tolerance where forecasts are almost true.
    """
    dispatch = CompiledProgram(dispatch_program(case, "angle", bounds))
    redispatch = CompiledProgram(redispatch_program(case, "ptdf", bounds))
    return LayerPricer(case, ExactLayer(dispatch), ExactLayer(redispatch))
