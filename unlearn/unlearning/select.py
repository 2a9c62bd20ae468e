"""Which rows to unlearn: by influence on a criterion, at random, or by the caller's mask.

Everything returns rows of the data set, which `forget` takes. It also takes a pair of dates, and `loads=` to forget
single loads instead of hours. Customers inside a load are chosen by `unlearn.customer_influence`.

>>> import unlearn
>>> grid = unlearn.load_case("ieee14")
>>> data = unlearn.load_dataset("synthetic", n_hours=1400, nominal_mw=grid.nominal_load_mw)
>>> model = unlearn.fit_linear(data)
>>> rows = unlearn.select.by_influence(model, data, "cost", share=0.1, kind="harmful", grid=grid)
>>> result = unlearn.forget(model, data, rows)
>>> len(result.unlearn_rows), result.complete
(98, True)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    FloatArray,
    IntArray,
    as_floats,
    require_choice,
    require_finite,
    require_fraction,
    require_shape,
)
from unlearn.criteria import Criterion, evaluation_rows, make_criterion, require_base
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.influence import criterion_gradient, influence_scores
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.steps import common_forgotten

#: Rows whose removal makes a criterion worse, and those whose removal makes it better.
KINDS = ("helpful", "harmful")


def by_influence(
    model: Forecaster,
    dataset: LoadDataset,
    criterion: str | Criterion = "mse",
    share: float = 0.1,
    kind: str = "helpful",
    *,
    grid: OperatingCost | GridCase | str | None = None,
    evaluate_on: str | ArrayLike = "validation",
    ihvp: IhvpOptions | None = None,
) -> IntArray:
    """Pick the rows whose removal should make a criterion worst ("helpful") or best ("harmful").

    Influence is the change of the criterion if a row is removed and the head refitted, to first order.

    Args:
        model: fitted forecaster.
        dataset: the data set it was fitted on.
        criterion: "mse", "mape" or "cost", or one of your own.
        share: share of the rows that the head was fitted on and has not forgotten, between 0 and 1.
        kind: "helpful" or "harmful".
        grid: the grid that "cost" is priced on.
        evaluate_on: rows that the criterion is taken on, as in `reweight`.
        ihvp: how to solve with the Hessian.

    Returns:
        Rows of the data set, sorted.

    Raises:
        InputError: unknown names, a share outside 0 to 1, "cost" without a grid, no rows to evaluate on.
        MismatchError: the model was not fitted on this data set.
    """
    require_choice("kind", kind, KINDS)
    require_fraction("share", share)
    wanted = make_criterion(criterion, grid)
    model.require_match(dataset)
    require_base(wanted, dataset)
    seen = evaluation_rows(dataset, evaluate_on)
    slope = criterion_gradient(model, wanted, dataset.features[seen], dataset.load_pu[seen]).gradient
    remain = ~common_forgotten(model)
    influence = influence_scores(model.objective(dataset), model.theta, slope, remain.double(), ihvp).numpy()
    kept = np.flatnonzero(remain.numpy())
    return model.training_rows(dataset)[kept[extreme(influence[kept], share, kind)]]


def extreme(influence: ArrayLike, share: float, kind: str = "helpful") -> IntArray:
    """Positions of the share of scores that are largest ("helpful") or smallest ("harmful"), sorted.

    Args:
        influence: change of the criterion if a row is removed, shape (n,).
        share: share of the rows, between 0 and 1.
        kind: "helpful" or "harmful".
    """
    require_choice("kind", kind, KINDS)
    values: FloatArray = as_floats("influence", influence, ndim=1)
    require_finite("influence", values)
    order = np.argsort(values if kind == "harmful" else -values, kind="stable")
    return np.sort(order[: count(share, len(values))])


def at_random(rows: ArrayLike, share: float, seed: int = 0) -> IntArray:
    """Pick a share of rows without replacement, such as of `model.training_rows(dataset)`.

    Args:
        rows: to pick from, shape (n,).
        share: between 0 and 1.
        seed: of the choice.
    """
    own = np.asarray(rows)
    if own.ndim != 1 or not np.issubdtype(own.dtype, np.integer):
        raise InputError(
            f"rows: expected row numbers to pick from, such as model.training_rows(dataset), got {rows!r}."
        )
    return np.sort(own[np.random.default_rng(seed).permutation(len(own))[: count(share, len(own))]])


def by_mask(mask: ArrayLike, n_rows: int) -> IntArray:
    """Pick the rows that a mask over the data set's rows marks, such as data found to be poisoned."""
    marked = np.asarray(mask)
    if marked.dtype != bool:
        raise InputError(f"mask: expected booleans, got {marked.dtype}.")
    require_shape("mask", marked, (n_rows,))
    return np.flatnonzero(marked)


def count(share: float, n_rows: int) -> int:
    """Number of rows in a share, rounded to the nearest, at least 1."""
    return max(1, round(require_fraction("share", share) * n_rows))
