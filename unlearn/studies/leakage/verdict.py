"""What the records of leakage say: verdicts, sentences and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from unlearn.errors import InputError
from unlearn.studies.leakage.samples import COPIED, OTHERS

ATTACK_NAMES = {
    "distance": "distance",
    "relative_distance": "relative distance",
    "density": "density",
    "discriminator": "discriminator",
}

YES, NO, UNCLEAR = "yes", "no", "unclear"

#: An attack works if it finds copies with at least this AUC, and strangers with a mean within these bounds.
COPIED_AUC, STRANGER_AUC = 0.99, (0.45, 0.55)

_PER_CENT = 100


@dataclass(frozen=True)
class Finding:
    """A question about a release, the answer "yes", "no" or "unclear", and why. "yes" is a leak."""

    generator: str
    question: str
    answer: str
    reason: str


def headline_attack(records: pd.DataFrame) -> str:
    """The membership attack that finds copies best: chosen on a release whose leakage is known, not on those judged.

    Attacks that find them alike, to a hundredth, are told apart by how narrow their intervals are on strangers.
    """
    auc = _auc(records, unit="profile")
    known = auc[auc["generator"].isin([COPIED, OTHERS])]
    if not len(known):
        return str(auc["attack"].iloc[0])
    found = known[known["generator"] == COPIED].groupby("attack", sort=False)["value"].min()
    strangers = known[known["generator"] == OTHERS]
    width = (strangers["high"] - strangers["low"]).groupby(strangers["attack"]).mean()
    best = [attack for attack in found.index if found[attack] >= found.max() - 0.01]
    return str(min(best, key=lambda attack: width.get(attack, 1.0)))


def calibration(records: pd.DataFrame) -> str:
    """Say whether the headline attack finds what it should and nothing else."""
    attack = headline_attack(records)
    auc = _auc(records, unit="profile", attack=attack)
    copied, others = (auc[auc["generator"] == name] for name in (COPIED, OTHERS))
    if not len(copied) or not len(others):
        return "No releases whose leakage is known were attacked, so it is not shown that the attacks work."
    finds = copied["value"].min() >= COPIED_AUC
    mean = others["value"].mean()
    misled = ~((others["low"] <= 0.5) & (others["high"] >= 0.5))
    honest = STRANGER_AUC[0] <= mean <= STRANGER_AUC[1] and not misled.any()
    words = "The attacks work" if finds and honest else "The attacks are not shown to work"
    return (
        f"{words}: of the four, {ATTACK_NAMES[attack]} tells days that were copied from others with an AUC of "
        f"{_range(copied['value'])} (at least {COPIED_AUC:g} counts as working), and days of households that had "
        f"nothing to do with the release with {_range(others['value'])}, {mean:.3f} in the mean (a mean within "
        f"{STRANGER_AUC[0]:g} to {STRANGER_AUC[1]:g} and no interval without 0.5 count as working; "
        f"{int(misled.sum())} of {len(others)} intervals are without it). It is the attack that verdicts rest on."
    ).replace("of the four", f"of the {_count(len(set(_auc(records)['attack'].dropna()) & set(ATTACK_NAMES)))}")


def findings(records: pd.DataFrame) -> list[Finding]:
    """Answer every question for every generator."""
    return [found for name in generators_of(records) for ask in _QUESTIONS if (found := ask(records, name))]


def summarise_leakage(records: pd.DataFrame) -> list[str]:
    """Say who can tell that a household took part, and by which attack.

    Args:
        records: of `measure_leakage` and `pool_outliers`, any number of seeds and generators.

    Raises:
        InputError: records without attacks.
    """
    generators_of(records)
    said = [calibration(records)]
    return said + [
        f"{own.generator}: {own.question} {own.answer.capitalize()}. {own.reason}" for own in findings(records)
    ]


def attack_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Every membership attack: means over seeds, with the least and largest ends of the intervals."""
    rows = []
    own = records[records["unit_attacked"].notna() & records["metric"].isin(_SHOWN)]
    own = own[~own["metric"].isin(["score", "relative_radius"])]
    against = own["against"].fillna("") if "against" in own else pd.Series("", index=own.index)
    keys = ["generator", "unit_attacked", "attack", against.rename("against")]
    for (generator, unit, attack, other), group in own.groupby(keys, sort=False):
        cells = {"release": str(generator), "unit": str(unit), "attack": ATTACK_NAMES.get(str(attack), str(attack))}
        cells["against"] = str(other).replace("_", ", ")
        for metric, label in _SHOWN.items():
            cells[label] = _cell(group[group["metric"] == metric])
        cells["members"], cells["others"] = (f"{int(group[name].max()):,}" for name in ("n", "n_others"))
        rows.append(cells)
    return rows


_SHOWN = {
    "auc": "AUC",
    "advantage": "advantage",
    "precision": "precision",
    "recall": "recall",
    "tpr_at_fpr_0.01": "TPR at 1 % FPR",
    "tpr_at_fpr_0.001": "TPR at 0.1 % FPR",
}


def _cell(rows: pd.DataFrame) -> str:
    values = rows.dropna(subset=["value"])
    if not len(values):
        return "too few" if len(rows) else ""
    return f"{values['value'].mean():.3f} [{values['low'].min():.3f}, {values['high'].max():.3f}]"


def _membership(records: pd.DataFrame, name: str) -> Finding:
    attack = headline_attack(records)
    own = _auc(records, generator=name, attack=attack)
    above = own["low"] > 0.5
    answer = YES if _every_seed(own, above) else UNCLEAR if above.any() else NO
    parts = [
        f"{_range(own.loc[own['unit_attacked'] == unit, 'value'])} for a {unit}" for unit in ("profile", "household")
    ]
    rest = _auc(records, generator=name)
    rest = rest[rest["attack"] != attack]
    odd = rest["low"] > 0.5
    return Finding(
        name,
        "Can anybody tell from the release that a household took part?",
        answer,
        f"The AUC of the {ATTACK_NAMES[attack]} attack is {', '.join(parts)}; {int(above.sum())} of {len(own)} "
        f"intervals lie above 0.5. Of the other attacks {int(odd.sum())} of {len(rest)} do; chance alone puts "
        "about one in forty there.",
    )


def _every_seed(own: pd.DataFrame, above: pd.Series) -> bool:
    """Whether each seed has an interval of some unit that lies above guessing."""
    return bool(len(own)) and bool(above.groupby(own["seed"]).any().all())


def _closeness(records: pd.DataFrame, name: str) -> Finding | None:
    own = records[(records["generator"] == name) & (records["metric"] == "permutation_p_value")]["value"]
    if not len(own):
        return None
    small = own <= 0.05
    answer = YES if small.all() else NO if small.mean() <= 0.1 or not small.any() else UNCLEAR
    closer = records[(records["generator"] == name) & (records["metric"] == "closer")]["value"].mean()
    return Finding(
        name,
        "Is the release closer to training households than to others?",
        answer,
        f"{_PER_CENT * closer:.1f} % of released days are nearer to a training household's day than to one of as many "
        f"others; exchanging households at random gives p-values of {_range(own, 3)}, {int(small.sum())} of {len(own)} "
        "draws at most 0.05.",
    )


def _copies(records: pd.DataFrame, name: str) -> Finding | None:
    own = records[records["generator"] == name]
    passed = own[own["metric"] == "passed"]
    if not len(passed):
        return None
    shares = {
        (metric, against): own.loc[(own["metric"] == metric) & (own["against"] == against), "value"].mean()
        for metric in ("exact_copies", "near_copies")
        for against in ("train", "holdout")
    }
    fails = passed["value"] == 0
    reasons = " ".join(dict.fromkeys(note for note in passed["note"].dropna() if note)) if "note" in passed else ""
    return Finding(
        name,
        "Does it contain copies of training days, so that it fails?",
        YES if fails.all() else UNCLEAR if fails.any() else NO,
        reasons
        or (
            f"{_PER_CENT * shares['exact_copies', 'train']:.2f} % are exact copies and "
            f"{_PER_CENT * shares['near_copies', 'train']:.2f} % near ones, against "
            f"{_PER_CENT * shares['exact_copies', 'holdout']:.2f} % and "
            f"{_PER_CENT * shares['near_copies', 'holdout']:.2f} % of other households' days."
        ),
    )


def _outliers(records: pd.DataFrame, name: str) -> Finding | None:
    own = records[(records["metric"] == "auc") & (records["generator"] == name)]
    own = own[own["against"] == "unseen"] if "against" in own else own.head(0)
    if not len(own):
        return None
    above = own["low"] > 0.5
    each = "; ".join(
        f"{ATTACK_NAMES[row['attack']]} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        for _, row in own.iterrows()
    )
    return Finding(
        name,
        "Can anybody tell which implausible households it was trained on?",
        YES if above.all() else UNCLEAR if above.any() else NO,
        f"AUC of those trained on against unseen ones of the same kind, fitted on few households: {each} "
        f"({int(own['n'].iloc[0])} of each).",
    )


def _attributes(records: pd.DataFrame, name: str) -> Finding | None:
    own = headline_leaks(records)
    own = own[own["generator"] == name]
    if not len(own):
        return None
    above = own["low"] > 0
    each = ", ".join(
        f"{attribute} ({label} by the release) {rows['value'].mean():+.2f} [{rows['low'].min():+.2f}, "
        f"{rows['high'].max():+.2f}]".replace("guessed by the release", "not released")
        for (attribute, label), rows in own.groupby(["attribute", "label"], sort=False)
    )
    gains = records[(records["metric"] == "gain") & (records["generator"] == name)]
    added = gains[gains["classifier"].isin(own["classifier"])].groupby("attacked")["value"].mean()
    return Finding(
        name,
        "Does it help to guess attributes of training households?",
        YES if above.all() else UNCLEAR if above.any() else NO,
        f"What it adds to the balanced accuracy about training households, less what it adds about others: {each}. "
        f"Beside an attacker with labelled real households instead, it adds {added.get('train', float('nan')):+.2f} "
        f"about training households and {added.get('holdout', float('nan')):+.2f} about others, by the classifier "
        f"{own['classifier'].iloc[0]}.",
    )


_QUESTIONS: tuple[Callable[[pd.DataFrame, str], Finding | None], ...] = (
    _membership, _closeness, _copies, _outliers, _attributes,
)  # fmt: skip


def _auc(records: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """AUCs of attacks on releases, without those on outliers."""
    chosen = (records["metric"] == "auc") & records["unit_attacked"].isin(["profile", "household"])
    for name, value in wanted.items():
        chosen &= records["unit_attacked" if name == "unit" else name] == value
    return records[chosen]


def _range(values: pd.Series, digits: int = 2) -> str:
    low, high = (f"{value:.{digits}f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _count(n: int) -> str:
    return ("no attacks", "one attack", "two", "three", "four")[n] if n < 5 else str(n)


def generators_of(records: pd.DataFrame) -> list[str]:
    """Generators that are judged, in their order."""
    if "unit_attacked" not in records or "auc" not in set(records["metric"]):
        raise InputError("leakage: expected records with the metric auc; run measure_leakage first.")
    return [str(name) for name in records["generator"].dropna().unique() if name not in (COPIED, OTHERS)]


def headline_leaks(records: pd.DataFrame) -> pd.DataFrame:
    """Leaks of attributes by the classifier that finds copies best; by the first where no copies were attacked."""
    own = records[records["metric"] == "leak"].dropna(subset=["value"])
    if not len(own):
        return own.assign(attribute="", label="", classifier="")
    copied = own[own["generator"] == COPIED].groupby("classifier", sort=False)["value"].mean()
    return own[own["classifier"] == (copied.idxmax() if len(copied) else own["classifier"].iloc[0])]
