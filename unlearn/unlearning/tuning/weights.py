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

#: Decrease, relative to the one that the slope promises, that a shorter step must reach.
ENOUGH = 1e-4

#: Times that a step is shortened.
HALVINGS = 8


@dataclass
class _Point:
    """Where the search stands: weights, their Gram matrices, fit and criterion."""

    weights: Tensor
    grams: list[Tensor]
    fit: WeightedFit
    value: float


def solve_weights(problem: TuningProblem, method: Weights) -> Solved:
    """Follow the gradient of `C(θ(ε))` to a stationary point within both budgets."""
    program = Reweighting(float(method.l1_budget or 0.0), method.linf_budget)
    ones = torch.ones(problem.n_rows, dtype=torch.float64)
    point = _at(problem, ones, [problem.gram(rows) for _, rows in problem.groups])
    before, gap, steps = point.value, 0.0, 0
    atoms, shares = [ones], [1.0]
    most = problem.at_most(method.steps)
    for steps in tqdm(range(most + 1), desc="weights", leave=False, delay=2):
        value, gradient = problem.value_and_gradient(point.fit.head)
        slope = point.fit.weight_gradient(gradient)
        corner = torch.from_numpy(program.weights(slope.numpy()))
        gap = float(slope @ (point.weights - corner))
        if gap <= method.gap * abs(value) or steps == most:
            break
        away = max(range(len(atoms)), key=lambda i: float(slope @ atoms[i]))
        # A pairwise step moves weight from the worst corner to the best one; plain steps zigzag where that pays more.
        pairwise = float(slope @ (atoms[away] - point.weights)) > gap
        longest = shares[away] if pairwise else 1.0
        direction = corner - (atoms[away] if pairwise else point.weights)
        moved, length = _search(problem, point, direction, float(slope @ direction), longest)
        if moved is None and pairwise:
            pairwise, direction = False, corner - point.weights
            moved, length = _search(problem, point, direction, -gap, 1.0)
        if moved is None:
            break
        point = moved
        atoms, shares = _updated(atoms, shares, corner, away if pairwise else None, length)
    fit = problem.weighted_fit(point.weights)
    parameters = {"l1_budget": program.l1_budget, "linf_budget": program.linf_budget}
    return Solved(fit.head, parameters, before, problem.value(fit.head), steps, {"frank_wolfe_gap": gap}, point.weights)


def _at(problem: TuningProblem, weights: Tensor, grams: list[Tensor]) -> _Point:
    fit = problem.weighted_fit(weights, grams)
    return _Point(weights, grams, fit, problem.value(fit.head))


def _search(
    problem: TuningProblem, point: _Point, direction: Tensor, slope: float, longest: float
) -> tuple[_Point | None, float]:
    """The best of the longest step, and of shorter ones until one is good enough; None if none is better."""
    changes = [problem.gram(direction * rows) for _, rows in problem.groups]

    def at(length: float) -> _Point | None:
        weights = (point.weights + length * direction).clamp_min(0.0)
        grams = [gram + length * change for gram, change in zip(point.grams, changes, strict=True)]
        try:
            return _at(problem, weights, grams)
        except SingularHessianError:
            return None

    best, length = at(longest), longest
    shorter = longest
    for _ in range(HALVINGS):
        value = best.value if best is not None and length == shorter else None
        # The parabola through value and slope here and the value there; half-way where it says nothing.
        bend = 0.0 if value is None else value - point.value - slope * shorter
        shorter *= min(max(-0.5 * slope * shorter / bend, 0.1), 0.9) if bend > 0 else 0.5
        tried = at(shorter)
        if tried is not None and (best is None or tried.value < best.value):
            best, length = tried, shorter
            continue
        if best is not None and best.value <= point.value + ENOUGH * slope * length:
            break
    if best is None or best.value >= point.value:
        return None, 0.0
    return best, length


def _updated(
    atoms: Sequence[Tensor], shares: Sequence[float], corner: Tensor, away: int | None, length: float
) -> tuple[list[Tensor], list[float]]:
    """Corners that the weights are a mixture of, and their shares, after a step."""
    kept = list(shares) if away is not None else [share * (1 - length) for share in shares]
    if away is not None:
        kept[away] -= length
    found = [(atom, share) for atom, share in zip(atoms, kept, strict=True) if share > 1e-12]
    same = next((i for i, (atom, _) in enumerate(found) if torch.equal(atom, corner)), None)
    if same is None:
        found.append((corner, length))
    else:
        found[same] = (corner, found[same][1] + length)
    return [atom for atom, _ in found], [share for _, share in found]
