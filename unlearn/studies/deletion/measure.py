"""The audit of a deletion: released models, the game of shadow models, and what the forecaster itself gives away."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.attacks import measure_attack
from unlearn.checks import IntArray
from unlearn.data import remain_rows
from unlearn.records import RecordTable, joined
from unlearn.store import Store
from unlearn.studies._shared.study import Study
from unlearn.studies.deletion.attackers import (
    ATTACKS,
    ROW_ATTACKS,
    Attacker,
    add_outcome,
    cross_fitted,
    measure_membership,
)
from unlearn.studies.deletion.options import AuditOptions
from unlearn.studies.deletion.released import measure_releases
from unlearn.studies.deletion.shadow_models import Pair, ShadowModels

#: Of each part of an audit, what it measures.
PARTS = ("released", "pairs", "forecaster")


class Audit:
    """Evidence on one deletion: rows U of a forecaster, picked as the study says.

    See `unlearn.studies.deletion.shadow_models` for the game that is played and what its outcomes mean, and
    `unlearn.studies.deletion.released` for the test of the models at hand.
    """

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
        {"released": self._released, "pairs": self._pairs, "forecaster": self._forecaster}[part](table)
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
        objective = self.study.objective
        design, target = objective.design.numpy(), objective.target.numpy()
        remain = design[remain_rows(self.rows, len(design))]
        ridge = 0.5 * objective.l2 * objective.n_outputs * np.eye(objective.n_columns)
        random = np.random.default_rng(self.study.seed)
        shown = np.sort(random.permutation(len(self.rows))[: self.options.attacked_rows])
        return Attacker(design[self.rows], target[self.rows], shown, remain.T @ remain + ridge)

    def _released(self, table: RecordTable) -> None:
        for metric, value in _counts(self.study, self.rows).items():
            table.add(metric, value, "rows")
        measure_releases(self.study, self.rows, self.attacker(), self.options, table)

    def _forecaster(self, table: RecordTable) -> None:
        measure_membership(self.study, self.options, table)

    def _pairs(self, table: RecordTable) -> None:
        study, options = self.study, self.options
        shadows = ShadowModels(study, self.rows, options.pairs, options.pair_share, study.seed)
        forms = {"unlearnt": "unlearn_gradient", "first_order": "first_order"}
        pairs = {"original": shadows.original(), **{name: shadows.newton(form) for name, form in forms.items()}}
        for method, pair in pairs.items():
            self._measure(table, pair, {"method": method, "against": "out"})
            self._measure_rows(table, pair, {"method": method, "against": "out"})
        jobs = [(criterion, budget) for criterion in options.criteria for budget in options.l1_budgets]
        for criterion, budget in tqdm(jobs, desc="shadow models: re-weighted", leave=False):
            columns = {"method": "reweighted", "criterion": criterion, "l1_budget": budget}
            pair = shadows.reweighted(criterion, budget)
            plain = Pair(pair.inside, shadows.outside)
            self._measure(table, plain, {**columns, "against": "out"})
            self._measure(table, pair, {**columns, "against": "out, re-weighted"})
            table.add("weights_differ", pair.weights_differ, "share", **columns, against="out, re-weighted")

    def _measure(self, table: RecordTable, pair: Pair, columns: dict[str, object]) -> None:
        """Attacks by all removed rows together: is U in the model?"""
        attacker = self.attacker()
        for attack in ATTACKS:
            scores = cross_fitted(attacker, attack, pair.inside, pair.outside, self.study.seed)
            outcome = measure_attack(*scores, unit="model", fprs=self.options.fprs, seed=self.study.seed)
            add_outcome(table, outcome, attack=attack, scope="set", **columns)
        table.add("distance_in_out", pair.distance, "relative", **columns)

    def _measure_rows(self, table: RecordTable, pair: Pair, columns: dict[str, object]) -> None:
        """Attacks by each removed row alone; pairs are resampled, as rows of one model are not independent."""
        attacker = self.attacker()
        group = np.repeat(np.arange(len(pair.inside)), len(attacker.shown))
        for attack in ROW_ATTACKS:
            scores = cross_fitted(attacker, attack, pair.inside, pair.outside, self.study.seed, rows=True)
            members, others = (side.reshape(-1) for side in scores)
            outcome = measure_attack(
                members,
                others,
                unit="row",
                member_group=group,
                other_group=group,
                fprs=self.options.fprs,
                seed=self.study.seed,
            )
            add_outcome(table, outcome, attack=attack, scope="row", **columns)


def _counts(study: Study, rows: IntArray) -> dict[str, float]:
    n = study.objective.n_samples
    return {"unlearnt_rows": len(rows), "remaining_rows": n - len(rows), "columns": study.objective.n_columns}
