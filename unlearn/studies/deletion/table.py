"""Reading the records of an audited deletion, and the answer they give for each model, which may be no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.labels import CRITERION_NAMES

#: Models against which the two worlds are told apart.
PLAIN, ALIKE = "never saw", "never saw, re-weighted"

#: The attack that decides: it uses all parameters, and is the only one that is also fair to a single released model.
DECIDING = "parameters"

ATTACK_NAMES = {"loss": "loss", "likelihood_ratio": "likelihood ratio", "parameters": "parameters"}
METHOD_NAMES = {
    "original": "original",
    "first_order": "first-order update",
    "unlearnt": "complete unlearning",
    "retrained": "retrained",
}

#: Relative distance of parameters up to which a model counts as the retrained one: rounding, and nothing else.
SAME = 1e-8

YES, NO, UNCLEAR = "yes", "no", "unclear"


class Found(NamedTuple):
    """A measured number with its interval, NaN where it has none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Model:
    """A model that could be released."""

    method: str
    criterion: str | None = None
    l1_budget: float | None = None

    @property
    def name(self) -> str:
        """How it is called in text."""
        if self.criterion is None:
            return METHOD_NAMES[self.method]
        program = "TAMU" if self.criterion == "cost" else f"PAMU {CRITERION_NAMES[self.criterion]}"
        return f"{program}, λ₁ = {self.l1_budget:g}"


@dataclass(frozen=True)
class Verdict:
    """Whether a model has forgotten, and why."""

    model: Model
    answer: str
    reason: str


class DeletionTable:
    """Numbers of one audit by model."""

    def __init__(self, records: pd.DataFrame) -> None:
        """Take the records of `Audit`.

        Raises:
            InputError: records of something else, or of several audits.
        """
        if not (records["experiment"] == "unlearning_audit").all() or "against" not in records:
            raise InputError("deletion: expected records of unlearning_audit with the column against; run it first.")
        audits = records[["data", "forecaster", "protocol", "selection", "proportion", "seed"]].drop_duplicates()
        if len(audits) != 1:
            raise InputError(
                f"deletion: expected records of one audit, got {len(audits)}; a page is about one deletion."
            )
        self.records, self.about = records, audits.iloc[0]

    @property
    def criteria(self) -> list[str]:
        """Criteria that models are re-weighted for."""
        return [str(name) for name in self.records["criterion"].dropna().unique()]

    @property
    def budgets(self) -> list[float]:
        """Values of λ₁, ascending."""
        return sorted(float(budget) for budget in self.records["l1_budget"].dropna().unique())

    @property
    def models(self) -> list[Model]:
        """Every model that could be released."""
        kept = [Model(method) for method in METHOD_NAMES]
        return kept + [Model("reweighted", c, budget) for c in self.criteria for budget in self.budgets]

    def count(self, metric: str) -> int:
        """A number of rows."""
        return int(self._one(self.records[self.records["metric"] == metric]).value)

    def released(self, model: Model, metric: str) -> float:
        """A number of the released model itself: a criterion on the test rows, a distance, a p-value."""
        own = self._of(model)
        return self._one(own[(own["metric"] == metric) & own["against"].isna() & own["scope"].isna()]).value

    def worlds(self, model: Model, metric: str, against: str = PLAIN) -> float:
        """A number of the two worlds that no attack has measured."""
        own = self._of(model)
        own = own[(own["metric"] == metric) & (own["against"] == against) & own["attack"].isna()]
        return self._one(own).value

    def attack(self, model: Model, attack: str, metric: str = "auc", scope: str = "set", against: str = PLAIN) -> Found:
        """What an attack on the models of the worlds achieved."""
        own = self._of(model)
        own = own[(own["metric"] == metric) & (own["attack"] == attack) & (own["scope"] == scope)]
        return self._one(own[own["against"] == against])

    def forecaster(self, attack: str, metric: str) -> Found:
        """What an attack on the forecaster's training rows achieved."""
        own = self.records[(self.records["scope"] == "forecaster") & (self.records["attack"] == attack)]
        return self._one(own[own["metric"] == metric])

    def leak(self, model: Model, attack: str = DECIDING) -> Found:
        """AUC by which it is told whether a model had ever seen the removed rows, all else alike."""
        return self.attack(model, attack, against=ALIKE if model.criterion else PLAIN)

    def verdict(self, model: Model) -> Verdict:
        """Whether a model has forgotten.

        Yes: its parameters are those of the retrained model, to rounding. No: `DECIDING` tells models of the method
        that saw the rows from others. Otherwise unclear: no trace was found, which is not proof of none.
        """
        distance = self.released(model, "distance_to_retrained")
        if distance <= SAME:
            return Verdict(model, YES, f"the same parameters as the retrained model (relative distance {distance:.1g})")
        auc = self.leak(model)
        found = f"AUC {auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f})"
        if auc.low > 0.5:
            return Verdict(model, NO, f"models that saw the rows are told from models that never did, {found}")
        if self.leak(Model("original")).low <= 0.5:
            return Verdict(model, UNCLEAR, f"the attack does not even recognise the original model: {found}")
        return Verdict(model, UNCLEAR, f"not the retrained model, but the attack finds no trace of the rows: {found}")

    def _of(self, model: Model) -> pd.DataFrame:
        own = self.records[self.records["method"] == model.method]
        if model.criterion is None:
            return own
        return own[(own["criterion"] == model.criterion) & (own["l1_budget"] == model.l1_budget)]

    def _one(self, rows: pd.DataFrame) -> Found:
        if len(rows) != 1:
            raise InputError(f"deletion: expected each number once, got {len(rows)} of one; run unlearning_audit anew.")
        value, low, high = rows[["value", "low", "high"]].astype(float).to_numpy()[0]
        return Found(value, low, high)
