"""`forget_rows`: forgetting from the removed rows alone, without the other training data."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_rows, require_shape
from unlearn.errors import InputError, MismatchError, SolverError
from unlearn.forecasters import Forecaster
from unlearn.linalg import ACCURACY
from unlearn.unlearning.declare import why_incomplete
from unlearn.unlearning.forget import Forgotten, concluded, require_loads
from unlearn.unlearning.steps import require_trained, statistics_step, touched_outputs, with_weight

TAKEN_AS_GIVEN = (
    "The removed rows were taken as given: the model keeps sums over its training rows, which cannot tell whether "
    "these are the very features and loads that it was fitted on."
)

#: Share of `Σ w y²` by which residuals may be negative through rounding.
SLACK = 1e-8


def forget_rows(
    model: Forecaster,
    rows: ArrayLike,
    features: ArrayLike,
    load_pu: ArrayLike,
    *,
    loads: Sequence[str] | None = None,
) -> Forgotten:
    """Remove training rows completely, given only those rows.

    The model's sufficient statistics are downdated and solved by one Cholesky factorisation for all
    outputs (for each group of outputs with the same weights). The result is the minimum over what
    remains, whatever the present head. The error of the statistics is tracked; once their estimate
    for the head exceeds `unlearn.linalg.ACCURACY` (1e-9), this refuses, and `forget` goes back to the data.

    Args:
        model: fitted forecaster, with its statistics.
        rows: rows to forget, or a boolean mask; they index the head's training rows, as in `forget`.
        features: their raw features, in the order of `rows`, shape (m, B, F).
        load_pu: their loads in p.u., shape (m, B).
        loads: names of loads; only their measurements in these rows are forgotten. None forgets whole rows.

    Returns:
        As `forget`; that the data given is the data fitted on is the caller's word, and declared.

    Raises:
        InputError: rows that are none, all, out of range, repeated, or forgotten before; features or
            loads of another shape, or NaN; unknown loads; a model without statistics; NaN parameters.
        MismatchError: rows that cannot have been among the training rows.
        SingularHessianError: what remains does not determine the parameters.
        SolverError: the statistics are no longer accurate enough.
    """
    start = time.perf_counter()
    require_trained(model)
    if model.statistics is None:
        raise InputError(
            "forget_rows: expected a model with sufficient statistics, got one without (saved by an earlier version?). "
            "Call model.with_statistics(dataset) once, or forget(model, dataset, rows)."
        )
    require_loads(loads, model.card.load_names)
    unlearn_rows = require_rows("rows to unlearn", rows, len(model.weights))
    raw, load = _paired(model, rows, len(unlearn_rows), features, load_pu)
    touched = touched_outputs(model, loads)
    after, outputs = with_weight(model, unlearn_rows, touched)
    weights = model.weights[unlearn_rows]
    _refuse_forgotten(unlearn_rows, (weights[:, touched] == 0).all(dim=1).numpy())
    with torch.no_grad():
        design = model.design(torch.from_numpy(raw))
    prepared = time.perf_counter()
    sums = model.statistics.remove(design, torch.from_numpy(load), weights, outputs, model.design_noise)
    form = "remain_gradient"
    try:
        step = statistics_step(model, model.statistics, sums, after, outputs, form)
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
    said = why_incomplete(model, step, unlearn_rows, form, None, None)
    seconds = {"prepare": prepared - start, "unlearn": time.perf_counter() - prepared}
    result = concluded(model, step, unlearn_rows, loads, said, seconds)
    result.declared.append(TAKEN_AS_GIVEN)
    return result


def _paired(
    model: Forecaster, rows: ArrayLike, n_rows: int, features: ArrayLike, load_pu: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Features and loads in the order of the sorted rows."""
    raw, load = as_floats("features", features, ndim=3), as_floats("load_pu", load_pu, ndim=2)
    require_shape("features", raw, (n_rows, len(model.card.load_names), len(model.card.feature_names)))
    require_shape("load_pu", load, (n_rows, len(model.card.load_names)))
    require_finite("features", raw)
    require_finite("load_pu", load)
    given = np.asarray(rows)
    if given.dtype == bool or not n_rows:
        return raw, load
    order = np.argsort(given)
    return raw[order], load[order]


def _refuse_forgotten(rows: IntArray, forgotten: np.ndarray) -> None:
    if forgotten.any():
        raise InputError(
            f"rows to unlearn: {int(forgotten.sum())} of {len(rows)} were forgotten before, first "
            f"{int(rows[forgotten][0])}; they have no weight in this model. Leave them out."
        )
