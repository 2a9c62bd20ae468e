"""Forgetting where loads are features of other hours (lags): the model is fitted anew to what knows none of them.

A load of a forgotten hour also stands in other rows. There are two ways to be rid of it, and both end in the model that
would have been fitted by the same rule from the start:

- "drop": rows among whose features a forgotten load is are forgotten, too, as a whole;
- "impute": each forgotten load is replaced in the data set, and lags that `LoadDataset.with_lags` made are made again.
  It is replaced by the mean of that load over the remaining training hours of the same hour of the week; where none
  remains, of the same hour of the day; where none remains, of all that remain; and by 0 where a load has none left. So
  what is imputed depends on which loads are forgotten, all those before among them, and not on what they were or on
  the order in which they were forgotten.

The scaler and the choice of columns saw the lags, so they are fitted anew as well. What is frozen is not: a network
whose extractor was trained on rows that held forgotten loads has not forgotten them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray
from unlearn.data import LoadDataset
from unlearn.data.features import Lag
from unlearn.data.hours import hour_ranges
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.unlearning.request import Request
from unlearn.unlearning.result import INCOMPLETE, Forgotten, concluded, earlier, loads_meant, still_there
from unlearn.unlearning.steps import Step

#: What may become of rows that hold forgotten loads.
LAGGED = ("impute", "drop")


def forget_with_lags(
    model: Forecaster,
    dataset: LoadDataset,
    request: Request,
    loads: Sequence[str] | None,
    lagged: str,
    start: float,
) -> Forgotten:
    """Forget what a request means, and what of it stands in the features of other rows.

    Args:
        model: the model before.
        dataset: the data set it was fitted on.
        request: what is forgotten.
        loads: names of the loads that are meant, for the card; None means all.
        lagged: "impute" or "drop".
        start: when it began, as `time.perf_counter` has it.

    Raises:
        InputError: "impute" where lags are a caller's own; "drop" after "impute", or where nothing would remain.
        SingularHessianError: what remains does not determine the parameters.
    """
    meant = set(loads_meant(model, request))
    lags = [lag for lag in dataset.lags if lag.load is None or lag.load in meant]
    more: dict[str, object] = {"lagged": lagged}
    if lagged == "drop":
        request = _with_holders(request, model, lags)
        now = dataset
        more["lagged_rows"] = hour_ranges(request.timestamps, request.head_rows[request.dropped])
        happened = (
            f"{len(request.dropped)} other training rows, of which forgotten loads were features, are forgotten, too. "
            "Their own loads, which were not asked for, are still lags of others."
        )
    else:
        _require_made(lags)
        gone = _gone(model, request, len(dataset.timestamps))
        load_mw = imputed(dataset.load_mw, dataset.timestamps, dataset.split.train, gone)
        # Found lags are declared from now on: they need not equal a shifted load any more.
        now = replace(dataset.with_loads(load_mw), declared_lags=dataset.lags)
        more["imputed"] = hour_ranges(request.timestamps, request.rows)
        happened = (
            f"{int(gone.sum())} forgotten loads are imputed in the data set that the model is now fitted on, by means "
            "of the remaining training hours of the same hour of the week. Go on with result.dataset."
        )
    if torch.equal(request.forgotten(model), model.forgotten) and np.array_equal(now.load_mw, dataset.load_mw):
        raise InputError(
            f"rows to unlearn: all {len(request.positions)} were forgotten before; there is nothing of them left in "
            "this model."
        )
    prepared = time.perf_counter()
    anew = model.fitted_anew(now, request.weights(model), request.forgotten(model))
    fitted = time.perf_counter()
    said = still_there(model, request, _frozen_rows(model, request), anew=True)
    if not earlier(model).get("complete_as_given", True):
        said.append(f"{INCOMPLETE} an earlier step on this model was not.")
    step = Step(anew.theta, anew.weights, {"solver": "least squares", "relative_residual": 0.0}, 0.0, anew.statistics)
    seconds = {"prepare": prepared - start, "unlearn": fitted - prepared, "compare": 0.0}
    further = [happened, *_history(model, request, dataset)]
    return concluded(model, request, step, loads, said, seconds, further=further, dataset=now, anew=anew, more=more)


def imputed(load_mw: FloatArray, timestamps: pd.DatetimeIndex, train: IntArray, gone: NDArray[np.bool_]) -> FloatArray:
    """Loads in which what is gone is replaced by means of what remains of the training hours.

    Args:
        load_mw: shape (N, B).
        timestamps: N hours.
        train: training rows.
        gone: which loads are replaced, shape (N, B).

    Returns:
        Shape (N, B), in the unit of `load_mw`.

    >>> hours = pd.date_range("2024-01-01", periods=4, freq="168h")
    >>> loads = np.array([[1.0], [2.0], [4.0], [9.0]])
    >>> imputed(loads, hours, np.arange(3), np.array([[False], [True], [False], [False]])).ravel()
    array([1. , 2.5, 4. , 9. ])
    """
    hour = timestamps.hour.to_numpy().astype(np.int64)
    kinds = (24 * timestamps.day_of_week.to_numpy().astype(np.int64) + hour, hour, np.zeros_like(hour))
    found = load_mw.copy()
    for b in np.flatnonzero(gone.any(axis=0)):
        remaining, missing = train[~gone[train, b]], np.flatnonzero(gone[:, b])
        value = np.zeros(len(missing))
        for kind in reversed(kinds):
            size = int(kind.max()) + 1
            count = np.bincount(kind[remaining], minlength=size)
            mean = np.bincount(kind[remaining], load_mw[remaining, b], minlength=size) / np.maximum(count, 1)
            value = np.where(count[kind[missing]] > 0, mean[kind[missing]], value)
        found[missing, b] = value
    return found


def _gone(model: Forecaster, request: Request, n_rows: int) -> NDArray[np.bool_]:
    """All that is forgotten, now and before, whatever the row was used for, shape (N, B)."""
    names = model.card.load_names
    gone = np.zeros((n_rows, len(names)), dtype=bool)
    gone[request.head_rows] = request.forgotten(model).numpy()
    gone[np.ix_(request.rows, request.outputs.numpy())] = True
    for event in model.card.forgotten:
        columns = np.array([b for b, name in enumerate(names) if event["loads"] is None or name in event["loads"]])
        for first, last in event.get("imputed", ()):
            rows = np.flatnonzero((request.timestamps >= first) & (request.timestamps <= last))
            gone[np.ix_(rows, columns)] = True
    return gone


def _with_holders(request: Request, model: Forecaster, lags: Sequence[Lag]) -> Request:
    """The request, with the rows of the head among whose features forgotten loads are."""
    if any(event.get("imputed") for event in model.card.forgotten):
        raise InputError(
            'lagged: expected "impute" from now on, got "drop": loads that were forgotten before are imputed by means '
            "of those that remained, which have to be taken anew."
        )
    rows = [request.held_by(lag.hours, request.head_rows) for lag in lags]
    held = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *rows]))
    gone = request.forgotten(model).all(dim=1).numpy()
    positions = np.searchsorted(request.head_rows, held)
    wider = replace(request, dropped=positions[~gone[positions]])
    if not bool(wider.weights(model).any()):
        raise InputError(
            f"lagged: expected rows that hold none of the forgotten loads, got {len(held)} of {len(request.head_rows)} "
            'that do, so that nothing would remain with "drop" to define the model. Forget fewer hours, or take '
            '"impute".'
        )
    return wider


def _require_made(lags: Sequence[Lag]) -> None:
    own = [lag for lag in lags if not lag.made]
    if own:
        raise InputError(
            f'lagged: expected lags that with_lags made for "impute", got {own[0]}: how to make it again is not known. '
            'Take "drop", or make lags with lags=[24, 168].'
        )


def _frozen_rows(model: Forecaster, request: Request) -> IntArray:
    """Rows whose features, as they were, shaped a part of the model that is not fitted anew."""
    if model.card.head_rows == "sensitive":
        return np.setdiff1d(request.fitted_on, request.head_rows)
    return request.fitted_on[:0] if model.design_fitted_anew else request.fitted_on


def _history(model: Forecaster, request: Request, dataset: LoadDataset) -> list[str]:
    """Say that the hours before the first row are no rows, where a load is forgotten altogether."""
    withdrawn = request.forgotten(model).all(dim=0) & ~model.forgotten.all(dim=0)
    if not bool(withdrawn.any()) or not len(dataset.history_mw):
        return []
    names = ", ".join(np.array(model.card.load_names)[withdrawn.numpy()])
    return [
        f"Loads of {names} in the {len(dataset.history_mw)} hours before the first row are no rows that could be "
        "named; they stay among the lags of the first rows. Build the data set without them to be rid of these."
    ]
