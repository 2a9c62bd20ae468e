"""Forecasters as a registry keeps them: how they are fitted, and how each of them forgets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from unlearn.checks import BoolArray, require_choice
from unlearn.data import LoadDataset
from unlearn.errors import InputError, SolverError
from unlearn.forecasters import (
    FORECASTERS,
    Forecaster,
    TrainingOptions,
    fit_linear,
    fit_network,
    load_forecaster,
    save_forecaster,
)
from unlearn.forecasters.base import FROZEN
from unlearn.forecasters.network import fit_extractor_and_head
from unlearn.forecasters.specs import network_named, solved_exactly
from unlearn.grid import OperatingCost
from unlearn.households.customers import CustomerLoads
from unlearn.services.base import CUSTOMERS, EXACT, LOADS, Change, Foreseen, Learner, Measured, Outcome, Route
from unlearn.services.evidence.audit import Audit, audit
from unlearn.services.evidence.constants import constants
from unlearn.services.evidence.numbers import distance_to_refit, effects, residual_gradient, sums_gap
from unlearn.services.learners.touched import held_rows, touched_rows, unlearnt
from unlearn.unlearning import Tuning, forget, forget_customers, relative_distance, tune, withdraw_loads
from unlearn.unlearning.result import INCOMPLETE
from unlearn.unlearning.tuning.apply import apply
from unlearn.unlearning.tuning.recipe import recipe_of

#: What a network's extractor is trained on: the core of the data set itself, or simulated customers, which nobody has
#: to forget.
EXTRACTORS = ("own", "simulated")
#: Simulated customers of each load, and the first of the seeds that they are drawn from.
_SIMULATED, _ELSEWHERE = 20, 1_000_003


@dataclass(frozen=True)
class TuneOptions:
    """How forecasts are made useful again; see `unlearn.tune`.

    Attributes:
        method: one of `TUNINGS` by name.
        criterion: by name.
        grid: name of the grid that "cost" is priced on.
    """

    method: str = "scale"
    criterion: str = "cost"
    grid: str | None = None

    def recipe(self) -> Tuning:
        return Tuning(self.criterion, self.method, self.grid)


@dataclass(frozen=True)
class ForecastLearner(Learner):
    """A forecaster: linear, or a network under an analytic head, tuned or not.

    Attributes:
        architecture: one of `FORECASTERS`.
        l2: regulariser of the head.
        seed: of training a network.
        training: of a network.
        extractor: what it is trained on, one of `EXTRACTORS`.
        tune: how it is tuned after each fit; None leaves the least-squares head.
    """

    kind: ClassVar[str] = "forecaster"

    architecture: str = "linear"
    l2: float = 0.0
    seed: int = 0
    training: TrainingOptions = field(default_factory=TrainingOptions)
    extractor: str = EXTRACTORS[0]
    tune: TuneOptions | None = None

    def __post_init__(self) -> None:
        require_choice("architecture", self.architecture, FORECASTERS)
        require_choice("extractor", self.extractor, EXTRACTORS)

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> ForecastLearner:
        nested = {"training": TrainingOptions, "tune": TuneOptions}
        made = {
            name: nested[name](**own) if name in nested and own is not None else own for name, own in values.items()
        }
        return cls(**made)

    @property
    def exact(self) -> bool:
        """Whether all of it is solved in closed form."""
        return solved_exactly(self.architecture)

    def fit(self, dataset: LoadDataset, left_out: BoolArray | None = None) -> Forecaster:
        """Fit it to the training rows; measurements that are left out are learnt by no part of it."""
        marks = np.zeros(dataset.load_mw.shape, dtype=bool) if left_out is None else left_out
        model = self._least_squares(dataset, marks)
        return model if self.tune is None else apply(self.tune.recipe(), model, dataset).model

    def _least_squares(self, dataset: LoadDataset, marks: BoolArray) -> Forecaster:
        if self.exact:
            model = fit_linear(dataset, self.l2)
        elif self.extractor == "simulated":
            source = simulated_like(dataset, self.seed)
            model = fit_network(dataset, self.architecture, self.training, self.seed, self.l2, extractor_from=source)
        else:
            spec = network_named(self.architecture)(self.l2, self.training)
            core = np.setdiff1d(dataset.split.core, held_rows(dataset, marks))
            model = fit_extractor_and_head(spec, dataset, self.seed, core)
        return without_measurements(model, dataset, marks)

    def save(self, model: Forecaster, folder: Path) -> None:
        save_forecaster(model, folder / "forecaster")

    def load(self, folder: Path) -> Forecaster:
        return load_forecaster(folder / "forecaster")

    def route(self, model: Forecaster, change: Change) -> Route | None:
        """See `Learner.route`."""
        parts = model.parts_of(change.before).numpy()
        touched = touched_rows(model, change, parts)
        if not touched.any():
            return None
        if not self.exact and change.subject == LOADS:
            return Route(
                "trained anew",
                EXACT,
                True,
                "The network's extractor reads the features of all loads together, so none can be taken out.",
            )
        if not self.exact and (touched & (parts == FROZEN)).any():
            return Route(
                "trained anew",
                EXACT,
                True,
                "The network's extractor was trained on hours of what is removed, and is frozen: nothing is removed "
                "from it but by training. An extractor of simulated customers would need none.",
            )
        if change.before.lags and change.subject != LOADS:
            return Route(
                "head fitted anew from what remains",
                EXACT,
                False,
                "What is removed stands in the features of other hours as well (lags), so sums alone do not do.",
            )
        if _rescaled(change):
            return Route(
                "head fitted anew from what remains",
                EXACT,
                False,
                "Loads are scaled to the grid anew, for their factors were fitted to what is removed as well.",
            )
        return Route(
            "update of kept sums",
            EXACT,
            False,
            "The head is a least-squares solution: its sums without what is removed give the head of a refit. It is "
            "then solved once more from what remains, so that not even its last digits tell of what was removed.",
        )

    def carried(self, model: Forecaster, change: Change) -> Forecaster:
        """See `Learner.carried`; where loads are scaled by other factors, the head is solved anew."""
        recipe, new = recipe_of(model), model.untuned()
        try:
            new = new.carried_to(change.after)
        except InputError:  # other factors
            new = new.fitted_anew(change.after)
        return new if recipe is None else apply(recipe, new, change.after).model

    def forget(self, model: Forecaster, change: Change) -> Outcome:
        """See `Learner.forget`; the result is fitted to `change.after`."""
        start = time.perf_counter()
        route, recipe = self.route(model, change), recipe_of(model)
        assert route is not None
        said: list[str] = []
        complete = True
        numbers: dict[str, float | None] = {}
        if route.trains:
            new = self._least_squares(change.after, change.left_out)
        else:
            updated, complete, said = _forgotten(model.untuned(), change)
            # Last bits of updated sums tell of what left them, so the model that is kept is solved from the data.
            new = updated.fitted_anew(change.after)
            if not _rescaled(change):
                numbers["update_distance"] = relative_distance(updated.head_in_columns_of(new).reshape(-1), new.theta)
        solved = time.perf_counter()
        if recipe is not None:
            new, said = _tuned_anew(new, recipe, change.after, said)
        seconds = {"forget": solved - start, "tune": time.perf_counter() - solved}
        same_shape = new.head.shape == model.head.shape
        return Outcome(
            model=new,
            route=route,
            complete=complete,
            constants=constants(model, new, change),
            limitations=tuple(said),
            seconds=seconds,
            numbers={
                "parameter_change": relative_distance(new.theta, model.theta) if same_shape else None,
                **numbers,
            },
        )

    def foresee(
        self, model: Forecaster, change: Change, grid: OperatingCost | None, tunings: Sequence[str] = ()
    ) -> Foreseen:
        """See `Learner.foresee`; tunings are computed from what remains."""
        route = self.route(model, change)
        if route is None or route.trains:
            return Foreseen(route)
        outcome = self.forget(model, change)
        compared = {"original": model, "complete": outcome.model.untuned()}
        for method in tqdm(tunings if grid is not None else (), desc="tunings", leave=False, delay=2):
            compared[method] = tune(outcome.model.untuned(), change.after, "cost", method, grid=grid).model
        return Foreseen(route, outcome, self._effects(compared, change, grid))

    def measure(self, model: Forecaster, outcome: Outcome, change: Change, grid: OperatingCost | None) -> Measured:
        """See `Learner.measure`: residual gradient, distance to a refit, an audit, and what forecasts cost."""
        new = outcome.model
        numbers: dict[str, float | None] = {
            "residual_gradient": residual_gradient(new, change.after),
            "distance_to_retrained": distance_to_refit(new, change.after),
        }
        said: tuple[str, ...] = ()
        if not outcome.route.trains and (change.subject != LOADS or self.exact):
            try:
                found = audit(model.untuned(), change, after=new.untuned(), seed=self.seed)
                numbers |= audit_numbers(found)
                said = found.sentences
            except (InputError, SolverError) as error:
                said = (f"No audit was made: {error}",)
        effect = self._effects(
            {"original": model, "complete" if recipe_of(new) is None else "tuned": new}, change, grid
        )
        return Measured(numbers, effect, said)

    def _effects(
        self, models: Mapping[str, Forecaster], change: Change, grid: OperatingCost | None
    ) -> tuple[Mapping[str, Any], ...]:
        """What models forecast: the original on the data before, the others on what remains."""
        data = {name: change.before if name == "original" else change.after for name in models}
        blank = np.flatnonzero(change.left_out.any(axis=1))
        return tuple(effects(models, data, grid, left_out=blank))

    def recompute(self, model: Forecaster, dataset: LoadDataset, left_out: BoolArray) -> Mapping[str, float]:
        """See `Learner.recompute`."""
        gap = sums_gap(model, dataset)
        return {
            "residual gradient": residual_gradient(model, dataset),
            "distance to a refit": distance_to_refit(model, dataset),
            **({} if gap is None else {"distance of kept sums": gap}),
        }


def audit_numbers(found: Audit) -> dict[str, float | None]:
    """An audit as numbers of a certificate."""
    numbers: dict[str, float | None] = {"audit_left": found.left}
    for when, own in (("before", found.before), ("after", found.after)):
        numbers |= {
            f"audit_auc_{when}": own.value,
            f"audit_auc_{when}_low": own.low,
            f"audit_auc_{when}_high": own.high,
        }
    return numbers


def _factor(dataset: LoadDataset) -> np.ndarray:
    return np.asarray(getattr(dataset, "mw_per_kwh", np.ones(dataset.n_loads)))


def _rescaled(change: Change) -> bool:
    """Whether loads that stay as they are have other factors after the change."""
    before, after = change.before, change.after
    if before.load_names != after.load_names:
        return False
    if change.subject == CUSTOMERS:
        return not np.array_equal(_factor(before), _factor(after))
    kept = np.setdiff1d(np.arange(len(before.timestamps)), change.rows)
    return not np.array_equal(before.load_mw[kept], after.load_mw[kept])


def _forgotten(model: Forecaster, change: Change) -> tuple[Forecaster, bool, list[str]]:
    """The model without what is removed, whether that is complete, and what is to be said of it."""
    before = change.before
    if change.subject == CUSTOMERS:
        assert isinstance(before, CustomerLoads)
        done: Any = forget_customers(
            model, before, change.customers, change.case, hours=change.hours, replacement=change.replacement
        )
    elif change.subject == LOADS:
        done = withdraw_loads(model, before, change.loads or ())
    else:
        rows = np.intersect1d(change.rows, before.split.train)
        done = forget(model, before, rows, loads=change.loads, lagged="drop" if before.lags else None)
    new, kept = done.model, [own for own in done.limitations if own.startswith(INCOMPLETE)]
    if change.subject != CUSTOMERS and before.lags:
        # Hours that hold what was removed as lags are not learnt, others are: those left out for withdrawn loads alone.
        marks = unlearnt(new, change.after, change.left_out)
        if not torch.equal(marks, new.forgotten):
            new = new.fitted_anew(change.after, 1.0 - marks.double(), marks)
    if len(getattr(done, "lagged_rows", ())):
        kept.append(
            f"{len(done.lagged_rows)} other training hours, of which removed loads were features, are forgotten, too."
        )
    return new, done.complete or done.complete_as_given, kept


def _tuned_anew(
    model: Forecaster, recipe: Tuning, dataset: LoadDataset, said: list[str]
) -> tuple[Forecaster, list[str]]:
    try:
        return apply(recipe, model, dataset).model, said
    except InputError as error:
        return model, [*said, f"The model is not tuned any more, for it could not be: {error}"]


def without_measurements(model: Forecaster, dataset: LoadDataset, marks: BoolArray) -> Forecaster:
    """The model without measurements that are marked, shape (N, B), as `forget` removes them."""
    learnt = np.zeros(len(marks), dtype=bool)
    learnt[model.training_rows(dataset)] = True
    lagged = "drop" if dataset.lags else None
    whole = np.flatnonzero(marks.all(axis=1) & learnt)
    if len(whole):
        model = forget(model, dataset, whole, lagged=lagged).model
    for b, name in enumerate(dataset.load_names):
        rows = np.flatnonzero(marks[:, b] & ~marks.all(axis=1) & learnt)
        if len(rows):
            model = forget(model, dataset, rows, loads=[name], lagged=lagged).model
    return model.fitted_anew(dataset) if bool(model.forgotten.any()) else model


def simulated_like(dataset: LoadDataset, random_state: int) -> LoadDataset:
    """Loads of simulated customers with the hours, calendar and weather of a data set that is scaled to a grid.

    Raises:
        InputError: loads that are not scaled to a grid: their level would be learnt from customers.
    """
    from unlearn.households import hourly_meters, simulate_households, spread

    if "load scale" not in {constant.name for constant in dataset.fitted}:
        raise InputError(
            'extractor: expected "own" for loads that are not scaled to a grid, got "simulated": their level would '
            "tell the extractor of customers. Name a grid, or take an extractor of your own data."
        )
    n_history, hours = len(dataset.history_mw), dataset.timestamps
    first = hours[0] - np.timedelta64(n_history, "h")
    n_days = (hours[-1] - first).days + 3
    # Far from seeds that people choose, so that no study's own customers are among them.
    people = simulate_households(
        _SIMULATED * dataset.n_loads, f"{first:%Y-%m-%d}", n_days, random_state=_ELSEWHERE + random_state
    )
    meters = hourly_meters(people)
    load_of = spread(meters.customer_ids, dataset.n_loads, random_state)
    position = np.array([int(load_of[own].removeprefix("bus_")) - 1 for own in meters.customer_ids])
    low = int(meters.hours.get_indexer(pd.DatetimeIndex([first]))[0])
    kwh = meters.series(np.arange(len(meters)))[:, low : low + n_history + len(hours)]
    load = np.stack([kwh[position == b].sum(axis=0) for b in range(dataset.n_loads)], axis=1)
    peak = dataset.load_mw[dataset.split.train].max(axis=0)  # the buses' nominal loads
    load *= peak / load[n_history:][dataset.split.train].max(axis=0)
    return replace(dataset.with_loads(load[n_history:], load[:n_history]), name="simulated customers")
