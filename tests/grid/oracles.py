"""Dispatch and redispatch written a second time, from PYPOWER's arrays and the YAML files, for other solvers.

Nothing of `unlearn.grid` is used here: the matrices come from the branch list, the constants of the
published case are typed in from the paper, those of the other grids read from their files, and the programs
go to HiGHS (an active-set QP solver) or to PYPOWER's own DC optimal power flow (an interior-point
solver on a model of its own).
"""

import importlib
from dataclasses import dataclass
from pathlib import Path

import highspy
import numpy as np
import yaml
from pypower.api import ppoption, rundcopf
from pypower.case14 import case14

GRIDS = Path(__file__).resolve().parents[2] / "grids"
BASE = 100.0
LIMIT = np.array([180, 110, 110, 110, 110, 50, 150, 130, 50, 60, 50, 30, 50, 100, 40, 40, 20, 50, 20, 40]) / BASE
Q_GEN, C_GEN = np.array([4.0, 25, 1, 1, 1]), np.array([20.0, 10, 50, 60, 70])
SHED, STORE = 3500.0, 700.0


@dataclass(frozen=True, eq=False)
class RawGrid:
    """PYPOWER's arrays of a case whose buses are numbered 1, 2, ..., and constants in p.u.

    `load_bus` holds the 0-based buses that have a load, `nominal` these loads in p.u., both (B,).
    """

    raw: dict
    load_bus: np.ndarray
    nominal: np.ndarray
    limit: np.ndarray
    q_gen: np.ndarray
    c_gen: np.ndarray
    shed: float
    store: float

    @property
    def n_buses(self) -> int:
        return len(self.raw["bus"])

    @property
    def p_max(self) -> np.ndarray:
        return self.raw["gen"][:, 8] / BASE


def _published_loads() -> np.ndarray:
    """Twice case14's, and a load at every bus that has none, in p.u., (14,)."""
    doubled = 2 * case14()["bus"][:, 2] / BASE
    return np.where(doubled > 0, doubled, np.minimum(doubled.mean() * np.arange(1, 15) ** 0.5, 0.8 * doubled.max()))


IEEE14 = RawGrid(case14(), np.arange(14), _published_loads(), LIMIT, Q_GEN, C_GEN, SHED, STORE)


def raw_grid(name: str) -> RawGrid:
    """A bundled grid; all but ieee14 keep their base case's loads, Pmax and gencost."""
    if name == "ieee14":
        return IEEE14
    settings = yaml.safe_load((GRIDS / f"{name}.yaml").read_text())
    assert not {"load", "p_gen_max_mw", "base_mva", "slack_bus"} & set(settings)
    assert settings["generation_cost"] is None
    raw = getattr(importlib.import_module(f"pypower.{settings['base_case']}"), settings["base_case"])()
    np.testing.assert_array_equal(raw["bus"][:, 0], np.arange(len(raw["bus"])) + 1)
    assert raw["baseMVA"] == BASE
    limit = raw["branch"][:, 5] if settings["line_limit_mw"] is None else np.array(settings["line_limit_mw"])
    shed, store = settings["shedding_cost"], settings["storage_cost"]
    assert shed["quadratic"] == shed["linear"]
    assert store["quadratic"] == store["linear"]
    load_bus = np.flatnonzero(raw["bus"][:, 2])
    return RawGrid(
        raw=raw,
        load_bus=load_bus,
        nominal=raw["bus"][load_bus, 2] / BASE,
        limit=limit / BASE,
        q_gen=raw["gencost"][:, 4] * BASE**2,
        c_gen=raw["gencost"][:, 5] * BASE,
        shed=shed["linear"],
        store=store["linear"],
    )


def bus_and_line_matrices(grid: RawGrid = IEEE14) -> tuple[np.ndarray, np.ndarray]:
    """B and B_f by hand: a line of reactance x carries (θ_from − θ_to) / x."""
    branch = grid.raw["branch"]
    line = np.zeros((len(branch), grid.n_buses))
    for k, (start, end, reactance) in enumerate(branch[:, [0, 1, 3]]):
        line[k, int(start) - 1], line[k, int(end) - 1] = 1 / reactance, -1 / reactance
    ends = np.sign(line)
    return ends.T @ line, line


def minimise(quadratic, linear, rows, low, high, lower, upper) -> tuple[float, np.ndarray]:
    """`min q'x + x'diag(quadratic)x  s.t.  low <= rows x <= high, lower <= x <= upper` by HiGHS.

    Its QP solver gives up on one degenerate hour in twenty, and on a few stops short of the optimum
    and calls it one; the same program in another unit of x goes another way through the active sets.
    So it is solved in several units, and the least of the feasible answers counts: no feasible
    point can lie below the optimum.
    """
    answers = []
    for unit in (1.0, 0.01, 100.0, 0.1, 3.0):
        solved = _highs(quadratic * unit**2, linear * unit, rows * unit, low, high, lower / unit, upper / unit)
        if solved is None:
            continue
        x = solved * unit
        excess = np.max([low - rows @ x, rows @ x - high])
        if max(excess, np.max(lower - x), np.max(x - upper)) < 1e-9:
            answers.append((float(quadratic @ x**2 + linear @ x), x))
    assert answers, "HiGHS gave up in every unit"
    return min(answers, key=lambda answer: answer[0])


def _highs(quadratic, linear, rows, low, high, lower, upper) -> np.ndarray | None:
    n = len(linear)
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    # By default HiGHS adds 1e-7 to the Hessian's diagonal, which would be an error of our own making.
    solver.setOptionValue("qp_regularization_value", 0.0)
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    solver.setOptionValue("dual_feasibility_tolerance", 1e-9)
    # On a few hours it goes round in circles for ever; an answer takes less than 20 steps a variable.
    solver.setOptionValue("qp_iteration_limit", 20 * n)
    model = highspy.HighsModel()
    model.lp_.num_col_, model.lp_.num_row_ = n, len(rows)
    model.lp_.col_cost_, model.lp_.col_lower_, model.lp_.col_upper_ = linear, lower, upper
    model.lp_.row_lower_, model.lp_.row_upper_ = low, high
    model.lp_.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.lp_.a_matrix_.start_ = np.arange(0, rows.size + 1, n)
    model.lp_.a_matrix_.index_ = np.tile(np.arange(n), len(rows))
    model.lp_.a_matrix_.value_ = rows.reshape(-1)
    model.hessian_.dim_ = n
    model.hessian_.format_ = highspy.HessianFormat.kTriangular
    filled = np.flatnonzero(quadratic)
    model.hessian_.start_ = np.concatenate([[0], np.cumsum(np.asarray(quadratic) != 0)])
    model.hessian_.index_ = filled
    model.hessian_.value_ = 2.0 * np.asarray(quadratic)[filled]
    assert solver.passModel(model) == highspy.HighsStatus.kOk
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return np.array(solver.getSolution().col_value)


def flow_matrix(grid: RawGrid) -> np.ndarray:
    """Flows of injections that sum to zero, `B_f B⁺` with the pseudo-inverse of B.

    HiGHS gives up on one hour in twenty when it has to carry the angles, which cost nothing; so
    they are eliminated.
    """
    susceptance, line = bus_and_line_matrices(grid)
    return line @ np.linalg.pinv(susceptance)


def _solve(grid, quadratic, linear, injection_of, constant, upper) -> tuple[float, np.ndarray]:
    """Minimise over x with injection `injection_of x + constant` balanced and within the line limits."""
    shift = flow_matrix(grid)
    return minimise(
        quadratic,
        linear,
        np.vstack([injection_of.sum(axis=0), shift @ injection_of]),
        np.concatenate([[-constant.sum()], -grid.limit - shift @ constant]),
        np.concatenate([[-constant.sum()], grid.limit - shift @ constant]),
        np.zeros(len(linear)),
        upper,
    )


def gen_matrix(grid: RawGrid = IEEE14) -> np.ndarray:
    return np.eye(grid.n_buses)[:, grid.raw["gen"][:, 0].astype(int) - 1]


def load_matrix(grid: RawGrid = IEEE14) -> np.ndarray:
    return np.eye(grid.n_buses)[:, grid.load_bus]


def dispatch(forecast: np.ndarray, grid: RawGrid = IEEE14) -> tuple[float, np.ndarray]:
    """Objective and generation (G,) of the dispatch on a forecast (B,) in p.u., by HiGHS."""
    value, p_gen, _ = full_dispatch(forecast, grid)
    return value, p_gen


def full_dispatch(forecast: np.ndarray, grid: RawGrid) -> tuple[float, np.ndarray, np.ndarray]:
    """Objective, generation (G,) and shed load (B,) of the same."""
    n_gens, n_loads = len(grid.c_gen), len(forecast)
    loads = load_matrix(grid)
    quadratic = np.concatenate([grid.q_gen, np.full(n_loads, grid.shed)])
    linear = np.concatenate([grid.c_gen, np.full(n_loads, grid.shed)])
    upper = np.concatenate([grid.p_max, np.full(n_loads, np.inf)])
    value, x = _solve(grid, quadratic, linear, np.hstack([gen_matrix(grid), loads]), -loads @ forecast, upper)
    return value, x[:n_gens], x[n_gens:]


def flows(p_gen: np.ndarray, load: np.ndarray, grid: RawGrid) -> np.ndarray:
    """Line flows (L,) of a generation (G,) and of what is left of the load (B,) after shedding."""
    return flow_matrix(grid) @ (gen_matrix(grid) @ p_gen - load_matrix(grid) @ load)


def redispatch(p_gen: np.ndarray, load: np.ndarray, grid: RawGrid = IEEE14) -> float:
    """Objective of the redispatch once generation (G,) is fixed and the load (B,) known, by HiGHS."""
    gens, loads = gen_matrix(grid), load_matrix(grid)
    quadratic = np.concatenate([np.full(len(load), grid.shed), np.full(len(p_gen), grid.store)])
    constant = gens @ p_gen - loads @ load
    value, _ = _solve(grid, quadratic, quadratic, np.hstack([loads, -gens]), constant, np.full(len(quadratic), np.inf))
    return value


def _opf(grid: RawGrid, load_mw: np.ndarray, generators: np.ndarray, costs: np.ndarray) -> tuple[float, np.ndarray]:
    """PYPOWER's DC OPF with our loads (at all buses) and limits and the generators given."""
    case = {name: np.array(value) if name in ("bus", "branch") else value for name, value in grid.raw.items()}
    case["bus"][:, 2] = load_mw
    case["bus"][:, 4:6] = 0.0  # shunts
    case["branch"][:, 4] = 0.0  # line charging
    case["branch"][:, 8] = 0.0  # taps
    case["branch"][:, 5] = grid.limit * BASE
    case["gen"], case["gencost"] = generators, costs
    options = ppoption(VERBOSE=0, OUT_ALL=0, PDIPM_GRADTOL=1e-9, PDIPM_COMPTOL=1e-9, PDIPM_COSTTOL=1e-9)
    result = rundcopf(case, options)
    assert result["success"]
    return float(result["f"]), result["gen"][:, 1] / BASE


def _generators(buses: np.ndarray, p_min: np.ndarray, p_max: np.ndarray) -> np.ndarray:
    gen = np.zeros((len(buses), 21))
    gen[:, 0], gen[:, 5], gen[:, 6], gen[:, 7] = buses, 1.0, BASE, 1.0
    gen[:, 8], gen[:, 9] = p_max, p_min
    return gen


def _costs(quadratic: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Polynomial costs in MW from costs in p.u."""
    cost = np.zeros((len(linear), 7))
    cost[:, 0], cost[:, 3] = 2, 3
    cost[:, 4], cost[:, 5] = quadratic / BASE**2, linear / BASE
    return cost


def opf_dispatch(forecast: np.ndarray, grid: RawGrid = IEEE14) -> tuple[float, np.ndarray]:
    """The dispatch by PYPOWER: shedding is a dear generator at each bus."""
    base, n_loads = grid.raw["gen"], len(forecast)
    buses = np.concatenate([base[:, 0], grid.load_bus + 1])
    gen = _generators(buses, np.zeros(len(buses)), np.concatenate([base[:, 8], np.full(n_loads, 1e4)]))
    shed = np.full(n_loads, grid.shed)
    cost = _costs(np.concatenate([grid.q_gen, shed]), np.concatenate([grid.c_gen, shed]))
    value, power = _opf(grid, load_matrix(grid) @ forecast * BASE, gen, cost)
    return value, power[: len(base)]


def opf_redispatch(p_gen: np.ndarray, load: np.ndarray, grid: RawGrid = IEEE14) -> float:
    """The redispatch by PYPOWER: fixed generation is negative load, storage a generator that consumes."""
    n_loads, n_gens = len(load), len(p_gen)
    buses = np.concatenate([grid.load_bus + 1, grid.raw["gen"][:, 0]])
    gen = _generators(
        buses,
        np.concatenate([np.zeros(n_loads), np.full(n_gens, -1e4)]),
        np.concatenate([np.full(n_loads, 1e4), np.zeros(n_gens)]),
    )
    quadratic = np.concatenate([np.full(n_loads, grid.shed), np.full(n_gens, grid.store)])
    linear = np.concatenate([np.full(n_loads, grid.shed), np.full(n_gens, -grid.store)])
    balance = load_matrix(grid) @ load - gen_matrix(grid) @ p_gen
    return _opf(grid, balance * BASE, gen, _costs(quadratic, linear))[0]
