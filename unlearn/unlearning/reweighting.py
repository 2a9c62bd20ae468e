"""The re-weighting program: PAMU and TAMU are one program with another criterion (paper eqs. 11-16)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite
from unlearn.criteria import Criterion, evaluation_rows, make_criterion, require_base
from unlearn.data import LoadDataset
from unlearn.data.hours import Rows
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.influence import criterion_gradient, influence_scores
from unlearn.linalg import IhvpOptions, Objective, inverse_hvp
from unlearn.unlearning.gains import doubtful_gain, unseen_seasons
from unlearn.unlearning.request import resolve
from unlearn.unlearning.result import Forgotten, concluded, why_incomplete
from unlearn.unlearning.steps import (
    Step,
    Update,
    common_forgotten,
    newton_update,
    relative_distance,
    remain_weights,
    require_trained,
    retrained_head,
    summed_up,
)
from unlearn.unlearning.tuning.methods import require_budgets

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reweighting:
    """`min_ε Σ_R ε_i s_i  s.t.  ‖ε − 1‖₁ <= λ₁|R|,  ‖ε − 1‖_∞ <= λ_∞`, and the step that follows.

    `s_i = −∇C' H_R⁻¹ ∇ℓ_i` says how the criterion moves per unit of weight on sample i. PAMU
    passes the gradient of MSE or MAPE, TAMU that of the operating cost.

    ε is computed at θ*, which has seen U, so the result depends on U through ε: re-weighted
    unlearning is not complete forgetting, whatever λ₁ > 0.

    Attributes:
        l1_budget: λ₁ >= 0, the mean change of weight; 0 is complete unlearning.
        linf_budget: λ_∞ in [0, 1], the largest change of one weight (1 in the paper).
    """

    l1_budget: float
    linf_budget: float = 1.0

    def __post_init__(self) -> None:
        require_budgets(self.l1_budget, self.linf_budget)

    @property
    def moves(self) -> bool:
        """Whether weights may move at all; if not, this is complete unlearning."""
        return self.l1_budget > 0 and self.linf_budget > 0

    def weights(self, scores: FloatArray) -> FloatArray:
        """Solve the program for scores s of the remaining samples, shape (|R|,).

        In closed form: the budget is spent on the largest |s|, full moves first, the remainder on the next one.
        """
        scores = as_floats("scores", scores, ndim=1)
        require_finite("scores", scores)
        weights = np.ones_like(scores)
        if not self.moves:
            return weights
        order = np.argsort(-np.abs(scores), kind="stable")
        # What is left of the budget when the k-th largest has its turn.
        left = self.l1_budget * len(scores) - self.linf_budget * np.arange(len(scores))
        change = np.empty_like(scores)
        change[order] = np.clip(left, 0.0, self.linf_budget)
        return weights - change * np.sign(scores)

    def update(
        self,
        objective: Objective,
        theta: Tensor,
        unlearn: IntArray,
        criterion_gradient: Tensor,
        options: IhvpOptions | None = None,
        forgotten: Tensor | None = None,
    ) -> Update:
        """Forget U and re-weight what remains: `θ_ε = θ* − H_ε⁻¹ Σ_R ε_i ∇ℓ_i(θ*)` (eq. 12).

        For a quadratic loss this equals weighted least squares with weights ε.

        Args:
            objective: the training problem on T.
            theta: its minimiser θ*, shape (P,).
            unlearn: rows of T to remove.
            criterion_gradient: ∇C at θ*, shape (P,).
            options: how to solve with the Hessian.
            forgotten: which rows of T were forgotten before, shape (n,); None means none. ε of all others starts from
                1 again, also where an earlier re-weighting had set it to 0.

        Raises:
            InputError: see `newton_update`.
            SingularHessianError: too many weights fell to 0 for the parameters to be determined.
        """
        options = options or IhvpOptions()
        remain = remain_weights(objective, unlearn, None if forgotten is None else (~forgotten).double()) > 0
        epsilon = remain.double()
        # The influence of removing a sample is minus its score.
        influence = influence_scores(objective, theta, criterion_gradient, epsilon, options)
        epsilon[remain] = torch.from_numpy(self.weights(-influence[remain].numpy()))
        slope = objective.gradient(theta, epsilon)
        solution = inverse_hvp(objective, theta, epsilon, slope, options)
        return Update(theta - solution.value, epsilon, solution)


def reweight(
    model: Forecaster,
    dataset: LoadDataset,
    rows: Rows,
    criterion: str | Criterion,
    l1_budget: float,
    *,
    grid: OperatingCost | GridCase | str | None = None,
    evaluate_on: str | ArrayLike = "validation",
    linf_budget: float = 1.0,
    ihvp: IhvpOptions | None = None,
    compare_retrained: bool = False,
) -> Forgotten:
    """Remove training rows and re-weight the others for a criterion: PAMU, or TAMU for "cost" (eqs. 10-16).

    The weights are found at the model that knows the removed rows, so the result depends on them through the weights:
    with a budget above 0 it is not complete forgetting. `forget` is.

    Warns, and says among the limitations, if more than a quarter of the test hours are in seasons that were not
    evaluated, and if the criterion rises or gains less than half as much on rows that its gradient did not see; see
    `unlearn.unlearning.gains`.

    Args:
        model: fitted forecaster.
        dataset: the data set it was fitted on.
        rows: what to forget, as in `forget`.
        criterion: "mse" or "mape" is PAMU, "cost" is TAMU; or a criterion of your own.
        l1_budget: λ₁ >= 0, how far the remaining weights may move in the mean; 0 is complete unlearning.
        grid: what a criterion by name is priced on, if it is priced: "cost" is. The others look at no grid, so that
            one call serves all names.
        evaluate_on: rows that the criterion's gradient is taken on: "validation", "test" (as published), or row
            numbers of the data set.
        linf_budget: λ_∞ in [0, 1].
        ihvp: how to solve with the Hessian.
        compare_retrained: also refit on what remains and report the distance.

    Raises:
        InputError: `rows` that `forget` refuses; NaN parameters; a budget below 0; "cost" without a grid; a model that
            has forgotten single loads; no rows to evaluate on.
        MismatchError: the model was not fitted on this data set, or its loads are per unit of another base.
        SingularHessianError: too many weights fell to 0 for the parameters to be determined.

    Re-weighting again starts from 1 on what remains.
    """
    start = time.perf_counter()
    program = Reweighting(l1_budget, linf_budget)
    wanted = make_criterion(criterion, grid)
    model.require_untuned("reweight")
    model.require_match(dataset)
    require_trained(model)
    request = resolve(model, rows, dataset=dataset)
    require_base(wanted, dataset)
    seen = evaluation_rows(dataset, evaluate_on)
    prepared = time.perf_counter()
    slope = criterion_gradient(model, wanted, dataset.features[seen], dataset.load_pu[seen])
    objective = model.objective(dataset)
    gone = common_forgotten(model)
    update = program.update(objective, model.theta, request.positions, slope.gradient, ihvp, gone)
    weights = torch.where(request.forgotten(model), 0.0, update.weights[:, None])
    step = Step(update.theta, weights, update.solution.statistics, 0.0, summed_up(objective, weights))
    updated = time.perf_counter()
    distance = None
    if compare_retrained:
        retrained = retrained_head(model, objective, request.positions, request.changed(model))
        distance = relative_distance(step.theta, retrained)
    doubts: list[str] = []
    if program.moves:
        kept = (~request.forgotten(model)).all(dim=1)
        complete = newton_update(objective, model.theta, request.positions, "remain_gradient", ihvp, (~gone).double())
        remaining = request.head_rows[kept.numpy()]
        about = doubtful_gain(model, complete.theta, step.theta, wanted, dataset, seen, remaining)
        doubts = [sentence for sentence in (unseen_seasons(dataset, seen), about) if sentence]
    for sentence in doubts:
        logger.warning("%s", sentence)
    said = why_incomplete(model, request, step, ihvp=ihvp, reweighted=True)
    seconds = {"prepare": prepared - start, "unlearn": updated - prepared, "compare": time.perf_counter() - updated}
    overlap = len(np.intersect1d(seen, request.unlearn))
    also = [f"{overlap} of the removed rows were among those that the criterion was evaluated on."] if overlap else []
    further = [*also, *doubts]
    return concluded(
        model, request, step, None, said, seconds, (), wanted.name, l1_budget, distance, further, dataset=dataset
    )
