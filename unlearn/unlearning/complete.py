"""`forget`: the one call for the common case."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import torch
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, require_choice, require_not_negative
from unlearn.criteria import Criterion, make_criterion
from unlearn.data import LoadDataset
from unlearn.data.hours import Rows, hour_ranges
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.influence import criterion_gradient
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.limitations import (
    OLD_MODEL,
    earlier,
    evaluation_rows,
    kept_constants,
    require_base,
    what_happened,
    why_incomplete,
)
from unlearn.unlearning.newton import FORMS, relative_distance
from unlearn.unlearning.request import Request, require_loads, resolve
from unlearn.unlearning.reweight import Reweighting
from unlearn.unlearning.steps import (
    Step,
    common_forgotten,
    exact_step,
    newton_step,
    require_trained,
    retrained_head,
    summed_up,
)


@dataclass(frozen=True, eq=False)
class Forgotten:
    """What `forget` did.

    Attributes:
        model: the unlearnt forecaster.
        unlearn_rows: rows of the data set that were forgotten.
        not_forgotten: rows of the data set that were asked for and stay, because only the frozen extractor was
            trained on them.
        hours: first and last hour of each run of forgotten rows, as ISO text.
        weights: weight of each of the head's n training rows (`model.training_rows(dataset)`), 0 where removed,
            shape (n,); with `loads` those of the first load named (`model.weights` holds all, one column per output).
        distance_to_original: `‖θ − θ*‖ / ‖θ*‖`.
        distance_to_retrained: `‖θ − θ_R‖ / ‖θ_R‖`, if asked for.
        criterion: name of the criterion that weights were chosen by; None for complete unlearning.
        complete: True if the result is the model retrained on what remains, up to rounding, and nothing else of the
            model learnt from what was asked for.
        complete_as_declared: True if it is, provided that data which the caller gave (`forget_rows`) is what the model
            was fitted on; the model cannot check that. `forget`, given the data set, checks it at its next step.
        statistics: solver, residual, condition number, steps.
        seconds: wall time by stage.
        declared: what still depends on the removed rows, in sentences; read this before you
            certify a deletion.
    """

    model: Forecaster
    unlearn_rows: IntArray
    not_forgotten: IntArray
    hours: list[list[str]]
    weights: FloatArray
    distance_to_original: float
    distance_to_retrained: float | None
    criterion: str | None
    complete: bool
    complete_as_declared: bool
    statistics: dict[str, float | str]
    seconds: dict[str, float]
    declared: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        kind = "complete" if self.complete else "complete as declared" if self.complete_as_declared else "not complete"
        by = "" if self.criterion is None else f", re-weighted by {self.criterion}"
        left = f", rows not forgotten: {len(self.not_forgotten)}" if len(self.not_forgotten) else ""
        return f"Forgotten({type(self.model).__name__}, rows removed: {len(self.unlearn_rows)}{left}, {kind}{by})"


def forget(
    model: Forecaster,
    dataset: LoadDataset,
    rows: Rows,
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
        rows: what to forget, in the data set's own terms whatever the model: row numbers, a boolean mask over all its
            rows, hours (a pandas DatetimeIndex), or a pair of dates `("2007-03-01", "2007-04-01")`, the end excluded.
            Rows that only the extractor of a network was trained on (core) cannot be forgotten; they are listed in
            `not_forgotten`, and the result is not complete. Validation and test rows need no forgetting.
        criterion: None is complete unlearning (eq. 8); "mse" or "mape" is PAMU, "cost" is TAMU;
            or a criterion of your own.
        l1_budget: λ₁ >= 0, how far the remaining weights may move in the mean.
        grid: the grid that "cost" is priced on.
        evaluate_on: rows that the criterion's gradient is taken on: "validation" (the default),
            "test" (as published), or row numbers of the data set.
        loads: names of loads (`dataset.load_names`); only their measurements in these rows are forgotten, and only
            their outputs change (complete unlearning only). None forgets whole rows. A load that loses all its rows, as
            of a customer who leaves, forecasts 0 from then on.
        linf_budget: λ_∞ in [0, 1].
        form: form of the complete update, see `newton_update`.
        ihvp: how to solve with the Hessian.
        compare_retrained: also refit on what remains and report the distance.

    Raises:
        InputError: `rows` that are none, all, not in the data set, repeated, forgotten before, or that the head was not
            fitted on; NaN parameters; a budget below 0; "cost" without a grid; a budget without a criterion; unknown
            loads; no rows to evaluate on.
        MismatchError: the model was not fitted on this data set.
        SingularHessianError: what remains does not determine the parameters.

    A model can forget again: it keeps the weights that its head is the minimiser for, and what was forgotten. Complete
    unlearning keeps weights that an earlier re-weighting chose; re-weighting again starts from 1 on what remains.
    """
    start = time.perf_counter()
    reweighting = Reweighting(require_not_negative("l1_budget", l1_budget), linf_budget)
    _require_sensible(criterion, l1_budget, loads, form, evaluate_on)
    require_choice("form", form, FORMS)
    require_loads(loads, model.card.load_names)
    judge = None if criterion is None else make_criterion(criterion, grid)
    model.require_match(dataset)
    require_trained(model)
    request = resolve(model, rows, loads, dataset)
    positions, after = request.positions, request.weights(model)
    outputs = request.changed(model)
    outputs, emptied = outputs[after[:, outputs].any(dim=0)], outputs[~after[:, outputs].any(dim=0)]
    overlap = 0
    prepared = time.perf_counter()
    options = ihvp or IhvpOptions()
    if judge is not None:
        require_base(judge, dataset)
        seen = evaluation_rows(dataset, evaluate_on)
        overlap = len(np.intersect1d(seen, request.unlearn))
        slope = criterion_gradient(model, judge, dataset.features[seen], dataset.load_pu[seen])
        objective = model.objective(dataset)
        update = reweighting.update(objective, model.theta, positions, slope.gradient, ihvp, common_forgotten(model))
        weights = update.weights[:, None].expand_as(model.weights)
        step = Step(update.theta, weights, update.solution.statistics, 0.0, summed_up(objective, weights))
    elif form == "first_order" or options.solver == "cg" or options.damping:
        step = newton_step(model, model.objective(dataset), positions, outputs, form, options)
    else:
        known = earlier(model)
        step = exact_step(model, dataset, positions, after, outputs, form, verify=not known.get("complete", True))
    step = replace(step, weights=torch.where(request.forgotten(model), 0.0, step.weights)).without(emptied, model)
    updated = time.perf_counter()
    distance = None
    if compare_retrained:
        retrained = retrained_head(model, model.objective(dataset), positions, outputs).reshape(model.head.shape)
        retrained[emptied] = 0.0
        distance = relative_distance(step.theta, retrained.reshape(-1))
    said = why_incomplete(model, request, step, form, ihvp, judge)
    seconds = {"prepare": prepared - start, "unlearn": updated - prepared, "compare": time.perf_counter() - updated}
    name = None if judge is None else judge.name
    result = concluded(model, request, step, loads, said, seconds, criterion=name, l1_budget=l1_budget)
    return replace(result, distance_to_retrained=distance, declared=[*result.declared, *_overlap(overlap)])


def concluded(
    model: Forecaster,
    request: Request,
    step: Step,
    loads: Sequence[str] | None,
    said: list[str],
    seconds: dict[str, float],
    given: Sequence[str] = (),
    criterion: str | None = None,
    l1_budget: float = 0.0,
) -> Forgotten:
    """The result of a step, not compared with retraining.

    `said` is why it is incomplete, nothing if it is not; `given` what had to be taken as the caller gave it.
    """
    hours = hour_ranges(request.timestamps, request.unlearn)
    verdict = {"complete": not said and not given, "complete_as_declared": not said}
    forgotten = request.forgotten(model)
    event = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": len(request.unlearn),
        "hours": hours,
        "not_forgotten": hour_ranges(request.timestamps, request.frozen),
        "loads": None if loads is None else list(loads),
        "criterion": criterion,
        "l1_budget": float(l1_budget),
        "switched_off": int(((step.weights == 0) & ~forgotten).any(dim=1).sum()),
        **verdict,
    }
    return Forgotten(
        model=model.with_theta(step.theta, step.weights, event, step.sums, forgotten),
        unlearn_rows=request.unlearn,
        not_forgotten=request.frozen,
        hours=hours,
        weights=step.weights[:, request.outputs[0]].numpy(),
        distance_to_original=relative_distance(step.theta, model.theta),
        distance_to_retrained=None,
        criterion=criterion,
        **verdict,
        statistics=step.statistics,
        seconds=seconds,
        declared=[*kept_constants(model), *what_happened(model, request), *said, *given, OLD_MODEL],
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
