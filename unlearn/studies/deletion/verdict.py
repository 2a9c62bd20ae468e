"""What an audit of a deletion found, in numbers and sentences."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unlearn.criteria import program
from unlearn.errors import InputError
from unlearn.forecasters.specs import solved_exactly
from unlearn.reporting.style import ATTACK_NAMES, FORECASTER_NAMES, METHOD_NAMES, named
from unlearn.reporting.verdict import (
    NO,
    UNCLEAR,
    YES,
    Answer,
    Block,
    Page,
    Spread,
    answer_rows,
    require_columns,
    require_one,
    select,
)

#: Shadow models that the rows are out of; ALIKE are re-weighted as the released model is.
PLAIN, ALIKE = "out", "out, re-weighted"
#: The attack that decides: it uses all parameters, and is the only one that is also fair to a single released model.
DECIDING = "parameters"
#: Relative distance of parameters up to which a model counts as the retrained one: rounding, and nothing else.
SAME = 1e-8
ANSWERS = {YES: "Forgotten", NO: "Not forgotten", UNCLEAR: "Not shown"}


@dataclass(frozen=True)
class Model:
    """A model that could be released."""

    method: str
    criterion: str | None = None
    l1_budget: float | None = None

    @property
    def name(self) -> str:
        """How it is called in text."""
        return f"{program(self.criterion)}, λ₁ = {self.l1_budget:g}" if self.criterion else METHOD_NAMES[self.method]


class DeletionTable:
    """Numbers of one audit by model.

    Attributes:
        records: of `Audit`.
        about: what the audit is of: data, forecaster, protocol, selection, proportion, seed.
        criteria: that models are re-weighted for.
        budgets: values of λ₁, ascending.
        models: every model that could be released.

    Raises:
        InputError: records of something else, or of several audits.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        if not (records["experiment"] == "deletion").all():
            raise InputError("deletion: expected records of deletion; run it first.")
        require_columns("deletion", records, "against", run="deletion")
        columns = ["data", "forecaster", "protocol", "selection", "proportion", "seed"]
        self.records, self.about = records, require_one("deletion", records, columns, "audit")
        self.criteria = [str(name) for name in records["criterion"].dropna().unique()]
        self.budgets = sorted(float(budget) for budget in records["l1_budget"].dropna().unique())
        self.models = [*map(Model, METHOD_NAMES), *(one for c in self.criteria for one in self.reweighted(c))]

    @property
    def forecaster(self) -> str:
        """The forecaster's name."""
        return named(str(self.about["forecaster"]), FORECASTER_NAMES)

    @property
    def rates(self) -> list[float]:
        """Rates of false alarms at which rows of the forecaster were looked for, ascending."""
        metrics = select(self.records, scope="forecaster")["metric"].unique()
        return sorted(float(m.removeprefix("tpr_at_fpr_")) for m in metrics if m.startswith("tpr_at_fpr_"))

    def reweighted(self, criterion: str) -> list[Model]:
        """Models that are re-weighted for a criterion, by λ₁."""
        return [Model("reweighted", criterion, budget) for budget in self.budgets]

    def count(self, metric: str) -> int:
        """A number of rows."""
        return int(self._one(metric=metric).mean)

    def released(self, model: Model | str, metric: str) -> float:
        """A number of the released model itself: a criterion on the test rows, a distance, a p-value."""
        return self._one(model, metric=metric, against=None, scope=None).mean

    def shadows(self, model: Model, metric: str, against: str = ALIKE) -> float:
        """A number of the shadow models that no attack has measured."""
        return self._one(model, metric=metric, against=against, attack=None).mean

    def attack(self, model: Model | str, attack: str, scope: str = "set", against: str = PLAIN) -> Spread:
        """AUC of an attack on the shadow models, with its interval."""
        return self._one(model, metric="auc", attack=attack, scope=scope, against=against)

    def rows(self, attack: str, metric: str) -> Spread:
        """What an attack on the forecaster's training rows achieved."""
        return self._one(metric=metric, scope="forecaster", attack=attack)

    def leak(self, model: Model | str) -> Spread:
        """AUC by which models that the removed rows were in are told from those they were out of, all else alike."""
        alike = isinstance(model, Model) and model.criterion
        return self.attack(model, DECIDING, against=ALIKE if alike else PLAIN)

    def verdict(self, model: Model) -> Answer:
        """Whether a model has forgotten.

        Yes: its parameters are those of the retrained model, to rounding. No: `DECIDING` tells models of the method
        that the rows were in from others. Otherwise not clear: no trace was found, which is not proof of none.
        """
        distance, leak = self.released(model, "distance_to_retrained"), self.leak(model)
        found = f"AUC {between(leak)}"
        if distance <= SAME:
            answer, why = YES, f"the same parameters as the retrained model (relative distance {distance:.1g})"
        elif leak.low > 0.5:
            answer, why = NO, f"models with the rows in are told from models with them out, {found}"
        elif self.leak("original").low <= 0.5:
            answer, why = UNCLEAR, f"the attack does not even recognise the original model: {found}"
        else:
            answer, why = UNCLEAR, f"not the retrained model, but the attack finds no trace of the rows: {found}"
        return Answer(model.name, answer, why)

    def _one(self, model: Model | str = "", **wanted: Any) -> Spread:
        if isinstance(model, str):
            own = select(self.records, **({"method": model} if model else {}), **wanted)
        else:
            weights = {"criterion": model.criterion, "l1_budget": model.l1_budget} if model.criterion else {}
            own = select(self.records, method=model.method, **weights, **wanted)
        if len(own) != 1:
            raise InputError(f"deletion: expected each number once, got {len(own)} of one; run deletion anew.")
        return Spread.at(*(float(own[name].iloc[0]) for name in ("value", "low", "high")))


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    table = DeletionTable(records)
    verdict = table.verdict(Model("unlearnt"))
    about, *sentences = summarise(records)
    network = not solved_exactly(str(table.about["forecaster"]))
    attacks = attack_table(table)
    return Page(
        "Did the deletion happen?",
        verdict.answer,
        f"after complete unlearning, {verdict.reason}.",
        f"{about} Priced on {records['grid'].iloc[0]}.",
        "Attacks on each model with intervals; leak, operating cost and parameter distance as the budget grows",
        [
            Block(
                "Each model that could be released", rows=answer_rows(answers(table)), texts=3,
                note="Yes: the parameters are those of a model retrained without the rows, up to rounding (a relative "
                f"distance of at most {SAME:g}). No: an attack tells models with the rows in from models with them "
                "out; the interval of its AUC lies above 0.5. Not clear: retraining gives another model, and the "
                "attack found no trace of the rows. A better attack may.",
            ),
            Block("What was found", points=sentences),
            Block("Every model", rows=model_table(table), texts=2),
            Block(rows=attacks, texts=4, folded=f"{len(attacks)} attacks on shadow models"),
        ],
        measured=[
            "Shadow models: many training sets are drawn at random from the rows that remain. From each set, one "
            "model (in) is trained together with the removed rows, then made to forget them; another (out) is trained "
            "without them. The attacker knows the removed rows, the method, and both kinds of models from half of the "
            "sets. He is asked about the models of the other half.",
            "AUC is how often he ranks a model with the rows in above one with them out: 0.5 is guessing, 1 is "
            "certainty. Below 0.5 he is misled, as when re-weighting makes a model do worse on its own rows.",
            f'Against "{PLAIN}": the others are trained without the rows and never changed. A re-weighted model '
            f'differs from these in any case. All else alike ("{ALIKE}"): the others are re-weighted in the same way, '
            "with weights computed at the model that the rows are out of. What is told apart is knowledge of the "
            "removed rows. For complete unlearning and a budget of 0 both are the same.",
            "Attacks use the mean loss on the removed rows; the likelihood ratio of the residuals of some of them; all "
            "parameters, with a linear discriminant. The last one decides, whatever the others say.",
            "The released model: the same discriminant scores it against models trained on bootstraps of the "
            "remaining rows. p is the share of these that look at least as much like models with the rows in. The "
            "retrained model stands in their middle. A re-weighted model carries its trace of the rows in another "
            "direction than the original does, so a low score does not clear it: the shadow models decide.",
        ],
        limits=[
            "A shadow model is trained on fewer rows than the released one. The removed rows weigh more in it, and "
            "the rest varies more. An attacker who knows every remaining row does better: he repeats both histories, "
            "and any difference of parameters tells him.",
            "An AUC near 0.5 is no proof that nothing is left; equal parameters are.",
            "Rows were removed from the forecaster's head as trained here. Scaling constants, the choice of weather "
            "stations, backups, logs and earlier forecasts are not touched.",
            *(["The extractor was trained on other rows, whose deletion is not audited here."] if network else []),
            "Intervals are 95 %, from resampling models; for each attack by itself, not for all of them together.",
        ],
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """Say what was removed, of each model whether it has forgotten, and what the forecaster gives away.

    Args:
        records: of `Audit`, one deletion.

    Raises:
        InputError: records of something else, or of several deletions.
    """
    table, own = DeletionTable(records), DeletionTable(records).about
    removed, kept = table.count("unlearnt_rows"), table.count("remaining_rows")
    about = (
        f"{table.forecaster} forecaster on {own['data']}: {removed:,} of {removed + kept:,} training rows removed "
        f"({100 * own['proportion']:.0f} %, {own['selection']}; protocol {own['protocol']})."
    )
    weighted = [_reweighted(table, criterion) for criterion in table.criteria]
    return [about, _complete(table), _first_order(table), *weighted, _single_rows(table)]


def _complete(table: DeletionTable) -> str:
    """Complete unlearning, retraining and the original."""
    original, unlearnt = (table.attack(name, DECIDING) for name in ("original", "unlearnt"))
    alone = table.attack("original", "likelihood_ratio", scope="row")
    power = f"models that still hold the rows are recognised with an AUC of {between(original)}"
    if original.low <= 0.5:
        power = f"even models that hold the rows are not recognised (AUC {between(original)}): the test has no power"
    scores = [table.released(name, "standard_score") for name in ("unlearnt", "retrained")]
    return (
        f"Complete unlearning: {table.released('unlearnt', 'distance_to_retrained'):.1g} relative distance to the "
        f"retrained model; {power} by all rows together ({between(alone)} by the residuals of one of them), after the "
        f"deletion with {between(unlearnt)}. The released models score {scores[0]:.4f} (unlearnt) and {scores[1]:.4f} "
        f"(retrained), which differ by {abs(scores[0] - scores[1]):.1g}; the original scores "
        f"{table.released('original', 'standard_score'):.1f} standard deviations (p = "
        f"{table.released('original', 'p_value'):.2g})."
    )


def _first_order(table: DeletionTable) -> str:
    """Whether the incomplete variant is caught."""
    found = table.attack("first_order", DECIDING)
    return (
        f"The first-order update {'is' if found.low > 0.5 else 'is not'} caught (by an interval above 0.5): AUC "
        f"{between(found)}; released, p = {table.released('first_order', 'p_value'):.2g} at a distance of "
        f"{table.released('first_order', 'distance_to_retrained'):.2g} to the retrained model."
    )


def _reweighted(table: DeletionTable, criterion: str) -> str:
    """What re-weighting for a criterion leaks as λ₁ grows, and what it changes in money."""
    models = table.reweighted(criterion)
    last, leaking = models[-1], [model for model in models if table.leak(model).low > 0.5]
    if leaking:
        first = leaking[0]
        leak = f"leaks from λ₁ = {first.l1_budget:g} on (AUC {between(table.leak(first))}"
        leak += f"; {between(table.leak(last))} at {last.l1_budget:g})" if first != last else ")"
    else:
        leak = f"no leak was measured up to λ₁ = {last.l1_budget:g} (AUC {between(table.leak(last))})"
    costs = [table.released(model, "cost") for model in (last, "retrained", "original")]
    return (
        f"{program(criterion)}: {leak}. At λ₁ = {last.l1_budget:g}, {100 * table.shadows(last, 'weights_differ'):.1f} "
        "% of the weights depend on whether the rows were in, and parameters by "
        f"{table.shadows(last, 'distance_in_out'):.2g}, relatively; forecasts cost {costs[0]:.0f} money/h, "
        f"after complete unlearning {costs[1]:.0f}, originally {costs[2]:.0f}."
    )


def _single_rows(table: DeletionTable) -> str:
    """What a trained forecaster gives away of single rows."""
    parts = []
    for attack in ("loss", "likelihood_ratio"):
        found = [
            f"{100 * table.rows(attack, f'tpr_at_fpr_{rate:g}').mean:.2f} % found at {100 * rate:g} % false alarms"
            for rate in table.rates
        ]
        parts.append(f"{ATTACK_NAMES[attack]} AUC {table.rows(attack, 'auc').text('.3f')}, {', '.join(found)}")
    return f"Single training rows of the forecaster, no deletion involved: {'; '.join(parts)}."


def answers(table: DeletionTable) -> list[Answer]:
    """The answer for each method; values of λ₁ that follow each other with one answer are one entry."""
    found = [table.verdict(Model(method)) for method in ("unlearnt", "first_order")]
    for criterion in table.criteria:
        pairs = [(model, table.verdict(model)) for model in table.reweighted(criterion)]
        for answer, run in itertools.groupby(pairs, key=lambda pair: pair[1].answer):
            (_, first), *rest = run
            subject, reason = first.subject, first.reason
            if rest:
                subject += f" to {rest[-1][0].l1_budget:g}"
                reason += f", at the first λ₁; at the last: {rest[-1][1].reason}"
            found.append(Answer(subject, answer, reason))
    return found


def model_table(table: DeletionTable) -> list[dict[str, str]]:
    """A row for each model: answer, distances, attacks, criteria."""
    rows = []
    for model in table.models:
        retrained = model.method == "retrained"
        numbers = {
            "score [sd]": ("standard_score", ".2f"),
            "p": ("p_value", ".2g"),
            "MSE [p.u.²]": ("mse", ".4g"),
            "MAPE [%]": ("mape", ".3g"),
            "cost [money/h]": ("cost", ".1f"),
        }
        rows.append(
            {
                "model": model.name,
                "answer": "the rows are out" if retrained else ANSWERS[table.verdict(model).answer],
                "distance to retrained": f"{table.released(model, 'distance_to_retrained'):.2g}",
                f"AUC, {PLAIN}": "–" if retrained else between(table.attack(model, DECIDING)),
                "AUC, all else alike": "–" if retrained else between(table.leak(model)),
                **{title: format(table.released(model, metric), form) for title, (metric, form) in numbers.items()},
            }
        )
    return rows


def attack_table(table: DeletionTable) -> list[dict[str, str]]:
    """Every attack on the shadow models."""
    keys = ["method", "criterion", "l1_budget", "attack", "scope", "against"]
    rows = []
    for _, found in select(table.records, against=..., attack=...).groupby(keys, sort=False, dropna=False):
        first = found.iloc[0]
        weights = (first["criterion"], first["l1_budget"]) if first["method"] == "reweighted" else ()
        row = {"model": Model(first["method"], *weights).name, "attack": ATTACK_NAMES[first["attack"]]}
        row |= {"by": {"set": "all rows", "row": "one row"}[first["scope"]], "against": str(first["against"])}
        numbers = found[["metric", "value", "low", "high"]].itertuples(index=False)
        rows.append(row | {str(m).replace("_", " "): between(Spread.at(*map(float, one))) for m, *one in numbers})
    return rows


def between(found: Spread) -> str:
    """A number with its interval, two digits."""
    return found.text(".2f")
