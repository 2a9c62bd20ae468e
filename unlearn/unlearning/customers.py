"""`forget_customers`: a customer is a meter inside a load, so forgetting one changes targets, not rows.

With `y_b = a_b Σ_{c in b} m_c` the head without customer c is `θ_b − G_b⁻¹ Φ' W a_b m_c`, G the weighted Gram matrix: a
refit on the load without c. It takes the kept sums, the rows Φ and the customer's own series.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import BoolArray, IntArray
from unlearn.data.hours import Rows, hour_ranges
from unlearn.errors import InputError, SingularHessianError
from unlearn.forecasters import Forecaster, HeadObjective, HeadStatistics
from unlearn.forecasters.base import FROZEN, HEAD, UNUSED
from unlearn.households.customers import CASES, CustomerLoads
from unlearn.unlearning.result import INCOMPLETE, earlier, kept_constants
from unlearn.unlearning.steps import (
    distance_to_other_solver,
    relative_distance,
    require_trained,
    statistics_step,
)
from unlearn.unlearning.tuning.apply import RECIPE_KEPT, Tuned, apply
from unlearn.unlearning.tuning.recipe import Tuning, recipe_of

#: Statistics of a head that was fitted to the data.
OF_DATA: dict[str, float | str] = {"solver": "least squares"}


@dataclass(frozen=True, eq=False)
class ForgottenCustomers:
    """What `forget_customers` did.

    Attributes:
        model: the forecaster without the customers.
        dataset: the data set that it is fitted on now; go on with it. Training rows hold what models may learn,
            validation and test rows the physical load.
        customers: who was forgotten.
        case: "leaves" or "objects".
        replacement: what fills the gap of objectors; None if nothing does.
        hours: first and last hour of each run of rows in which some load changed, as ISO text.
        loads: names of the loads that changed; with "class_mean" also those of earlier objectors of the class.
        complete: True if the result is the model fitted on the data set without the customers, up to rounding, and no
            other part of the model learnt from them.
        complete_as_given: True if it is, provided that an extractor which was fitted on data of unnamed customers never
            saw these; the model cannot check that.
        distance_to_original: `‖θ − θ*‖ / ‖θ*‖`.
        distance_to_retrained: `‖θ − θ_R‖ / ‖θ_R‖`, if asked for.
        statistics: solver, residual, condition number.
        seconds: wall time by stage.
        limitations: what still depends on the customers, in sentences; read this before you certify a deletion.
        tuned: how the model was tuned afterwards; None if it was not.
    """

    model: Forecaster
    dataset: CustomerLoads
    customers: tuple[str, ...]
    case: str
    replacement: str | None
    hours: list[list[str]]
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
        what = self.case if self.replacement is None else f"{self.case}, {self.replacement}"
        n = len(self.customers)
        return f"ForgottenCustomers({n} customer{'s' * (n > 1)}, {what}, {len(self.loads)} loads changed, {kind})"


def forget_customers(
    model: Forecaster,
    dataset: CustomerLoads,
    customers: Iterable[str],
    case: str = CASES[0],
    *,
    hours: Rows | None = None,
    replacement: str | None = None,
    compare_retrained: bool = False,
    tune: Tuning | None = None,
) -> ForgottenCustomers:
    """Remove customers from a forecaster of the loads that they are part of, without retraining it.

    Without lags among the features, the head is solved again from its kept sums, which change by the customers' own
    series. With lags, the customers are in every row: lags are rebuilt and the head is fitted anew. Either way the
    result is the model fitted on loads without them, with preprocessing held fixed as the limitations list it.

    >>> import unlearn
    >>> from unlearn.households import simulate_households, spread
    >>> meters = unlearn.hourly_meters(simulate_households(30, n_days=30))
    >>> data = unlearn.customer_loads(meters, spread(meters.customer_ids, 2))
    >>> done = unlearn.forget_customers(unlearn.fit_linear(data), data, ["SIM000007"])
    >>> done.complete, len(done.loads), len(done.dataset.customer_ids)
    (True, 1, 29)

    Args:
        model: forecaster fitted on the data set.
        dataset: loads that know their customers.
        customers: names, at least one.
        case: "leaves": the customer is gone, and the physical load falls; "objects": the load stays, only its use for
            models ends.
        hours: rows of the data set in any form that `forget` takes; None is each customer's whole life.
        replacement: with "objects", None, "class_mean" or "rescale"; see `CustomerLoads.without`.
        compare_retrained: also refit what changed from the data, and report the distance.
        tune: recipe to tune the result by, from what remains; None takes the model's own, if any.

    The factors of the loads are kept, and they saw the customers. To refit them as well, scale what is left anew and
    fit the model anew to it: `again = done.dataset.scaled_to(nominal_mw)` and `done.model.fitted_anew(again)`.

    Returns:
        The model and the data set to go on with. One request after another gives what a joint one gives.

    Raises:
        InputError: no data set of customers, or whatever `CustomerLoads.without` refuses; a model that was trained as a
            whole; hours that no part of the model was fitted on.
        MismatchError: the model was not fitted on this data set.
        SingularHessianError: the rows do not determine the parameters.
    """
    start = time.perf_counter()
    if not isinstance(dataset, CustomerLoads):
        raise InputError(
            f"dataset: expected CustomerLoads, which know their customers, got {type(dataset).__name__}. Build them "
            "with customer_loads, or forget hours with forget()."
        )
    recipe = tune or recipe_of(model)
    model.require_match(dataset)
    require_trained(model)
    places = dataset.meters.positions("customers", customers)
    names = tuple(dataset.meters.customer_ids[i] for i in places)
    after = dataset.without(names, case, hours, replacement)
    refeatured = (after.features != dataset.features).any(axis=2)
    changed = (after.load_mw != dataset.load_mw) | refeatured
    parts = model.parts_of(dataset).numpy()
    _require_fitted(parts, changed)
    prepared = time.perf_counter()
    lagged = bool(refeatured.any())
    new, statistics = (model.fitted_anew(after), {**OF_DATA}) if lagged else _solved(model, dataset, after)
    updated = time.perf_counter()
    distance = None
    if compare_retrained:
        # What is fitted anew is the retrained model, so the same problem is solved another way.
        if lagged:
            distance = distance_to_other_solver(new)
        else:
            distance = relative_distance(new.theta, _refitted(model, after, new.head).theta)
    said, given = _why_incomplete(model, parts, changed), _taken_as_given(model)
    ranges = hour_ranges(after.timestamps, np.flatnonzero(changed.any(axis=1)))
    loads = tuple(after.load_names[b] for b in np.flatnonzero(changed.any(axis=0)))
    event = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "customers": len(names),
        "case": case,
        "replacement": replacement,
        "hours": ranges,
        "loads": list(loads),
        "complete": not said and not given,
        "complete_as_given": not said,
    }
    new.card = replace(new.card, fingerprint=after.fingerprint, forgotten=[*model.card.forgotten, event])
    seconds = {"prepare": prepared - start, "unlearn": updated - prepared, "compare": time.perf_counter() - updated}
    done = ForgottenCustomers(
        model=new,
        dataset=after,
        customers=names,
        case=case,
        replacement=replacement,
        hours=ranges,
        loads=loads,
        complete=not said and not given,
        complete_as_given=not said,
        distance_to_original=relative_distance(
            new.theta, model.head_in_columns_of(new).reshape(-1) if lagged else model.theta
        ),
        distance_to_retrained=distance,
        statistics=statistics,
        seconds=seconds,
        limitations=[
            *kept_constants(model, new if lagged else None),
            *said,
            *given,
            _READINGS.format(_place(dataset)),
            _OLD,
        ],
    )
    if recipe is None:
        return done
    tuned = apply(recipe, done.model, after)
    seconds["tune"] = sum(tuned.seconds.values())
    return replace(done, model=tuned.model, tuned=tuned, limitations=[*done.limitations, RECIPE_KEPT])


def _require_fitted(parts: IntArray, changed: BoolArray) -> None:
    """Refuse a model without head rows, and hours that no part of the model was fitted on."""
    if not (parts == HEAD).any():
        raise InputError(
            "model: expected one whose head was fitted to rows of its own, got a network that was trained as a whole. "
            "Train it anew on a data set without the customers: dataset.without(customers)."
        )
    if not changed[parts != UNUSED].any():
        raise InputError(
            "hours: the model was fitted on none of them (they are validation or test rows), or the customers used no "
            "energy in them; nothing to forget. dataset.without(customers) is the data set without them."
        )


def _solved(
    model: Forecaster, dataset: CustomerLoads, after: CustomerLoads
) -> tuple[Forecaster, dict[str, float | str]]:
    """The model with what changed solved again from its sums; from the data where those are too rough."""
    rows = model.training_rows(dataset)
    design = model.design_of(dataset, rows)
    old, new = torch.from_numpy(dataset.load_pu[rows]), torch.from_numpy(after.load_pu[rows])
    # Sums after an incomplete step may not be those of the data.
    known = model.statistics if earlier(model).get("complete", True) else None
    before = known or HeadStatistics.of(design, old, model.weights)
    sums = before.retarget(design, old, new, model.weights, model.design_noise)
    outputs = ((old != new).any(dim=0) & model.weights.any(dim=0)).nonzero()[:, 0]
    try:
        step = statistics_step(model, sums, sums, model.weights, outputs, "remain_gradient")
    except (InputError, SingularHessianError):
        step = None  # too ill-conditioned for sums; the data decides
    if step is None or not step.accurate:
        refitted = _refitted(model, after, model.head)
        return refitted.with_theta(refitted.theta, model.weights, None, sums), {**OF_DATA}
    return model.with_theta(step.theta, model.weights, None, sums), step.statistics


def _refitted(model: Forecaster, after: CustomerLoads, head: Tensor) -> Forecaster:
    """The model with every output that has weight fitted to the data by least squares, the others as in `head`."""
    rows = model.training_rows(after)
    target = torch.from_numpy(after.load_pu[rows])
    objective = HeadObjective(model.design_of(after, rows), target, model.card.l2, model.column_names())
    fitted = head.clone()
    for weights, outputs in model.weight_groups(model.weights.any(dim=0).nonzero()[:, 0]):
        fitted[outputs] = objective.fit(weights).reshape(head.shape)[outputs]
    return model.with_theta(fitted.reshape(-1))


def _why_incomplete(model: Forecaster, parts: IntArray, changed: BoolArray) -> list[str]:
    said = []
    frozen = (parts == FROZEN) & changed.any(axis=1)
    if frozen.any():
        said.append(
            f"{INCOMPLETE} the extractor was trained on {int(frozen.sum())} hours of loads that the customers were "
            "part of. It is frozen and was not changed. Fit the network with extractor_from= data of others, or a "
            "release."
        )
    if not earlier(model).get("complete_as_given", True):
        said.append(f"{INCOMPLETE} an earlier step on this model was not.")
    return said


def _taken_as_given(model: Forecaster) -> list[str]:
    """What only the caller knows: whom an extractor saw that was fitted on data without names."""
    origin = model.card.settings.get("extractor_from")
    if origin is None or origin["customers"] is not None:
        return []
    return [
        f"That the extractor never saw these customers was taken as given: it was fitted on {origin['data']}, which "
        "does not say whose data it is. Fit it on CustomerLoads of others, and it is checked."
    ]


_READINGS = (
    "The readings of the customers still lie {}: nothing of them is in the model, nor in the loads, but they are "
    "not destroyed. Call dataset.purged(path) and destroy what was before."
)


_OLD = (
    "The model and the data set before still know the customers, wherever they are kept: the difference of their sums "
    "is the load of the customers itself, as the features tell it. Destroy their files and copies to end that."
)


def _place(dataset: CustomerLoads) -> str:
    path = dataset.meters.source.path
    return "in memory with the meters" if path is None else f"in {path}"
