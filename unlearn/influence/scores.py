"""Influence of training samples on a criterion (paper eqs. 10-15 and 23).

*Sign convention, the only one in this library*: the influence of a sample on a criterion is the
change of the criterion if that sample is removed and the model refitted. Positive means helpful,
because removal makes a cost worse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import FloatArray
from unlearn.criteria import Criterion
from unlearn.errors import ConvergenceError, InputError, counted_from
from unlearn.forecasters import Forecaster
from unlearn.linalg import IhvpOptions, Objective, inverse_hvp


@dataclass(frozen=True, eq=False)
class CriterionGradient:
    """Value and gradient of `C(θ) = mean_i c_i(θ)` at a model's head.

    Attributes:
        gradient: ∇C, shape (P,).
        values: c_i of every evaluation sample, shape (n,).
        criterion: its name.
    """

    gradient: Tensor = field(repr=False)
    values: Tensor = field(repr=False)
    criterion: str


def criterion_gradient(
    model: Forecaster,
    criterion: Criterion,
    features: FloatArray,
    load_pu: FloatArray,
    chunk: int = 256,
) -> CriterionGradient:
    """Differentiate the mean criterion over evaluation samples with respect to the head.

    Args:
        model: fitted forecaster.
        criterion: what to judge by.
        features: raw features of the evaluation samples, shape (n, B, F).
        load_pu: their true loads, shape (n, B).
        chunk: samples that are differentiated at once; the result does not depend on it.

    Raises:
        InputError: no samples, or a model without finite parameters.
    """
    if not len(load_pu):
        raise InputError(f"{criterion.name} gradient: expected evaluation samples, got none.")
    theta = model.theta
    if not bool(theta.isfinite().all()):
        raise InputError("parameters: expected finite values, got NaN or infinity; was the model trained?")
    total = torch.zeros_like(theta)
    values = []
    starts = range(0, len(load_pu), chunk)
    for start in tqdm(starts, desc=f"{criterion.name} gradient", leave=False) if len(starts) > 3 else starts:
        rows = slice(start, start + chunk)
        with torch.no_grad():
            design = model.design(torch.from_numpy(features[rows]))
        head = theta.reshape(model.head.shape).requires_grad_(True)
        with torch.enable_grad(), counted_from(start):
            value = criterion(design @ head.T, torch.from_numpy(load_pu[rows]))
            _require_per_sample(criterion, value, len(design))
            (slope,) = torch.autograd.grad(value.sum(), head)
        total += slope.reshape(-1)
        values.append(value.detach())
    return CriterionGradient(total / len(load_pu), torch.cat(values), criterion.name)


def influence_scores(
    objective: Objective,
    theta: Tensor,
    gradient: Tensor,
    weights: Tensor | None = None,
    options: IhvpOptions | None = None,
) -> Tensor:
    """Influence of removing each training sample on a criterion, `∇C' H⁻¹ ∇ℓ_i`.

    Args:
        objective: the training problem.
        theta: its minimiser, shape (P,).
        gradient: ∇C at θ, shape (P,).
        weights: samples that make up the Hessian (1 or 0), shape (n,); None means all of T.
        options: how to solve with the Hessian.

    Returns:
        Change of the criterion per removed sample, shape (n,); positive means helpful. Samples of
        weight 0 are scored too.

    Raises:
        ConvergenceError: an iterative solve did not converge, even if `options` only asks to report it.
    """
    counted = torch.ones(objective.n_samples, dtype=theta.dtype) if weights is None else weights
    solved = inverse_hvp(objective, theta, counted, gradient, options or IhvpOptions())
    if not solved.converged:
        raise ConvergenceError(
            f"influence: the Hessian system ended with status {solved.status!r}; scores would be wrong."
        )
    return objective.gradient_products(theta, solved.value)


def _require_per_sample(criterion: Criterion, value: object, n: int) -> None:
    """Refuse a criterion that does not keep the protocol, whose gradient would be silently wrong."""
    if not isinstance(value, Tensor) or value.shape != (n,) or not value.requires_grad:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        detached = " without a gradient" if isinstance(value, Tensor) and not value.requires_grad else ""
        raise InputError(
            f"criterion {criterion.name}: expected a differentiable tensor with one value per hour, shape ({n},), "
            f"got {got}{detached}."
        )
