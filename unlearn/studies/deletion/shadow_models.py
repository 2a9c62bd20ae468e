"""Two shadow models for each of many training sets: one that the rows to remove are in, and one that they are out of.

What the audit asks of a method of forgetting is a game. Let U be the removed rows and R what remains. For each pair, a
training set S is drawn from R at random. The model IN is trained on S and U together, then made to forget U; the model
OUT is trained on S alone. The attacker knows U, the method and the population that S is drawn from, not S, sees the
released model and says IN or OUT. Both are drawn alike, so scores of models OUT are exchangeable, whatever rule picked
U: U is the same in all pairs and no other row stands in for it.

- `forgotten` compares a method with models OUT that were never changed. Telling these apart says that the released
  model is not what retraining gives, not yet that it tells of U.
- `leak` lets the model OUT take every step that IN takes but for U: the same re-weighting, computed at its own
  minimiser. Telling these apart is knowledge of U that survived the deletion.

A shadow model is trained on fewer rows than the released one: U weighs more in it, and the rest varies more, too.
The numbers are of such models. An attacker who knows S, too, can repeat both histories: to him any
difference of parameters tells IN from OUT, so its size is reported, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from tqdm import tqdm

from unlearn.attacks import fit_heads, random_subsets
from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data import remain_rows
from unlearn.influence import criterion_gradient, influence_scores
from unlearn.studies._shared.measure import sample_hours
from unlearn.studies._shared.study import PROTOCOLS, Study
from unlearn.unlearning import Reweighting, evaluation_rows, newton_update


@short_repr
@dataclass(frozen=True, eq=False)
class Pair:
    """Released heads of all pairs.

    Attributes:
        inside: of the models IN, shape (k, B, D).
        outside: of the models OUT, shape (k, B, D).
        weights_differ: share of a training set's weights that differ between its two models, mean over pairs.
    """

    inside: FloatArray
    outside: FloatArray
    weights_differ: float = 0.0

    @property
    def distance(self) -> float:
        """Relative distance between the parameters of both models of a training set, median over pairs."""
        apart = np.linalg.norm(self.inside - self.outside, axis=(1, 2))
        return float(np.median(apart / np.linalg.norm(self.outside, axis=(1, 2))))


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
        """PAMU or TAMU: weights computed at a model that saw U, against the same computed at one that did not."""
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
