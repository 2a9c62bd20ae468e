"""Forecasters with a certified head as a registry keeps them: an (ε, δ) for each removal until the budget is spent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unlearn.checks import BoolArray, FloatArray, IntArray, require_choice, require_positive
from unlearn.data import LoadDataset
from unlearn.data.splits import Split
from unlearn.grid import OperatingCost
from unlearn.services.base import CERTIFIED, EXACT, HOURS, Change, Constant, Learner, Measured, Outcome, Route
from unlearn.services.evidence.numbers import SPLITS, errors
from unlearn.services.learners.touched import held_rows
from unlearn.unlearning import CERTIFIED_LOSSES, CertifiedForecaster, fit_certified, load_certified, save_certified


@dataclass(frozen=True)
class CertifiedLearner(Learner):
    """A linear forecaster whose head minimises a convex loss that is not quadratic, perturbed by noise.

    Hours are removed by a Newton step, of which the certificate says how far it may be from a refit; once the budget is
    spent, and for customers and loads, which change every hour, it is trained anew.

    Attributes:
        loss: a name of `CERTIFIED_LOSSES`.
        l2: regulariser, above 0.
        epsilon: ε of the promise.
        delta: δ of the promise.
        sigma: standard deviation of the noise; None takes the head's default.
    """

    kind: ClassVar[str] = "certified"
    repeats: ClassVar[bool] = False

    loss: str = "pseudo_huber"
    l2: float = 0.1
    epsilon: float = 1.0
    delta: float = 1e-5
    sigma: float | None = None

    def __post_init__(self) -> None:
        require_choice("loss", self.loss, CERTIFIED_LOSSES)
        require_positive("l2", self.l2)

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> CertifiedLearner:
        return cls(**values)

    def fit(self, dataset: LoadDataset, left_out: BoolArray | None = None) -> CertifiedForecaster:
        """Fit it to the training hours of which nothing is left out, with fresh noise of the operating system."""
        kept = dataset if left_out is None else without_hours(dataset, left_out)
        return fit_certified(kept, self.loss, l2=self.l2, epsilon=self.epsilon, delta=self.delta, sigma=self.sigma)

    def save(self, model: CertifiedForecaster, folder: Path) -> None:
        save_certified(model, folder / "certified")

    def load(self, folder: Path) -> CertifiedForecaster:
        return load_certified(folder / "certified")

    def route(self, model: CertifiedForecaster, change: Change) -> Route | None:
        """See `Learner.route`."""
        rows = _held(model, change.rows)
        if change.subject == HOURS and not len(rows) and np.array_equal(*_remaining(model, change)):
            return None
        if change.subject != HOURS:
            return _anew("What is removed is in the loads of every hour, which no Newton step removes.")
        if change.before.lags:
            return _anew("Removed loads stand in the features of other hours as well (lags).")
        if not np.array_equal(*_remaining(model, change)):
            return _anew("The loads that remain are scaled by other factors, which the head has to be fitted to.")
        if not np.array_equal(*_units(model, change.after)):
            return _anew("The units of the loads, their largest training values, were among what is removed.")
        cost = model.head.cost_of(np.flatnonzero(np.isin(model.train, rows)))
        if cost > model.head.remaining_budget:
            return Route(
                WITHIN_ITS_NOISE,
                EXACT,
                True,
                f"The removal budget is spent: this request takes {cost:.3g} of it, and "
                f"{model.head.remaining_budget:.3g} is left. A retrain is due, with the noise as it is: the bound "
                "depends on it, so new noise at this time would tell of the old.",
            )
        return Route(
            "Newton step within the removal budget",
            CERTIFIED,
            False,
            f"The request takes {cost / model.head.budget:.1%} of the removal budget; "
            f"{model.head.remaining_budget / model.head.budget:.1%} was left.",
        )

    def forget(self, model: CertifiedForecaster, change: Change) -> Outcome:
        """See `Learner.forget`."""
        start = time.perf_counter()
        route = self.route(model, change)
        assert route is not None
        stays = not route.trains or route.method == WITHIN_ITS_NOISE
        if stays:
            new = model.forget(_held(model, change.rows), retrain=route.trains)
        else:
            new = self.fit(change.after, change.left_out)
        head = new.head
        step = None if route.trains else float(np.linalg.norm(head.weights - model.head.weights))
        numbers = {
            "epsilon": float(head.epsilon),
            "delta": float(head.delta),
            "bound_spent": float(head.spent),
            "budget": float(head.budget),
            "parameter_change": None if step is None else step / float(np.linalg.norm(model.head.weights)),
        }
        constants = (
            Constant("head", True, True, "Trained anew." if route.trains else "By a Newton step."),
            Constant("feature scaler and choice of columns", True, not stays, _KEPT if stays else "Fitted anew."),
            Constant("units of loads", True, True, "Their largest training values; the same without what is removed."),
        )
        said = [] if route.trains else new.head.certificate()["limitations"]
        return Outcome(new, route, True, constants, tuple(said), {"forget": time.perf_counter() - start}, numbers)

    def measure(
        self, model: CertifiedForecaster, outcome: Outcome, change: Change, grid: OperatingCost | None
    ) -> Measured:
        """See `Learner.measure`: errors and cost of forecasts, before and after."""
        blank = np.flatnonzero(change.left_out.any(axis=1))
        effect = []
        for method, own, data in (("original", model, change.before), ("complete", outcome.model, change.after)):
            for split in SPLITS:
                rows = np.setdiff1d(getattr(data.split, split), blank)
                effect.append({"method": method, "split": split, **errors(own, data, rows, grid)})
        return Measured(effect=tuple(effect))


#: The method of a retrain that the budget asks for.
WITHIN_ITS_NOISE = "trained anew under the same noise"
_KEPT = "As it was: mean and deviation of calendar and weather over all training hours, which hold no load."


def _anew(why: str) -> Route:
    return Route("trained anew with fresh noise", EXACT, True, why)


def _held(model: CertifiedForecaster, rows: IntArray) -> IntArray:
    """Of some rows, those that the head was fitted on and still holds."""
    return np.intersect1d(rows, model.train[model.head.rows])


def _remaining(model: CertifiedForecaster, change: Change) -> tuple[FloatArray, FloatArray]:
    """Loads, before and after, of the rows that the head still holds afterwards."""
    rows = np.setdiff1d(model.train[model.head.rows], change.rows)
    return change.before.load_pu[rows], change.after.load_pu[rows]


def _units(model: CertifiedForecaster, after: LoadDataset) -> tuple[FloatArray, FloatArray]:
    """What targets were divided by, and what they would be."""
    unit = after.load_pu[model.train].max(axis=0)
    return model.unit, np.where(unit > 0, unit, 1.0)


def without_hours(dataset: LoadDataset, left_out: BoolArray) -> LoadDataset:
    """The data set whose training rows are those of which nothing is left out, nor in their lags."""
    held, split = held_rows(dataset, left_out), dataset.split
    kept = {name: np.setdiff1d(getattr(split, name), held) for name in ("train", "core", "sensitive")}
    return replace(dataset, split=Split(kept["train"], split.validation, split.test, kept["core"], kept["sensitive"]))
