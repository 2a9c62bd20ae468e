"""Attackers of forecasters after a deletion: what they know, how they score models, how often they are right.

Let U be the removed rows. For each training set S, drawn at random from the rows that remain, there are two models: IN
was trained on S and U and made to forget U, OUT was trained on S alone. The attacker sees a model and says IN or OUT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unlearn.attacks import Estimate, Outcome, likelihood_ratio_scores, loss_scores, residuals_of
from unlearn.attacks.outcome import clopper_pearson
from unlearn.checks import BoolArray, FloatArray, IntArray, require_fraction, require_shape, short_repr
from unlearn.data import remain_rows
from unlearn.forecasters import HeadObjective
from unlearn.records import RecordTable
from unlearn.registry import Registry


def add_outcome(table: RecordTable, outcome: Outcome, **columns: object) -> None:
    """Add every estimate of an attack with its interval, in the columns `low` and `high`, and what it is counted in."""
    counts = {"attacked": outcome.unit, "n_members": outcome.n_members, "n_others": outcome.n_others}
    for metric, found in outcome.metrics().items():
        table.add(metric, found.value, "", low=found.low, high=found.high, **counts, **columns)


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

    @classmethod
    def of(cls, objective: HeadObjective, rows: IntArray, n_shown: int, seed: int) -> Attacker:
        """Who knows the removed rows and the population of the others.

        Args:
            objective: the training problem of the head.
            rows: positions of U in its rows.
            n_shown: of them, drawn at random, whose residuals the likelihood ratio sees.
            seed: of the draw.
        """
        design, target = objective.design.numpy(), objective.target.numpy()
        remain = design[remain_rows(rows, len(design))]
        ridge = 0.5 * objective.l2 * objective.n_outputs * np.eye(objective.n_columns)
        shown = np.sort(np.random.default_rng(seed).permutation(len(rows))[:n_shown])
        return cls(design[rows], target[rows], shown, remain.T @ remain + ridge)

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
    for asked in halves(len(inside), seed):
        models = np.concatenate([inside[asked], outside[asked]])
        found = score(attack, inside[~asked], outside[~asked], models)
        members[asked], others[asked] = np.split(found, 2)
    return members, others


def halves(n_pairs: int, seed: int) -> tuple[BoolArray, BoolArray]:
    """Pairs that are asked about while the others are learnt from, and the other way round; shape (k,) each."""
    first = np.random.default_rng(seed).permutation(n_pairs) < n_pairs // 2
    return first, ~first


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


def paired_auc(members: FloatArray, others: FloatArray, level: float) -> Estimate:
    """How often the model that the rows are in scores higher than the other one of its training set; ties count half.

    That is the AUC of an attacker who is given both models of a pair, all else alike: pairs are independent, so that
    wins and losses are binomial, and the interval holds at any level for any number of pairs: it is from the bounds of
    Clopper & Pearson (1934) for the share of wins and for that of losses. Where all pairs tie it is not a point. Scores
    count as given, also those of attackers who have learnt from the other half of the pairs.

    Args:
        members: scores of the models that the rows are in, shape (k,).
        others: scores of the models that they are out of, in the same order of training sets, shape (k,).
        level: chance that the interval holds the truth, at least, in (0, 1).

    Raises:
        InputError: shapes that differ, or a level outside of (0, 1).
    """
    require_shape("scores of the others", others, members.shape)
    n, tail = len(members), (1 - require_fraction("level", level)) / 4
    wins, losses = int((members > others).sum()), int((members < others).sum())
    low, high = clopper_pearson([wins, losses], n, tail)
    ends = [0.5 + 0.5 * float(win - loss) for win, loss in ((low[0], high[1]), (high[0], low[1]))]
    return Estimate(0.5 + 0.5 * (wins - losses) / n, *ends)
