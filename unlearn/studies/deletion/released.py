"""The released models themselves: what each costs, how far it is from retraining, and whether it looks as if it saw U.

The test of a released model: shadow models are trained on bootstraps of the remaining rows, as many rows as remain,
with U added for the models that saw it. An attacker fitted on half of them scores the released model and the other
half of the models that U is out of; the share of these that look at least as much as if they had seen U is the
p-value. Bootstraps spread about the retrained model as retrained models spread about that of the population, so the
retrained model stands in the middle of them, and passes. That is fair only to a statistic that is linear in the
parameters: the loss and the likelihood ratio of residuals reward the middle itself, as every bootstrap leaves out
rows and forecasts U worse than the retrained model, and would accuse that one. They are measured in the game of two
shadow models, where all models are drawn alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from unlearn.attacks import bootstrap_weights, fit_heads, measure_attack
from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data import remain_rows
from unlearn.records import RecordTable
from unlearn.studies._shared.study import Study
from unlearn.studies.deletion.attackers import Attacker, add_outcome
from unlearn.studies.deletion.options import AuditOptions
from unlearn.unlearning import Reweighting, newton_update, relative_distance, retrain

#: The attack that is linear in the parameters.
TEST = "parameters"


@short_repr
@dataclass(frozen=True, eq=False)
class Release:
    """One model that could be released, and the columns that name it in records."""

    theta: Tensor
    columns: dict[str, object] = field(default_factory=dict)


def releases(study: Study, rows: IntArray, options: AuditOptions) -> Iterator[Release]:
    """The original, retrained, unlearnt, first-order and every re-weighted model."""
    objective, theta = study.objective, study.model.theta
    yield Release(theta, {"method": "original"})
    yield Release(retrain(objective, rows), {"method": "retrained"})
    for method, form in (("unlearnt", "unlearn_gradient"), ("first_order", "first_order")):
        yield Release(newton_update(objective, theta, rows, form, study.ihvp).theta, {"method": method})
    for criterion in options.criteria:
        slope = study.gradient(criterion).gradient
        for budget in options.l1_budgets:
            program = Reweighting(budget, study.linf_budget)
            changed = program.update(objective, theta, rows, slope, study.ihvp).theta
            yield Release(changed, {"method": "reweighted", "criterion": criterion, "l1_budget": budget})


def measure_releases(
    study: Study, rows: IntArray, attacker: Attacker, options: AuditOptions, table: RecordTable
) -> None:
    """Add to the records, for each released model, its criteria on the test rows, its distances and its p-values.

    Args:
        study: forecaster and protocol.
        rows: positions of U in the head's training rows.
        attacker: what an attacker knows.
        options: settings.
        table: gets metrics on the split test; `distance_to_retrained`; `p_value`, `standard_score` (from the
            mean of models that U is out of, in their standard deviations) and, for the method "shadow", how well the
            attack tells shadow models.
    """
    heads = [*releases(study, rows, options)]
    retrained = next(release.theta for release in heads if release.columns["method"] == "retrained")
    for release in heads:
        tested = study.measure(release.theta, study.priced_test_rows)
        tested.add_means(table, study.priced_test_rows, split="test", **release.columns)
        table.add("distance_to_retrained", relative_distance(release.theta, retrained), "relative", **release.columns)
        distance = relative_distance(release.theta, study.model.theta)
        table.add("distance_to_original", distance, "relative", **release.columns)
    inside, outside = _shadows(study, rows, options.shadows)
    half = len(inside) // 2
    asked = np.stack([release.theta.numpy().reshape(inside.shape[1:]) for release in heads])
    models = np.concatenate([asked, inside[half:], outside[half:]])
    scores = attacker.scores(TEST, inside[:half], outside[:half], models)
    own, members, others = np.split(scores, np.cumsum([len(asked), len(inside) - half]))
    for release, score in zip(heads, own, strict=True):
        table.add("p_value", rank_p_value(float(score), others), "", attack=TEST, **release.columns)
        z = (score - others.mean()) / others.std(ddof=1)
        table.add("standard_score", float(z), "sd", attack=TEST, **release.columns)
    outcome = measure_attack(members, others, unit="model", fprs=(), seed=study.seed)
    add_outcome(table, outcome, attack=TEST, scope="set", method="shadow")


def rank_p_value(score: float, null: FloatArray) -> float:
    """Share of scores that are at least as high, the asked one among them: (1 + #{null >= score}) / (1 + n)."""
    return float((1 + (null >= score).sum()) / (1 + len(null)))


def _shadows(study: Study, rows: IntArray, n_shadows: int) -> tuple[FloatArray, FloatArray]:
    """Heads on bootstraps of the remaining rows, with U and without, each of shape (k, B, D)."""
    objective = study.objective
    remain = remain_rows(rows, objective.n_samples)
    outside = np.zeros((n_shadows, objective.n_samples))
    outside[:, remain] = bootstrap_weights(len(remain), n_shadows, study.seed)
    inside = outside.copy()
    inside[:, rows] = 1.0
    design, target = objective.design.numpy(), objective.target.numpy()
    both = [fit_heads(design, target, weights, objective.l2) for weights in (inside, outside)]
    return both[0], both[1]
