"""One step of forgetting: `damped_step` for any module; for a forecaster, which outputs change, from which weights, to
which head.

A head's Hessian is block diagonal over outputs, so outputs whose weights differ (because single loads were
forgotten before) are problems of their own. Which route an exact step takes:

1. the model's sufficient statistics, downdated by the removed rows, if the error they estimate for
   the head is at most `ACCURACY`;
2. statistics summed up anew from what remains, if that helps;
3. Newton steps with the weighted design (its Cholesky or QR route, see `unlearn.linalg.gram`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import IntArray
from unlearn.data import LoadDataset
from unlearn.errors import ConvergenceError, InputError, SingularHessianError
from unlearn.forecasters import Forecaster, HeadObjective, HeadStatistics
from unlearn.influence.cg import CGInfluenceModule
from unlearn.influence.preconditioner import risk_blocks
from unlearn.influence.risk import TrainingRisk
from unlearn.linalg import IhvpOptions, inverse_hvp, solve_cg
from unlearn.unlearning.newton import newton_update, retrain

#: Share of the promised decrease of T below which a step is taken again with more damping.
ENOUGH = 0.25
#: Factor by which damping grows, and how often at most.
GROWTH, MAX_TRIALS = 10.0, 15


@dataclass(frozen=True, eq=False)
class DampedStep:
    """A step from θ*.

    Attributes:
        theta: new parameters, shape (P,).
        damping: λ that it was taken with.
        gain: decrease of T as a share of what the quadratic model promised; 1 for a quadratic loss.
        gradient_ratio_after: norm of the gradient of T after it, as a share of ‖g‖: 0 says that T is minimised.
        stationarity_before: norm of what training had left, as a share of ‖g‖.
        steps: of conjugate gradients, in all trials.
        relative_residual: of the last system.
    """

    theta: Tensor = field(repr=False)
    damping: float
    gain: float
    gradient_ratio_after: float
    stationarity_before: float
    steps: int
    relative_residual: float


def damped_step(influence: CGInfluenceModule, unlearn: IntArray, damp: float | str) -> DampedStep:
    """Take the step for the rows U.

    Args:
        influence: the model, its rows and its solver.
        unlearn: U, some of the training rows.
        damp: λ, or "auto": that of `damping_choice` for the remaining rows, or the first of 10 λ, 100 λ, ... whose
            step lowers T by at least a quarter of what its model promises (Levenberg-Marquardt).

    Raises:
        ConvergenceError: a system was not solved, or no damping gives a step that lowers T.
    """
    risk, theta = influence.risk, influence.risk.flat.theta
    remain = np.setdiff1d(np.arange(risk.samples.size), unlearn)
    slope = risk.gradient(theta, unlearn) * (len(unlearn) / len(remain))
    old_gradient = risk.gradient(theta) * (risk.samples.size / len(remain))
    tilted = _Tilted(risk, remain, old_gradient)
    auto = damp == "auto"
    damping, next_damping = influence.damp, 0.0
    if auto:
        choice = influence.damping_choice(influence.gnh, remain.tolist())
        damping, next_damping = choice.damping, choice.extremes.largest / choice.condition
    try:
        inverse = risk_blocks(risk, theta)
    except InputError:  # the model does not end in a linear layer
        inverse = None
    options = IhvpOptions("cg", rtol=influence.rtol, roundoff=torch.finfo(theta.dtype).eps, on_failure="report")
    steps = 0
    for _ in range(MAX_TRIALS if auto else 1):
        operator = influence.operator(influence.gnh, damping, remain.tolist())
        solved = solve_cg(operator, slope, options, None if inverse is None else inverse(damping))
        steps += int(solved.statistics["steps"])
        if not solved.converged:
            raise ConvergenceError(
                f"forget: the system of the remaining rows with damping {damping:.2g} ended with {solved.status} after "
                f"{steps} steps, relative residual {solved.statistics['relative_residual']:.2g}. Pass a larger damp or "
                'curvature="gauss_newton", or train on.'
            )
        updated = theta + solved.value.to(theta)
        gain = tilted.gain(theta, updated, slope, damping)
        if not auto or gain >= ENOUGH:
            break
        damping = max(GROWTH * damping, next_damping)
    else:
        raise ConvergenceError(
            f"forget: no step with damping up to {damping:.2g} lowers the loss of the remaining rows as its quadratic "
            "model promises. Train the model to a minimum, remove fewer rows at once, or retrain."
        )
    pull = float(slope.norm()) or 1.0
    left = risk.gradient(updated, remain) - old_gradient if np.isfinite(gain) else torch.full_like(slope, torch.inf)
    residual = float(solved.statistics["relative_residual"])
    return DampedStep(
        updated, damping, gain, float(left.norm()) / pull, float(old_gradient.norm()) / pull, steps, residual
    )


class _Tilted:
    """The loss of the remaining rows without what training had left over."""

    def __init__(self, risk: TrainingRisk, remain: IntArray, old_gradient: Tensor) -> None:
        self._risk, self._remain, self._old_gradient = risk, remain, old_gradient.double()

    def gain(self, theta: Tensor, updated: Tensor, slope: Tensor, damping: float) -> float:
        """Decrease of T as a share of the promised one; 1 where both are below what rounding can show."""
        step = (updated - theta).double()
        promised = 0.5 * float(slope.double() @ step + damping * step.square().sum())
        before = self._risk.mean(theta, self._remain)
        after = self._risk.mean(updated, self._remain)
        decrease = before - after + float(self._old_gradient @ step)
        noise = 100 * torch.finfo(theta.dtype).eps * abs(before)
        if promised <= noise and abs(decrease) <= 10 * noise:
            return 1.0
        return decrease / promised if np.isfinite(decrease) else -np.inf


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


def _groups(model: Forecaster, outputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Outputs that share their weights: (weights (n,), positions). One group unless single loads were forgotten."""
    if not len(outputs):
        return []
    columns, group = torch.unique(model.weights[:, outputs], dim=1, return_inverse=True)
    return [(columns[:, g], outputs[group == g]) for g in range(columns.shape[1])]


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
    """The step to the minimum that the statistics at the new weights define.

    The form "unlearn_gradient" keeps the step that training left over, H_R⁻¹ times the old
    gradient: 0 up to rounding, and left out, for a head at its minimum.

    Args:
        model: the model before the step.
        before: statistics at its weights.
        sums: statistics at the new weights.
        after: new weights, shape (n, B).
        outputs: positions of the outputs that change.
        form: "unlearn_gradient" or "remain_gradient".

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
    for before, group in _groups(model, outputs):
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
    for before, group in _groups(model, outputs):
        head[group] = retrain(objective, rows, before).reshape(head.shape)[group]
    return head.reshape(-1)


def common_forgotten(model: Forecaster) -> Tensor:
    """Rows that all outputs have forgotten, (n,); refuses a model whose outputs differ in theirs."""
    if (model.forgotten != model.forgotten[:, :1]).any():
        raise InputError(
            "criterion: this model has forgotten single loads, so its outputs have different weights; re-weight before "
            "forgetting single loads, or use forget."
        )
    return model.forgotten[:, 0]
