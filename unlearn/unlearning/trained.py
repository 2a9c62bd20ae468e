"""Influence and unlearning for a trained module of one's own: a model, two loaders and a loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.data import DataLoader

from unlearn.checks import FloatArray, IntArray, require_choice, require_rows
from unlearn.errors import ConvergenceError, InputError
from unlearn.influence.cg import CGInfluenceModule
from unlearn.influence.flat import FlatModel, copied
from unlearn.influence.module import require_module
from unlearn.influence.preconditioner import risk_blocks
from unlearn.influence.risk import TrainingRisk
from unlearn.influence.scores import LossFunction, PairObjective
from unlearn.linalg import IhvpOptions, solve_cg

#: "gauss_newton" is positive semi-definite anywhere, and the Hessian itself for a model linear in its parameters.
CURVATURES = ("gauss_newton", "hessian")

#: Relative size of the gradient on the remaining rows up to which the result is their minimiser, per dtype.
AT_MINIMUM = {torch.float64: 1e-8, torch.float32: 1e-4}

#: Share of the decrease that its quadratic model promises below which a step is taken again with more damping.
ENOUGH = 0.25
#: Factor by which damping grows, and how often at most.
GROWTH, MAX_TRIALS = 10.0, 15


@dataclass(frozen=True, eq=False)
class ForgottenModule:
    """A module without some of its training rows.

    Attributes:
        model: a new module; the original is untouched.
        unlearn_rows: rows of the training data set that were removed.
        complete: whether the result minimises the training loss of the remaining rows, so that it equals
            retraining if that minimum is unique.
        statistics: damping, steps and residual of the solve; `gain`, the decrease of the loss as a share of what the
            step's quadratic model promised; as shares of the removed rows' gradient, `gradient_ratio_after`,
            what the step leaves of it, and `stationarity_before`, what training had left; relative change of the
            parameters; mean test loss before and after, where there are test rows.
        limitations: why it is not complete, and what else saw the removed rows, in sentences.
    """

    model: nn.Module
    unlearn_rows: IntArray
    complete: bool
    statistics: dict[str, float]
    limitations: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        kind = "complete" if self.complete else "not complete"
        return f"ForgottenModule({type(self.model).__name__}, rows removed: {len(self.unlearn_rows)}, {kind})"


class TrainedModule:
    """A trained module with its data and its loss: scores of its training rows, and the module without some of them.

    Works on a copy in evaluation mode. All trainable parameters take part; freeze an extractor
    (`requires_grad_(False)`) to score and unlearn the head alone, which is far more accurate where the head is linear.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: LossFunction,
        train_loader: DataLoader,
        test_loader: DataLoader | None,
        *,
        l2: float = 0.0,
        eval_loss: LossFunction | None = None,
        curvature: str = "gauss_newton",
        damp: float | str = "auto",
        device: torch.device | str = "cpu",
        memory_mb: float = 512.0,
    ) -> None:
        """Take what training used.

        Args:
            model: trained module.
            loss: its training loss, `loss(model(x), y)`, a mean over samples.
            train_loader: its training rows, batches (x, y); rows are those of its data set, whatever its order.
            test_loader: the rows that it is judged on; None if only `forget` is asked for.
            l2: its regulariser, `(l2/2)‖θ‖²` beside the mean loss.
            eval_loss: what it is judged by on the test rows; None means `loss`.
            curvature: one of `CURVATURES`.
            damp: λ >= 0, or "auto": 0 where the condition number is at most 1e6 (1e4 in float32), else the smallest
                one that bounds it by 1e3; see also `forget`.
            device: where to compute.
            memory_mb: what intermediate results may take.

        Raises:
            InputError: what `CGInfluenceModule` refuses.
        """
        require_choice("curvature", curvature, CURVATURES)
        require_module(model)
        self._loss = getattr(loss, "__name__", type(loss).__name__)
        self._gauss_newton = curvature == "gauss_newton"
        self._wanted_damp = damp
        self._influence = CGInfluenceModule(
            copied(model),
            PairObjective(loss, l2, eval_loss),
            train_loader,
            test_loader,
            device,
            damp,
            self._gauss_newton,
            memory_mb=memory_mb,
        )
        self._scores: FloatArray | None = None

    def __repr__(self) -> str:
        risk = self._influence.risk
        tests = self._influence.test_loader
        judged = "no" if tests is None else len(tests.dataset)  # type: ignore[arg-type]
        return (
            f"TrainedModule({type(self._influence.model).__name__} of {risk.flat.size} trained parameters, "
            f"{self._loss}, {risk.samples.size} training and {judged} test rows, damping {self.damping:.3g})"
        )

    @property
    def damping(self) -> float:
        """λ in use for scores."""
        return self._influence.damp

    def influences(self, checkpoint: str | Path | None = None) -> FloatArray:
        """Estimated change of the mean test loss if a training row were removed and the model refitted.

        Args:
            checkpoint: folder to go on from after an interruption.

        Returns:
            One score per training row, shape (n,); positive means helpful. Computed once.

        Raises:
            ConvergenceError: the Hessian system was not solved.
        """
        if self._scores is None:
            n_tests = 0 if self._influence.test_loader is None else len(self._influence.test_loader.dataset)  # type: ignore[arg-type]
            rows = range(self._influence.risk.samples.size)
            found = self._influence.influences(rows, range(n_tests), checkpoint=checkpoint)
            self._scores = found.double().numpy()
        return self._scores

    def most_harmful(self, count: int) -> IntArray:
        """The rows whose removal should lower the test loss most, worst first."""
        return self._extreme(count, self.influences())

    def most_helpful(self, count: int) -> IntArray:
        """The rows whose removal should raise the test loss most, first the one that matters most."""
        return self._extreme(count, -self.influences())

    def forget(self, rows: ArrayLike) -> ForgottenModule:
        """Remove rows by one Newton step, `θ* + (H_R + λI)⁻¹ Σ_U ∇L_j / |R|` (paper eq. 8, for means).

        With `damp="auto"` λ also grows, tenfold each time, until the step lowers the loss of the remaining
        rows by a quarter at least of what its quadratic model promises: far from quadratic, a bare Newton step
        can ruin a network.

        Args:
            rows: rows of the training data set, or a boolean mask.

        Raises:
            InputError: no rows, all rows, rows out of range or repeated.
            ConvergenceError: the system of the remaining rows was not solved.
        """
        risk = self._influence.risk
        unlearn = require_rows("rows to unlearn", rows, risk.samples.size)
        if not 0 < len(unlearn) < risk.samples.size:
            raise InputError(
                f"rows to unlearn: expected some of the {risk.samples.size} training rows, not {len(unlearn)}."
            )
        theta = risk.flat.theta
        updated, statistics = damped_step(self._influence, unlearn, self._wanted_damp)
        model = copied(self._influence.model)
        FlatModel(model).load(updated)
        statistics["relative_change"] = float((updated - theta).norm() / theta.norm())
        if self._influence.test_loader is not None:
            statistics["test_loss_before"] = self._influence.mean_test_loss(theta)
            statistics["test_loss_after"] = self._influence.mean_test_loss(updated)
        left = max(statistics["gradient_ratio_after"], statistics["stationarity_before"])
        complete = left <= AT_MINIMUM[theta.dtype]
        return ForgottenModule(model, unlearn, complete, statistics, self._limitations(complete, statistics))

    def _limitations(self, complete: bool, statistics: dict[str, float]) -> list[str]:
        model = self._influence.model
        said: list[str] = []
        if not complete:
            said.append(
                "The result is not complete forgetting: the gradient that it leaves on the remaining rows is "
                f"{statistics['gradient_ratio_after']:.2g} times what the removed rows had, because the loss is not "
                f"quadratic or the step was damped; training had left {statistics['stationarity_before']:.2g} times as "
                "much. A minimum has 0."
            )
        if statistics["gain"] < ENOUGH:
            said.append(
                f"The step gained {statistics['gain']:.2g} of the decrease in the remaining rows' loss that its "
                'quadratic model promised: it went too far. Pass damp="auto" or a larger damp.'
            )
        if statistics["damping"] > 0:
            said.append(
                f"The curvature was damped by {statistics['damping']:.2g}, which shortens the step: part of the "
                "removed rows' influence is kept."
            )
        frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
        for kind, names in (("Frozen parameters", frozen), ("Buffers", [name for name, _ in model.named_buffers()])):
            if names:
                said.append(
                    f"{kind} are kept as they were; if training rows shaped them, they still do: {', '.join(names)}."
                )
        said.append(
            "What happened before the module is not covered: scalers, feature selection, early stopping and "
            "hyperparameters that saw the removed rows."
        )
        return said

    @staticmethod
    def _extreme(count: int, scores: FloatArray) -> IntArray:
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not whole or not 0 < count <= len(scores):
            got = count if whole else type(count).__name__
            raise InputError(f"count: expected 1 to {len(scores)} rows, got {got}.")
        return np.argsort(scores, kind="stable")[:count].astype(np.int64)


def damped_step(influence: CGInfluenceModule, unlearn: IntArray, damp: float | str) -> tuple[Tensor, dict[str, float]]:
    """Take the step from θ* that removes the rows U, for the loss of the remaining rows without what training had left.

    Args:
        influence: the model, its rows and its solver.
        unlearn: U, some of the training rows.
        damp: λ, or "auto": that of `damping_choice` for the remaining rows, or the first of 10 λ, 100 λ, ... whose
            step lowers the loss by at least a quarter of what its model promises (Levenberg-Marquardt).

    Returns:
        New parameters, shape (P,), and statistics, see `ForgottenModule`.

    Raises:
        ConvergenceError: a system was not solved, or no damping gives a step that lowers the loss.
    """
    risk, theta = influence.risk, influence.risk.flat.theta
    remain = np.setdiff1d(np.arange(risk.samples.size), unlearn)
    slope = risk.gradient(theta, unlearn) * (len(unlearn) / len(remain))
    old_gradient = risk.gradient(theta) * (risk.samples.size / len(remain))
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
        gain = _gain(risk, remain, old_gradient, updated, slope, damping)
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
    return updated, {
        "damping": damping,
        "steps": float(steps),
        "relative_residual": float(solved.statistics["relative_residual"]),
        "gain": gain,
        "gradient_ratio_after": float(left.norm()) / pull,
        "stationarity_before": float(old_gradient.norm()) / pull,
    }


def _gain(
    risk: TrainingRisk, remain: IntArray, old_gradient: Tensor, updated: Tensor, slope: Tensor, damping: float
) -> float:
    """Decrease of the loss as a share of the promised one; 1 where both are below what rounding can show."""
    theta = risk.flat.theta
    step = (updated - theta).double()
    promised = 0.5 * float(slope.double() @ step + damping * step.square().sum())
    before = risk.mean(theta, remain)
    decrease = before - risk.mean(updated, remain) + float(old_gradient.double() @ step)
    noise = 100 * torch.finfo(theta.dtype).eps * abs(before)
    if promised <= noise and abs(decrease) <= 10 * noise:
        return 1.0
    return decrease / promised if np.isfinite(decrease) else -np.inf
