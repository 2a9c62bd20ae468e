"""A DPP program in CVXPY, compiled once to an affine-parametric QP."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from unlearn.checks import FloatArray
from unlearn.errors import SolverError
from unlearn.grid.programs import Program
from unlearn.grid.qp import ParametricQp


class CompiledProgram(ParametricQp):
    """Affine-parametric QP of a `Program`; parameters are stacked in the program's order."""

    def __init__(self, program: Program, tolerance: float = 1e-7) -> None:
        """Compile.

        Args:
            program: DPP problem whose parameters enter the constraints' right-hand side only.
            tolerance: largest scaled KKT residual that a solution may have.

        Raises:
            SolverError: a parameter enters anything but the right-hand side.
        """
        self.program = program
        zero = _canonical(program, np.zeros(sum(parameter.size for parameter in program.parameters)))
        columns = zero["param_prob"].var_id_to_col
        #: Where each variable of the problem stands in x, by its CVXPY id.
        self.slices = {v.id: slice(columns[v.id], columns[v.id] + v.size) for v in program.problem.variables()}
        super().__init__(
            name=program.name,
            cost_matrix=sp.csc_matrix(zero["P"]),
            cost_vector=zero["c"],
            constraint_matrix=sp.csc_matrix(zero["A"]),
            rhs_constant=zero["b"],
            rhs_slope=_probe_slope(program, zero),
            n_equalities=zero["dims"].zero,
            variables=tuple(self.slices[variable.id] for variable in program.variables),
            tolerance=tolerance,
        )


def _canonical(program: Program, values: FloatArray) -> dict:
    start = 0
    for parameter in program.parameters:
        parameter.value = values[start : start + parameter.size]
        start += parameter.size
    data, _, _ = program.problem.get_problem_data("CLARABEL")
    return data


def _probe_slope(program: Program, zero: dict) -> FloatArray:
    """Read the right-hand side's slope off unit parameters, and make sure nothing else moves."""
    size = sum(parameter.size for parameter in program.parameters)
    slope = np.empty((len(zero["b"]), size))
    for k, unit in enumerate(np.eye(size)):
        data = _canonical(program, unit)
        moved = [abs(data["A"] - zero["A"]).max(), np.abs(data["c"] - zero["c"]).max()]
        if max(moved) > 0:
            raise SolverError(f"{program.name}: parameter {k} does not enter the right-hand side only.")
        slope[:, k] = data["b"] - zero["b"]
    return slope
