"""The head on the criterion itself, held near the least-squares one."""

from __future__ import annotations

import numpy as np
import torch

from unlearn.unlearning.tuning.bias import ROUGH_STEPS, STEP, descend
from unlearn.unlearning.tuning.methods import Head, Solved
from unlearn.unlearning.tuning.problem import TuningProblem


def solve_head(problem: TuningProblem, method: Head) -> Solved:
    """Minimise `C(θ) + μ/2 ‖θ − θ_U‖²_{G/n}` by L-BFGS with the exact gradient.

    The variables are the moves of the head in coordinates in which `G/n` is the identity, where a move's square is the
    mean squared change of forecasts: least squares has taken out what makes the problem ill-conditioned.
    """
    trust = float(method.trust or 0.0)
    start = problem.least_squares
    size = STEP * np.sqrt(float(problem.target.square().mean()))
    roots = [torch.linalg.cholesky(_mean_gram(problem, rows)) for _, rows in problem.groups]

    def move(x: np.ndarray) -> torch.Tensor:
        moved, given = problem.zeros(), size * torch.from_numpy(x).reshape(start.shape)
        for (outputs, _), root in zip(problem.groups, roots, strict=True):
            moved[outputs] = torch.linalg.solve_triangular(root.T, given[outputs].T, upper=True).T
        return moved

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = problem.value_and_gradient(start + move(x))
        slope = torch.zeros_like(gradient)
        for (outputs, _), root in zip(problem.groups, roots, strict=True):
            slope[outputs] = torch.linalg.solve_triangular(root, gradient[outputs].T, upper=False).T
        pull = trust * size**2 * x
        return value + 0.5 * float(pull @ x), size * slope.reshape(-1).numpy() + pull

    first = np.zeros(start.numel())
    before = problem.value(start)
    x, _, steps, gradient = descend(evaluate, first, problem.at_most(method.steps, ROUGH_STEPS))
    head = start + move(x)
    stationarity = {"gradient_norm": float(np.linalg.norm(gradient))}
    return Solved(head, {"mu": trust}, before, problem.value(head), steps, stationarity)


def _mean_gram(problem: TuningProblem, rows: torch.Tensor) -> torch.Tensor:
    gram = (rows[:, None] * problem.design).T @ problem.design / rows.sum()
    # The coordinates need a root; a ridge of rounding's size keeps it where columns are nearly dependent.
    gram.diagonal().add_(problem.ridge / float(rows.sum()) + 1e-14 * float(gram.diagonal().max()))
    return gram
