"""Complete unlearning: `forget` with the data set, `forget_rows` from the removed rows alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, as_floats, require_choice, require_finite, require_shape
from unlearn.data import LoadDataset
from unlearn.data.hours import Rows
from unlearn.errors import InputError, MismatchError, SolverError
from unlearn.forecasters import Forecaster
from unlearn.linalg import ACCURACY, IhvpOptions
from unlearn.unlearning.lagged import LAGGED, forget_with_lags
from unlearn.unlearning.request import Request, resolve
from unlearn.unlearning.result import Forgotten, concluded, earlier, why_incomplete
from unlearn.unlearning.steps import (
    FORMS,
    distance_to_other_solver,
    exact_step,
    newton_step,
    relative_distance,
    require_trained,
    retrained_head,
    statistics_step,
)
from unlearn.unlearning.tuning.apply import apply, with_tuning
from unlearn.unlearning.tuning.recipe import Tuning, recipe_of


def forget(
    model: Forecaster,
    dataset: LoadDataset,
    rows: Rows,
    *,
    loads: Sequence[str] | None = None,
    form: str = "unlearn_gradient",
    ihvp: IhvpOptions | None = None,
    compare_retrained: bool = False,
    tune: Tuning | None = None,
    lagged: str | None = None,
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
            their outputs change. None forgets whole rows. A load that loses all its rows forecasts 0 from then on.
            Customers are meters inside a load: see `forget_customers`.
        form: form of the update, see `newton_update`.
        ihvp: how to solve with the Hessian.
        compare_retrained: also refit on what remains and report the distance.
        tune: recipe to tune the result by, from what remains alone. A model that is tuned already is un-tuned, forgets
            exactly, and is tuned anew; None takes the recipe that it has, if any. `model.untuned()` has none.
        lagged: what becomes of rows among whose features forgotten loads are (lags). "drop": they are forgotten, too,
            in all outputs; they are in `lagged_rows`. "impute": forgotten loads are replaced in the data set, see
            `unlearn.unlearning.lagged`, and lags that `with_lags` made are made again; go on with the result's
            `dataset`. With both the model is fitted anew (columns, scaler and head; of a network the head), and `form`
            and `ihvp` do not matter. None: they stay as they are, and the result is not complete if there are any.

    Raises:
        InputError: `rows` that are none, all, not in the data set, repeated, forgotten before, or that the head was not
            fitted on; NaN parameters; unknown loads. "impute" where lags are a caller's own; "drop" after "impute", or
            where nothing would remain.
        MismatchError: the model was not fitted on this data set.
        SingularHessianError: what remains does not determine the parameters.

    A model can forget again: it keeps the weights that its head is the minimiser for, and what was forgotten; weights
    that an earlier re-weighting chose stay.
    """
    start = time.perf_counter()
    require_choice("form", form, FORMS)
    recipe = tune or recipe_of(model)
    model.require_match(dataset)
    require_trained(model)
    request = resolve(model, rows, loads, dataset, lagged is not None)
    if lagged is not None:
        done = forget_with_lags(model, dataset, request, loads, require_choice("lagged", lagged, LAGGED), start)
        if compare_retrained:  # it is the retrained model, so the same problem is solved another way
            done = replace(done, distance_to_retrained=distance_to_other_solver(done.model))
        return done if recipe is None else with_tuning(done, apply(recipe, done.model, done.dataset or dataset))
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
    done = concluded(model, request, step, loads, said, seconds, distance_to_retrained=distance, dataset=dataset)
    return done if recipe is None else with_tuning(done, apply(recipe, done.model, dataset))


TAKEN_AS_GIVEN = (
    "The removed rows were taken as given: the model keeps sums over its training rows, which cannot tell whether "
    "these are the very features and loads that it was fitted on."
)

TUNING_DROPPED = (
    "The tuning was dropped, because it is computed from the rows that remain, and these were not given: forecasts "
    "come from the least-squares head. Tune the result with the data set."
)

#: Share of `Σ w y²` by which residuals may be negative through rounding.
SLACK = 1e-8


def forget_rows(
    model: Forecaster, rows: Rows, features: ArrayLike, load_pu: ArrayLike, *, loads: Sequence[str] | None = None
) -> Forgotten:
    """Remove training rows completely, given only those rows.

    The model's sufficient statistics are downdated and solved by one Cholesky factorisation for all
    outputs (for each group of outputs with the same weights). The result is the minimum over what
    remains, whatever the present head. The error of the statistics is tracked; once their estimate
    for the head exceeds `unlearn.linalg.ACCURACY` (1e-9), this refuses, and `forget` goes back to the data.

    Args:
        model: fitted forecaster, with its statistics.
        rows: rows of the data set that the model was fitted on, a mask, hours or a pair of dates, as in `forget`.
        features: their raw features, in the order of `rows`, shape (m, B, F).
        load_pu: their loads in p.u., shape (m, B).
        loads: names of loads; only their measurements in these rows are forgotten. None forgets whole rows.

    Returns:
        As `forget`; that the data given is the data fitted on is the caller's word, so the result is
        `complete_as_given` and never `complete`. `forget` checks it, once it is called with the data set.

    Raises:
        InputError: rows that are none, all, out of range, repeated, or forgotten before; features or
            loads of another shape, or NaN; unknown loads; a model without statistics; NaN parameters.
        MismatchError: rows that cannot have been among the training rows.
        SingularHessianError: what remains does not determine the parameters.
        SolverError: the statistics are no longer accurate enough.
    """
    start = time.perf_counter()
    require_trained(model)
    request = resolve(model, rows, loads)
    if model.statistics is None:
        raise InputError(
            "forget_rows: expected a model with sufficient statistics, got one without (saved by an earlier version?). "
            "Call model.with_statistics(dataset) once, or forget(model, dataset, rows)."
        )
    raw, load = _paired(model, request, rows, features, load_pu)
    after, outputs = request.weights(model), request.changed(model)
    outputs, emptied = outputs[after[:, outputs].any(dim=0)], outputs[~after[:, outputs].any(dim=0)]
    weights = model.weights[request.positions]
    gone = model.forgotten[request.positions][:, request.outputs].all(dim=1).numpy()
    if gone.any():
        raise InputError(
            f"rows to unlearn: {int(gone.sum())} of {len(gone)} were forgotten before, first "
            f"{int(request.unlearn[gone][0])}; nothing of them is left in this model. Leave them out."
        )
    with torch.no_grad():
        design = model.design(torch.from_numpy(raw))
    prepared = time.perf_counter()
    sums = model.statistics.remove(design, torch.from_numpy(load), weights, outputs, model.design_noise)
    try:
        step = statistics_step(model, model.statistics, sums, after, outputs, "remain_gradient")
    except InputError as error:
        raise MismatchError(f"rows to unlearn: they cannot have been among the training rows. {error}") from error
    if not step.accurate:
        raise SolverError(
            f"forget_rows: the estimated error of the head is {step.statistics['error_estimate']:.1e}, above "
            f"{ACCURACY:.0e} (condition number {step.statistics['condition']:.1e}). Use forget(model, dataset, rows), "
            "which goes back to the remaining data."
        )
    head = step.theta.reshape(model.head.shape)
    for group in sums.members(outputs):
        if (sums.of_output(int(group[0])).unexplained(head[group], group) < -SLACK).any():
            raise MismatchError(
                "rows to unlearn: they cannot have been among the training rows; without them the sum of squared "
                "residuals is negative. Check that load_pu are their loads, in p.u. as the model was fitted on."
            )
    step = step.without(emptied, model)
    said = why_incomplete(model, request, step)
    seconds = {"prepare": prepared - start, "unlearn": time.perf_counter() - prepared}
    further = [TUNING_DROPPED] if model.is_tuned else []
    return concluded(model, request, step, loads, said, seconds, given=[TAKEN_AS_GIVEN], further=further)


def _paired(
    model: Forecaster, request: Request, rows: Rows, features: ArrayLike, load_pu: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Features and loads of the rows that the head forgets, in the order of the data set."""
    raw, load = as_floats("features", features, ndim=3), as_floats("load_pu", load_pu, ndim=2)
    n_rows = len(request.rows)
    require_shape("features", raw, (n_rows, len(model.card.load_names), len(model.card.feature_names)))
    require_shape("load_pu", load, (n_rows, len(model.card.load_names)))
    require_finite("features", raw)
    require_finite("load_pu", load)
    given = np.asarray(rows)
    # A mask and a pair of dates are in order; row numbers and hours come as the caller has them.
    in_order = given.dtype == bool or (isinstance(rows, tuple) and given.dtype.kind not in "iu")
    order = np.arange(n_rows) if in_order else np.argsort(given, kind="stable")
    order = order[np.isin(request.rows, request.unlearn)]
    return raw[order], load[order]
