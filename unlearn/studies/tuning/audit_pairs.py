"""Pairs of histories that an attacker tells apart: on one training set, with the removed rows and without.

Let U be the removed rows and S a training set drawn from the rows that remain. IN: a model is fitted on S and U, and
forgets U by the library's own call. OUT: a model is fitted on S alone. Both are then released in the same way. Rows
outside of S and U count as forgotten, and preprocessing (columns, scaler, extractor) is fixed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from unlearn.attacks import random_subsets
from unlearn.checks import BoolArray, IntArray, short_repr
from unlearn.data import LoadDataset, remain_rows
from unlearn.forecasters import Forecaster, HeadObjective, HeadStatistics
from unlearn.forecasters.specs import solved_exactly
from unlearn.grid import OperatingCost, price_hours
from unlearn.studies._shared.study import PROTOCOLS, Study, sample_hours
from unlearn.studies.tuning.audit_options import TuningAuditOptions
from unlearn.unlearning import evaluation_rows, forget, reweight, reweighting
from unlearn.unlearning.tuning import Tuning, TuningMethod, tune


class ShadowPairs:
    """Training sets drawn from the remaining rows, the models fitted on them, and the grids that their owners price on.

    Attributes:
        study: forecaster and protocol, on data in which some of the removed rows are copies of remaining ones.
        rows: positions of U in the head's training rows.
        removed: U as rows of the data set.
        n_copies: removed rows that are copies.
        subsets: whether a row is in the training set of a pair, shape (k, n); U is in none.
    """

    def __init__(self, study: Study, share: float, options: TuningAuditOptions) -> None:
        """Pick U as the study says, copy rows into it, and draw the training sets.

        Raises:
            InputError: too few rows for what is asked.
        """
        self.rows = study.positions(share)
        remain = remain_rows(self.rows, len(study.training_rows))
        options.require_rows(len(remain), study.objective.n_columns, self._exact(study), study.objective.l2)
        self.removed = study.training_rows[self.rows]
        self.n_copies = round(options.duplicates * len(self.rows))
        self.study = on_data(study, with_copies(study, self.rows, self.n_copies))
        self.subsets = np.zeros((options.pairs, len(study.training_rows)), dtype=bool)
        self.subsets[:, remain] = random_subsets(len(remain), options.pairs, options.pair_share, study.seed)

    @staticmethod
    def _exact(study: Study) -> bool:
        return solved_exactly(study.model.card.kind)

    @property
    def exact(self) -> bool:
        """Whether the forecaster is solved exactly."""
        return self._exact(self.study)

    @property
    def objective(self) -> HeadObjective:
        return self.study.objective

    @cached_property
    def evaluated(self) -> IntArray:
        """Rows that re-weighting takes the criterion's gradient on, as the protocol says."""
        return sample_hours(evaluation_rows(self.study.dataset, PROTOCOLS[self.study.protocol]), self.study.hours)

    def trained(self, pair: int, inside: bool) -> Forecaster:
        """A model fitted on S, and on U where that is inside; from the data, anew at each call."""
        return self._model(self._members(pair, inside), self._members(pair, inside))

    def alleged(self, pair: int) -> Forecaster:
        """A model that is said to be fitted on S and U, and was fitted on S alone: what it may forget is not in it."""
        return self._model(self._members(pair, False), self._members(pair, True))

    def _members(self, pair: int, inside: bool) -> BoolArray:
        members = self.subsets[pair].copy()
        members[self.rows] = inside
        return members

    def _model(self, fitted: BoolArray, said: BoolArray) -> Forecaster:
        objective = self.objective
        rows = torch.from_numpy(said)[:, None].expand(-1, objective.n_outputs).contiguous()
        theta = objective.fit(torch.from_numpy(fitted).double())
        sums = HeadStatistics.of(objective.design, objective.target, rows.double())
        return self.study.model.with_theta(theta, rows.double(), statistics=sums, forgotten=~rows)

    def priced(self, inside: bool, further: int = 0) -> OperatingCost:
        """A grid on which the owner of a model priced the rows that he had: with U, or without.

        Args:
            inside: whether he had U.
            further: rows that he had also priced before, as of other work.
        """
        study, dataset = self.study, self.study.dataset
        cost = study.cost.fresh()
        had = np.ones(len(study.training_rows), dtype=bool)
        had[self.rows] = inside
        for rows in (dataset.split.test[:further], study.training_rows[had]):
            if len(rows):
                price_hours(cost, study.model.forecast(dataset.features[rows]), dataset.load_pu[rows])
        return cost


def with_copies(study: Study, rows: IntArray, n_copies: int) -> LoadDataset:
    """The data set in which some removed rows are exact copies of remaining ones, features and loads.

    Args:
        study: with the data set.
        rows: positions of U in the head's training rows.
        n_copies: of them that become copies.
    """
    random, dataset = np.random.default_rng(study.seed), study.dataset
    copies = study.training_rows[random.permutation(rows)[:n_copies]]
    remain = study.training_rows[remain_rows(rows, len(study.training_rows))]
    copied = random.choice(remain, size=len(copies))
    features, load_mw = dataset.features.copy(), dataset.load_mw.copy()
    features[copies], load_mw[copies] = features[copied], load_mw[copied]
    return replace(dataset, features=features, load_mw=load_mw)


def on_data(study: Study, dataset: LoadDataset) -> Study:
    """The study on other data of the same rows: its head fitted anew, its preprocessing kept."""
    model = study.model.with_theta(study.model.theta)
    model.card = replace(model.card, fingerprint=dataset.fingerprint)
    return replace(study, model=model.fitted_to(dataset), dataset=dataset)


@short_repr
@dataclass(frozen=True, eq=False)
class Release:
    """One way from a training set to a released model.

    Attributes:
        run: the released model of a pair, IN or OUT, by an owner with a grid.
        columns: that name it in records.
    """

    run: Callable[[ShadowPairs, int, bool, OperatingCost], Forecaster]
    columns: dict[str, object] = field(default_factory=dict)


def retrained() -> Release:
    """Complete unlearning without tuning: a downdated head, against one fitted on S.

    Both are equal to rounding. That a head and its sums were downdated, whatever by, shows in their last bits.
    """

    def run(shadows: ShadowPairs, pair: int, inside: bool, cost: OperatingCost) -> Forecaster:
        model = shadows.trained(pair, inside)
        return forget(model, shadows.study.dataset, shadows.removed).model if inside else model

    return Release(run, {"method": "retrained"})


def reweighted(l1_budget: float) -> Release:
    """TAMU as published: scores at a model that was fitted on U, against scores at one that was not, all else alike."""

    def run(shadows: ShadowPairs, pair: int, inside: bool, cost: OperatingCost) -> Forecaster:
        study = shadows.study
        model = shadows.trained(pair, True) if inside else shadows.alleged(pair)
        with _without_warnings():
            done = reweight(
                model,
                study.dataset,
                shadows.removed,
                "cost",
                l1_budget,
                grid=cost,
                evaluate_on=shadows.evaluated,
                linf_budget=study.linf_budget,
                ihvp=study.ihvp,
            )
        return done.model

    return Release(run, {"method": "reweighted", "criterion": "cost", "l1_budget": l1_budget})


@contextmanager
def _without_warnings() -> Iterator[None]:
    """What re-weighting may do to the cost is not what is audited; it would be said for every history."""
    logger = logging.getLogger(reweighting.__name__)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def tuned(method: TuningMethod, folds: int = 0, variant: str | None = None) -> Release:
    """A tuning: forget and tune in one call, against tuning a model that was fitted on S."""

    def run(shadows: ShadowPairs, pair: int, inside: bool, cost: OperatingCost) -> Forecaster:
        model, dataset = shadows.trained(pair, inside), shadows.study.dataset
        if inside:
            return forget(model, dataset, shadows.removed, tune=Tuning("cost", method, cost, folds)).model
        return tune(model, dataset, "cost", method, grid=cost, folds=folds).model

    return Release(run, {"method": method.name, "criterion": "cost", "variant": variant})


def releases_of(options: TuningAuditOptions, exact: bool) -> list[Release]:
    """TAMU, complete unlearning, and every tuning of the options."""
    tunings = [tuned(method, folds, variant) for (_, variant), (method, folds) in options.tunings().items()]
    return [reweighted(options.budget(exact)), retrained(), *tunings]
