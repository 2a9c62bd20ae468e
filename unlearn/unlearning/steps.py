"""Complete unlearning by a Newton step, the refit that it equals, and what both are on a forecaster's head.

The Hessian is block diagonal over outputs, so outputs whose weights differ (because single loads were
forgotten before) are problems of their own. Which route an exact step takes:

1. the model's sufficient statistics, downdated by the removed rows, if the error they estimate for
   the head is at most `ACCURACY`;
2. statistics summed up anew from what remains, if that helps;
3. Newton steps with the weighted design (its Cholesky or QR route, see `unlearn.linalg.gram`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from unlearn.checks import IntArray, require_choice, require_rows
from unlearn.data import LoadDataset
from unlearn.errors import InputError, SingularHessianError
from unlearn.forecasters import Forecaster, HeadObjective, HeadStatistics
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


#: Relative distance up to which a head counts as the minimum of its training problem: far above the
#: rounding of a least-squares fit, far below what any sample moves.
AT_MINIMUM = 1e-8
#: Statistics where no output had to be solved for.
NO_SOLVE: dict[str, float | str] = {"solver": "none", "relative_residual": 0.0, "error_estimate": 0.0}


@dataclass(frozen=True, eq=False)
class Step:
    """What a step leads to.

    Attributes:
        theta: new head, shape (P,).
        weights: new weights, shape (n, B).
        statistics: of the worst solve.
        stationarity_before: how far the old head was from its minimum, relatively, where the form keeps that.
        sums: sufficient statistics at the new weights.
        accurate: whether the solve itself says that it is accurate.
    """

    theta: Tensor = field(repr=False)
    weights: Tensor = field(repr=False)
    statistics: dict[str, float | str]
    stationarity_before: float
    sums: HeadStatistics | None = field(default=None, repr=False)
    accurate: bool = True

    def without(self, outputs: Tensor, model: Forecaster) -> Step:
        """The step after which outputs that have no row left forecast 0 (least squares of least norm on no row)."""
        if not len(outputs):
            return self
        head = self.theta.reshape(model.head.shape).clone()
        head[outputs] = 0.0
        return replace(self, theta=head.reshape(-1), sums=None if self.sums is None else self.sums.without(outputs))


def exact_step(
    model: Forecaster, dataset: LoadDataset, rows: IntArray, after: Tensor, outputs: Tensor, form: str, verify: bool
) -> Step:
    """Forget rows completely by the first of the three routes that is accurate enough.

    Args:
        model: the model before the step.
        dataset: the data set it was fitted on.
        rows: positions in the head's training rows.
        after: new weights, shape (n, B).
        outputs: positions of the outputs that change, each with rows left.
        form: "unlearn_gradient" or "remain_gradient".
        verify: sum up the data anew instead of trusting the model's statistics.

    Raises:
        SingularHessianError: what remains does not determine the parameters.
    """
    known = None if verify else model.statistics
    before = known or summed_up(model.objective(dataset), model.weights)
    where = model.training_rows(dataset)[rows]
    target = torch.from_numpy(dataset.load_pu[where])
    design = model.design_of(dataset, where)
    sums = before.remove(design, target, model.weights[rows], outputs, model.design_noise)
    step = _step_if_accurate(model, before, sums, after, outputs, form)
    if step is None:
        objective = model.objective(dataset)
        sums = summed_up(objective, after)
        step = _step_if_accurate(model, before, sums, after, outputs, form)
        if step is None:
            step = newton_step(model, objective, rows, outputs, form, IhvpOptions())
    return replace(step, sums=sums)


def _step_if_accurate(
    model: Forecaster, before: HeadStatistics, sums: HeadStatistics, after: Tensor, outputs: Tensor, form: str
) -> Step | None:
    try:
        step = statistics_step(model, before, sums, after, outputs, form)
    except (InputError, SingularHessianError):
        return None  # too ill-conditioned for statistics; the data decides
    return step if step.accurate else None


def statistics_step(
    model: Forecaster, before: HeadStatistics, sums: HeadStatistics, after: Tensor, outputs: Tensor, form: str
) -> Step:
    """The step to the minimum that the statistics `sums` at the new weights `after` (n, B) define.

    The form "unlearn_gradient" keeps the step that training left over, H_R⁻¹ times the old
    gradient (from the statistics `before`): 0 up to rounding, and left out, for a head at its minimum.

    Raises:
        InputError: statistics of rows that had never been added.
        SingularHessianError: what remains does not determine the parameters.
    """
    head, stationarity_before = model.head.clone(), 0.0
    ridge = 0.5 * model.card.l2 * len(head)  # (l2/2)‖W‖² in units of the loss's 1/B
    solutions = []
    for group in sums.members(outputs):
        now, then = sums.of_output(int(group[0])), before.of_output(int(group[0]))
        solutions.append(now.solve(group, ridge, model.column_names()))
        old = model.head[group]
        head[group] = solutions[-1].value.reshape(old.shape)
        if form == "remain_gradient":
            continue
        slope = then.slope(old, group, ridge)
        left = float(then.newton_step(slope, ridge).norm() / old.norm())
        if left > AT_MINIMUM:
            head[group] += now.newton_step(slope, ridge)
        stationarity_before = max(stationarity_before, left)
    worst = max((s.statistics for s in solutions), key=lambda found: float(found["error_estimate"]), default=NO_SOLVE)
    accurate = all(s.converged for s in solutions) and bool(head.isfinite().all())
    return Step(head.reshape(-1), after, worst, stationarity_before, sums, accurate)


def newton_step(
    model: Forecaster, objective: HeadObjective, rows: IntArray, outputs: Tensor, form: str, ihvp: IhvpOptions
) -> Step:
    """Forget rows in some outputs by a Newton step of any form, from the weights that each of them has now."""
    theta, head, weights = model.theta, model.head.clone(), model.weights.clone()
    solves: list[dict[str, float | str]] = []
    stationarity_before = 0.0
    for before, group in model.weight_groups(outputs):
        update = newton_update(objective, theta, rows, form, ihvp, before)
        head[group] = update.theta.reshape(head.shape)[group]
        weights[:, group] = update.weights[:, None]
        solves.append(update.solution.statistics)
        left = inverse_hvp(objective, theta, before, objective.gradient(theta, before), ihvp).value
        stationarity_before = max(
            stationarity_before, float(left.reshape(head.shape)[group].norm() / model.head[group].norm())
        )
    worst = max(solves, key=lambda found: float(found["relative_residual"]), default=NO_SOLVE)
    return Step(head.reshape(-1), weights, worst, stationarity_before, summed_up(objective, weights))


def summed_up(objective: HeadObjective, weights: Tensor) -> HeadStatistics:
    """Sufficient statistics from the data, at weights (n, B)."""
    return HeadStatistics.of(objective.design, objective.target, weights)


def require_trained(model: Forecaster) -> None:
    """Refuse a head with NaN or infinite parameters."""
    if not bool(model.head.isfinite().all()):
        raise InputError("parameters: expected finite values, got NaN or infinity; was the model trained?")


def retrained_head(model: Forecaster, objective: HeadObjective, rows: IntArray, outputs: Tensor) -> Tensor:
    """The head that refitting those outputs, each with rows left, on what remains gives, shape (P,)."""
    head = model.head.clone()
    for before, group in model.weight_groups(outputs):
        head[group] = retrain(objective, rows, before).reshape(head.shape)[group]
    return head.reshape(-1)


def distance_to_other_solver(model: Forecaster) -> float | None:
    """How far a head that was fitted to the data is from the one that its sums give; None where these are too rough."""
    live = model.weights.any(dim=0).nonzero()[:, 0]
    if model.statistics is None:
        return None
    try:
        step = statistics_step(model, model.statistics, model.statistics, model.weights, live, "remain_gradient")
    except (InputError, SingularHessianError):
        return None
    return relative_distance(model.theta, step.theta) if step.accurate else None


def common_forgotten(model: Forecaster) -> Tensor:
    """Rows that all outputs have forgotten, (n,); refuses a model whose outputs differ in theirs."""
    if (model.forgotten != model.forgotten[:, :1]).any():
        raise InputError(
            "criterion: this model has forgotten single loads, so its outputs have different weights; re-weight before "
            "forgetting single loads, or use forget."
        )
    return model.forgotten[:, 0]
