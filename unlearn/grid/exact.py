"""Dispatch and redispatch as functions of tensors, differentiated exactly through the active set.

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
from unlearn.grid.compiled import CompiledProgram


class ExactLayer:
    """A compiled program as a function of batched tensors; works with and without a gradient."""

    def __init__(self, compiled: CompiledProgram) -> None:
        self.compiled = compiled

    def __call__(self, *parameters: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Solve n hours.

        Args:
            parameters: the program's parameters in order, each (n, k), float64.

        Returns:
            The program's variables in order, each (n, size), and the hours where the derivative is
            one-sided, (n,), bool. There the derivative of the active set that was found is used, and
            its least-norm solution where active constraints depend on each other.

        Raises:
            SolverError: an hour without an acceptable solution; names it.
        """
        primal, degenerate = _Solve.apply(self.compiled, torch.cat(parameters, dim=1))
        slices = (self.compiled.slices[variable.id] for variable in self.compiled.program.variables)
        return tuple(primal[:, columns] for columns in slices), degenerate


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compiled: CompiledProgram, parameters: Tensor) -> tuple[Tensor, Tensor]:
        values = parameters.detach().numpy()
        solutions = compiled.solve(values)
        degenerate = torch.from_numpy(compiled.degenerate(values, solutions))
        ctx.compiled = compiled
        ctx.active = compiled.active(values, solutions)
        ctx.mark_non_differentiable(degenerate)
        return torch.from_numpy(solutions.primal), degenerate

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, Tensor]:
        rhs_slope = _adjoint(ctx.compiled, ctx.active, slopes[0].detach().numpy())
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
