"""`forget`: the one call for the common case."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, require_choice, require_not_negative, require_rows
from unlearn.criteria import Criterion, OperatingCostCriterion, make_criterion
from unlearn.data import LoadDataset
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.influence import criterion_gradient
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.declare import kept_constants, why_incomplete
from unlearn.unlearning.newton import FORMS
from unlearn.unlearning.retrain import relative_distance
from unlearn.unlearning.reweight import Reweighting
from unlearn.unlearning.steps import (
    Step,
    common_weights,
    exact_step,
    newton_step,
    require_trained,
    retrained_head,
    summed_up,
    touched_outputs,
    with_weight,
)


@dataclass(frozen=True, eq=False)
class Forgotten:
    """What `forget` did.

    Attributes:
        model: the unlearnt forecaster.
        unlearn_rows: positions in the head's training rows that were removed.
        weights: weight of every training row, 0 where removed, shape (n,); with `loads` those of the
            first load named (`model.weights` holds all, one column per output).
        distance_to_original: `‖θ − θ*‖ / ‖θ*‖`.
        distance_to_retrained: `‖θ − θ_R‖ / ‖θ_R‖`, if asked for.
        criterion: name of the criterion that weights were chosen by; None for complete unlearning.
        complete: True if the result is the model retrained on what remains, up to rounding.
        statistics: solver, residual, condition number, steps.
        seconds: wall time by stage.
        declared: what still depends on the removed rows, in sentences; read this before you
            certify a deletion.
    """

    model: Forecaster
    unlearn_rows: IntArray
    weights: FloatArray
    distance_to_original: float
    distance_to_retrained: float | None
    criterion: str | None
    complete: bool
    statistics: dict[str, float | str]
    seconds: dict[str, float]
    declared: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        kind = "complete" if self.complete else "not complete"
        by = "" if self.criterion is None else f", re-weighted by {self.criterion}"
        return f"Forgotten({type(self.model).__name__}, rows removed: {len(self.unlearn_rows)}, {kind}{by})"


def forget(
    model: Forecaster,
    dataset: LoadDataset,
    rows: ArrayLike,
    criterion: str | Criterion | None = None,
    l1_budget: float = 0.0,
    grid: OperatingCost | GridCase | str | None = None,
    evaluate_on: str | ArrayLike | None = None,
    *,
    loads: Sequence[str] | None = None,
    linf_budget: float = 1.0,
    form: str = "unlearn_gradient",
    ihvp: IhvpOptions | None = None,
    compare_retrained: bool = False,
) -> Forgotten:
    """Remove training rows from a forecaster without retraining it.

    Args:
        model: fitted forecaster.
        dataset: the data set it was fitted on.
        rows: rows to forget, or a boolean mask; they index the head's training rows (all training
            rows of a linear model, the sensitive part of a network).
        criterion: None is complete unlearning (eq. 8); "mse" or "mape" is PAMU, "cost" is TAMU;
            or a criterion of your own.
        l1_budget: λ₁ >= 0, how far the remaining weights may move in the mean.
        grid: the grid that "cost" is priced on.
        evaluate_on: rows that the criterion's gradient is taken on: "validation" (the default),
            "test" (as published), or row numbers of the data set.
        loads: names of loads; only their measurements in these rows are forgotten, and only their
            outputs change (complete unlearning only). None forgets whole rows.
        linf_budget: λ_∞ in [0, 1].
        form: form of the complete update, see `newton_update`.
        ihvp: how to solve with the Hessian.
        compare_retrained: also refit on what remains and report the distance.

    Raises:
        InputError: empty or total `rows`, out of range or repeated; NaN parameters; a budget below
            0; "cost" without a grid; a budget without a criterion; unknown loads; no rows to
            evaluate on.
        MismatchError: the model was not fitted on this data set.
        SingularHessianError: what remains does not determine the parameters.

    A model can forget again: it keeps the weights that its head is the minimiser for.
    """
    start = time.perf_counter()
    reweighting = Reweighting(require_not_negative("l1_budget", l1_budget), linf_budget)
    _require_sensible(criterion, l1_budget, loads, form, evaluate_on)
    require_choice("form", form, FORMS)
    require_loads(loads, model.card.load_names)
    judge = None if criterion is None else make_criterion(criterion, grid)
    model.require_match(dataset)
    require_trained(model)
    unlearn_rows = require_rows("rows to unlearn", rows, len(model.weights))
    touched = touched_outputs(model, loads)
    after, outputs = with_weight(model, unlearn_rows, touched)
    overlap = 0
    prepared = time.perf_counter()
    options = ihvp or IhvpOptions()
    if judge is not None:
        require_base(judge, dataset)
        seen = evaluation_rows(dataset, evaluate_on)
        overlap = len(np.intersect1d(seen, model.training_rows(dataset)[unlearn_rows]))
        slope = criterion_gradient(model, judge, dataset.features[seen], dataset.load_pu[seen])
        objective = model.objective(dataset)
        update = reweighting.update(objective, model.theta, unlearn_rows, slope.gradient, ihvp, common_weights(model))
        weights = update.weights[:, None].expand_as(model.weights)
        step = Step(update.theta, weights, update.solution.statistics, 0.0, summed_up(objective, weights))
    elif form == "first_order" or options.solver == "cg" or options.damping:
        step = newton_step(model, model.objective(dataset), unlearn_rows, outputs, form, options)
    else:
        step = exact_step(model, dataset, unlearn_rows, after, outputs, form)
    updated = time.perf_counter()
    distance = None
    if compare_retrained:
        retrained = retrained_head(model, model.objective(dataset), unlearn_rows, outputs)
        distance = relative_distance(step.theta, retrained)
    said = why_incomplete(model, step, unlearn_rows, form, ihvp, judge)
    seconds = {"prepare": prepared - start, "unlearn": updated - prepared, "compare": time.perf_counter() - updated}
    result = concluded(
        model, step, unlearn_rows, loads, said, seconds, None if judge is None else judge.name, l1_budget
    )
    return replace(result, distance_to_retrained=distance, declared=[*result.declared, *_overlap(overlap)])


def concluded(
    model: Forecaster,
    step: Step,
    rows: IntArray,
    loads: Sequence[str] | None,
    said: list[str],
    seconds: dict[str, float],
    criterion: str | None = None,
    l1_budget: float = 0.0,
) -> Forgotten:
    """The result of a step, not compared with retraining; `said` is why it is incomplete, nothing if it is not."""
    event = {
        "rows": len(rows),
        "loads": None if loads is None else list(loads),
        "criterion": criterion,
        "l1_budget": float(l1_budget),
        "complete": not said,
    }
    return Forgotten(
        model=model.with_theta(step.theta, step.weights, event, step.sums),
        unlearn_rows=rows,
        weights=step.weights[:, touched_outputs(model, loads)[0]].numpy(),
        distance_to_original=relative_distance(step.theta, model.theta),
        distance_to_retrained=None,
        criterion=criterion,
        complete=not said,
        statistics=step.statistics,
        seconds=seconds,
        declared=[*kept_constants(model), *said],
    )


def evaluation_rows(dataset: LoadDataset, evaluate_on: str | ArrayLike | None) -> IntArray:
    """Rows of a data set that a criterion is evaluated on: a named slice, or row numbers."""
    if evaluate_on is None or isinstance(evaluate_on, str):
        name = evaluate_on or "validation"
        if name not in ("validation", "test"):
            raise InputError(f'evaluate_on: expected "validation", "test" or row numbers, got {name!r}.')
        rows = dataset.split.validation if name == "validation" else dataset.split.test
        if not len(rows):
            raise InputError(
                'evaluate_on: this split has no validation rows; use a split with some, or pass evaluate_on="test" '
                "to take the gradient on the test rows as the published code does."
            )
        return rows
    return require_rows("evaluate_on", evaluate_on, len(dataset.timestamps))


def require_base(criterion: Criterion, dataset: LoadDataset) -> None:
    """Refuse to price loads in per unit of another power base than the grid's."""
    if isinstance(criterion, OperatingCostCriterion) and criterion.grid.case.base_mva != dataset.base_mva:
        raise MismatchError(
            f"data set and grid do not match: loads are per unit on {dataset.base_mva:g} MVA, grid "
            f"{criterion.grid.case.name!r} on {criterion.grid.case.base_mva:g}. Load the data with base_mva="
            f"{criterion.grid.case.base_mva:g}."
        )


def _overlap(rows: int) -> list[str]:
    return [f"{rows} of the removed rows were among those that the criterion was evaluated on."] if rows else []


def _require_sensible(
    criterion: str | Criterion | None,
    l1_budget: float,
    loads: Sequence[str] | None,
    form: str,
    evaluate_on: str | ArrayLike | None,
) -> None:
    if criterion is None and evaluate_on is not None:
        raise InputError("evaluate_on without a criterion: complete unlearning evaluates nothing; leave it out.")
    if criterion is None and l1_budget > 0:
        raise InputError(
            f'l1_budget={l1_budget} without a criterion: name what to re-weight for ("mse", "mape", "cost"), '
            "or leave the budget at 0 for complete unlearning."
        )
    if criterion is not None and loads is not None:
        raise InputError("loads with a criterion: single loads can only be forgotten completely (criterion=None).")
    if criterion is not None and form != "unlearn_gradient":
        raise InputError(f"form={form!r} with a criterion: forms are those of complete unlearning (criterion=None).")


def require_loads(loads: Sequence[str] | None, names: Sequence[str]) -> None:
    """Refuse loads that are no list of some of the names; None stands for all of them."""
    if loads is None:
        return
    if isinstance(loads, str):
        raise InputError(f"loads: expected a list of names, got {loads!r}; write [{loads!r}].")
    unknown = [name for name in loads if name not in names]
    if unknown or not len(loads):
        raise InputError(f"loads: expected some of {', '.join(names)}; got {', '.join(map(str, unknown)) or 'none'}.")
