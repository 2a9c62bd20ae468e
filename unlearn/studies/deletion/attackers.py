"""Attackers of forecasters before and after a deletion, and the shadow models that they guess about.

Let U be the removed rows. For each pair of shadow models a training set S is drawn at random from the rows that remain:
the model IN is trained on S and U and made to forget U, the model OUT is trained on S alone. The attacker knows U, the
method and the population of S, sees a model and says IN or OUT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from tqdm import tqdm

from unlearn.attacks import (
    Outcome,
    fit_heads,
    likelihood_ratio_scores,
    loss_scores,
    measure_attack,
    random_subsets,
    residuals_of,
)
from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data import remain_rows
from unlearn.influence import criterion_gradient, influence_scores
from unlearn.records import RecordTable
from unlearn.registry import Registry
from unlearn.studies._shared.study import PROTOCOLS, Study, sample_hours
from unlearn.studies.deletion.options import AuditOptions
from unlearn.unlearning import Reweighting, evaluation_rows, newton_update


def add_outcome(table: RecordTable, outcome: Outcome, **columns: object) -> None:
    """Add every estimate of an attack with its interval, in the columns `low` and `high`, and what it is counted in."""
    counts = {"attacked": outcome.unit, "n_members": outcome.n_members, "n_others": outcome.n_others}
    for metric, found in outcome.metrics().items():
        table.add(metric, found.value, "", low=found.low, high=found.high, **counts, **columns)


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


#: Relative distance up to which two ways to the same least-squares head differ by rounding alone.
ROUNDING = 1e-9


@short_repr
@dataclass(frozen=True, eq=False)
class Attacker:
    """What an attacker knows beside the models.

    Attributes:
        design: of the rows whose membership is asked, shape (m, D).
        target: their loads in p.u., shape (m, B).
        shown: positions of the rows whose residuals the likelihood ratio sees.
        population: Gram matrix of rows like those that the models were trained on, shape (D, D).
    """

    design: FloatArray
    target: FloatArray
    shown: IntArray
    population: FloatArray

    def scores(self, attack: str, inside: FloatArray, outside: FloatArray, models: FloatArray) -> FloatArray:
        """Score models after learning from others, of which it is known whether the rows are in.

        Args:
            attack: one of `ATTACKS`. "loss" learns nothing.
            inside: heads that the rows are in, shape (k, B, D).
            outside: heads that they are out of, shape (k', B, D).
            models: heads to score, shape (j, B, D).

        Returns:
            Scores, shape (j,).
        """
        return ATTACKS[attack](self, inside, outside, models)

    def row_scores(self, attack: str, inside: FloatArray, outside: FloatArray, models: FloatArray) -> FloatArray:
        """Scores of each shown row by itself under each model, shape (j, len(shown)); one of `ROW_ATTACKS`."""
        return ROW_ATTACKS[attack](self, inside, outside, models)

    def by_loss(self, inside: FloatArray, outside: FloatArray, models: FloatArray) -> FloatArray:
        """The mean loss on all rows."""
        return loss_scores(residuals_of(models, self.design, self.target)).mean(axis=1)

    def by_likelihood_ratio(self, inside: FloatArray, outside: FloatArray, models: FloatArray) -> FloatArray:
        """The likelihood ratio of the residuals of the shown rows."""
        return self.by_row_likelihood_ratio(inside, outside, models).sum(axis=1)

    def by_row_loss(self, inside: FloatArray, outside: FloatArray, models: FloatArray) -> FloatArray:
        return loss_scores(self._residuals(models))

    def by_row_likelihood_ratio(self, inside: FloatArray, outside: FloatArray, models: FloatArray) -> FloatArray:
        observed = self._residuals(models)
        known = self._residuals(np.concatenate([inside, outside]))
        member = np.repeat([True, False], [len(inside), len(outside)])[:, None] & np.ones(len(self.shown), dtype=bool)
        return np.stack([likelihood_ratio_scores(one, known, member) for one in observed])

    def _residuals(self, heads: FloatArray) -> FloatArray:
        return residuals_of(heads, self.design[self.shown], self.target[self.shown])

    def by_parameters(self, inside: FloatArray, outside: FloatArray, models: FloatArray) -> FloatArray:
        """Linear discriminant `tr(Σ⁻¹ M X')` of heads X, M the mean difference; from the midpoint, in its own spread.

        In the coordinates of the population's Gram matrix, least-squares heads spread alike over the D columns, so the
        covariance left to estimate is that of the B outputs: `Σ ⊗ I`.
        """
        root = np.linalg.cholesky(self.population)
        known_in, known_out, asked = (heads @ root for heads in (inside, outside, models))
        means = known_in.mean(axis=0), known_out.mean(axis=0)
        spread = np.concatenate([known_in - means[0], known_out - means[1]])
        covariance = np.einsum("kbd,kcd->bc", spread, spread) / (len(spread) * spread.shape[2])
        direction = np.linalg.pinv(covariance, hermitian=True) @ (means[0] - means[1])
        unit = float(np.tensordot(spread, direction, axes=2).std())
        # Without any difference of the means there is no direction, and every model scores 0.
        return np.tensordot(asked - (means[0] + means[1]) / 2, direction, axes=2) / (unit or 1.0)


_Scores = Callable[[Attacker, FloatArray, FloatArray, FloatArray], FloatArray]
#: Attacks by all removed rows together.
ATTACKS: Registry[_Scores] = Registry(
    "attack",
    {
        "loss": Attacker.by_loss,
        "likelihood_ratio": Attacker.by_likelihood_ratio,
        "parameters": Attacker.by_parameters,
    },
)
#: Attacks by one removed row alone.
ROW_ATTACKS: Registry[_Scores] = Registry(
    "attack by one row", {"loss": Attacker.by_row_loss, "likelihood_ratio": Attacker.by_row_likelihood_ratio}
)


def cross_fitted(
    attacker: Attacker, attack: str, inside: FloatArray, outside: FloatArray, seed: int, rows: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Scores of all models, each by an attacker that was fitted on the other half of them.

    Args:
        attacker: what is known.
        attack: one of `ATTACKS`.
        inside: heads that the rows are in, shape (k, B, D).
        outside: heads that they are out of, in the same order of training sets, shape (k, B, D).
        seed: of the halves.
        rows: scores of each shown row by itself.

    Returns:
        Scores of the models that the rows are in and of the others, each of shape (k,) or (k, len(shown)). Both models
        of a training set are in the same half; they tie if they differ by rounding alone.
    """
    inside = np.where(_equal_to_rounding(inside, outside), outside, inside)
    score = attacker.row_scores if rows else attacker.scores
    width = (len(attacker.shown),) if rows else ()
    members, others = np.empty((len(inside), *width)), np.empty((len(outside), *width))
    first = np.random.default_rng(seed).permutation(len(inside)) < len(inside) // 2
    for asked in (first, ~first):
        models = np.concatenate([inside[asked], outside[asked]])
        found = score(attack, inside[~asked], outside[~asked], models)
        members[asked], others[asked] = np.split(found, 2)
    return members, others


def _equal_to_rounding(inside: FloatArray, outside: FloatArray) -> FloatArray:
    """Whether both models of a training set have the same parameters up to `ROUNDING`, shape (k, 1, 1)."""
    size = np.linalg.norm(outside, axis=(1, 2), keepdims=True)
    return np.linalg.norm(inside - outside, axis=(1, 2), keepdims=True) <= ROUNDING * size


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
