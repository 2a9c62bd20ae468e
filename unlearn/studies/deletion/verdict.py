"""What the records of an audited deletion say: verdicts, sentences and a table."""

from __future__ import annotations

import itertools

import pandas as pd

from unlearn.reporting.labels import FORECASTER_NAMES
from unlearn.studies.deletion.table import (
    ALIKE,
    ATTACK_NAMES,
    DECIDING,
    NO,
    UNCLEAR,
    YES,
    DeletionTable,
    Found,
    Model,
)

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
