"""The answers in words: a paragraph for operators, one for researchers, and what they are made of.

Every direction, such as less or more, follows from the records.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unlearn.reporting.style import FORECASTER_NAMES, named
from unlearn.reporting.verdict import NO, UNCLEAR, YES, Spread, counted, write
from unlearn.studies.tuning.table import (
    CHOSEN,
    COMPLETE,
    EQUAL,
    MOSTLY,
    NEAR,
    NETWORK,
    ORIGINAL,
    QUANTILE,
    SCALE,
    TAMU,
    WEIGHTS,
    Leak,
    TuningTable,
    column,
    label,
    middle,
)

#: How a range is written within brackets.
INSIDE = ", from {} to {}"
#: What an operator does after complete unlearning.
INSTRUCTIONS = {
    SCALE: "multiply all forecasts by one number chosen on the remaining rows",
    "affine": "give each load's forecasts a factor and a constant chosen on the remaining rows",
    QUANTILE: "fit the head to a quantile chosen on the remaining rows, instead of the mean",
    WEIGHTS: "re-weight the remaining rows for the operating cost, by scores of the model that has forgotten",
    "head": "fit the head to the operating cost of the remaining rows",
    CHOSEN: "tune on the remaining rows by the method that costs least on the validation rows",
    NETWORK: "train the whole network anew on the operating cost of the remaining rows",
}


def verdict(table: TuningTable) -> str:
    """Yes where what is recommended costs less in most settings and was shown to leak nothing; no where nothing is.

    It is shown by an audit that finds the removed rows in models that saw them.
    """
    best = table.best
    if best == COMPLETE:
        return NO
    shown = table.leak(best) and table.power
    return YES if shown and mostly(*table.won(best, COMPLETE)) == YES else UNCLEAR


def operator(table: TuningTable) -> str:
    """What to do, what it saves, against TAMU, what it costs in accuracy, with equal prices, and what it leaks."""
    best = table.best
    if best == COMPLETE:
        sentences = [_nothing_better(table)]
    else:
        sentences = [
            f"forget completely, then {INSTRUCTIONS.get(best, f'tune by {label(best)}')}: this costs "
            f"{_against_complete(table, best)}."
        ]
    sentences.append(_tamu(table, best))
    if best not in (COMPLETE, SCALE):
        sentences.append(_simplest(table))
    sentences += [_accuracy(table, best), _anew(table, best), _equal(table, best), _leaks(table, best)]
    return " ".join(one for one in sentences if one)


def _nothing_better(table: TuningTable) -> str:
    tried = {name: own for name in table.complete if name != COMPLETE and (own := table.middle(table.ratio, name))}
    if not tried:
        return "forget completely and change nothing else: no tuning was measured."
    least = min(tried, key=lambda name: tried[name].mean)
    leak = table.leak(least)
    but = f", but leaks ({auc(leak)})" if leak and leak.found else ""
    return (
        "forget completely and change nothing else: no tuning that leaks nothing and works everywhere is better than "
        f"complete unlearning by more than {100 * NEAR:g} %. The cheapest of all, {label(least)}, costs "
        f"{_against_complete(table, least)}{but}."
    )


def _tamu(table: TuningTable, best: str) -> str:
    if not table.middle(table.ratio, TAMU):
        return ""
    said = f"TAMU, as published, costs {_against_complete(table, TAMU, best if best != COMPLETE else '')}"
    leak = table.leak(TAMU)
    if leak:
        found = "leaks the removed rows" if leak.found else "was not seen to leak"
        said += f", and {found} ({auc(leak)}, attack on {leak.attack})"
    won, of = table.won(best, TAMU)
    whose = "Complete unlearning" if best == COMPLETE else "The recommended tuning"
    return f"{said}. {whose} beats TAMU in {counts(won, of)}."


def _simplest(table: TuningTable) -> str:
    if not table.middle(table.ratio, SCALE):
        return ""
    won, of = table.won(SCALE, TAMU)
    rivals = table.dominated.get(SCALE, ())
    but = f"; it is dominated by {listed([label(one) for one in rivals])}" if rivals else ""
    against = f" and beats TAMU in {counts(won, of)}" if of else ""
    costs = _against_complete(table, SCALE, table.best)
    return f"The simplest tuning, one factor for all forecasts, costs {costs}{against}{but}."


def _accuracy(table: TuningTable, best: str) -> str:
    """MAPE relative to complete unlearning, by forecaster where they differ, and bias."""
    own = table.middle(table.mape_ratio, best)
    if best == COMPLETE or not own:
        return ""
    bought = own.mean > 1 + NEAR
    said = "Part of the money is bought with accuracy" if bought else "This takes nothing from accuracy"
    kinds = {kind: table.middle(table.mape_ratio, best, forecaster=kind) for kind in table.forecasters}
    each = [f"{named(kind, FORECASTER_NAMES)} {change(own.mean)}" for kind, own in kinds.items() if own]
    said += f": MAPE is {changed(own)}" + (f"; {', '.join(each)}" if len(each) > 1 else "")
    bias = table.frame("bias")
    mean, before = (table.middle(bias, name) for name in (best, COMPLETE))
    if mean and before:
        said += f"; total forecasts are {_biased(mean)} the load in the mean, instead of {_biased(before)} it"
    return f"{said}."


def _anew(table: TuningTable, best: str) -> str:
    """What training the whole network anew buys, which is no unlearning."""
    cost, mape = table.middle(table.ratio, NETWORK), table.middle(table.mape_ratio, NETWORK)
    if best == NETWORK or not cost or not mape:
        return ""
    seconds = table.middle(table.frame("seconds"), NETWORK)
    time = f", takes {write(seconds, '.0f')} s each time" if seconds else ""
    return (
        f"A network that is trained anew, all of it, on the operating cost of the remaining rows costs {changed(cost)} "
        f"with a MAPE that is {change(mape.mean)} ({counted(cost.n, 'setting')}){time}, and nothing in it can be "
        "unlearnt but by training again."
    )


def _biased(bias: Spread) -> str:
    if abs(bias.mean) < 5e-4:
        return "at"
    return f"{write(abs(bias.mean), '.3f')} p.u. {'above' if bias.mean > 0 else 'below'}"


def _equal(table: TuningTable, best: str) -> str:
    equal = table.at_ratio(EQUAL)
    pairs = [(name, table.middle(equal, name)) for name in dict.fromkeys((best, TAMU)) if name != COMPLETE]
    told = [(name, own) for name, own in pairs if own]
    if not told:
        return ""
    whose = {best: "the recommended tuning", TAMU: "TAMU"}
    parts = listed([f"{whose[name]} costs {changed(own)}" for name, own in told])
    return (
        f"If shedding is no dearer than storing, compared with complete unlearning, {parts} "
        f"({counted(told[0][1].n, 'setting')})."
    )


def _leaks(table: TuningTable, best: str) -> str:
    leak = table.leak(best)
    if leak is None:
        return "Whether this leaks was not audited."
    if leak.in_bits_alone:
        return (
            f"Only attackers who compare every bit tell that the removed rows were in ({auc(leak)}): the update and a "
            "refit differ in their last bits, so that a model whose parameters are published is better fitted anew."
        )
    if leak.found:
        return f"The audit tells that the removed rows were in ({auc(leak)}, attack on {leak.attack})."
    but = "" if table.power else "; but they find nothing in models that saw these rows either"
    but = "; but no model that saw them was audited" if table.power is None else but
    return f"Attacks find no trace of the removed rows: all of {counted(leak.n, 'interval')} contain 0.5{but}."


def researcher(table: TuningTable) -> str:
    """What of the paper's story holds, what of TAMU's gain was bias, and what the published comparison left out."""
    return " ".join(one for one in (_story(table), _bias(table), _left_out(table), _by_run(table)) if one)


def _story(table: TuningTable) -> str:
    """Forgetting helpful rows raises the cost, and TAMU lowers it."""
    parts = []
    for kind in ("helpful", "random"):
        own = table.cost[table.cost.index.get_level_values("selection").str.startswith(kind)]
        raised, of = table.won(ORIGINAL, COMPLETE, own)
        if of:
            moved = middle(column(own, COMPLETE) / column(own, ORIGINAL))
            parts.append(f"forgetting {kind} rows raises the cost in {counts(raised, of)} ({changed(moved, INSIDE)})")
    won, of = table.won(TAMU, COMPLETE)
    if of:
        parts.append(f"TAMU then lowers it in {counts(won, of)} ({changed(table.middle(table.ratio, TAMU), INSIDE)})")
    return f"Of the paper's story: {listed(parts)}." if parts else ""


def gains(table: TuningTable, name: str = SCALE) -> pd.Series:
    """What a method gains as a share of what TAMU gains, in the settings in which TAMU gains."""
    own = pd.DataFrame({"own": 1 - column(table.ratio, name), "tamu": 1 - column(table.ratio, TAMU)}).dropna()
    own = own[own["tamu"] > 0]
    return own["own"] / own["tamu"]


def _bias(table: TuningTable) -> str:
    if not (table.won(SCALE, TAMU)[1]):
        return ""
    share = gains(table)
    if share.empty:
        said = "TAMU gains in no setting, so that there is no gain to explain."
    else:
        reached = int((share >= 1).sum())
        said = (
            f"Of TAMU's gain, one factor reaches {write(100 * float(share.median()), '.0f')} % in the median, and all "
            f"of it or more in {counts(reached, len(share))} with a gain."
        )
    told = []
    bias, sheds = table.frame("bias"), table.frame("sheds")
    for name in (COMPLETE, TAMU, SCALE):
        mean, share_h = table.middle(bias, name), table.middle(sheds, name)
        if mean and share_h:
            told.append(f"{label(name)} {write(mean, '+.3f')} p.u., {write(share_h.times(100), '.0f')} %")
    return f"{said} Bias and share of hours that shed: {'; '.join(told)}." if told else said


def _left_out(table: TuningTable) -> str:
    """Baselines, equal prices, MAPE beside cost, and the leak."""
    parts = []
    for name, what in ((SCALE, "one factor"), (QUANTILE, "a quantile")):
        won, of = table.won(name, TAMU)
        if of:
            parts.append(f"the baseline of {what} (below TAMU in {counts(won, of)})")
    equal = table.at_ratio(EQUAL)
    if alike := table.middle(equal, TAMU):
        parts.append(f"equal prices (compared with complete unlearning, TAMU then costs {changed(alike, INSIDE)})")
    if beside := table.middle(table.mape_ratio, TAMU):
        parts.append(f"MAPE beside cost (TAMU's is {changed(beside, INSIDE)} than after complete unlearning)")
    tamu, tunings = table.leak(TAMU), [leak for name in table.tunings if (leak := table.leak(name))]
    if tamu and tunings:
        worst = max(tunings, key=lambda leak: abs(leak.auc.mean - 0.5))
        found = sum(leak.found for leak in tunings)
        intervals = "all contain 0.5"
        if found:
            intervals = f"leave 0.5 out in {found} of {sum(leak.n for leak in tunings)} cases"
        parts.append(
            f"the leak (TAMU: {auc(tamu)}; tunings: {auc(worst)} where it is farthest from 0.5, and their intervals "
            f"{intervals})"
        )
    return f"What the published comparison left out: {'; '.join(parts)}." if parts else ""


def _by_run(table: TuningTable) -> str:
    """Whether averaging over seeds hides anything."""
    runs = table.frame("cost", more=["seed"])
    won, of = table.won(SCALE, TAMU, runs)
    if not of or of == table.won(SCALE, TAMU)[1]:
        return ""
    return f"Seed by seed, one factor is below TAMU in {won} of {counted(of, 'run')}."


def mostly(n: int, of: int) -> str:
    """Yes where something holds in most settings, no where it does not in as many, otherwise not clear."""
    if not of:
        return UNCLEAR
    return YES if n >= MOSTLY * of else NO if n <= (1 - MOSTLY) * of else UNCLEAR


def counts(n: int, of: int) -> str:
    """ "38 of 42 settings", "all 42 settings", "none of 42 settings"."""
    if n == of > 0:
        return {1: "the one setting", 2: "both settings"}.get(of, f"all {of} settings")
    return f"{n or 'none'} of {counted(of, 'setting')}"


def change(ratio: float) -> str:
    """A ratio as "15 % less", "3.1 % more" or "as much"."""
    moved = 100 * abs(ratio - 1)
    if moved < 0.05:
        return "as much"
    return f"{write(moved, '.0f' if moved >= 9.95 else '.1f')} % {'less' if ratio < 1 else 'more'}"


def changed(ratio: Spread | None, form: str = " ({} to {})") -> str:
    """A median ratio with its range: "15 % less (30 % less to 2 % more)"; `form` is how the range is written."""
    if ratio is None or not np.isfinite(ratio.mean):
        return "not measured"
    ends = change(ratio.low), change(ratio.high)
    return change(ratio.mean) + (form.format(*ends) if ends[0] != ends[1] else "")


def auc(leak: Leak) -> str:
    """The strongest attack, as it stands in brackets."""
    return f"AUC {leak.auc.mean:.2f}, {leak.auc.low:.2f} to {leak.auc.high:.2f}"


def _against_complete(table: TuningTable, name: str, other: str = "") -> str:
    """ "15 % less than complete unlearning alone in the median of 42 settings (30 % less to 2 % more)".

    Args:
        table: of the study.
        name: of the method.
        other: method of which this was said before, so that it is not said again for the same settings.
    """
    ratio, before = table.middle(table.ratio, name), table.middle(table.ratio, other)
    if ratio is None:
        return "not measured"
    if before and before.n == ratio.n:
        return changed(ratio)
    said, than = change(ratio.mean), "as" if change(ratio.mean) == "as much" else "than"
    ends = changed(ratio)[len(said) :]
    return f"{said} {than} complete unlearning alone in the median of {counted(ratio.n, 'setting')}{ends}"


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
