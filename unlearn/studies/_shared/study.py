"""A `Study`: one fitted forecaster, the rows it is judged on and their criteria by the hour; experiments reuse it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, require_choice, require_positive, short_repr
from unlearn.criteria import CRITERIA, MAPE, MSE, Criterion, make_criterion
from unlearn.data import LoadDataset
from unlearn.data.hours import Rows
from unlearn.errors import DataError, InputError
from unlearn.forecasters import Forecaster, HeadObjective
from unlearn.grid import OperatingCost, price_hours
from unlearn.influence import CriterionGradient, criterion_gradient, influence_scores
from unlearn.linalg import IhvpOptions
from unlearn.records import RecordTable
from unlearn.studies._shared.options import PROTOCOLS
from unlearn.unlearning import evaluation_rows, require_base, select
from unlearn.unlearning.request import resolve

#: Packages whose versions change what is fitted and measured.
PACKAGES = ("clarabel", "cvxpylayers", "numpy", "scikit-learn", "scipy", "torch")

#: How a share of rows to unlearn is picked; "given" rows are fixed.
SELECTIONS = ("helpful", "harmful", "random", "given")


@short_repr
@dataclass(eq=False)
class Study:
    """Everything about one forecaster that the experiments share; each part is computed once.

    Attributes:
        model: fitted forecaster.
        dataset: the data set it was fitted on.
        cost: the grid that hours are priced on.
        protocol: "published" or "fair".
        select_by: criterion whose influence picks the rows to unlearn.
        selection: "helpful", "harmful" or "random" share of rows, or "given" ones.
        given_rows: rows of the data set, for selection "given", in any form that `forget` takes.
        given_label: what the given rows are, for records.
        hours: hours that are priced per split, evenly spaced; None prices all.
        ihvp: how to solve with Hessians.
        linf_budget: λ_∞ of the re-weighting.
        gradient_cost: what differentiates the operating cost, if not `cost` itself.
        seed: seed of random selection and drawing.
        labels: further columns of every record.
        mape: how MAPE treats loads of 0.
        own_criteria: criteria of one's own: measured, and to select and re-weight by, by their names.
    """

    model: Forecaster
    dataset: LoadDataset
    cost: OperatingCost
    protocol: str = "fair"
    select_by: str = "mse"
    selection: str = "helpful"
    given_rows: Rows | None = None
    given_label: str = "given"
    hours: int | None = None
    ihvp: IhvpOptions = field(default_factory=IhvpOptions)
    linf_budget: float = 1.0
    gradient_cost: OperatingCost | None = None
    seed: int = 0
    labels: dict[str, object] = field(default_factory=dict)
    mape: MAPE = field(default_factory=MAPE)
    own_criteria: Sequence[Criterion] = ()

    def __post_init__(self) -> None:
        require_choice("protocol", self.protocol, PROTOCOLS)
        require_choice("selection", self.selection, SELECTIONS)
        require_choice("select_by", self.select_by, self.criteria)
        if (self.selection == "given") != (self.given_rows is not None):
            raise InputError('study: given_rows go with selection="given", and the other way round.')
        require_base(self.criteria["cost"], self.dataset)
        if not self.mape.leave_out_zeros:
            split = self.dataset.split
            refuse_zero_loads(self.dataset, np.concatenate([self.training_rows, split.validation, split.test]))
        self.model.require_untuned("study")
        if (self.model.weights != 1).any() or self.model.forgotten.any():
            raise InputError("study: expected a model that has forgotten nothing; this one has. Fit it anew.")
        self._gradients: dict[str, CriterionGradient] = {}

    @cached_property
    def criteria(self) -> dict[str, Criterion]:
        """The criteria that are differentiated, by name."""
        built_in = {name: make_criterion(name, self.gradient_cost or self.cost) for name in CRITERIA}
        return built_in | {own.name: own for own in (self.mape, *self.own_criteria)}

    @cached_property
    def objective(self) -> HeadObjective:
        return self.model.objective(self.dataset)

    @cached_property
    def training_rows(self) -> IntArray:
        return self.model.training_rows(self.dataset)

    @cached_property
    def priced_rows(self) -> IntArray:
        """Rows whose hours are priced: the head's training rows and the test rows, or a sample of each."""
        parts = [sample_hours(rows, self.hours) for rows in (self.training_rows, self.dataset.split.test)]
        return np.sort(np.concatenate(parts))

    @cached_property
    def priced_test_rows(self) -> IntArray:
        return np.intersect1d(self.priced_rows, self.dataset.split.test)

    @cached_property
    def original(self) -> HourlyMetrics:
        """Metrics of the original model on all priced rows."""
        return self.measure(self.model.theta, self.priced_rows)

    def gradient(self, criterion: str) -> CriterionGradient:
        """Gradient of a criterion at the original head, on the rows that the protocol allows."""
        if criterion not in self._gradients:
            rows = evaluation_rows(self.dataset, PROTOCOLS[self.protocol])
            rows = sample_hours(rows, self.hours)
            self._gradients[criterion] = criterion_gradient(
                self.model, self.criteria[criterion], self.dataset.features[rows], self.dataset.load_pu[rows]
            )
        return self._gradients[criterion]

    def influence(self, criterion: str, weights: Tensor | None = None) -> FloatArray:
        """Influence of the head's training rows on a criterion (Hessian over T, or over the weights)."""
        slope = self.gradient(criterion).gradient
        return influence_scores(self.objective, self.model.theta, slope, weights, self.ihvp).numpy()

    def rows_to_unlearn(self, share: float) -> Rows:
        """Rows of the data set that the study's selection picks; given rows have no share."""
        return self.training_rows[self.positions(share)] if self.given_rows is None else self.given_rows

    def positions(self, share: float) -> IntArray:
        """Where the rows to unlearn stand among the head's training rows."""
        if self.given_rows is not None:
            return resolve(self.model, self.given_rows, dataset=self.dataset).positions
        if self.selection == "random":
            return select.at_random(np.arange(self.objective.n_samples), share, self.seed)
        return select.extreme(self.influence(self.select_by), share, self.selection)

    @cached_property
    def _priced_design(self) -> Tensor:
        """Features of the head on all priced rows: an extractor runs once, not once per head."""
        return self.model.design_of(self.dataset, self.priced_rows)

    def measure(self, theta: Tensor, rows: IntArray) -> HourlyMetrics:
        """Metrics of another head on some of the priced rows."""
        design = self._priced_design[torch.from_numpy(np.searchsorted(self.priced_rows, rows))]
        return self._measured(design @ theta.reshape(self.model.head.shape).T, rows)

    def measure_model(self, model: Forecaster, rows: IntArray, seen: LoadDataset | None = None) -> HourlyMetrics:
        """Metrics of another model on some rows; its lags may be those of another data set, the loads are measured."""
        return self._measured(torch.from_numpy(model.forecast((seen or self.dataset).features[rows])), rows)

    def _measured(self, forecast: Tensor, rows: IntArray) -> HourlyMetrics:
        own = [criterion for name, criterion in self.criteria.items() if name not in METRICS]
        return measure_forecast(forecast, self.dataset, rows, self.cost, self.mape, own)

    def records(self, experiment: str) -> RecordTable:
        """An empty table whose rows say what this study is."""
        return RecordTable(
            experiment=experiment,
            data=self.dataset.name,
            grid=self.cost.case.name,
            forecaster=self.model.card.kind,
            protocol=self.protocol,
            selection=self.selection_label,
            linf_budget=self.linf_budget,
            seed=self.seed,
            **self.labels,
        )

    def dependencies(self) -> dict[str, Any]:
        """What results of this study depend on beside their own options, as `unlearn.store.Store` takes it."""
        own = ("protocol", "selection_label", "hours", "ihvp", "linf_budget", "cost", "gradient_cost", "seed", "labels")
        options = {name: getattr(self, name) for name in own}
        options |= {"theta": self.model.theta.numpy(), "zero_loads": self.mape.leave_out_zeros}
        options |= {"criteria": [criterion.name for criterion in self.own_criteria], "rows": self.given_rows}
        return {"options": options, "data": {"train": self.dataset}, "code": self.own_criteria, "packages": PACKAGES}

    @property
    def selection_label(self) -> str:
        """How the rows to unlearn are picked, for records."""
        if self.selection == "given":
            return self.given_label
        return "random" if self.selection == "random" else f"{self.selection}/{self.select_by}"

    @cached_property
    def over_generated(self) -> FloatArray:
        """Whether each head training row is over-generated: total forecast above total load."""
        with torch.no_grad():
            forecast = self.objective.design @ self.model.head.T
        return (forecast.sum(dim=1) > self.objective.target.sum(dim=1)).numpy()


#: Metrics of every evaluation, with units; the parts of the cost come after the criteria.
METRICS = {
    **{name: CRITERIA[name].unit for name in CRITERIA},
    "generation_cost": "money/h",
    "shedding_cost": "money/h",
    "storage_cost": "money/h",
    "over_generated": "share",
    "shed_above_load": "share",
    "degenerate": "share",
    "clipped": "entries/h",
}


@short_repr
@dataclass(frozen=True, eq=False)
class HourlyMetrics:
    """Metrics of every priced hour.

    Attributes:
        rows: rows of the data set, sorted, shape (n,).
        values: one array (n,) per name in `METRICS`, and per criterion of one's own.
        units: unit of each.
    """

    rows: IntArray
    values: Mapping[str, FloatArray]
    units: Mapping[str, str]

    def means(self, rows: IntArray) -> dict[str, float]:
        """Average each metric over those of `rows` that were priced."""
        chosen = np.isin(self.rows, rows)
        if not chosen.any():
            raise InputError("evaluation.hours: none of a split's hours was priced; price more, or all (null).")
        return {metric: float(values[chosen].mean()) for metric, values in self.values.items()}

    def add_means(self, table: RecordTable, rows: IntArray, **columns: object) -> None:
        """Add the means over some rows to records."""
        for metric, value in self.means(rows).items():
            table.add(metric, value, self.units[metric], **columns)


def measure(
    model: Forecaster,
    dataset: LoadDataset,
    rows: IntArray,
    cost: OperatingCost,
    mape: MAPE | None = None,
    criteria: Sequence[Criterion] = (),
) -> HourlyMetrics:
    """Evaluate MSE, MAPE and operating cost of a forecaster, hour by hour.

    Args:
        model: fitted forecaster.
        dataset: loads and features.
        rows: rows to evaluate, shape (n,).
        cost: the grid that hours are priced on.
        mape: how MAPE treats loads of 0; None refuses them.
        criteria: further criteria.

    Raises:
        InputError: a load of zero that is not to be left out.
        SolverError: an hour that cannot be priced; names it.
    """
    forecast = torch.from_numpy(model.forecast(dataset.features[rows]))
    return measure_forecast(forecast, dataset, rows, cost, mape, criteria)


def refuse_zero_loads(dataset: LoadDataset, rows: IntArray) -> None:
    """Refuse rows in which a load is zero, for which a percentage of the load means nothing.

    Raises:
        DataError: names column and hour, and the option that leaves such loads out of MAPE.
    """
    zero = np.argwhere(dataset.load_mw[rows] == 0)
    if len(zero):
        i, b = (int(k) for k in zero[0])
        raise DataError(
            f"{dataset.name}: expected loads above 0 for MAPE, got 0 in column {dataset.load_names[b]} at "
            f"{dataset.timestamps[rows[i]]}; {len(zero)} such values. Pass mape=MAPE(leave_out_zeros=True) "
            "to average over the other loads, or leave the column out."
        )


def measure_forecast(
    forecast: Tensor,
    dataset: LoadDataset,
    rows: IntArray,
    cost: OperatingCost,
    mape: MAPE | None = None,
    criteria: Sequence[Criterion] = (),
) -> HourlyMetrics:
    """Evaluate forecasts in p.u., shape (n, B), of some rows of a data set; see `measure`."""
    load = torch.from_numpy(dataset.load_pu[rows])
    priced = price_hours(cost, forecast, load)
    columns = {
        "mse": MSE()(forecast, load),
        "mape": (mape or MAPE())(forecast, load),
        "cost": priced.total,
        "generation_cost": priced.generation,
        "shedding_cost": priced.shedding,
        "storage_cost": priced.storage,
        "over_generated": priced.over_generated,
        "shed_above_load": priced.shed_above_load,
        "degenerate": priced.degenerate,
        "clipped": priced.clipped,
        **{criterion.name: criterion(forecast, load) for criterion in criteria},
    }
    units = METRICS | {criterion.name: criterion.unit for criterion in criteria}
    return HourlyMetrics(rows, {metric: columns[metric].double().numpy() for metric in units}, units)


def sample_hours(rows: IntArray, hours: int | None) -> IntArray:
    """Take at most `hours` evenly spaced rows, the same ones for whoever asks; None takes all."""
    if hours is None or hours >= len(rows):
        return rows
    require_positive("evaluation.hours", hours)
    return rows[np.linspace(0, len(rows) - 1, hours).round().astype(int)]
