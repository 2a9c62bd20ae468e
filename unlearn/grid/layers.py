"""The programs in CVXPY, and differentiable layers of other packages as backends: cvxpylayers and Moreau."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from unlearn.checks import FloatArray, require_choice, require_package
from unlearn.errors import SolverError
from unlearn.grid.case import GridCase
from unlearn.grid.options import BOUNDS, FORMS, LAYER_DERIVATIVES
from unlearn.grid.programs import REGULARIZATION, Network, ParametricQp, build_network
from unlearn.temporary import Guard

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

    require_choice("bounds", bounds, BOUNDS)
    forecast = cp.Parameter(case.n_loads, name="forecast")
    p_gen = cp.Variable(case.n_gens, name="p_gen")
    shed = cp.Variable(case.n_loads, name="shed")
    quadratic, linear = case.generation_cost
    cost = (
        cp.quad_form(p_gen, np.diag(quadratic), assume_PSD=True)
        + linear @ p_gen
        + _expression(shed, case.shedding_cost)
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

    require_choice("bounds", bounds, BOUNDS)
    p_gen = cp.Parameter(case.n_gens, name="p_gen")
    load = cp.Parameter(case.n_loads, name="load")
    shed = cp.Variable(case.n_loads, name="load_shed")
    storage = cp.Variable(case.n_gens, name="storage")
    cost = _expression(shed, case.shedding_cost) + _expression(storage, case.storage_cost)
    network = build_network(case)
    injection = network.gen_incidence @ (p_gen - storage) - network.load_incidence @ (load - shed)
    constraints = [
        *_network_constraints(case, network, injection, form),
        shed >= 0,
        storage >= 0,
        *([shed <= load] if bounds == "shed_at_most_load" else []),
    ]
    return Program("redispatch", cp.Problem(cp.Minimize(cost), constraints), (p_gen, load), (shed, storage))


def _expression(variable: cp.Variable, cost: tuple[float, float]) -> cp.Expression:
    import cvxpy as cp

    quadratic, linear = cost
    return quadratic * cp.sum_squares(variable) + linear * cp.sum(variable)


def _network_constraints(case: GridCase, network: Network, injection: cp.Expression, form: str) -> list[cp.Constraint]:
    import cvxpy as cp

    require_choice("form", form, FORMS)
    limit: FloatArray = case.line_limit_pu
    if form == "angle":
        theta = cp.Variable(case.n_buses, name="theta")
        flow = network.line_susceptance @ theta
        balance = [network.bus_susceptance @ theta == injection, theta[case.slack_bus] == 0]
    else:
        flow = network.ptdf @ injection
        balance = [cp.sum(injection) == 0]
    return [*balance, flow <= limit, flow >= -limit]


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
        stacked = torch.cat(parameters, dim=1).detach().numpy()
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
            self.compiled.solve(torch.cat(parameters, dim=1).detach().numpy())
        except SolverError as found:
            return str(found)
        return f"{type(error).__name__}: {error}"


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


#: A program as a function of batched parameters (n, k) that returns its variables, each (n, size).
Layer = Callable[..., tuple[Tensor, ...]]

#: Shedding and storage below this, per unit, count as none; so do checks of a region.
DEGENERACY_TOLERANCE = 1e-6


class Priced(NamedTuple):
    """Parts of the cost of n hours, each (n,); the last two are bool and have no gradient."""

    generation: Tensor
    shedding: Tensor
    storage: Tensor
    shed_above_load: Tensor
    degenerate: Tensor


class LayerPricer:
    """Prices hours by a dispatch layer on the forecast and a redispatch layer on the truth.

    Threads that share it take turns: layers keep the parameters that they solve for.
    """

    def __init__(self, case: GridCase, dispatch: Layer, redispatch: Layer) -> None:
        self.case = case
        self._dispatch, self._redispatch = dispatch, redispatch
        self._guard = Guard()

    def __call__(self, forecast: Tensor, load: Tensor) -> Priced:
        """Price n hours; forecast and load in per unit, float64, (n, B).

        Raises:
            SolverError: an hour that a layer does not solve; names it.
        """
        with self._guard:
            p_gen, _ = self._dispatch(forecast.clamp(min=0))
            shed, storage = self._redispatch(p_gen, load)
        quadratic, linear = torch.from_numpy(self.case.generation_cost)
        return Priced(
            generation=p_gen.square() @ quadratic + p_gen @ linear,
            shedding=_penalty(shed, self.case.shedding_cost),
            storage=_penalty(storage, self.case.storage_cost),
            shed_above_load=(shed.detach() > load + DEGENERACY_TOLERANCE).any(dim=1),
            # Layers do not say where their derivative is one-sided.
            degenerate=torch.zeros(len(load), dtype=torch.bool),
        )


def _penalty(amount: Tensor, cost: tuple[float, float]) -> Tensor:
    quadratic, linear = cost
    return quadratic * amount.square().sum(dim=1) + linear * amount.sum(dim=1)
