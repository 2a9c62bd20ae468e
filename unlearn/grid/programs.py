"""Dispatch and redispatch as programs (paper eqs. 17 to 20), and the network matrices that they are made of.

Each is there twice: as a CVXPY problem, and in PTDF form as matrices (appendix A, angles eliminated), which the batched
engine needs and which spare a first result the second that CVXPY takes to import. Tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from pypower.makeBdc import makeBdc
from pypower.makePTDF import makePTDF

from unlearn.checks import FloatArray, require_choice
from unlearn.grid.case import GridCase
from unlearn.grid.options import BOUNDS, FORMS
from unlearn.grid.qp import ParametricQp

if TYPE_CHECKING:
    import cvxpy as cp


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


def dispatch_qp(case: GridCase, bounds: str = "published") -> ParametricQp:
    """Least-cost generation for a forecast load: x = (p_gen, shed), π = forecast, shape (n, B).

    Args:
        case: the grid.
        bounds: "published" leaves shedding unbounded above; "shed_at_most_load" adds `shed <= forecast`.
    """
    require_choice("bounds", bounds, BOUNDS)
    network = build_network(case)
    n_gens, n_loads = case.n_gens, case.n_loads
    quadratic, linear = case.generation_cost
    shed_quadratic, shed_linear = case.shedding_cost
    # Injections by x and by π.
    by_x = np.hstack([network.gen_incidence, network.load_incidence])
    by_parameter = -network.load_incidence
    no_shed = np.zeros((n_loads, n_gens))
    bound_rows = [
        (-np.eye(n_gens + n_loads), np.zeros(n_gens + n_loads), np.zeros((n_gens + n_loads, n_loads))),
        (np.eye(n_gens, n_gens + n_loads), case.p_gen_max_pu, np.zeros((n_gens, n_loads))),
    ]
    if bounds == "shed_at_most_load":
        bound_rows.append((np.hstack([no_shed, np.eye(n_loads)]), np.zeros(n_loads), np.eye(n_loads)))
    return _assemble(
        "dispatch",
        np.concatenate([2 * quadratic, np.full(n_loads, 2 * shed_quadratic)]),
        np.concatenate([linear, np.full(n_loads, shed_linear)]),
        _network_rows(case, network.ptdf, by_x, by_parameter),
        bound_rows,
        (slice(0, n_gens), slice(n_gens, n_gens + n_loads)),
    )


def redispatch_qp(case: GridCase, bounds: str = "published") -> ParametricQp:
    """Least-cost shedding and storage: x = (load_shed, storage), π = (p_gen, load), shape (n, G + B).

    Args:
        case: the grid.
        bounds: "published" leaves shedding unbounded above; "shed_at_most_load" adds `load_shed <= load`.
    """
    require_choice("bounds", bounds, BOUNDS)
    network = build_network(case)
    n_gens, n_loads = case.n_gens, case.n_loads
    n_variables = n_loads + n_gens
    shed_quadratic, shed_linear = case.shedding_cost
    store_quadratic, store_linear = case.storage_cost
    by_x = np.hstack([network.load_incidence, -network.gen_incidence])
    by_parameter = np.hstack([network.gen_incidence, -network.load_incidence])
    bound_rows = [(-np.eye(n_variables), np.zeros(n_variables), np.zeros((n_variables, n_variables)))]
    if bounds == "shed_at_most_load":
        own_load = np.hstack([np.zeros((n_loads, n_gens)), np.eye(n_loads)])
        bound_rows.append((np.eye(n_loads, n_variables), np.zeros(n_loads), own_load))
    return _assemble(
        "redispatch",
        np.concatenate([np.full(n_loads, 2 * shed_quadratic), np.full(n_gens, 2 * store_quadratic)]),
        np.concatenate([np.full(n_loads, shed_linear), np.full(n_gens, store_linear)]),
        _network_rows(case, network.ptdf, by_x, by_parameter),
        bound_rows,
        (slice(0, n_loads), slice(n_loads, n_variables)),
    )


#: Rows `A x <= b0 + S π`: A, b0 and S.
Rows = tuple[FloatArray, FloatArray, FloatArray]


def _network_rows(case: GridCase, ptdf: FloatArray, by_x: FloatArray, by_parameter: FloatArray) -> list[Rows]:
    """Balance (an equality), and line limits in both directions, for `injection = by_x x + by_parameter π`."""
    ones = np.ones((1, case.n_buses))
    flow_x, flow_parameter = ptdf @ by_x, ptdf @ by_parameter
    return [
        (ones @ by_x, np.zeros(1), -ones @ by_parameter),
        (flow_x, case.line_limit_pu, -flow_parameter),
        (-flow_x, case.line_limit_pu, flow_parameter),
    ]


def _assemble(
    name: str,
    diagonal: FloatArray,
    linear: FloatArray,
    network_rows: list[Rows],
    bound_rows: list[Rows],
    variables: tuple[slice, ...],
) -> ParametricQp:
    rows, constant, slope = (np.concatenate(parts) for parts in zip(*network_rows, *bound_rows, strict=True))
    return ParametricQp(
        name=name,
        cost_matrix=sp.diags_array(diagonal, format="csc"),
        cost_vector=linear,
        constraint_matrix=sp.csc_matrix(rows),
        rhs_constant=constant,
        rhs_slope=slope,
        n_equalities=1,
        variables=variables,
    )
