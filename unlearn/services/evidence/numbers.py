"""What is measured about a forecaster's deletion: how far the head is from a refit, and what it does to forecasts.

Everything is computed from the data set that the model is said to be fitted on, and from no sum or step that led to the
model, so that whoever has both can compute it again. Heads of tuned models are those beneath, which forgetting changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, require_rows
from unlearn.criteria import MAPE, MSE, Criterion, OperatingCostCriterion, require_base
from unlearn.data import LoadDataset
from unlearn.errors import InputError, MismatchError, SingularHessianError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost

#: Slices that no part of a forecaster is fitted on.
SPLITS = ("validation", "test")


def residual_gradient(model: Forecaster, dataset: LoadDataset) -> float:
    """Gradient of the head's training objective on what remains, at the head, relative to its target side.

    `‖Φ'W(Φθ − y) + λθ‖ / ‖Φ'Wy‖`, λ half the regulariser times the number of outputs, of the worst output. At the
    minimum over what remains it is rounding, below 1e-12; whatever of a removed measurement is left in the head adds to
    it. Of an output without any measurement left it is 0 where its head is 0,
    and 1 elsewhere.

    >>> import unlearn
    >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000)
    >>> done = unlearn.forget(unlearn.fit_linear(data), data, range(48))
    >>> residual_gradient(done.model, data) < 1e-10
    True

    Args:
        model: a forecaster whose head was fitted to rows of its own.
        dataset: the one it is fitted on now.

    Raises:
        InputError: a network that was trained as a whole.
        MismatchError: the model is of another data set.
    """
    design, target, weights, ridge = _problem(model, dataset)
    head = model.head.numpy()
    slope = design.T @ (weights * (design @ head.T - target)) + ridge * head.T
    size = np.linalg.norm(design.T @ (weights * target), axis=0)
    left = np.linalg.norm(slope, axis=0)
    emptied = ~weights.any(axis=0) | (size == 0)
    left[emptied], size[emptied] = head[emptied].any(axis=1), 1.0
    return float((left / size).max())


def sums_gap(model: Forecaster, dataset: LoadDataset) -> float | None:
    """How far the kept sums are from sums over what remains in the data set, relatively; None where none are kept.

    Each entry of `Z'WZ`, `Z = [Φ, Y]`, is compared in units of the norms of its two columns, and the largest difference
    counts; rounding makes some 1e-14. Sums may hold what the head no longer does: from them alone the removed rows
    could be told.

    Args:
        model: a forecaster whose head was fitted to rows of its own.
        dataset: the one it is fitted on now.

    Raises:
        InputError: a network that was trained as a whole.
        MismatchError: the model is of another data set.
    """
    design, target, weights, _ = _problem(model, dataset)
    kept, gap = model.statistics, 0.0
    if kept is None:
        return None
    for place, sums in enumerate(kept.groups):
        members = (kept.group == place).numpy()
        rows = np.concatenate([design, target * members], axis=1)
        found = sums.moments.sum(dim=0).numpy()
        for column in np.unique(weights[:, members], axis=1).T:
            expected = rows.T @ (column[:, None] * rows)
            norm = np.sqrt(np.maximum(np.diag(found), np.diag(expected)).clip(min=0.0))
            norm[norm == 0] = 1.0
            gap = max(gap, float((np.abs(found - expected) / norm[:, None] / norm).max()))
            gap = max(gap, abs(sums.total - column.sum()) / max(sums.total, column.sum(), 1.0))
    return gap


def distance_to_refit(model: Forecaster, dataset: LoadDataset) -> float:
    """`‖θ − θ_R‖ / ‖θ_R‖`, θ_R fitted to what remains in the data set by a QR decomposition of its weighted rows.

    Neither the library's sums nor its solvers take part. φ is the model's: its choice of columns, scaler and extractor.

    >>> import unlearn
    >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000)
    >>> model = unlearn.fit_linear(data)
    >>> distance_to_refit(model, data) < 1e-9 < distance_to_refit(model.with_theta(1.001 * model.theta), data)
    True

    Args:
        model: a forecaster whose head was fitted to rows of its own.
        dataset: the one it is fitted on now.

    Raises:
        InputError: a network that was trained as a whole.
        MismatchError: the model is of another data set.
        SingularHessianError: what remains does not determine the parameters.
    """
    design, target, weights, ridge = _problem(model, dataset)
    refitted = refit(design, target, weights, ridge)
    size = float(np.linalg.norm(refitted))
    return float(np.linalg.norm(model.head.numpy() - refitted)) / (size or 1.0)


def refit(design: FloatArray, target: FloatArray, weights: FloatArray, ridge: float = 0.0) -> FloatArray:
    """Minimise `Σ_i w_i ‖W φ_i − y_i‖² + ridge ‖W‖²` by a QR decomposition, outputs with the same weights together.

    Args:
        design: Φ, shape (n, D).
        target: Y, shape (n, B).
        weights: w >= 0 of each measurement, shape (n, B).
        ridge: >= 0.

    Returns:
        W, shape (B, D); 0 for an output without weight.

    Raises:
        SingularHessianError: the rows do not determine the parameters.
    """
    from scipy.linalg import lstsq  # takes a third of a second to import

    n_columns = design.shape[1]
    head = np.zeros((target.shape[1], n_columns))
    columns, group = np.unique(weights, axis=1, return_inverse=True)
    group = group.reshape(-1)
    for place, column in enumerate(columns.T):
        own = group == place
        if not column.any():
            continue
        kept = column > 0
        root = np.sqrt(column[kept])[:, None]
        rows, values = root * design[kept], root * target[kept][:, own]
        if ridge:
            rows = np.concatenate([rows, np.sqrt(ridge) * np.eye(n_columns)])
            values = np.concatenate([values, np.zeros((n_columns, int(own.sum())))])
        norm = np.linalg.norm(rows, axis=0)
        norm[norm == 0] = 1.0
        solved, _, rank, _ = lstsq(rows / norm, values, cond=1e-13, lapack_driver="gelsy")
        if rank < n_columns:
            raise SingularHessianError(
                f"refit: expected rows that determine {n_columns} parameters of each output, got rank {rank}. Keep "
                "more rows, or fit with l2 > 0."
            )
        head[own] = (solved / norm[:, None]).T
    return head


def effects(
    models: Mapping[str, Forecaster],
    datasets: LoadDataset | Mapping[str, LoadDataset],
    grid: OperatingCost | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    left_out: ArrayLike | None = None,
) -> list[dict[str, str | int | float | None]]:
    """What models forecast in hours that none was fitted on: errors, and cost on the grid.

    The truth is the physical load of the data set that goes with a model: a customer who left is in it no more.

    >>> import unlearn
    >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000)
    >>> found = effects({"original": unlearn.fit_linear(data)}, data)
    >>> [(row["method"], row["split"], row["hours"]) for row in found]
    [('original', 'validation', 100), ('original', 'test', 200)]

    Args:
        models: by method, such as "original", "complete", "scale".
        datasets: what each method's model is fitted on, by the same names; or one for all.
        grid: what cost is priced on, from scratch each time so that a repetition gives the same; None prices nothing.
        splits: of `SPLITS`.
        left_out: rows of the data sets that are not counted, such as those whose loads are blanked because their hours
            were removed; None counts all.

    Returns:
        A row for each method and split: "method", "split", "hours" (how many are counted), "mse_pu2", "mape_percent",
        "cost_per_hour" (in money of the grid). MAPE leaves loads of 0 out. A number is None where it is not defined: no
        hour is counted, no load is above 0, no grid is given, or a model has not as many loads as the grid.

    Raises:
        InputError: no data set for a method, unknown splits, rows that are not in the data sets, data sets of different
            hours.
        MismatchError: a model and its data set do not match, or a grid of another power base.
        SolverError: an hour that cannot be priced; names it.
    """
    if unknown := sorted(set(splits) - set(SPLITS)):
        raise InputError(f"splits: expected some of {', '.join(SPLITS)}, got {', '.join(map(repr, unknown))}.")
    paired = {name: (model, _dataset_of(name, datasets)) for name, model in models.items()}
    for name, (model, dataset) in paired.items():
        model.require_match(dataset)
        first = next(iter(paired.values()))[1]
        if not dataset.timestamps.equals(first.timestamps):
            raise InputError(
                f"datasets: expected the same hours for all methods, got {len(dataset.timestamps)} hours from "
                f"{dataset.timestamps[0]} for {name!r}, {len(first.timestamps)} from {first.timestamps[0]} for "
                f"{next(iter(paired))!r}. Errors of different hours cannot be compared."
            )
    rows = []
    for name, (model, dataset) in paired.items():
        blank = require_rows("left_out", [] if left_out is None else left_out, len(dataset.timestamps))
        for split in splits:
            counted = np.setdiff1d(getattr(dataset.split, split), blank)
            rows.append({"method": name, "split": split, **errors(model, dataset, counted, grid)})
    return rows


class Forecasts(Protocol):
    """Whatever forecasts loads."""

    def forecast(self, features: FloatArray) -> FloatArray:
        """Loads in p.u., shape (n, B), of raw features (n, B, F)."""
        ...


def errors(
    model: Forecasts, dataset: LoadDataset, rows: IntArray, grid: OperatingCost | None
) -> dict[str, int | float | None]:
    """Mean error and cost over some rows, by the names of `effects`."""
    priced = grid is not None and grid.case.n_loads == dataset.n_loads
    forecast, load = model.forecast(dataset.features[rows]), dataset.load_pu[rows]
    some = (load != 0).any(axis=1)
    found: dict[str, int | float | None] = {"hours": len(rows)}
    found["mse_pu2"] = _mean(MSE(), forecast, load)
    found["mape_percent"] = _mean(MAPE(leave_out_zeros=True), forecast[some], load[some])
    found["cost_per_hour"] = None
    if priced and grid is not None:
        criterion = OperatingCostCriterion(grid.fresh())
        require_base(criterion, dataset)
        found["cost_per_hour"] = _mean(criterion, forecast, load)
    return found


def _mean(criterion: Criterion, forecast_pu: FloatArray, load_pu: FloatArray) -> float | None:
    import torch

    if not len(load_pu):
        return None
    with torch.no_grad():
        return float(criterion(torch.from_numpy(forecast_pu), torch.from_numpy(load_pu)).mean())


def _dataset_of(name: str, datasets: LoadDataset | Mapping[str, LoadDataset]) -> LoadDataset:
    if not isinstance(datasets, Mapping):
        return datasets
    if name not in datasets:
        raise InputError(f"datasets: expected one for each method, got none for {name!r}. Give it the one it fits.")
    return datasets[name]


def _problem(model: Forecaster, dataset: LoadDataset) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Design (n, D), target in p.u. (n, B), weights (n, B) and ridge of the problem that the head is the minimum of."""
    model.require_match(dataset)
    rows = model.training_rows(dataset)
    if not len(rows):
        raise InputError(
            "model: expected one whose head was fitted to rows of its own, got a network that was trained as a whole: "
            "its last layer is no minimum that could be checked. Train it anew without what is removed."
        )
    weights = model.weights.numpy()
    if weights.shape != (len(rows), dataset.n_loads):
        raise MismatchError(
            f"model and data set do not match: expected weights of {len(rows)} training rows and {dataset.n_loads} "
            f"loads, got {weights.shape}. Take the data set that the model is fitted on now."
        )
    # (l2/2)‖W‖² in units of the loss's 1/B.
    return model.design_of(dataset, rows).numpy(), dataset.load_pu[rows], weights, 0.5 * model.card.l2 * len(model.head)
