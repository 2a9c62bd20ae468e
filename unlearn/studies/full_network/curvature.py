"""What influence functions and Newton steps say of groups of rows, before any refit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.errors import InputError
from unlearn.influence import ModuleObjective, influence_scores
from unlearn.linalg import GaussNewtonOperator, IhvpOptions, damping_of, lanczos_extremes
from unlearn.studies.full_network.problem import NetworkProblem, block_bounds
from unlearn.studies.full_network.tangent import SETTLED, STEPS, TangentKernel
from unlearn.unlearning import newton_update

#: Relative residual of conjugate gradients: its error is small against the distances that are measured.
RTOL = 1e-2

#: Lanczos steps for the largest curvature alone, which stands far from the others.
FEW_STEPS = 20


@short_repr
@dataclass(frozen=True, eq=False)
class Prediction:
    """What one curvature with one damping says.

    Attributes:
        method: "gauss_newton", "hessian" or "head".
        condition: condition number κ that the damping was set for; 0 where there is none.
        damping: λ, of the Hessian of the sum.
        scores: influence of each row on the MSE of each block of test hours, in p.u.², shape (n, blocks).
        stepped: positions of the groups whose Newton step was taken.
        outputs: standardised forecasts of the test hours after each of these steps, shape (stepped, hours, B);
            NaN where the damped Hessian over the remaining rows is not positive definite.
    """

    method: str
    condition: float
    damping: float
    scores: Tensor
    stepped: list[int]
    outputs: Tensor


class GaussNewtonObjective(ModuleObjective):
    """A module's training problem whose curvature is the Gauss-Newton matrix, for conjugate gradients."""

    def hessian(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> GaussNewtonOperator:
        return self.gauss_newton(theta, weights, damping)


def require_conditions(name: str, conditions: Sequence[float]) -> None:
    """Refuse condition numbers that no damping gives."""
    if not conditions or not min(conditions) > 1:
        raise InputError(
            f"{name}: expected condition numbers above 1, such as [1e6, 1e4, 1e2], got {list(conditions)}."
        )


def criterion_gradients(problem: NetworkProblem, theta: Tensor, split: str, n_blocks: int) -> Tensor:
    """Gradients of the mean MSE in p.u.² over each block of hours, shape (blocks, P)."""
    inputs, _ = problem.judged[split]
    return _block_gradients(problem, lambda point: problem.outputs(point, inputs), theta, split, n_blocks)


def selection_scores(problem: NetworkProblem, theta: Tensor, condition: float) -> FloatArray:
    """Influence of each trained row on the validation MSE, by which groups are picked; shape (n,)."""
    objective = GaussNewtonObjective(
        problem.network(0), problem.inputs[: problem.n_trained], problem.targets[: problem.n_trained]
    )
    ones = torch.ones(problem.n_trained, dtype=torch.float64)
    largest = lanczos_extremes(objective.gauss_newton(theta, ones), FEW_STEPS).largest
    options = IhvpOptions(solver="cg", damping=damping_of(largest, 0.0, condition), rtol=RTOL)
    (gradient,) = criterion_gradients(problem, theta, "validation", 1)
    return influence_scores(objective, theta, gradient, options=options).numpy()


def predict_gauss_newton(
    problem: NetworkProblem, theta: Tensor, groups: Mapping[int, IntArray], conditions: Sequence[float], n_blocks: int
) -> Iterator[Prediction]:
    """Predictions of the Gauss-Newton matrix of the whole network, one per condition number."""
    kernel = TangentKernel(problem, theta)
    gradients = criterion_gradients(problem, theta, "test", n_blocks)
    largest = kernel.largest_curvature()
    for condition in conditions:
        damping = damping_of(largest, 0.0, condition)
        damped = kernel.damped(damping)
        outputs = problem.forecasts(theta + damped.steps(list(groups.values())))
        scores = damped.influence(gradients)
        yield Prediction("gauss_newton", condition, damping, scores, list(groups), outputs)


def predict_hessian(
    problem: NetworkProblem, theta: Tensor, groups: Mapping[int, IntArray], conditions: Sequence[float], n_blocks: int
) -> Iterator[Prediction]:
    """Predictions of the Hessian of the whole network, damped until it is positive definite."""
    objective = problem.objective()
    hessian = objective.hessian(theta, torch.ones(problem.n_trained, dtype=torch.float64))
    ends = lanczos_extremes(hessian, STEPS, tolerance=SETTLED)
    # The residuals bound how far the eigenvalues are from what was found.
    largest, smallest = ends.largest + ends.largest_residual, ends.smallest - ends.smallest_residual
    gradients = criterion_gradients(problem, theta, "test", n_blocks)
    for condition in conditions:
        damping = damping_of(largest, smallest, condition)
        options = IhvpOptions(solver="cg", damping=damping, rtol=RTOL, on_failure="report")
        scores = [
            influence_scores(objective, theta, gradient, options=replace(options, on_failure="raise"))
            for gradient in gradients
        ]
        outputs = []
        for rows in tqdm(groups.values(), desc="Hessian steps", leave=False):
            update = newton_update(objective, theta, rows, options=options)
            # Damped for T, the Hessian over R may still be indefinite: then there is no such step.
            reached = update.theta if update.solution.converged else torch.full_like(theta, torch.nan)
            outputs.append(problem.forecasts(reached[None])[0])
        stacked = torch.stack(outputs)
        yield Prediction("hessian", condition, damping, torch.stack(scores, dim=1), list(groups), stacked)


def predict_head(problem: NetworkProblem, theta: Tensor, groups: Mapping[int, IntArray], n_blocks: int) -> Prediction:
    """Predictions for the analytic head on the network's frozen features."""
    objective, design = problem.head(theta)
    fitted = objective.fit()

    def forecasts(head: Tensor) -> Tensor:
        return design @ head.reshape(objective.n_outputs, -1).T

    slopes = _block_gradients(problem, forecasts, fitted, "test", n_blocks)
    scores = [influence_scores(objective, fitted, slope) for slope in slopes]
    outputs = [forecasts(newton_update(objective, fitted, rows).theta) for rows in groups.values()]
    return Prediction("head", 0.0, 0.0, torch.stack(scores, dim=1), list(groups), torch.stack(outputs))


def refit_head(problem: NetworkProblem, theta: Tensor, keep: Tensor) -> Tensor:
    """Test forecasts of heads fitted by least squares on kept rows (M, n_trained), shape (M, hours, B)."""
    objective, design = problem.head(theta)
    heads = [objective.fit(own.double()).reshape(objective.n_outputs, -1) for own in keep]
    return torch.stack([design @ head.T for head in heads])


def _block_gradients(
    problem: NetworkProblem, forecasts: Callable[[Tensor], Tensor], theta: Tensor, split: str, n_blocks: int
) -> Tensor:
    point = theta.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        hourly = problem.hourly_mse(forecasts(point), split)
        means = [hourly[first:last].mean() for first, last in block_bounds(len(hourly), n_blocks)]
        slopes = [torch.autograd.grad(mean, point, retain_graph=True)[0] for mean in means]
    return torch.stack(slopes)
