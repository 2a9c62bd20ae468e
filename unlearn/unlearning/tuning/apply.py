"""`tune`: make a forecaster useful again after it forgot, from the remaining rows alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.criteria import Criterion, fresh, grids_of, require_base, require_per_sample
from unlearn.data import LoadDataset
from unlearn.data.hours import Rows, rows_of
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster, HeadStatistics
from unlearn.grid import GridCase, OperatingCost
from unlearn.unlearning.result import Forgotten
from unlearn.unlearning.steps import require_trained
from unlearn.unlearning.tuning.methods import FOLDS, TuningMethod
from unlearn.unlearning.tuning.problem import TuningProblem, folds_of
from unlearn.unlearning.tuning.recipe import Tuning, plain

#: Hours of a block: a week, from Monday.
WEEK_H = 168

_WHAT = "rows to tune on"


@dataclass(frozen=True, eq=False)
class Tuned:
    """What `tune` did.

    Attributes:
        model: the tuned forecaster; `model.untuned()` forecasts with the least-squares head beneath.
        method: name of the method.
        criterion: name of the criterion.
        parameters: of the method, hyper-parameters among them.
        before: what the method minimised, at the completely unlearnt head.
        after: the same at the tuned head.
        left_out_before: mean criterion of forecasts by least-squares heads that left the hour's fold out.
        left_out_after: the same of tuned heads; None without folds. The hyper-parameters were chosen by it, so it is a
            little too good.
        tried: each candidate's hyper-parameters and left-out criterion.
        steps: of the method's solver.
        stationarity: how far from stationary: `frank_wolfe_gap`, `gradient_norm` or `duality_gap`.
        rows: rows of the data set that it was computed from: what the head was fitted on and has not forgotten.
        evaluated: those of them that the criterion was evaluated on.
        weights: of `rows`, where the method re-weights them.
        seconds: wall time by stage.
    """

    model: Forecaster
    method: str
    criterion: str
    parameters: dict[str, object]
    before: float
    after: float
    left_out_before: float | None
    left_out_after: float | None
    tried: list[dict[str, object]]
    steps: int
    stationarity: dict[str, float]
    rows: IntArray
    evaluated: IntArray
    weights: FloatArray | None
    seconds: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {v:.4g}" for name, v in self.parameters.items() if isinstance(v, float))
        out = (
            "" if self.left_out_after is None else f"; left out {self.left_out_before:.4g} -> {self.left_out_after:.4g}"
        )
        return (
            f"Tuned({self.method} for {self.criterion}, {values or 'see parameters'}: {self.before:.4g} -> "
            f"{self.after:.4g} on {len(self.evaluated)} rows{out})"
        )


def tune(
    model: Forecaster,
    dataset: LoadDataset,
    criterion: str | Criterion = "cost",
    method: str | TuningMethod = "scale",
    *,
    grid: OperatingCost | GridCase | str | None = None,
    rows: Rows | None = None,
    folds: int = FOLDS,
) -> Tuned:
    """Tune a forecaster for a criterion, from the rows that it has not forgotten and nothing else.

    A model that has forgotten completely has still forgotten completely afterwards: the result is, bit by bit, what
    tuning a model that never saw the removed rows gives, with preprocessing fixed. The least-squares head and its
    sums, solved anew from the remaining rows, stay beneath the tuned head: `forget` un-tunes, forgets exactly and
    tunes anew by the same recipe.

    Args:
        model: fitted forecaster, after `forget` or before; one that is tuned already is tuned anew.
        dataset: the data set it was fitted on.
        criterion: "cost", "mse", "mape", a criterion of one's own, or `Weighted({...})` of several, which walks the
            front between them.
        method: "scale", "affine", "quantile", "weights" or "head", or an object with options; see
            `unlearn.unlearning.tuning`.
        grid: what "cost" is priced on.
        rows: rows that the criterion is evaluated on, among those that remain; in any form that `forget` takes. None
            is all of them. They are of this call alone: a model that forgets again is tuned anew on all that
            remains. The validation rows stay free for choosing a method.
        folds: see `Tuning`.

    Raises:
        InputError: rows that were forgotten or that the head was not fitted on; fewer weeks than folds; a criterion
            without a gradient for a method that follows it; a method that reads prices without a grid; a model that
            was re-weighted.
        MismatchError: the model was not fitted on this data set, or its loads are per unit of another base.
        SingularHessianError: what remains does not determine the parameters.
    """
    return apply(Tuning(criterion, method, grid, folds), model, dataset, rows)


def apply(recipe: Tuning, model: Forecaster, dataset: LoadDataset, rows: Rows | None = None) -> Tuned:
    """Tune by a recipe; see `tune`."""
    start = time.perf_counter()
    criterion, method = recipe.made()
    problem, remaining = problem_of(model, dataset, criterion, rows)
    _require_gradient(problem, method)
    candidates = method.candidates(problem)
    if len(candidates) > 1 and not recipe.folds:
        raise InputError(
            f"tune: folds: expected at least 2 to choose among {len(candidates)} candidates of {method.name}, got 0. "
            "Give its hyper-parameters, or ask for folds."
        )
    prepared = time.perf_counter()
    chosen, tried, before = _compare(problem, candidates, recipe.folds)
    compared = time.perf_counter()
    solved = candidates[chosen].solve(problem)
    base = _refitted(model, dataset, problem, remaining)
    said = {**recipe.said(), "parameters": solved.parameters, "rows": len(remaining)}
    return Tuned(
        model=base.with_tuned(solved.head, recipe.fresh(), said),
        method=method.name,
        criterion=criterion.name,
        parameters=solved.parameters,
        before=solved.before,
        after=solved.after,
        left_out_before=before,
        left_out_after=float(tried[chosen]["left_out"]) if tried else None,  # type: ignore[arg-type]
        tried=tried,
        steps=solved.steps,
        stationarity=solved.stationarity,
        rows=remaining,
        evaluated=remaining[problem.evaluated.numpy()],
        weights=None if solved.weights is None else solved.weights.numpy(),
        seconds={
            "prepare": prepared - start,
            "choose": compared - prepared,
            "solve": time.perf_counter() - compared,
        },
    )


def problem_of(
    model: Forecaster, dataset: LoadDataset, criterion: Criterion, rows: Rows | None = None
) -> tuple[TuningProblem, IntArray]:
    """What a tuning of a model is computed from, and the rows of the data set that these are; see `tune`."""
    model.require_match(dataset)
    require_trained(model)
    require_base(criterion, dataset)
    remaining, kept = _remaining(model, dataset)
    evaluated = _evaluated(model, dataset, remaining, kept, rows)
    problem = TuningProblem(
        model.design_of(dataset, remaining),
        # A copy, which torch aligns: where numbers lie in memory may change the last bits of products.
        torch.from_numpy(dataset.load_pu[remaining]).clone(),
        kept,
        torch.from_numpy(np.isin(remaining, evaluated)),
        _weeks(dataset, remaining),
        quietly(criterion),
        model.card.l2,
        model.column_names(),
    )
    return problem, remaining


def quietly(criterion: Criterion) -> Criterion:
    """A criterion that remembers nothing, on grids that do not warn of units: a search tries forecasts far off."""
    own = fresh(criterion)
    for grid in grids_of(own) if own is not criterion else ():
        grid.warns_of_units = False
    return own


def _remaining(model: Forecaster, dataset: LoadDataset) -> tuple[IntArray, Tensor]:
    """Rows of the data set that remain in the head, and which of their measurements do, shape (n, B).

    Raises:
        InputError: a head that was fitted on no row, or whose rows were re-weighted.
    """
    head_rows = model.training_rows(dataset)
    if not len(head_rows):
        raise InputError(
            "tune: expected a model whose head is a least-squares fit, got one without rows of its own (a network that "
            "was trained as a whole). Fit it with loss=None, or train it on the criterion itself."
        )
    kept = ~model.forgotten
    odd = (model.weights != kept.double()) & kept
    if bool(odd.any()):
        raise InputError(
            f"tune: expected a model whose remaining rows count alike, got one that was re-weighted with scores of the "
            f"model before ({int(odd.any(dim=1).sum())} rows). Tune what forget returns."
        )
    there = kept.any(dim=1)
    return head_rows[there.numpy()], kept[there]


def _evaluated(
    model: Forecaster, dataset: LoadDataset, remaining: IntArray, kept: Tensor, rows: Rows | None
) -> IntArray:
    """Rows that the criterion is evaluated on: those asked for, of which no measurement is forgotten."""
    live = kept.any(dim=0)
    whole = remaining[(kept | ~live).all(dim=1).numpy()]
    if rows is None:
        asked = whole
    else:
        asked = rows_of(_WHAT, rows, dataset.timestamps)
        gone = np.setdiff1d(model.training_rows(dataset), whole)
        if len(removed := np.intersect1d(asked, gone)):
            raise InputError(
                f"{_WHAT}: expected rows that remain, got {len(removed)} that were removed, first row {removed[0]} "
                f"({dataset.timestamps[removed[0]]}): tuning on them would bring them back. Leave them out."
            )
        if len(other := np.setdiff1d(asked, whole)):
            raise InputError(
                f"{_WHAT}: expected rows that the head was fitted on, got {len(other)} others, first row {other[0]} "
                f"({dataset.timestamps[other[0]]}). Validation rows are for choosing a method, test rows for "
                "reporting; pass none to take all that remain."
            )
    if not len(asked):
        raise InputError(f"{_WHAT}: expected at least one, got none.")
    return asked


def _weeks(dataset: LoadDataset, rows: IntArray) -> IntArray:
    """Calendar week of each row, counted from a Monday: it depends on the hour alone, not on which rows remain."""
    hours = dataset.timestamps[rows].to_numpy().astype("datetime64[h]").astype(np.int64)
    return (hours + 3 * 24) // WEEK_H  # 1970-01-01 was a Thursday


def _require_gradient(problem: TuningProblem, method: TuningMethod) -> None:
    """Refuse a criterion that breaks the protocol, or that has no gradient where the method follows it."""
    if not getattr(method, "needs_gradient", False):
        return
    point = problem.evaluated_target[:1].clone().requires_grad_(True)
    with torch.enable_grad():
        value = problem.criterion(point, problem.evaluated_target[:1])
    try:
        require_per_sample(problem.criterion, value, 1)
    except InputError as error:
        raise InputError(
            f"tune: method {method.name} follows the gradient of the criterion, and {problem.criterion.name} has none: "
            f'{error} Compute it with torch from the forecast, or use method="scale".'
        ) from error


def _compare(
    problem: TuningProblem, candidates: Sequence[TuningMethod], n_folds: int
) -> tuple[int, list[dict[str, object]], float | None]:
    """Measure each candidate on folds that it was not solved on.

    Returns:
        Position of the first candidate that is not worse than the best by more than a standard error of their
        difference over weeks; each one's hyper-parameters and left-out criterion; that of least squares.
    """
    if not n_folds:
        return 0, [], None
    folds = folds_of(problem.block, n_folds)
    forecast = torch.zeros((len(candidates) + 1, *problem.evaluated_target.shape), dtype=torch.float64)
    bar = tqdm(total=n_folds * len(candidates), desc=f"{candidates[0].name}: candidates", leave=False, delay=2)
    for rows in folds:
        own = torch.from_numpy(rows)[problem.evaluated]
        part = problem.without(rows)
        heads = [part.least_squares]
        for candidate in candidates:
            heads.append(candidate.solve(part).head)
            bar.update()
        design = problem.evaluated_design[own]
        for i, head in enumerate(heads):
            forecast[i, own] = design @ head.T
    bar.close()
    with torch.no_grad():
        hourly = np.stack([problem.criterion(own, problem.evaluated_target).numpy() for own in forecast])
    before, *scores = (float(score) for score in hourly.mean(axis=1))
    _, week = np.unique(problem.block[problem.evaluated.numpy()], return_inverse=True)
    worse = hourly[1:] - hourly[1 + int(np.argmin(scores))]
    by_week = np.stack([np.bincount(week, own) for own in worse]) / len(week)
    doubt = by_week.std(axis=1, ddof=1) * np.sqrt(by_week.shape[1]) if by_week.shape[1] > 1 else 0.0
    tried = [{**plain(candidate), "left_out": score} for candidate, score in zip(candidates, scores, strict=True)]
    return int(np.argmax(by_week.sum(axis=1) <= doubt)), tried, before


def _refitted(model: Forecaster, dataset: LoadDataset, problem: TuningProblem, remaining: IntArray) -> Forecaster:
    """The model with its least-squares head and sums computed anew: a downdated one differs in its last bits."""
    place = torch.from_numpy(np.searchsorted(model.training_rows(dataset), remaining))
    weights = torch.zeros_like(model.weights)
    weights[place] = problem.kept.double()
    sums = HeadStatistics.of(
        problem.design, torch.from_numpy(dataset.load_pu[remaining]).clone(), problem.kept.double()
    )
    return model.with_theta(problem.least_squares.reshape(-1), weights, statistics=sums)


def with_tuning(done: Forgotten, tuned: Tuned) -> Forgotten:
    """The result with the model as it was tuned afterwards, and what is to be said of that."""
    return replace(
        done,
        model=tuned.model,
        tuned=tuned,
        seconds={**done.seconds, "tune": sum(tuned.seconds.values())},
        limitations=[*done.limitations, RECIPE_KEPT],
    )


#: What tuning keeps.
RECIPE_KEPT = (
    "The forecasts are tuned with the remaining rows alone; the recipe (method, criterion, grid, folds) is kept as it "
    "was given. If it was chosen by looking at the removed rows, that choice stays."
)
