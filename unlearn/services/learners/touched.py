"""Rows of a forecaster's data set that held what is removed, as loads or as lags of them, and those not learnt."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import BoolArray, IntArray
from unlearn.data import LoadDataset
from unlearn.forecasters import Forecaster
from unlearn.forecasters.base import HEAD, UNUSED
from unlearn.services.base import CUSTOMERS, HOURS, Change
from unlearn.services.learners.learnable import require_customers


def touched_rows(model: Forecaster, change: Change, parts: IntArray) -> BoolArray:
    """Training rows that held something of what is removed, and that the model has not forgotten, shape (N,).

    >>> import unlearn
    >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000, lags=[24])
    >>> model, rows = unlearn.fit_linear(data), np.arange(10)
    >>> change = Change(HOURS, data, data.blanked(rows), rows=rows)
    >>> np.flatnonzero(touched_rows(model, change, model.parts_of(data).numpy())).tolist()[8:12]
    [8, 9, 24, 25]

    Args:
        model: fitted to `change.before`.
        change: what is removed.
        parts: what each row was used for, as `Forecaster.parts_of` says it.
    """
    trained = parts != UNUSED
    if change.subject == HOURS:
        return trained & _with_hours(model, change, parts)
    if change.subject == CUSTOMERS:
        return trained & _with_customers(change)
    return trained


def _with_hours(model: Forecaster, change: Change, parts: IntArray) -> BoolArray:
    names = model.card.load_names
    asked = np.zeros((len(parts), len(names)), dtype=bool)
    columns = [b for b, own in enumerate(names) if change.loads is None or own in change.loads]
    asked[np.ix_(change.rows, np.array(columns))] = True
    learnt = np.ones_like(asked)
    learnt[parts == HEAD] = ~model.forgotten.numpy()
    return np.asarray((asked & learnt).any(axis=1) | (holders(change.before, asked) & learnt.any(axis=1)))


def _with_customers(change: Change) -> BoolArray:
    before, after = require_customers(change.before), require_customers(change.after)
    # In kWh, which have no rounding error: factors may be others.
    moved = (before.roster.known_kwh() != after.roster.known_kwh()).any(axis=1)
    start, n_rows = before.n_history, len(before.timestamps)
    found = moved[start:].copy()
    for hours in {own for lag in before.lags for own in lag.hours}:
        first = max(0, hours - start)  # hours before the meters are not known to any lag
        found[first:] |= moved[start + first - hours : start + n_rows - hours]
    return np.asarray(found)


def holders(dataset: LoadDataset, measurements: BoolArray) -> BoolArray:
    """Rows of which some measurements, shape (N, B), are lags, shape (N,)."""
    found = np.zeros(len(measurements), dtype=bool)
    for lag in dataset.lags:
        beside = [b for b, name in enumerate(dataset.load_names) if lag.load in (None, name)]
        rows = np.flatnonzero(measurements[:, beside].any(axis=1))
        held = (rows[:, None] + np.array(lag.hours)).ravel()
        found[held[(held >= 0) & (held < len(found))]] = True
    return found


def held_rows(dataset: LoadDataset, marks: BoolArray) -> IntArray:
    """Rows of which some measurement is marked, shape (N, B), or has a marked one among its lags."""
    return np.flatnonzero(marks.any(axis=1) | holders(dataset, marks))


def unlearnt(model: Forecaster, dataset: LoadDataset, marks: BoolArray) -> Tensor:
    """Measurements of the head's rows that are not learnt, shape (n, B): those marked, and rows that hold them as lags.

    Args:
        model: of the data set.
        dataset: with the loads that are left.
        marks: measurements that were removed, shape (N, B).
    """
    gone = marks | holders(dataset, marks)[:, None]
    return torch.from_numpy(gone[model.training_rows(dataset)])
