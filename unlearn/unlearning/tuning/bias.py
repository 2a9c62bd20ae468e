"""Tunings that correct a bias: one factor for all loads, or a factor and a constant for each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unlearn.unlearning.tuning.methods import Affine, Scale, Solved
from unlearn.unlearning.tuning.problem import TuningProblem

#: Factors that are tried before the best of them is refined, and where candidates are compared.
FACTORS, ROUGH_FACTORS = 31, 11

#: Width of k below which its search ends; a criterion is flat at its minimum.
ACCURACY = 1e-7

#: Share of the loads that a unit of L-BFGS's variables stands for: its first step is one unit long.
STEP = 0.1

#: Steps of L-BFGS where trust weights are compared.
ROUGH_STEPS = 20

#: Relative step of the difference that tells how steep the criterion still is.
_STEP = 1e-6


def solve_scale(problem: TuningProblem, method: Scale) -> Solved:
    """Find the factor of least criterion on left-out forecasts: a grid, then Brent's method around its best point."""
    from scipy.optimize import minimize_scalar

    forecast = problem.left_out
    before = problem.mean_criterion(forecast)
    n_factors = ROUGH_FACTORS if problem.rough else FACTORS
    tried = np.unique([*np.geomspace(method.low, method.high, n_factors), *((1.0,) if _spans_one(method) else ())])
    found = [problem.mean_criterion(float(k) * forecast) for k in tried]
    best = int(np.argmin(found))
    low, high = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    refined = minimize_scalar(
        lambda k: problem.mean_criterion(float(k) * forecast),
        bounds=(float(low), float(high)),
        method="bounded",
        options={"xatol": ACCURACY},
    )
    factor, after = (float(refined.x), float(refined.fun))
    if found[best] <= after:
        factor, after = float(tried[best]), found[best]
    steep = [problem.mean_criterion(factor * (1 + step) * forecast) for step in (-_STEP, _STEP)]
    slope = (steep[1] - steep[0]) / (2 * _STEP * factor)
    steps = len(tried) + int(refined.nfev)
    head = factor * problem.least_squares
    return Solved(head, {"k": factor}, before, after, steps, {"gradient_norm": abs(slope)})


def _spans_one(method: Scale) -> bool:
    return method.low <= 1 <= method.high


def solve_affine(problem: TuningProblem, method: Affine) -> Solved:
    """Find factor and constant of each load of least criterion on left-out forecasts, by L-BFGS from the best scale.

    The variables are the level of a load and the spread about its mean, in units of its mean, so that one step means as
    much for either. Moves away from the best scale are held back by μ/2 times the mean squared change of forecasts: the
    grid hardly minds which bus is wrong.
    """
    forecast, trust = problem.left_out, float(method.trust or 0.0)
    # The same for every trust weight that is tried.
    scale = problem.cached("scale", lambda: solve_scale(problem, Scale()).parameters["k"])
    mean, spread = forecast.mean(dim=0), forecast.std(dim=0)
    size = STEP * torch.where(problem.live, problem.evaluated_target.mean(dim=0), 0.0)
    about = (forecast - mean) / torch.where(spread > 0, spread, torch.inf)

    def change(x: np.ndarray) -> Tensor:
        level, slope = torch.from_numpy(x).reshape(2, -1)
        return size * (level + slope * about)

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        moved = change(x)
        value, slope = problem.slope(scale * forecast + moved)
        value += 0.5 * trust * float(moved.square().sum(dim=1).mean())
        slope = slope + trust / len(moved) * moved
        gradient = torch.stack([(slope * size).sum(dim=0), (slope * size * about).sum(dim=0)])
        return value, gradient.reshape(-1).numpy()

    first = np.zeros(2 * problem.n_outputs)
    x, _, steps, gradient = descend(evaluate, first, problem.at_most(method.steps, ROUGH_STEPS))
    level, slope = torch.from_numpy(x).reshape(2, -1)
    steeper = torch.where(spread > 0, size * slope / spread, 0.0)
    constant, factor = size * level - steeper * mean, scale + steeper
    head = factor[:, None] * problem.least_squares
    head[:, -1] += constant  # the design ends with the intercept's ones
    parameters = {"mu": trust, "a_pu": constant.tolist(), "k": factor.tolist()}
    before, after = (problem.mean_criterion(own) for own in (forecast, scale * forecast + change(x)))
    return Solved(head, parameters, before, after, steps, {"gradient_norm": float(np.linalg.norm(gradient))})


def descend(evaluate, start: np.ndarray, steps: int) -> tuple[np.ndarray, float, int, np.ndarray]:  # type: ignore[no-untyped-def]
    """L-BFGS that returns the best point that it saw: at kinks a line search may end on a worse one.

    Args:
        evaluate: value and gradient at a point.
        start: where it begins.
        steps: at most.

    Returns:
        Point, value, steps, gradient there.
    """
    from scipy.optimize import minimize

    best: list = [np.inf, start, np.zeros_like(start)]

    def watched(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = evaluate(x)
        if value < best[0]:
            best[:] = [value, x.copy(), gradient.copy()]
        return value, gradient

    found = minimize(watched, start, jac=True, method="L-BFGS-B", options={"maxiter": steps, "ftol": 1e-10})
    return best[1], float(best[0]), int(found.nit), best[2]
