"""Dispatch and redispatch written a second time, from PYPOWER's case14 alone, for other solvers.

Nothing of `unlearn.grid` is used here: the matrices come from the branch list, the constants are
typed in from the paper, and the programs go to HiGHS (an active-set QP solver) or to PYPOWER's own
DC optimal power flow (an interior-point solver on a model of its own).
"""

import highspy
import numpy as np
from pypower.api import ppoption, rundcopf
from pypower.case14 import case14

BASE = 100.0
LIMIT = np.array([180, 110, 110, 110, 110, 50, 150, 130, 50, 60, 50, 30, 50, 100, 40, 40, 20, 50, 20, 40]) / BASE
Q_GEN, C_GEN = np.array([4.0, 25, 1, 1, 1]), np.array([20.0, 10, 50, 60, 70])
SHED, STORE = 3500.0, 700.0


def bus_and_line_matrices() -> tuple[np.ndarray, np.ndarray]:
    """B and B_f by hand: a line of reactance x carries (θ_from − θ_to) / x."""
    branch = case14()["branch"]
    line = np.zeros((len(branch), 14))
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
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    # By default HiGHS adds 1e-7 to the Hessian's diagonal, which would be an error of our own making.
    solver.setOptionValue("qp_regularization_value", 0.0)
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    solver.setOptionValue("dual_feasibility_tolerance", 1e-9)
    n = len(linear)
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


def _solve(quadratic, linear, injection_of, constant, upper) -> tuple[float, np.ndarray]:
    """Minimise over x with injection `injection_of x + constant` balanced and within the line limits.

    HiGHS gives up on one hour in twenty when it has to carry the angles, which cost nothing; so
    they are eliminated: `flow = B_f B⁺ injection` with the pseudo-inverse of B.
    """
    susceptance, line = bus_and_line_matrices()
    shift = line @ np.linalg.pinv(susceptance)
    return minimise(
        quadratic,
        linear,
        np.vstack([injection_of.sum(axis=0), shift @ injection_of]),
        np.concatenate([[-constant.sum()], -LIMIT - shift @ constant]),
        np.concatenate([[-constant.sum()], LIMIT - shift @ constant]),
        np.zeros(len(linear)),
        upper,
    )


def gen_matrix() -> np.ndarray:
    gen = case14()["gen"]
    return np.eye(14)[:, gen[:, 0].astype(int) - 1]


def dispatch(forecast: np.ndarray) -> tuple[float, np.ndarray]:
    """Objective and generation of the dispatch on a forecast (14,) in p.u., by HiGHS."""
    p_max = case14()["gen"][:, 8] / BASE
    quadratic = np.concatenate([Q_GEN, np.full(14, SHED)])
    linear = np.concatenate([C_GEN, np.full(14, SHED)])
    upper = np.concatenate([p_max, np.full(14, np.inf)])
    value, x = _solve(quadratic, linear, np.hstack([gen_matrix(), np.eye(14)]), -forecast, upper)
    return value, x[:5]


def redispatch(p_gen: np.ndarray, load: np.ndarray) -> float:
    """Objective of the redispatch once generation (5,) is fixed and the load (14,) known, by HiGHS."""
    quadratic = np.concatenate([np.full(14, SHED), np.full(5, STORE)])
    constant = gen_matrix() @ p_gen - load
    value, _ = _solve(quadratic, quadratic, np.hstack([np.eye(14), -gen_matrix()]), constant, np.full(19, np.inf))
    return value


def _opf(load_mw: np.ndarray, generators: np.ndarray, costs: np.ndarray) -> tuple[float, np.ndarray]:
    """PYPOWER's DC OPF on case14 with our loads and limits and the generators given."""
    case = case14()
    case["bus"][:, 2] = load_mw
    case["bus"][:, 4:6] = 0.0  # shunts
    case["branch"][:, 4] = 0.0  # line charging
    case["branch"][:, 8] = 0.0  # taps
    case["branch"][:, 5] = LIMIT * BASE
    case["gen"], case["gencost"] = generators, costs
    options = ppoption(VERBOSE=0, OUT_ALL=0, PDIPM_GRADTOL=1e-9, PDIPM_COMPTOL=1e-9, PDIPM_COSTTOL=1e-9)
    result = rundcopf(case, options)
    assert result["success"]
    return float(result["f"]), result["gen"][:, 1]


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


def opf_dispatch(forecast: np.ndarray) -> tuple[float, np.ndarray]:
    """The dispatch by PYPOWER: shedding is a dear generator at each bus."""
    base = case14()["gen"]
    buses = np.concatenate([base[:, 0], np.arange(1, 15)])
    gen = _generators(buses, np.zeros(19), np.concatenate([base[:, 8], np.full(14, 1e4)]))
    cost = _costs(np.concatenate([Q_GEN, np.full(14, SHED)]), np.concatenate([C_GEN, np.full(14, SHED)]))
    value, power = _opf(forecast * BASE, gen, cost)
    return value, power[:5] / BASE


def opf_redispatch(p_gen: np.ndarray, load: np.ndarray) -> float:
    """The redispatch by PYPOWER: fixed generation is negative load, storage a generator that consumes."""
    base = case14()["gen"]
    buses = np.concatenate([np.arange(1, 15), base[:, 0]])
    gen = _generators(
        buses,
        np.concatenate([np.zeros(14), np.full(5, -1e4)]),
        np.concatenate([np.full(14, 1e4), np.zeros(5)]),
    )
    quadratic = np.concatenate([np.full(14, SHED), np.full(5, STORE)])
    linear = np.concatenate([np.full(14, SHED), np.full(5, -STORE)])
    return _opf((load - gen_matrix() @ p_gen) * BASE, gen, _costs(quadratic, linear))[0]
