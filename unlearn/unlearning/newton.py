"""Complete unlearning by a Newton step, and the refit that it equals."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlearn.checks import IntArray, require_choice, require_rows
from unlearn.errors import InputError
from unlearn.forecasters import HeadObjective
from unlearn.linalg import IhvpOptions, Objective, Solution, inverse_hvp

#: The published forms: eq. 8, the same step from the remaining gradient, and the first-order variant.
FORMS = ("unlearn_gradient", "remain_gradient", "first_order")


@dataclass(frozen=True, eq=False)
class Update:
    """New parameters and how they were found.

    Attributes:
        theta: shape (P,).
        weights: weight of every training sample, 0 on the unlearnt ones, shape (n,).
        solution: the linear solve behind the step.
    """

    theta: Tensor = field(repr=False)
    weights: Tensor = field(repr=False)
    solution: Solution


def newton_update(
    objective: Objective,
    theta: Tensor,
    unlearn: IntArray,
    form: str = "unlearn_gradient",
    options: IhvpOptions | None = None,
    weights: Tensor | None = None,
) -> Update:
    """Remove the influence of the samples U from θ*.

    - "unlearn_gradient" (eq. 8): `θ* + H_R⁻¹ Σ_U ∇ℓ_j(θ*)`;
    - "remain_gradient": `θ* − H_R⁻¹ Σ_R ∇ℓ_i(θ*)`;
    - "first_order": `θ* + H_T⁻¹ Σ_U ∇ℓ_j(θ*)`, incomplete because its Hessian still holds U.

    The first two agree where the gradient over T vanishes, and for a quadratic loss both equal
    retraining on R. At an early-stopped θ* they differ: the second one also takes the step that
    training left over. Damping breaks the equality with retraining.

    Args:
        objective: the training problem on T.
        theta: its minimiser θ*, shape (P,).
        unlearn: rows of T to remove.
        form: one of `FORMS`.
        options: how to solve with the Hessian.
        weights: weights that θ* is the minimiser for, shape (n,), 0 on what was forgotten before;
            None means ones.

    Raises:
        InputError: U empty, all that is left or forgotten before; rows out of range or repeated;
            NaN parameters.
        SingularHessianError: the remaining samples do not determine the parameters.
    """
    require_choice("form", form, FORMS)
    options = options or IhvpOptions()
    before = torch.ones(objective.n_samples, dtype=torch.float64) if weights is None else weights
    after = remain_weights(objective, unlearn, before)
    if form == "remain_gradient":
        slope = -objective.gradient(theta, after)
    else:
        slope = objective.gradient(theta, before - after, regularised=False)
    solution = inverse_hvp(objective, theta, before if form == "first_order" else after, slope, options)
    return Update(theta + solution.value, after, solution)


def remain_weights(objective: Objective, unlearn: IntArray, weights: Tensor | None = None) -> Tensor:
    """Weights, shape (n,), (ones unless given) with 0 on the samples to unlearn; refuses an empty or total set."""
    rows = require_rows("rows to unlearn", unlearn, objective.n_samples)
    before = torch.ones(objective.n_samples, dtype=torch.float64) if weights is None else weights
    if not rows.size:
        raise InputError("rows to unlearn: expected at least one, got none; nothing to forget.")
    if not before[rows].any():
        raise InputError(f"rows to unlearn: none of the {rows.size} has a weight in this model; nothing to forget.")
    after = before.clone()
    after[rows] = 0.0
    if not after.any():
        raise InputError(
            f"rows to unlearn: got all {int((before > 0).sum())} training rows; nothing would remain to define the "
            "model. Keep some rows, or discard the model."
        )
    return after


def retrain(objective: HeadObjective, unlearn: IntArray, weights: Tensor | None = None) -> Tensor:
    """Refit a head from the remaining data by least squares, without using the trained one.

    Args:
        objective: the training problem on T.
        unlearn: rows of T to leave out.
        weights: weights before the removal, shape (n,); None means ones.

    Returns:
        θ, shape (P,).

    Raises:
        InputError: rows empty, total, out of range or repeated.
        SingularHessianError: the remaining samples do not determine the parameters.
    """
    return objective.fit(remain_weights(objective, unlearn, weights))


def relative_distance(theta: Tensor, reference: Tensor) -> float:
    """`‖θ − θ_ref‖ / ‖θ_ref‖`."""
    return float((theta - reference).norm() / reference.norm())
