"""What the records of leakage say: verdicts, sentences and tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from unlearn.attacks.base import label_of
from unlearn.reporting.verdict import (
    NO,
    UNCLEAR,
    YES,
    Answer,
    Block,
    Page,
    Spread,
    agreed,
    answer_rows,
    overall,
    require_columns,
    seeds_of,
    select,
)
from unlearn.studies._shared.attributes import COPIED, OTHERS

#: An attack works if it finds copies with at least this AUC, and strangers with a mean within these bounds.
COPIED_AUC, STRANGER_AUC = 0.99, (0.45, 0.55)
#: The share of draws that may be that improbable by chance.
_SMALL, _FEW = 0.05, 0.1
MEMBERSHIP = "Can anybody tell from the release that a household took part?"


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    found, attack = findings(records), label_of(headline_attack(records))
    took_part = [own for own in found if own.question == MEMBERSHIP]
    of = ", ".join(f"{own.subject} {own.answer}" for own in took_part)
    attacks = attack_table(records)
    return Page(
        "Can anybody tell that a household took part?",
        overall(own.answer for own in took_part),
        f"answers by the {attack} attack are, for each release: {of or 'none was judged'}.",
        f"{records['data'].iloc[0]}; {seeds_of(records)}. Households were divided at random: generators learnt from "
        "one part (train), and attacks had to tell its households from those of the other (holdout).",
        "Attacks on releases with intervals, outliers, copies and attributes",
        [
            Block("Every question", calibration(records), rows=answer_rows(found, "release"), texts=4),
            Block(
                "Every membership attack", rows=attacks, texts=4, folded=f"{len(attacks)} attacks",
                note='Means over seeds, with the lowest and highest ends of the 95 % intervals. \"Too few\": fewer '
                "records that took no part than a false positive rate needs.",
            ),
        ],
        measured=[
            "AUC is the chance that a day, or household, that took part scores higher than one that did not; 0.5 is "
            "guessing. Bars are 95 % intervals over households.",
            "Answers follow intervals; yes is a leak. Who took part: yes where on every seed an interval of the "
            "deciding attack lies above 0.5, no where none does. Closer: yes where every p-value is at most 0.05, no "
            "where at most one draw in ten has such a one. Copies: yes or no on every seed. Implausible households "
            "and attributes: yes where every interval lies above guessing, no where none does. All else is not clear.",
            "Controls: copied training days are the positive control, days of third households the negative control. "
            "They are attacked alike, and are the ends of the scale: all given away, and nothing.",
            "Attacks look at the release and at reference households that neither took part nor are attacked. "
            "Thresholds of advantage, precision and recall are chosen on other households than they are measured on. "
            "The distance attack asks for the nearest released day; the relative distance, how much nearer it is than "
            "the nearest reference day; the density attack compares densities of release and reference (DOMIAS); the "
            "discriminator is trained to tell the release from the reference.",
            "Implausible households have the same meaningless pattern day after day. Some are put among few training "
            "households, others are not. One is compromised at a radius if a released day lies that near to one of its "
            "own; the radius is a ratio of the day's Euclidean norm. Patterns of another kind are nearer to or further "
            "from any release because of their kind, so who took part is told by comparing the same kind.",
            "Attributes are guessed of every household. A leak is what the release adds about training households "
            "beyond what it adds about others; values that few households have are left out. An attribute is "
            '\"released\" if the generator was given it as its segment.',
            "Near copies are within the stated relative distance of a real day, also moved by a few half-hours around "
            "the clock. They count in excess of copies of other households' days.",
        ],
        limits=[
            "No means that these attacks found nothing at this number of households, not that nothing is there. Only a "
            "formal guarantee covers attacks that nobody has thought of.",
            "A day that equals a released one, such as a day without energy, cannot be told from a copy. Where more "
            "other days do so than a false positive rate allows, the distance attack finds nobody at that rate, even "
            "among copies.",
        ],
        alarm=True,
        internal=True,
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """Say who can tell that a household took part, and by which attack.

    Args:
        records: of `measure_leakage` and `pool_outliers`, any number of seeds and generators.

    Raises:
        InputError: records without attacks.
    """
    found = findings(records)  # refuses records of something else
    return [calibration(records), *map(str, found)]


def generators_of(records: pd.DataFrame) -> list[str]:
    """Generators that are judged, in their order."""
    require_columns("leakage", records, "unit_attacked", metric="auc", run="measure_leakage")
    return [str(name) for name in records["generator"].dropna().unique() if name not in (COPIED, OTHERS)]


def headline_attack(records: pd.DataFrame) -> str:
    """The membership attack that finds copies best: chosen on a release whose leakage is known, not on those judged.

    Attacks that find them alike, to a hundredth, are told apart by how narrow their intervals are on strangers.
    """
    auc = _auc(records, unit_attacked="profile")
    found = select(auc, generator=COPIED).groupby("attack", sort=False)["value"].min()
    if not len(select(auc, generator=[COPIED, OTHERS])):
        return str(auc["attack"].iloc[0])
    strangers = select(auc, generator=OTHERS)
    width = (strangers["high"] - strangers["low"]).groupby(strangers["attack"]).mean()
    best = [attack for attack in found.index if found[attack] >= found.max() - 0.01]
    return str(min(best, key=lambda attack: width.get(attack, 1.0)))


def calibration(records: pd.DataFrame) -> str:
    """Say whether the headline attack finds what it should and nothing else."""
    attack = headline_attack(records)
    auc = _auc(records, unit_attacked="profile", attack=attack)
    copied, others = (select(auc, generator=name) for name in (COPIED, OTHERS))
    if not len(copied) or not len(others):
        return "No releases whose leakage is known were attacked, so it is not shown that the attacks work."
    mean = others["value"].mean()
    misled = ~((others["low"] <= 0.5) & (others["high"] >= 0.5))
    honest = STRANGER_AUC[0] <= mean <= STRANGER_AUC[1] and not misled.any()
    works = "work" if copied["value"].min() >= COPIED_AUC and honest else "are not shown to work"
    count = _auc(records)["attack"].nunique()
    of = ("none", "one", "two", "three", "four")[count] if count < 5 else str(count)
    return (
        f"The attacks {works}: of the {of}, {label_of(attack)} tells "
        f"days that were copied (positive control) from others with an AUC of {_range(copied['value'])} (at least "
        f"{COPIED_AUC:g} counts as working), and days of households that had nothing to do with the release (negative "
        f"control) with {_range(others['value'])}, {mean:.3f} in the mean (a mean within {STRANGER_AUC[0]:g} to "
        f"{STRANGER_AUC[1]:g} and no interval without 0.5 count as working; {int(misled.sum())} of {len(others)} "
        "intervals are without it). Verdicts rest on this attack."
    )


def findings(records: pd.DataFrame) -> list[Answer]:
    """Answer every question for every generator; yes is a leak."""
    return [found for name in generators_of(records) for ask in _QUESTIONS if (found := ask(records, name))]


def attack_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Every membership attack: means over seeds, with the least and largest ends of the intervals."""
    own = select(records, unit_attacked=..., metric=_SHOWN)
    own = own.assign(against=own["against"].fillna("") if "against" in own else "")
    rows = []
    for (generator, unit, attack, other), group in own.groupby(
        ["generator", "unit_attacked", "attack", "against"], sort=False
    ):
        cells = {"release": str(generator), "unit": str(unit), "attack": label_of(str(attack))}
        cells["against"] = str(other).replace("_", ", ")
        cells |= {label: _cell(select(group, metric=metric)) for metric, label in _SHOWN.items()}
        cells |= {title: f"{int(group[name].max()):,}" for title, name in (("members", "n"), ("others", "n_others"))}
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
    found = Spread.of_intervals(rows)
    return _bracket(found) if found else "too few" if len(rows) else ""


def _bracket(found: Spread, form: str = ".3f") -> str:
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _membership(records: pd.DataFrame, name: str) -> Answer:
    attack = headline_attack(records)
    every = _auc(records, generator=name)
    own, rest = every[every["attack"] == attack], every[every["attack"] != attack]
    above = own["low"] > 0.5
    every_seed = bool(len(own)) and bool(above.groupby(own["seed"]).any().all())
    parts = [f"{_range(select(own, unit_attacked=unit)['value'])} for a {unit}" for unit in ("profile", "household")]
    return Answer(
        name,
        YES if every_seed else UNCLEAR if above.any() else NO,
        f"The AUC of the {label_of(attack)} attack is {', '.join(parts)}; {int(above.sum())} of {len(own)} "
        f"intervals lie above 0.5. Of the other attacks {int((rest['low'] > 0.5).sum())} of {len(rest)} do; chance "
        "alone puts about one in forty there.",
        MEMBERSHIP,
    )


def _closeness(records: pd.DataFrame, name: str) -> Answer | None:
    own = select(records, generator=name, metric="permutation_p_value")["value"]
    if own.empty:
        return None
    small = own <= _SMALL
    closer = select(records, generator=name, metric="closer")["value"].mean()
    return Answer(
        name,
        YES if small.all() else NO if small.mean() <= _FEW else UNCLEAR,
        f"{100 * closer:.1f} % of released days are nearer to a training household's day than to one of as many "
        f"others; exchanging households at random gives p-values of {_range(own, 3)}, {int(small.sum())} of "
        f"{len(own)} draws at most {_SMALL:g}.",
        "Is the release closer to training households than to others?",
    )


def _copies(records: pd.DataFrame, name: str) -> Answer | None:
    own = select(records, generator=name)
    passed = select(own, metric="passed")
    if passed.empty:
        return None
    exact, near = (
        [100 * select(own, metric=metric, against=against)["value"].mean() for against in ("train", "holdout")]
        for metric in ("exact_copies", "near_copies")
    )
    notes = " ".join(dict.fromkeys(note for note in passed["note"].dropna() if note)) if "note" in passed else ""
    shares = (
        f"{exact[0]:.2f} % are exact copies and {near[0]:.2f} % near ones, against {exact[1]:.2f} % and {near[1]:.2f} "
        "% of other households' days."
    )
    question = "Does it contain copies of training days, so that it fails?"
    return Answer(name, agreed(passed["value"] == 0), notes or shares, question)


def _outliers(records: pd.DataFrame, name: str) -> Answer | None:
    own = select(records, metric="auc", generator=name, against="unseen")
    if own.empty:
        return None
    each = "; ".join(
        f"{label_of(str(row['attack']))} {_bracket(Spread(row['value'], row['low'], row['high']), '.2f')}"
        for _, row in own.iterrows()
    )
    return Answer(
        name,
        agreed(own["low"] > 0.5),
        f"AUC of those trained on against unseen ones of the same kind, fitted on few households: {each} "
        f"({int(own['n'].iloc[0])} of each).",
        "Can anybody tell which implausible households it was trained on?",
    )


def _attributes(records: pd.DataFrame, name: str) -> Answer | None:
    own = select(headline_leaks(records), generator=name)
    if own.empty:
        return None
    each = [
        f"{attribute} ({'released' if label == 'released' else 'not released'}) "
        f"{_bracket(Spread(rows['value'].mean(), rows['low'].min(), rows['high'].max()), '+.2f')}"
        for (attribute, label), rows in own.groupby(["attribute", "label"], sort=False)
    ]
    gains = select(records, metric="gain", generator=name, classifier=own["classifier"].unique())
    added = gains.groupby("attacked")["value"].mean()
    return Answer(
        name,
        agreed(own["low"] > 0),
        "What it adds to the balanced accuracy about training households, less what it adds about others: "
        f"{', '.join(each)}. To an attacker with labelled real households it adds "
        f"{added.get('train', float('nan')):+.2f} about training households and "
        f"{added.get('holdout', float('nan')):+.2f} about others, by the classifier {own['classifier'].iloc[0]}.",
        "Does it help to guess attributes of training households?",
    )


_QUESTIONS: tuple[Callable[[pd.DataFrame, str], Answer | None], ...] = (
    _membership, _closeness, _copies, _outliers, _attributes,
)  # fmt: skip


def _auc(records: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """AUCs of attacks on releases, without those on outliers."""
    return select(records, metric="auc", **{"unit_attacked": ["profile", "household"], **wanted})


def _range(values: pd.Series, digits: int = 2) -> str:
    low, high = (f"{value:.{digits}f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def headline_leaks(records: pd.DataFrame) -> pd.DataFrame:
    """Leaks of attributes by the classifier that finds copies best; by the first where no copies were attacked."""
    own = select(records, metric="leak").dropna(subset=["value"])
    if own.empty:
        return own.assign(attribute="", label="", classifier="")
    copied = select(own, generator=COPIED).groupby("classifier", sort=False)["value"].mean()
    return select(own, classifier=copied.idxmax() if len(copied) else own["classifier"].iloc[0])
