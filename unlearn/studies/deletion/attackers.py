"""The shadow models that attackers of a deletion guess about, and what the forecaster itself gives away.

Let U be the removed rows. For each pair of shadow models a training set S is drawn at random from the rows that remain:
the model IN is trained on S and U and made to forget U, the model OUT is trained on S alone. The attacker knows U, the
method and the population of S, sees a model and says IN or OUT.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from tqdm import tqdm

from unlearn.attacks import (
    fit_heads,
    likelihood_ratio_scores,
    loss_scores,
    measure_attack,
    random_subsets,
    residuals_of,
)
from unlearn.checks import FloatArray, IntArray
from unlearn.data import remain_rows
from unlearn.influence import criterion_gradient, influence_scores
from unlearn.records import RecordTable
from unlearn.studies._shared.attackers import Pair, add_outcome
from unlearn.studies._shared.study import PROTOCOLS, Study, sample_hours
from unlearn.studies.deletion.options import AuditOptions
from unlearn.unlearning import Reweighting, evaluation_rows, newton_update

#: Rows whose residuals under all shadow models are held at once.
ROWS = 256


def measure_membership(study: Study, options: AuditOptions, table: RecordTable) -> None:
    """Add to the records how well the loss and the likelihood ratio tell training rows from others.

    Args:
        study: forecaster and protocol.
        options: settings; each of the `targets` is a forecaster attacked, each of the `shadows` one that the attacker
            has trained himself.
        table: gets the estimates of each attack, scope "forecaster". On either side a row counts once over
            targets when rows are resampled; that hard rows are on both sides makes intervals wider than they need be.
    """
    objective = study.objective
    design, target = objective.design.numpy(), objective.target.numpy()
    # Shadow models of each kind: every row is in half of them.
    subsets = random_subsets(len(design), options.targets + 2 * options.shadows, 0.5, study.seed)
    heads = fit_heads(design, target, subsets.astype(np.float64), objective.l2)
    scores: dict[str, list[FloatArray]] = {"loss": [], "likelihood_ratio": []}
    for start in tqdm(range(0, len(design), ROWS), desc="rows of the forecaster", leave=False):
        rows = slice(start, start + ROWS)
        residuals = residuals_of(heads, design[rows], target[rows])
        asked, known = np.split(residuals, [options.targets])
        scores["loss"].append(loss_scores(asked))
        member = subsets[options.targets :, rows]
        scores["likelihood_ratio"].append(np.stack([likelihood_ratio_scores(one, known, member) for one in asked]))
    inside = subsets[: options.targets]
    row = np.broadcast_to(np.arange(len(design)), inside.shape)
    for attack, parts in scores.items():
        found = np.concatenate(parts, axis=1)
        outcome = measure_attack(
            found[inside],
            found[~inside],
            unit="row",
            member_group=row[inside],
            other_group=row[~inside],
            fprs=options.row_fprs,
            seed=study.seed,
        )
        add_outcome(table, outcome, attack=attack, scope="forecaster", method="original")


class ShadowModels:
    """Training sets drawn from the remaining rows, and the heads that each method releases, IN and OUT."""

    def __init__(self, study: Study, rows: IntArray, n_pairs: int, share: float, seed: int) -> None:
        """Draw the training sets.

        Args:
            study: forecaster, data and protocol.
            rows: positions of U in the head's training rows.
            n_pairs: training sets.
            share: share of the remaining rows in each.
            seed: of the draws.
        """
        self.study, self.rows = study, rows
        objective = study.objective
        self.design, self.target = objective.design.numpy(), objective.target.numpy()
        remain = remain_rows(rows, objective.n_samples)
        #: Whether a row is in the training set of a pair, shape (k, n); U is in none.
        self.subsets = np.zeros((n_pairs, objective.n_samples), dtype=bool)
        self.subsets[:, remain] = random_subsets(len(remain), n_pairs, share, seed)
        self._scores: dict[str, tuple[FloatArray, FloatArray]] = {}

    @cached_property
    def with_unlearn(self) -> FloatArray:
        """Weights of the training sets with U, shape (k, n)."""
        weights = self.subsets.astype(np.float64)
        weights[:, self.rows] = 1.0
        return weights

    @cached_property
    def inside(self) -> FloatArray:
        """Heads trained on S and U, shape (k, B, D)."""
        return self.fit(self.with_unlearn)

    @cached_property
    def outside(self) -> FloatArray:
        """Heads trained on S alone, shape (k, B, D)."""
        return self.fit(self.subsets.astype(np.float64))

    def fit(self, weights: FloatArray) -> FloatArray:
        """Weighted least squares for each row of weights, shape (k, B, D)."""
        return fit_heads(self.design, self.target, weights, self.study.objective.l2)

    def original(self) -> Pair:
        """Nothing is forgotten."""
        return Pair(self.inside, self.outside)

    def newton(self, form: str) -> Pair:
        """Complete unlearning by a Newton step of a form, against training on S alone."""
        objective, options = self.study.objective, self.study.ihvp
        heads = np.empty_like(self.inside)
        for k in tqdm(range(len(heads)), desc=f"shadow models: {form}", leave=False):
            theta = torch.from_numpy(self.inside[k].reshape(-1))
            weights = torch.from_numpy(self.with_unlearn[k])
            update = newton_update(objective, theta, self.rows, form, options, weights)
            heads[k] = update.theta.numpy().reshape(heads[k].shape)
        return Pair(heads, self.outside)

    def reweighted(self, criterion: str, budget: float) -> Pair:
        """PAMU or TAMU: weights computed at the model IN, against the same computed at the model OUT."""
        program = Reweighting(budget, self.study.linf_budget)
        weights = [self._weights(program, scores) for scores in self.scores(criterion)]
        differ = (weights[0] != weights[1]).sum() / self.subsets.sum()
        return Pair(self.fit(weights[0]), self.fit(weights[1]), float(differ))

    def scores(self, criterion: str) -> tuple[FloatArray, FloatArray]:
        """Scores s of the re-weighting program for the models IN and OUT, each of shape (k, n)."""
        if criterion not in self._scores:
            self._scores[criterion] = (self._scored(criterion, self.inside), self._scored(criterion, self.outside))
        return self._scores[criterion]

    def _scored(self, criterion: str, heads: FloatArray) -> FloatArray:
        study = self.study
        rows = sample_hours(evaluation_rows(study.dataset, PROTOCOLS[study.protocol]), study.hours)
        features, load = study.dataset.features[rows], study.dataset.load_pu[rows]
        scores = np.empty(self.subsets.shape)
        for k in tqdm(range(len(heads)), desc=f"shadow models: {criterion} scores", leave=False):
            theta = torch.from_numpy(heads[k].reshape(-1))
            model = study.model.with_theta(theta)
            slope = criterion_gradient(model, study.criteria[criterion], features, load, len(rows)).gradient
            drawn = torch.from_numpy(self.subsets[k].astype(np.float64))
            # The influence of removing a sample is minus its score.
            scores[k] = -influence_scores(study.objective, theta, slope, drawn, study.ihvp).numpy()
        return scores

    def _weights(self, program: Reweighting, scores: FloatArray) -> FloatArray:
        weights = np.zeros(scores.shape)
        for own, drawn, score in zip(weights, self.subsets, scores, strict=True):
            own[drawn] = program.weights(score[drawn])
        return weights
