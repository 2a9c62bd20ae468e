"""`forget`: the one call for the common case."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, require_not_negative, require_rows
from unlearn.criteria import Criterion, make_criterion
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster, HeadObjective
from unlearn.grid import GridCase, OperatingCost
from unlearn.influence import criterion_gradient
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.newton import newton_update
from unlearn.unlearning.retrain import relative_distance, retrain
from unlearn.unlearning.reweight import Reweighting


@dataclass(frozen=True, eq=False)
class Forgotten:
    """What `forget` did.

    Attributes:
        model: the unlearnt forecaster.
        unlearn_rows: positions in the head's training rows that were removed.
        weights: weight of every training row, 0 where removed, shape (n,); with `loads` these are
            the weights of the named loads' outputs only.
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
    """
    start = time.perf_counter()
    reweighting = Reweighting(require_not_negative("l1_budget", l1_budget), linf_budget)
    _require_sensible(criterion, l1_budget, loads, form)
    if loads is not None:
        _require_loads(loads, model.card.load_names)
    judge = None if criterion is None else make_criterion(criterion, grid)
    objective = model.objective(dataset)
    unlearn_rows = require_rows("rows to unlearn", rows, objective.n_samples)
    theta = model.theta
    prepared = time.perf_counter()
    if judge is None:
        update = newton_update(objective, theta, unlearn_rows, form, ihvp)
    else:
        seen = evaluation_rows(dataset, evaluate_on)
        slope = criterion_gradient(model, judge, dataset.features[seen], dataset.load_pu[seen])
        update = reweighting.update(objective, theta, unlearn_rows, slope.gradient, ihvp)
    new_theta = update.theta if loads is None else _only(loads, model, theta, update.theta)
    updated = time.perf_counter()
    distance = None
    if compare_retrained:
        retrained = retrain(objective, unlearn_rows)
        retrained = retrained if loads is None else _only(loads, model, theta, retrained)
        distance = relative_distance(new_theta, retrained)
    remain = np.setdiff1d(np.arange(objective.n_samples), unlearn_rows)
    reweighted = int((update.weights[remain] != 1).sum())
    damped = ihvp is not None and ihvp.damping > 0
    exact = form != "first_order" and not damped
    return Forgotten(
        model=model.with_theta(new_theta),
        unlearn_rows=unlearn_rows,
        weights=update.weights.numpy(),
        distance_to_original=relative_distance(new_theta, theta),
        distance_to_retrained=distance,
        criterion=None if judge is None else judge.name,
        complete=exact and not reweighted,
        statistics=update.solution.statistics,
        seconds={
            "prepare": prepared - start,
            "unlearn": updated - prepared,
            "compare": time.perf_counter() - updated,
        },
        declared=_declare(model, objective, reweighted, exact),
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


def _require_sensible(
    criterion: str | Criterion | None, l1_budget: float, loads: Sequence[str] | None, form: str
) -> None:
    if criterion is None and l1_budget > 0:
        raise InputError(
            f'l1_budget={l1_budget} without a criterion: name what to re-weight for ("mse", "mape", "cost"), '
            "or leave the budget at 0 for complete unlearning."
        )
    if criterion is not None and loads is not None:
        raise InputError("loads with a criterion: single loads can only be forgotten completely (criterion=None).")
    if criterion is not None and form != "unlearn_gradient":
        raise InputError(f"form={form!r} with a criterion: forms are those of complete unlearning (criterion=None).")


def _require_loads(loads: Sequence[str], names: Sequence[str]) -> None:
    if isinstance(loads, str):
        raise InputError(f"loads: expected a list of names, got {loads!r}; write [{loads!r}].")
    unknown = [name for name in loads if name not in names]
    if unknown or not len(loads):
        raise InputError(f"loads: expected some of {', '.join(names)}; got {', '.join(map(str, unknown)) or 'none'}.")


def _only(loads: Sequence[str], model: Forecaster, old: Tensor, new: Tensor) -> Tensor:
    """Take the new head for the named loads and the old one for all others.

    The Hessian is block diagonal over outputs, so a load's measurements touch its own row only.
    """
    touched = torch.from_numpy(np.isin(model.card.load_names, list(loads)))
    heads = torch.where(touched[:, None], new.reshape(model.head.shape), old.reshape(model.head.shape))
    return heads.reshape(-1)


def _declare(model: Forecaster, objective: HeadObjective, reweighted: int, exact: bool) -> list[str]:
    """Say what still depends on the removed rows."""
    said = [
        f"{constant['name']} ({constant['description']}) was fitted on {constant['fitted_on']} rows and is kept."
        for constant in model.card.fitted
        if not constant["fitted_on"].startswith("core")
    ]
    if objective.l2:
        said.append(f"The head is regularised with l2 = {objective.l2:g}, kept as it was.")
    if reweighted:
        said.append(
            f"The result is not complete forgetting: {reweighted} remaining rows were re-weighted with scores computed "
            "at the original parameters; the result depends on the removed rows through that."
        )
    if not exact:
        said.append(
            "The result is not complete forgetting: the Hessian held more than what remains (the removed rows, or "
            "damping), so that part of their influence is kept."
        )
    return said
