"""What each customer's data is worth: the influence of all customers on a criterion, in one product with their meters.

The head θ minimises its training loss, so `g(θ, y) = 0` with g the loss's gradient. To first order in the loads y that
models may learn, a criterion C of forecasts changes by the field

    dC/dy = ∂C/∂y − λ' ∂g/∂y,      λ = H⁻¹ ∇_θ C,

over loads and hours, lags among the features included; a customer who is taken away changes y_b by `−a_b m_c`. If the
customer leaves, the true loads of the evaluation hours fall, too, and C has its derivative in them.

Near its minimum a criterion is all curvature. One that says its second derivative in the error, as MSE does, has the
second-order term `½ Σ_h c_hb (Δŷ_hb − Δy_hb)²` as well (without lags): with it the influence on MSE is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.criteria import Criterion, evaluation_rows, make_criterion, require_base, require_per_sample
from unlearn.data.features import Lag
from unlearn.errors import InputError, counted_from
from unlearn.forecasters import Forecaster, HeadObjective
from unlearn.grid import GridCase, OperatingCost
from unlearn.households.customers import CustomerLoads

#: Rows that are differentiated at once.
CHUNK = 1024


@short_repr
@dataclass(frozen=True, eq=False)
class CustomerInfluence:
    """Influence of each customer on a criterion.

    *The sign is that of all influences here*: the change of the criterion if the customer is removed and the model
    refitted. Positive means helpful, because removal makes a cost worse.

    Attributes:
        criterion: its name.
        unit: its unit, such as money/h for the operating cost of an hour in the mean.
        value: the criterion now, in the mean over the evaluation hours.
        customers: names of the customers in the loads.
        loads: the load of each.
        segments: the class of each.
        model: change through the model, shape (C,): all of it if the customer *objects*.
        load: what it changes besides if the customer *leaves* and the true load falls, shape (C,).
    """

    criterion: str
    unit: str
    value: float
    customers: tuple[str, ...]
    loads: tuple[str, ...]
    segments: tuple[str, ...]
    model: FloatArray = field(repr=False)
    load: FloatArray = field(repr=False)

    @property
    def objects(self) -> FloatArray:
        """Influence of a customer who objects, shape (C,): truth and load stay."""
        return self.model

    @property
    def leaves(self) -> FloatArray:
        """Influence of a customer who leaves, shape (C,): model and load."""
        return self.model + self.load

    def to_frame(self) -> pd.DataFrame:
        """A row per customer, the most helpful data first: `customer`, `load`, `segment`, `objects`, `leaves`."""
        table = pd.DataFrame(
            {
                "customer": self.customers,
                "load": self.loads,
                "segment": self.segments,
                "objects": self.objects,
                "leaves": self.leaves,
            }
        )
        return table.sort_values("objects", ascending=False, kind="stable", ignore_index=True)


def customer_influence(
    model: Forecaster,
    dataset: CustomerLoads,
    criterion: str | Criterion = "mse",
    *,
    grid: OperatingCost | GridCase | str | None = None,
    evaluate_on: str | ArrayLike = "validation",
) -> CustomerInfluence:
    """Score all customers of a data set: how much each one's data changes a criterion.

    >>> import unlearn
    >>> from unlearn.households import simulate_households, spread
    >>> meters = unlearn.hourly_meters(simulate_households(30, n_days=30))
    >>> data = unlearn.customer_loads(meters, spread(meters.customer_ids, 2))
    >>> scores = customer_influence(unlearn.fit_linear(data), data, "mse")
    >>> scores.to_frame().shape, scores.unit
    ((30, 5), 'pu2')

    Args:
        model: forecaster fitted on the data set; its least-squares head is scored.
        dataset: loads that know their customers.
        criterion: "mse", "mape" or "cost", or one of your own, differentiable in forecast and load.
        grid: what "cost" is priced on.
        evaluate_on: rows that the criterion is taken on: "validation", "test", or rows of the data set.

    Returns:
        Scores of every customer that is in the loads: exact for MSE without lags and before any gap is filled, to first
        order otherwise, where a customer that is a large part of its load changes the criterion by more. Hours on the
        edge of a critical region have a one-sided derivative.

    Raises:
        InputError: no data set of customers, a tuned model or one that was trained as a whole, features that hold
            loads and were not made by the library, no rows to evaluate on.
        MismatchError: the model was not fitted on this data set, or loads are per unit of another base.
        SingularHessianError: the head's rows do not determine it.
    """
    if not isinstance(dataset, CustomerLoads):
        raise InputError(
            f"dataset: expected CustomerLoads, which know their customers, got {type(dataset).__name__}. Build them "
            "with customer_loads, or score rows with select.by_influence()."
        )
    model.require_untuned("customer_influence")
    wanted = make_criterion(criterion, grid)
    objective = model.objective(dataset)
    require_base(wanted, dataset)
    lags = _made_lags(dataset)
    rows = evaluation_rows(dataset, evaluate_on)
    fields = _fields(model, dataset, objective, wanted, rows, lags)
    where, scores = _products(dataset, np.stack([fields.model, fields.load], axis=2))
    scores[:, 0] += _through_fills(dataset, fields.model)[where]
    if hasattr(wanted, "curvature") and not lags:
        scores += _second_order(model, dataset, objective, wanted, rows)[where]
    labels = dataset.roster.load_of[where], dataset.meters.segment[where]
    return CustomerInfluence(
        criterion=wanted.name,
        unit=wanted.unit,
        value=fields.value,
        customers=tuple(dataset.meters.customer_ids[i] for i in where),
        loads=tuple(dataset.load_names[b] for b in labels[0]),
        segments=tuple(dataset.meters.segments[g] for g in labels[1]),
        model=scores[:, 0],
        load=scores[:, 1],
    )


def _made_lags(dataset: CustomerLoads) -> list[tuple[int, Lag]]:
    """Position and hours of the features that hold loads; refuses those whose derivative is not known."""
    if other := [str(lag) for lag in dataset.lags if not lag.made]:
        raise InputError(
            f"dataset: expected lags that lags= made, for a customer is part of them, got {other[0]}. Leave the "
            "feature out, and pass lags= to customer_loads."
        )
    return [(dataset.feature_names.index(lag.feature), lag) for lag in dataset.lags]


@dataclass(frozen=True, eq=False)
class _Fields:
    """Derivatives of the mean criterion in MW of each load at each hour of the meters, each (H, B), and its value."""

    model: FloatArray
    load: FloatArray
    value: float


def _fields(
    model: Forecaster,
    dataset: CustomerLoads,
    objective: HeadObjective,
    criterion: Criterion,
    rows: IntArray,
    lags: list[tuple[int, Lag]],
) -> _Fields:
    through_model = np.zeros((len(dataset.meters.hours), dataset.n_loads))
    through_load = np.zeros_like(through_model)
    start = dataset.n_history
    value, slope = 0.0, torch.zeros_like(model.head)
    for chunk in _chunks(rows):
        head = model.head.clone().requires_grad_(True)
        features = torch.from_numpy(dataset.features[chunk]).requires_grad_(bool(lags))
        load = torch.from_numpy(dataset.load_pu[chunk]).requires_grad_(True)
        with torch.enable_grad(), counted_from(int(chunk[0])):
            hourly = criterion(model.design(features) @ head.T, load)
            require_per_sample(criterion, hourly, len(chunk))
            wanted = [head, load, *([features] if lags else [])]
            found = torch.autograd.grad(hourly.sum() / len(rows), wanted)
        value += float(hourly.detach().sum()) / len(rows)
        slope += found[0]
        through_load[start + chunk] += found[1].numpy() / dataset.base_mva
        for add_to, by_lag in _held(lags, found[2].numpy() if lags else None, start + chunk):
            through_model[add_to] += by_lag
    # −λ' ∂g/∂y, over the rows that the head was fitted on.
    adjoint = _adjoint(model, objective, slope)
    own = model.training_rows(dataset)
    for part in _chunks(np.arange(len(own))):
        features = torch.from_numpy(dataset.features[own[part]]).requires_grad_(bool(lags))
        target = torch.from_numpy(dataset.load_pu[own[part]]).requires_grad_(True)
        with torch.enable_grad():
            design = model.design(features)
            residual = (2.0 / dataset.n_loads) * model.weights[part] * (design @ model.head.T - target)
            total = -(residual * (design @ adjoint.T)).sum()
            found = torch.autograd.grad(total, [target, *([features] if lags else [])])
        through_model[start + own[part]] += found[0].numpy() / dataset.base_mva
        for add_to, by_lag in _held(lags, found[1].numpy() if lags else None, start + own[part]):
            through_model[add_to] += by_lag
    return _Fields(through_model, through_load, value)


def _held(
    lags: list[tuple[int, Lag]], by_feature: FloatArray | None, hours: IntArray
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Hours that lags hold, each once, and the derivative in the loads of these hours, in MW."""
    for place, lag in lags:
        assert by_feature is not None
        for back in lag.hours:
            yield hours - back, by_feature[:, :, place] / len(lag.hours)


def _adjoint(model: Forecaster, objective: HeadObjective, slope: Tensor) -> Tensor:
    """λ = H⁻¹ ∇_θ C, shape (B, D); 0 for outputs without rows."""
    adjoint = torch.zeros_like(slope)
    for weights, outputs in model.weight_groups(model.weights.any(dim=0).nonzero()[:, 0]):
        solved = objective.hessian(model.theta, weights).solve(slope.reshape(-1)).value
        adjoint[outputs] = solved.reshape(slope.shape)[outputs]
    return adjoint


def _chunks(rows: IntArray) -> Iterator[IntArray]:
    yield from np.array_split(rows, max(1, -(-len(rows) // CHUNK)))


def _second_order(
    model: Forecaster, dataset: CustomerLoads, objective: HeadObjective, criterion: Criterion, rows: IntArray
) -> FloatArray:
    """`½ Σ c Δe²` of every customer, shape (C, 2): through the model, and what a falling true load adds to it."""
    seen = model.design_of(dataset, rows)
    with torch.no_grad():
        bend = criterion.curvature(seen @ model.head.T, torch.from_numpy(dataset.load_pu[rows])) / len(rows)  # type: ignore[attr-defined]
    n_hours, n_columns, start = len(dataset.meters.hours), model.head.shape[1], dataset.n_history
    own = model.training_rows(dataset)
    design = model.design_of(dataset, own)
    found = np.zeros((len(dataset.meters), 2))
    # Loads with the same weights and the same curvature share their fields.
    kinds, kind = torch.unique(torch.cat([model.weights, bend]), dim=1, return_inverse=True)
    for g in range(kinds.shape[1]):
        weights, curved = kinds[: len(own), g], kinds[len(own) :, g]
        by_load = np.zeros((n_hours, 2 * n_columns))
        if weights.any():
            first = torch.zeros((objective.n_parameters, n_columns), dtype=torch.float64)
            first[:n_columns] = torch.eye(n_columns, dtype=torch.float64)
            inverse = objective.hessian(model.theta, weights).solve(first).value[:n_columns]
            by_load[start + own, :n_columns] = (2.0 / dataset.n_loads) * weights[:, None] * (design @ inverse)
        by_load[start + rows, n_columns:] = curved[:, None] * seen
        by_square = np.zeros(n_hours)
        by_square[start + rows] = curved
        gram = (seen.T @ (curved[:, None] * seen)).numpy()
        for where, energy in dataset.readings_kwh():
            mine = np.flatnonzero((kind == g).numpy()[dataset.roster.load_of[where]])
            lost = energy[mine] * (dataset.mw_per_kwh[dataset.roster.load_of[where[mine]], None] / dataset.base_mva)
            change, seen_change = np.split(lost @ by_load, 2, axis=1)  # −Δθ, and Φ'c of the load that is lost
            found[where[mine], 0] = 0.5 * ((change @ gram) * change).sum(axis=1)
            found[where[mine], 1] = 0.5 * np.square(lost) @ by_square - (change * seen_change).sum(axis=1)
    return found


def _products(dataset: CustomerLoads, field_by_mw: FloatArray) -> tuple[IntArray, FloatArray]:
    """Customers in the loads, (C,), and `−a_b Σ_h field_bh m_ch` of each for every field, (C, k); field (H, B, k)."""
    n_hours, n_loads, n_fields = field_by_mw.shape
    wide = (-dataset.mw_per_kwh[:, None] * field_by_mw).reshape(n_hours, n_loads * n_fields)
    scores = np.zeros((len(dataset.meters), n_fields))
    for where, energy in dataset.readings_kwh():
        found = (energy @ wide).reshape(len(where), n_loads, n_fields)
        scores[where] = found[np.arange(len(where)), dataset.roster.load_of[where]]
    kept = np.setdiff1d(np.arange(len(dataset.meters)), dataset.roster.gone)
    return kept, scores[kept]


def _through_fills(dataset: CustomerLoads, field_by_mw: FloatArray) -> FloatArray:
    """What each customer changes besides, because it is part of what fills the gaps of earlier objectors, shape (C,).

    Without a member that uses m, the mean of n members who use S moves by `(S − n m) / (n (n − 1))`.
    """
    roster, scores = dataset.roster, np.zeros(len(dataset.meters))
    by_kwh = field_by_mw * dataset.mw_per_kwh  # (H, B)
    fills = (
        (np.einsum("hb,hbg->hg", by_kwh, roster.filled), roster.sums_kwh.sum(axis=1), roster.members.sum(axis=1)),
        (by_kwh * roster.rescaled, roster.sums_kwh.sum(axis=2), roster.members.sum(axis=2)),
    )
    for label, (slope, total, members) in zip((dataset.meters.segment, roster.load_of), fills, strict=True):
        if not slope.any():
            continue
        by_reading = slope / np.maximum(members - 1, 1)
        by_presence = by_reading * total / np.maximum(members, 1)
        for where, energy in dataset.readings_kwh():
            there = roster.counted_of(dataset.meters, where)
            moved = there @ by_presence - energy @ by_reading  # of each class or load, of which one is its own
            scores[where] += moved[np.arange(len(where)), label[where]]
    return scores
