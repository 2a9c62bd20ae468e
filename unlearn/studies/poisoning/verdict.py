"""What the records of poisoned training data say: sentences and tables, each from the records."""

from __future__ import annotations

import pandas as pd

from unlearn.reporting.labels import FORECASTER_NAMES
from unlearn.studies.poisoning.table import ASKED, COMPLETE, DAMAGE, Attack, PoisoningTable, Remedy, named
from unlearn.studies.utility.seeds import Spread


def summarise_poisoning(records: pd.DataFrame) -> list[str]:
    """Say what was poisoned, and of each attack what it costs, what was found and what unlearning recovers.

    Args:
        records: of `PoisonedStudy` over attacks, shares and seeds.

    Raises:
        InputError: records of something else.
    """
    table = PoisoningTable(records)
    return [about(table), *(of_attack(table, attack) for attack in table.attacks), reweighting(table)]


def about(table: PoisoningTable) -> str:
    """What was poisoned, and where numbers are reported."""
    kind, seeds = str(table.about["forecaster"]), len(table.seeds)
    shares = ", ".join(f"{100 * share:g}" for share in table.shares)
    return (
        f"{FORECASTER_NAMES.get(kind, kind)} forecaster on {table.about['data']}: {shares} % of the hours that its "
        f"head is fitted on poisoned, {seeds} seed{'s' * (seeds > 1)} (mean, and range in brackets); answers are for "
        f"{100 * table.share:g} %."
    )


def of_attack(table: PoisoningTable, attack: Attack) -> str:
    """Damage, detection and recovery of one attack at the reported share."""
    share = table.share
    clean, poisoned = (table.model(attack, share, method).mean() for method in ("clean", "poisoned"))
    costs = (
        f"{attack.name[0].upper()}{attack.name[1:]}: forecasts cost {poisoned:.0f} money/h, on clean data {clean:.0f}"
    )
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


def reweighting(table: PoisoningTable) -> str:
    """What re-weighting adds, and what it leaves of the flagged rows."""
    detector = table.blind[0] if table.blind else table.detectors[0]
    attack = next((a for a in table.attacks if table.direction(a, table.share) == 1), table.attacks[0])
    parts = [_reweighted(table, attack, detector, remedy) for remedy in table.remedies[1:]]
    flags = named(detector)
    if not parts:
        return "Nothing was re-weighted."
    return f"Re-weighting what remains, with the flags of the {flags}: {'. '.join(parts)}."


def verdicts(table: PoisoningTable) -> list[dict[str, str]]:
    """Of each attack and detector whether complete unlearning recovers the asked share: answer, and in words."""
    return [
        {
            "attack": attack.name,
            "detector": named(name),
            "answer": _verdict(found := table.recovered(attack, table.share, name)),
            "reason": f"{_percent(found)} of the damage recovered" if found else _unharmed(table, attack),
        }
        for attack in table.attacks
        for name in (table.blind if table.direction(attack, table.share) == 1 else table.blind[:1])
    ]


def cost_table(table: PoisoningTable) -> list[dict[str, str]]:
    """A row per attack, share, detector and remedy: cost, damage recovered, MSE, MAPE, flagged hours."""
    rows = []
    for attack in table.attacks:
        for share in table.shares:
            rows += [_model_row(table, attack, share, method) for method in ("clean", "poisoned")]
            rows += [
                _row(table, attack, share, name, remedy)
                for name in table.detectors
                for remedy in table.remedies
                if share in table.asked(attack, name) and (name != "none" or remedy != COMPLETE)
            ]
    return rows


def detection_table(table: PoisoningTable) -> list[dict[str, str]]:
    """A row per attack, share and detector: how right it is."""
    metrics = {
        "flagged [%]": "flagged",
        "precision": "precision",
        "recall": "recall",
        "F1": "f1",
        "false alarms [%]": "false_alarms",
        "ROC-AUC": "roc_auc",
    }
    rows = []
    for attack in table.attacks:
        for share in table.shares:
            for name in (name for name in table.blind if share in table.asked(attack, name)):
                found = {label: table.detection(attack, share, name, metric) for label, metric in metrics.items()}
                cells = {label: _percent(s, "") if "%" in label else _plain(s, "{:.2f}") for label, s in found.items()}
                rows.append({"poison": attack.name, "share": f"{100 * share:g} %", "detector": named(name), **cells})
    return rows


def _reweighted(table: PoisoningTable, attack: Attack, detector: str, remedy: Remedy) -> str:
    share = table.share
    clean, own = table.model(attack, share, "clean").mean(), table.mended(attack, share, "clean", remedy).mean()
    mended = table.mended(attack, share, detector, remedy).mean()
    alone = table.mended(attack, share, "none", remedy).mean() if "none" in table.detectors else None
    differ = 100 * table.mended(attack, share, detector, remedy, "weights_differ").mean()
    return (
        f"{remedy.name}: {mended:.0f} money/h after {attack.name}"
        f"{'' if alone is None else f', {alone:.0f} without any detector'}; the clean model, treated likewise, goes "
        f"from {clean:.0f} to {own:.0f}, which is no mending; {differ:.1f} % of the weights depend on the flagged rows"
    )


def _answer(table: PoisoningTable, attack: Attack, detector: str) -> str:
    found = table.recovered(attack, table.share, detector)
    precision, recall = (table.detection(attack, table.share, detector, m).mean for m in ("precision", "recall"))
    right = "" if detector == "truth" else f" (precision {precision:.2f}, recall {recall:.2f})"
    return f"{_percent(found)} by {named(detector)}{right}" if found else ""


def _after(table: PoisoningTable, attack: Attack) -> str:
    names = [name for name in table.detectors if name != "none"]
    costs = {name: table.mended(attack, table.share, name).mean() for name in names}
    return ", ".join(f"{costs[name]:.0f} by {named(name)}" for name in names)


def _verdict(found: Spread | None) -> str:
    if found is None:
        return "harmless"
    if found.low < ASKED <= found.mean:
        return "unclear"
    return "yes" if found.mean >= ASKED else "no"


def _unharmed(table: PoisoningTable, attack: Attack) -> str:
    change = table.damage(attack, table.share).mean() / table.model(attack, table.share, "clean").mean()
    return f"the poison changes the operating cost by {100 * change:+.1f} %"


def _model_row(table: PoisoningTable, attack: Attack, share: float, method: str) -> dict[str, str]:
    own = {m: Spread.of(table.model(attack, share, method, m).to_numpy()) for m in ("cost", "mse", "mape")}
    return _cells(attack, share, f"{method} model", "", own, "", "")


def _row(table: PoisoningTable, attack: Attack, share: float, name: str, remedy: Remedy) -> dict[str, str]:
    own = {m: Spread.of(table.mended(attack, share, name, remedy, m).to_numpy()) for m in ("cost", "mse", "mape")}
    recovered = table.recovered(attack, share, name, remedy)
    flagged = _percent(table.detection(attack, share, name, "flagged"), "")
    return _cells(attack, share, named(name), remedy.name, own, _percent(recovered, "") if recovered else "", flagged)


def _cells(
    attack: Attack, share: float, flags: str, remedy: str, own: dict[str, Spread], recovered: str, flagged: str
) -> dict[str, str]:
    return {
        "poison": attack.name,
        "share": f"{100 * share:g} %",
        "flags of": flags,
        "remedy": remedy,
        "cost [money/h]": _plain(own["cost"], "{:.0f}"),
        "damage recovered [%]": recovered,
        "MSE [p.u.²]": _plain(own["mse"], "{:.5f}"),
        "MAPE [%]": _plain(own["mape"], "{:.2f}"),
        "flagged [%]": flagged,
    }


def _plain(spread: Spread, form: str) -> str:
    said = form.format(spread.mean)
    return said if spread.n == 1 else f"{said} ({form.format(spread.low)} to {form.format(spread.high)})"


def _percent(spread: Spread | None, unit: str = " %") -> str:
    if spread is None:
        return ""
    mean, low, high = (100 * value for value in (spread.mean, spread.low, spread.high))
    digits = 0 if unit else 1
    said = f"{mean:.{digits}f}{unit}"
    return said if spread.n == 1 else f"{said} ({low:.{digits}f} to {high:.{digits}f})"
