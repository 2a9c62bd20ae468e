"""Quantile heads: pinball loss minimised to the accuracy of a linear program, by a smoothed Newton method.

`min_w Σ_i ρ_τ(y_i − w'φ_i)` with `ρ_τ(r) = max(τ r, (τ − 1) r)`. Rounding the kink off over a width ε leaves a Newton
method whose Hessian holds the rows within ε of the quantile alone; ε shrinks until the duality gap is below
`GAP` (Chen's finite smoothing, SIAM J. Sci. Comput. 2007). Its dual is `max a'y` over `Φ'a = 0`, `τ − 1 <= a <= τ`.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from unlearn.criteria import grids_of
from unlearn.errors import ConvergenceError, InputError
from unlearn.unlearning.tuning.methods import Quantile, Solved
from unlearn.unlearning.tuning.problem import TuningProblem, least_norm

#: Duality gap, relative to the loss, at which a quantile head counts as found, and where candidates are compared.
GAP, ROUGH_GAP = 1e-9, 1e-3

#: Newton steps over all widths.
STEPS = 400

#: Factor by which the width shrinks once its problem is solved.
SHRINK = 0.1

#: Decrease that Newton's model promises, relative to the loss, at which a width's problem is solved.
SOLVED = 1e-12

#: Ridge of the Hessian, relative to one row's part.
RIDGE = 1e-8

#: Size of a direction of the features, relative to the largest, from which on it counts.
RANK = 1e-13

#: Longest step.
FARTHEST = 1e9


def taus(problem: TuningProblem, count: int) -> list[float]:
    """Values of τ between 1/2 and the fractile of the prices, 1/2 among them."""
    return [float(tau) for tau in np.linspace(0.5, fractile(problem), count)]


def fractile(problem: TuningProblem) -> float:
    """`(c_ls − λ) / (c_ls + c_gs)`: the quantile of the total load at which shedding and storing balance.

    λ is the marginal cost of generation where forecasts are true, mean over the evaluated rows and loads.

    Raises:
        InputError: a criterion without a grid.
    """
    cost = next(grids_of(problem.criterion), None)
    if cost is None:
        raise InputError(
            f"quantile: criterion {problem.criterion.name!r} has no prices to search τ by. Pass Quantile(tau=...), "
            'or a criterion on a grid, such as "cost".'
        )
    load = problem.evaluated_target.clone().requires_grad_(True)
    with torch.enable_grad():
        generation = cost(load, problem.evaluated_target).generation.sum()
        (slope,) = torch.autograd.grad(generation, load)
    marginal = float(slope[:, problem.live].mean())
    shed, store = cost.case.shedding_cost[1], cost.case.storage_cost[1]
    return float(np.clip((shed - marginal) / (shed + store), 0.05, 0.95))


def solve_quantile(problem: TuningProblem, method: Quantile) -> Solved:
    """Fit the τ-quantile of each load, or move the least-squares heads so that their total is the total's quantile."""
    tau = float(method.tau if method.tau is not None else 0.5)
    start = problem.least_squares
    if method.variant == "total":
        head, losses, gap, steps = _of_total(problem, tau)
    else:
        head, losses, gap, steps = _of_loads(problem, tau)
    parameters = {"tau": tau, "variant": method.variant or "loads"}
    found = {"duality_gap": gap, "pinball": losses}
    return Solved(head, parameters, problem.value(start), problem.value(head), steps, found)


def _of_loads(problem: TuningProblem, tau: float) -> tuple[Tensor, float, float, int]:
    head, losses, gaps, steps = problem.zeros(), 0.0, [0.0], 0
    for outputs, rows in problem.groups:
        own = rows > 0
        design = problem.design[own]
        for output in outputs.tolist():
            found = pinball(design, problem.target[own, output], tau, problem.least_squares[output], _gap(problem))
            head[output], losses = found[0], losses + found[1]
            gaps.append(found[2])
            steps += found[3]
    return head, losses, max(gaps), steps


def _of_total(problem: TuningProblem, tau: float) -> tuple[Tensor, float, float, int]:
    """The total's quantile head, its difference to the total's least squares shared out by mean loads."""
    head = problem.least_squares
    whole = (problem.kept | ~problem.live).all(dim=1)
    design, total = problem.design[whole], problem.target[whole].sum(dim=1)
    quantile, loss, gap, steps = pinball(design, total, tau, head.sum(dim=0), _gap(problem))
    share = problem.target[whole].mean(dim=0)
    share = share / share.sum()
    return head + share[:, None] * (quantile - head.sum(dim=0)), loss, gap, steps


def _gap(problem: TuningProblem) -> float:
    return ROUGH_GAP if problem.rough else GAP


def pinball(
    design: Tensor, target: Tensor, tau: float, start: Tensor, accuracy: float = GAP
) -> tuple[Tensor, float, float, int]:
    """Minimise the summed pinball loss of one output.

    Args:
        design: Φ, shape (n, D).
        target: y, shape (n,).
        tau: τ in (0, 1).
        start: where Newton begins, shape (D,).
        accuracy: relative duality gap at which it ends.

    Returns:
        w, shape (D,); its loss; the relative duality gap; Newton steps.

    Raises:
        ConvergenceError: the gap stayed above that.
    """
    # Orthonormal columns: the Hessian is that of rows near the quantile, and dependent features do not spoil it.
    basis, sizes, axes = torch.linalg.svd(design, full_matrices=False)
    known = sizes > RANK * sizes[0]
    axes, sizes, basis = axes[known], sizes[known] / len(design) ** 0.5, basis[:, known] * len(design) ** 0.5
    w = sizes * (axes @ start)
    residual = target - basis @ w
    # Half of the rows are within the first width, so that the first Hessian has full rank.
    width, gap = float(residual.abs().median()) or 1.0, np.inf
    for step in range(1, STEPS + 1):
        dual = _dual(residual, width, tau)
        slope = basis.T @ dual
        newton = _newton(basis[residual.abs() < width], slope, width)
        loss = float((residual * (tau - (residual < 0).double())).sum())
        if float(slope @ newton) <= SOLVED * max(loss, 1e-300):
            # Where Φ'a = 0, a'y bounds every loss from below; what is left of Φ'a is beyond what is asked for.
            gap = (loss - float(dual @ residual)) / max(loss, 1e-300)
            if gap <= accuracy:
                return axes.T @ (w / sizes), loss, gap, step
            width *= SHRINK
            continue
        w = w + _length(residual, basis @ newton, width, tau) * newton
        residual = target - basis @ w
    raise ConvergenceError(
        f"quantile: pinball loss at τ = {tau:.3g} ended with a relative duality gap of {gap:.1e} after {STEPS} steps, "
        f"expected {accuracy:.0e}. Are features nearly dependent, or loads the same in many rows?"
    )


def _dual(residual: Tensor, width: float, tau: float) -> Tensor:
    """Slope a of the smoothed loss in the residual, within [τ − 1, τ]."""
    return (residual / (2 * width) + tau - 0.5).clamp(tau - 1, tau)


def _newton(near: Tensor, slope: Tensor, width: float) -> Tensor:
    hessian = near.T @ near
    # Fewer rows than columns may be near; this keeps the step finite, and is small beside the part of one row.
    hessian.diagonal().add_(RIDGE)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if int(failed):
        return 2 * width * least_norm(hessian, slope[:, None])[:, 0]
    return 2 * width * torch.cholesky_solve(slope[:, None], factor)[:, 0]


def _length(residual: Tensor, change: Tensor, width: float, tau: float) -> float:
    """Length at which the slope of the smoothed loss, which is convex, turns from falling to rising."""

    def slope(length: float) -> float:
        return -float(_dual(residual - length * change, width, tau) @ change)

    low, high = 0.0, 1.0
    while slope(high) < 0 and high < FARTHEST:
        low, high = high, 2 * high
    if slope(low) >= 0 or slope(high) <= 0:
        return high
    return float(brentq(slope, low, high, xtol=1e-15, rtol=1e-12))
