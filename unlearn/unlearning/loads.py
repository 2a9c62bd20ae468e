"""`withdraw_loads`: a load leaves a forecaster with its target, its features and its customers.

Without a load the head has fewer outputs and fewer columns. What it is the minimiser for is a block of the kept sums:
the rows and columns of the Gram matrix that belong to what is left. No training row is read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from unlearn.criteria import grids_of
from unlearn.data import LoadDataset
from unlearn.errors import InputError, SingularHessianError
from unlearn.forecasters import Forecaster, HeadObjective, HeadStatistics
from unlearn.unlearning.result import INCOMPLETE, earlier, kept_constants
from unlearn.unlearning.steps import (
    distance_to_other_solver,
    relative_distance,
    require_trained,
    statistics_step,
)
from unlearn.unlearning.tuning.apply import RECIPE_KEPT, Tuned, apply
from unlearn.unlearning.tuning.recipe import Tuning, recipe_of


@dataclass(frozen=True, eq=False)
class WithdrawnLoads:
    """What `withdraw_loads` did.

    Attributes:
        model: the forecaster without the loads.
        dataset: the data set that it is fitted on now; go on with it.
        loads: names of the loads that were withdrawn.
        complete: True if the result is the model fitted on the data set without the loads, up to rounding.
        complete_as_given: True if it is, provided that data which a caller gave earlier was the true one.
        distance_to_original: `‖θ − θ*‖ / ‖θ*‖`, over the outputs and columns that are left.
        distance_to_retrained: `‖θ − θ_R‖ / ‖θ_R‖`, if asked for; where the model was fitted anew, to what another
            solver gives, None where that is too rough.
        statistics: solver, residual, condition number.
        seconds: wall time by stage.
        limitations: what still depends on the loads, in sentences; read this before you certify a deletion.
        tuned: how the model was tuned afterwards; None if it was not.
    """

    model: Forecaster
    dataset: LoadDataset
    loads: tuple[str, ...]
    complete: bool
    complete_as_given: bool
    distance_to_original: float
    distance_to_retrained: float | None
    statistics: dict[str, float | str]
    seconds: dict[str, float]
    limitations: list[str] = field(default_factory=list)
    tuned: Tuned | None = None

    def __repr__(self) -> str:
        kind = "complete" if self.complete else "complete as given" if self.complete_as_given else "not complete"
        n = len(self.loads)
        return f"WithdrawnLoads({n} load{'s' * (n > 1)}, {self.dataset.n_loads} left, {kind})"


def withdraw_loads(
    model: Forecaster,
    dataset: LoadDataset,
    loads: Sequence[str],
    *,
    compare_retrained: bool = False,
    tune: Tuning | None = None,
) -> WithdrawnLoads:
    """Remove loads from a forecaster as if they had never been there: outputs, features, lags and customers.

    The head is solved again from a block of its kept sums. It is fitted anew, to the same end, where the sums do not
    hold what is left: columns of others that stood for those of a withdrawn load in another unit; means of a class that
    fill gaps of objectors among the features; sums that are too rough. Weights and marks of what was forgotten in the
    loads that are left stay as they are.

    >>> import unlearn
    >>> data = unlearn.load_dataset("synthetic", n_loads=3, n_hours=1000)
    >>> done = unlearn.withdraw_loads(unlearn.fit_linear(data), data, data.load_names[:1])
    >>> done.complete, done.dataset.n_loads, len(done.model.head)
    (True, 2, 2)

    Args:
        model: fitted forecaster, linear: the extractor of a network reads all loads.
        dataset: the data set it was fitted on.
        loads: names, at least one and not all.
        compare_retrained: also refit from the data, and report the distance.
        tune: recipe to tune the result by. None takes the model's own, if any; one that is priced on a grid of as many
            loads as before is dropped, which the limitations say.

    Returns:
        The model and the data set to go on with. One request after another gives what a joint one gives.

    Raises:
        InputError: a network; whatever `dataset.without_loads` refuses; a recipe on a grid of another number of loads;
            loads of which nothing is left but what was forgotten.
        MismatchError: the model was not fitted on this data set.
        SingularHessianError: the rows do not determine the parameters.
    """
    start = time.perf_counter()
    model.require_match(dataset)
    require_trained(model)
    after = dataset.without_loads(loads)
    names = tuple(name for name in dataset.load_names if name not in after.load_names)
    recipe, dropped = _recipe(model, after, tune)
    left, same = model.of_loads(dataset, after)
    if not bool(left.weights.any()):
        raise InputError(
            "loads: of those that are left, all measurements were forgotten; nothing would remain to define the model. "
            "Discard it."
        )
    prepared = time.perf_counter()
    kept = [dataset.load_names.index(name) for name in after.load_names]
    known = same and np.array_equal(after.features, dataset.features[:, kept])
    new, statistics = (
        _solved(left, dataset.load_pu[:, kept], after) if known else (left.fitted_anew(after), {**_OF_DATA})
    )
    updated = time.perf_counter()
    distance = None
    if compare_retrained:  # what is fitted anew is the retrained model, so the same problem is solved another way
        distance = (
            relative_distance(new.theta, _refitted(left, after).theta) if known else distance_to_other_solver(new)
        )
    given = earlier(model).get("complete_as_given", True)
    said = [] if given else [f"{INCOMPLETE} an earlier step on this model was not."]
    new.card = replace(new.card, forgotten=[*_others(model, names), _event(dataset, after, given)])
    seconds = {"prepare": prepared - start, "unlearn": updated - prepared, "compare": time.perf_counter() - updated}
    done = WithdrawnLoads(
        model=new,
        dataset=after,
        loads=names,
        complete=given,
        complete_as_given=given,
        distance_to_original=relative_distance(new.theta, left.head_in_columns_of(new).reshape(-1)),
        distance_to_retrained=distance,
        statistics=statistics,
        seconds=seconds,
        limitations=[*kept_constants(left, None if known else new), *said, *dropped, *_readings(after), _OLD],
    )
    if recipe is None:
        return done
    tuned = apply(recipe, done.model, after)
    seconds["tune"] = sum(tuned.seconds.values())
    return replace(done, model=tuned.model, tuned=tuned, limitations=[*done.limitations, RECIPE_KEPT])


#: Statistics of a head that was fitted to the data.
_OF_DATA: dict[str, float | str] = {"solver": "least squares"}


def _recipe(model: Forecaster, after: LoadDataset, tune: Tuning | None) -> tuple[Tuning | None, list[str]]:
    """The recipe to tune by, if any, and what is to be said of one that does not fit any more."""
    recipe = tune or recipe_of(model)
    if recipe is None:
        return None, []
    other = next((grid.case for grid in grids_of(recipe.made()[0]) if grid.case.n_loads != after.n_loads), None)
    if other is None:
        return recipe, []
    if tune is not None:
        raise InputError(
            f"tune: expected a recipe on a grid of the {after.n_loads} loads that are left, got one on {other.name}, "
            f"which has {other.n_loads}. Give a grid of as many loads, or none, and tune the result later."
        )
    return None, [
        f"The tuning was dropped: its grid {other.name} has {other.n_loads} loads, and {after.n_loads} are left. "
        "Forecasts come from the least-squares head. Tune the result on a grid of its loads."
    ]


def _solved(left: Forecaster, before_pu: np.ndarray, after: LoadDataset) -> tuple[Forecaster, dict[str, float | str]]:
    """The model of what is left solved from its block of the sums; from the data where that is too rough."""
    # Sums after an incomplete step may not be those of the data.
    known = left.statistics if earlier(left).get("complete", True) else None
    rows = left.training_rows(after)
    changed = not np.array_equal(before_pu[rows], after.load_pu[rows])
    if known is None or changed:
        design = left.design_of(after, rows)
        old, new = torch.from_numpy(before_pu[rows]), torch.from_numpy(after.load_pu[rows])
        sums = HeadStatistics.of(design, new, left.weights) if known is None else known
        sums = sums if known is None else sums.retarget(design, old, new, left.weights, left.design_noise)
    else:
        sums = known
    live = left.weights.any(dim=0)
    try:
        step = statistics_step(left, sums, sums, left.weights, live.nonzero()[:, 0], "remain_gradient")
    except (InputError, SingularHessianError):
        step = None  # too ill-conditioned for sums; the data decides
    if step is None or not step.accurate:
        return left.with_theta(_refitted(left, after).theta, left.weights, statistics=sums), {**_OF_DATA}
    step = step.without((~live).nonzero()[:, 0], left)
    return left.with_theta(step.theta, left.weights, statistics=step.sums), step.statistics


def _refitted(left: Forecaster, after: LoadDataset) -> Forecaster:
    """The model with every output that has weight fitted to the data by least squares, the others 0."""
    rows = left.training_rows(after)
    target = torch.from_numpy(after.load_pu[rows])
    objective = HeadObjective(left.design_of(after, rows), target, left.card.l2, left.column_names())
    head = torch.zeros_like(left.head)
    for weights, outputs in left.weight_groups(left.weights.any(dim=0).nonzero()[:, 0]):
        head[outputs] = objective.fit(weights).reshape(head.shape)[outputs]
    return left.with_theta(head.reshape(-1))


def _others(model: Forecaster, names: Sequence[str]) -> list[dict[str, Any]]:
    """What was forgotten before, without the names of the loads that are withdrawn."""
    return [
        own if own["loads"] is None else {**own, "loads": [name for name in own["loads"] if name not in names]}
        for own in model.card.forgotten
    ]


def _event(dataset: LoadDataset, after: LoadDataset, complete: bool) -> dict[str, Any]:
    """The step for the card: numbers, and none of the names."""
    customers = [len(getattr(own, "customer_ids", ())) for own in (dataset, after)]
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "withdrawn_loads": dataset.n_loads - after.n_loads,
        "customers": customers[0] - customers[1],
        "loads": [],
        "complete": complete,
        "complete_as_given": complete,
    }


def _readings(after: LoadDataset) -> list[str]:
    """Say where readings of the customers of withdrawn loads still lie."""
    meters = getattr(after, "meters", None)
    if meters is None:
        return []
    place = "in memory with the meters" if meters.source.path is None else f"in {meters.source.path}"
    return [
        f"The readings of the customers of these loads still lie {place}: nothing of them is in the model, nor in the "
        "data set, but they are not destroyed. Call dataset.purged(path) and destroy what was before."
    ]


_OLD = (
    "The model and the data set before still know the loads, wherever they are kept: the sums that were cut off are "
    "theirs. Destroy their files and copies to end that."
)
