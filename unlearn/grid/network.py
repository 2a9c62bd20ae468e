"""Network matrices of the DC model, built with PYPOWER."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pypower.makeBdc import makeBdc
from pypower.makePTDF import makePTDF

from unlearn.checks import FloatArray
from unlearn.grid.case import GridCase


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
