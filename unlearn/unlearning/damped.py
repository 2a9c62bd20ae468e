"""One damped Newton step that removes rows from any trained module, and whether it did what it promised.

At θ*, which need not be a minimum, removing the rows U leaves the gradient `−g`, `g = Σ_U ∇L_j / |R|`, beside what
training had left undone. The step minimises a quadratic model of the tilted loss

    T(θ) = L_R(θ) − (N/|R|) ∇L(θ*)' θ,    ∇T(θ*) = −g,

which for a quadratic loss at its minimum is retraining (paper eq. 8, for means). For a network the
model holds nearby only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import IntArray
from unlearn.errors import ConvergenceError, InputError
from unlearn.influence.blocks import RiskBlocks, risk_blocks
from unlearn.influence.cg import CGInfluenceModule
from unlearn.influence.risk import TrainingRisk
from unlearn.linalg import IhvpOptions, solve_cg

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
        left: norm of the gradient of T after it, as a share of ‖g‖: 0 says that T is minimised.
        undone: norm of what training had left, as a share of ‖g‖.
        steps: of conjugate gradients, in all trials.
        relative_residual: of the last system.
    """

    theta: Tensor = field(repr=False)
    damping: float
    gain: float
    left: float
    undone: float
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
    undone = risk.gradient(theta) * (risk.samples.size / len(remain))
    tilted = _Tilted(risk, remain, undone)
    auto = damp == "auto"
    damping, next_damping = influence.damp, 0.0
    if auto:
        choice = influence.damping_choice(influence.gnh, remain.tolist())
        damping, next_damping = choice.damping, choice.extremes.largest / choice.condition
    blocks = _blocks(influence)
    options = IhvpOptions("cg", rtol=influence.rtol, roundoff=torch.finfo(theta.dtype).eps, on_failure="report")
    steps = 0
    for _ in range(MAX_TRIALS if auto else 1):
        operator = influence.operator(influence.gnh, damping, remain.tolist())
        solved = solve_cg(operator, slope, options, None if blocks is None else blocks.inverse(damping))
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
    left = risk.gradient(updated, remain) - undone if np.isfinite(gain) else torch.full_like(slope, torch.inf)
    residual = float(solved.statistics["relative_residual"])
    return DampedStep(updated, damping, gain, float(left.norm()) / pull, float(undone.norm()) / pull, steps, residual)


class _Tilted:
    """The loss of the remaining rows without what training had left undone."""

    def __init__(self, risk: TrainingRisk, remain: IntArray, undone: Tensor) -> None:
        self._risk, self._remain, self._undone = risk, remain, undone.double()

    def gain(self, theta: Tensor, updated: Tensor, slope: Tensor, damping: float) -> float:
        """Decrease of T as a share of the promised one; 1 where both are below what rounding can show."""
        step = (updated - theta).double()
        promised = 0.5 * float(slope.double() @ step + damping * step.square().sum())
        before = self._risk.mean(theta, self._remain)
        after = self._risk.mean(updated, self._remain)
        decrease = before - after + float(self._undone @ step)
        noise = 100 * torch.finfo(theta.dtype).eps * abs(before)
        if promised <= noise and abs(decrease) <= 10 * noise:
            return 1.0
        return decrease / promised if np.isfinite(decrease) else -np.inf


def _blocks(influence: CGInfluenceModule) -> RiskBlocks | None:
    try:
        return risk_blocks(influence.risk, influence.risk.flat.theta)
    except InputError:
        return None
