"""Dispatch and redispatch in PTDF form, written down as matrices (paper appendix A, angles eliminated).

These are the programs of `programs.py` without CVXPY: the batched engine needs matrices, and an import that
takes a second would be most of the time to a first result. Tests compare the two.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from unlearn.checks import FloatArray, require_choice
from unlearn.grid.case import GridCase
from unlearn.grid.network import build_network
from unlearn.grid.options import BOUNDS
from unlearn.grid.qp import ParametricQp


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
