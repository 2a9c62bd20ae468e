"""Dispatch and redispatch as cvxpylayers layers, whose every solution is checked.

This is the published way, and the reference that the exact derivative is compared with. Of its two
derivative modes, "dense" is right but for hours where a constraint is nearly weakly active (about one
in a hundred); cvxpylayers' default, "lsqr", is wrong by tens of percent on these programs and stays
available to show what it does.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, require_choice
from unlearn.errors import SolverError
from unlearn.grid.compiled import CompiledProgram
from unlearn.grid.programs import Program
from unlearn.grid.qp import REGULARIZATION, stack_parameters

#: Derivative modes of cvxpylayers; "lsqr" is its default and the published code's.
LAYER_DERIVATIVES = ("dense", "lsqr")

_DENSE: dict[str, Any] = {
    "solve_method": "Clarabel",
    "mode": "dense",
    # Clarabel's default of 1e-8 leaves KKT residuals above 1e-6 on the layer's conic form.
    "tol_gap_abs": 1e-10,
    "tol_gap_rel": 1e-10,
    "tol_feas": 1e-10,
}

# Settings to try in turn. Clarabel's own regularisation gives the more accurate derivative but stalls
# where forecasts are almost true (errors of 0.01 MW and less), where the weaker one does not.
_SOLVER_ARGS: dict[str, tuple[dict[str, Any], ...]] = {
    "dense": (_DENSE, {**_DENSE, "static_regularization_constant": REGULARIZATION}),
    "lsqr": ({},),
}


class ConvexLayer:
    """A program as a function of batched tensors, with gradients to its parameters."""

    def __init__(self, program: Program, derivative: str = "dense", tolerance: float | None = None) -> None:
        """Build the layer.

        Args:
            program: dispatch or redispatch.
            derivative: one of `LAYER_DERIVATIVES`.
            tolerance: largest scaled KKT residual a solution may have. By default 1e-5 (the layer
                turns each square into a second-order cone, which keeps Clarabel from going below
                6e-6 on a few hours), or 1e-2 for the loose solver behind "lsqr".
        """
        require_choice("derivative", derivative, LAYER_DERIVATIVES)
        self.derivative = derivative
        self.compiled = CompiledProgram(program, tolerance or (1e-5 if derivative == "dense" else 1e-2))
        duals = [constraint.dual_variables[0] for constraint in program.problem.constraints]
        named = {variable.id for variable in program.variables}
        helpers = [variable for variable in program.problem.variables() if variable.id not in named]
        self._order = [*program.variables, *helpers]
        from cvxpylayers.torch import CvxpyLayer  # a second to import, so only where layers are built

        self._layer = CvxpyLayer(program.problem, parameters=list(program.parameters), variables=[*self._order, *duals])

    def __call__(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Solve n hours.

        Args:
            parameters: the program's parameters in order, each (n, k), float64.

        Returns:
            The program's variables in order, each (n, size).

        Raises:
            SolverError: an hour fails to solve or to pass the KKT check; names the hour.
        """
        values = [parameter.double().contiguous() for parameter in parameters]
        *first, last = _SOLVER_ARGS[self.derivative]
        for settings in first:
            with contextlib.suppress(SolverError):
                return self._solve(values, settings)
        return self._solve(values, last)

    def _solve(self, values: list[Tensor], settings: dict[str, Any]) -> tuple[Tensor, ...]:
        if not (torch.is_grad_enabled() and any(value.requires_grad for value in values)):
            # diffcp's forward-only path does not know the derivative's mode.
            settings = {name: value for name, value in settings.items() if name != "mode"}
        try:
            with warnings.catch_warnings():
                # diffcp warns about the very solver settings asked for; the KKT check decides.
                warnings.simplefilter("ignore")
                outputs = self._layer(*values, solver_args=settings)
        except Exception as error:
            raise SolverError(f"{self.compiled.program.name} layer: {self._first_failure(values, error)}") from error
        self._check(values, outputs)
        return tuple(outputs[: len(self.compiled.program.variables)])

    def _check(self, parameters: list[Tensor], outputs: tuple[Tensor, ...]) -> None:
        solved = [output.detach().numpy() for output in outputs]
        stacked = stack_parameters([parameter.detach().numpy() for parameter in parameters])
        primal = np.empty((len(stacked), len(self.compiled.cost_vector)))
        for variable, value in zip(self._order, solved, strict=False):
            primal[:, self.compiled.slices[variable.id]] = value
        self.compiled.check(stacked, primal, self._stack_duals(solved[len(self._order) :]))

    def _stack_duals(self, duals: list[FloatArray]) -> FloatArray:
        """Put the constraints' duals in the canonical order: equalities first."""
        constraints = self.compiled.program.problem.constraints
        flat = [dual.reshape(len(dual), -1) for dual in duals]
        equal = [f for f, c in zip(flat, constraints, strict=True) if type(c).__name__ in ("Equality", "Zero")]
        other = [f for f, c in zip(flat, constraints, strict=True) if type(c).__name__ not in ("Equality", "Zero")]
        return np.concatenate([*equal, *other], axis=1)

    def _first_failure(self, parameters: list[Tensor], error: Exception) -> str:
        """Find out which hour broke the batch; the direct solve names it and says why."""
        try:
            self.compiled.solve(stack_parameters([parameter.detach().numpy() for parameter in parameters]))
        except SolverError as found:
            return str(found)
        return f"{type(error).__name__}: {error}"
