"""One deletion: the models before and after it, tuned on what remains, re-weighted as published, and trained anew.

Tunings, hyper-parameters included, are functions of the remaining rows. Published re-weighting takes its gradient on
validation rows, and the choice among tunings is made there; test rows are only reported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray
from unlearn.criteria import CRITERIA, MSE, Criterion, OperatingCostCriterion, Weighted, fresh
from unlearn.data import LoadDataset
from unlearn.errors import InputError, SolverError
from unlearn.forecasters import Forecaster, fit_network
from unlearn.forecasters.specs import TrainingOptions
from unlearn.grid import GridCase, price_hours
from unlearn.influence import criterion_gradient
from unlearn.records import RecordTable
from unlearn.studies._shared.study import Study, measure_forecast, sample_hours
from unlearn.unlearning import Forgotten, Reweighting, Tuned, forget, relative_distance, retrain, tune
from unlearn.unlearning.tuning import TUNINGS, TuningMethod, Weights

logger = logging.getLogger(__name__)

#: Load per hour, in p.u., from which on it counts as shed: a tenth of a kW on 100 MVA, far above what a solver leaves.
SHED_PU = 1e-6

#: What a method found, as records name it, and its unit.
_FOUND = {
    "k": ("k", ""),
    "tau": ("tau", ""),
    "mu": ("mu", "money/h/pu2"),
    "l1_budget": ("l1_budget_chosen", ""),
    "frank_wolfe_gap": ("frank_wolfe_gap", "money/h"),
    "gradient_norm": ("gradient_norm", ""),
    "duality_gap": ("duality_gap", "relative"),
}


@dataclass(eq=False)
class Deletion:
    """Rows that a forecaster is to forget, and what is measured of the models without them.

    Attributes:
        study: forecaster, data, grid and how the rows are picked.
        share: of the head's training rows; given rows have none.
    """

    study: Study
    share: float

    def __post_init__(self) -> None:
        """Refuse data without validation rows."""
        require_validation(self.study.dataset)

    @cached_property
    def rows(self) -> IntArray:
        """Rows of the data set to forget."""
        return self.study.training_rows[self.positions]

    @cached_property
    def positions(self) -> IntArray:
        """Where they stand among the head's training rows."""
        return self.study.positions(self.share)

    @cached_property
    def remaining(self) -> IntArray:
        """Rows of the data set that the head keeps."""
        return np.setdiff1d(self.study.training_rows, self.rows)

    @cached_property
    def unlearnt(self) -> Forgotten:
        """The completely unlearnt model."""
        return forget(self.study.model, self.study.dataset, self.rows, ihvp=self.study.ihvp)

    @cached_property
    def retrained(self) -> Tensor:
        """Head that was fitted on what remains, shape (P,)."""
        return retrain(self.study.objective, self.positions)

    @property
    def proportion(self) -> float:
        """Share of the head's training rows that is forgotten."""
        return len(self.rows) / len(self.study.training_rows)

    def dependencies(self, **options: object) -> dict[str, Any]:
        """What results of this deletion depend on, as `unlearn.store.Store` takes it, beside their own options."""
        depends = self.study.dependencies()
        own = {"study": depends["options"], "rows": self.rows, **options}
        return {**depends, "options": own, "code": (Deletion, *depends["code"])}

    def published(self, l1_budget: float) -> pd.DataFrame:
        """The original model, the completely unlearnt one, and those re-weighted for each criterion as published."""
        study, table = self.study, self._table()
        self._add(table, study.model, {"method": "original"})
        self._add(table, self.unlearnt.model, {"method": "retrained"}, sum(self.unlearnt.seconds.values()))
        for name in CRITERIA:
            start, columns = time.perf_counter(), {"method": "reweighted", "criterion": name, "l1_budget": l1_budget}
            try:
                theta = self._published(name, l1_budget)
            except SolverError as error:
                _add_failed(table, error, columns)
                continue
            self._add(table, study.model.with_theta(theta), columns, time.perf_counter() - start)
        return self._told(table)

    def tuned(self, method: str, folds: int = 5) -> pd.DataFrame:
        """The completely unlearnt model, tuned for the cost by one of `TUNINGS`."""
        table = self._table()
        self._add_tuned(table, "cost", TUNINGS[method](), folds, {"method": method, "criterion": "cost"})
        return self._told(table)

    def weighed(self, method: str, mse_weight: float, folds: int = 5) -> pd.DataFrame:
        """The same for a weighted sum of cost and MSE.

        Args:
            method: one of `TUNINGS`.
            mse_weight: of MSE, in units of cost over MSE of the unlearnt model on what remains.
            folds: see `unlearn.Tuning`.
        """
        columns = {"method": method, "criterion": "cost+mse", "mse_weight": mse_weight}
        table = self._table()
        load = torch.from_numpy(self.study.dataset.load_pu[self.remaining])
        forecast = torch.from_numpy(self.unlearnt.model.forecast(self.study.dataset.features[self.remaining]))
        unit = self._cost_on(self.retrained) / float(MSE()(forecast, load).mean())
        parts: dict[Criterion, float] = {OperatingCostCriterion(self.study.cost): 1.0, MSE(): mse_weight * unit}
        self._add_tuned(table, Weighted(parts), TUNINGS[method](), folds, columns)
        table.add("mse_weight_unit", unit, "money/h/pu2", split="remaining", **columns)
        return self._told(table)

    def whole_network(self, training: TrainingOptions) -> pd.DataFrame:
        """A network of the same kind, all of it trained for the cost on the training rows that remain, the core's too.

        Its last layer works on features of its own, so that it has no distance to the retrained head.
        """
        study, start = self.study, time.perf_counter()
        kept = np.setdiff1d(study.dataset.split.train, self.rows)
        kind, grid = study.model.card.kind, study.cost.fresh()
        table, columns = self._table(), {"method": "whole_network", "criterion": "cost"}
        try:
            model = fit_network(study.dataset, kind, training, study.seed, loss="cost", grid=grid, rows=kept)
        except SolverError as error:
            _add_failed(table, error, columns)
            return self._told(table)
        self._add(table, model, columns, time.perf_counter() - start, head=False)
        return self._told(table)

    def stepped(self, l1_budget: float) -> pd.DataFrame:
        """Mean cost on the remaining rows themselves, of re-weighting by one step or many.

        Of the retrained model; of "reweighted" as published, whose step starts at the model that knows the forgotten
        rows; of a "single_step" of the same program at the unlearnt model, for the cost of what remains; and of
        "weights", which take such steps to a stationary point.
        """
        table = self._table()
        columns: dict[str, Any] = {"method": "weights", "criterion": "cost", "l1_budget": l1_budget}
        try:
            heads, many = self._steps(l1_budget)
        except SolverError as error:
            _add_failed(table, error, columns)
            return self._told(table)
        for name, head in heads.items():
            own = {**columns, "method": name, "criterion": None if name == "retrained" else "cost"}
            table.add("cost", self._cost_on(head), "money/h", split="remaining", **own)
        _add_found(table, many, columns)
        return self._told(table)

    def _steps(self, l1_budget: float) -> tuple[dict[str, Tensor], Tuned]:
        """Heads by method, and how the last of them was found."""
        study, start = self.study, self.unlearnt.model
        program = Reweighting(l1_budget, study.linf_budget)
        features, load = (values[self.remaining] for values in (study.dataset.features, study.dataset.load_pu))
        own = criterion_gradient(start, fresh(study.criteria["cost"]), features, load).gradient
        single = program.update(study.objective, start.theta, self.positions, own, study.ihvp)
        many = tune(
            start,
            study.dataset,
            "cost",
            Weights(l1_budget=l1_budget, linf_budget=study.linf_budget),
            grid=study.cost,
            folds=0,
        )
        heads = {
            "single_step": single.theta,
            "reweighted": self._published("cost", l1_budget),
            "weights": many.model.tuned,
            "retrained": self.retrained,
        }
        return heads, many

    def _published(self, criterion: str, l1_budget: float) -> Tensor:
        """The head that is re-weighted at the model which knows the rows to forget, on which its weights depend then.

        The gradient is taken on validation rows.
        """
        study = self.study
        rows = sample_hours(study.dataset.split.validation, study.hours)
        features, load = study.dataset.features[rows], study.dataset.load_pu[rows]
        slope = criterion_gradient(study.model, fresh(study.criteria[criterion]), features, load).gradient
        program = Reweighting(l1_budget, study.linf_budget)
        return program.update(study.objective, study.model.theta, self.positions, slope, study.ihvp).theta

    def _told(self, table: RecordTable) -> pd.DataFrame:
        return table.to_frame().assign(proportion=self.proportion)

    def _table(self) -> RecordTable:
        return self.study.records("tuning")

    def _cost_on(self, head: Tensor) -> float:
        """Mean cost of a head on the remaining rows."""
        dataset, model = self.study.dataset, self.study.model.with_theta(head.reshape(-1))
        forecast = model.forecast(dataset.features[self.remaining])
        return float(price_hours(self.study.cost.fresh(), forecast, dataset.load_pu[self.remaining]).total.mean())

    def _add_tuned(
        self,
        table: RecordTable,
        criterion: str | Criterion,
        method: TuningMethod,
        folds: int,
        columns: Mapping[str, object],
    ) -> None:
        study = self.study
        try:
            found = tune(self.unlearnt.model, study.dataset, criterion, method, grid=study.cost, folds=folds)
        except SolverError as error:
            _add_failed(table, error, columns)
            return
        self._add(table, found.model, columns, sum(found.seconds.values()))
        _add_found(table, found, columns)

    def _add(
        self,
        table: RecordTable,
        model: Forecaster,
        columns: Mapping[str, object],
        seconds: float | None = None,
        head: bool = True,
    ) -> None:
        """Add the metrics of a model: all on test rows, the cost on validation rows."""
        study = self.study
        for split in ("validation", "test"):
            rows = sample_hours(getattr(study.dataset.split, split), study.hours)
            forecast = model.forecast(study.dataset.features[rows])
            hourly = measure_forecast(torch.from_numpy(forecast), study.dataset, rows, study.cost.fresh(), study.mape)
            own: dict[str, Any] = {**columns, "split": split}
            if split == "validation":
                table.add("cost", hourly.means(rows)["cost"], "money/h", **own)
                continue
            hourly.add_means(table, rows, **own)
            table.add("bias", float((forecast - study.dataset.load_pu[rows]).sum(axis=1).mean()), "pu", **own)
            table.add("sheds", _sheds(hourly.values["shedding_cost"], study.cost.case), "share", **own)
        if head:
            forecasts = model.tuned if model.is_tuned else model.head
            distance = relative_distance(forecasts.reshape(-1), self.retrained)
            table.add("distance_to_retrained", distance, "relative", **own)
        if seconds is not None:
            table.add("seconds", seconds, "s", **own)


def _sheds(shedding_cost: FloatArray, case: GridCase) -> float:
    return float((shedding_cost > SHED_PU * case.shedding_cost[1]).mean())


def _add_failed(table: RecordTable, error: SolverError, columns: Mapping[str, object]) -> None:
    """Say that a method found nothing on these rows: the others count, and it does not win."""
    logger.warning("%s found nothing: %s", columns["method"], error)
    own: dict[str, Any] = {**columns, "split": "remaining"}
    table.add("failed", 1.0, "", **own)


def _add_found(table: RecordTable, found: Tuned, columns: Mapping[str, object]) -> None:
    """Add hyper-parameters, what they were chosen by, and how far from stationary the solution is."""
    own: dict[str, Any] = {**columns, "split": "remaining"}
    scores = {"before": found.before, "after": found.after}
    scores |= {"left_out_before": found.left_out_before, "left_out_after": found.left_out_after}  # type: ignore[dict-item]
    for metric, value in scores.items():
        if value is not None:
            table.add(metric, value, "money/h", **own)
    for metric, parameter in {**found.parameters, **found.stationarity}.items():
        if metric in _FOUND and isinstance(parameter, int | float):
            name, unit = _FOUND[metric]
            table.add(name, parameter, unit, **own)
    if "variant" in found.parameters:
        table.add("variant_total", found.parameters["variant"] == "total", "", **own)
    table.add("steps", found.steps, "steps", **own)


def with_chosen(records: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Records of one deletion with the tuning that costs least on validation rows: metric "chosen", method "chosen".

    Args:
        records: of one deletion.
        methods: tunings; of equal ones the first is chosen.
    """
    tuned = records[records["method"].isin(methods)]
    cost = tuned[(tuned["split"] == "validation") & (tuned["metric"] == "cost")]
    values: Mapping[str, float] = dict(zip(cost["method"], cost["value"], strict=True))
    if not values:
        return records
    best = min((name for name in methods if name in values), key=lambda name: values[name])
    marks = cost.assign(metric="chosen", unit="", value=(cost["method"] == best).astype(float))
    own = tuned[(tuned["method"] == best) & (tuned["split"] != "remaining")].assign(method="chosen")
    return pd.concat([records, marks, own], ignore_index=True)


def require_validation(dataset: LoadDataset) -> None:
    """Refuse a data set on which the tunings cannot be told apart.

    Raises:
        InputError: no validation rows.
    """
    if not len(dataset.split.validation):
        raise InputError(
            f"tuning: expected validation rows in {dataset.name}, on which one of the tunings is chosen; got none. "
            "Take protocol=fair, and a share of validation rows above 0."
        )


def month_rows(dataset: LoadDataset, rows: IntArray, month: int) -> IntArray:
    """Those of some rows of a data set whose hours are in a month.

    Raises:
        InputError: none of them, or all.
    """
    hours = dataset.timestamps[rows]
    found = rows[np.asarray(hours.month) == month]
    if not 0 < len(found) < len(rows):
        raise InputError(
            f"tuning.month: expected a month of some training rows of {dataset.name}, {hours[0]} to {hours[-1]}, "
            f"got {month} with {len(found)} of {len(rows)} rows. Take another."
        )
    return found
