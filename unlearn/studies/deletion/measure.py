"""The audit of a deletion: released models, pairs of shadow models, and what the forecaster itself gives away.

A released model is scored beside shadow models on bootstraps of the remaining rows, with the removed rows U in and out.
Bootstraps spread about the retrained model, so that it passes; that is fair only to a score that is linear in the
parameters. The loss and the likelihood ratio would accuse the retrained model, as every bootstrap leaves out rows and
forecasts U worse: they are measured on pairs, where all models are drawn alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from torch import Tensor
from tqdm import tqdm

from unlearn.attacks import bootstrap_weights, fit_heads, measure_attack
from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data import remain_rows
from unlearn.records import RecordTable, joined
from unlearn.store import Store
from unlearn.studies._shared.attackers import ATTACKS, ROW_ATTACKS, Attacker, Pair, add_outcome, cross_fitted
from unlearn.studies._shared.study import Study
from unlearn.studies.deletion.attackers import ShadowModels, measure_membership
from unlearn.studies.deletion.options import AuditOptions
from unlearn.unlearning import Reweighting, newton_update, relative_distance, retrain

#: Of each part of an audit, what it measures.
PARTS = ("released", "pairs", "forecaster")


class Audit:
    """Evidence on one deletion: rows U of a forecaster, picked as the study says."""

    def __init__(self, study: Study, share: float, options: AuditOptions | None = None) -> None:
        """Pick the rows, and refuse what cannot be audited.

        Args:
            study: forecaster, data, grid and protocol; the model has forgotten nothing.
            share: share of the head's training rows to remove.
            options: settings.

        Raises:
            InputError: too few rows, shadows or pairs for what is asked.
        """
        self.study, self.options = study, options or AuditOptions()
        self.rows = study.positions(share)
        objective = study.objective
        self.share = len(self.rows) / objective.n_samples
        self.options.require_rows(
            len(self.rows),
            objective.n_samples - len(self.rows),
            objective.n_columns,
            study.linf_budget,
            objective.l2,
        )

    def records(self, part: str) -> pd.DataFrame:
        """Measure one of `PARTS`; tidy records, in which attacks have the columns attack, scope, against, low, high."""
        table = self.study.records("deletion")
        if part == "released":
            n = self.study.objective.n_samples
            for metric, value in (("unlearnt_rows", len(self.rows)), ("remaining_rows", n - len(self.rows))):
                table.add(metric, value, "rows")
            table.add("columns", self.study.objective.n_columns, "rows")
            measure_releases(self.study, self.rows, self.attacker(), self.options, table)
        elif part == "pairs":
            self._pairs(table)
        else:
            measure_membership(self.study, self.options, table)
        return table.to_frame().assign(proportion=self.share)

    def kept_records(self, store: Store) -> pd.DataFrame:
        """Records of all parts; those that were measured before are taken from the store."""
        depends = self.study.dependencies()
        own = {"study": depends["options"], "options": self.options, "rows": self.rows}
        tables = []
        for part in PARTS:
            found = {**depends, "options": {**own, "part": part}, "code": (Audit, *depends["code"])}
            tables.append(store.table("deletion", part, make=partial(self.records, part), **found))
        return joined(tables)

    def attacker(self) -> Attacker:
        """Who knows the removed rows and the population of the others."""
        return Attacker.of(self.study.objective, self.rows, self.options.attacked_rows, self.study.seed)

    def _pairs(self, table: RecordTable) -> None:
        study, options = self.study, self.options
        shadows = ShadowModels(study, self.rows, options.pairs, options.pair_share, study.seed)
        forms = {"unlearnt": "unlearn_gradient", "first_order": "first_order"}
        pairs = {"original": shadows.original(), **{name: shadows.newton(form) for name, form in forms.items()}}
        for method, pair in pairs.items():
            self._measure(table, pair, method=method, against="out")
            self._measure_rows(table, pair, method=method, against="out")
        jobs = [(criterion, budget) for criterion in options.criteria for budget in options.l1_budgets]
        for criterion, budget in tqdm(jobs, desc="shadow models: re-weighted", leave=False):
            columns = {"method": "reweighted", "criterion": criterion, "l1_budget": budget}
            pair = shadows.reweighted(criterion, budget)
            plain = Pair(pair.inside, shadows.outside)
            self._measure(table, plain, **columns, against="out")
            self._measure(table, pair, **columns, against="out, re-weighted")
            table.add("weights_differ", pair.weights_differ, "share", **columns, against="out, re-weighted")

    def _measure(self, table: RecordTable, pair: Pair, **columns: object) -> None:
        """Attacks by all removed rows together: is U in the model?"""
        attacker = self.attacker()
        for attack in ATTACKS:
            scores = cross_fitted(attacker, attack, pair.inside, pair.outside, self.study.seed)
            outcome = measure_attack(*scores, unit="model", fprs=self.options.fprs, seed=self.study.seed)
            add_outcome(table, outcome, attack=attack, scope="set", **columns)
        table.add("distance_in_out", pair.distance, "relative", **columns)

    def _measure_rows(self, table: RecordTable, pair: Pair, **columns: object) -> None:
        """Attacks by each removed row alone; pairs are resampled, as rows of one model are not independent."""
        attacker = self.attacker()
        group = np.repeat(np.arange(len(pair.inside)), len(attacker.shown))
        for attack in ROW_ATTACKS:
            scores = cross_fitted(attacker, attack, pair.inside, pair.outside, self.study.seed, rows=True)
            members, others = (side.reshape(-1) for side in scores)
            both = {"member_group": group, "other_group": group}
            outcome = measure_attack(members, others, unit="row", **both, fprs=self.options.fprs, seed=self.study.seed)
            add_outcome(table, outcome, attack=attack, scope="row", **columns)


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
