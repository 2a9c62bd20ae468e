"""The paper's re-weighting taken to a stationary point on the remaining rows, by Frank-Wolfe with pairwise steps.

`min_ε C(θ(ε))  s.t.  ‖ε − 1‖₁ <= λ₁|R|,  ‖ε − 1‖_∞ <= λ_∞`, where θ(ε) is weighted least squares. The linear program of
eq. 13 in closed form is the oracle. C(θ(ε)) is rational with kinks: what is claimed is a stationary point, and that no
step is worse than the one before; the first may be the published single step, taken at θ_U on R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.errors import SingularHessianError
from unlearn.unlearning.reweighting import Reweighting
from unlearn.unlearning.tuning.methods import Solved, Weights
from unlearn.unlearning.tuning.problem import TuningProblem, WeightedFit

#: Steps where budgets are compared: the first ten gain nearly all.
ROUGH_STEPS = 10

#: Decrease, relative to the one that the slope promises, that a shorter step must reach.
ENOUGH = 1e-4

#: Times that a step is shortened.
SHORTER = 8

#: Share of a corner that counts as none.
NONE = 1e-12


@dataclass(frozen=True)
class _Point:
    """Where the search stands: weights, their moments, the fit, C and ∂C/∂ε."""

    weights: Tensor
    moments: list[Tensor]
    fit: WeightedFit
    value: float
    gradient: Tensor


def solve_weights(problem: TuningProblem, method: Weights) -> Solved:
    """Follow the gradient of `C(θ(ε))` to a stationary point within both budgets."""
    program = Reweighting(float(method.l1_budget or 0.0), method.linf_budget)
    ones = torch.ones(problem.n_rows, dtype=torch.float64)
    point = _at(problem, ones, problem.moments(ones))
    atoms, shares = [ones], [1.0]
    most, steps = problem.at_most(method.steps, ROUGH_STEPS), 0
    bar = tqdm(total=most, desc="Frank-Wolfe steps", leave=False, delay=2)
    while True:
        slope = point.gradient
        corner = torch.from_numpy(program.weights(slope.numpy())).clone()  # aligned, so that bits repeat
        gap = float(slope @ (point.weights - corner))
        if gap <= method.gap * abs(point.value) or steps == most:
            break
        away = max(range(len(atoms)), key=lambda i: float(slope @ atoms[i]))
        moved = None
        # A pairwise step moves weight from the worst corner to the best one: plain steps zigzag where that gains more.
        if float(slope @ (atoms[away] - point.weights)) > gap:
            moved = _search(problem, point, corner - atoms[away], shares[away], method.linf_budget)
        pairwise = moved is not None
        moved = moved or _search(problem, point, corner - point.weights, 1.0, method.linf_budget)
        if moved is None:
            break
        point, length = moved
        atoms, shares = _updated(atoms, shares, corner, away if pairwise else None, length)
        steps += 1
        bar.update()
    bar.close()
    head = problem.weighted_fit(point.weights).head
    parameters = {"l1_budget": program.l1_budget, "linf_budget": program.linf_budget}
    before, after = (problem.value(own) for own in (problem.least_squares, head))
    return Solved(head, parameters, before, after, steps, {"frank_wolfe_gap": gap}, point.weights)


def _at(problem: TuningProblem, weights: Tensor, moments: list[Tensor]) -> _Point:
    fit = problem.weighted_fit(weights, moments)
    value, gradient = problem.value_and_gradient(fit.head)
    return _Point(weights, moments, fit, value, fit.weight_gradient(gradient))


def _search(
    problem: TuningProblem, point: _Point, direction: Tensor, longest: float, linf_budget: float
) -> tuple[_Point, float] | None:
    """The best of the longest step, and of shorter ones until one is good enough, with its length; None if no better.

    A step to weights that do not determine the head counts as no better.
    """
    slope, changes = float(point.gradient @ direction), problem.moments(direction)

    def at(length: float) -> _Point | None:
        # Rounding must not carry a weight past its budget.
        weights = (point.weights + length * direction).clamp(1 - linf_budget, 1 + linf_budget)
        moved = [own + length * change for own, change in zip(point.moments, changes, strict=True)]
        try:
            return _at(problem, weights, moved)
        except SingularHessianError:
            return None

    length, best = longest, at(longest)
    shorter, tried = longest, best
    for _ in range(SHORTER):
        # The parabola through value and slope here and the value there; half-way where it says nothing.
        bend = 0.0 if tried is None else tried.value - point.value - slope * shorter
        shorter *= min(max(-0.5 * slope * shorter / bend, 0.1), 0.9) if bend > 0 else 0.5
        tried = at(shorter)
        if tried is not None and (best is None or tried.value < best.value):
            best, length = tried, shorter
        if best is not None and best.value <= point.value + ENOUGH * slope * length:
            break
    return None if best is None or best.value >= point.value else (best, length)


def _updated(
    atoms: Sequence[Tensor], shares: Sequence[float], corner: Tensor, away: int | None, length: float
) -> tuple[list[Tensor], list[float]]:
    """Corners that the weights are a mixture of, and their shares, after a step."""
    kept = [share if away is not None else share * (1 - length) for share in shares]
    if away is not None:
        kept[away] -= length
    found = [(atom, share) for atom, share in zip(atoms, kept, strict=True) if share > NONE]
    same = [i for i, (atom, _) in enumerate(found) if torch.equal(atom, corner)]
    if same:
        found[same[0]] = (corner, found[same[0]][1] + length)
    else:
        found.append((corner, length))
    return [atom for atom, _ in found], [share for _, share in found]
