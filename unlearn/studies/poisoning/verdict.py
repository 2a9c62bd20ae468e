"""What the records of poisoned training data say: sentences and tables, each from the records."""

from __future__ import annotations

import pandas as pd

from unlearn.forecasters.specs import solved_exactly
from unlearn.reporting.verdict import (
    NO,
    UNCLEAR,
    YES,
    Answer,
    Block,
    Page,
    Spread,
    answer_rows,
    capital,
    counted,
    overall,
)
from unlearn.studies.poisoning.table import ASKED, COMPLETE, DAMAGE, Attack, Mitigation, PoisoningTable, named

#: The answer where the poison does no damage.
HARMLESS = "nothing to recover"
_CRITERIA = {"cost": ("cost [money/h]", ".0f"), "mse": ("MSE [p.u.²]", ".5f"), "mape": ("MAPE [%]", ".2f")}


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    table = PoisoningTable(records)
    about, *sentences = summarise(records)
    found, costs, detections = verdicts(table), cost_table(table), detection_table(table)
    harmed = [own for own in found if own.answer != HARMLESS]
    share = f"{100 * table.share:g} %"
    network = not solved_exactly(str(table.about["forecaster"]))
    return Page(
        f"At {share} poisoned, does unlearning what was flagged recover half of the damage?",
        overall(own.answer for own in harmed),
        f"{sum(own.answer == YES for own in harmed)} of {len(harmed)} pairs of a harmful attack and a detector do."
        if harmed
        else "no attack did damage that could be recovered.",
        f"{about} Priced on {table.about['grid']}.",
        "Operating cost against the poisoned share by detector and by mitigation; damage recovered by each",
        [
            Block(
                "Each attack and detector", rows=answer_rows(found, "attack and detector"), texts=3,
                note="Damage is what operation costs more, on test hours, when the forecaster was trained on poisoned "
                "hours instead of their original values. Recovered is the part of it that the mitigation saves: 100 % "
                "is the cost of the model of clean data, more is cheaper than that. Not clear: a mean of at least "
                "half with a seed below it.",
            ),
            Block("What was found", points=sentences),
            Block(f"Every mitigation at {share}", rows=[row for row in costs if row["share"] == share], texts=4),
            Block(rows=detections, texts=3, folded=f"How right the detectors are: {len(detections)} rows"),
            Block(rows=costs, texts=4, folded=f"Every share: {len(costs)} rows"),
        ],
        measured=[
            "Poison: measured loads of whole intervals of training hours are multiplied. Scaling takes one factor. A "
            "ramp rises to the full factor in the middle of the interval and falls again. Noise draws a factor for "
            "each load and hour. Calendar and weather are not touched. Validation and test hours stay clean"
            + (", and so do the core hours that the extractor was trained on." if network else "."),
            "Detectors never see what was poisoned, nor any test hour. Forecast residual and detectors of anomalies "
            "flag hours that score above nearly all validation hours. Influence flags hours whose removal would lower "
            "a criterion on validation hours by far more than that of others would; how far is chosen by that "
            "criterion on validation hours. It looks for harm, not for poison: clean hours are among its flags, and "
            'poison that does no harm is not. "The truth" is no detector: it shows what a perfect one would give.',
            "Mitigation: complete unlearning equals retraining without the flagged hours. PAMU and TAMU re-weight the "
            "remaining hours for a criterion on validation hours. Re-weighting shifts a forecaster even where nothing "
            "was poisoned: compare with nothing flagged, and with the clean model re-weighted.",
        ],
        limits=[
            "Only complete unlearning forgets: PAMU and TAMU take their weights from a model that was fitted on the "
            "flagged hours, so what they give depends on those through the weights of the others.",
            "Poison that was not flagged stays in the model; clean hours that were flagged are lost to it.",
            "Operation is cheap with lifted forecasts, as a surplus costs less here than shed load. An attack that "
            "lifts loads can thus look like a gain; MSE and MAPE in the tables tell it apart.",
            "The attacks are templates with fixed strengths. An attacker who knows the detectors can stay below their "
            "thresholds, or attack the validation hours.",
            "Ranges are over seeds: "
            f"{'intervals, noise, core and initial weights' if network else 'intervals and noise'}. They all have the "
            "same test hours.",
        ],
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """Say what was poisoned, and of each attack what it costs, what was found and what unlearning recovers.

    Args:
        records: of `PoisonedStudy` over attacks, shares and seeds.

    Raises:
        InputError: records of something else.
    """
    table = PoisoningTable(records)
    return [_about(table), *(_of_attack(table, attack) for attack in table.attacks), _reweighting(table)]


def _about(table: PoisoningTable) -> str:
    shares = ", ".join(f"{100 * share:g}" for share in table.shares)
    return (
        f"{table.forecaster} forecaster on {table.about['data']}: {shares} % of "
        f"the hours that its head is fitted on poisoned, {counted(len(table.seeds), 'seed')} (mean, and range in "
        f"brackets); answers are for {100 * table.share:g} %."
    )


def _of_attack(table: PoisoningTable, attack: Attack) -> str:
    """Damage, detection and recovery of one attack at the reported share."""
    share = table.share
    clean, poisoned = (table.model(attack, share, method).mean() for method in ("clean", "poisoned"))
    costs = f"{capital(attack.name)}: forecasts cost {poisoned:.0f} money/h, on clean data {clean:.0f}"
    direction = table.direction(attack, share)
    if direction == -1:
        lifted = attack.kind != "noise" and attack.strength > 0
        why = ", because forecasts are lifted and a surplus costs less than shed load" if lifted else ""
        return (
            f"{costs}: the poison makes operation cheaper{why}. There is no damage to recover; after unlearning: "
            f"{_after(table, attack)}."
        )
    if direction == 0:
        rule = f"less than {100 * DAMAGE:g} % of that, or not on every seed"
        after = _after(table, attack)
        return f"{costs}: no clear damage ({rule}), so there is nothing to recover; after unlearning: {after}."
    answers = [_answer(table, attack, name) for name in table.detectors if name != "none"]
    return f"{costs}. Complete unlearning of what was flagged recovers {'; '.join(answers)}."


def _reweighting(table: PoisoningTable) -> str:
    """What re-weighting adds, and what it leaves of the flagged rows."""
    detector = table.blind[0] if table.blind else table.detectors[0]
    attack = next((a for a in table.attacks if table.direction(a, table.share) == 1), table.attacks[0])
    parts = [_reweighted(table, attack, detector, mitigation) for mitigation in table.mitigations[1:]]
    flags = named(detector)
    if not parts:
        return "Nothing was re-weighted."
    return f"Re-weighting what remains, with the flags of the {flags}: {'. '.join(parts)}."


def verdicts(table: PoisoningTable) -> list[Answer]:
    """Of each attack and detector whether complete unlearning recovers the asked share."""
    answers = []
    for attack in table.attacks:
        if table.direction(attack, table.share) != 1:
            change = table.damage(attack, table.share).mean() / table.model(attack, table.share, "clean").mean()
            reason = f"the poison changes the operating cost by {100 * change:+.1f} %"
            answers.append(Answer(attack.name, HARMLESS, reason))
            continue
        for name in table.blind:
            found = table.recovered(attack, table.share, name)
            reason = f"{_percent(found)} of the damage recovered"
            answers.append(Answer(f"{attack.name}, {named(name)}", _recovers(found), reason))
    return answers


def _recovers(found: Spread | None) -> str:
    if found is None or found.mean < ASKED:
        return NO
    return YES if found.low >= ASKED else UNCLEAR


def cost_table(table: PoisoningTable) -> list[dict[str, str]]:
    """A row per attack, share, detector and mitigation: cost, damage recovered, MSE, MAPE, flagged hours."""
    rows = []
    for attack in table.attacks:
        for share in table.shares:
            rows += [_model_row(table, attack, share, method) for method in ("clean", "poisoned")]
            rows += [
                _row(table, attack, share, name, mitigation)
                for name in table.detectors
                for mitigation in table.mitigations
                if share in table.asked(attack, name) and (name != "none" or mitigation != COMPLETE)
            ]
    return rows


def detection_table(table: PoisoningTable) -> list[dict[str, str]]:
    """A row per attack, share and detector: how right it is."""
    metrics = {"flagged [%]": "flagged", "precision": "precision", "recall": "recall", "F1": "f1"}
    metrics |= {"false alarms [%]": "false_alarms", "ROC-AUC": "roc_auc"}
    rows = []
    for attack in table.attacks:
        for share in table.shares:
            for name in (name for name in table.blind if share in table.asked(attack, name)):
                found = {label: table.detection(attack, share, name, metric) for label, metric in metrics.items()}
                cells = {label: _percent(s, "") if "%" in label else s.text(".2f") for label, s in found.items()}
                rows.append({"poison": attack.name, "share": f"{100 * share:g} %", "detector": named(name), **cells})
    return rows


def _reweighted(table: PoisoningTable, attack: Attack, detector: str, mitigation: Mitigation) -> str:
    share = table.share
    clean, own = table.model(attack, share, "clean").mean(), table.mitigated(attack, share, "clean", mitigation).mean()
    mitigated = table.mitigated(attack, share, detector, mitigation).mean()
    alone = table.mitigated(attack, share, "none", mitigation).mean() if "none" in table.detectors else None
    differ = 100 * table.mitigated(attack, share, detector, mitigation, "weights_differ").mean()
    return (
        f"{mitigation.name}: {mitigated:.0f} money/h after "
        f"{attack.name}{'' if alone is None else f', {alone:.0f} without any detector'}; the clean model, treated "
        f"likewise, goes from {clean:.0f} to {own:.0f}, which mitigates nothing; {differ:.1f} % of the weights depend "
        "on the flagged rows"
    )


def _answer(table: PoisoningTable, attack: Attack, detector: str) -> str:
    found = table.recovered(attack, table.share, detector)
    precision, recall = (table.detection(attack, table.share, detector, m).mean for m in ("precision", "recall"))
    right = "" if detector == "truth" else f" (precision {precision:.2f}, recall {recall:.2f})"
    return f"{_percent(found)} by {named(detector)}{right}" if found else ""


def _after(table: PoisoningTable, attack: Attack) -> str:
    names = [name for name in table.detectors if name != "none"]
    costs = {name: table.mitigated(attack, table.share, name).mean() for name in names}
    return ", ".join(f"{costs[name]:.0f} by {named(name)}" for name in names)


def _model_row(table: PoisoningTable, attack: Attack, share: float, method: str) -> dict[str, str]:
    own = {metric: Spread.of(table.model(attack, share, method, metric)) for metric in _CRITERIA}
    return _cells(attack, share, f"{method} model", "", own, "", "")


def _row(table: PoisoningTable, attack: Attack, share: float, name: str, mitigation: Mitigation) -> dict[str, str]:
    own = {metric: Spread.of(table.mitigated(attack, share, name, mitigation, metric)) for metric in _CRITERIA}
    recovered = _percent(table.recovered(attack, share, name, mitigation), "")
    flagged = _percent(table.detection(attack, share, name, "flagged"), "")
    return _cells(attack, share, named(name), mitigation.name, own, recovered, flagged)


def _cells(
    attack: Attack, share: float, flags: str, mitigation: str, own: dict[str, Spread], recovered: str, flagged: str
) -> dict[str, str]:
    cells = {title: own[metric].text(form) for metric, (title, form) in _CRITERIA.items()}
    row = {"poison": attack.name, "share": f"{100 * share:g} %", "flags of": flags, "mitigation": mitigation}
    return row | cells | {"damage recovered [%]": recovered, "flagged [%]": flagged}


def _percent(spread: Spread | None, unit: str = " %") -> str:
    return "" if spread is None else spread.times(100).text(".0f" if unit else ".1f", unit)
