"""Dispatch and redispatch as DPP programs in CVXPY (paper appendix A), in two equivalent forms.

`angle` keeps the bus angles, as the paper prints it. `ptdf` eliminates them, which leaves only
variables with a strictly convex cost. Everything is per unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unlearn.checks import FloatArray, require_choice
from unlearn.grid.case import GridCase
from unlearn.grid.network import Network, build_network

if TYPE_CHECKING:
    import cvxpy as cp

FORMS = ("ptdf", "angle")
BOUNDS = ("published", "shed_at_most_load")


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
