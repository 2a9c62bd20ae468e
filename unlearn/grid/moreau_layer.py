"""Dispatch and redispatch through moreau's batched active-set solver, for comparison (extra `moreau`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import require_package
from unlearn.errors import SolverError
from unlearn.grid.qp import ParametricQp

#: Largest scaled KKT residual that moreau's solutions may have: it stops above the 1e-7 of the other backends.
TOLERANCE = 1e-3


class MoreauLayer:
    """A parametric QP as a function of batched tensors, solved and differentiated by moreau."""

    def __init__(self, qp: ParametricQp) -> None:
        """Set the solver up.

        Raises:
            MissingPackageError: moreau is not installed.
        """
        require_package("backend=moreau", "moreau.torch", '"unlearn[moreau]"')
        import moreau
        import moreau.torch

        self.qp = qp
        cost, rows = qp.cost_matrix.tocsr(), qp.constraint_matrix.tocsr()
        cones = moreau.Cones(num_zero_cones=qp.n_equalities, num_nonneg_cones=len(qp.rhs_constant) - qp.n_equalities)
        settings = moreau.Settings(device="cpu", enable_grad=True, solver="active_set")
        structure = [
            torch.from_numpy(part.astype(np.int64)) for part in (cost.indptr, cost.indices, rows.indptr, rows.indices)
        ]
        self._solver = moreau.torch.Solver(rows.shape[1], rows.shape[0], *structure, cones, settings)
        self._values = torch.from_numpy(cost.data), torch.from_numpy(rows.data)
        self._linear = torch.from_numpy(qp.cost_vector)
        self._rhs_slope, self._rhs_constant = torch.from_numpy(qp.rhs_slope), torch.from_numpy(qp.rhs_constant)

    def __call__(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Solve n hours.

        Args:
            parameters: the program's parameters in order, each (n, k), float64.

        Returns:
            The program's variables in order, each (n, size).

        Raises:
            SolverError: an hour whose solution fails the KKT check; names the hour.
        """
        stacked = torch.cat(parameters, dim=1)
        rhs = self._rhs_constant + stacked @ self._rhs_slope.T
        try:
            solution = self._solver.solve(*self._values, self._linear.expand(len(rhs), -1), rhs)
        except Exception as error:
            raise SolverError(f"{self.qp.name}: moreau ended with {type(error).__name__}: {error}") from error
        x, z = solution.x, solution.z
        residual = self.qp.kkt_residual(stacked.detach().numpy(), x.detach().numpy(), z.detach().numpy())
        failed = np.flatnonzero(~(residual <= TOLERANCE))
        if failed.size:
            raise SolverError(
                f"{self.qp.name}: moreau left {failed.size} of {len(residual)} hours unsolved; first is hour "
                f"{failed[0]} with KKT residual {residual[failed[0]]:.1g}, expected at most {TOLERANCE:.0e}; "
                "use backend=batched."
            )
        return tuple(x[:, columns] for columns in self.qp.variables)
