"""What an audit of a deletion found, in numbers and sentences."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.labels import CRITERION_NAMES, FORECASTER_NAMES

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


ANSWERS = {YES: "Forgotten", NO: "Not forgotten", UNCLEAR: "Not shown"}


def summarise_deletion(records: pd.DataFrame) -> list[str]:
    """Say what was removed, what the forecaster gives away, and of each model whether it has forgotten.

    Args:
        records: of `Audit`, one deletion.

    Raises:
        InputError: records of something else, or of several deletions.
    """
    table = DeletionTable(records)
    parts = [about(table), complete(table), first_order(table)]
    parts += [reweighted(table, criterion) for criterion in table.criteria]
    return [*parts, forecaster(table)]


def about(table: DeletionTable) -> str:
    """What was removed from what."""
    own = table.about
    name = FORECASTER_NAMES.get(str(own["forecaster"]), str(own["forecaster"]))
    return (
        f"{name} forecaster on {own['data']}: {table.count('unlearnt_rows'):,} of "
        f"{table.count('unlearnt_rows') + table.count('remaining_rows'):,} training rows removed "
        f"({100 * own['proportion']:.0f} %, {own['selection']}; protocol {own['protocol']})."
    )


def complete(table: DeletionTable) -> str:
    """Complete unlearning beside retraining and the original."""
    original, unlearnt = (table.attack(Model(name), DECIDING) for name in ("original", "unlearnt"))
    alone = table.attack(Model("original"), "likelihood_ratio", scope="row")
    if original.low > 0.5:
        power = f"models that still hold the rows are recognised with an AUC of {between(original)}"
    else:
        power = f"even models that hold the rows are not recognised (AUC {between(original)}): the test has no power"
    scores = [table.released(Model(name), "standard_score") for name in ("unlearnt", "retrained")]
    return (
        f"Complete unlearning: {table.released(Model('unlearnt'), 'distance_to_retrained'):.1g} relative distance to "
        f"the retrained model; {power} by all rows together ({between(alone)} by the residuals of one of them), "
        f"after the deletion with {between(unlearnt)}. The released models score {scores[0]:.4f} (unlearnt) and "
        f"{scores[1]:.4f} (retrained), which differ by {abs(scores[0] - scores[1]):.1g}; the original scores "
        f"{table.released(Model('original'), 'standard_score'):.1f} standard deviations (p = "
        f"{p_value(table.released(Model('original'), 'p_value'))})."
    )


def first_order(table: DeletionTable) -> str:
    """Whether the incomplete variant is caught."""
    model = Model("first_order")
    found = table.attack(model, DECIDING)
    caught = "is caught" if found.low > 0.5 else "is not caught"
    return (
        f"The first-order update {caught} (by an interval above 0.5): AUC {between(found)}; released, p = "
        f"{p_value(table.released(model, 'p_value'))} at a distance of "
        f"{table.released(model, 'distance_to_retrained'):.2g} to the retrained model."
    )


def reweighted(table: DeletionTable, criterion: str) -> str:
    """What re-weighting for a criterion leaks as λ₁ grows, and what it changes in money."""
    models = [Model("reweighted", criterion, budget) for budget in table.budgets]
    leaking = [model for model in models if table.leak(model).low > 0.5]
    last = models[-1]
    name = last.name.split(",")[0]
    if not leaking:
        leak = f"no leak was measured up to λ₁ = {last.l1_budget:g} (AUC {between(table.leak(last))})"
    else:
        first = leaking[0]
        leak = f"leaks from λ₁ = {first.l1_budget:g} on (AUC {between(table.leak(first))}"
        leak += f"; {between(table.leak(last))} at {last.l1_budget:g})" if first != last else ")"
    costs = [table.released(model, "cost") for model in (Model("retrained"), last, Model("original"))]
    differ = table.worlds(last, "weights_differ", ALIKE)
    return (
        f"{name}: {leak}. At λ₁ = {last.l1_budget:g}, {100 * differ:.1f} % of the weights depend on whether the rows "
        f"were ever seen, and parameters by {table.worlds(last, 'distance_between_worlds', ALIKE):.2g}, relatively; "
        f"forecasts cost {costs[1]:.0f} money/h, after complete unlearning {costs[0]:.0f}, originally {costs[2]:.0f}."
    )


def forecaster(table: DeletionTable) -> str:
    """What a trained forecaster gives away of single rows."""
    own = table.records[table.records["scope"] == "forecaster"]
    rates = sorted({str(metric) for metric in own["metric"] if str(metric).startswith("tpr_at_fpr_")})
    parts = []
    for attack in ("loss", "likelihood_ratio"):
        found = [
            f"{100 * table.forecaster(attack, rate).value:.2f} % found at {100 * float(rate.split('_')[-1]):g} % false "
            "alarms"
            for rate in rates
        ]
        auc = table.forecaster(attack, "auc")
        interval = f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})"
        parts.append(f"{ATTACK_NAMES[attack]} AUC {interval}, {', '.join(found)}")
    return f"Single training rows of the forecaster, no deletion involved: {'; '.join(parts)}."


def answer_list(table: DeletionTable) -> list[dict[str, str]]:
    """Model, answer and reason of each method; values of λ₁ that follow each other with one answer are one entry."""
    found = [table.verdict(Model(method)) for method in ("unlearnt", "first_order")]
    entries = [{"model": v.model.name, "answer": v.answer, "reason": v.reason} for v in found]
    for criterion in table.criteria:
        verdicts = [table.verdict(Model("reweighted", criterion, budget)) for budget in table.budgets]
        for _, run in itertools.groupby(verdicts, key=lambda verdict: verdict.answer):
            first, *rest = run
            entry = {"model": first.model.name, "answer": first.answer, "reason": first.reason}
            if rest:
                entry["model"] += f" to {rest[-1].model.l1_budget:g}"
                entry["reason"] += f", at the first λ₁; at the last: {rest[-1].reason}"
            entries.append(entry)
    return entries


def model_table(table: DeletionTable) -> list[dict[str, str]]:
    """A row for each model: answer, distances, attacks, criteria."""
    rows = []
    for model in table.models:
        retrained = model.method == "retrained"
        plain = None if retrained else table.attack(model, DECIDING)
        leak = None if retrained else table.leak(model)
        rows.append(
            {
                "model": model.name,
                "answer": "never saw them" if retrained else ANSWERS[table.verdict(model).answer],
                "distance to retrained": f"{table.released(model, 'distance_to_retrained'):.2g}",
                "AUC, beside never saw": between(plain) if plain else "–",
                "AUC, all else alike": between(leak) if leak else "–",
                "score [sd]": f"{table.released(model, 'standard_score'):.2f}",
                "p": p_value(table.released(model, "p_value")),
                "MSE [p.u.²]": f"{table.released(model, 'mse'):.4g}",
                "MAPE [%]": f"{table.released(model, 'mape'):.3g}",
                "cost [money/h]": f"{table.released(model, 'cost'):.1f}",
            }
        )
    return rows


def attack_table(table: DeletionTable) -> list[dict[str, str]]:
    """Every attack on the models of the worlds."""
    own = table.records[table.records["against"].notna() & table.records["attack"].notna()]
    keys = ["method", "criterion", "l1_budget", "attack", "scope", "against"]
    rows = []
    for _, found in own.groupby(keys, sort=False, dropna=False):
        first = found.iloc[0]
        reweighted = first["method"] == "reweighted"
        model = Model(first["method"], *((first["criterion"], first["l1_budget"]) if reweighted else ()))
        row = {"model": model.name, "attack": ATTACK_NAMES[first["attack"]]}
        row |= {"by": {"set": "all rows", "row": "one row"}[first["scope"]], "beside": str(first["against"])}
        numbers = found[["metric", "value", "low", "high"]].itertuples(index=False)
        rows.append(row | {str(m).replace("_", " "): between(Found(*estimate)) for m, *estimate in numbers})
    return rows


def between(found: Found) -> str:
    """A number with its interval."""
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def p_value(value: float) -> str:
    """A p-value, two digits."""
    return f"{value:.2g}"
