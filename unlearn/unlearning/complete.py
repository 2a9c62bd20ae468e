"""`forget`: complete unlearning, the one call for the common case."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from unlearn.checks import require_choice
from unlearn.data import LoadDataset
from unlearn.data.hours import Rows
from unlearn.forecasters import Forecaster
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.limitations import earlier, why_incomplete
from unlearn.unlearning.newton import FORMS, relative_distance
from unlearn.unlearning.request import require_loads, resolve
from unlearn.unlearning.result import Forgotten, concluded
from unlearn.unlearning.steps import exact_step, newton_step, require_trained, retrained_head


def forget(
    model: Forecaster,
    dataset: LoadDataset,
    rows: Rows,
    *,
    loads: Sequence[str] | None = None,
    form: str = "unlearn_gradient",
    ihvp: IhvpOptions | None = None,
    compare_retrained: bool = False,
) -> Forgotten:
    """Remove training rows from a forecaster completely, without retraining it (eq. 8).

    Args:
        model: fitted forecaster.
        dataset: the data set it was fitted on.
        rows: what to forget, in the data set's own terms whatever the model: row numbers, a boolean mask over all its
            rows, hours (a pandas DatetimeIndex), or a pair of dates `("2007-03-01", "2007-04-01")`, the end excluded.
            Rows that only the extractor of a network was trained on (core) cannot be forgotten; they are listed in
            `not_forgotten`, and the result is not complete. Validation and test rows need no forgetting.
        loads: names of loads (`dataset.load_names`); only their measurements in these rows are forgotten, and only
            their outputs change. None forgets whole rows. A load that loses all its rows, as of a customer who leaves,
            forecasts 0 from then on.
        form: form of the update, see `newton_update`.
        ihvp: how to solve with the Hessian.
        compare_retrained: also refit on what remains and report the distance.

    Raises:
        InputError: `rows` that are none, all, not in the data set, repeated, forgotten before, or that the head was not
            fitted on; NaN parameters; unknown loads.
        MismatchError: the model was not fitted on this data set.
        SingularHessianError: what remains does not determine the parameters.

    A model can forget again: it keeps the weights that its head is the minimiser for, and what was forgotten; weights
    that an earlier re-weighting chose stay.
    """
    start = time.perf_counter()
    require_choice("form", form, FORMS)
    require_loads(loads, model.card.load_names)
    model.require_match(dataset)
    require_trained(model)
    request = resolve(model, rows, loads, dataset)
    positions, after = request.positions, request.weights(model)
    outputs = request.changed(model)
    outputs, emptied = outputs[after[:, outputs].any(dim=0)], outputs[~after[:, outputs].any(dim=0)]
    prepared = time.perf_counter()
    options = ihvp or IhvpOptions()
    if form == "first_order" or options.solver == "cg" or options.damping:
        step = newton_step(model, model.objective(dataset), positions, outputs, form, options)
    else:
        verify = not earlier(model).get("complete", True)
        step = exact_step(model, dataset, positions, after, outputs, form, verify)
    step = replace(step, weights=torch.where(request.forgotten(model), 0.0, step.weights)).without(emptied, model)
    updated = time.perf_counter()
    distance = None
    if compare_retrained:
        retrained = retrained_head(model, model.objective(dataset), positions, outputs).reshape(model.head.shape)
        retrained[emptied] = 0.0
        distance = relative_distance(step.theta, retrained.reshape(-1))
    said = why_incomplete(model, request, step, form, ihvp)
    seconds = {"prepare": prepared - start, "unlearn": updated - prepared, "compare": time.perf_counter() - updated}
    return concluded(model, request, step, loads, said, seconds, distance_to_retrained=distance)
